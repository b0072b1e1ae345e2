// What a training step on one long sequence takes, with everything kept and with gradient checkpointing: bytes of the plan, as `summary` tells
// them, the largest resident set of a process of its own, and its time; `node dist-examples/bench/longSequences.js`.
import { spawnSync } from 'node:child_process';
import { layers, type Sequential, sequential, tensor } from 'deeprnn';

const UNITS = 128;
const FEATURES = 8;
const lengths = [1_000, 3_000, 10_000, 30_000, 100_000];
const MIB = 2 ** 20;

function build(checkpointing: boolean): Sequential {
  const model = sequential(
    [
      layers.lstm({ units: UNITS, returnSequences: true, inputShape: [null, FEATURES] }),
      layers.lstm({ units: UNITS }),
      layers.dense({ units: 1 }),
    ],
    { seed: 1 },
  );
  return model.compile({ loss: 'mse', optimizer: 'adam', threads: 2, gradientCheckpointing: checkpointing });
}

interface Cost {
  readonly planMiB: number;
  readonly peakMiB: number;
  readonly seconds: number;
}

/** Of the second of two steps, since the first touches all memory for the first time. */
async function measure(steps: number, checkpointing: boolean): Promise<Cost> {
  const model = build(checkpointing);
  const planMiB = Number(/train ([\d.]+) MiB/.exec(model.summary({ batchSize: 1, steps }))?.[1]);
  const x = tensor(
    Float32Array.from({ length: steps * FEATURES }, (_, i) => Math.sin(i * i)),
    [1, steps, FEATURES],
  );
  const y = tensor([[0.5]]);
  await model.trainOnBatch(x, y);
  const begin = performance.now();
  await model.trainOnBatch(x, y);
  const seconds = (performance.now() - begin) / 1000;
  return { planMiB, peakMiB: (process.resourceUsage().maxRSS * 1024) / MIB, seconds };
}

function inItsOwnProcess(steps: number, checkpointing: boolean): Cost {
  const { stdout, status } = spawnSync(process.execPath, [__filename, String(steps), String(checkpointing)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) throw new Error(`a step over ${steps} steps ended with ${status}`);
  return JSON.parse(stdout) as Cost;
}

async function main([steps, checkpointing]: readonly string[]): Promise<void> {
  if (steps !== undefined) {
    process.stdout.write(JSON.stringify(await measure(Number(steps), checkpointing === 'true')));
    return;
  }
  console.log('| T | plan, MiB | with checkpointing | peak of the process, MiB | with | a step, s | with |');
  console.log('|---|---|---|---|---|---|---|');
  for (const T of lengths) {
    const [whole, parts] = [inItsOwnProcess(T, false), inItsOwnProcess(T, true)];
    const cells = [
      ...[whole.planMiB, parts.planMiB, whole.peakMiB, parts.peakMiB].map((n) => n.toFixed(n < 10 ? 1 : 0)),
      ...[whole.seconds, parts.seconds].map((n) => n.toFixed(2)),
    ];
    console.log(`| ${T.toLocaleString('en')} | ${cells.join(' | ')} |`);
  }
}

void main(process.argv.slice(2));
