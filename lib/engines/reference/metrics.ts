import type { MetricKind } from '../../plan/codes';
import type { MetricAttrs } from '../../plan/types';
import { rowLosses } from './losses';
import { type Ints, type Kernel, type Operand, type Real, rowsOf, widthOf } from './operands';

interface Scored {
  readonly R: number;
  readonly C: number;
  readonly pred: Real;
  readonly target: Operand;
  /** p_rc. */
  p(r: number, c: number): number;
  /** y_rc, one-hot where the targets are classes. */
  y(r: number, c: number): number;
  /** Whether (r, c) is an actual positive. */
  positive(r: number, c: number): boolean;
  /** The true class of row r. */
  classOf(r: number): number;
  w(r: number): number;
}

/** Adds the sums of one batch up, into `sums`, zero before. */
type Summing = (s: Scored, sums: Float64Array, attrs: MetricAttrs) => void;

export const metric: Kernel<
  'metric',
  [pred: Real, target: Operand, weight: Real | undefined],
  [sums: Real]
> = (attrs, [pred, target, weight], [sums]) => {
  sums.data.fill(0);
  metrics[attrs.kind](scored(attrs.sparse, pred, target, weight), sums.data, attrs);
};

function scored(sparse: boolean, pred: Real, target: Operand, weight: Real | undefined): Scored {
  const C = widthOf(pred);
  const label = (r: number) => (target as Ints).data[r]!;
  const entry = (r: number, c: number) => target.data[r * C + c]!;
  return {
    R: rowsOf(pred),
    C,
    pred,
    target,
    p: (r, c) => pred.data[r * C + c]!,
    y: sparse ? (r, c) => (label(r) === c ? 1 : 0) : entry,
    positive: sparse ? (r, c) => label(r) === c : (r, c) => entry(r, c) > 0.5,
    classOf: sparse ? label : (r) => argmax(C, (c) => entry(r, c)),
    w: (r) => weight?.data[r] ?? 1,
  };
}

/** The first c with the largest value. */
function argmax(C: number, value: (c: number) => number): number {
  let best = 0;
  for (let c = 1; c < C; c++) if (value(c) > value(best)) best = c;
  return best;
}

/** [Σ_r w_r score(r), Σ_r w_r]. */
function weightedMean(s: Scored, sums: Float64Array, score: (r: number) => number): void {
  for (let r = 0; r < s.R; r++) {
    sums[0]! += s.w(r) * score(r);
    sums[1]! += s.w(r);
  }
}

function meanOverClasses(C: number, score: (c: number) => number): number {
  let sum = 0;
  for (let c = 0; c < C; c++) sum += score(c);
  return sum / C;
}

const metrics: { readonly [K in MetricKind]: Summing } = {
  binaryAccuracy(s, sums, { thresholds }) {
    const [threshold] = thresholds as [number];
    weightedMean(s, sums, (r) =>
      meanOverClasses(s.C, (c) => Number(s.p(r, c) > threshold === s.positive(r, c))),
    );
  },

  categoricalAccuracy(s, sums) {
    weightedMean(s, sums, (r) => Number(argmax(s.C, (c) => s.p(r, c)) === s.classOf(r)));
  },

  topK(s, sums, { k }) {
    weightedMean(s, sums, (r) => {
      const own = s.p(r, s.classOf(r));
      let above = 0;
      for (let c = 0; c < s.C; c++) if (s.p(r, c) > own) above++;
      return Number(Number.isFinite(own) && above < (k as number));
    });
  },

  squaredError(s, sums) {
    weightedMean(s, sums, (r) => meanOverClasses(s.C, (c) => (s.p(r, c) - s.y(r, c)) ** 2));
  },

  absoluteError(s, sums) {
    weightedMean(s, sums, (r) => meanOverClasses(s.C, (c) => Math.abs(s.p(r, c) - s.y(r, c))));
  },

  value(s, sums) {
    weightedMean(s, sums, (r) => meanOverClasses(s.C, (c) => s.p(r, c)));
  },

  // Per c: Σw, Σwy, Σwy², Σw(y−p)².
  r2(s, sums) {
    for (let r = 0; r < s.R; r++) {
      for (let c = 0; c < s.C; c++) {
        const [w, y] = [s.w(r), s.y(r, c)];
        sums[4 * c]! += w;
        sums[4 * c + 1]! += w * y;
        sums[4 * c + 2]! += w * y * y;
        sums[4 * c + 3]! += w * (y - s.p(r, c)) ** 2;
      }
    }
  },

  // [thresholds, C, 4]: true positives, false positives, true negatives, false negatives.
  confusion(s, sums, { argmax: byArgmax, thresholds = [] }) {
    const rules =
      thresholds.length > 0
        ? thresholds.map((limit) => (r: number, c: number) => s.p(r, c) > limit)
        : [(r: number, c: number) => byArgmax === true && c === argmax(s.C, (k) => s.p(r, k))];
    rules.forEach((predicted, i) => {
      for (let r = 0; r < s.R; r++) {
        for (let c = 0; c < s.C; c++) {
          const right = predicted(r, c) === s.positive(r, c);
          const cell = predicted(r, c) ? (right ? 0 : 1) : right ? 2 : 3;
          sums[(i * s.C + c) * 4 + cell]! += s.w(r);
        }
      }
    });
  },

  // [2, B]: weight of positives, then of negatives, per bin of the prediction.
  histogram(s, sums, { bins }) {
    const B = bins as number;
    for (let r = 0; r < s.R; r++) {
      for (let c = 0; c < s.C; c++) {
        // What lies above threshold i/(B−1) is exactly bins i and up.
        const bin = Math.max(Math.ceil(Math.min(Math.max(s.p(r, c), 0), 1) * (B - 1)) - 1, 0);
        sums[(s.positive(r, c) ? 0 : B) + bin]! += s.w(r);
      }
    }
  },

  crossentropy(s, sums, { sparse, fromLogits = false }) {
    const kind = sparse ? 'sparseCategoricalCrossentropy' : 'categoricalCrossentropy';
    rowLosses({ kind, fromLogits, parameter: 0 }, s.pred, s.target, (r, l) => {
      sums[0]! += s.w(r) * l;
      sums[1]! += s.w(r);
    });
  },
};
