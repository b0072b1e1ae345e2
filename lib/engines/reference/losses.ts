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
    const factor = ((attrs.lossWeight ?? 1) * (weight?.data[r] ?? 1)) / R;
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
  if (kind === 'categoricalFocalCrossentropy') return C;
  return kind === 'binaryCrossentropy' || kind === 'binaryFocalCrossentropy' ? 2 : undefined;
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

  // Lin et al. (2017): ℓ = w m^γ b with b the binary cross-entropy and m = y (1−q) + (1−y) q what is missed of the truth;
  // w = y α + (1−y)(1−α), or 1.
  binaryFocalCrossentropy: (p, y, dp, { fromLogits, gamma = 0, alpha }) =>
    meanOver(p, dp, (c) => {
      const q = fromLogits ? sigmoid(p[c]!) : clip(p[c]!, EPSILON, 1 - EPSILON);
      const rest = fromLogits ? sigmoid(-p[c]!) : 1 - q;
      const t = y[c]!;
      const b = fromLogits
        ? Math.max(p[c]!, 0) - p[c]! * t + Math.log1p(Math.exp(-Math.abs(p[c]!)))
        : -t * Math.log(q) - (1 - t) * Math.log(rest);
      const db = fromLogits ? q - t : (q - t) / (q * rest);
      const miss = t * rest + (1 - t) * q;
      const dMiss = (1 - 2 * t) * (fromLogits ? q * rest : 1);
      const w = alpha === undefined ? 1 : t * alpha + (1 - t) * (1 - alpha);
      const isClipped = !fromLogits && q !== p[c];
      const slope = powerSlope(miss, gamma) * dMiss * b + miss ** gamma * db;
      return [w * miss ** gamma * b, isClipped ? 0 : w * slope];
    }),

  // ℓ = −α Σ_c y_c (1 − q_c)^γ log q_c. With h_c = ∂ℓ/∂log q_c, from logits ∂ℓ/∂x_c = h_c − q_c Σ_k h_k;
  // from probabilities the chain goes through q = clip(p / Σp), as in the cross-entropy.
  categoricalFocalCrossentropy(p, y, dp, { fromLogits, gamma = 0, alpha = 1 }) {
    const C = p.length;
    const logQ = new Float64Array(C);
    const total = p.reduce((a, b) => a + b, 0);
    if (fromLogits) logSoftmax(p, logQ);
    let l = 0;
    let sum = 0;
    for (let c = 0; c < C; c++) {
      const share = p[c]! / total;
      if (!fromLogits) logQ[c] = Math.log(clip(share, EPSILON, 1 - EPSILON));
      const q = Math.exp(logQ[c]!);
      const miss = -Math.expm1(logQ[c]!);
      l -= alpha * y[c]! * miss ** gamma * logQ[c]!;
      const isClipped = !fromLogits && clip(share, EPSILON, 1 - EPSILON) !== share;
      dp[c] = isClipped ? 0 : alpha * y[c]! * (powerSlope(miss, gamma) * q * logQ[c]! - miss ** gamma);
      sum += dp[c]!;
    }
    for (let c = 0; c < C; c++)
      dp[c] = fromLogits
        ? dp[c]! - Math.exp(logQ[c]!) * sum
        : (dp[c] === 0 ? 0 : dp[c]! / p[c]!) - sum / total;
    return l;
  },

  // −p̂ · ŷ with p̂ = p / max(‖p‖, 1e-7):  ∂ℓ/∂p = −(ŷ − p̂ (p̂ · ŷ)) / ‖p‖.
  cosineSimilarity(p, y, dp) {
    const size = (v: Float64Array) => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));
    const [ofP, ofY] = [Math.max(size(p), EPSILON), Math.max(size(y), EPSILON)];
    const cosine = p.reduce((sum, v, c) => sum + (v / ofP) * (y[c]! / ofY), 0);
    const turns = size(p) > EPSILON ? cosine : 0;
    for (let c = 0; c < p.length; c++) dp[c] = -(y[c]! / ofY - (p[c]! / ofP) * turns) / ofP;
    return -cosine;
  },

  poisson: (p, y, dp) =>
    meanOver(p, dp, (c) => [p[c]! - y[c]! * Math.log(p[c]! + EPSILON), 1 - y[c]! / (p[c]! + EPSILON)]),

  hinge: (p, y, dp) =>
    meanOver(p, dp, (c) => {
      const t = y[c] === 0 ? -1 : y[c]!;
      const gap = 1 - t * p[c]!;
      return gap > 0 ? [gap, -t] : [0, 0];
    }),

  squaredHinge: (p, y, dp) =>
    meanOver(p, dp, (c) => {
      const t = y[c] === 0 ? -1 : y[c]!;
      const gap = 1 - t * p[c]!;
      return gap > 0 ? [gap * gap, -2 * t * gap] : [0, 0];
    }),

  // Crammer & Singer (2001): max(0, 1 + max_c (1−y_c) p_c − Σ_c y_c p_c); the first of equal maxima takes the gradient.
  categoricalHinge(p, y, dp) {
    const wrong = p.map((v, c) => (1 - y[c]!) * v);
    const worst = wrong.indexOf(Math.max(...wrong));
    const gap = 1 + wrong[worst]! - p.reduce((sum, v, c) => sum + v * y[c]!, 0);
    for (let c = 0; c < p.length; c++) dp[c] = gap > 0 ? (c === worst ? 1 - y[c]! : 0) - y[c]! : 0;
    return Math.max(gap, 0);
  },

  meanSquaredLogarithmicError: (p, y, dp) =>
    meanOver(p, dp, (c) => {
      const e = Math.log1p(Math.max(p[c]!, EPSILON)) - Math.log1p(Math.max(y[c]!, EPSILON));
      return [e * e, p[c]! < EPSILON ? 0 : (2 * e) / (1 + p[c]!)];
    }),

  value: (p, _, dp) => meanOver(p, dp, (c) => [p[c]!, 1]),

  meanAbsolutePercentageError: (p, y, dp) =>
    meanOver(p, dp, (c) => {
      const [e, size] = [p[c]! - y[c]!, Math.max(Math.abs(y[c]!), EPSILON)];
      return [(100 * Math.abs(e)) / size, (100 * Math.sign(e)) / size];
    }),
};

function sigmoid(x: number): number {
  const e = Math.exp(-Math.abs(x));
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

/** The derivative of x^γ; at 0, where nothing is missed, that of the loss is 0 whatever γ. */
function powerSlope(x: number, gamma: number): number {
  return x > 0 ? gamma * x ** (gamma - 1) : 0;
}

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
