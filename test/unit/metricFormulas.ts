import { mean, type Row } from './scoring';

type Value = number | number[];
/** A metric of all rows, from its definition. */
export type Formula = (rows: readonly Row[]) => Value;

export const argmax = (values: readonly number[]) => values.indexOf(Math.max(...values));
export const weightedMean =
  (of: (row: Row) => number): Formula =>
  (rows) => {
    const total = rows.reduce((sum, row) => sum + row.w, 0);
    return total === 0 ? 0 : rows.reduce((sum, row) => sum + row.w * of(row), 0) / total;
  };
export const columns = (of: (p: number, y: number) => number) => (row: Row) =>
  mean(row.p.map((p, c) => of(p, row.y[c] as number)));

export const binaryAccuracy = (threshold: number) =>
  weightedMean(columns((p, y) => Number(p > threshold === y > 0.5)));
export const categoricalAccuracy = weightedMean(({ p, y }) => Number(argmax(p) === argmax(y)));
export const topK = (k: number) =>
  weightedMean(({ p, y }) => Number(p.filter((v) => v > (p[argmax(y)] as number)).length < k));
export const squared = weightedMean(columns((p, y) => (p - y) ** 2));
export const crossentropy = weightedMean(({ p, y }) => {
  const total = p.reduce((a, b) => a + b, 0);
  return -y.reduce(
    (sum, v, c) => sum + v * Math.log(Math.min(Math.max((p[c] as number) / total, 1e-7), 1 - 1e-7)),
    0,
  );
});
export const after =
  (formula: Formula, change: (v: number) => number): Formula =>
  (rows) =>
    change(formula(rows) as number);

/** Weight of the outputs (row, class) that are positive and predicted so, and so on. */
function confusion(rows: readonly Row[], isPredicted: (row: Row, c: number) => boolean, classId?: number) {
  const found = { tp: 0, fp: 0, fn: 0, tn: 0 };
  for (const row of rows) {
    row.y.forEach((y, c) => {
      if (classId !== undefined && c !== classId) return;
      const cell = isPredicted(row, c) ? (y > 0.5 ? 'tp' : 'fp') : y > 0.5 ? 'fn' : 'tn';
      found[cell] += row.w;
    });
  }
  return found;
}
const over = (a: number, b: number) => (b === 0 ? 0 : a / b);
export const above = (threshold: number) => (row: Row, c: number) => (row.p[c] as number) > threshold;
export const precision =
  (threshold: number, classId?: number): Formula =>
  (rows) => {
    const { tp, fp } = confusion(rows, above(threshold), classId);
    return over(tp, tp + fp);
  };
export const recall =
  (threshold: number, classId?: number): Formula =>
  (rows) => {
    const { tp, fn } = confusion(rows, above(threshold), classId);
    return over(tp, tp + fn);
  };

/** How much weight stands in one place of that table. */
export const count =
  (cell: 'tp' | 'fp' | 'tn' | 'fn', threshold: number, classId?: number): Formula =>
  (rows) =>
    confusion(rows, above(threshold), classId)[cell];

export const largest = (row: Row, c: number) => c === argmax(row.p);
/** The harmonic mean of precision and recall. */
function harmonic({ tp, fp, fn }: ReturnType<typeof confusion>): number {
  const [p, r] = [over(tp, tp + fp), over(tp, tp + fn)];
  return over(2 * p * r, p + r);
}
const perClass = (rows: readonly Row[], isPredicted: typeof largest) =>
  (rows[0] as Row).y.map((_, c) => confusion(rows, isPredicted, c));
export const f1 = {
  none:
    (isPredicted: typeof largest): Formula =>
    (rows) =>
      perClass(rows, isPredicted).map(harmonic),
  micro:
    (isPredicted: typeof largest): Formula =>
    (rows) =>
      harmonic(confusion(rows, isPredicted)),
  macro:
    (isPredicted: typeof largest): Formula =>
    (rows) =>
      mean(perClass(rows, isPredicted).map(harmonic)),
  weighted:
    (isPredicted: typeof largest): Formula =>
    (rows) => {
      const counts = perClass(rows, isPredicted);
      const support = counts.map(({ tp, fn }) => tp + fn);
      const total = support.reduce((a, b) => a + b, 0);
      return over(
        counts.reduce((sum, count, c) => sum + (support[c] as number) * harmonic(count), 0),
        total,
      );
    },
};

/** The mean of precision and recall in which recall counts beta times as much (van Rijsbergen, 1979). */
export const fBeta =
  (beta: number): Formula =>
  (rows) => {
    const { tp, fp, fn } = confusion(rows, largest);
    const [p, r] = [over(tp, tp + fp), over(tp, tp + fn)];
    return over((1 + beta ** 2) * p * r, beta ** 2 * p + r);
  };

/** Per output: 1 − Σw(y−p)²/Σw(y−ȳ)², and the weighted spread Σw(y−ȳ)². */
const r2Parts = (rows: readonly Row[]) =>
  (rows[0] as Row).y.map((_, c) => {
    const total = rows.reduce((sum, { w }) => sum + w, 0);
    const center = over(
      rows.reduce((sum, { w, y }) => sum + w * (y[c] as number), 0),
      total,
    );
    const spread = rows.reduce((sum, { w, y }) => sum + w * ((y[c] as number) - center) ** 2, 0);
    const residual = rows.reduce(
      (sum, { w, y, p }) => sum + w * ((y[c] as number) - (p[c] as number)) ** 2,
      0,
    );
    return { value: spread === 0 ? 0 : 1 - residual / spread, spread };
  });
export const r2 = {
  none: (rows: readonly Row[]) => r2Parts(rows).map(({ value }) => value),
  uniform: (rows: readonly Row[]) => mean(r2Parts(rows).map(({ value }) => value)),
  weighted: (rows: readonly Row[]) => {
    const parts = r2Parts(rows);
    const spread = parts.reduce((sum, part) => sum + part.spread, 0);
    return over(
      parts.reduce((sum, part) => sum + part.spread * part.value, 0),
      spread,
    );
  },
};

const clip = (v: number, low: number, high: number) => Math.min(Math.max(v, low), high);
const dot = (a: readonly number[], b: readonly number[]) =>
  a.reduce((sum, v, i) => sum + v * (b[i] as number), 0);
const norm = (a: readonly number[]) => Math.max(Math.hypot(...a), 1e-7);
const gap = (p: number, y: number) => Math.max(1 - (y === 0 ? -1 : y) * p, 0);

/** What a row costs by each loss, from its definition. */
export const costs = {
  binary: (smoothing: number) =>
    weightedMean(
      columns((p, y) => {
        const t = y * (1 - smoothing) + smoothing / 2;
        const log = (share: number) => Math.log(clip(share, 1e-7, 1 - 1e-7));
        return -t * log(p) - (1 - t) * log(1 - p);
      }),
    ),
  huber: (delta: number) =>
    weightedMean(
      columns((p, y) => {
        const e = Math.abs(p - y);
        return e <= delta ? e ** 2 / 2 : delta * e - delta ** 2 / 2;
      }),
    ),
  logCosh: weightedMean(columns((p, y) => Math.log(Math.cosh(p - y)))),
  divergence: weightedMean(({ p, y }) =>
    p.reduce((sum, v, c) => {
      const t = clip(y[c] as number, 1e-7, 1);
      return sum + t * Math.log(t / clip(v, 1e-7, 1));
    }, 0),
  ),
  cosine: weightedMean(({ p, y }) => dot(p, y) / (norm(p) * norm(y))),
  poisson: weightedMean(columns((p, y) => p - y * Math.log(p + 1e-7))),
  hinge: weightedMean(columns(gap)),
  squaredHinge: weightedMean(columns((p, y) => gap(p, y) ** 2)),
  categoricalHinge: weightedMean(({ p, y }) =>
    Math.max(1 + Math.max(...p.map((v, c) => (1 - (y[c] as number)) * v)) - dot(p, y), 0),
  ),
  logarithmic: weightedMean(
    columns((p, y) => (Math.log1p(Math.max(p, 1e-7)) - Math.log1p(Math.max(y, 1e-7))) ** 2),
  ),
  percentage: weightedMean(columns((p, y) => (100 * Math.abs(p - y)) / Math.max(Math.abs(y), 1e-7))),
};
