// What padding costs: a batch of which every sequence is as long as the batch, and batches with lengths evenly from a quarter of that on, as
// they come and with the longest first; `node dist-examples/bench/lengths.js`. Prints the median in ms.
import { layers, sequential, tensor } from 'deeprnn';

const [N, T, D, UNITS] = [32, 128, 64, 256];
const ROUNDS = 15;

const model = sequential(
  [
    layers.lstm({ units: UNITS, returnSequences: true, inputShape: [null, D] }),
    layers.lstm({ units: UNITS }),
    layers.dense({ units: 10, activation: 'softmax' }),
  ],
  { seed: 1 },
).compile({ loss: 'sparseCategoricalCrossentropy', optimizer: 'adam', threads: 2 });

const x = tensor(
  Float32Array.from({ length: N * T * D }, (_, i) => Math.sin(i * i)),
  [N, T, D],
);
const y = tensor(Int32Array.from({ length: N }, (_, n) => n % 10));
const sorted = Int32Array.from({ length: N }, (_, n) => Math.round(T - (0.75 * T * n) / (N - 1)));
/** In an order of no meaning. */
const mixed = sorted.map((_, n) => sorted[(n * 13 + 5) % N] as number);
const cases = [
  ['no lengths', undefined],
  ['all as long as the batch', new Int32Array(N).fill(T)],
  ['from a quarter on', mixed],
  ['from a quarter on, longest first', sorted],
] as const;

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] as number;
}

async function main(): Promise<void> {
  const taken = cases.map(() => ({ predict: [] as number[], train: [] as number[] }));
  for (let round = -2; round < ROUNDS; round++) {
    for (const [i, [, lengths]] of cases.entries()) {
      const options = lengths ? { lengths } : {};
      const begin = performance.now();
      await model.predict(x, options);
      const middle = performance.now();
      await model.trainOnBatch(x, y, options);
      if (round < 0) continue;
      taken[i]?.predict.push(middle - begin);
      taken[i]?.train.push(performance.now() - middle);
    }
  }
  const steps = (lengths?: Int32Array) => (lengths ? lengths.reduce((a, b) => a + b) / (N * T) : 1);
  console.log('| lengths | steps that count | predict, ms | train, ms |');
  console.log('|---|---|---|---|');
  for (const [i, [name, lengths]] of cases.entries()) {
    const times = [taken[i]?.predict ?? [], taken[i]?.train ?? []].map((t) => median(t).toFixed(1));
    console.log(`| ${name} | ${steps(lengths).toFixed(2)} | ${times.join(' | ')} |`);
  }
}

void main();
