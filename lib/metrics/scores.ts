import { ops } from '../ops';
import type { ScoreFunction } from '../ops/rowFunction';
import type { Traced } from '../ops/traced';

/** Where Keras clips what it takes logarithms of or divides by. */
const EPSILON = 1e-7;

const clip = (x: Traced, low: number, high: number) => ops.minimum(ops.maximum(x, low), high);
const distance = (y: Traced, p: Traced) => ops.abs(ops.subtract(p, y));

/** The largest column of a row, by halves that overlap where their number is odd. */
function largest(x: Traced): Traced {
  let left = x;
  while (left.width > 1) {
    const half = Math.ceil(left.width / 2);
    left = ops.maximum(ops.slice(left, 0, half), ops.slice(left, left.width - half, half));
  }
  return left;
}

/** What cannot be longer than it is wide: a row divided by its norm. */
const unit = (x: Traced) => ops.divide(x, ops.maximum(ops.sqrt(ops.sum(ops.square(x))), EPSILON));

/** 1 − y·p, not below 0, where targets of 0 stand for −1. */
function margin(y: Traced, p: Traced): Traced {
  const sign = ops.where(ops.greater(ops.abs(y), 0), y, -1);
  return ops.maximum(ops.subtract(1, ops.multiply(sign, p)), 0);
}

const binaryCrossentropy =
  (labelSmoothing: number): ScoreFunction =>
  (y, p) => {
    const target = ops.add(ops.multiply(y, 1 - labelSmoothing), labelSmoothing / 2);
    // Each is clipped by itself: in float32 1 − (1 − 10⁻⁷) is 1.2 · 10⁻⁷.
    const log = (share: Traced) => ops.log(clip(share, EPSILON, 1 - EPSILON));
    const [yes, no] = [log(p), log(ops.subtract(1, p))];
    return ops.negative(ops.add(ops.multiply(target, yes), ops.multiply(ops.subtract(1, target), no)));
  };

const huber =
  (delta: number): ScoreFunction =>
  (y, p) => {
    const far = distance(y, p);
    const near = ops.minimum(far, delta);
    return ops.multiply(near, ops.subtract(far, ops.multiply(near, 0.5)));
  };

const kept = (x: Traced) => ops.log(ops.add(ops.maximum(x, EPSILON), 1));

/** What a row's predictions cost by a loss: the formulas are in docs/plan.md, "Losses". */
export const rowScores = {
  binaryCrossentropy,
  huber,
  logCosh: (y, p) => {
    const far = distance(y, p);
    return ops.add(ops.add(far, ops.softplus(ops.multiply(far, -2))), -Math.LN2);
  },
  klDivergence: (y, p) => {
    const [t, q] = [clip(y, EPSILON, 1), clip(p, EPSILON, 1)];
    return ops.sum(ops.multiply(t, ops.subtract(ops.log(t), ops.log(q))));
  },
  /** The cosine itself, where the loss is its negative. */
  cosineSimilarity: (y, p) => ops.sum(ops.multiply(unit(y), unit(p))),
  poisson: (y, p) => ops.subtract(p, ops.multiply(y, ops.log(ops.add(p, EPSILON)))),
  hinge: margin,
  squaredHinge: (y, p) => ops.square(margin(y, p)),
  categoricalHinge: (y, p) => {
    const wrong = largest(ops.multiply(ops.subtract(1, y), p));
    return ops.maximum(ops.add(ops.subtract(wrong, ops.sum(ops.multiply(y, p))), 1), 0);
  },
  meanSquaredLogarithmicError: (y, p) => ops.square(ops.subtract(kept(p), kept(y))),
  meanAbsolutePercentageError: (y, p) =>
    ops.multiply(ops.divide(distance(y, p), ops.maximum(ops.abs(y), EPSILON)), 100),
} satisfies Record<string, ScoreFunction | ((parameter: number) => ScoreFunction)>;
