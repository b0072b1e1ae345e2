// What lower precisions gain on the CPU: time of inference, of single steps and of training, in all precisions by turns in one
// process; `node dist-examples/bench/precision.js [part of a name]`. Prints minimum and median in ms, and how many times as fast as
// float32 the medians are.
import { devices, layers, type Sequential, sequential, tensor } from 'deeprnn';

interface Workload {
  readonly name: string;
  readonly cell: 'lstm' | 'gru';
  readonly units: readonly number[];
  readonly input: number;
  readonly batch: number;
  /** 1: a step of a stateful model, as in a service. */
  readonly steps: number;
}

const workloads: Workload[] = [
  { name: 'LSTM 2×512, D256 B32 T64', cell: 'lstm', units: [512, 512], input: 256, batch: 32, steps: 64 },
  {
    name: 'LSTM 4×1024, D256 B64 T32',
    cell: 'lstm',
    units: [1024, 1024, 1024, 1024],
    input: 256,
    batch: 64,
    steps: 32,
  },
  { name: 'GRU 2×256, D128 B1, a step', cell: 'gru', units: [256, 256], input: 128, batch: 1, steps: 1 },
  { name: 'LSTM 2×512, D128 B1, a step', cell: 'lstm', units: [512, 512], input: 128, batch: 1, steps: 1 },
];
const precisions = ['fp32', 'bf16', 'int8'] as const;
type Precision = (typeof precisions)[number];

function build({ cell, units, input, batch, steps }: Workload, precision: Precision): Sequential {
  const stateful = steps === 1;
  const shape = stateful ? { batchInputShape: [batch, steps, input] } : { inputShape: [steps, input] };
  const stack = units.map((n, i) =>
    layers[cell]({
      units: n,
      stateful,
      returnSequences: i + 1 < units.length,
      ...(i === 0 ? shape : {}),
    }),
  );
  const model = sequential([...stack, layers.dense({ units: 10, activation: 'softmax' })], { seed: 1 });
  return model.compile({
    loss: 'sparseCategoricalCrossentropy',
    optimizer: 'adam',
    device: 'cpu',
    precision,
  });
}

/** Milliseconds of each round's mean over `repeats` calls, the models by turns. */
async function byTurns(
  works: readonly (() => Promise<unknown>)[],
  rounds: number,
  repeats: number,
): Promise<number[][]> {
  const taken: number[][] = works.map(() => []);
  for (let round = -1; round < rounds; round++) {
    for (const [i, work] of works.entries()) {
      const start = performance.now();
      for (let r = 0; r < repeats; r++) await work();
      if (round >= 0) taken[i]?.push((performance.now() - start) / repeats);
    }
  }
  return taken.map((times) => times.sort((a, b) => a - b));
}

function show(name: string, taken: readonly number[][]): void {
  const median = (times: readonly number[]) => times[Math.floor(times.length / 2)] as number;
  const all = taken.map((times, i) => {
    const gain = median(taken[0] as number[]) / median(times);
    return `${precisions[i]} ${(times[0] as number).toFixed(3)} ${median(times).toFixed(3)} (${gain.toFixed(2)})`;
  });
  console.log(`${name.padEnd(40)} ${all.join('   ')}`);
}

async function main(): Promise<void> {
  const cpu = devices().find((d) => d.device === 'cpu');
  console.log(`${cpu?.instructionSet}, ${cpu?.threads} threads`);
  for (const w of workloads.filter(({ name }) => name.includes(process.argv[2] ?? ''))) {
    const x = tensor(
      Float32Array.from({ length: w.batch * w.steps * w.input }, (_, i) => Math.sin(1.7 * i)),
      [w.batch, w.steps, w.input],
    );
    const y = tensor(
      Int32Array.from({ length: w.batch }, (_, i) => i % 10),
      [w.batch],
    );
    const models = precisions.map((precision) => build(w, precision));
    const predicts = models.map((model) => () => model.predict(x, { batchSize: w.batch }));
    show(`${w.name}: predict`, await byTurns(predicts, 9, w.steps === 1 ? 200 : 1));
    // 8-bit integers have no gradients.
    const steps = models.slice(0, 2).map((model) => () => model.trainOnBatch(x, y));
    if (w.steps > 1) show(`${w.name}: train`, await byTurns(steps, 5, 1));
    for (const model of models) model.dispose();
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
