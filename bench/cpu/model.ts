// A workload in the words of this library.
import { type Layer, layers, type Sequential, sequential, tensor } from 'deeprnn';
import { labels, numbers } from './data';
import { CLASSES, type Workload } from './workloads';

/** A workload as a compiled model of this library. */
export function modelOf({ cell, D, H, T, resetAfter }: Workload, threads: number): Sequential {
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

/** x [B, T, D] and labels y [B, T]. */
export function dataOf({ B, T, D }: Workload) {
  return { x: tensor(numbers(B * T * D), [B, T, D]), y: tensor(labels(B * T, CLASSES), [B, T]) };
}
