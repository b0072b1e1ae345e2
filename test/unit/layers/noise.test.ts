import { type Layer, layers, sequential, tensor } from '../../../lib';
import { layerFromConfig } from '../../../lib/layers';
import { refusal } from '../refusal';
import { sequence } from './shapes';

const [N, T, D] = [8, 6, 10];
const x = tensor(new Float32Array(N * T * D).fill(1), [N, T, D]);

/** A model whose loss is the mean square of what the layer makes of ones, less 1, while training. */
function noisy(layer: Layer, device: string) {
  const model = sequential([layer, layers.dense({ units: D, useBias: false, trainable: false })], {
    seed: 7,
  });
  model.compile({ loss: 'mse', optimizer: 'sgd', device });
  model.build([T, D]);
  return model;
}

test.each([
  ['gaussianNoise', () => layers.gaussianNoise({ stddev: 0.5 })],
  ['spatialDropout1D', () => layers.spatialDropout1D({ rate: 0.4 })],
  ['timeDistributed noise', () => layers.timeDistributed({ layer: layers.gaussianNoise({ stddev: 0.5 }) })],
])('%s: the same on both engines, other in every step, none outside training', async (_, make) => {
  const losses: number[][] = [];
  for (const device of ['cpu', 'reference']) {
    const model = noisy(make(), device);
    const weights = new Map([...(await model.getWeights()).keys()].map((name) => [name, identity()]));
    await model.setWeights(weights);
    expect(Array.from((await model.predict(x)).data)).toEqual(Array.from(x.data));
    expect((await model.evaluate(x, x)).loss).toBe(0);
    const found: number[] = [];
    for (let i = 0; i < 3; i++) found.push((await model.trainOnBatch(x, x)).loss as number);
    losses.push(found);
  }
  const [cpu, reference] = losses as [number[], number[]];
  expect(new Set(cpu).size).toBe(3);
  cpu.forEach((loss, i) => {
    expect(loss).toBeGreaterThan(0.01);
    expect(loss).toBeCloseTo(reference[i] as number, 5);
  });
});

test('gaussianNoise has the mean and deviation asked for', async () => {
  const model = noisy(layers.gaussianNoise({ stddev: 0.5 }), 'cpu');
  await model.setWeights(new Map([['dense/kernel', identity()]]));
  const many = tensor(new Float32Array(400 * T * D).fill(1), [400, T, D]);
  // The mean of (x + n − 1)², n with deviation 0.5 in 24,000 places: 0.25 within five of its own deviations.
  const { loss } = await model.trainOnBatch(many, many);
  expect(Math.abs((loss as number) - 0.25)).toBeLessThan((5 * 0.25 * Math.SQRT2) / Math.sqrt(24000));
});

test.each([
  [
    'stddev',
    () => layerFromConfig('gaussianNoise', { stddev: -1 }),
    'ERR_VALUE layers.gaussianNoise: stddev: expected a finite number, 0 or more, got -1.',
  ],
  [
    'no stddev',
    () => layerFromConfig('gaussianNoise', {}),
    'ERR_VALUE layers.gaussianNoise: stddev: expected a finite number, 0 or more, got undefined.',
  ],
  [
    'rate',
    () => layerFromConfig('spatialDropout1D', { rate: 1 }),
    'ERR_VALUE layers.spatialDropout1D: rate: expected a rate from 0 to below 1, got 1.',
  ],
  [
    'noiseShape',
    () => layerFromConfig('spatialDropout1D', { rate: 0.5, noiseShape: [null, 1, null] }),
    "ERR_VALUE layers.spatialDropout1D: unknown option 'noiseShape'. It takes name, trainable, inputShape, batchInputShape, rate, seed.",
  ],
  [
    'features',
    () => layers.spatialDropout1D({ rate: 0.5 }).outputShape({ ...sequence, shape: [7], sequence: false }),
    'ERR_SHAPE layers.spatialDropout1D: expected a sequence [N, T, D] to share a mask over time, got [N, 7].',
  ],
])('%s is refused', async (_, work, message) => {
  expect(await refusal(work)).toBe(message);
});

function identity() {
  return tensor(
    Float32Array.from({ length: D * D }, (_, i) => Number(i % (D + 1) === 0)),
    [D, D],
  );
}
