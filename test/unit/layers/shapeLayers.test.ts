import { layers, sequential, tensor } from '../../../lib';
import { layerFromConfig } from '../../../lib/layers';
import { refusal } from '../refusal';
import { ids, sequence } from './shapes';

const features = { dtype: 'real', shape: [7], sequence: false } as const;
const anyLength = { dtype: 'real', shape: [null, 7], sequence: true } as const;
type Loose = Record<string, unknown>;
const make = (type: string, options: Loose) => () => layerFromConfig(type, options);

test('shapes, where lengths are known and where they are not', () => {
  const shapeOf = (layer: ReturnType<typeof layers.flatten>, input: typeof sequence) =>
    layer.outputShape(input).shape;
  expect(shapeOf(layers.flatten(), sequence)).toEqual([35]);
  expect(shapeOf(layers.flatten(), anyLength)).toEqual([null]);
  expect(shapeOf(layers.reshape({ targetShape: [-1, 5] }), sequence)).toEqual([7, 5]);
  expect(shapeOf(layers.reshape({ targetShape: [-1, 5] }), anyLength)).toEqual([null, 5]);
  expect(shapeOf(layers.permute({ dims: [2, 1] }), anyLength)).toEqual([7, null]);
  expect(layers.repeatVector({ n: 3 }).outputShape(features)).toEqual({
    dtype: 'real',
    shape: [3, 7],
    sequence: true,
  });
});

test.each([
  [
    'n',
    make('repeatVector', { n: 0 }),
    'ERR_VALUE layers.repeatVector: n: expected a positive integer, got 0.',
  ],
  [
    'n beyond all numbers of a plan',
    make('repeatVector', { n: 2 ** 31 }),
    'ERR_VALUE layers.repeatVector: n: expected at most 2147483647, got 2147483648.',
  ],
  [
    'targetShape',
    make('reshape', { targetShape: [-1, 2, -1] }),
    'ERR_VALUE layers.reshape: targetShape: expected positive integers, of which one may be -1, got [-1, 2, -1].',
  ],
  [
    'no targetShape',
    make('reshape', {}),
    'ERR_VALUE layers.reshape: targetShape: expected positive integers, of which one may be -1, got undefined.',
  ],
  [
    'dims',
    make('permute', { dims: [0, 1] }),
    'ERR_VALUE layers.permute: dims: expected the numbers 1, 2, … in some order, each once, got [0, 1].',
  ],
  [
    'an option of another layer',
    make('flatten', { axis: 1 }),
    "ERR_VALUE layers.flatten: unknown option 'axis'. It takes name, trainable, inputShape, batchInputShape.",
  ],
  [
    'a recurrent layer in timeDistributed',
    () => layers.timeDistributed({ layer: layers.lstm({ units: 2 }) }),
    'ERR_VALUE layers.timeDistributed: layer: expected a layer that works on each step by itself, got layers.lstm.',
  ],
  [
    'a shared mask in timeDistributed',
    () => layers.timeDistributed({ layer: layers.dropout({ rate: 0.5, noiseShape: [null, 1, null] }) }),
    'ERR_VALUE layers.timeDistributed: layer: expected a layer that works on each step by itself, got layers.dropout.',
  ],
  [
    'timeDistributed of nothing',
    make('timeDistributed', {}),
    'ERR_VALUE layers.timeDistributed: layer: expected a layer that works on each step by itself, got undefined.',
  ],
  [
    'timeDistributed of features',
    () => layers.timeDistributed({ layer: layers.dense({ units: 2 }) }).outputShape(features),
    'ERR_SHAPE layers.timeDistributed: expected a sequence [N, T, …], got [N, 7].',
  ],
  [
    'repeatVector of a sequence',
    () => layers.repeatVector({ n: 2 }).outputShape(sequence),
    'ERR_SHAPE layers.repeatVector: expected features [N, D], got [N, 5, 7].',
  ],
  [
    'flatten of ids',
    () => layers.flatten().outputShape(ids),
    'ERR_SHAPE layers.flatten: expected features [N, D] or a sequence [N, T, …], got ids.',
  ],
  [
    'reshape to another size',
    () => layers.reshape({ targetShape: [6, 6] }).outputShape(sequence),
    'ERR_SHAPE layers.reshape: expected 36 numbers for targetShape [6, 6], got [N, 5, 7].',
  ],
  [
    'reshape that leaves a part',
    () => layers.reshape({ targetShape: [-1, 6] }).outputShape(sequence),
    'ERR_SHAPE layers.reshape: expected a multiple of 6 numbers for targetShape [-1, 6], got [N, 5, 7].',
  ],
  [
    'permute of other axes',
    () => layers.permute({ dims: [2, 1] }).outputShape(features),
    'ERR_SHAPE layers.permute: expected 2 axes beside the batch for dims [2, 1], got [N, 7].',
  ],
])('%s is refused', async (_, work, message) => {
  expect(await refusal(work)).toBe(message);
});

test('data of a length that a shape does not fit are refused', async () => {
  const model = sequential([
    layers.reshape({ targetShape: [-1, 4], inputShape: [null, 2] }),
    layers.lstm({ units: 2 }),
  ]);
  model.compile({ loss: 'mse' });
  const ones = (steps: number) => tensor(new Float32Array(2 * steps).fill(1), [1, steps, 2]);
  expect((await model.predict(ones(6))).shape).toEqual([1, 2]);
  expect(await refusal(() => model.predict(ones(5)))).toBe(
    "ERR_SHAPE layer 'reshape': expected a multiple of 4 numbers for targetShape [-1, 4], got [N, 5, 2].",
  );
});

test.each([
  layers.flatten(),
  layers.reshape({ targetShape: [-1, 1] }),
  layers.permute({ dims: [2, 1] }),
  layers.conv1D({ filters: 2, kernelSize: 2 }),
  layers.averagePooling1D(),
  layers.globalMaxPooling1D(),
])('streams refuse $type', async (layer) => {
  const model = sequential([layers.gru({ units: 2, returnSequences: true, inputShape: [2, 2] }), layer]);
  model.compile({ loss: 'mse' });
  expect(await refusal(() => model.stream())).toBe(
    `ERR_VALUE stream: layer '${layer.name}': expected a layer that needs no later steps, got ${layer.streamObstacle}.`,
  );
});

test('streams go through timeDistributed and layerNormalization', async () => {
  const model = sequential([
    layers.gru({ units: 3, returnSequences: true, inputShape: [null, 2] }),
    layers.layerNormalization(),
    layers.timeDistributed({ layer: layers.dense({ units: 2, activation: 'tanh' }) }),
  ]);
  model.compile({ loss: 'mse' });
  const x = Float32Array.of(0.3, -1, 0.8, 2, -0.4, 0.1);
  const whole = await model.predict(tensor(x, [1, 3, 2]));
  const stream = await model.stream();
  const steps = [0, 1, 2].flatMap((t) => Array.from(stream.stepSync(x.slice(2 * t, 2 * t + 2))));
  expect(steps).toEqual(Array.from(whole.data));
  stream.dispose();
});
