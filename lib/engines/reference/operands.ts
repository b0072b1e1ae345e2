import type { OpKind } from '../../plan/codes';
import type { OpAttrs } from '../../plan/types';
import type { Shape } from '../../tensors/tensor';

/** A `real` or `float64` value: dense and row-major. */
export interface Real {
  readonly data: Float64Array;
  readonly shape: Shape;
}

/** An `int32` value. */
export interface Ints {
  readonly data: Int32Array;
  readonly shape: Shape;
}

export type Operand = Real | Ints;

/**
 * How the reference engine computes one op: reads `inputs`, fills every element of `outputs`. Both are in the order of
 * docs/plan.md, with `undefined` for what is absent. Shapes have been proved by the op table when the plan was written.
 */
export type Kernel<K extends OpKind, Inputs, Outputs> = (
  attrs: OpAttrs[K],
  inputs: Inputs,
  outputs: Outputs,
) => void;

/** R, the product of all axes but the last. */
export function rowsOf({ shape }: Operand): number {
  return shape.slice(0, -1).reduce((a, b) => a * b, 1);
}

/** The size of the last axis. */
export function widthOf({ shape }: Operand): number {
  return shape[shape.length - 1] as number;
}
