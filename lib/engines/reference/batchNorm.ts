import type { OpAttrs } from '../../plan/types';
import { type Ints, type Kernel, type Real, rowsOf, widthOf } from './operands';

interface Statistics {
  /** Rows that count. */
  readonly count: number;
  readonly mean: Float64Array;
  readonly variance: Float64Array;
}

/** μ = mean x and σ² = mean (x − μ)² of each column, over the rows that count; 0 where none does. */
function statisticsOf(x: Real, valid: Ints | undefined): Statistics {
  const D = widthOf(x);
  const counts = Array.from({ length: rowsOf(x) }, (_, r) => valid === undefined || valid.data[r] !== 0);
  const count = counts.filter(Boolean).length;
  const meanOf = (f: (v: number, d: number) => number) => {
    const sums = new Float64Array(D);
    counts.forEach((counted, r) => {
      if (counted) for (let d = 0; d < D; d++) sums[d]! += f(x.data[r * D + d]!, d);
    });
    return sums.map((v) => v / Math.max(count, 1));
  };
  const mean = meanOf((v) => v);
  return { count, mean, variance: meanOf((v, d) => (v - mean[d]!) ** 2) };
}

/** What the op normalizes by: the batch's statistics in training, the moving ones else. */
const usedBy = (
  { training }: OpAttrs['batchNorm'],
  x: Real,
  valid: Ints | undefined,
  mean: Real,
  variance: Real,
): Statistics => (training ? statisticsOf(x, valid) : { count: 0, mean: mean.data, variance: variance.data });

/** y = γ ⊙ (x − μ)/√(σ² + ε) + β, and m ← momentum·m + (1 − momentum)·μ, likewise for σ² (Ioffe & Szegedy, 2015). */
export const batchNorm: Kernel<
  'batchNorm',
  [
    x: Real,
    valid: Ints | undefined,
    gamma: Real | undefined,
    beta: Real | undefined,
    mean: Real,
    variance: Real,
  ],
  [y: Real, movedMean: Real | undefined, movedVariance: Real | undefined]
> = (attrs, [x, valid, gamma, beta, mean, variance], [y, movedMean, movedVariance]) => {
  const D = widthOf(x);
  const used = usedBy(attrs, x, valid, mean, variance);
  x.data.forEach((v, i) => {
    const d = i % D;
    const hat = (v - used.mean[d]!) / Math.sqrt(used.variance[d]! + attrs.epsilon);
    y.data[i] = (gamma?.data[d] ?? 1) * hat + (beta?.data[d] ?? 0);
  });
  // Of a batch in which no row counts nothing is learned.
  const keep = used.count > 0 ? attrs.momentum : 1;
  for (let d = 0; d < D; d++) {
    if (movedMean) movedMean.data[d] = keep * mean.data[d]! + (1 - keep) * used.mean[d]!;
    if (movedVariance) movedVariance.data[d] = keep * variance.data[d]! + (1 - keep) * used.variance[d]!;
  }
};

/** dγ = Σ dy ⊙ x̂, dβ = Σ dy, dx = γ/σ ⊙ dy; in training less γ/σ ⊙ (dβ + x̂ ⊙ dγ)/n in the n rows that μ and σ are made of. */
export const batchNormGrad: Kernel<
  'batchNormGrad',
  [x: Real, valid: Ints | undefined, gamma: Real | undefined, mean: Real, variance: Real, dy: Real],
  [dx: Real | undefined, dGamma: Real | undefined, dBeta: Real | undefined]
> = (attrs, [x, valid, gamma, mean, variance, dy], [dx, dGamma, dBeta]) => {
  const D = widthOf(x);
  const used = usedBy(attrs, x, valid, mean, variance);
  const scale = used.variance.map((v) => 1 / Math.sqrt(v + attrs.epsilon));
  const hat = x.data.map((v, i) => (v - used.mean[i % D]!) * scale[i % D]!);
  const sums = [new Float64Array(D), new Float64Array(D)] as const;
  dy.data.forEach((d, i) => {
    sums[0][i % D]! += d * hat[i]!;
    sums[1][i % D]! += d;
  });
  dGamma?.data.set(sums[0]);
  dBeta?.data.set(sums[1]);
  dx?.data.forEach((_, i) => {
    const d = i % D;
    const counted = attrs.training && (valid === undefined || valid.data[Math.floor(i / D)] !== 0);
    const shared = counted ? (sums[1][d]! + hat[i]! * sums[0][d]!) / used.count : 0;
    dx.data[i] = (gamma?.data[d] ?? 1) * scale[d]! * (dy.data[i]! - shared);
  });
};
