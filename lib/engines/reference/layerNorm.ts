import { type Kernel, type Real, rowsOf, widthOf } from './operands';

const meanOf = (v: Float64Array) => v.reduce((sum, a) => sum + a, 0) / v.length;

/** x̂ = (x − μ)/σ of one row, and 1/σ, with σ² = mean (x − μ)² + ε. */
function normalized(x: Float64Array, epsilon: number): { hat: Float64Array; scale: number } {
  const mean = meanOf(x);
  const scale = 1 / Math.sqrt(meanOf(x.map((v) => (v - mean) ** 2)) + epsilon);
  return { hat: x.map((v) => (v - mean) * scale), scale };
}

/** y = γ ⊙ x̂ + β (Ba, Kiros & Hinton, 2016). */
export const layerNorm: Kernel<
  'layerNorm',
  [x: Real, gamma: Real | undefined, beta: Real | undefined],
  [y: Real]
> = ({ epsilon }, [x, gamma, beta], [y]) => {
  const D = widthOf(x);
  for (let r = 0; r < rowsOf(x); r++) {
    const { hat } = normalized(x.data.subarray(r * D, (r + 1) * D), epsilon);
    for (let d = 0; d < D; d++) y.data[r * D + d] = (gamma?.data[d] ?? 1) * hat[d]! + (beta?.data[d] ?? 0);
  }
};

/** With g = γ ⊙ dy: dx = (g − mean g − x̂ · mean(g ⊙ x̂))/σ, dγ = Σ_r dy ⊙ x̂, dβ = Σ_r dy. */
export const layerNormGrad: Kernel<
  'layerNormGrad',
  [x: Real, gamma: Real | undefined, dy: Real],
  [dx: Real | undefined, dGamma: Real | undefined, dBeta: Real | undefined]
> = ({ epsilon }, [x, gamma, dy], [dx, dGamma, dBeta]) => {
  const D = widthOf(x);
  dGamma?.data.fill(0);
  dBeta?.data.fill(0);
  for (let r = 0; r < rowsOf(x); r++) {
    const { hat, scale } = normalized(x.data.subarray(r * D, (r + 1) * D), epsilon);
    const d = dy.data.subarray(r * D, (r + 1) * D);
    const g = d.map((v, i) => (gamma?.data[i] ?? 1) * v);
    const mean = meanOf(g);
    const along = meanOf(g.map((v, i) => v * hat[i]!));
    for (let i = 0; i < D; i++) {
      if (dx) dx.data[r * D + i] = scale * (g[i]! - mean - hat[i]! * along);
      if (dGamma) dGamma.data[i]! += d[i]! * hat[i]!;
      if (dBeta) dBeta.data[i]! += d[i]!;
    }
  }
};
