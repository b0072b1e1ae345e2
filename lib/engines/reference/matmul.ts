import { type Kernel, type Real, rowsOf, widthOf } from './operands';

/** y[i, m, s] = Σ_k A[i, m, k]·B[i, k, s]; A is a, or a with its last two axes swapped, and so B. */
export const matmul: Kernel<'matmul', [a: Real, b: Real], [y: Real]> = (attrs, [a, b], [y]) => {
  const [count, M, S] = y.shape as [number, number, number];
  const K = (attrs.transposeA ? a.shape[1] : a.shape[2]) as number;
  for (let i = 0; i < count; i++) {
    const A = (m: number, k: number) => a.data[i * M * K + (attrs.transposeA ? k * M + m : m * K + k)]!;
    const B = (k: number, s: number) => b.data[i * K * S + (attrs.transposeB ? s * K + k : k * S + s)]!;
    for (let m = 0; m < M; m++) {
      for (let s = 0; s < S; s++) {
        let sum = 0;
        for (let k = 0; k < K; k++) sum += A(m, k) * B(k, s);
        y.data[(i * M + m) * S + s] = sum;
      }
    }
  }
};

const lengthOf = (x: Float64Array) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));

/** y = x/max(‖x‖, ε), row by row. */
export const normalizeRows: Kernel<'normalizeRows', [x: Real], [y: Real]> = ({ epsilon }, [x], [y]) => {
  const D = widthOf(x);
  for (let r = 0; r < rowsOf(x); r++) {
    const row = x.data.subarray(r * D, (r + 1) * D);
    const length = Math.max(lengthOf(row), epsilon);
    row.forEach((v, d) => {
      y.data[r * D + d] = v / length;
    });
  }
};

/** dx = (dy − x̂·(x̂·dy))/‖x‖; dy/ε where ‖x‖ < ε. */
export const normalizeRowsGrad: Kernel<'normalizeRowsGrad', [x: Real, dy: Real], [dx: Real]> = (
  { epsilon },
  [x, dy],
  [dx],
) => {
  const D = widthOf(x);
  for (let r = 0; r < rowsOf(x); r++) {
    const [row, d] = [x, dy].map(({ data }) => data.subarray(r * D, (r + 1) * D)) as [
      Float64Array,
      Float64Array,
    ];
    const norm = lengthOf(row);
    const length = Math.max(norm, epsilon);
    const along = norm < epsilon ? 0 : row.reduce((sum, v, i) => sum + (v / length) * d[i]!, 0);
    row.forEach((v, i) => {
      dx.data[r * D + i] = (d[i]! - (v / length) * along) / length;
    });
  }
};
