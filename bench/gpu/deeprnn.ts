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
import { estimateOf, labels, type Mode, numbers, type Precision, precisions, WorkSession } from './plans';
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
  /** The rung that was taken, where all recurrent ops took the same. */
  readonly taken?: string | undefined;
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

async function timePlan(session: WorkSession, row: Row): Promise<Times> {
  const { mode, rung } = row;
  const work = session.load(mode);
  try {
    const { notes, rungs } = work;
    const taken = rungs.length === 1 ? rungs[0] : undefined;
    // A rung that cannot run gives way to the next one, which has a row of its own.
    if (rung !== 'auto' && taken !== rung)
      throw new Error(`not measured: not on this rung, but ${notes.join('; ')}`);
    const times = await time(
      () => work.refresh(),
      () => work.runSync(),
    );
    const estimate = device === 'cpu' ? {} : expected(session.workload, row);
    return { ...times, notes, ...(taken ? { taken } : {}), ...estimate };
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

async function timeApi(model: Sequential, w: Workload, { mode }: Row): Promise<Times> {
  const { N, T, D } = w;
  const rounds = Array.from({ length: 4 }, (_, i) => ({
    x: tensor(numbers(N * T * D, i), [N, T, D]),
    y: tensor(labels(N * T, i), [N, T]),
  }));
  let next = 0;
  let { x, y } = rounds[0] as (typeof rounds)[0];
  return time(
    () => {
      ({ x, y } = rounds[next++ % rounds.length] as (typeof rounds)[0]);
    },
    () => (mode === 'step' ? model.trainOnBatch(x, y) : model.predict(x, { batchSize: N })),
  );
}

/** Why this engine has no such arithmetic, or undefined. Proven by the bits, so that no row goes under a wrong name. */
function refusalOf(precision: Precision): string | undefined {
  const w: Workload = { name: 'probe', cell: 'lstm', D: 64, H: [64], T: 4, N: 32 };
  try {
    modelOf(w, precision).dispose();
    if (precision === 'fp32') return undefined;
    const results = (['fp32', precision] as const).map((each) => {
      const session = new WorkSession(device, w, each);
      try {
        const work = session.load('forward');
        work.refresh();
        work.runSync();
        return Array.from(session.read('y'));
      } finally {
        session.dispose();
      }
    });
    const [exact, rounded] = results as [number[], number[]];
    if (exact.some((value, i) => value !== rounded[i])) return undefined;
    return `the engine gives the same bits in '${precision}' as in 'fp32', so it did not compute in it.`;
  } catch (error) {
    return reasonOf(error);
  }
}

const refusals = new Map<Precision, string | undefined>();

/** Prints a row: its time, or why it has none. */
async function measure(row: Row, work: () => Promise<Times>): Promise<Times | undefined> {
  const refusal = refusals.get(row.precision);
  let reason = 'not measured: out of time';
  if (refusal !== undefined) {
    reason = `not available: ${refusal}`;
  } else if (performance.now() < deadline) {
    try {
      const times = await work();
      print({ ...row, ...times });
      return times;
    } catch (error) {
      reason = reasonOf(error);
    }
  }
  print({ ...row, reason });
  return undefined;
}

/** Does `work` with something that is made when it is first asked for, and disposed in the end. */
async function using<T extends { dispose(): void }>(
  make: () => T,
  work: (get: () => T) => Promise<void>,
): Promise<void> {
  let made: T | undefined;
  try {
    await work(() => {
      made ??= make();
      return made;
    });
  } finally {
    made?.dispose();
  }
}

/** Opens a session on a rung: the engine reads the variable then. */
function open(w: Workload, precision: Precision, rung: string): WorkSession {
  if (rung === 'auto') delete process.env['DEEPRNN_CUDA_RUNG'];
  else process.env['DEEPRNN_CUDA_RUNG'] = rung;
  return new WorkSession(device, w, precision);
}

/** What decides the bars: every mode in one session. Gives the times of `forwardBackward` by workload and precision. */
async function measurePlans(workloads: readonly Workload[]): Promise<Map<string, Times>> {
  const found = new Map<string, Times>();
  for (const precision of precisions) {
    for (const w of workloads) {
      await using(
        () => open(w, precision, 'auto'),
        async (session) => {
          // The step is last, for it changes the weights.
          for (const mode of ['forwardBackward', 'forward', 'step'] as const) {
            const row: Row = { workload: w.name, mode, precision, variant: 'plan', rung: 'auto' };
            const times = await measure(row, () => timePlan(session(), row));
            if (mode === 'forwardBackward' && times) found.set(`${w.name} ${precision}`, times);
          }
        },
      );
    }
  }
  return found;
}

async function measureApi(workloads: readonly Workload[]): Promise<void> {
  delete process.env['DEEPRNN_CUDA_RUNG'];
  for (const precision of precisions) {
    for (const w of workloads.filter(({ api }) => api)) {
      await using(
        () => modelOf(w, precision),
        async (model) => {
          for (const mode of ['step', 'forward'] as const) {
            const row: Row = { workload: w.name, mode, precision, variant: 'api', rung: 'auto' };
            await measure(row, () => timeApi(model(), w, row));
          }
        },
      );
    }
  }
}

/** Every rung; the one that was taken unforced has its times in `found`. */
async function measureRungs(
  workloads: readonly Workload[],
  found: ReadonlyMap<string, Times>,
): Promise<void> {
  for (const precision of precisions) {
    for (const rung of ['d', 'c', 'b', 'a']) {
      for (const w of workloads) {
        const row: Row = { workload: w.name, mode: 'forwardBackward', precision, variant: 'plan', rung };
        const times = found.get(`${w.name} ${precision}`);
        if (times?.taken === rung) {
          print({ ...row, ...times });
          continue;
        }
        await using(
          () => open(w, precision, rung),
          async (session) => {
            await measure(row, () => timePlan(session(), row));
          },
        );
      }
    }
  }
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
  for (const precision of precisions) refusals.set(precision, refusalOf(precision));
  const workloads = readWorkloads(options.only as string, options.tiny as boolean);
  const times = await measurePlans(workloads);
  await measureApi(workloads);
  if (device !== 'cpu') await measureRungs(workloads, times);
}

main().catch((error: unknown) => {
  console.error(reasonOf(error));
  process.exitCode = 1;
});
