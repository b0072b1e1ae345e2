import { DeepRnnError } from '../../errors';
import type { Shape } from '../../tensors/tensor';
import type { OpKind, ValueDType } from '../codes';
import type { OpAttrs, PlanOp, ValueId, ValueSpec } from '../types';

export interface OutputSpec {
  readonly dtype: ValueDType;
  readonly shape: Shape;
}

/** What a gradient rule may do: look at values, emit ops, ask which inputs matter. */
export interface GradContext {
  spec(id: ValueId): ValueSpec;
  /** The gradient that reached output `i`, or ABSENT. */
  outGrad(i: number): ValueId;
  /** Whether input `i` leads back to something whose gradient is wanted. */
  needs(i: number): boolean;
  /** Emits an op with only the outputs marked in `want` present; all of them when left out. */
  emit<K extends OpKind>(kind: K, inputs: ValueId[], attrs: OpAttrs[K], want?: readonly boolean[]): ValueId[];
  /** Gives a so far absent output of the forward op a value (the recurrent stack's reserve). */
  addOutput(index: number): ValueId;
  /** Whether per-step gradient norms of recurrent stacks were asked for. */
  readonly stepNorms: boolean;
  /** Reports the value that holds the step norms of a stack. */
  noteStepNorms(value: ValueId): void;
}

/** One row of the op table: everything the plan knows of an op. What it computes is in docs/plan.md and in the engines. */
export interface OpRow<K extends OpKind> {
  /** Dtypes and shapes of all outputs, optional ones included. @throws ERR_SHAPE when the inputs do not fit. */
  infer(inputs: readonly (ValueSpec | undefined)[], attrs: OpAttrs[K]): OutputSpec[];
  /** The attributes as numbers, in the order of docs/plan.md. */
  encode(attrs: OpAttrs[K]): { ints: number[]; floats: number[] };
  /** Emits the ops for the gradient of each input; ABSENT where there is none. Ops without a rule are not differentiable. */
  grad?(op: PlanOp<K>, context: GradContext): ValueId[];
}

export const noAttrs = () => ({ ints: [], floats: [] });

/** Product of all axes but the last. */
export function rowsOf(shape: Shape): number {
  return shape.slice(0, -1).reduce((a, b) => a * b, 1);
}

export function lastOf(shape: Shape): number {
  return shape[shape.length - 1] as number;
}

/** @throws ERR_SHAPE: a plan that does not fit together is a defect of the layer that emitted it. */
export function need(
  condition: boolean,
  op: string,
  wanted: string,
  ...got: (ValueSpec | undefined)[]
): void {
  if (condition) return;
  const list = got.map((v) => (v ? `${v.name} ${v.dtype} [${v.shape.join(', ')}]` : 'nothing')).join(' and ');
  throw new DeepRnnError('ERR_SHAPE', `${op}: expected ${wanted}, got ${list}.`);
}

export function present(value: ValueSpec | undefined, op: string, what: string): ValueSpec {
  need(value !== undefined, op, what, value);
  return value as ValueSpec;
}
