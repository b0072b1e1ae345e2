import type { ActivationKind } from '../../plan/codes';
import type { ActivationAttrs } from '../../plan/types';
import { normalDensity, normalDistribution } from './normal';
import { type Kernel, type Real, rowsOf, widthOf } from './operands';

/**
 * An elementwise activation: y = value(x), and dy/dx = slope(x, y). A slope reads either x or y, as docs/plan.md lists,
 * so the other may be unknown.
 */
export interface Activation {
  value(x: number): number;
  slope(x: number, y: number): number;
}

type Elementwise = Exclude<ActivationKind, 'softmax' | 'logSoftmax' | 'sparsemax'>;

// Klambauer et al., "Self-normalizing neural networks" (2017).
const SELU_SCALE = 1.0507009873554805;
const SELU_ALPHA = 1.6732632423543772;

const sigmoid = (x: number) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const clip = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);
const hardSigmoid = (x: number) => clip(x / 6 + 0.5, 0, 1);
const hardSigmoidSlope = (y: number) => (y > 0 && y < 1 ? 1 / 6 : 0);
const geluTanhInner = (x: number) => Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);

const activations: { readonly [K in Elementwise]: (alpha: number) => Activation } = {
  linear: () => ({ value: (x) => x, slope: () => 1 }),
  tanh: () => ({ value: Math.tanh, slope: (_, y) => 1 - y * y }),
  sigmoid: () => ({ value: sigmoid, slope: (_, y) => y * (1 - y) }),
  relu: () => ({ value: (x) => Math.max(x, 0), slope: (_, y) => (y > 0 ? 1 : 0) }),
  hardSigmoid: () => ({ value: hardSigmoid, slope: (_, y) => hardSigmoidSlope(y) }),
  // y = log(1 + e^x), so σ(x) = 1 − e^(−y).
  softplus: () => ({ value: softplus, slope: (_, y) => -Math.expm1(-y) }),
  softsign: () => ({ value: (x) => x / (1 + Math.abs(x)), slope: (_, y) => (1 - Math.abs(y)) ** 2 }),
  // Clevert et al. (2016).
  elu: (alpha) => ({
    value: (x) => (x > 0 ? x : alpha * Math.expm1(x)),
    slope: (_, y) => (y > 0 ? 1 : y + alpha),
  }),
  selu: () => ({
    value: (x) => SELU_SCALE * (x > 0 ? x : SELU_ALPHA * Math.expm1(x)),
    slope: (_, y) => (y > 0 ? SELU_SCALE : y + SELU_SCALE * SELU_ALPHA),
  }),
  exponential: () => ({ value: Math.exp, slope: (_, y) => y }),
  relu6: () => ({ value: (x) => clip(x, 0, 6), slope: (_, y) => (y > 0 && y < 6 ? 1 : 0) }),
  leakyRelu: (alpha) => ({ value: (x) => (x > 0 ? x : alpha * x), slope: (_, y) => (y > 0 ? 1 : alpha) }),
  // Hendrycks & Gimpel (2016): x Φ(x).
  gelu: () => ({
    value: (x) => x * normalDistribution(x),
    slope: (x) => normalDistribution(x) + x * normalDensity(x),
  }),
  silu: () => ({ value: (x) => x * sigmoid(x), slope: (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x))) }),
  // Misra (2019): x tanh(softplus(x)).
  mish: () => ({
    value: (x) => x * Math.tanh(softplus(x)),
    slope: (x) => Math.tanh(softplus(x)) + x * (1 - Math.tanh(softplus(x)) ** 2) * sigmoid(x),
  }),
  hardSilu: () => ({
    value: (x) => x * hardSigmoid(x),
    slope: (x) => hardSigmoid(x) + x * hardSigmoidSlope(hardSigmoid(x)),
  }),
  geluTanh: () => ({
    value: (x) => 0.5 * x * (1 + Math.tanh(geluTanhInner(x))),
    slope(x) {
      const t = Math.tanh(geluTanhInner(x));
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);
    },
  }),
  // Barron (2017).
  celu: (alpha) => ({
    value: (x) => (x > 0 ? x : alpha * Math.expm1(x / alpha)),
    slope: (_, y) => (y > 0 ? 1 : y / alpha + 1),
  }),
  // y² − x·y = b/4, so dy/dx = y/(2y − x) = y²/(y² + b/4).
  squareplus: (b) => ({
    value: (x) => (x + Math.sqrt(x * x + b)) / 2,
    slope: (_, y) => (y * y) / (y * y + b / 4),
  }),
  softShrink: (lambda) => ({
    value: (x) => (Math.abs(x) <= lambda ? 0 : x - lambda * Math.sign(x)),
    slope: (_, y) => (y < 0 || y > 0 ? 1 : 0),
  }),
  hardShrink: (lambda) => ({
    value: (x) => (Math.abs(x) <= lambda ? 0 : x),
    slope: (_, y) => (y < 0 || y > 0 ? 1 : 0),
  }),
  threshold: (theta) => ({ value: (x) => (x <= theta ? 0 : x), slope: (x) => (x > theta ? 1 : 0) }),
  tanhShrink: () => ({ value: (x) => x - Math.tanh(x), slope: (x) => Math.tanh(x) ** 2 }),
  hardTanh: () => ({ value: (x) => clip(x, -1, 1), slope: (_, y) => (y > -1 && y < 1 ? 1 : 0) }),
  // y = −log(1 + e^−x), so σ(−x) = 1 − e^y.
  logSigmoid: () => ({ value: (x) => -softplus(-x), slope: (_, y) => -Math.expm1(y) }),
  // Blondel, Martins & Niculae (2019), as its integral sparsePlus.
  sparseSigmoid: () => ({
    value: (x) => clip((x + 1) / 2, 0, 1),
    slope: (_, y) => (y > 0 && y < 1 ? 0.5 : 0),
  }),
  sparsePlus: () => ({
    value: (x) => (x <= -1 ? 0 : x < 1 ? (x + 1) ** 2 / 4 : x),
    slope: (x) => clip((x + 1) / 2, 0, 1),
  }),
};

/** The functions of an elementwise kind. Cells use them too, so those that read rows are not among them. */
export function elementwise({ kind, alpha }: ActivationAttrs): Activation {
  return activations[kind as Elementwise](alpha);
}

export const activation: Kernel<'activation', [x: Real], [y: Real]> = (attrs, [x], [y]) => {
  if (attrs.kind === 'sparsemax') {
    const C = widthOf(x);
    for (let first = 0; first < x.data.length; first += C)
      y.data.set(sparsemax(x.data.subarray(first, first + C)), first);
    return;
  }
  if (attrs.kind === 'softmax' || attrs.kind === 'logSoftmax') {
    const C = widthOf(x);
    for (let r = 0; r < rowsOf(x); r++) {
      const logP = y.data.subarray(r * C, (r + 1) * C);
      logSoftmax(x.data.subarray(r * C, (r + 1) * C), logP);
      if (attrs.kind === 'softmax') for (let c = 0; c < C; c++) logP[c] = Math.exp(logP[c]!);
    }
    return;
  }
  const { value } = elementwise(attrs);
  for (let i = 0; i < y.data.length; i++) y.data[i] = value(x.data[i]!);
};

export const activationGrad: Kernel<
  'activationGrad',
  [x: Real | undefined, y: Real | undefined, dy: Real],
  [dx: Real]
> = (attrs, [x, y, dy], [dx]) => {
  if (attrs.kind === 'sparsemax') {
    sparsemaxGrad(y as Real, dy, dx);
    return;
  }
  if (attrs.kind === 'softmax' || attrs.kind === 'logSoftmax') {
    softmaxGrad(attrs.kind, y as Real, dy, dx);
    return;
  }
  const { slope } = elementwise(attrs);
  for (let i = 0; i < dx.data.length; i++) {
    dx.data[i] = dy.data[i]! * slope(x?.data[i] ?? Number.NaN, y?.data[i] ?? Number.NaN);
  }
};

/** log p_c = x_c − log Σ_k e^(x_k), with the largest x taken out of the sum so that it cannot overflow. */
export function logSoftmax(x: Float64Array, logP: Float64Array): void {
  let max = Number.NEGATIVE_INFINITY;
  for (const v of x) max = Math.max(max, v);
  let sum = 0;
  for (const v of x) sum += Math.exp(v - max);
  for (let c = 0; c < x.length; c++) logP[c] = x[c]! - max - Math.log(sum);
}

/** softmax: dx = y ⊙ (dy − Σ_k dy_k y_k);  logSoftmax: dx = dy − e^y Σ_k dy_k. */
function softmaxGrad(kind: 'softmax' | 'logSoftmax', y: Real, dy: Real, dx: Real): void {
  const C = widthOf(dy);
  for (let first = 0; first < dy.data.length; first += C) {
    let sum = 0;
    for (let i = first; i < first + C; i++) sum += dy.data[i]! * (kind === 'softmax' ? y.data[i]! : 1);
    for (let i = first; i < first + C; i++) {
      dx.data[i] =
        kind === 'softmax' ? y.data[i]! * (dy.data[i]! - sum) : dy.data[i]! - Math.exp(y.data[i]!) * sum;
    }
  }
}

/** p_c = max(x_c − τ, 0), τ such that Σ p = 1: with x₁ ≥ x₂ ≥ …, (x₁ + … + x_k − 1)/k for the last k below whose x_k it lies. */
function sparsemax(x: Float64Array): Float64Array {
  const falling = x.slice().sort((a, b) => b - a);
  let sum = 0;
  let tau = Number.NaN;
  falling.forEach((v, i) => {
    sum += v;
    if (v > (sum - 1) / (i + 1)) tau = (sum - 1) / (i + 1);
  });
  return x.map((v) => Math.max(v - tau, 0));
}

/** dx = dy − mean of dy over the c with y_c > 0, there; 0 elsewhere (Martins & Astudillo, 2016). */
function sparsemaxGrad(y: Real, dy: Real, dx: Real): void {
  const C = widthOf(dy);
  for (let first = 0; first < dy.data.length; first += C) {
    const kept = Array.from({ length: C }, (_, c) => first + c).filter((i) => y.data[i]! > 0);
    const mean = kept.reduce((sum, i) => sum + dy.data[i]!, 0) / kept.length;
    dx.data.fill(0, first, first + C);
    for (const i of kept) dx.data[i] = dy.data[i]! - mean;
  }
}
