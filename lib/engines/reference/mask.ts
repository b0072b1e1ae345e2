import { sizeOf } from '../../tensors/tensor';
import { type Ints, type Kernel, type Operand, type Real, widthOf } from './operands';

/** valid[t, n] = 1 where t < lengths[n], else 0. */
export const lengthMask: Kernel<'lengthMask', [lengths: Ints], [valid: Ints]> = (
  { steps },
  [lengths],
  [valid],
) => {
  const N = lengths.data.length;
  for (let t = 0; t < steps; t++)
    for (let n = 0; n < N; n++) valid.data[t * N + n] = Number(t < lengths.data[n]!);
};

/** valid[t, n] = 1 where any feature of x[t, n] is not `value`, else 0. */
export const stepMask: Kernel<'stepMask', [x: Operand], [valid: Ints]> = ({ value }, [x], [valid]) => {
  // Data come as float32: 0.1 must find itself again.
  const wanted = Math.fround(value);
  const features = x.data.length / valid.data.length;
  for (let r = 0; r < valid.data.length; r++) {
    const row = x.data.subarray(r * features, (r + 1) * features);
    valid.data[r] = Number(row.some((v) => Math.fround(v) !== wanted));
  }
};

/** y[t, n] = x[t, n] where valid, else 0. */
export const maskRows: Kernel<'maskRows', [x: Real, valid: Ints], [y: Real]> = (_, [x, valid], [y]) => {
  const D = widthOf(x);
  for (let i = 0; i < y.data.length; i++) y.data[i] = valid.data[Math.floor(i / D)] !== 0 ? x.data[i]! : 0;
};

/** y[r] = w[r] where valid, else 0; normalized: times R / Σ valid, so that a mean over all rows is one over the valid ones. */
export const maskWeights: Kernel<'maskWeights', [valid: Ints, weight: Real | undefined], [y: Real]> = (
  { normalize },
  [valid, weight],
  [y],
) => {
  const R = valid.data.length;
  const count = valid.data.reduce((sum, v) => sum + Number(v !== 0), 0);
  const scale = normalize && count > 0 ? R / count : 1;
  for (let r = 0; r < R; r++) y.data[r] = valid.data[r] !== 0 ? (weight?.data[r] ?? 1) * scale : 0;
};

/** y[t] = x[T−1−t]. */
export const reverseTime: Kernel<'reverseTime', [x: Operand], [y: Operand]> = (_, [x], [y]) => {
  const [T = 0, ...rest] = x.shape;
  const width = sizeOf(rest);
  for (let t = 0; t < T; t++) y.data.set(x.data.subarray(t * width, (t + 1) * width), (T - 1 - t) * width);
};

/** 1 where either counts. */
export const eitherMask: Kernel<'eitherMask', [a: Ints, b: Ints], [either: Ints]> = (_, [a, b], [either]) => {
  for (let r = 0; r < either.data.length; r++) either.data[r] = Number(a.data[r] !== 0 || b.data[r] !== 0);
};
