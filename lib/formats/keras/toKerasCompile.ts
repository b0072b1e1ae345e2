import { refuse } from '../../errors';
import { isBinary, type Loss } from '../../losses/loss';
import type { Compiled } from '../../models/compiled';
import { outputsOf } from '../../models/graph';
import type { Model } from '../../models/model';
import { kerasObject, toSnakeCase } from './toKerasLayers';

type Config = Readonly<Record<string, unknown>>;

/** How a way out of most refusals reads. */
const WAY_OUT =
  "Save with includeOptimizer: false, which leaves out what compile said, or under another ending, in this library's own format.";

/** In JSON, before a whole number that Python is to read as a float. */
const FLOAT = '\u0001';

/** JSON, in which whole numbers that are marked are written with a point: some of Keras's options refuse an integer. */
export function kerasJson(value: unknown): string {
  return JSON.stringify(value).replace(/"\\u0001(-?\d+)"/g, '$1.0');
}

function float(value: unknown): unknown {
  return Number.isInteger(value) && Math.abs(value as number) < 2 ** 53 ? `${FLOAT}${value}` : value;
}

/**
 * What a model was compiled with, as Keras writes it.
 * @throws ERR_VALUE, naming the part, for what Keras has no word for
 */
export function toKerasCompile(model: Model, compiled: Compiled): Config {
  const { losses, lossWeights, optimizer } = compiled;
  const several = losses.length > 1;
  const widths = outputsOf(model.requireBuilt('save')).map(({ shape }) => shape.at(-1) ?? 1);
  const lossConfigs = losses.map((loss) => lossObject(loss.getConfig()));
  const metrics = (weighted: boolean) => {
    const of = (output: number) =>
      model.metrics
        .filter((metric) => metric.weighted === weighted && metric.output === output)
        .map((metric) => metricObject(metric.getConfig(), losses[output] as Loss, widths[output] as number));
    const all = losses.map((_, output) => of(output));
    if (all.every((list) => list.length === 0)) return null;
    return several ? all : all[0];
  };
  return {
    optimizer: optimizerObject(optimizer.getConfig(), model),
    loss: several ? lossConfigs : lossConfigs[0],
    loss_weights: lossWeights.every((weight) => weight === 1) ? null : lossWeights.map(float),
    metrics: metrics(false),
    weighted_metrics: metrics(true),
    run_eagerly: false,
    steps_per_execution: 1,
    jit_compile: false,
  };
}

const optimizerClasses: Readonly<Record<string, string>> = {
  sgd: 'SGD',
  rmsprop: 'RMSprop',
  adam: 'Adam',
  adamw: 'AdamW',
  adagrad: 'Adagrad',
  nadam: 'Nadam',
  adamax: 'Adamax',
  lion: 'Lion',
  adadelta: 'Adadelta',
  adafactor: 'Adafactor',
  ftrl: 'Ftrl',
};

/** Options whose names are not this library's with underscores. */
const optionNames: Readonly<Record<string, string>> = {
  clipValue: 'clipvalue',
  clipNorm: 'clipnorm',
  globalClipNorm: 'global_clipnorm',
  beta1: 'beta_1',
  beta2: 'beta_2',
  beta2Decay: 'beta_2_decay',
  epsilon1: 'epsilon_1',
  epsilon2: 'epsilon_2',
};

/** Counts, which are integers in Python too. */
const counts = ['gradientAccumulationSteps', 'emaOverwriteFrequency'];

function optimizerObject(given: Config, model: Model): object {
  const { type, learningRate, decayBiases, ...options } = given;
  const subject = `save: optimizers.${type as string}`;
  for (const option of ['paramGroups', 'gradientNoise'])
    if (options[option] !== undefined)
      refuse('ERR_VALUE', subject, 'options that Keras has', option, WAY_OUT);
  const spares = model
    .weightSpecs('save')
    .some(([, spec]) => spec.decay === false && spec.trainable !== false);
  if ((options['weightDecay'] as number) > 0 && decayBiases !== true && spares)
    refuse(
      'ERR_VALUE',
      `${subject}: weightDecay`,
      'decayBiases: true beside it, as Keras decays all weights',
      'one that leaves biases alone',
      `Compile with decayBiases: true. ${WAY_OUT}`,
    );
  const config: Record<string, unknown> = { name: type, learning_rate: rateObject(learningRate, subject) };
  for (const [option, value] of Object.entries(options)) {
    if (option === 'weightDecay' && value === 0 && type !== 'adamw') continue;
    config[optionNames[option] ?? toSnakeCase(option)] = counts.includes(option) ? value : float(value);
  }
  return kerasObject('keras.optimizers', optimizerClasses[type as string] as string, config);
}

const scheduleClasses: Readonly<Record<string, string>> = {
  exponentialDecay: 'ExponentialDecay',
  inverseTimeDecay: 'InverseTimeDecay',
  polynomialDecay: 'PolynomialDecay',
  piecewiseConstant: 'PiecewiseConstantDecay',
  cosineDecay: 'CosineDecay',
  cosineDecayRestarts: 'CosineDecayRestarts',
};

function rateObject(rate: unknown, subject: string): unknown {
  if (typeof rate === 'number') return float(rate);
  const { type, ...options } = rate as Config;
  if (type === 'constant') return float(options['learningRate']);
  const className =
    scheduleClasses[type as string] ??
    refuse('ERR_VALUE', `${subject}: learningRate`, 'a schedule that Keras has', `'${type}'`, WAY_OUT);
  const config = Object.entries(options).map(([key, value]) => {
    const isCount = /steps$/i.test(key) || key === 'boundaries';
    const written = Array.isArray(value) && !isCount ? value.map(float) : isCount ? value : float(value);
    return [toSnakeCase(key), written];
  });
  return kerasObject('keras.optimizers.schedules', className, Object.fromEntries(config));
}

/** Classes of this name are there for losses and for metrics. */
const lossesAndMetrics = {
  klDivergence: 'KLDivergence',
  cosineSimilarity: 'CosineSimilarity',
  poisson: 'Poisson',
  hinge: 'Hinge',
  squaredHinge: 'SquaredHinge',
  categoricalHinge: 'CategoricalHinge',
  meanSquaredLogarithmicError: 'MeanSquaredLogarithmicError',
  meanAbsolutePercentageError: 'MeanAbsolutePercentageError',
  binaryCrossentropy: 'BinaryCrossentropy',
  meanSquaredError: 'MeanSquaredError',
  meanAbsoluteError: 'MeanAbsoluteError',
};

const lossClasses: Readonly<Record<string, string>> = {
  ...lossesAndMetrics,
  categoricalCrossentropy: 'CategoricalCrossentropy',
  sparseCategoricalCrossentropy: 'SparseCategoricalCrossentropy',
  huber: 'Huber',
  logCosh: 'LogCosh',
  binaryFocalCrossentropy: 'BinaryFocalCrossentropy',
  categoricalFocalCrossentropy: 'CategoricalFocalCrossentropy',
};

function lossObject({ type, ...options }: Config): object {
  const className =
    lossClasses[type as string] ??
    refuse('ERR_VALUE', 'save: loss', 'a loss that Keras has', `'${type}'`, WAY_OUT);
  const known = { ...options };
  if (type === 'sparseCategoricalCrossentropy') {
    if (known['labelSmoothing'] !== 0)
      refuse(
        'ERR_VALUE',
        'save: losses.sparseCategoricalCrossentropy: labelSmoothing',
        '0, as Keras has none there',
        known['labelSmoothing'],
        WAY_OUT,
      );
    delete known['labelSmoothing'];
  }
  const config = Object.entries(known).map(([key, value]) => [
    toSnakeCase(key),
    typeof value === 'number' ? float(value) : value,
  ]);
  return kerasObject('keras.losses', className, Object.fromEntries(config));
}

const metricClasses: Readonly<Record<string, string | readonly [dense: string, sparse: string]>> = {
  ...lossesAndMetrics,
  binaryAccuracy: 'BinaryAccuracy',
  categoricalAccuracy: ['CategoricalAccuracy', 'SparseCategoricalAccuracy'],
  sparseCategoricalAccuracy: ['CategoricalAccuracy', 'SparseCategoricalAccuracy'],
  topKCategoricalAccuracy: ['TopKCategoricalAccuracy', 'SparseTopKCategoricalAccuracy'],
  precision: 'Precision',
  recall: 'Recall',
  f1: 'F1Score',
  auc: 'AUC',
  rootMeanSquaredError: 'RootMeanSquaredError',
  r2: 'R2Score',
  crossentropy: ['CategoricalCrossentropy', 'SparseCategoricalCrossentropy'],
  truePositives: 'TruePositives',
  trueNegatives: 'TrueNegatives',
  falsePositives: 'FalsePositives',
  falseNegatives: 'FalseNegatives',
  fBeta: 'FBetaScore',
  logCosh: 'LogCoshError',
};

/** Metrics that Keras has to be told that predictions are logits. */
const readsForm = /Crossentropy$|^AUC$/;

/** Options of metrics that are whole numbers. */
const wholes = ['k', 'classId', 'numThresholds'];

/** Options that are names, in Keras's spelling. */
const spelt = ['average', 'classAggregation', 'summationMethod'];

/** @param width of the output: how many numbers it has in a row */
function metricObject({ type, name, ...options }: Config, loss: Loss, width: number): unknown {
  const subject = `save: metrics.${type as string}`;
  const { sparse } = loss;
  // Keras tells which accuracy is meant by the width alone, this library by the loss too.
  if (type === 'accuracy' && isBinary(loss) && width > 1)
    return kerasObject('keras.metrics', 'BinaryAccuracy', { name, dtype: 'float32' });
  if (type === 'accuracy') {
    if (name === 'accuracy' || name === 'acc') return name;
    refuse('ERR_VALUE', `${subject}: name`, "'accuracy' or 'acc' for Keras", `'${name}'`, WAY_OUT);
  }
  const own =
    (type === 'crossentropy' && width === 1 ? 'BinaryCrossentropy' : metricClasses[type as string]) ??
    refuse('ERR_VALUE', 'save: metrics', 'metrics that Keras has', `'${type}'`, WAY_OUT);
  const className = typeof own === 'string' ? own : own[sparse ? 1 : 0];
  if (sparse && typeof own === 'string')
    refuse('ERR_VALUE', subject, 'targets like the predictions, for Keras', 'class indices', WAY_OUT);
  if (options['classId'] !== undefined && /^(true|false)[PN]/.test(type as string))
    refuse(
      'ERR_VALUE',
      `${subject}: classId`,
      'counts of all outputs, as Keras has them',
      options['classId'],
      WAY_OUT,
    );
  // Without a threshold Keras takes the largest output for positive, of one too.
  const above = /^f(1|Beta)$/.test(type as string) && width === 1 ? { threshold: 0.5 } : {};
  const config = Object.entries({ ...above, ...options })
    // Of class indices it is 0, and Keras has no word for it.
    .filter(([key]) => key !== 'labelSmoothing' || className !== 'SparseCategoricalCrossentropy')
    .map(([key, value]) => [
      toSnakeCase(key),
      spelt.includes(key) && typeof value === 'string'
        ? toSnakeCase(value)
        : wholes.includes(key)
          ? value
          : float(value),
    ]);
  if (readsForm.test(className)) config.push(['from_logits', loss.fromLogits]);
  return kerasObject('keras.metrics', className, { name, dtype: 'float32', ...Object.fromEntries(config) });
}
