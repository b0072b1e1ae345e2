import { layers, type Sequential, sequential, type Tensor, tensor } from '../../../lib';
import { Philox } from '../../../lib/tensors/random';

/** Random inputs `[count, steps, features]`. */
export function randomSequences(count: number, steps: number, features: number, seed: number): Tensor {
  const random = new Philox(seed, 77);
  return tensor(
    Float32Array.from({ length: count * steps * features }, () => random.nextNormal()),
    [count, steps, features],
  );
}

/** Steps `begin` … `end` of sequences. */
export function cut(x: Tensor, begin: number, end: number): Tensor {
  const [count, steps, width] = x.shape as [number, number, number];
  const out = new Float32Array(count * (end - begin) * width);
  for (let n = 0; n < count; n++)
    out.set(
      x.data.subarray((n * steps + begin) * width, (n * steps + end) * width),
      n * (end - begin) * width,
    );
  return tensor(out, [count, end - begin, width]);
}

/** Proves that two tensors are the same but for rounding. */
export function near(a: Tensor, b: Tensor): void {
  expect(a.shape).toEqual(b.shape);
  for (const [i, v] of a.data.entries()) expect(Math.abs(v - (b.data[i] as number))).toBeLessThan(1e-6);
}

/** A task that a small stack can learn: which third of the steps has the largest first feature on average. */
export function whichThird(x: Tensor): Tensor {
  const [count, steps, features] = x.shape as [number, number, number];
  const labels = new Int32Array(count);
  for (let n = 0; n < count; n++) {
    const means = [0, 1, 2].map((third) => {
      let sum = 0;
      for (let t = third; t < steps; t += 3) sum += x.data[(n * steps + t) * features] as number;
      return sum;
    });
    labels[n] = means.indexOf(Math.max(...means));
  }
  return tensor(labels);
}

export function smallModel(seed = 3, dropout = 0): Sequential {
  return sequential(
    [
      layers.lstm({ units: 9, returnSequences: true, inputShape: [6, 4], recurrentDropout: dropout }),
      layers.dropout({ rate: dropout }),
      layers.gru({ units: 7, dropout }),
      layers.dense({ units: 3, activation: 'softmax' }),
    ],
    { seed },
  );
}
