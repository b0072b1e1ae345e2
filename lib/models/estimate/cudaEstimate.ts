import type { GpuPrecision } from '../../engines/engine';
import type { OpKind } from '../../plan/codes';
import { kernelSizes } from '../../plan/ops/dense';
import { PARAMETER_INPUTS } from '../../plan/ops/update';
import { ABSENT, type AnyPlanOp, type Plan, type ValueId, type ValueSpec } from '../../plan/types';
import { sizeOf } from '../../tensors/tensor';
import { type Bound, bounds, type Cost, cost, largest, nothing, Prices, plus, total } from './cost';
import { figures, type GpuFigures, h100 } from './figures';
import { type Kernels, kernelALayer, type Refusal, wholeStack } from './persistent';
import { type Stack, type StackOp, stackOf } from './stack';
import { layerByLayer, sideBySide } from './steps';

/** The ways to run a stack on a GPU: a layer by layer, b layers side by side, c a persistent kernel a layer, d one for the stack. */
export const rungs = ['a', 'b', 'c', 'd'] as const;
export type Rung = (typeof rungs)[number];

/** What a rung would take, or why it cannot run. */
export type RungEstimate =
  | {
      readonly fits: true;
      readonly milliseconds: number;
      /** What most of the time goes to. */
      readonly bound: Bound;
      /** Milliseconds by what they go to; parts of no time are left out. */
      readonly parts: Readonly<Partial<Record<Bound, number>>>;
      /** The blocks of each persistent kernel, as the engine's notes have them. */
      readonly kernels: readonly string[];
    }
  | { readonly fits: false; readonly reason: string };

/** One direction of one recurrent stack of a plan. */
export interface StackEstimate {
  readonly op: 'rnnStack' | 'rnnStackGrad';
  readonly layers: readonly string[];
  readonly rungs: Readonly<Record<Rung, RungEstimate>>;
  /** The rung that the engine would take. */
  readonly chosen: Rung;
}

/** One run of a plan: host copies, launches and all ops. */
export interface PlanEstimate {
  /** With the rungs that the engine would take. */
  readonly milliseconds: number;
  readonly bound: Bound;
  /** The rung of all stacks; `'mixed'` where they differ, null where there is no recurrent layer. */
  readonly chosen: Rung | 'mixed' | null;
  /** The whole run with all stacks on one rung. */
  readonly rungs: Readonly<Record<Rung, RungEstimate>>;
  readonly stacks: readonly StackEstimate[];
}

/** Predicts a run of a plan on a GPU from figures alone. */
export function estimatePlan(
  plan: Plan,
  { precision = 'fp32', gpu = h100 }: { readonly precision?: GpuPrecision; readonly gpu?: GpuFigures } = {},
): PlanEstimate {
  const prices = new Prices(gpu, precision);
  const isStack = (op: AnyPlanOp): op is StackOp => op.kind === 'rnnStack' || op.kind === 'rnnStackGrad';
  const stacks = plan.ops.filter(isStack).map((op) => ({ op, ...ladder(prices, op) }));
  const rest = plus(
    cost({ launches: figures.graphLaunch.value }),
    prices.hostCopy(bytesOf(plan.values.filter(({ role }) => role === 'input' || role === 'output'))),
    ...plan.ops.filter((op) => !isStack(op)).map((op) => otherOp(prices, plan, op)),
  );
  const taken = plus(rest, ...stacks.map(({ ways, chosen }) => (ways[chosen] as Kernels).cost));
  const kinds = new Set(stacks.map(({ chosen }) => chosen));
  const onRung = (rung: Rung): Kernels | Refusal => {
    const found = stacks.map((stack) => stack.ways[rung]);
    const run = found.filter((way): way is Kernels => !isRefusal(way));
    return (
      found.find(isRefusal) ?? {
        cost: plus(rest, ...run.map((way) => way.cost)),
        clocks: run.reduce((sum, way) => sum + way.clocks, 0),
        kernels: run.flatMap((way) => way.kernels),
      }
    );
  };
  return {
    milliseconds: total(taken) / 1000,
    bound: largest(taken),
    chosen: kinds.size > 1 ? 'mixed' : ([...kinds][0] ?? null),
    rungs: byRung((rung) => shown(onRung(rung))),
    stacks: stacks.map(({ op, ways, chosen }) => ({
      op: op.kind,
      layers: op.attrs.layers.map(({ name }) => name),
      rungs: byRung((rung) => shown(ways[rung])),
      chosen,
    })),
  };
}

/** As native/cuda/rnn_stack.cpp chooses, with its own rough figures: the highest rung that fits and is not slower than b. */
function chosenRung(
  { precision }: Prices,
  { layers, steps, batch }: Stack,
  { c, d }: Record<Rung, Kernels | Refusal>,
): Rung {
  const clocksPerMicrosecond = 1700;
  const flopsPerMicrosecond = { fp32: 4e7, tf32: 2.5e8, bf16: 5e8 }[precision];
  const slowest = Math.max(
    ...layers.map(({ width, units }) => 9 + (2 * batch * width * units) / flopsPerMicrosecond),
  );
  const bySteps = (steps + (layers.length - 1) * Math.min(8, steps)) * slowest;
  const runs = (way: Kernels | Refusal) => !isRefusal(way) && way.clocks / clocksPerMicrosecond <= bySteps;
  if (runs(d)) return 'd';
  if (runs(c)) return 'c';
  return layers.length === 1 || steps < 2 ? 'a' : 'b';
}

/** One direction of a stack on every rung, and the one that the engine takes. */
function ladder(prices: Prices, op: StackOp): { ways: Record<Rung, Kernels | Refusal>; chosen: Rung } {
  const stack = stackOf(op);
  const ways = {
    a: { cost: layerByLayer(prices, stack), clocks: 0, kernels: [] },
    b: { cost: sideBySide(prices, stack), clocks: 0, kernels: [] },
    c: kernelALayer(prices, stack),
    d: wholeStack(prices, stack),
  };
  return { ways, chosen: chosenRung(prices, stack, ways) };
}

function isRefusal(found: Kernels | Refusal): found is Refusal {
  return 'reason' in found;
}

function byRung<V>(of: (rung: Rung) => V): Record<Rung, V> {
  return Object.fromEntries(rungs.map((rung) => [rung, of(rung)])) as Record<Rung, V>;
}

function shown(found: Kernels | Refusal): RungEstimate {
  if (isRefusal(found)) return { fits: false, reason: found.reason };
  const { cost: own, kernels } = found;
  const parts = bounds.filter((bound) => own[bound] > 0).map((bound) => [bound, own[bound] / 1000]);
  return {
    fits: true,
    milliseconds: total(own) / 1000,
    bound: largest(own),
    parts: Object.fromEntries(parts),
    kernels,
  };
}

/** Kernels of an op, where they are not one. */
const launchesOf: Partial<Record<OpKind, number>> = {
  check: 2,
  embedding: 3,
  embeddingGrad: 3,
  penalty: 2,
  loss: 2,
  metric: 2,
  maskWeights: 2,
};

/** An op beside the stacks: its products, or a pass over its arrays. */
function otherOp(prices: Prices, plan: Plan, op: AnyPlanOp): Cost {
  const shape = (id: ValueId | undefined) => plan.values[id as ValueId]?.shape as readonly number[];
  if (op.kind === 'dense' || op.kind === 'denseGrad') {
    const [depth, columns] = kernelSizes({ shape: shape(op.inputs[1]) }, op.attrs);
    const rows = sizeOf(shape(op.inputs[0])) / depth;
    const bias = prices.pass(8 * rows * columns);
    if (op.kind === 'dense')
      return plus(prices.product(rows, columns, depth), op.inputs[2] === ABSENT ? nothing : bias);
    const [dx, dKernel, dBias] = op.outputs.map((id) => id !== ABSENT);
    return plus(
      dx ? prices.product(rows, depth, columns) : nothing,
      dKernel ? prices.product(depth, columns, rows) : nothing,
      dBias ? bias : nothing,
    );
  }
  const used = [...op.inputs, ...op.outputs].flatMap((id) => plan.values[id] ?? []);
  const bytes = bytesOf(used);
  if (op.kind === 'sumScalars') return prices.launches(op.inputs.length);
  if (op.kind === 'update') {
    const { mode } = op.attrs.clip;
    const norms = op.outputs[0] !== ABSENT || mode === 'norm' || mode === 'globalNorm';
    // Parameters and slots are written where they are read. For the norms gradients are read once more, with the weights that
    // have a penalty.
    const again = op.attrs.decay.flatMap((_, p) => {
      const at = 1 + PARAMETER_INPUTS * p;
      return op.inputs.slice(op.attrs.penalties?.[p] ? at : at + 1, at + 2);
    });
    const forNorms = bytesOf(again.flatMap((id) => plan.values[id] ?? []));
    return plus(prices.pass(2 * bytes), norms ? plus(prices.launches(1), prices.pass(forNorms)) : nothing);
  }
  const count = launchesOf[op.kind] ?? 1;
  return plus(prices.launches(count - 1), prices.pass(bytes));
}

function bytesOf(values: readonly ValueSpec[]): number {
  return values.reduce((sum, { dtype, shape }) => sum + (dtype === 'float64' ? 8 : 4) * sizeOf(shape), 0);
}
