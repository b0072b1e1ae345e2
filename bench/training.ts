// Time of one training step and of inference, through the public API, for the networks that the library is made for. Prints medians;
// `node dist-examples/bench/training.js [name]`.
import { devices, type Layer, layers, sequential, tensor } from 'deeprnn';

interface Workload {
  readonly name: string;
  readonly input: number;
  readonly batch: number;
  readonly steps: number;
  readonly layers: readonly Layer[];
}

const inputShape = (steps: number, input: number) => ({ returnSequences: true, inputShape: [steps, input] });
const workloads: Workload[] = [
  {
    name: 'SimpleRNN 64→32, D16 B64 T50',
    input: 16,
    batch: 64,
    steps: 50,
    layers: [
      layers.simpleRNN({ units: 64, ...inputShape(50, 16) }),
      layers.simpleRNN({ units: 32, returnSequences: true }),
    ],
  },
  {
    name: 'LSTM 64→32, D28 B64 T28',
    input: 28,
    batch: 64,
    steps: 28,
    layers: [
      layers.lstm({ units: 64, ...inputShape(28, 28) }),
      layers.lstm({ units: 32, returnSequences: true }),
    ],
  },
  {
    name: 'LSTM 2×256, D128 B32 T64',
    input: 128,
    batch: 32,
    steps: 64,
    layers: [
      layers.lstm({ units: 256, ...inputShape(64, 128) }),
      layers.lstm({ units: 256, returnSequences: true }),
    ],
  },
  {
    name: 'GRU 2×256, D128 B32 T64',
    input: 128,
    batch: 32,
    steps: 64,
    layers: [
      layers.gru({ units: 256, ...inputShape(64, 128) }),
      layers.gru({ units: 256, returnSequences: true }),
    ],
  },
];

async function median(times: number, work: () => Promise<unknown>): Promise<number> {
  for (let i = 0; i < 3; i++) await work();
  const taken: number[] = [];
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    await work();
    taken.push(performance.now() - start);
  }
  return taken.sort((a, b) => a - b)[Math.floor(times / 2)] as number;
}

async function main(): Promise<void> {
  const cpu = devices().find((d) => d.device === 'cpu');
  console.log(`${cpu?.instructionSet}, ${cpu?.threads} threads`);
  for (const w of workloads.filter(({ name }) => name.includes(process.argv[2] ?? ''))) {
    const model = sequential([...w.layers, layers.dense({ units: 10, activation: 'softmax' })], { seed: 1 });
    model.compile({ loss: 'sparseCategoricalCrossentropy', optimizer: { type: 'adam', globalClipNorm: 1 } });
    const x = tensor(
      Float32Array.from({ length: w.batch * w.steps * w.input }, (_, i) => Math.sin(i)),
      [w.batch, w.steps, w.input],
    );
    const y = tensor(
      Int32Array.from({ length: w.batch * w.steps }, (_, i) => i % 10),
      [w.batch, w.steps],
    );
    const infer = await median(30, () => model.predict(x, { batchSize: w.batch }));
    const train = await median(30, () => model.trainOnBatch(x, y));
    console.log(`${w.name.padEnd(32)} infer ${infer.toFixed(2)} ms  train ${train.toFixed(2)} ms`);
    model.dispose();
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
