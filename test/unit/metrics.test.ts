import fc from 'fast-check';
import { type CompileOptions, metrics } from '../../lib';
import type { MetricSpec } from '../../lib/metrics/metric';
import {
  above,
  after,
  argmax,
  binaryAccuracy,
  categoricalAccuracy,
  columns,
  costs,
  count,
  crossentropy,
  type Formula,
  f1,
  fBeta,
  largest,
  precision,
  r2,
  recall,
  squared,
  topK,
  weightedMean,
} from './metricFormulas';
import { devices, expectNear, oneHot, Rows, score, softmax } from './scoring';

const { log, exp, sqrt, abs } = Math;
const [N, C] = [40, 5];
type Metric = MetricSpec;

interface Case {
  readonly name: string;
  readonly metric: Metric;
  readonly key: string;
  readonly kind: 'classes' | 'labels' | 'bits' | 'bit' | 'numbers' | 'logits' | 'softmax' | 'sparseSoftmax';
  readonly formula: Formula;
}

const both = ['classes', 'labels'] as const;
const cases: Case[] = [
  {
    name: 'accuracy of one output',
    metric: 'accuracy',
    key: 'accuracy',
    kind: 'bit',
    formula: binaryAccuracy(0.5),
  },
  { name: 'accuracy of several bits', metric: 'acc', key: 'acc', kind: 'bits', formula: binaryAccuracy(0.5) },
  {
    name: 'binaryAccuracy',
    metric: metrics.binaryAccuracy({ threshold: 0.25, name: 'share' }),
    key: 'share',
    kind: 'bits',
    formula: binaryAccuracy(0.25),
  },
  ...both.flatMap((kind): Case[] => [
    { name: `accuracy, ${kind}`, metric: 'accuracy', key: 'accuracy', kind, formula: categoricalAccuracy },
    {
      name: `categorical accuracy, ${kind}`,
      metric: kind === 'labels' ? 'sparse_categorical_accuracy' : 'categoricalAccuracy',
      key: kind === 'labels' ? 'sparseCategoricalAccuracy' : 'categoricalAccuracy',
      kind,
      formula: categoricalAccuracy,
    },
    ...[1, 2, 5].map((k) => ({
      name: `topKCategoricalAccuracy ${k}, ${kind}`,
      metric: metrics.topKCategoricalAccuracy({ k }),
      key: 'topKCategoricalAccuracy',
      kind,
      formula: topK(k),
    })),
    { name: `topK, ${kind}`, metric: { type: 'topK', k: 3 }, key: 'topK', kind, formula: topK(3) },
    { name: `precision, ${kind}`, metric: 'precision', key: 'precision', kind, formula: precision(0.5) },
    {
      name: `precision of a class, ${kind}`,
      metric: metrics.precision({ thresholds: 0.25, classId: 2 }),
      key: 'precision',
      kind,
      formula: precision(0.25, 2),
    },
    {
      name: `recall at several thresholds, ${kind}`,
      metric: metrics.recall({ thresholds: [0.5, 0, 0.125, 1] }),
      key: 'recall',
      kind,
      formula: (rows) => [0.5, 0, 0.125, 1].map((t) => recall(t)(rows) as number),
    },
    { name: `f1 per class, ${kind}`, metric: 'f1', key: 'f1', kind, formula: f1.none(largest) },
    {
      name: `f1 micro, ${kind}`,
      metric: metrics.f1({ average: 'micro' }),
      key: 'f1',
      kind,
      formula: f1.micro(largest),
    },
    {
      name: `f1 macro, ${kind}`,
      metric: metrics.f1({ average: 'macro' }),
      key: 'f1',
      kind,
      formula: f1.macro(largest),
    },
    {
      name: `f1 weighted, above a threshold, ${kind}`,
      metric: { type: 'F1Score', average: 'weighted', threshold: 0.125 },
      key: 'f1Score',
      kind,
      formula: f1.weighted(above(0.125)),
    },
    {
      name: `crossentropy, ${kind}`,
      metric: 'crossentropy',
      key: 'crossentropy',
      kind,
      formula: crossentropy,
    },
    {
      name: `perplexity, ${kind}`,
      metric: 'perplexity',
      key: 'perplexity',
      kind,
      formula: after(crossentropy, exp),
    },
  ]),
  {
    name: 'precision of bits',
    metric: metrics.precision({ thresholds: 0.75 }),
    key: 'precision',
    kind: 'bits',
    formula: precision(0.75),
  },
  { name: 'recall of bits', metric: 'recall', key: 'recall', kind: 'bits', formula: recall(0.5) },
  {
    name: 'f1 of bits above a threshold',
    metric: metrics.f1({ average: 'macro', threshold: 0.25 }),
    key: 'f1',
    kind: 'bits',
    formula: f1.macro(above(0.25)),
  },
  { name: 'f1 of one output, above ½', metric: 'f1', key: 'f1', kind: 'bit', formula: f1.none(above(0.5)) },
  ...(['tp', 'fp', 'tn', 'fn'] as const).flatMap((cell): Case[] => {
    const key = { tp: 'truePositives', fp: 'falsePositives', tn: 'trueNegatives', fn: 'falseNegatives' }[
      cell
    ];
    return [
      { name: `${key} of bits`, metric: key, key, kind: 'bits', formula: count(cell, 0.5) },
      {
        name: `${key} of a class`,
        metric: { type: key, thresholds: 0.25, classId: 2 },
        key,
        kind: 'labels',
        formula: count(cell, 0.25, 2),
      },
    ];
  }),
  {
    name: 'fBeta',
    metric: { class_name: 'FBetaScore', config: { average: 'micro', beta: 2, name: 'f2' } },
    key: 'f2',
    kind: 'labels',
    formula: fBeta(2),
  },
  ...(['bit', 'bits'] as const).map(
    (kind): Case => ({ name: `bce, ${kind}`, metric: 'bce', key: 'bce', kind, formula: costs.binary(0) }),
  ),
  {
    name: 'binaryCrossentropy with smoothing',
    metric: metrics.binaryCrossentropy({ labelSmoothing: 0.2 }),
    key: 'binaryCrossentropy',
    kind: 'bits',
    formula: costs.binary(0.2),
  },
  { name: 'ce of one output', metric: 'ce', key: 'ce', kind: 'bit', formula: costs.binary(0) },
  {
    name: 'crossentropy of one output, smoothed',
    metric: metrics.crossentropy({ labelSmoothing: 0.1 }),
    key: 'crossentropy',
    kind: 'bit',
    formula: costs.binary(0.1),
  },
  { name: 'kld', metric: 'kld', key: 'kld', kind: 'classes', formula: costs.divergence },
  { name: 'poisson', metric: 'poisson', key: 'poisson', kind: 'bits', formula: costs.poisson },
  { name: 'hinge', metric: 'hinge', key: 'hinge', kind: 'bits', formula: costs.hinge },
  {
    name: 'squaredHinge',
    metric: 'squared_hinge',
    key: 'squaredHinge',
    kind: 'bits',
    formula: costs.squaredHinge,
  },
  ...(['classes', 'softmax'] as const).map(
    (kind): Case => ({
      name: `categoricalHinge, ${kind}`,
      metric: metrics.categoricalHinge(),
      key: 'categoricalHinge',
      kind,
      formula: (rows) =>
        costs.categoricalHinge(
          kind === 'softmax' ? rows.map((row) => ({ ...row, p: softmax(row.p) })) : rows,
        ),
    }),
  ),
  { name: 'huber', metric: 'huber', key: 'huber', kind: 'numbers', formula: costs.huber(1) },
  {
    name: 'huber with delta',
    metric: metrics.huber({ delta: 0.3 }),
    key: 'huber',
    kind: 'numbers',
    formula: costs.huber(0.3),
  },
  {
    name: 'logCosh',
    metric: 'LogCoshError',
    key: 'logCoshError',
    kind: 'numbers',
    formula: costs.logCosh,
  },
  {
    name: 'cosineSimilarity',
    metric: 'cosineSimilarity',
    key: 'cosineSimilarity',
    kind: 'numbers',
    formula: costs.cosine,
  },
  { name: 'msle', metric: 'msle', key: 'msle', kind: 'numbers', formula: costs.logarithmic },
  { name: 'mape', metric: 'mape', key: 'mape', kind: 'numbers', formula: costs.percentage },
  { name: 'mse', metric: 'mse', key: 'mse', kind: 'numbers', formula: squared },
  {
    name: 'meanAbsoluteError',
    metric: 'mean_absolute_error',
    key: 'meanAbsoluteError',
    kind: 'numbers',
    formula: weightedMean(columns((p, y) => abs(p - y))),
  },
  {
    name: 'rootMeanSquaredError: the root of the mean, not the mean of roots',
    metric: 'RootMeanSquaredError',
    key: 'rootMeanSquaredError',
    kind: 'numbers',
    formula: after(squared, sqrt),
  },
  { name: 'r2', metric: 'r2', key: 'r2', kind: 'numbers', formula: r2.uniform },
  {
    name: 'r2 weighted by variance',
    metric: { type: 'R2Score', class_aggregation: 'variance_weighted_average' },
    key: 'r2Score',
    kind: 'numbers',
    formula: r2.weighted,
  },
  {
    name: 'r2 per output',
    metric: metrics.r2({ classAggregation: null }),
    key: 'r2',
    kind: 'numbers',
    formula: r2.none,
  },
  ...(['logits', 'softmax', 'sparseSoftmax'] as const).map((kind) => ({
    name: `perplexity, ${kind}`,
    metric: 'perplexity',
    key: 'perplexity',
    kind,
    formula: after(
      weightedMean(({ p, y }) => -log(softmax(p)[argmax(y)] as number)),
      exp,
    ),
  })),
];

const compileFor: Record<Case['kind'], { loss: CompileOptions['loss']; activation?: string }> = {
  classes: { loss: 'categoricalCrossentropy' },
  labels: { loss: 'sparseCategoricalCrossentropy' },
  bits: { loss: 'binaryCrossentropy' },
  bit: { loss: 'binaryCrossentropy' },
  numbers: { loss: 'mse' },
  logits: { loss: { type: 'categoricalCrossentropy', fromLogits: true } },
  softmax: { loss: 'categoricalCrossentropy', activation: 'softmax' },
  sparseSoftmax: { loss: 'sparseCategoricalCrossentropy', activation: 'softmax' },
};

function draw(kind: Case['kind'], count: number, seed: number) {
  const data = new Rows(seed);
  // Eighths of the predictions, so that many are equal and some lie on the thresholds.
  const coarse = (rows: number[][]) => rows.map((row) => row.map((v) => Math.round(8 * v) / 8 + 1 / 64));
  const width = kind === 'bit' ? 1 : C;
  const labels = data.labels(count, C);
  const isSparse = kind === 'labels' || kind === 'sparseSoftmax';
  const p =
    kind === 'classes' || kind === 'labels' || kind === 'bits' || kind === 'bit'
      ? coarse(data.shares(count, width)).map((row) =>
          row.map((v) => (data.labels(1, 3)[0] === 0 ? v - 1 / 64 : v)),
        )
      : data.normal(count, width, 2);
  const y =
    kind === 'bits' || kind === 'bit'
      ? data.bits(count, width)
      : kind === 'numbers'
        ? data.normal(count, width)
        : labels.map((label) => oneHot(label, C));
  return { p, y, targets: isSparse ? labels : y };
}

describe.each(devices)('metrics on the %s device are what their formulas say', (device, tolerance) => {
  test.each(cases)('$name', async ({ metric, key, kind, formula }) => {
    const { p, y, targets } = draw(kind, N, 1);
    const { loss, activation } = compileFor[kind];
    const w = new Rows(2).weights(N);
    const byExample = w.slice(0, N / 4);
    const weighted = (weightOf: (r: number) => number) =>
      formula(p.map((values, r) => ({ p: values, y: y[r] as number[], w: weightOf(r) })));
    const common = {
      predictions: p,
      targets,
      compile: { loss, weightedMetrics: [metric], device },
      ...(activation === undefined ? {} : { activation }),
    };
    const measured = async (more: object) => (await score({ ...common, ...more }))[key];
    expectNear(
      await measured({}),
      weighted(() => 1),
      tolerance,
    );
    expectNear(
      await measured({ options: { sampleWeight: w } }),
      weighted((r) => w[r] as number),
      tolerance,
    );
    const perStep = Array.from({ length: N / 4 }, (_, n) => w.slice(4 * n, 4 * n + 4));
    expectNear(
      await measured({ steps: 4, options: { sampleWeight: perStep } }),
      weighted((r) => w[r] as number),
      tolerance,
    );
    expectNear(
      await measured({ steps: 4, options: { sampleWeight: byExample } }),
      weighted((r) => byExample[Math.floor(r / 4)] as number),
      tolerance,
    );
    expectNear(
      await measured({ options: { sampleWeight: w.map(() => 0) } }),
      weighted(() => 0),
      tolerance,
    );
    // Only weighted metrics are: in the others all examples count alike.
    expectNear(
      await measured({ compile: { loss, metrics: [metric], device }, options: { sampleWeight: w } }),
      weighted(() => 1),
      tolerance,
    );
  });

  test('none depends on the batch size', async () => {
    const run = fc.record({
      c: fc.constantFrom(...cases),
      count: fc.integer({ min: 1, max: 30 }),
      batchSize: fc.integer({ min: 1, max: 33 }),
      seed: fc.nat(1e6),
      isWeighted: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(run, async ({ c, count, batchSize, seed, isWeighted }) => {
        const { p, y, targets } = draw(c.kind, count, seed);
        const { loss, activation } = compileFor[c.kind];
        const w = isWeighted ? new Rows(seed + 1).weights(count) : p.map(() => 1);
        const scores = await score({
          predictions: p,
          targets,
          compile: { loss, weightedMetrics: [c.metric], device },
          options: { batchSize, ...(isWeighted ? { sampleWeight: w } : {}) },
          ...(activation === undefined ? {} : { activation }),
        });
        const wanted = c.formula(
          p.map((values, r) => ({ p: values, y: y[r] as number[], w: w[r] as number })),
        );
        // R² divides by a spread that may be small against the targets; its sums carry rounding of 1e-16 of their squares.
        expectNear(scores[c.key], wanted, c.name.startsWith('r2') ? 1e3 * tolerance : 4 * tolerance);
      }),
      { numRuns: 80 },
    );
  });

  test('r2 is 0 where the targets do not vary, whatever their value', async () => {
    const constant = fc.record({
      value: fc.float({ min: -1e4, max: 1e4, noNaN: true }),
      count: fc.integer({ min: 1, max: 60 }),
      batchSize: fc.integer({ min: 1, max: 60 }),
    });
    await fc.assert(
      fc.asyncProperty(constant, async ({ value, count, batchSize }) => {
        const targets = new Array(count).fill([value]);
        const predictions = targets.map((_, r) => [value + (r % 3)]);
        const compile = { loss: 'mse', metrics: ['r2'], device };
        expect((await score({ predictions, targets, compile, options: { batchSize } }))['r2']).toBe(0);
      }),
      { numRuns: 40 },
    );
  });
});

describe.each(devices)('from logits on the %s device', (device, tolerance) => {
  const measure = async (
    predictions: number[][],
    targets: number[][],
    type: 'binaryCrossentropy' | 'categoricalCrossentropy',
    specs: CompileOptions['metrics'],
  ) => {
    const options = { predictions, targets } as const;
    const activation = type === 'binaryCrossentropy' ? 'sigmoid' : 'softmax';
    const logits = { type, fromLogits: true };
    const inside = await score({
      ...options,
      compile: { loss: logits, metrics: specs ?? [], device },
    });
    const behind = await score({
      ...options,
      activation,
      compile: { loss: type, metrics: specs ?? [], device },
    });
    return [inside, behind] as const;
  };

  test('metrics see the probabilities, as behind the activation', async () => {
    const rows = new Rows(3);
    for (const [width, type] of [
      [1, 'binaryCrossentropy'],
      [C, 'binaryCrossentropy'],
      [C, 'categoricalCrossentropy'],
    ] as const) {
      const predictions = rows.normal(40, width, 2);
      const targets =
        type === 'binaryCrossentropy' ? rows.bits(40, width) : rows.labels(40, C).map((c) => oneHot(c, C));
      const specs = [
        'accuracy',
        'categoricalAccuracy',
        'mse',
        'r2',
        { type: 'binaryAccuracy', threshold: 0.25 },
        { type: 'precision', thresholds: [0.2, 0.5] },
        'recall',
        'auc',
        { type: 'f1', average: 'macro' },
        ...(width === 1 ? [] : ['perplexity', 'topK']),
      ];
      const [inside, behind] = await measure(predictions, targets, type, specs);
      expect(Object.keys(inside)).toEqual(Object.keys(behind));
      for (const [name, value] of Object.entries(behind)) expectNear(inside[name], value, 10 * tolerance);
    }
  });

  test('a threshold of a half lies at logit 0', async () => {
    const [inside] = await measure(
      [[0.25], [0.4], [-3], [-0.1]],
      [[1], [1], [0], [1]],
      'binaryCrossentropy',
      ['accuracy', 'recall', 'auc'],
    );
    expect(inside).toMatchObject({ accuracy: 0.75, recall: 2 / 3, auc: 1 });
  });
});

test('top-k counts a true class as found when fewer than k lie strictly above it', async () => {
  const predictions = [
    [0.25, 0.25, 0.25, 0.25],
    [0.5, 0.25, 0.25, 0],
    [0, 0.5, 0.25, 0.25],
  ];
  const found = async (k: number, labels: number[]) =>
    (
      await score({
        predictions,
        targets: labels,
        compile: { loss: 'sparseCategoricalCrossentropy', metrics: [metrics.topK({ k })] },
      })
    )['topK'];
  expect(await found(1, [3, 1, 3])).toBeCloseTo(1 / 3, 12);
  expect(await found(2, [3, 1, 3])).toBe(1);
  expect(await found(3, [3, 3, 0])).toBeCloseTo(1 / 3, 12);
});
