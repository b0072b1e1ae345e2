import fc from 'fast-check';
import { metrics } from '../../lib';
import { devices, expectNear, type Row, Rows, score } from './scoring';

/** Predictions of single outputs with their class and weight. */
interface Scored {
  readonly p: number;
  readonly positive: boolean;
  readonly w: number;
}

const rowsOf = (data: readonly Scored[]): Row[] =>
  data.map(({ p, positive, w }) => ({ p: [p], y: [Number(positive)], w }));

async function auc(
  data: readonly Scored[],
  options: Parameters<typeof metrics.auc>[0],
  device: string,
  batchSize = 32,
) {
  const rows = rowsOf(data);
  const scores = await score({
    predictions: rows.map(({ p }) => p),
    targets: rows.map(({ y }) => y),
    compile: { loss: 'binaryCrossentropy', weightedMetrics: [metrics.auc(options)], device },
    options: { batchSize, sampleWeight: rows.map(({ w }) => w) },
  });
  return scores['auc'] as number;
}

/** The rank statistic of Mann & Whitney (1947): how often a positive lies above a negative, ties counting half. */
function rankStatistic(data: readonly Scored[], place: (p: number) => number = (p) => p): number {
  let [won, pairs] = [0, 0];
  for (const a of data) {
    for (const b of data) {
      if (!a.positive || b.positive) continue;
      pairs += a.w * b.w;
      const [x, y] = [place(a.p), place(b.p)];
      won += a.w * b.w * (x > y ? 1 : x === y ? 0.5 : 0);
    }
  }
  return pairs === 0 ? 0 : won / pairs;
}

/** The number of thresholds 1/(B−1), 2/(B−1), … below p: all that thresholds can tell of it. */
const binOf = (thresholds: number) => (p: number) => {
  let below = 0;
  for (let i = 1; i < thresholds - 1; i++) if (p > i / (thresholds - 1)) below++;
  return below;
};

/** Half the weight of the pairs that share a bin: as far as binning can move the area. */
function tolerance(data: readonly Scored[], thresholds: number): number {
  const place = binOf(thresholds);
  let [together, pairs] = [0, 0];
  for (const a of data) {
    for (const b of data) {
      if (!a.positive || b.positive) continue;
      pairs += a.w * b.w;
      if (place(a.p) === place(b.p)) together += a.w * b.w;
    }
  }
  return pairs === 0 ? 0 : together / pairs / 2;
}

/** True and false positives at each of Keras's thresholds: one below 0, i/(B−1), one above 1. */
function counts(data: readonly Scored[], thresholds: number): { tp: number; fp: number }[] {
  return Array.from({ length: thresholds }, (_, i) => {
    const at = i === 0 ? -1e-7 : i === thresholds - 1 ? 1 + 1e-7 : i / (thresholds - 1);
    const weight = (positive: boolean) =>
      data.reduce((sum, s) => sum + (s.positive === positive && s.p > at ? s.w : 0), 0);
    return { tp: weight(true), fp: weight(false) };
  });
}
const over = (a: number, b: number) => (b === 0 ? 0 : a / b);

function data(count: number, seed: number): Scored[] {
  const rows = new Rows(seed);
  const [p, w] = [rows.shares(count, 1), rows.weights(count)];
  const positive = rows.bits(count, 1);
  // Positives lie higher on average; some predictions are equal, some on a threshold, some at the ends.
  return p.map(([v], i) => {
    const isPositive = positive[i]?.[0] === 1;
    const raised = isPositive ? Math.sqrt(v as number) : (v as number);
    const shape = [Math.fround(raised), Math.round(4 * raised) / 4, Math.round(64 * raised) / 64][
      i % 3
    ] as number;
    return { p: shape, positive: isPositive, w: w[i] as number };
  });
}

describe.each(devices)('area under the curve on the %s device', (device, rounding) => {
  test.each([3, 7, 65, 200])(
    'ROC with %i thresholds is the rank statistic, within what binning hides',
    async (numThresholds) => {
      const scored = data(90, 1);
      const area = await auc(scored, { numThresholds }, device);
      expect(Math.abs(area - rankStatistic(scored))).toBeLessThanOrEqual(
        tolerance(scored, numThresholds) + 1e-9,
      );
      // To rounding it is the statistic of the bins, in which pairs of one bin are ties.
      expectNear(area, rankStatistic(scored, binOf(numThresholds)), rounding);
    },
  );

  test('perfect, reversed and uninformed predictions', async () => {
    const of = (...p: [number, boolean][]) => p.map(([v, positive]): Scored => ({ p: v, positive, w: 1 }));
    expectNear(await auc(of([0.9, true], [0.8, true], [0.1, false]), {}, device), 1, rounding);
    expectNear(await auc(of([0.1, true], [0.8, false], [0.9, false]), {}, device), 0, rounding);
    expectNear(await auc(of([0.5, true], [0.5, false], [0.5, false]), {}, device), 0.5, rounding);
    expectNear(await auc(of([0, true], [1, true], [0, false], [1, false]), {}, device), 0.5, rounding);
    expect(await auc(of([0.3, true], [0.6, true]), {}, device)).toBe(0);
  });

  test('whatever the data, the number of thresholds and the batch size', async () => {
    const run = fc.record({
      count: fc.integer({ min: 1, max: 40 }),
      seed: fc.nat(1e6),
      numThresholds: fc.integer({ min: 3, max: 70 }),
      batchSize: fc.integer({ min: 1, max: 41 }),
    });
    await fc.assert(
      fc.asyncProperty(run, async ({ count, seed, numThresholds, batchSize }) => {
        const scored = data(count, seed);
        // A prediction within float32 rounding of a threshold may fall on either side of it on the device.
        const near = scored.some(({ p }) => {
          const place = p * (numThresholds - 1);
          return place !== Math.round(place) && Math.abs(place - Math.round(place)) < 1e-4;
        });
        fc.pre(!near);
        const area = await auc(scored, { numThresholds }, device, batchSize);
        expectNear(area, rankStatistic(scored, binOf(numThresholds)), rounding);
      }),
      { numRuns: 60 },
    );
  });

  test.each(['ROC', 'PR'] as const)('%s by its rectangles, below and above', async (curve) => {
    const B = 17;
    const scored = data(80, 3);
    const at = counts(scored, B);
    const { tp: positives, fp: negatives } = at[0] as { tp: number; fp: number };
    const points = at.map(({ tp, fp }) =>
      curve === 'ROC'
        ? { x: over(fp, negatives), y: over(tp, positives) }
        : { x: over(tp, positives), y: over(tp, tp + fp) },
    );
    const area = (height: (a: number, b: number) => number) =>
      points.slice(1).reduce((sum, right, i) => {
        const left = points[i] as { x: number; y: number };
        return sum + (left.x - right.x) * height(left.y, right.y);
      }, 0);
    const numThresholds = B;
    expectNear(
      await auc(scored, { numThresholds, curve, summationMethod: 'minoring' }, device),
      area(Math.min),
      rounding,
    );
    expectNear(
      await auc(scored, { numThresholds, curve, summationMethod: 'majoring' }, device),
      area(Math.max),
      rounding,
    );
  });

  test('PR between thresholds, where precision follows tp / (tp + fp) with fp linear in tp (Davis & Goadrich, 2006)', async () => {
    const B = 9;
    const scored = data(80, 4);
    const at = counts(scored, B);
    const positives = at[0]?.tp as number;
    // The integral over recall of each piece, by Simpson's rule on a fine grid.
    let area = 0;
    for (let i = 0; i + 1 < B; i++) {
      const [high, low] = [at[i], at[i + 1]] as [{ tp: number; fp: number }, { tp: number; fp: number }];
      const span = high.tp - low.tp;
      if (span === 0) continue;
      const precision = (share: number) => {
        const [tp, fp] = [low.tp + share * span, low.fp + share * (high.fp - low.fp)];
        // Coming from no positives at all, the ratio of the growth of both stands for 0/0.
        return tp === 0 ? over(span, span + high.fp - low.fp) : tp / (tp + fp);
      };
      const pieces = 2000;
      for (let k = 0; k < pieces; k++) {
        const [a, b] = [k / pieces, (k + 1) / pieces];
        area +=
          (((precision(a) + 4 * precision((a + b) / 2) + precision(b)) / 6) * span) / pieces / positives;
      }
    }
    expectNear(await auc(scored, { numThresholds: B, curve: 'PR' }, device), area, 1e-6);
  });
});
