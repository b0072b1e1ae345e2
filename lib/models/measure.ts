import { createEngine } from '../engines/devices';
import type { EngineName } from '../engines/engine';
import type { Loss } from '../losses/loss';
import { planFlops } from '../plan/flops';
import type { AnyPlanOp, Plan } from '../plan/types';
import { Philox } from '../tensors/random';
import { type Shape, sizeOf, Tensor, tensor } from '../tensors/tensor';
import type { Batch } from './batches';
import { throwIfAborted } from './callOptions';
import type { OutputKeys } from './graph';
import type { PlanMode } from './lower';
import type { Model } from './model';
import type { ProfileSettings } from './profileOptions';
import { type LoadedPlan, Runner, setInput } from './runner';
import { Variables } from './variables';

/** How an op runs, in the engine's words. */
export interface OpNote {
  readonly op: string;
  readonly layers: readonly string[];
  readonly note: string;
}

/** Times of one plan: predicting a batch, or one training step on one. */
export interface Measurement {
  /** From the call to the finished result: median, shortest and longest of the runs. */
  readonly milliseconds: number;
  readonly min: number;
  readonly max: number;
  /** Bytes of buffers that the plan holds beside the weights. */
  readonly bytes: number;
  /** Floating-point operations of the matrix products. */
  readonly flops: number;
  /** 10⁹ of them a second, at the median. */
  readonly gflopsPerSecond: number;
  /** Of ops where the engine had a choice. */
  readonly notes: readonly OpNote[];
  /** Where the time goes: from the layers, in their order, to all else, measured apart, with one op after another. */
  readonly parts: readonly PartTime[];
}

/** Medians, in milliseconds. */
export interface PartTime {
  /** Layers that run as one (a fused stack), or a single one; empty for what is of no layer. */
  readonly layers: readonly string[];
  /** Their names, or what else: `loss`, `optimizer`, … */
  readonly name: string;
  readonly forward: number;
  /** 0 in a prediction. */
  readonly backward: number;
}

export interface MeasuredPlan {
  readonly measurement: Measurement;
  readonly plan: Plan;
}

/** Runs that are timed op by op; there are never more than `repeats`. */
const TIMED_BY_OP = 5;

/** Runs before those that count: caches fill, threads and clocks wake up. */
const WARM_UP = 3;

/** Times predicting and, of a compiled model, training, in a session of its own with copies of the model's variables. */
export async function measure(
  model: Model,
  settings: ProfileSettings,
): Promise<{
  engine: EngineName;
  real: 'float32' | 'float64';
  predict: MeasuredPlan;
  train: MeasuredPlan | undefined;
}> {
  const { device, precision } = settings;
  throwIfAborted('profile', settings.signal);
  const engine = createEngine(device);
  const values = await model.exclusive('reads', () => model.variables.readLater(model.variables.names()));
  const copies = new Variables(model.name);
  const threads = model.compiled?.threads;
  const session = { precision, ...(threads === undefined ? {} : { threads }) };
  const runner = new Runner(model.recipe(), copies, () => copies.attach(engine, session));
  try {
    for (const [name, { shape, data }] of values) await copies.take(name, shape, data);
    const batch = randomBatch(model, settings.inputShapes);
    const predict = await timePlan(model, runner, batch, 'predict', settings);
    const trains = model.compiled && precision !== 'int8';
    const train = trains ? await timePlan(model, runner, batch, 'train', settings) : undefined;
    return { engine: engine.name, real: copies.real, predict, train };
  } finally {
    runner.dispose();
    copies.dispose();
  }
}

async function timePlan(
  model: Model,
  runner: Runner,
  batch: Batch,
  mode: PlanMode,
  { repeats, signal }: ProfileSettings,
): Promise<MeasuredPlan> {
  const taken: number[] = [];
  const byOp: Float64Array[] = [];
  let found: MeasuredPlan | undefined;
  const timed = Math.min(repeats, TIMED_BY_OP);
  // Those timed by op come first: what follows are runs as any others.
  for (let run = 0; run < timed + WARM_UP + repeats; run++) {
    throwIfAborted('profile', signal);
    // The runner calls `prepare` last before the engine, and the reader first after it.
    let start = 0;
    const prepare = (loaded: LoadedPlan): void => {
      const step = model.step + run;
      setInput(loaded, 'step', [step]);
      if (mode === 'train') setInput(loaded, 'hyper', model.optimizer.hyper(step));
      start = performance.now();
    };
    const times = (ops: number): Float64Array => {
      const own = new Float64Array(ops);
      byOp.push(own);
      return own;
    };
    const ownTimes = run < timed ? { times } : {};
    await runner.run(batch, { caller: 'profile', mode, prepare, ...ownTimes }, (loaded) => {
      const milliseconds = performance.now() - start;
      if (run >= timed + WARM_UP) taken.push(milliseconds);
      if (run === timed + WARM_UP + repeats - 1)
        found = { measurement: summary(model, loaded, taken, byOp), plan: loaded.plan };
    });
  }
  return found as MeasuredPlan;
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const last = sorted.length - 1;
  return ((sorted[Math.floor(last / 2)] as number) + (sorted[Math.ceil(last / 2)] as number)) / 2;
}

function summary(
  model: Model,
  { executable, plan }: LoadedPlan,
  taken: readonly number[],
  byOp: readonly Float64Array[],
): Measurement {
  const milliseconds = medianOf(taken);
  const flops = planFlops(plan);
  return {
    milliseconds,
    min: Math.min(...taken),
    max: Math.max(...taken),
    bytes: executable.bytes,
    flops,
    gflopsPerSecond: flops / (milliseconds * 1e6),
    notes: plan.ops.flatMap((op, i) => {
      const note = executable.notes[i];
      return note ? [{ op: op.kind, layers: layersOf(op), note }] : [];
    }),
    parts: partTimes(model, plan, byOp),
  };
}

/** Ops of the optimizer and of what goes with it. */
const updates = new Set(['update', 'constraint', 'assign']);

/** Times of ops, added up by the layers that they are of. Ops behind the loss are of the way back. */
function partTimes(model: Model, plan: Plan, byOp: readonly Float64Array[]): PartTime[] {
  const names = new Set(model.layers.map(({ name }) => name));
  const turn = plan.ops.findIndex(({ kind }) => kind === 'lossGrad');
  const parts = new Map<string, { layers: readonly string[]; forward: number; backward: number }>();
  const partOf = (op: AnyPlanOp): { layers: readonly string[]; name: string } => {
    if (op.kind === 'rnnStack' || op.kind === 'rnnStackGrad') {
      const own = layersOf(op);
      return { layers: own, name: own.join(' + ') };
    }
    if (updates.has(op.kind)) return { layers: [], name: 'optimizer' };
    // What refers to a layer says so in its label, like messages do.
    const layer = /^layer '([^']+)'/.exec(op.label)?.[1];
    if (layer !== undefined && names.has(layer)) return { layers: [layer], name: layer };
    if (op.kind === 'loss' || op.kind === 'lossGrad' || op.kind === 'metric')
      return { layers: [], name: op.kind === 'metric' ? 'metrics' : 'loss' };
    return { layers: [], name: 'other' };
  };
  plan.ops.forEach((op, i) => {
    const { layers, name } = partOf(op);
    const part = parts.get(name) ?? { layers, forward: 0, backward: 0 };
    parts.set(name, part);
    const time = medianOf(byOp.map((times) => times[i] as number));
    if (turn >= 0 && i >= turn) part.backward += time;
    else part.forward += time;
  });
  const order = model.layers.map(({ name }) => name);
  const place = ({ layers: [first] }: { layers: readonly string[] }) =>
    first === undefined ? order.length : order.indexOf(first.split('/')[0] as string);
  return [...parts].map(([name, part]) => ({ ...part, name })).sort((a, b) => place(a) - place(b));
}

function layersOf(op: AnyPlanOp): string[] {
  return op.kind === 'rnnStack' || op.kind === 'rnnStackGrad'
    ? op.attrs.layers.map(({ name }) => name)
    : [op.label];
}

/** Inputs and targets that the model takes: always the same. */
function randomBatch(model: Model, inputShapes: readonly (readonly number[])[]): Batch {
  const random = new Philox(1);
  const contract = model.contract('profile');
  // An id below every limit is one that any embedding takes.
  const limits = model.layers.flatMap(({ idLimit }) => (idLimit === undefined ? [] : [idLimit]));
  const limit = Math.min(...limits, 2 ** 31 - 1);
  const inputs = new Map(
    contract.inputs.map(({ key, dtype }, i) => {
      const shape = inputShapes[i] as readonly number[];
      return [
        key,
        dtype === 'int32' ? ids(random, shape, limits.length > 0 ? limit : 1) : numbers(random, shape),
      ];
    }),
  );
  const count = inputShapes[0]?.[0] as number;
  const shapes = contract.outputShapes(inputShapes.map((shape) => shape.slice(1)));
  const scored = (model.compiled?.losses ?? []).map((loss, i) => {
    const { targets: key } = contract.outputs[i] as OutputKeys;
    return [key, targets(random, loss, [count, ...(shapes[i] as Shape)])] as const;
  });
  return {
    examples: {
      count,
      inputs,
      targets: new Map(scored),
      weights: new Map(),
      initialStates: new Map(),
      lengths: undefined,
    },
    indices: Uint32Array.from({ length: count }, (_, i) => i),
  };
}

const POOL = 2 ** 16;

/** Numbers in [−1, 1). They repeat: to draw each of some millions would hold up the event loop. */
function numbers(random: Philox, shape: readonly number[]): Tensor {
  const size = sizeOf(shape);
  const pool = Float32Array.from({ length: Math.min(size, POOL) }, () => 2 * random.nextFloat() - 1);
  const data = new Float32Array(size);
  for (let at = 0; at < size; at += POOL) data.set(pool.subarray(0, size - at), at);
  return new Tensor(data, shape);
}

function ids(random: Philox, shape: readonly number[], limit: number): Tensor {
  return tensor(
    Int32Array.from({ length: sizeOf(shape) }, () => random.nextInt(limit)),
    shape,
  );
}

/** What the loss can be computed of: class indices, one-hot rows, zeros and ones, or any numbers. */
function targets(random: Philox, loss: Loss, shape: readonly number[]): Tensor {
  const classes = shape[shape.length - 1] as number;
  if (loss.sparse) return ids(random, shape.slice(0, -1), classes);
  switch (loss.type) {
    case 'categoricalCrossentropy':
    case 'categoricalFocalCrossentropy':
    case 'categoricalHinge':
    case 'klDivergence': {
      const data = new Float32Array(sizeOf(shape));
      for (let row = 0; row < data.length; row += classes) data[row + random.nextInt(classes)] = 1;
      return new Tensor(data, shape);
    }
    case 'binaryCrossentropy':
    case 'binaryFocalCrossentropy':
    case 'hinge':
    case 'squaredHinge':
      return new Tensor(
        Float32Array.from({ length: sizeOf(shape) }, () => random.nextInt(2)),
        shape,
      );
    default:
      return numbers(random, shape);
  }
}
