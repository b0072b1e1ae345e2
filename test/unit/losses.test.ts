import fc from 'fast-check';
import { type CompileOptions, layers, losses, sequential } from '../../lib';
import { type Loss, resolveLoss } from '../../lib/losses/loss';
import { refusal } from './refusal';
import { devices, expectNear, mean, oneHot, Rows, type Scoring, score, sigmoid, softmax } from './scoring';

const { log, abs, cosh } = Math;
const [N, T, C] = [5, 3, 7];
const clip = (v: number, low = 1e-7, high = 1 - 1e-7) => Math.min(Math.max(v, low), high);
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

/** The loss of one row, from its definition. */
type Formula = (p: readonly number[], y: readonly number[]) => number;

const smooth = (y: readonly number[], e: number, over: number) => y.map((v) => v * (1 - e) + e / over);
const categorical =
  (e = 0): Formula =>
  (p, y) => {
    const q = p.map((v) => clip(v / sum(p)));
    return -sum(smooth(y, e, y.length).map((v, c) => v * log(q[c] as number)));
  };
const categoricalFromLogits =
  (e = 0): Formula =>
  (x, y) =>
    -sum(smooth(y, e, y.length).map((v, c) => v * log(softmax(x)[c] as number)));
const binary =
  (e = 0): Formula =>
  (p, y) =>
    mean(
      smooth(y, e, 2).map((v, c) => -v * log(clip(p[c] as number)) - (1 - v) * log(1 - clip(p[c] as number))),
    );
const binaryFromLogits: Formula = (x, y) =>
  mean(y.map((v, c) => -v * log(sigmoid(x[c] as number)) - (1 - v) * log(1 - sigmoid(x[c] as number))));
const perElement =
  (of: (error: number) => number): Formula =>
  (p, y) =>
    mean(p.map((v, c) => of(v - (y[c] as number))));
const huber = (delta: number) =>
  perElement((e) => (abs(e) <= delta ? (e * e) / 2 : delta * abs(e) - (delta * delta) / 2));
const divergence: Formula = (p, y) =>
  sum(y.map((v, c) => clip(v, 1e-7, 1) * log(clip(v, 1e-7, 1) / clip(p[c] as number, 1e-7, 1))));

const focal =
  (gamma: number): Formula =>
  (p, y) =>
    mean(
      p.map((v, c) => {
        const truth = y[c] === 1 ? v : 1 - v;
        return -((1 - truth) ** gamma) * log(truth);
      }),
    );
const softmaxFocal =
  (gamma: number, alpha: number): Formula =>
  (x, y) =>
    sum(y.map((v, c) => -alpha * v * (1 - softmax(x)[c]!) ** gamma * log(softmax(x)[c]!)));
const dot = (a: readonly number[], b: readonly number[]) => sum(a.map((v, c) => v * b[c]!));

interface Case {
  readonly name: string;
  readonly loss: CompileOptions['loss'];
  readonly predictions: 'distributions' | 'shares' | 'normal';
  readonly targets: 'distributions' | 'oneHot' | 'labels' | 'bits' | 'shares' | 'normal';
  readonly activation?: string;
  readonly formula: Formula;
}

const cases: Case[] = [
  {
    name: 'categoricalCrossentropy of probabilities',
    loss: 'categoricalCrossentropy',
    predictions: 'distributions',
    targets: 'oneHot',
    formula: categorical(),
  },
  {
    name: 'categoricalCrossentropy of what does not sum to 1, with soft targets',
    loss: 'categoricalCrossentropy',
    predictions: 'shares',
    targets: 'distributions',
    formula: categorical(),
  },
  {
    name: 'categoricalCrossentropy from logits',
    loss: losses.categoricalCrossentropy({ fromLogits: true }),
    predictions: 'normal',
    targets: 'oneHot',
    formula: categoricalFromLogits(),
  },
  {
    name: 'categoricalCrossentropy behind a softmax',
    loss: 'categoricalCrossentropy',
    predictions: 'normal',
    targets: 'distributions',
    activation: 'softmax',
    formula: categoricalFromLogits(),
  },
  {
    name: 'categoricalCrossentropy with label smoothing',
    loss: losses.categoricalCrossentropy({ labelSmoothing: 0.2 }),
    predictions: 'distributions',
    targets: 'oneHot',
    formula: categorical(0.2),
  },
  {
    name: 'sparseCategoricalCrossentropy of probabilities',
    loss: 'sparseCategoricalCrossentropy',
    predictions: 'distributions',
    targets: 'labels',
    formula: categorical(),
  },
  {
    name: 'sparseCategoricalCrossentropy from logits, with label smoothing',
    loss: losses.sparseCategoricalCrossentropy({ fromLogits: true, labelSmoothing: 0.3 }),
    predictions: 'normal',
    targets: 'labels',
    formula: categoricalFromLogits(0.3),
  },
  {
    name: 'sparseCategoricalCrossentropy behind a softmax',
    loss: 'sparseCategoricalCrossentropy',
    predictions: 'normal',
    targets: 'labels',
    activation: 'softmax',
    formula: categoricalFromLogits(),
  },
  {
    name: 'binaryCrossentropy of probabilities',
    loss: 'binaryCrossentropy',
    predictions: 'shares',
    targets: 'bits',
    formula: binary(),
  },
  {
    name: 'binaryCrossentropy with label smoothing',
    loss: { type: 'BinaryCrossentropy', label_smoothing: 0.1 },
    predictions: 'shares',
    targets: 'bits',
    formula: binary(0.1),
  },
  {
    name: 'binaryCrossentropy from logits',
    loss: { type: 'binary_crossentropy', from_logits: true },
    predictions: 'normal',
    targets: 'bits',
    formula: binaryFromLogits,
  },
  {
    name: 'binaryCrossentropy behind a sigmoid',
    loss: 'binaryCrossentropy',
    predictions: 'normal',
    targets: 'bits',
    activation: 'sigmoid',
    formula: binaryFromLogits,
  },
  {
    name: 'meanSquaredError',
    loss: 'mse',
    predictions: 'normal',
    targets: 'normal',
    formula: perElement((e) => e * e),
  },
  {
    name: 'meanAbsoluteError',
    loss: 'mae',
    predictions: 'normal',
    targets: 'normal',
    formula: perElement(abs),
  },
  { name: 'huber', loss: 'huber', predictions: 'normal', targets: 'normal', formula: huber(1) },
  {
    name: 'huber with delta',
    loss: losses.huber({ delta: 0.4 }),
    predictions: 'normal',
    targets: 'normal',
    formula: huber(0.4),
  },
  {
    name: 'logCosh',
    loss: 'logCosh',
    predictions: 'normal',
    targets: 'normal',
    formula: perElement((e) => log(cosh(e))),
  },
  {
    name: 'klDivergence',
    loss: 'klDivergence',
    predictions: 'distributions',
    targets: 'distributions',
    formula: divergence,
  },
];

cases.push(
  {
    name: 'binaryFocalCrossentropy of probabilities',
    loss: 'binaryFocalCrossentropy',
    predictions: 'shares',
    targets: 'bits',
    formula: focal(2),
  },
  {
    name: 'binaryFocalCrossentropy behind a sigmoid',
    loss: losses.binaryFocalCrossentropy({ gamma: 1.5 }),
    predictions: 'normal',
    targets: 'bits',
    activation: 'sigmoid',
    formula: (x, y) => focal(1.5)(x.map(sigmoid), y),
  },
  {
    name: 'categoricalFocalCrossentropy behind a softmax',
    loss: 'categoricalFocalCrossentropy',
    predictions: 'normal',
    targets: 'oneHot',
    activation: 'softmax',
    formula: softmaxFocal(2, 0.25),
  },
  {
    name: 'cosineSimilarity',
    loss: 'cosineSimilarity',
    predictions: 'normal',
    targets: 'normal',
    formula: (p, y) => -dot(p, y) / Math.sqrt(dot(p, p) * dot(y, y)),
  },
  {
    name: 'poisson',
    loss: 'poisson',
    predictions: 'shares',
    targets: 'shares',
    formula: (p, y) => mean(p.map((v, c) => v - y[c]! * log(v + 1e-7))),
  },
  {
    name: 'hinge',
    loss: 'hinge',
    predictions: 'normal',
    targets: 'bits',
    formula: (p, y) => mean(p.map((v, c) => Math.max(1 - (2 * y[c]! - 1) * v, 0))),
  },
  {
    name: 'squaredHinge',
    loss: 'squaredHinge',
    predictions: 'normal',
    targets: 'bits',
    formula: (p, y) => mean(p.map((v, c) => Math.max(1 - (2 * y[c]! - 1) * v, 0) ** 2)),
  },
  {
    name: 'categoricalHinge',
    loss: 'categoricalHinge',
    predictions: 'normal',
    targets: 'oneHot',
    formula: (p, y) => Math.max(1 + Math.max(...p.map((v, c) => (1 - y[c]!) * v)) - dot(p, y), 0),
  },
  {
    name: 'meanSquaredLogarithmicError',
    loss: 'msle',
    predictions: 'shares',
    targets: 'shares',
    formula: (p, y) => mean(p.map((v, c) => (log(1 + v) - log(1 + y[c]!)) ** 2)),
  },
  {
    name: 'meanAbsolutePercentageError',
    loss: 'mape',
    predictions: 'normal',
    targets: 'shares',
    formula: (p, y) => mean(p.map((v, c) => (100 * abs(v - y[c]!)) / y[c]!)),
  },
);

/** Predictions and targets `[rows, C]` of a case, the latter also one-hot where they are classes. */
function draw({ predictions, targets }: Case, rows: number, seed: number) {
  const data = new Rows(seed);
  const labels = data.labels(rows, C);
  const hot = labels.map((label) => oneHot(label, C));
  const p = predictions === 'normal' ? data.normal(rows, C, 2) : data[predictions](rows, C);
  const given = targets === 'labels' ? labels : targets === 'oneHot' ? hot : data[targets](rows, C);
  return { p, given, y: targets === 'labels' ? hot : (given as number[][]) };
}

describe.each(devices)('losses on the %s device are what their formulas say', (device, tolerance) => {
  test.each(cases)('$name', async (c) => {
    const { p, given, y } = draw(c, N * T, 1);
    const row = p.map((values, r) => c.formula(values, y[r] as number[]));
    const data = new Rows(2);
    const [perExample, perStep] = [data.weights(N), data.weights(N * T)];
    const expanded = row.map((_, r) => perExample[Math.floor(r / T)] as number);
    const classFactor = [2, 0.5, 3, 1, 1, 0.25, 1];
    const byClass = y.map((values) => classFactor[values.indexOf(Math.max(...values))] as number);
    const classWeight = { 0: 2, 1: 0.5, 2: 3, 5: 0.25 };
    const weighted = (w: readonly number[]) => mean(row.map((l, r) => l * (w[r] as number)));
    const common: Scoring = {
      predictions: p,
      targets: given,
      ...(c.activation === undefined ? {} : { activation: c.activation }),
      compile: { loss: c.loss, device },
    };
    const loss = async (scoring: Partial<Scoring>) => (await score({ ...common, ...scoring }))['loss'];

    expectNear(await loss({}), mean(row), tolerance);
    expectNear(await loss({ steps: T }), mean(row), tolerance);
    expectNear(await loss({ options: { sampleWeight: perStep } }), weighted(perStep), tolerance);
    expectNear(
      await loss({ steps: T, options: { sampleWeight: perExample } }),
      weighted(expanded),
      tolerance,
    );
    const nested = Array.from({ length: N }, (_, n) => perStep.slice(n * T, (n + 1) * T));
    expectNear(await loss({ steps: T, options: { sampleWeight: nested } }), weighted(perStep), tolerance);
    expectNear(await loss({ steps: T, options: { classWeight } }), weighted(byClass), tolerance);
    const both = perStep.map((w, r) => Math.fround(w * (byClass[r] as number)));
    expectNear(await loss({ options: { classWeight, sampleWeight: perStep } }), weighted(both), tolerance);
  });

  test('probabilities of 0 and 1 are clipped, logits of any size are not', async () => {
    const loss = async (name: string, predictions: number[][], targets: number[][], options: object = {}) =>
      (await score({ predictions, targets, compile: { loss: { type: name, ...options }, device } }))['loss'];
    expectNear(await loss('categoricalCrossentropy', [[0, 1]], [[1, 0]]), -log(1e-7), 1e-6);
    expectNear(await loss('binaryCrossentropy', [[0]], [[1]]), -log(1e-7), 1e-6);
    expectNear(await loss('klDivergence', [[0, 1]], [[1, 0]]), log(1e7) + 1e-7 * log(1e-7), 1e-6);
    const logits = { fromLogits: true };
    expectNear(await loss('categoricalCrossentropy', [[20000, -20000]], [[0, 1]], logits), 40000, 1e-6);
    expectNear(await loss('binaryCrossentropy', [[-20000]], [[1]], logits), 20000, 1e-6);
    expectNear(await loss('logCosh', [[20000]], [[0]]), 20000 - log(2), 1e-6);
    expectNear(await loss('huber', [[20000]], [[0]]), 19999.5, 1e-6);
  });

  test('one output: classes 0 and 1 are weighted by the target', async () => {
    const predictions = [[0.25], [0.875], [0.375]];
    const targets = [[0], [1], [1]];
    const row = predictions.map((p, r) => binary()(p, targets[r] as number[]));
    const options = { classWeight: { 0: 3, 1: 0.5 } };
    const { loss } = await score({
      predictions,
      targets,
      compile: { loss: 'binaryCrossentropy', device },
      options,
    });
    expectNear(loss, (3 * row[0]! + 0.5 * row[1]! + 0.5 * row[2]!) / 3, tolerance);
  });

  test('the loss of all data does not depend on the batch size', async () => {
    const run = fc.record({
      c: fc.constantFrom(...cases),
      rows: fc.integer({ min: 1, max: 20 }),
      batchSize: fc.integer({ min: 1, max: 23 }),
      seed: fc.nat(1e6),
      isWeighted: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(run, async ({ c, rows, batchSize, seed, isWeighted }) => {
        const { p, given, y } = draw(c, rows, seed);
        const w = isWeighted ? new Rows(seed + 1).weights(rows) : new Array<number>(rows).fill(1);
        const { loss } = await score({
          predictions: p,
          targets: given,
          ...(c.activation === undefined ? {} : { activation: c.activation }),
          compile: { loss: c.loss, device },
          options: { batchSize, ...(isWeighted ? { sampleWeight: w } : {}) },
        });
        const wanted = mean(p.map((values, r) => (w[r] as number) * c.formula(values, y[r] as number[])));
        expectNear(loss, wanted, 2 * tolerance);
      }),
      { numRuns: 40 },
    );
  });
});

describe('names and configurations', () => {
  test('Keras’s spellings and short names', () => {
    for (const [name, type] of [
      ['mse', 'meanSquaredError'],
      ['MSE', 'meanSquaredError'],
      ['mean_squared_error', 'meanSquaredError'],
      ['MeanAbsoluteError', 'meanAbsoluteError'],
      ['mae', 'meanAbsoluteError'],
      ['log_cosh', 'logCosh'],
      ['logcosh', 'logCosh'],
      ['Huber', 'huber'],
      ['kld', 'klDivergence'],
      ['KLDivergence', 'klDivergence'],
      ['kl_divergence', 'klDivergence'],
      ['kullback_leibler_divergence', 'klDivergence'],
      ['sparse_categorical_crossentropy', 'sparseCategoricalCrossentropy'],
      ['BinaryCrossentropy', 'binaryCrossentropy'],
      ['binary_focal_crossentropy', 'binaryFocalCrossentropy'],
      ['CosineSimilarity', 'cosineSimilarity'],
      ['squared_hinge', 'squaredHinge'],
      ['msle', 'meanSquaredLogarithmicError'],
      ['MAPE', 'meanAbsolutePercentageError'],
    ]) {
      expect(resolveLoss(name).type).toBe(type);
    }
  });

  test.each(Object.keys(losses) as (keyof typeof losses)[])(
    '%s is rebuilt from its own configuration',
    (type) => {
      const options: Record<string, object> = {
        huber: { delta: 0.25 },
        categoricalCrossentropy: { fromLogits: true, labelSmoothing: 0.1 },
        sparseCategoricalCrossentropy: { labelSmoothing: 0.2 },
        binaryCrossentropy: { fromLogits: true },
        binaryFocalCrossentropy: { fromLogits: true, gamma: 3, alpha: 0.75, applyClassBalancing: true },
        categoricalFocalCrossentropy: { labelSmoothing: 0.1, gamma: 0.5, alpha: 2 },
      };
      const made = (losses[type] as (o: object) => Loss)(options[type] ?? {});
      const again = resolveLoss(JSON.parse(JSON.stringify(made.getConfig())));
      const plain = ({ getConfig, ...rest }: Loss) => ({ ...rest, config: getConfig() });
      expect(plain(again)).toEqual(plain(made));
      expect(made.getConfig()).toEqual({ ...made.getConfig(), type, ...options[type] });
    },
  );

  test('an unknown loss, with the nearest known one', async () => {
    expect(await refusal(() => resolveLoss('catgorical_crossentropy', 'compile: loss'))).toBe(
      "ERR_VALUE compile: loss: expected one of categoricalCrossentropy, sparseCategoricalCrossentropy, binaryCrossentropy, meanSquaredError, meanAbsoluteError, huber, logCosh, klDivergence, binaryFocalCrossentropy, categoricalFocalCrossentropy, cosineSimilarity, poisson, hinge, squaredHinge, categoricalHinge, meanSquaredLogarithmicError, meanAbsolutePercentageError, mse, mae, msle, mape, kld, bce, kullbackLeiblerDivergence, got 'catgorical_crossentropy'. Did you mean 'categoricalCrossentropy'?",
    );
  });

  test.each<[string, object, string]>([
    ['binaryFocalCrossentropy', { gamma: -1 }, 'gamma: expected a finite number, 0 or more, got -1.'],
    ['binaryFocalCrossentropy', { alpha: 2 }, 'alpha: expected a number from 0 to 1, got 2.'],
    [
      'binaryFocalCrossentropy',
      { applyClassBalancing: 1 },
      'applyClassBalancing: expected true or false, got 1.',
    ],
    ['categoricalFocalCrossentropy', { alpha: -1 }, 'alpha: expected a finite number, 0 or more, got -1.'],
    [
      'categoricalFocalCrossentropy',
      { labelSmoothing: 1 },
      'labelSmoothing: expected a number from 0 to below 1, got 1.',
    ],
  ])('%s is refused with %j', async (type, options, message) => {
    expect(await refusal(() => resolveLoss({ type, ...options }))).toBe(
      `ERR_VALUE losses.${type}: ${message}`,
    );
  });

  test('hinge takes no options', async () => {
    expect(await refusal(() => losses.hinge({ delta: 1 }))).toBe(
      "ERR_VALUE losses.hinge: unknown option 'delta'. It takes no options.",
    );
  });

  test('class weights that do not fit', async () => {
    const run = (classWeight: Record<number, number>) => () =>
      score({
        predictions: [[0.5, 0.5]],
        targets: [[1, 0]],
        compile: { loss: 'mse' },
        options: { classWeight },
      });
    expect(await refusal(run({ 2: 1 }))).toBe(
      'ERR_VALUE evaluate: classWeight: expected class indices 0 to 1, got 2.',
    );
    expect(await refusal(run({ 1: -1 }))).toBe(
      'ERR_VALUE evaluate: classWeight: expected finite weights, 0 or more, got -1.',
    );
  });
});

/** Probabilities that round to 0 and 1: from them, the loss would be −log 1e-7 ≈ 16.1 at most, and the gradient zero. */
test.each(
  devices.flatMap(([device]) =>
    (['categoricalCrossentropy', 'sparseCategoricalCrossentropy', 'binaryCrossentropy'] as const).map(
      (loss) => [loss, device] as const,
    ),
  ),
)('%s behind softmax or sigmoid is computed from the logits on %s', async (loss, device) => {
  const binary = loss === 'binaryCrossentropy';
  const model = sequential([
    layers.dense({
      units: binary ? 1 : 2,
      inputShape: [1],
      activation: binary ? 'sigmoid' : 'softmax',
      useBias: false,
    }),
  ]).compile({ loss, optimizer: 'sgd', device });
  await model.setWeights({ 'dense/kernel': binary ? [[200]] : [[200, 0]] });
  const y = binary ? [[0]] : loss === 'categoricalCrossentropy' ? [[0, 1]] : [1];
  expect((await model.evaluate([[1]], y))['loss']).toBeCloseTo(200, 4);
  const { gradients } = await model.computeGradients([[1]], y);
  expect(Array.from(gradients.get('dense/kernel')?.data ?? [])).toEqual(binary ? [1] : [1, -1]);
});
