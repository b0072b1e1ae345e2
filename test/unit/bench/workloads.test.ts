import { modelOf } from '../../../bench/cpu/model';
import { checked, flopsOf, workloads } from '../../../bench/cpu/workloads';

test.each(checked)('operations of $name are those that the plan has', async (workload) => {
  const model = modelOf(workload, 1);
  const { predict, train } = await model.profile({ batchSize: workload.B, repeats: 1 });
  expect(flopsOf(workload, 'infer')).toBe(predict.flops);
  expect(flopsOf(workload, 'train')).toBe(train?.flops);
  model.dispose();
});

test('no two networks share a name', () => {
  expect(new Set(workloads.map(({ name }) => name)).size).toBe(workloads.length);
});
