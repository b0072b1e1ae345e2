// The measured work as plans. Inputs, labels and results are variables of the session, so that a timed run moves no array between
// host and device: what PyTorch is measured on, tensors that are on the device already.
import type { EngineSession, Executable, SessionOptions } from '../../dist/engines/engine';
import type { PlanEstimate } from '../../dist/models/estimate/cudaEstimate';
import type { Optimizer } from '../../dist/optimizers/optimizer';
import type { PlanBuilder } from '../../dist/plan/builder';
import type { Plan, RnnStackAttrs, ValueId } from '../../dist/plan/types';
import type { TensorData } from '../../dist/tensors/tensor';
import { CLASSES, inside, type Workload } from './workloads';

const builders = inside<typeof import('../../dist/plan/builder')>('plan/builder');
const { createEngine } = inside<typeof import('../../dist/engines/devices')>('engines/devices');
const { gradients } = inside<typeof import('../../dist/plan/gradients')>('plan/gradients');
const { HYPER_SIZE } = inside<typeof import('../../dist/plan/ops/update')>('plan/ops/update');
const { gateCounts } = inside<typeof import('../../dist/plan/codes')>('plan/codes');
const { resolveOptimizer } = inside<typeof import('../../dist/optimizers/optimizer')>('optimizers/optimizer');
const { ABSENT } = inside<typeof import('../../dist/plan/types')>('plan/types');
const { estimatePlan } = inside<typeof import('../../dist/models/estimate/cudaEstimate')>(
  'models/estimate/cudaEstimate',
);
const { Philox } = inside<typeof import('../../dist/tensors/random')>('tensors/random');

/** `forwardBackward`: from given gradients of the outputs to those of all weights. `step`: with head, loss, clip and Adam. */
export const modes = ['forwardBackward', 'step', 'forward'] as const;
export type Mode = (typeof modes)[number];
export const precisions = ['fp32', 'bf16', 'tf32'] as const;
export type Precision = (typeof precisions)[number];

const POOL = 2 ** 20;
/** Random numbers by their scale. */
const pools = new Map<number, Float32Array>();

function poolOf(scale: number): Float32Array {
  let pool = pools.get(scale);
  if (!pool) {
    const random = new Philox(1);
    pool = Float32Array.from({ length: POOL }, () => scale * (2 * random.nextFloat() - 1));
    pools.set(scale, pool);
  }
  return pool;
}

/** Numbers in (−scale, scale), others for another `offset`. They repeat: to draw one for each of 30 million weights would take seconds. */
export function numbers(size: number, offset: number, scale = 1): Float32Array {
  const pool = poolOf(scale);
  const values = new Float32Array(size);
  let from = (7919 * offset) % POOL;
  for (let at = 0; at < size; from = 0) {
    const part = pool.subarray(from, from + size - at);
    values.set(part, at);
    at += part.length;
  }
  return values;
}

export const labels = (size: number, offset: number) =>
  Int32Array.from(numbers(size, offset), (v) => Math.min(CLASSES - 1, Math.floor(((v + 1) / 2) * CLASSES)));

function stackAttrs(w: Workload): RnnStackAttrs {
  return {
    steps: w.T,
    batch: w.N,
    inputSize: w.D,
    returnSequences: true,
    goBackwards: false,
    seed: 1,
    layers: w.H.map((units, i) => ({
      name: `${w.cell}_${i}`,
      cell: w.cell,
      units,
      activation: { kind: 'tanh', alpha: 0 },
      recurrentActivation: { kind: 'sigmoid', alpha: 0 },
      resetAfter: true,
      useBias: true,
      inputDropout: { mode: 'element', rate: 0, stream: 0 },
      recurrentDropout: { rate: 0, stream: 0 },
    })),
  };
}

interface Stack {
  readonly step: ValueId;
  readonly x: ValueId;
  /** Kernel, recurrent kernel and bias of every layer. */
  readonly weights: readonly (readonly ValueId[])[];
}

function declareStack(b: PlanBuilder, w: Workload): Stack {
  const inputs = [w.D, ...w.H];
  return {
    step: b.input('step', 'float64', [1]),
    x: b.variable('x', 'real', [w.T, w.N, w.D]),
    weights: w.H.map((units, l) => {
      const width = gateCounts[w.cell] * units;
      return [
        b.variable(`kernel ${l}`, 'real', [inputs[l] as number, width]),
        b.variable(`recurrentKernel ${l}`, 'real', [units, width]),
        b.variable(`bias ${l}`, 'real', w.cell === 'gru' ? [2, width] : [width]),
      ];
    }),
  };
}

/** Emits the forward pass; gives the reserve for the backward pass and the outputs of the last layer. */
function forward(b: PlanBuilder, w: Workload, { step, x, weights }: Stack): { reserve: ValueId; y: ValueId } {
  const inputs = [step, x, ABSENT, ...weights.flatMap((own) => [...own, ABSENT, ABSENT, ABSENT])];
  const outputs = b.emit('rnnStack', inputs, stackAttrs(w), w.name);
  return { reserve: outputs[0] as ValueId, y: outputs[1 + 3 * (w.H.length - 1)] as ValueId };
}

/** Keeps a result: what nobody reads is not computed. */
function keep(b: PlanBuilder, name: string, id: ValueId): void {
  b.emitInto('assign', [id], [b.variable(name, 'real', b.spec(id).shape)], {}, name);
}

function backward(b: PlanBuilder, w: Workload, stack: Stack, reserve: ValueId, y: ValueId): void {
  const dy = b.variable('dy', 'real', b.spec(y).shape);
  const last = w.H.length - 1;
  const own = stack.weights.flatMap((ids, l) => [
    ...ids,
    ABSENT,
    ABSENT,
    ABSENT,
    l === last ? dy : ABSENT,
    ABSENT,
    ABSENT,
  ]);
  const want = [false, false, ...w.H.flatMap(() => [true, true, true, false, false, false])];
  const grads = b.emit(
    'rnnStackGrad',
    [stack.step, stack.x, ABSENT, reserve, ...own],
    stackAttrs(w),
    w.name,
    want,
  );
  grads.forEach((id, i) => {
    if (id !== ABSENT) keep(b, `gradient ${i}`, id);
  });
}

function train(b: PlanBuilder, w: Workload, stack: Stack, y: ValueId, optimizer: Optimizer): void {
  const head = [
    b.variable('head kernel', 'real', [w.H[w.H.length - 1] as number, CLASSES]),
    b.variable('head bias', 'real', [CLASSES]),
  ];
  const logits = b.emit('dense', [y, ...head], {}, 'head')[0] as ValueId;
  const target = b.variable('labels', 'int32', [w.T, w.N]);
  const attrs = { kind: 'sparseCategoricalCrossentropy', fromLogits: true, parameter: 0 } as const;
  const loss = b.emit('loss', [logits, target, ABSENT], attrs, 'loss')[0] as ValueId;
  b.output('loss', b.emit('sumScalars', [loss], {}, 'loss')[0] as ValueId);
  const changed = [...stack.weights.flat(), ...head];
  const found = gradients(b, [loss], changed);
  const inputs = [b.input('hyper', 'float64', [HYPER_SIZE])];
  for (const id of changed) {
    const { name, shape } = b.spec(id);
    const slots = optimizer.slots.map((slot) =>
      slot ? b.variable(`${name}:${slot.name}`, 'real', shape) : ABSENT,
    );
    // Neither accumulated gradients nor an average of weights.
    while (slots.length < 5) slots.push(ABSENT);
    inputs.push(id, found.of.get(id) as ValueId, ...slots);
  }
  b.emit('update', inputs, optimizer.updateAttrs(changed.map(() => true)), 'adam', [false]);
}

function planOf(w: Workload, mode: Mode, optimizer: Optimizer): Plan {
  const b = new builders.PlanBuilder(`${w.name} ${mode}`);
  const stack = declareStack(b, w);
  const { reserve, y } = forward(b, w, stack);
  if (mode === 'step') train(b, w, stack, y, optimizer);
  else keep(b, 'y', y);
  if (mode === 'forwardBackward') backward(b, w, stack, reserve, y);
  return b.finish();
}

const adam = resolveOptimizer({ type: 'adam', globalClipNorm: 1 });

/** What a plan is expected to take on an H100, from figures alone (docs/profile.md). */
export function estimateOf(w: Workload, mode: Mode, precision: Precision): PlanEstimate {
  return estimatePlan(planOf(w, mode, adam), { precision });
}

/** A session that holds the variables of one workload, each drawn when the first plan that has it is loaded. */
export class WorkSession {
  private readonly session: EngineSession;
  private readonly drawn = new Set<string>();

  constructor(
    device: string,
    readonly workload: Workload,
    precision: Precision,
  ) {
    const options: SessionOptions & { precision: Precision } = { precision };
    this.session = createEngine(device).createSession(options);
  }

  load(mode: Mode): LoadedWork {
    return new LoadedWork(this, mode);
  }

  /** Loads any plan over the variables. */
  prepare(plan: Plan): Executable {
    const results = new Set(plan.ops.flatMap(({ outputs }) => outputs));
    plan.values.forEach(({ role, name, dtype, shape }, i) => {
      if (role !== 'variable' || this.drawn.has(name)) return;
      this.session.declare(name, dtype, shape);
      this.drawn.add(name);
      if (results.has(i)) return;
      const fanIn = shape.length > 1 ? (shape[shape.length - 2] as number) : 100;
      const size = shape.reduce((a, n) => a * n, 1);
      // Optimizer slots start at zero, as they are.
      if (dtype === 'real' && !name.includes(':'))
        this.session.write(name, numbers(size, i, name === 'dy' ? 1 : 1 / Math.sqrt(fanIn)));
    });
    return this.session.load(plan);
  }

  write(variable: string, values: ArrayLike<number>): void {
    this.session.write(variable, values);
  }

  read(variable: string): TensorData {
    return this.session.read(variable);
  }

  dispose(): void {
    this.session.dispose();
  }
}

/** The plan of one mode, loaded. */
export class LoadedWork {
  private readonly executable: Executable;
  private runs = 0;

  constructor(
    private readonly session: WorkSession,
    private readonly mode: Mode,
  ) {
    this.executable = session.prepare(planOf(session.workload, mode, adam));
  }

  /** How the recurrent ops run, and why, where the engine had a choice. */
  get notes(): readonly string[] {
    return [...new Set(this.executable.notes.filter((note) => note !== ''))];
  }

  /** The rungs of the CUDA engine's ladder that the recurrent ops run on. */
  get rungs(): readonly string[] {
    return [...new Set(this.notes.flatMap((note) => /^rung (\w)/.exec(note)?.[1] ?? []))];
  }

  /** The variables that hold the results after a run. */
  get results(): readonly ResultSpec[] {
    return this.executable.plan.values
      .filter(({ role, name }) => role === 'variable' && (name === 'y' || name.startsWith('gradient ')))
      .map(({ name, shape }) => ({ name, shape }));
  }

  /** Gives the next run inputs that no run has seen. */
  refresh(): void {
    const { T, N, D } = this.session.workload;
    this.session.write('x', numbers(T * N * D, ++this.runs));
    if (this.mode !== 'step') return;
    this.session.write('labels', labels(T * N, this.runs));
    this.executable.input('step')[0] = this.runs;
    this.executable.input('hyper').set(adam.hyper(this.runs));
  }

  runSync(): void {
    this.executable.runSync();
  }

  /** Off the event loop, so that several sessions run at once. */
  run(): Promise<void> {
    return this.executable.run();
  }

  dispose(): void {
    this.executable.dispose();
  }
}

export interface ResultSpec {
  readonly name: string;
  readonly shape: readonly number[];
}

/** A plan that sets variables to others, on the device. */
export function assignPlan(
  name: string,
  shapes: readonly [to: string, from: string, readonly number[]][],
): Plan {
  const b = new builders.PlanBuilder(name);
  for (const [to, from, shape] of shapes)
    b.emitInto('assign', [b.variable(from, 'real', shape)], [b.variable(to, 'real', shape)], {}, to);
  return b.finish();
}

/** A plan whose output of each variable's name is the mean absolute difference to another one. Shapes have two axes or more. */
export function differencePlan(
  name: string,
  pairs: readonly [name: string, wanted: string, readonly number[]][],
): Plan {
  const b = new builders.PlanBuilder(name);
  const attrs = { kind: 'meanAbsoluteError', fromLogits: false, parameter: 0 } as const;
  for (const [own, wanted, shape] of pairs) {
    const inputs = [b.variable(own, 'real', shape), b.variable(wanted, 'real', shape), ABSENT];
    b.output(own, b.emit('loss', inputs, attrs, own)[0] as ValueId);
  }
  return b.finish();
}
