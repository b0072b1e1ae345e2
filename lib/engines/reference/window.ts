import type { PoolAttrs, WindowAttrs } from '../../plan/types';
import type { Ints, Kernel, Real } from './operands';

/** Calls `visit` with the column of y and of x for every element of every window that lies in the sequence. */
function eachPlace(
  { size, stride, dilation, before }: WindowAttrs,
  x: Real,
  y: Real,
  visit: (inWindows: number, inSteps: number) => void,
): void {
  const [T, N, D] = x.shape as [number, number, number];
  for (let t = 0; t < y.shape[0]!; t++)
    for (let k = 0; k < size; k++) {
      const s = t * stride + k * dilation - before;
      if (s < 0 || s >= T) continue;
      for (let n = 0; n < N; n++)
        for (let d = 0; d < D; d++) visit(((t * N + n) * size + k) * D + d, (s * N + n) * D + d);
    }
}

/** y[t, n, k·D + d] = x[t·stride + k·dilation − before, n, d], 0 outside the sequence. */
export const unfold: Kernel<'unfold', [x: Real], [y: Real]> = (attrs, [x], [y]) => {
  y.data.fill(0);
  eachPlace(attrs, x, y, (i, j) => {
    y.data[i] = x.data[j]!;
  });
};

export const fold: Kernel<'fold', [dy: Real], [dx: Real]> = (attrs, [dy], [dx]) => {
  dx.data.fill(0);
  eachPlace(attrs, dx, dy, (i, j) => {
    dx.data[j]! += dy.data[i]!;
  });
};

/** Places in x of the steps that count for window t of column (n, d). */
function stepsOf(
  { size, stride, before }: PoolAttrs,
  x: Real,
  valid: Ints | undefined,
  t: number,
  c: number,
) {
  const [T, N, D] = x.shape as [number, number, number];
  const first = Math.max(0, t * stride - before);
  const last = Math.min(T, t * stride - before + size);
  return Array.from({ length: Math.max(0, last - first) }, (_, k) => first + k)
    .filter((s) => valid?.data[s * N + Math.floor(c / D)] !== 0)
    .map((s) => s * N * D + c);
}

/** Where the largest lies, the first of equal ones; NaN counts as the largest. */
const largest = (x: Real, places: number[]) =>
  places.reduce((a, b) =>
    x.data[b]! > x.data[a]! || (Number.isNaN(x.data[b]) && !Number.isNaN(x.data[a])) ? b : a,
  );

export const pool: Kernel<'pool', [x: Real, valid: Ints | undefined], [y: Real]> = (
  attrs,
  [x, valid],
  [y],
) => {
  const [windows, N, D] = y.shape as [number, number, number];
  for (let t = 0; t < windows; t++)
    for (let c = 0; c < N * D; c++) {
      const places = stepsOf(attrs, x, valid, t, c);
      const mean = () => places.reduce((sum, i) => sum + x.data[i]!, 0) / places.length;
      const value = () => (attrs.kind === 'max' ? x.data[largest(x, places)]! : mean());
      y.data[t * N * D + c] = places.length === 0 ? 0 : value();
    }
};

export const poolGrad: Kernel<'poolGrad', [x: Real, valid: Ints | undefined, dy: Real], [dx: Real]> = (
  attrs,
  [x, valid, dy],
  [dx],
) => {
  const [windows, N, D] = dy.shape as [number, number, number];
  dx.data.fill(0);
  for (let t = 0; t < windows; t++)
    for (let c = 0; c < N * D; c++) {
      const places = stepsOf(attrs, x, valid, t, c);
      if (places.length === 0) continue;
      const d = dy.data[t * N * D + c]!;
      if (attrs.kind === 'max') dx.data[largest(x, places)]! += d;
      else for (const i of places) dx.data[i]! += d / places.length;
    }
};
