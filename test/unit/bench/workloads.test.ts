import { type Layer, layers, sequential } from 'deeprnn';
import { CLASSES, checked, flopsOf, type Workload, workloads } from '../../../bench/cpu/workloads';

function modelOf({ cell, D, H, T, resetAfter }: Workload) {
  const stack = H.map((units, l): Layer => {
    const options = { units, returnSequences: true, ...(l === 0 ? { inputShape: [T, D] } : {}) };
    if (cell === 'gru') return layers.gru({ ...options, resetAfter });
    return cell === 'lstm' ? layers.lstm(options) : layers.simpleRNN(options);
  });
  const model = sequential([...stack, layers.dense({ units: CLASSES, activation: 'softmax' })]);
  model.compile({ loss: 'sparseCategoricalCrossentropy', device: 'cpu' });
  return model;
}

test.each(checked)('operations of $name are those that the plan has', async (workload) => {
  const model = modelOf(workload);
  const { predict, train } = await model.profile({ batchSize: workload.B, repeats: 1 });
  expect(flopsOf(workload, 'infer')).toBe(predict.flops);
  expect(flopsOf(workload, 'train')).toBe(train?.flops);
  model.dispose();
});

test('no two networks share a name', () => {
  expect(new Set(workloads.map(({ name }) => name)).size).toBe(workloads.length);
});
