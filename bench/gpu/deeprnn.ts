// Our side of the benchmark against PyTorch (docs/gpu-testing.md): one JSON line for every measured row.
//
//   node dist-examples/bench/gpu/deeprnn.js [--device cuda] [--seconds 90] [--only lstm-2x512] [--tiny]
import { parseArgs } from 'node:util';
import {
  type CompileOptions,
  devices,
  type Layer,
  layers,
  type Sequential,
  sequential,
  tensor,
} from 'deeprnn';
import {
  estimateOf,
  LoadedWork,
  labels,
  type Mode,
  modes,
  numbers,
  type Precision,
  precisions,
} from './plans';
import { CLASSES, inside, readWorkloads, type Workload } from './workloads';

const { cudaInfo } = inside<typeof import('../../dist/engines/cuda')>('engines/cuda');

const { values: options } = parseArgs({
  options: {
    device: { type: 'string', default: 'cuda' },
    seconds: { type: 'string', default: '90' },
    only: { type: 'string', default: '' },
    tiny: { type: 'boolean', default: false },
  },
});
const device = options.device as string;
const deadline = performance.now() + 1000 * Number(options.seconds);
/** What one row may take once it is warm, ms. */
const ROW_TIME = options.tiny ? 20 : 100;
const WARM_UP = 5;
const FEWEST = 5;
const MOST = 50;

interface Row {
  readonly workload: string;
  readonly mode: Mode;
  readonly precision: Precision;
  /** `plan`: one native call, arrays on the device. `api`: `predict` or `trainOnBatch`, from arrays on the host. */
  readonly variant: 'plan' | 'api';
  /** The rung of the ladder that was forced, or `auto`. */
  readonly rung: string;
}

interface Times {
  readonly medianMs: number;
  readonly fastestMs: number;
  readonly runs: number;
  readonly notes?: readonly string[];
  /** What was to be expected on an H100; not where the rung that is forced cannot run. */
  readonly estimateMs?: number;
}

const print = (line: object) => console.log(JSON.stringify({ side: 'deeprnn', ...line }));
const reasonOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Times `work` after a warm-up, each time on what `refresh` has prepared. */
async function time(refresh: () => void, work: () => unknown): Promise<Times> {
  for (let i = 0; i < WARM_UP; i++) {
    refresh();
    await work();
  }
  const taken: number[] = [];
  const end = performance.now() + ROW_TIME;
  while (taken.length < FEWEST || (taken.length < MOST && performance.now() < end)) {
    refresh();
    const start = performance.now();
    const pending = work();
    if (pending instanceof Promise) await pending;
    taken.push(performance.now() - start);
  }
  taken.sort((a, b) => a - b);
  return {
    medianMs: taken[Math.floor(taken.length / 2)] as number,
    fastestMs: taken[0] as number,
    runs: taken.length,
  };
}

/** What a row of a plan should take, in the words of its result. */
function expected(w: Workload, { mode, precision, rung }: Row): { estimateMs?: number } {
  const estimate = estimateOf(w, mode, precision);
  const forced = Object.entries(estimate.rungs).find(([name]) => name === rung)?.[1];
  if (!forced) return { estimateMs: estimate.milliseconds };
  return forced.fits ? { estimateMs: forced.milliseconds } : {};
}

async function timePlan(w: Workload, row: Row): Promise<Times> {
  const { mode, precision } = row;
  const work = new LoadedWork(device, w, mode, precision);
  try {
    const times = await time(
      () => work.refresh(),
      () => work.run(),
    );
    return { ...times, notes: work.notes, ...(device === 'cpu' ? {} : expected(w, row)) };
  } finally {
    work.dispose();
  }
}

function modelOf(w: Workload, precision: Precision): Sequential {
  const stack = w.H.map((units, l): Layer => {
    const shape = l === 0 ? { inputShape: [w.T, w.D] } : {};
    return layers[w.cell === 'simpleRnn' ? 'simpleRNN' : w.cell]({ units, returnSequences: true, ...shape });
  });
  const model = sequential([...stack, layers.dense({ units: CLASSES, activation: 'softmax' })], { seed: 1 });
  model.compile({
    loss: 'sparseCategoricalCrossentropy',
    optimizer: { type: 'adam', globalClipNorm: 1 },
    device,
    precision,
  } as CompileOptions);
  return model;
}

async function timeApi(w: Workload, { mode, precision }: Row): Promise<Times> {
  const model = modelOf(w, precision);
  const { N, T, D } = w;
  const rounds = Array.from({ length: 4 }, (_, i) => ({
    x: tensor(numbers(N * T * D, i), [N, T, D]),
    y: tensor(labels(N * T, i), [N, T]),
  }));
  let next = 0;
  let { x, y } = rounds[0] as (typeof rounds)[0];
  try {
    return await time(
      () => {
        ({ x, y } = rounds[next++ % rounds.length] as (typeof rounds)[0]);
      },
      () => (mode === 'step' ? model.trainOnBatch(x, y) : model.predict(x, { batchSize: N })),
    );
  } finally {
    model.dispose();
  }
}

/** Why this engine has no such arithmetic, or undefined. Proven by the bits, so that no row goes under a wrong name. */
function refusalOf(precision: Precision): string | undefined {
  const w: Workload = { name: 'probe', cell: 'lstm', D: 64, H: [64], T: 4, N: 32 };
  try {
    modelOf(w, precision).dispose();
    if (precision === 'fp32') return undefined;
    const results = (['fp32', precision] as const).map((each) => {
      const work = new LoadedWork(device, w, 'forward', each);
      try {
        work.refresh();
        work.run();
        return Array.from(work.read('y'));
      } finally {
        work.dispose();
      }
    });
    const [exact, rounded] = results as [number[], number[]];
    if (exact.some((value, i) => value !== rounded[i])) return undefined;
    return `the engine gives the same bits in '${precision}' as in 'fp32', so it did not compute in it.`;
  } catch (error) {
    return reasonOf(error);
  }
}

/** All rows, what decides the bars first. */
function* rows(workloads: readonly Workload[]): Generator<[Workload, Row]> {
  for (const mode of modes)
    for (const precision of precisions)
      for (const w of workloads)
        yield [w, { workload: w.name, mode, precision, variant: 'plan', rung: 'auto' }];
  for (const mode of ['step', 'forward'] as const)
    for (const precision of precisions)
      for (const w of workloads.filter(({ api }) => api))
        yield [w, { workload: w.name, mode, precision, variant: 'api', rung: 'auto' }];
  if (device === 'cpu') return;
  for (const precision of precisions)
    for (const rung of ['a', 'b', 'c', 'd'])
      for (const w of workloads)
        yield [w, { workload: w.name, mode: 'forwardBackward', precision, variant: 'plan', rung }];
}

async function main(): Promise<void> {
  const info = device === 'cpu' ? undefined : cudaInfo();
  if (info && 'reason' in info) throw new Error(`device '${device}' cannot be used: ${info.reason}`);
  const found = devices().find((d) => d.available && (d.device === device || d.engine === device));
  print({
    about: {
      device: found?.name,
      computeCapability: found?.computeCapability,
      driver: info?.driver,
      runtime: info?.runtime,
      node: process.version,
    },
  });
  const refusals = new Map(precisions.map((precision) => [precision, refusalOf(precision)]));
  for (const [w, row] of rows(readWorkloads(options.only as string, options.tiny as boolean))) {
    const refusal = refusals.get(row.precision);
    if (refusal !== undefined) {
      print({ ...row, reason: `not available: ${refusal}` });
    } else if (performance.now() > deadline) {
      print({ ...row, reason: 'not measured: out of time' });
    } else {
      // The engine reads the variable when a session opens.
      if (row.rung === 'auto') delete process.env['DEEPRNN_CUDA_RUNG'];
      else process.env['DEEPRNN_CUDA_RUNG'] = row.rung;
      try {
        print({ ...row, ...(await (row.variant === 'plan' ? timePlan(w, row) : timeApi(w, row))) });
      } catch (error) {
        print({ ...row, reason: reasonOf(error) });
      }
    }
  }
}

main().catch((error: unknown) => {
  console.error(reasonOf(error));
  process.exitCode = 1;
});
