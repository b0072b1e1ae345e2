import { sizeOf } from '../../tensors/tensor';
import type { Kernel, Real } from './operands';

/** Keras's guard against division by a zero norm. */
const EPSILON = 1e-7;

/** Projects a variable in place; input and output are the same array. */
export const constraint: Kernel<'constraint', [p: Real], [p: Real]> = (
  { kind, axis, limit },
  [{ data: p, shape }],
) => {
  if (kind === 'nonNeg') {
    for (let i = 0; i < p.length; i++) p[i] = Math.max(p[i]!, 0);
    return;
  }
  for (const slice of slicesAlong(axis, shape)) {
    const norm = Math.sqrt(slice.reduce((sum, i) => sum + p[i]! ** 2, 0));
    const wanted = kind === 'maxNorm' ? Math.min(norm, limit) : 1;
    for (const i of slice) p[i]! *= wanted / (EPSILON + norm);
  }
};

/** The element numbers of each slice that runs along `axis`: columns of a matrix for 0, rows for 1, a whole vector; of more axes along the first. */
function slicesAlong(axis: number, shape: readonly number[]): number[][] {
  const [rows, cols] = shape.length === 1 ? [shape[0]!, 1] : [shape[0]!, sizeOf(shape.slice(1))];
  const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);
  if (axis === 0) return upTo(cols).map((c) => upTo(rows).map((r) => r * cols + c));
  return upTo(rows).map((r) => upTo(cols).map((c) => r * cols + c));
}
