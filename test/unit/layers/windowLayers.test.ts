import { layers, sequential, tensor } from '../../../lib';
import { layerFromConfig } from '../../../lib/layers';
import { refusal } from '../refusal';
import { ids, sequence, shapes } from './shapes';

type Loose = Record<string, unknown>;
const conv = (options: Loose) => layerFromConfig('conv1D', { filters: 3, kernelSize: 2, ...options });
const pool = (options: Loose) => layerFromConfig('maxPooling1D', options);

test('weights and shapes of a convolution', () => {
  expect(shapes(conv({}), sequence)).toEqual({ kernel: [2, 7, 3], bias: [3] });
  expect(shapes(conv({ useBias: false }), sequence)).toEqual({ kernel: [2, 7, 3] });
  const shape = (options: Loose) => conv(options).outputShape(sequence).shape;
  expect(shape({})).toEqual([4, 3]);
  expect(shape({ strides: 2, padding: 'same' })).toEqual([3, 3]);
  expect(shape({ strides: [2], padding: 'causal' })).toEqual([3, 3]);
  expect(shape({ dilationRate: 4 })).toEqual([1, 3]);
  expect(conv({}).outputShape({ ...sequence, shape: [null, 7] }).shape).toEqual([null, 3]);
});

test.each([
  [
    'filters',
    () => conv({ filters: 0 }),
    'ERR_VALUE layers.conv1D: filters: expected a positive integer, got 0.',
  ],
  [
    'kernelSize',
    () => conv({ kernelSize: [3, 3] }),
    'ERR_VALUE layers.conv1D: kernelSize: expected a positive integer, got [3, 3].',
  ],
  [
    'padding',
    () => conv({ padding: 'full' }),
    "ERR_VALUE layers.conv1D: padding: expected one of 'valid', 'same', 'causal', got 'full'.",
  ],
  [
    'strides with dilation',
    () => conv({ strides: 2, dilationRate: 3 }),
    'ERR_VALUE layers.conv1D: dilationRate: expected 1 with strides 2, got 3.',
  ],
  [
    'strides beyond all numbers of a plan',
    () => pool({ strides: 2 ** 31 }),
    'ERR_VALUE layers.maxPooling1D: strides: expected at most 2147483647, got 2147483648.',
  ],
  [
    'a reach beyond them',
    () => conv({ kernelSize: 3, dilationRate: 2 ** 30 }),
    'ERR_VALUE layers.conv1D: dilationRate: expected filters over at most 2147483647 steps, got 2147483649.',
  ],
  ['groups', () => conv({ groups: 2 }), 'ERR_VALUE layers.conv1D: groups: expected 1, got 2.'],
  [
    'channels first',
    () => pool({ data_format: 'channels_first' }),
    "ERR_VALUE layers.maxPooling1D: data_format: expected 'channels_last', got 'channels_first'.",
  ],
  [
    'poolSize',
    () => pool({ poolSize: 1.5 }),
    'ERR_VALUE layers.maxPooling1D: poolSize: expected a positive integer, got 1.5.',
  ],
  [
    'causal pooling',
    () => pool({ padding: 'causal' }),
    "ERR_VALUE layers.maxPooling1D: padding: expected one of 'valid', 'same', got 'causal'.",
  ],
  [
    'a sequence that is too short',
    () => conv({ kernelSize: 3, dilationRate: 3 }).outputShape(sequence),
    'ERR_SHAPE layers.conv1D: expected a sequence of at least 7 steps, got [N, 5, 7].',
  ],
  [
    'ids',
    () => layers.globalAveragePooling1D().outputShape(ids),
    'ERR_SHAPE layers.globalAveragePooling1D: expected a sequence [N, T, D], got ids.',
  ],
  [
    'features',
    () => conv({}).outputShape({ dtype: 'real', shape: [7], sequence: false }),
    'ERR_SHAPE layers.conv1D: expected a sequence [N, T, D], got [N, 7].',
  ],
  [
    'a constraint along an axis inside a kernel',
    () => sequential([conv({ kernelConstraint: { type: 'maxNorm', axis: 1 }, inputShape: [5, 7] })]).build(),
    "ERR_VALUE layer 'conv1D': kernel: expected a constraint along axis 0, the only one for its shape [2, 7, 3], got axis 1.",
  ],
])('%s is refused', async (_, work, message) => {
  expect(await refusal(work)).toBe(message);
});

test.each(['cpu', 'reference'])('the kernel is constrained along time, on %s', async (device) => {
  const layer = conv({ kernelConstraint: 'unitNorm', inputShape: [5, 7], name: 'c' });
  const model = sequential([layer], { seed: 3 });
  model.compile({ loss: 'mse', device });
  await model.trainOnBatch(
    tensor(new Float32Array(35).fill(1), [1, 5, 7]),
    tensor(new Float32Array(12), [1, 4, 3]),
  );
  const kernel = (await model.getWeights()).get('c/kernel')?.data as ArrayLike<number>;
  for (let i = 0; i < 21; i++)
    expect(Math.hypot(kernel[i] as number, kernel[21 + i] as number)).toBeCloseTo(1, 5);
});

test.each(['cpu', 'reference'])('the mean of a sequence that is all padding is 0, on %s', async (device) => {
  const model = sequential([layers.masking({ inputShape: [3, 2] }), layers.globalAveragePooling1D()]);
  model.compile({ loss: 'mse', device });
  const y = await model.predict(tensor(Float32Array.of(0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0), [2, 3, 2]));
  expect(Array.from(y.data)).toEqual([0, 0, 2, 3]);
});

test.each(['cpu', 'reference'])('a window may be far larger than the sequence, on %s', async (device) => {
  const poolSize = 2 ** 31 - 1;
  const model = sequential([
    layers.averagePooling1D({ poolSize, strides: 2, padding: 'same', inputShape: [3, 1] }),
    layers.conv1D({
      filters: 1,
      kernelSize: 2,
      dilationRate: 2 ** 31 - 2,
      padding: 'causal',
      kernelInitializer: 'ones',
    }),
  ]);
  model.compile({ loss: 'mse', device });
  const y = await model.predict(tensor(Float32Array.of(1, 2, 6), [1, 3, 1]));
  expect(Array.from(y.data)).toEqual([3, 3]);
});
