import { layers, sequential, tensor } from '../../../lib';
import type { Sequential } from '../../../lib/models/sequential';

/** Sequences of their own lengths in [3, 6] ids, 0 beyond them, with labels for every step. */
const lengths = [6, 2, 4];
const ids = tensor(Int32Array.of(3, 1, 4, 1, 5, 2, 6, 5, 0, 0, 0, 0, 2, 6, 3, 1, 0, 0), [3, 6]);
const labels = tensor(Int32Array.of(1, 0, 2, 1, 1, 0, 2, 1, 2, 2, 2, 2, 0, 0, 1, 2, 1, 0), [3, 6]);
/** Row n of an array [3, 6], as far as it counts. */
const row = (all: typeof ids, n: number) =>
  tensor((all.data as Int32Array).slice(6 * n, 6 * n + (lengths[n] as number)), [1, lengths[n] as number]);

type Device = 'cpu' | 'reference';

function tagger(device: Device, returnSequences = true): Sequential {
  const model = sequential(
    [
      layers.embedding({ inputDim: 7, outputDim: 4, maskZero: true }),
      layers.lstm({ units: 9, returnSequences: true }),
      layers.dropout({ rate: 0.3 }),
      layers.gru({ units: 5, returnSequences }),
      layers.dense({ units: 3, activation: 'softmax' }),
    ],
    { seed: 5 },
  );
  model.compile({
    loss: 'sparseCategoricalCrossentropy',
    optimizer: { type: 'sgd', learningRate: 0.1 },
    metrics: ['accuracy'],
    device,
  });
  return model;
}

/** Largest absolute difference. */
const apart = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((max, v, i) => Math.max(max, Math.abs(v - (b[i] as number))), 0);

describe.each<Device>(['cpu', 'reference'])('padded sequences on the %s engine', (device) => {
  test('are predicted as they would be alone', async () => {
    const model = tagger(device);
    const together = await model.predict(ids);
    for (let n = 0; n < 3; n++) {
      const alone = await model.predict(row(ids, n));
      expect(apart(alone.data, together.data.slice(18 * n))).toBe(0);
    }
    const last = tagger(device, false);
    const ends = await last.predict(ids);
    expect(ends.shape).toEqual([3, 3]);
    for (let n = 0; n < 3; n++)
      expect(apart((await last.predict(row(ids, n))).data, ends.data.slice(3 * n))).toBe(0);
  });

  test('count in loss, metrics and gradients by their steps', async () => {
    const model = tagger(device);
    const { loss, accuracy } = await model.evaluate(ids, labels);
    let [sum, right] = [0, 0];
    for (let n = 0; n < 3; n++) {
      const alone = await model.evaluate(row(ids, n), row(labels, n));
      sum += (alone.loss as number) * (lengths[n] as number);
      right += (alone['accuracy'] as number) * (lengths[n] as number);
    }
    expect(loss).toBeCloseTo(sum / 12, 5);
    expect(accuracy).toBeCloseTo(right / 12, 6);
    // Labels of padding change nothing at all.
    const others = tensor(
      Int32Array.from(labels.data as Int32Array, (v, i) => ((ids.data[i] as number) === 0 ? 2 - v : v)),
      [3, 6],
    );
    expect(await model.evaluate(ids, others)).toEqual(await model.evaluate(ids, labels));
    const one = tagger(device);
    const other = tagger(device);
    await one.trainOnBatch(ids, labels);
    await other.trainOnBatch(ids, others);
    const weights = await other.getWeights();
    for (const [name, value] of await one.getWeights()) expect(value.data).toEqual(weights.get(name)?.data);
  });

  test('weights of steps count beside the mask', async () => {
    const model = tagger(device);
    const sampleWeight = tensor(
      Float32Array.from({ length: 18 }, (_, i) => 1 + (i % 3)),
      [3, 6],
    );
    const { loss } = await model.evaluate(ids, labels, { sampleWeight });
    let sum = 0;
    for (let n = 0; n < 3; n++) {
      const own = tensor((sampleWeight.data as Float32Array).slice(6 * n, 6 * n + (lengths[n] as number)), [
        1,
        lengths[n] as number,
      ]);
      const alone = await model.evaluate(row(ids, n), row(labels, n), { sampleWeight: own });
      sum += (alone.loss as number) * (lengths[n] as number);
    }
    expect(loss).toBeCloseTo(sum / 12, 5);
  });

  test('of features are masked by a value, backwards too', async () => {
    const model = sequential(
      [
        layers.masking({ maskValue: 0.1, inputShape: [null, 2] }),
        layers.simpleRNN({ units: 4, goBackwards: true, returnSequences: true }),
        layers.lstm({ units: 3, returnSequences: true }),
      ],
      { seed: 2 },
    );
    model.compile({ loss: 'mse', device });
    // One step of feature 0.1 alone is no padding.
    const steps = [0.4, -0.2, 0.1, 0.6, 0.3, 0.3];
    const alone = await model.predict(tensor(Float32Array.from(steps), [1, 3, 2]));
    const padded = await model.predict(tensor(Float32Array.from([...steps, 0.1, 0.1, 0.1, 0.1]), [1, 5, 2]));
    // Backwards, the padding comes first and leaves the states as they were: zero.
    expect(Array.from(padded.data.slice(0, 6))).toEqual(new Array(6).fill(0));
    expect(apart(alone.data, padded.data.slice(6))).toBe(0);
  });
});

test('what padding holds reaches a layer that reads every step as zero', async () => {
  const model = sequential([
    layers.masking({ maskValue: -1, inputShape: [3, 2] }),
    layers.dense({ units: 2, useBias: false, kernelInitializer: 'ones' }),
  ]);
  model.compile({ loss: 'mse' });
  const y = await model.predict(tensor(Float32Array.of(1, 2, -1, -1, -1, 3), [1, 3, 2]));
  expect(Array.from(y.data)).toEqual([3, 3, 0, 0, 2, 2]);
});

test('a mask goes through a stack that runs as one op', async () => {
  const model = tagger('cpu');
  const { estimate } = await model.profile({ batchSize: 3, steps: 6, device: 'cuda', estimate: true });
  expect(estimate.predict.stacks).toMatchObject([{ layers: ['lstm', 'gru'] }]);
});

test('masks are saved with a model', () => {
  const config = tagger('cpu').getConfig();
  expect(config.layers[0]?.config).toMatchObject({ maskZero: true });
  expect(layers.masking({ maskValue: 0.5 }).getConfig()).toMatchObject({ maskValue: 0.5 });
});

test.each<[string, () => unknown, string]>([
  [
    'a value that is none',
    () => layers.masking({ maskValue: Number.NaN }),
    'layers.masking: maskValue: expected a finite number, got NaN.',
  ],
  [
    'a switch that is none',
    () => layers.embedding({ inputDim: 2, outputDim: 2, maskZero: 1 as never }),
    'layers.embedding: maskZero: expected true or false, got 1.',
  ],
  [
    'an input that is no sequence',
    () => sequential([layers.masking({ inputShape: [4] })]).build(),
    "layer 'masking': expected a sequence [N, T, D], got [N, 4].",
  ],
])('%s is refused', (_, work, message) => {
  expect(work).toThrow(message);
});
