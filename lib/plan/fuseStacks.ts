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
  for (let merged = true; merged; ) {
    merged = builder.ops.some((op) => op.kind === 'rnnStack' && fuseWithProducer(builder, op));
  }
}

function fuseWithProducer(builder: PlanBuilder, upper: StackOp): boolean {
  // A backwards layer needs the whole sequence below before its first step: it starts a stack of its own.
  if (upper.attrs.goBackwards) return false;
  const makerOf = (id: ValueId) => builder.ops.find((op) => op.outputs.includes(id));
  const x = upper.inputs[1] as ValueId;
  let lower = makerOf(x);
  let between: PlanOp<'dropout'> | undefined;
  if (lower?.kind === 'dropout') {
    const own = (upper.attrs.layers[0] as RnnLayerAttrs).inputDropout;
    const readers = builder.ops.filter((op) => op.inputs.includes(x)).length;
    if (own.rate > 0 || readers > 1 || builder.spec(x).role !== 'arena') return false;
    between = lower;
    lower = makerOf(lower.inputs[0] as ValueId);
  }
  if (lower?.kind !== 'rnnStack' || !lower.attrs.returnSequences || lower.attrs.seed !== upper.attrs.seed)
    return false;
  // One op has one mask of steps for all its layers. One that reads backwards reads its mask backwards for all of them.
  const mask = upper.inputs[2] as ValueId;
  const read = lower.attrs.goBackwards ? makerOf(mask) : undefined;
  if (lower.inputs[2] !== (read?.kind === 'reverseTime' ? read.inputs[0] : mask)) return false;
  const joined = between ? (between.inputs[0] as ValueId) : x;
  if (joined !== lower.outputs[stackLayout.forwardOutput(lower.attrs.layers.length - 1)]) return false;
  if (takesDetour(builder, lower, upper)) return false;
  replace(builder, lower, between, upper);
  return true;
}

/** Whether something other than its x, e.g. an initial state, is made from the stack below by other ops: it must have run before. */
function takesDetour(builder: PlanBuilder, lower: StackOp, upper: StackOp): boolean {
  const made = new Set(lower.outputs.filter((id) => id !== ABSENT));
  const [, , ...others] = upper.inputs;
  if (others.some((id) => made.has(id))) return true;
  // Ops stand in an order in which they can run.
  for (const op of builder.ops) {
    if (op === upper) break;
    if (op !== lower && op.inputs.some((id) => made.has(id)))
      for (const id of op.outputs) if (id !== ABSENT) made.add(id);
  }
  return others.some((id) => made.has(id));
}

function replace(
  builder: PlanBuilder,
  lower: StackOp,
  between: PlanOp<'dropout'> | undefined,
  upper: StackOp,
): void {
  const [first, ...rest] = upper.attrs.layers as [RnnLayerAttrs, ...RnnLayerAttrs[]];
  const inputDropout = between
    ? { mode: between.attrs.mode, rate: between.attrs.rate, stream: between.attrs.stream }
    : first.inputDropout;
  const fused: StackOp = {
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
  const gone = new Set<unknown>([lower, between, upper]);
  const ops = builder.ops.filter((op) => !gone.has(op));
  builder.ops = inDependencyOrder(builder, [...ops, fused as AnyPlanOp]);
}

/** Stable topological order: an op runs as soon as all that makes its inputs has run. */
function inDependencyOrder(builder: PlanBuilder, ops: readonly AnyPlanOp[]): AnyPlanOp[] {
  const maker = new Map<ValueId, AnyPlanOp>();
  for (const op of ops) {
    for (const id of op.outputs) if (id !== ABSENT && builder.spec(id).role !== 'variable') maker.set(id, op);
  }
  const done = new Set<AnyPlanOp>();
  const order: AnyPlanOp[] = [];
  const visit = (op: AnyPlanOp): void => {
    if (done.has(op)) return;
    done.add(op);
    for (const id of op.inputs) {
      const from = maker.get(id);
      if (from && from !== op) visit(from);
    }
    order.push(op);
  };
  for (const op of ops) visit(op);
  return order;
}
