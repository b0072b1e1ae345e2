import { layers, sequential, tensor } from '../../../lib';
import { layerFromConfig } from '../../../lib/layers';
import { refusal } from '../refusal';
import { ids, sequence, shapes } from './shapes';

const make = (options: Record<string, unknown>) => layerFromConfig('layerNormalization', options);

test('weights are those of what it is asked for', () => {
  expect(shapes(make({}), sequence)).toEqual({ gamma: [7], beta: [7] });
  expect(shapes(make({ center: false }), sequence)).toEqual({ gamma: [7] });
  expect(shapes(make({ scale: false }), sequence)).toEqual({ beta: [7] });
});

test.each([
  ['axis', () => make({ axis: [1, 2] }), 'axis: expected -1 or the number of the last axis, got [1, 2].'],
  ['epsilon', () => make({ epsilon: 0 }), 'epsilon: expected a finite number above 0, got 0.'],
  ['center', () => make({ center: 1 }), 'center: expected true or false, got 1.'],
  ['rmsScaling', () => make({ rms_scaling: true }), 'rms_scaling: expected false, got true.'],
])('option %s is refused', async (_, work, message) => {
  expect(await refusal(work)).toBe(`ERR_VALUE layers.layerNormalization: ${message}`);
});

test.each([
  [
    'another axis',
    () => make({ axis: 1 }).outputShape(sequence),
    'expected the last axis, 2 or -1, got axis 1 of [N, 5, 7].',
  ],
  [
    'ids',
    () => make({}).outputShape(ids),
    'expected a known number of features [N, D] or [N, T, D], got ids.',
  ],
])('%s is refused', async (_, work, message) => {
  expect(await refusal(work)).toBe(`ERR_SHAPE layers.layerNormalization: ${message}`);
});

test('numbers far from 0 keep their differences', async () => {
  const model = sequential([layers.layerNormalization({ epsilon: 1e-9, inputShape: [4] })]);
  model.compile({ loss: 'mse' });
  const y = await model.predict(tensor(Float32Array.of(8388607, 8388608, 8388609, 8388610), [1, 4]));
  const wanted = [-1.5, -0.5, 0.5, 1.5].map((v) => v / Math.sqrt(1.25));
  wanted.forEach((v, i) => {
    expect(y.data[i]).toBeCloseTo(v, 6);
  });
});
