// This library, through its public face.
import { devices, type Layer, layers, type Sequential, sequential, tensor } from 'deeprnn';
import { CLASSES, type Workload } from '../workloads';
import { labels, numbers, serve } from './serve';

let threads = 1;

function modelOf({ cell, D, H, T, resetAfter }: Workload): Sequential {
  const stack = H.map((units, l): Layer => {
    const shape = l === 0 ? { inputShape: [T, D] } : {};
    const options = { units, returnSequences: true, ...shape };
    if (cell === 'gru') return layers.gru({ ...options, resetAfter });
    return cell === 'lstm' ? layers.lstm(options) : layers.simpleRNN(options);
  });
  const model = sequential([...stack, layers.dense({ units: CLASSES, activation: 'softmax' })], { seed: 1 });
  model.compile({
    loss: 'sparseCategoricalCrossentropy',
    optimizer: { type: 'adam', globalClipNorm: 1 },
    device: 'cpu',
    threads,
  });
  return model;
}

function dataOf({ B, T, D }: Workload) {
  return { x: tensor(numbers(B * T * D), [B, T, D]), y: tensor(labels(B * T, CLASSES), [B, T]) };
}

serve({
  start(count) {
    threads = count;
    const cpu = devices().find(({ device }) => device === 'cpu');
    if (!cpu?.available) throw new Error(cpu?.reason ?? "no device 'cpu'");
    return `${require('deeprnn/package.json').version} (${cpu.instructionSet})`;
  },
  make(workload, mode) {
    const model = modelOf(workload);
    const { x, y } = dataOf(workload);
    return {
      run: () => (mode === 'infer' ? model.predict(x, { batchSize: workload.B }) : model.trainOnBatch(x, y)),
      dispose: () => model.dispose(),
    };
  },
  async check({ workload, steps }) {
    const model = modelOf(workload);
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
