import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  defineLoss,
  defineMetric,
  layers,
  loadModel,
  ops,
  sequential,
  type Tensor,
  type Traced,
  tensor,
} from '../../lib';
import { RandomInputs } from '../parity/harness';

let stream = 110_000;
function random(shape: readonly number[]): Tensor {
  return tensor(Float32Array.from(new RandomInputs(stream++).normal(shape).values), shape);
}

const squared = defineLoss('testSquared', (yTrue, yPred) => ops.square(ops.subtract(yTrue, yPred)));
/** Of quantile 0.8, with the columns' sum as the row's. */
defineLoss('testPinball', (yTrue, yPred) => {
  const error = ops.subtract(yTrue, yPred);
  return ops.sum(ops.maximum(ops.multiply(error, 0.8), ops.multiply(error, -0.2)));
});
const absolute = defineMetric('testAbsolute', (yTrue, yPred) => ops.abs(ops.subtract(yTrue, yPred)));
defineMetric('testRoot', (yTrue, yPred) => ops.square(ops.subtract(yTrue, yPred)), Math.sqrt);

const steepness = (yTrue: Traced, yPred: Traced) => {
  const far = ops.abs(ops.subtract(yTrue, yPred));
  return ops.add(ops.sqrt(far), ops.multiply(ops.log(far), -0.01));
};
defineLoss('testSteep', steepness);
defineMetric('testSteepMetric', steepness);

const [N, T, D, C] = [6, 4, 3, 2];
const net = (loss: unknown, device: string, metrics: unknown[] = []) => {
  const model = sequential(
    [layers.gru({ units: 5, returnSequences: true, inputShape: [T, D] }), layers.dense({ units: C })],
    { seed: 8 },
  );
  model.compile({ loss: loss as string, metrics: metrics as string[], optimizer: 'sgd', device });
  return model;
};

describe.each(['reference', 'cpu'])('losses and metrics of one’s own, %s', (device) => {
  const [x, y, sampleWeight] = [
    random([N, T, D]),
    random([N, T, C]),
    tensor(Float32Array.of(1, 0, 2, 0.5, 3, 1)),
  ];

  test('count like those of the library: weights, padded steps, gradients', async () => {
    for (const options of [{}, { sampleWeight }, { lengths: [4, 1, 2, 4, 3, 2] }]) {
      const given = await net(squared, device).computeGradients(x, y, options);
      const wanted = await net('meanSquaredError', device).computeGradients(x, y, options);
      expect(given.loss).toBeCloseTo(wanted.loss, 6);
      for (const [name, gradient] of wanted.gradients) {
        const own = given.gradients.get(name) as Tensor;
        for (const [i, g] of gradient.data.entries()) expect(own.data[i]).toBeCloseTo(g, 6);
      }
    }
    const scores = await net('testSquared', device, ['testAbsolute', 'mae', 'testRoot', 'rmse']).evaluate(
      x,
      y,
    );
    expect(scores['testAbsolute']).toBeCloseTo(scores['mae'] as number, 6);
    expect(scores['testRoot']).toBeCloseTo(scores['rmse'] as number, 6);
  });

  test('see nothing of rows that do not count, whatever is in them', async () => {
    // At equal values the square root has no slope, and of 0 no logarithm: rows of weight 0, and padded steps, are made so.
    const steep = 'testSteep';
    const [counted, padded] = [tensor(Float32Array.of(1, 0, 2, 0.5, 3, 1)), [4, 1, 2, 4, 3, 2]];
    for (const options of [{ sampleWeight: counted }, { lengths: padded }]) {
      const model = net(steep, device, ['testSteepMetric']);
      const predicted = await model.predict(x, 'lengths' in options ? { lengths: padded } : {});
      const same = tensor(Float32Array.from(y.data), [N, T, C]);
      for (let i = 0; i < same.size; i++) {
        const [n, t] = [Math.floor(i / (T * C)), Math.floor(i / C) % T];
        const counts = 'lengths' in options ? t < (padded[n] as number) : counted.data[n] !== 0;
        if (!counts) same.data[i] = predicted.data[i] as number;
      }
      const { loss, gradients } = await model.computeGradients(x, same, options);
      const reference = await net(steep, 'reference').computeGradients(x, y, options);
      expect(loss).toBeCloseTo(reference.loss, 5);
      for (const [name, { data }] of gradients)
        for (const [i, g] of data.entries())
          expect(g).toBeCloseTo(reference.gradients.get(name)?.data[i] as number, 5);
      const metrics = 'lengths' in options ? ['testSteepMetric'] : [];
      model.compile({ loss: steep, metrics, weightedMetrics: ['testSteepMetric'], optimizer: 'sgd', device });
      for (const score of Object.values(await model.evaluate(x, same, options)))
        expect(Number.isFinite(score)).toBe(true);
    }
  });

  test('have a value that is anyone’s own', async () => {
    const model = net('testPinball', device, [absolute({ name: 'far' })]);
    const predicted = await model.predict(x);
    let sum = 0;
    for (const [i, p] of predicted.data.entries()) {
      const error = (y.data[i] as number) - p;
      sum += Math.max(0.8 * error, -0.2 * error);
    }
    const scores = await model.evaluate(x, y);
    expect(scores['loss']).toBeCloseTo(sum / (N * T), 5);
    expect(scores['far']).toBeGreaterThan(0);
  });
});

test('models learn by them, and are saved with their names', async () => {
  const model = net('testPinball', 'cpu', ['testAbsolute']);
  const [x, y] = [random([64, T, D]), random([64, T, C])];
  const before = (await model.evaluate(x, y))['loss'] as number;
  await model.fit(x, y, { epochs: 20, verbose: 0 });
  expect((await model.evaluate(x, y))['loss']).toBeLessThan(before);
  const folder = mkdtempSync(join(tmpdir(), 'deeprnn-scores-'));
  try {
    await model.save(join(folder, 'm.deeprnn'));
    const again = await loadModel(join(folder, 'm.deeprnn'), { device: 'cpu' });
    expect(await again.evaluate(x, y)).toEqual(await model.evaluate(x, y));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('what is wrong is refused where it is said', () => {
  expect(() => defineLoss('mse', (a) => a)).toThrow(
    "defineLoss: name: expected a name that is not taken, got 'mse'.",
  );
  expect(() => defineLoss('mean_squared_error', (a) => a)).toThrow('a name that is not taken');
  expect(() => defineMetric('mean_absolute_error', (a) => a)).toThrow('a name that is not taken');
  expect(() => defineLoss('testSquared', (a) => a)).toThrow('a name that is not taken');
  expect(() => defineMetric('accuracy', (a) => a)).toThrow(
    "defineMetric: name: expected a name that is not taken, got 'accuracy'.",
  );
  expect(() => defineLoss('test loss', (a) => a)).toThrow('a name of letters and digits');
  expect(() => net('testSquaredd', 'cpu')).toThrow("Did you mean 'testSquared'?");
  expect(() => net({ type: 'testSquared', delta: 1 }, 'cpu')).toThrow("testSquared: unknown option 'delta'");
  expect(() => net('testPinball', 'cpu', [{ type: 'testAbsolute', k: 1 }])).toThrow(
    "metrics.testAbsolute: unknown option 'k'",
  );
});

test('columns may be told apart', async () => {
  // The logarithm of a normal distribution whose mean and spread are predicted.
  const normal = defineLoss('testNormal', (yTrue, yPred) => {
    const [mean, logSpread] = ops.split(yPred, 2) as [never, never];
    const error = ops.divide(ops.subtract(ops.slice(yTrue, 0, 1), mean), ops.exp(logSpread));
    return ops.add(logSpread, ops.multiply(ops.square(error), 0.5));
  });
  const [x, y] = [random([N, T, D]), random([N, T, C])];
  const given = await net(normal, 'cpu').computeGradients(x, y);
  const wanted = await net(normal, 'reference').computeGradients(x, y);
  expect(given.loss).toBeCloseTo(wanted.loss, 5);
  const none = defineLoss('testNone', (() => 1) as never);
  await expect(net(none, 'cpu').computeGradients(x, y)).rejects.toThrow(
    "loss 'testNone': expected [N, 1] or [N, 2], got 1.",
  );
});

test('a loss that predictions have no part in is refused, a metric is not', async () => {
  const [x, y] = [random([2, T, D]), random([2, T, C])];
  const none = defineLoss('testTargetsOnly', (yTrue) => yTrue);
  await expect(net(none, 'cpu').computeGradients(x, y)).rejects.toThrow(
    "loss 'testTargetsOnly': expected a value that depends on yPred, got the input [N, 2].",
  );
  const mean = defineMetric('testMeanTarget', (yTrue) => yTrue);
  expect((await net('mse', 'cpu', [mean()]).evaluate(x, y))['testMeanTarget']).toBeCloseTo(
    Array.from(y.data).reduce((sum, v) => sum + v, 0) / y.size,
    5,
  );
});

test('a shape that does not fit names the loss, a result that is no number the metric', async () => {
  await expect(net('testPinball', 'cpu').evaluate(random([2, T, D]), random([2, T]))).rejects.toThrow(
    `shape [2, ${T}, ${C}] for testPinball, got [2, ${T}].`,
  );
  const none = defineMetric('testNoNumber', (yTrue) => ops.sum(yTrue), (() => undefined) as never);
  const [x, y] = [random([2, T, D]), random([2, T, C])];
  await expect(net('testSquared', 'cpu', [none()]).evaluate(x, y)).rejects.toThrow(
    "metric 'testNoNumber': finish: expected a number, got undefined.",
  );
  const wrong = defineLoss('testWrongOps', (yTrue, yPred) => ops.matmul(yTrue, yPred));
  await expect(net(wrong, 'cpu').computeGradients(x, y)).rejects.toThrow(
    "loss 'testWrongOps': ops.matmul: w: expected a weight [K, M], got the input [N, 2].",
  );
});

test('a width that does not fit is told when the model is known', async () => {
  const odd = defineLoss('testOdd', (yTrue, yPred) =>
    ops.concatenate([yTrue, yPred, ops.sum(yPred)].slice(0, yPred.width)),
  );
  await expect(net(odd, 'cpu').computeGradients(random([1, T, D]), random([1, T, C]))).rejects.toThrow(
    "loss 'testOdd': expected [N, 1] or [N, 2], got concat [N, 4].",
  );
});
