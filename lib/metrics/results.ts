export interface ThresholdOptions {
  /** Outputs above a threshold count as positive. Default 0.5. A list gives one result each. */
  thresholds?: number | readonly number[];
  /** Only this class. Default: all outputs together. */
  classId?: number;
}

export interface F1Options {
  /** null (default): one number per class. */
  average?: 'micro' | 'macro' | 'weighted' | null;
  /** Default null: the largest output is the prediction; where there is only one output, 0.5. */
  threshold?: number | null;
}

export interface AucOptions {
  /** Default 200. */
  numThresholds?: number;
  curve?: 'ROC' | 'PR';
  summationMethod?: 'interpolation' | 'minoring' | 'majoring';
}

export interface R2Options {
  /** null: one number per output. Default `'uniformAverage'`. */
  classAggregation?: 'uniformAverage' | 'varianceWeightedAverage' | null;
}

/** a / b, and 0 where b is 0. */
const ratio = (a: number, b: number) => (b === 0 ? 0 : a / b);

/** Weights of outputs by what they were taken for, and whether rightly. */
export interface Counts {
  tp: number;
  fp: number;
  tn: number;
  fn: number;
}

/** Counts at threshold `t` from sums `[thresholds, classes, (tp, fp, tn, fn)]`, of one class or of all. */
export function countsOf(sums: Float64Array, t: number, classes: number, classId?: number): Counts {
  const total = { tp: 0, fp: 0, tn: 0, fn: 0 };
  for (let c = classId ?? 0; c < (classId === undefined ? classes : classId + 1); c++) {
    const at = (t * classes + c) * 4;
    total.tp += sums[at] as number;
    total.fp += sums[at + 1] as number;
    total.tn += sums[at + 2] as number;
    total.fn += sums[at + 3] as number;
  }
  return total;
}

export const precisionOf = ({ tp, fp }: Counts): number => ratio(tp, tp + fp);

export const recallOf = ({ tp, fn }: Counts): number => ratio(tp, tp + fn);

/** F = (1 + β²)tp / ((1 + β²)tp + fp + β²fn) per class; averaged plainly, by support, or from pooled counts. */
export function averageF(
  sums: Float64Array,
  classes: number,
  average: 'micro' | 'macro' | 'weighted' | null,
  beta: number,
): number | number[] {
  const b = beta ** 2;
  const score = ({ tp, fp, fn }: Counts) => ratio((1 + b) * tp, (1 + b) * tp + fp + b * fn);
  if (average === 'micro') return score(countsOf(sums, 0, classes));
  const perClass = Array.from({ length: classes }, (_, c) => countsOf(sums, 0, classes, c));
  const values = perClass.map(score);
  if (average === null) return values;
  const support = perClass.map(({ tp, fn }) => (average === 'weighted' ? tp + fn : 1));
  const total = support.reduce((a, b) => a + b, 0);
  return ratio(
    values.reduce((sum, value, c) => sum + value * (support[c] as number), 0),
    total,
  );
}

/**
 * A spread Σwy² − (Σwy)²/Σw below this share of Σwy² is rounding: it would belong to targets that differ by a millionth of
 * their size, a few units in the last place of float32.
 */
const NO_SPREAD = 1e-12;

/** R² per output from sums `[outputs, (Σw, Σwy, Σwy², Σw(y−p)²)]`; 0 where the targets do not vary, as in Keras. */
export function r2Of(
  sums: Float64Array,
  aggregation: 'uniformAverage' | 'varianceWeightedAverage' | null,
): number | number[] {
  const outputs = sums.length / 4;
  const spread: number[] = [];
  const values = Array.from({ length: outputs }, (_, c) => {
    const [w, wy, wyy, residual] = sums.subarray(4 * c, 4 * c + 4) as unknown as [
      number,
      number,
      number,
      number,
    ];
    const total = wyy - ratio(wy * wy, w);
    const varies = total > NO_SPREAD * wyy;
    spread.push(varies ? total : 0);
    return varies ? 1 - residual / total : 0;
  });
  if (aggregation === null) return values;
  const weights = aggregation === 'uniformAverage' ? values.map(() => 1) : spread;
  return ratio(
    values.reduce((sum, v, c) => sum + v * (weights[c] as number), 0),
    weights.reduce((a, b) => a + b, 0),
  );
}

/**
 * Area under a curve from weights per bin `[2, B]` (positives, then negatives; bin b holds outputs in (b, b+1] / (B−1)).
 *
 * The thresholds are those of Keras: below 0, 1/(B−1), 2/(B−1), …, above 1. An output is positive at threshold i when it lies above it, so
 * true positives at i are the positives of bins i, i+1, … . PR curves are interpolated after Davis & Goadrich (2006).
 */
export function areaUnderCurve(
  sums: Float64Array,
  curve: 'ROC' | 'PR',
  method: 'interpolation' | 'minoring' | 'majoring',
): number {
  const bins = sums.length / 2;
  const tp = new Float64Array(bins);
  const fp = new Float64Array(bins);
  // Threshold 0 lies below every output, the last above every one: bin B−1 is empty.
  for (let b = bins - 2; b >= 0; b--) {
    tp[b] = (tp[b + 1] as number) + (sums[b] as number);
    fp[b] = (fp[b + 1] as number) + (sums[bins + b] as number);
  }
  const [positives, negatives] = [tp[0] as number, fp[0] as number];
  if (curve === 'PR' && method === 'interpolation') return interpolatedPr(tp, fp, positives);
  const recall = tp.map((v) => ratio(v, positives));
  const x = curve === 'ROC' ? fp.map((v) => ratio(v, negatives)) : recall;
  const y = curve === 'ROC' ? recall : tp.map((v, i) => ratio(v, v + (fp[i] as number)));
  let area = 0;
  for (let i = 0; i + 1 < bins; i++) {
    const [a, b] = [y[i] as number, y[i + 1] as number];
    const height =
      method === 'interpolation' ? (a + b) / 2 : method === 'minoring' ? Math.min(a, b) : Math.max(a, b);
    area += ((x[i] as number) - (x[i + 1] as number)) * height;
  }
  return area;
}

/** Between two thresholds precision follows (tp) / (tp + fp) with fp linear in tp. */
function interpolatedPr(tp: Float64Array, fp: Float64Array, positives: number): number {
  let area = 0;
  for (let i = 0; i + 1 < tp.length; i++) {
    const [p0, p1] = [(tp[i] as number) + (fp[i] as number), (tp[i + 1] as number) + (fp[i + 1] as number)];
    const dtp = (tp[i] as number) - (tp[i + 1] as number);
    const slope = ratio(dtp, Math.max(p0 - p1, 0));
    const intercept = (tp[i + 1] as number) - slope * p1;
    const growth = p0 > 0 && p1 > 0 ? ratio(p0, p1) : 1;
    area += ratio(slope * (dtp + intercept * Math.log(growth)), positives);
  }
  return area;
}
