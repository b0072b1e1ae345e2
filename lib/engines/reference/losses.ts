import type { LossKind } from '../../plan/codes';
import type { LossAttrs } from '../../plan/types';
import { logSoftmax } from './activation';
import { type Kernel, type Operand, type Real, rowsOf, widthOf } from './operands';

/** Probabilities closer to 0 or 1 than this are clipped before a logarithm, as in Keras. */
const EPSILON = 1e-7;

/** ℓ of one row, from predictions p [C] and targets y [C]; fills dp [C] with ∂ℓ/∂p. */
type RowLoss = (p: Float64Array, y: Float64Array, dp: Float64Array, attrs: LossAttrs) => number;

type LossInputs = [pred: Real, target: Operand, weight: Real | undefined];

/** (1/R) Σ_r w_r ℓ_r. */
export const loss: Kernel<'loss', LossInputs, [value: Real]> = (attrs, [pred, target, weight], [value]) => {
  let sum = 0;
  rowLosses(attrs, pred, target, (r, l) => {
    sum += (weight?.data[r] ?? 1) * l;
  });
  value.data[0] = sum / rowsOf(pred);
};

export const lossGrad: Kernel<'lossGrad', LossInputs, [dPred: Real]> = (
  attrs,
  [pred, target, weight],
  [dPred],
) => {
  const R = rowsOf(pred);
  const C = widthOf(pred);
  rowLosses(attrs, pred, target, (r, _, dp) => {
    const factor = (weight?.data[r] ?? 1) / R;
    for (let c = 0; c < C; c++) dPred.data[r * C + c] = factor * dp[c]!;
  });
};

/** Visits every row with its ℓ_r and ∂ℓ_r/∂p, the latter in an array that the next row overwrites. */
export function rowLosses(
  attrs: LossAttrs,
  pred: Real,
  target: Operand,
  visit: (r: number, l: number, dp: Float64Array) => void,
): void {
  const C = widthOf(pred);
  const y = new Float64Array(C);
  const dp = new Float64Array(C);
  for (let r = 0; r < rowsOf(pred); r++) {
    targetRow(attrs, target, r, y);
    const p = pred.data.subarray(r * C, (r + 1) * C);
    visit(r, losses[attrs.kind](p, y, dp, attrs), dp);
  }
}

/** Row r of the targets, one-hot where they are classes, smoothed (Szegedy et al., 2016) where the loss asks for it. */
function targetRow({ kind, parameter }: LossAttrs, target: Operand, r: number, y: Float64Array): void {
  const C = y.length;
  if (kind === 'sparseCategoricalCrossentropy') {
    y.fill(0);
    y[target.data[r]!] = 1;
  } else {
    y.set(target.data.subarray(r * C, (r + 1) * C));
  }
  const spread = smoothingSpread(kind, C);
  if (spread) for (let c = 0; c < C; c++) y[c] = y[c]! * (1 - parameter) + parameter / spread;
}

function smoothingSpread(kind: LossKind, C: number): number | undefined {
  if (kind === 'categoricalCrossentropy' || kind === 'sparseCategoricalCrossentropy') return C;
  return kind === 'binaryCrossentropy' ? 2 : undefined;
}

// From logits: ℓ = −Σ_c y_c log softmax(x)_c,    ∂ℓ/∂x_c = softmax(x)_c Σ_k y_k − y_c.
// From probabilities: p̂ = p / Σp, q = clip(p̂), ℓ = −Σ_c y_c log q_c; with g_c = ∂ℓ/∂p̂_c,
// ∂ℓ/∂p_c = (g_c − Σ_k g_k p̂_k) / Σp.
const crossentropy: RowLoss = (p, y, dp, { fromLogits }) => {
  const C = p.length;
  let l = 0;
  if (fromLogits) {
    const logP = new Float64Array(C);
    logSoftmax(p, logP);
    const mass = y.reduce((a, b) => a + b, 0);
    for (let c = 0; c < C; c++) {
      l -= y[c]! * logP[c]!;
      dp[c] = Math.exp(logP[c]!) * mass - y[c]!;
    }
    return l;
  }
  const total = p.reduce((a, b) => a + b, 0);
  let along = 0;
  for (let c = 0; c < C; c++) {
    const phat = p[c]! / total;
    const q = clip(phat, EPSILON, 1 - EPSILON);
    l -= y[c]! * Math.log(q);
    dp[c] = q === phat ? -y[c]! / q : 0;
    along += dp[c]! * phat;
  }
  for (let c = 0; c < C; c++) dp[c] = (dp[c]! - along) / total;
  return l;
};

const losses: { readonly [K in LossKind]: RowLoss } = {
  categoricalCrossentropy: crossentropy,
  sparseCategoricalCrossentropy: crossentropy,

  // From logits: ℓ = max(x, 0) − x y + log(1 + e^(−|x|)), ∂ℓ/∂x = σ(x) − y.
  // From probabilities: ℓ = −y log q − (1−y) log(1−q), q = clip(p).
  binaryCrossentropy: (p, y, dp, { fromLogits }) =>
    meanOver(p, dp, (c) => {
      const x = p[c]!;
      if (fromLogits) {
        const e = Math.exp(-Math.abs(x));
        const sigmoid = x >= 0 ? 1 / (1 + e) : e / (1 + e);
        return [Math.max(x, 0) - x * y[c]! + Math.log1p(e), sigmoid - y[c]!];
      }
      const q = clip(x, EPSILON, 1 - EPSILON);
      const l = -y[c]! * Math.log(q) - (1 - y[c]!) * Math.log(1 - q);
      return [l, q === x ? (1 - y[c]!) / (1 - q) - y[c]! / q : 0];
    }),

  meanSquaredError: (p, y, dp) =>
    meanOver(p, dp, (c) => {
      const e = p[c]! - y[c]!;
      return [e * e, 2 * e];
    }),

  meanAbsoluteError: (p, y, dp) =>
    meanOver(p, dp, (c) => {
      const e = p[c]! - y[c]!;
      return [Math.abs(e), Math.sign(e)];
    }),

  // Huber (1964): ½e² while |e| ≤ δ, else δ|e| − ½δ².
  huber: (p, y, dp, { parameter: delta }) =>
    meanOver(p, dp, (c) => {
      const e = p[c]! - y[c]!;
      if (Math.abs(e) <= delta) return [(e * e) / 2, e];
      return [delta * Math.abs(e) - (delta * delta) / 2, delta * Math.sign(e)];
    }),

  // log cosh e = |e| + log(1 + e^(−2|e|)) − log 2.
  logCosh: (p, y, dp) =>
    meanOver(p, dp, (c) => {
      const e = p[c]! - y[c]!;
      return [Math.abs(e) + Math.log1p(Math.exp(-2 * Math.abs(e))) - Math.LN2, Math.tanh(e)];
    }),

  // Kullback & Leibler (1951): Σ_c y log(y/q), y and q clipped to [1e-7, 1].
  klDivergence(p, y, dp) {
    let l = 0;
    for (let c = 0; c < p.length; c++) {
      const target = clip(y[c]!, EPSILON, 1);
      const q = clip(p[c]!, EPSILON, 1);
      l += target * Math.log(target / q);
      dp[c] = q === p[c] ? -target / q : 0;
    }
    return l;
  },
};

/** The mean of [ℓ_c, ∂ℓ_c/∂p_c] over c. */
function meanOver(
  p: Float64Array,
  dp: Float64Array,
  part: (c: number) => [value: number, slope: number],
): number {
  const C = p.length;
  let sum = 0;
  for (let c = 0; c < C; c++) {
    const [value, slope] = part(c);
    sum += value;
    dp[c] = slope / C;
  }
  return sum / C;
}

function clip(x: number, low: number, high: number): number {
  return Math.min(Math.max(x, low), high);
}
