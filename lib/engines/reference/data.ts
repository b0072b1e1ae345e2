import { PlanCheckError } from '../../plan/types';
import { sizeOf } from '../../tensors/tensor';
import { type Kernel, type Operand, type Real, rowsOf, widthOf } from './operands';

/** y[b, a, …] = x[a, b, …]: [N, T, …] to [T, N, …] or back. */
export const swapLeading: Kernel<'batchToTime' | 'timeToBatch', [x: Operand], [y: Operand]> = (
  _,
  [x],
  [y],
) => {
  const [A, B, ...rest] = x.shape as [number, number, ...number[]];
  const width = sizeOf(rest);
  for (let a = 0; a < A; a++) {
    for (let b = 0; b < B; b++) {
      const from = (a * B + b) * width;
      y.data.set(x.data.subarray(from, from + width), (b * A + a) * width);
    }
  }
};

/** @throws PlanCheckError at the first element that is not finite, or not an index in 0 … size−1; op -1, set by the engine. */
export const check: Kernel<'check', [x: Operand], []> = (attrs, [x]) => {
  for (let i = 0; i < x.data.length; i++) {
    const v = x.data[i]!;
    const good = attrs.mode === 'finite' ? Number.isFinite(v) : v >= 0 && v < attrs.size;
    if (!good) throw new PlanCheckError(-1, i, v);
  }
};

export const assign: Kernel<'assign', [x: Operand], [variable: Operand]> = (_, [x], [variable]) => {
  variable.data.set(x.data);
};

export const add: Kernel<'add', [a: Real, b: Real], [y: Real]> = (_, [a, b], [y]) => {
  for (let i = 0; i < y.data.length; i++) y.data[i] = a.data[i]! + b.data[i]!;
};

export const broadcastRows: Kernel<'broadcastRows', [x: Real], [y: Real]> = ({ rows }, [x], [y]) => {
  for (let r = 0; r < rows; r++) y.data.set(x.data, r * x.data.length);
};

/** y[d] = Σ_r x[r, d]. */
export const sumRows: Kernel<'sumRows', [x: Real], [y: Real]> = (_, [x], [y]) => {
  const D = widthOf(x);
  y.data.fill(0);
  for (let r = 0; r < rowsOf(x); r++) {
    for (let d = 0; d < D; d++) y.data[d]! += x.data[r * D + d]!;
  }
};

export const sumScalars: Kernel<'sumScalars', Real[], [y: Real]> = ({ factors }, terms, [y]) => {
  y.data[0] = terms.reduce((sum, term, i) => sum + (factors?.[i] ?? 1) * term.data[0]!, 0);
};
