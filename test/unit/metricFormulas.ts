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
