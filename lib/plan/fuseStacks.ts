import type { PlanBuilder } from './builder';
import { stackLayout } from './ops/rnnStack';
import { ABSENT, type AnyPlanOp, type PlanOp, type RnnLayerAttrs, type ValueId } from './types';

type StackOp = PlanOp<'rnnStack'>;

/**
 * Merges neighbouring recurrent layers, with the dropout between them, into one `rnnStack`, also when cells and widths
 * differ, so that an engine can schedule the whole stack as a wavefront over (layer, time). Runs after the layers have
 * emitted and before differentiation. The sum is the same; only who schedules it changes.
 */
export function fuseStacks(builder: PlanBuilder): void {
  const ops = [...builder.ops];
  const makers = new Map<ValueId, AnyPlanOp>();
  for (const op of ops) for (const id of op.outputs) if (id !== ABSENT && !makers.has(id)) makers.set(id, op);
  // What stands below a fused stack has been looked at, and is as it was.
  for (let at = 0; at < ops.length; at++) {
    const op = ops[at] as AnyPlanOp;
    if (op.kind === 'rnnStack') at = fuseWithProducer(builder, ops, makers, op, at);
  }
  builder.ops = ops;
}

/** No network has so many recurrent layers on each other; files may. */
const MOST_LAYERS = 256;

/** @param at place of `upper` among the ops @returns the place from which to look on */
function fuseWithProducer(
  builder: PlanBuilder,
  ops: AnyPlanOp[],
  makers: Map<ValueId, AnyPlanOp>,
  upper: StackOp,
  at: number,
): number {
  // A backwards layer needs the whole sequence below before its first step: it starts a stack of its own.
  if (upper.attrs.goBackwards) return at;
  const makerOf = (id: ValueId) => makers.get(id);
  const x = upper.inputs[1] as ValueId;
  let lower = makerOf(x);
  let between: PlanOp<'dropout'> | undefined;
  if (lower?.kind === 'dropout') {
    const own = (upper.attrs.layers[0] as RnnLayerAttrs).inputDropout;
    const readers = ops.filter((op) => op.inputs.includes(x)).length;
    if (own.rate > 0 || readers > 1 || builder.spec(x).role !== 'arena') return at;
    between = lower;
    lower = makerOf(lower.inputs[0] as ValueId);
  }
  if (lower?.kind !== 'rnnStack' || !lower.attrs.returnSequences || lower.attrs.seed !== upper.attrs.seed)
    return at;
  // One op has one mask of steps for all its layers. One that reads backwards reads its mask backwards for all of them.
  const mask = upper.inputs[2] as ValueId;
  const read = lower.attrs.goBackwards ? makerOf(mask) : undefined;
  if (lower.inputs[2] !== (read?.kind === 'reverseTime' ? read.inputs[0] : mask)) return at;
  const joined = between ? (between.inputs[0] as ValueId) : x;
  if (joined !== lower.outputs[stackLayout.forwardOutput(lower.attrs.layers.length - 1)]) return at;
  if (lower.attrs.layers.length + upper.attrs.layers.length > MOST_LAYERS) return at;
  const from = ops.indexOf(lower);
  const gone = new Set<unknown>([lower, between, upper]);
  const inner = ops.slice(from, at).filter((op) => !gone.has(op));
  const readers = readersOf(lower, inner);
  // What something other than its x, e.g. an initial state, is made from must have run before.
  const [, , ...others] = upper.inputs;
  if (others.some((id) => readers.made.has(id))) return at;
  const fused = joinedStack(lower, between, upper) as AnyPlanOp;
  for (const id of fused.outputs) if (id !== ABSENT) makers.set(id, fused);
  const before = inner.filter((op) => !readers.ops.has(op));
  ops.splice(from, at + 1 - from, ...before, fused, ...readers.ops);
  return from + before.length - 1;
}

/** Of ops in an order in which they can run those that need something of a stack, and all that it and they make. */
function readersOf(lower: StackOp, inner: readonly AnyPlanOp[]): { ops: Set<AnyPlanOp>; made: Set<ValueId> } {
  const made = new Set(lower.outputs.filter((id) => id !== ABSENT));
  const ops = new Set<AnyPlanOp>();
  for (const op of inner) {
    if (!op.inputs.some((id) => made.has(id))) continue;
    ops.add(op);
    for (const id of op.outputs) if (id !== ABSENT) made.add(id);
  }
  return { ops, made };
}

function joinedStack(lower: StackOp, between: PlanOp<'dropout'> | undefined, upper: StackOp): StackOp {
  const [first, ...rest] = upper.attrs.layers as [RnnLayerAttrs, ...RnnLayerAttrs[]];
  const inputDropout = between
    ? { mode: between.attrs.mode, rate: between.attrs.rate, stream: between.attrs.stream }
    : first.inputDropout;
  return {
    kind: 'rnnStack',
    inputs: [...lower.inputs, ...upper.inputs.slice(3)],
    outputs: [ABSENT, ...lower.outputs.slice(1), ...upper.outputs.slice(1)],
    attrs: {
      ...lower.attrs,
      returnSequences: upper.attrs.returnSequences,
      layers: [...lower.attrs.layers, { ...first, inputDropout }, ...rest],
    },
    label: `${lower.label} + ${upper.label}`,
  };
}
