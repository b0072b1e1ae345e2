// Puts the persistent kernels of the CUDA engine to the test at the sizes that are timed, where a fault of memory order would show
// (docs/gpu-testing.md): one JSON line for every workload and precision; ends with 1 where a check failed.
//
//   node dist-examples/bench/gpu/stress.js [--device cuda] [--seconds 60] [--runs 200] [--only lstm-2x512] [--tiny]
import { parseArgs } from 'node:util';
import {
  assignPlan,
  differencePlan,
  type LoadedWork,
  numbers,
  type Precision,
  precisions,
  WorkSession,
} from './plans';
import { inside, readWorkloads, type Workload } from './workloads';

const { cudaInfo } = inside<typeof import('../../dist/engines/cuda')>('engines/cuda');

const { values: options } = parseArgs({
  options: {
    device: { type: 'string', default: 'cuda' },
    seconds: { type: 'string', default: '60' },
    runs: { type: 'string', default: '200' },
    only: { type: 'string', default: '' },
    tiny: { type: 'boolean', default: false },
  },
});
const device = options.device as string;
const RUNS = Number(options.runs);
const deadline = performance.now() + 1000 * Number(options.seconds);
/** Blocks that wait for each other forever are not to be told from slow ones but by the clock, ms. */
const PATIENCE = 30_000;
/** The other engine has no rungs; on it, only the way through is tried. */
const RUNGS = device === 'cpu' ? ['auto'] : ['d', 'c'];

/**
 * Norm of the difference to rung a in fp32, over the norm. Rounding the factors of all products, and nothing else, moves the timed
 * workloads by a third of this in bf16 and tf32, and by less in fp32.
 */
const LIMITS: Record<Precision, { readonly values: number; readonly gradients: number }> = {
  fp32: { values: 1e-5, gradients: 1e-4 },
  tf32: { values: 1e-3, gradients: 2e-3 },
  bf16: { values: 1e-2, gradients: 2e-2 },
};

type Results = ReadonlyMap<string, Float32Array>;

const reasonOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
const bytesOf = (values: Float32Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

/** Two sets of inputs, in turn: what a block reads too early is then not what the last run has left there, which would be right. */
const SETS = [0, 1] as const;
type InputSet = (typeof SETS)[number];

/** A workload on one rung, with its results for either input. */
class Subject {
  readonly work: LoadedWork;
  private readonly session: WorkSession;
  private readonly take;
  private readonly keep;
  private readonly difference;
  /** What the plan of differences does not take: few numbers, compared here. */
  private readonly vectors: readonly string[];
  private readonly wantedVectors: (readonly Float32Array[])[] = [];

  constructor(w: Workload, precision: Precision, rung: string) {
    // The engine reads it when a session opens.
    if (rung === 'auto') delete process.env['DEEPRNN_CUDA_RUNG'];
    else process.env['DEEPRNN_CUDA_RUNG'] = rung;
    this.session = new WorkSession(device, w, precision);
    try {
      this.work = this.session.load('forwardBackward');
      if (rung !== 'auto' && this.work.rungs.join() !== rung)
        throw new Unfit(`not on rung ${rung}, but ${this.work.notes.join('; ')}`);
      const shape = [w.T, w.N, w.D];
      const { results } = this.work;
      const wide = results.filter((result) => result.shape.length > 1);
      this.vectors = results.filter((result) => result.shape.length === 1).map(({ name }) => name);
      const prepare = this.session.prepare.bind(this.session);
      this.take = SETS.map((k) => prepare(assignPlan(`take ${k}`, [['x', `x ${k}`, shape]])));
      for (const k of SETS) this.session.write(`x ${k}`, numbers(w.T * w.N * w.D, k + 1));
      this.keep = SETS.map((k) =>
        prepare(
          assignPlan(
            `keep ${k}`,
            wide.map(({ name, shape }) => [`wanted ${k} ${name}`, name, shape]),
          ),
        ),
      );
      this.difference = SETS.map((k) =>
        prepare(
          differencePlan(
            `difference ${k}`,
            wide.map(({ name, shape }) => [name, `wanted ${k} ${name}`, shape]),
          ),
        ),
      );
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  private async run(k: InputSet): Promise<void> {
    await this.take[k]?.run();
    await this.work.run();
  }

  private readVectors(): Float32Array[] {
    return this.vectors.map((name) => this.session.read(name) as Float32Array);
  }

  /** Runs on either input once; what comes out is what later runs must repeat. Gives the results for the first one. */
  async begin(): Promise<Results> {
    let first: Results | undefined;
    for (const k of SETS) {
      await this.run(k);
      await this.keep[k]?.run();
      this.wantedVectors[k] = this.readVectors();
      first ??= new Map(this.work.results.map(({ name }) => [name, this.session.read(name) as Float32Array]));
    }
    return first as Results;
  }

  /** Names the results that a later run did not repeat bit for bit; −0 counts as 0 where the device compares. */
  async repeat(): Promise<string[]> {
    const changed = new Set<string>();
    for (let i = 0; i < RUNS; i++) {
      const k = SETS[i % 2] as InputSet;
      await this.run(k);
      const difference = this.difference[k];
      await difference?.run();
      for (const { name, shape } of this.work.results) {
        // Not a number is no agreement either.
        if (shape.length > 1 && difference?.output(name)[0] !== 0) changed.add(name);
      }
      this.readVectors().forEach((values, v) => {
        const wanted = this.wantedVectors[k]?.[v];
        if (!wanted || !bytesOf(values).equals(bytesOf(wanted))) changed.add(this.vectors[v] as string);
      });
    }
    return [...changed];
  }

  dispose(): void {
    this.session.dispose();
  }
}

/** A rung that cannot run a workload. */
class Unfit extends Error {}

/**
 * Norm of the difference over the norm, of all gradients as one and of the values; infinite (null in the output) where something
 * is not a number.
 */
function distances(actual: Results, wanted: Results): { values: number; gradients: number } {
  const sums = { values: [0, 0], gradients: [0, 0] } as Record<'values' | 'gradients', [number, number]>;
  for (const [name, own] of actual) {
    const sum = sums[name === 'y' ? 'values' : 'gradients'];
    const other = wanted.get(name) as Float32Array;
    for (let i = 0; i < own.length; i++) {
      const reference = other[i] as number;
      const difference = (own[i] as number) - reference;
      sum[0] += difference * difference;
      sum[1] += reference * reference;
    }
  }
  const ratio = ([difference, reference]: [number, number]) => {
    const value = Math.sqrt(difference / reference);
    return Number.isFinite(value) ? Number(value.toPrecision(3)) : Number.POSITIVE_INFINITY;
  };
  return { values: ratio(sums.values), gradients: ratio(sums.gradients) };
}

/** A line of the output. What failed stands in `failures`, in words. */
interface Line {
  readonly workload: string;
  readonly precision: Precision;
  /** How far each rung is from rung a in fp32, or why it was not checked. */
  readonly rungs: Record<string, { values: number; gradients: number } | { reason: string }>;
  /** The rungs whose sessions ran at once, or why there were none. */
  together?: readonly string[] | string;
  readonly failures: string[];
}

let failed = false;

function print(line: Line): void {
  failed ||= line.failures.length > 0;
  console.log(JSON.stringify({ side: 'stress', runs: RUNS, ...line }));
}

/** Ends the process where work does not end: the device is hung, so that there is nothing to go on with. */
async function patiently<T>(line: Line, what: string, work: () => Promise<T>): Promise<T> {
  const watch = setTimeout(() => {
    line.failures.push(`${what}: did not end within ${PATIENCE / 1000} s`);
    print(line);
    // An ordinary exit would wait for the device.
    process.kill(process.pid, 'SIGKILL');
  }, PATIENCE);
  try {
    return await work();
  } finally {
    clearTimeout(watch);
  }
}

async function check(w: Workload, precision: Precision, wanted: Results): Promise<void> {
  const line: Line = { workload: w.name, precision, rungs: {}, failures: [] };
  const subjects: [rung: string, Subject][] = [];
  try {
    for (const rung of RUNGS) {
      try {
        const subject = new Subject(w, precision, rung);
        subjects.push([rung, subject]);
        const distance = distances(await patiently(line, `rung ${rung}`, () => subject.begin()), wanted);
        line.rungs[rung] = distance;
        for (const part of ['values', 'gradients'] as const) {
          if (distance[part] > LIMITS[precision][part])
            line.failures.push(
              `rung ${rung}: ${part} are ${distance[part]} off, more than ${LIMITS[precision][part]}`,
            );
        }
        const changed = await patiently(line, `rung ${rung}`, () => subject.repeat());
        if (changed.length > 0)
          line.failures.push(`rung ${rung}: not the same bits in every run: ${changed.join(', ')}`);
      } catch (error) {
        if (!(error instanceof Unfit)) throw error;
        line.rungs[rung] = { reason: error.message };
      }
    }
    await checkTogether(line, w, precision, subjects);
  } catch (error) {
    line.failures.push(reasonOf(error));
  } finally {
    for (const [, subject] of subjects) subject.dispose();
  }
  print(line);
}

/** Two sessions at once, on both rungs where both fit: neither kernel may keep the other's blocks from ever starting. */
async function checkTogether(
  line: Line,
  w: Workload,
  precision: Precision,
  subjects: [rung: string, Subject][],
): Promise<void> {
  const [only] = subjects;
  if (!only) {
    line.together = 'no rung fits';
    return;
  }
  if (subjects.length === 1) {
    const [rung] = only;
    const second = new Subject(w, precision, rung);
    subjects.push([rung, second]);
    await patiently(line, `rung ${rung}`, () => second.begin());
  }
  line.together = subjects.map(([rung]) => rung);
  const changed = await patiently(line, 'two sessions at once', () =>
    Promise.all(subjects.map(([, subject]) => subject.repeat())),
  );
  changed.forEach((names, i) => {
    if (names.length > 0)
      line.failures.push(
        `two sessions at once, rung ${subjects[i]?.[0]}: not the same bits in every run: ${names.join(', ')}`,
      );
  });
}

/** What everything is compared with: fp32 on the rung that has no persistent kernel. */
async function reference(w: Workload): Promise<Results> {
  const subject = new Subject(w, 'fp32', device === 'cpu' ? 'auto' : 'a');
  try {
    return await subject.begin();
  } finally {
    subject.dispose();
  }
}

async function main(): Promise<void> {
  const info = device === 'cpu' ? undefined : cudaInfo();
  if (info && 'reason' in info) throw new Error(`device '${device}' cannot be used: ${info.reason}`);
  for (const w of readWorkloads(options.only as string, options.tiny as boolean)) {
    let wanted: Results | undefined;
    for (const precision of precisions) {
      if (device === 'cpu' && precision !== 'fp32') continue;
      if (performance.now() > deadline) {
        const reason = 'not checked: out of time';
        print({ workload: w.name, precision, rungs: {}, together: reason, failures: [] });
        continue;
      }
      wanted ??= await reference(w);
      await check(w, precision, wanted);
    }
  }
  if (failed) process.exitCode = 1;
}

main().catch((error: unknown) => {
  console.error(reasonOf(error));
  process.exitCode = 1;
});
