import { type CompileOptions, layers, losses, metrics, sequential } from '../../lib';
import { resolveMetric } from '../../lib/metrics/metric';
import { refusal } from './refusal';
import { expectNear, score } from './scoring';

const loose =
  <T>(f: (options: never) => T, options: unknown) =>
  () =>
    f(options as never);
const context = { loss: { type: 'categoricalCrossentropy', sparse: false, fromLogits: false }, classes: 4 };

describe('names', () => {
  const names = (specs: CompileOptions['metrics']) =>
    sequential([layers.dense({ units: 4, inputShape: [3], activation: 'softmax' })])
      .compile({ loss: 'categoricalCrossentropy', metrics: specs ?? [] })
      .metrics.map(({ name }) => name);

  test('a metric is logged as it was asked for, in camelCase', () => {
    expect(names(['acc', 'mse', 'top_k_categorical_accuracy', 'topK', 'F1Score', 'r2_score'])).toEqual([
      'acc',
      'mse',
      'topKCategoricalAccuracy',
      'topK',
      'f1Score',
      'r2Score',
    ]);
    expect(
      names([metrics.topKCategoricalAccuracy(), metrics.topK(), { type: 'topKCategoricalAccuracy', k: 2 }]),
    ).toEqual(['topKCategoricalAccuracy', 'topK', 'topKCategoricalAccuracy_1']);
    expect(names([metrics.auc({ name: 'area' }), { type: 'AUC', curve: 'PR' }])).toEqual(['area', 'auc']);
  });

  test('the same metric twice, or one called loss, gets a number', () => {
    expect(names(['accuracy', 'accuracy', metrics.recall({ name: 'loss' })])).toEqual([
      'accuracy',
      'accuracy_1',
      'loss_1',
    ]);
  });

  test('a weighted metric beside the same one unweighted says so in its name', async () => {
    const model = sequential([layers.dense({ units: 4, inputShape: [3], activation: 'softmax' })]);
    const loss = 'categoricalCrossentropy';
    model.compile({ loss, metrics: ['accuracy', 'mse'], weightedMetrics: ['accuracy', 'topK', 'accuracy'] });
    expect(model.metrics.map(({ name }) => name)).toEqual([
      'accuracy',
      'mse',
      'weighted_accuracy',
      'topK',
      'weighted_accuracy_1',
    ]);
    expect(model.metrics.map(({ weighted }) => weighted)).toEqual([false, false, true, true, true]);
    expect(await refusal(() => model.compile({ loss, weightedMetrics: 'accuracy' as never }))).toBe(
      "ERR_VALUE compile: weightedMetrics: expected an array, e.g. ['accuracy'], got 'accuracy'.",
    );
    expect(await refusal(() => model.compile({ loss, weighted_metrics: ['acuracy'] } as never))).toMatch(
      /^ERR_VALUE compile: weightedMetrics: expected one of accuracy, .*, got 'acuracy'\. Did you mean 'accuracy'\?$/,
    );
  });

  test.each([
    'accuracy',
    'sparseTopKCategoricalAccuracy',
    { type: 'topK', k: 3 },
    metrics.topK({ k: 2 }),
    metrics.topKCategoricalAccuracy({ k: 2, name: 'top2' }),
    metrics.binaryAccuracy({ threshold: 0.25 }),
    metrics.precision({ thresholds: [0.25, 0.75], classId: 1 }),
    metrics.f1({ average: 'weighted', threshold: 0.25 }),
    metrics.auc({ numThresholds: 50, curve: 'PR', summationMethod: 'minoring' }),
    metrics.r2({ classAggregation: null }),
    metrics.r2({ classAggregation: 'varianceWeightedAverage' }),
    'categorical_crossentropy',
    'rmse',
    metrics.binaryCrossentropy({ labelSmoothing: 0.1 }),
    metrics.huber({ delta: 2 }),
    metrics.cosineSimilarity({ name: 'cos' }),
    metrics.fBeta({ average: 'macro', beta: 0.5 }),
    metrics.falsePositives({ thresholds: [0.25, 0.75] }),
    'mape',
  ])('%j is rebuilt from its own configuration', (spec) => {
    const metric = resolveMetric(spec, context);
    const again = resolveMetric(JSON.parse(JSON.stringify(metric.getConfig())), context);
    expect(again.name).toBe(metric.name);
    expect(again.attrs).toEqual(metric.attrs);
    expect(again.getConfig()).toEqual(metric.getConfig());
    const length =
      { precision: 2 * 4 * 4, falsePositives: 2 * 4 * 4, f1: 4 * 4, fBeta: 4 * 4, auc: 2 * 50, r2: 4 * 4 }[
        metric.getConfig()['type'] as string
      ] ?? 2;
    const sums = Float64Array.from({ length }, (_, i) => 1 + ((i * 7) % 5));
    expect(again.result(sums)).toEqual(metric.result(sums));
  });
});

test('what Keras writes gives what Keras gives', () => {
  const of = (thresholds: unknown) =>
    resolveMetric({ class_name: 'TruePositives', config: { thresholds } }, context).result(
      new Float64Array(16).fill(2),
    );
  expect(of([0.25])).toBe(8);
  expect(
    resolveMetric(metrics.truePositives({ thresholds: [0.25] }), context).result(new Float64Array(16)),
  ).toEqual([0]);
  expect(() => resolveMetric(losses.huber(), context)).toThrow(
    'compile: metrics: expected metrics, by name or of `metrics`, got an object that is none, such as a loss.',
  );
});

test('a model is the better for what a metric says, or the worse', () => {
  const better = (specs: unknown[]) => specs.map((spec) => resolveMetric(spec, context).largerIsBetter);
  const shares = ['accuracy', 'topK', 'auc', 'f1', 'fBeta', 'r2', 'recall', 'truePositives', 'trueNegatives'];
  expect(better([...shares, 'cosineSimilarity'])).toEqual([...shares, 'cosineSimilarity'].map(() => true));
  const errors = ['mse', 'mae', 'rmse', 'crossentropy', 'perplexity', 'falsePositives', 'falseNegatives'];
  const costs = ['bce', 'kld', 'hinge', 'mape', 'msle', 'poisson', 'huber', 'logCosh', 'categoricalHinge'];
  expect(better([...errors, ...costs])).toEqual([...errors, ...costs].map(() => false));
});

describe('defaults are Keras’s', () => {
  test('k, thresholds, curve, averages', () => {
    expect(resolveMetric(metrics.topKCategoricalAccuracy(), context).attrs.k).toBe(5);
    expect(resolveMetric('binaryAccuracy', context).attrs.thresholds).toEqual([0.5]);
    expect(resolveMetric('precision', context).attrs.thresholds).toEqual([0.5]);
    expect(resolveMetric('f1', context).attrs).toMatchObject({ argmax: true, thresholds: [] });
    expect(resolveMetric('auc', context).attrs.bins).toBe(200);
    expect(resolveMetric('auc', context).result(new Float64Array(400))).toBe(0);
  });
});

describe('options that are refused', () => {
  test.each([
    [
      loose(metrics.topKCategoricalAccuracy, { k: 0 }),
      'metrics.topKCategoricalAccuracy: k: expected a positive integer, got 0.',
    ],
    [
      loose(metrics.topK, { k: 1.5 }),
      'metrics.topKCategoricalAccuracy: k: expected a positive integer, got 1.5.',
    ],
    [
      loose(metrics.binaryAccuracy, { threshold: 1.5 }),
      'metrics.binaryAccuracy: threshold: expected a number from 0 to 1, got 1.5.',
    ],
    [
      loose(metrics.binaryAccuracy, { threshold: [0.5] }),
      'metrics.binaryAccuracy: threshold: expected a number from 0 to 1, got [0.5].',
    ],
    [
      loose(metrics.precision, { thresholds: [] }),
      'metrics.precision: thresholds: expected numbers from 0 to 1, got [].',
    ],
    [
      loose(metrics.recall, { thresholds: [0.5, -1] }),
      'metrics.recall: thresholds: expected numbers from 0 to 1, got [0.5, -1].',
    ],
    [
      loose(metrics.recall, { topK: 3 }),
      "metrics.recall: unknown option 'topK'. It takes thresholds, classId, name.",
    ],
    [
      loose(metrics.f1, { average: 'mikro' }),
      "metrics.f1: average: expected one of micro, macro, weighted, got 'mikro'. Did you mean 'micro'?",
    ],
    [
      loose(metrics.f1, { threshold: [0.1, 0.2] }),
      'metrics.f1: threshold: expected a number from 0 to 1, got [0.1, 0.2].',
    ],
    [
      loose(metrics.binaryCrossentropy, { labelSmoothing: 1 }),
      'metrics.binaryCrossentropy: labelSmoothing: expected a number from 0 to below 1, got 1.',
    ],
    [loose(metrics.huber, { delta: 0 }), 'metrics.huber: delta: expected a finite number above 0, got 0.'],
    [
      loose(metrics.fBeta, { beta: Number.NaN }),
      'metrics.fBeta: beta: expected a finite number above 0, got NaN.',
    ],
    [loose(metrics.hinge, { axis: 1 }), "metrics.hinge: unknown option 'axis'. It takes name."],
    [
      loose(metrics.auc, { numThresholds: 2 }),
      'metrics.auc: numThresholds: expected an integer, 3 or more, got 2.',
    ],
    [loose(metrics.auc, { curve: 'DET' }), "metrics.auc: curve: expected one of ROC, PR, got 'DET'."],
    [
      loose(metrics.auc, { summationMethod: 'minor' }),
      "metrics.auc: summationMethod: expected one of interpolation, minoring, majoring, got 'minor'. Did you mean 'minoring'?",
    ],
    [
      loose(metrics.r2, { classAggregation: 'mean' }),
      "metrics.r2: classAggregation: expected one of uniformAverage, varianceWeightedAverage, got 'mean'.",
    ],
    [loose(metrics.accuracy, { name: 3 }), 'metrics.accuracy: name: expected a name, got 3.'],
    [
      () => resolveMetric(metrics.precision({ classId: 4 }), context),
      'metrics.precision: classId: expected a class from 0 to 3, got 4.',
    ],
    [
      () =>
        resolveMetric('auc', {
          ...context,
          loss: { ...context.loss, type: 'sparseCategoricalCrossentropy', sparse: true },
        }),
      'metrics.auc: expected targets like the predictions, got class indices (sparseCategoricalCrossentropy).',
    ],
    [
      () => resolveMetric('perplexity', { ...context, classes: 1 }),
      'metrics.perplexity: expected an output per class, at least two, got a model with one output.',
    ],
  ])('%#: %s', async (work, message) => {
    expect(await refusal(work)).toBe(`ERR_VALUE ${message}`);
  });

  test('an unknown metric, with the nearest known one', async () => {
    expect(await refusal(() => resolveMetric('acuracy', context))).toMatch(
      /^ERR_VALUE compile: metrics: expected one of accuracy, .*, got 'acuracy'\. Did you mean 'accuracy'\?$/,
    );
  });
});

test('several metrics of one evaluation, each under its name', async () => {
  const scores = await score({
    predictions: [
      [0.75, 0.25],
      [0.375, 0.625],
      [0.5, 0.5],
    ],
    targets: [
      [1, 0],
      [1, 0],
      [0, 1],
    ],
    compile: {
      loss: 'mse',
      metrics: ['accuracy', 'mse', metrics.precision({ name: 'first', classId: 0 }), 'f1'],
    },
  });
  expect(Object.keys(scores)).toEqual(['loss', 'accuracy', 'mse', 'first', 'f1']);
  expectNear(scores['accuracy'], 1 / 3, 1e-12);
  expect(scores['mse']).toBe(scores['loss']);
  expect(scores['first']).toBe(1);
  expectNear(scores['f1'], [0.5, 0], 1e-12);
});
