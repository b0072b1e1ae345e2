// This library, through its public face.
import { devices, tensor } from 'deeprnn';
import { numbers } from '../data';
import { dataOf, modelOf } from '../model';
import { CLASSES } from '../workloads';
import { serve } from './serve';

let threads = 1;

serve({
  start(count) {
    threads = count;
    const cpu = devices().find(({ device }) => device === 'cpu');
    if (!cpu?.available) throw new Error(cpu?.reason ?? "no device 'cpu'");
    return `${require('deeprnn/package.json').version} (${cpu.instructionSet})`;
  },
  async make(workload, mode) {
    const model = modelOf(workload, threads);
    const { x, y } = dataOf(workload);
    if (mode === 'infer' && workload.T === 1) {
      // One step of a live sequence has a way of its own.
      const stream = await model.stream({ batchSize: workload.B });
      const [step, out] = [x.data as Float32Array, new Float32Array(workload.B * CLASSES)];
      return {
        run: async () => stream.stepSync(step, out),
        dispose: () => {
          stream.dispose();
          model.dispose();
        },
      };
    }
    return {
      run: () => (mode === 'infer' ? model.predict(x, { batchSize: workload.B }) : model.trainOnBatch(x, y)),
      dispose: () => model.dispose(),
    };
  },
  async check({ workload, steps }) {
    const model = modelOf(workload, threads);
    const { x, y } = dataOf(workload);
    // Random biases too: where they are all zero, a wrong order of them would go unseen.
    const drawn = [...(await model.getWeights())].map(
      ([name, w]) => [name, name.endsWith('/bias') ? tensor(numbers(w.size), w.shape) : w] as const,
    );
    await model.setWeights(new Map(drawn));
    const probabilities = await model.predict(x, { batchSize: workload.B });
    const losses: number[] = [];
    for (let i = 0; i < steps; i++) losses.push((await model.trainOnBatch(x, y)).loss);
    model.dispose();
    const weights = Object.fromEntries(
      drawn.map(([name, { shape, data }]) => [name, { shape, data: [...data] }]),
    );
    const given = { weights, x: [...x.data], labels: [...y.data] };
    return { y: [...probabilities.data], losses, given };
  },
});
