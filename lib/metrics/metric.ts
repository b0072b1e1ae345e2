import {
  ANY,
  type Harmless,
  positiveOption,
  readConfig,
  readSpec,
  type SpecConfig,
  shareOption,
} from '../config';
import { quoted, refuse } from '../errors';
import { requireNewName, resolveName } from '../names';
import type { ScoreFunction } from '../ops/rowFunction';
import type { MetricAttrs } from '../plan/types';
import {
  type AucOptions,
  areaUnderCurve,
  averageF,
  type Counts,
  countsOf,
  type F1Options,
  precisionOf,
  type R2Options,
  r2Of,
  recallOf,
  type ThresholdOptions,
} from './results';
import { rowScores } from './scores';

/** What a model is measured by. The engine writes sums per batch (docs/plan.md, "Metrics"); they add up over batches. */
export interface Metric {
  /** The key in logs and scores. */
  readonly name: string;
  readonly attrs: MetricAttrs;
  /** Of a metric of one's own: what it makes of a row. */
  readonly score?: ScoreFunction | undefined;
  /** Whether a model is the better the larger it is. */
  readonly largerIsBetter: boolean;
  /** Whether sample and class weights count in it. */
  readonly weighted: boolean;
  /** The value from the sums. Where nothing was counted it is 0, as in Keras. */
  result(sums: Float64Array): number | number[];
  getConfig(): Record<string, unknown>;
}

/** What a model is the better for, the smaller it is. Of all else it is the better, the larger: shares, areas, R². */
const errorKinds: readonly MetricAttrs['kind'][] = ['value', 'squaredError', 'absoluteError', 'crossentropy'];

/** What a metric has to know of the model. */
export interface MetricContext {
  readonly loss: { readonly type: string; readonly sparse: boolean; readonly fromLogits: boolean };
  /** Size of the last axis of the predictions. */
  readonly classes: number;
}

/** Losses of outputs that are one class each. */
const binaryLosses = ['binaryCrossentropy', 'binaryFocalCrossentropy'];

/** A metric before it knows its model. */
export interface MetricTemplate {
  readonly type: string;
  readonly config: Record<string, unknown>;
  bind(
    context: MetricContext,
  ): Pick<Metric, 'attrs' | 'result' | 'score'> & { readonly largerIsBetter?: boolean };
}

const quotient = (sums: Float64Array) => (sums[1] === 0 ? 0 : (sums[0] as number) / (sums[1] as number));

type Binder = MetricTemplate['bind'];

/** Reads the options once, so that mistakes show where the metric is made. */
function template(
  type: string,
  given: unknown,
  known: readonly string[],
  make: (o: Partial<Record<string, unknown>>, subject: string) => Binder,
): MetricTemplate {
  const subject = `metrics.${type}`;
  const { name, ...config } = readConfig<string>(given, [...known, 'name'], subject);
  if (name !== undefined && typeof name !== 'string')
    refuse('ERR_VALUE', `${subject}: name`, 'a name', quoted(name));
  const bind = make(config, subject);
  return { type, config: { ...config, ...(name === undefined ? {} : { name }) }, bind };
}

const isThreshold = (t: unknown): t is number => typeof t === 'number' && t >= 0 && t <= 1;

function thresholdOf(value: unknown, subject: string): number {
  const threshold = value ?? 0.5;
  if (!isThreshold(threshold))
    refuse('ERR_VALUE', `${subject}: threshold`, 'a number from 0 to 1', quoted(threshold));
  return threshold as number;
}

function thresholdList(value: unknown, subject: string): number[] {
  const list = value === undefined || value === null ? [0.5] : Array.isArray(value) ? value : [value];
  if (list.length === 0 || !list.every(isThreshold)) {
    refuse('ERR_VALUE', `${subject}: thresholds`, 'numbers from 0 to 1', quoted(value));
  }
  return list;
}

const sparseOf = ({ loss }: MetricContext) => loss.sparse;

/** @throws ERR_VALUE when the targets are not what the metric reads */
function needDense(type: string, { loss }: MetricContext): void {
  if (loss.sparse)
    refuse('ERR_VALUE', `metrics.${type}`, 'targets like the predictions', `class indices (${loss.type})`);
}

const binaryAccuracy =
  (threshold: number): Binder =>
  (context) => {
    needDense('binaryAccuracy', context);
    return { attrs: { kind: 'binaryAccuracy', sparse: false, thresholds: [threshold] }, result: quotient };
  };

const categoricalAccuracy: Binder = (context) => ({
  attrs: { kind: 'categoricalAccuracy', sparse: sparseOf(context) },
  result: quotient,
});

const error =
  (kind: 'squaredError' | 'absoluteError', type: string, after = (v: number) => v): Binder =>
  (context) => {
    needDense(type, context);
    return { attrs: { kind, sparse: false }, result: (sums) => after(quotient(sums)) };
  };

/** The mean over rows of what each costs, or is worth. */
const scored =
  (type: string, score: ScoreFunction, largerIsBetter = false): Binder =>
  (context) => {
    needDense(type, context);
    return { attrs: { kind: 'value', sparse: false }, score, largerIsBetter, result: quotient };
  };

function plainScore(
  type: Exclude<keyof typeof rowScores, 'binaryCrossentropy' | 'huber'>,
  options: NameOption,
  largerIsBetter = false,
): MetricTemplate {
  return template(type, options, [], () => scored(type, rowScores[type], largerIsBetter));
}

const crossentropy =
  (type: string, after = (v: number) => v): Binder =>
  (context) => {
    // Of one output there is nothing to be unsure about: its share of itself is 1.
    if (context.classes === 1)
      refuse('ERR_VALUE', `metrics.${type}`, 'an output per class, at least two', 'a model with one output');
    return {
      attrs: { kind: 'crossentropy', sparse: sparseOf(context), fromLogits: context.loss.fromLogits },
      result: (sums) => after(quotient(sums)),
    };
  };

/** What follows from counts of true and false positives and negatives. */
const ofCounts = {
  precision: precisionOf,
  recall: recallOf,
  truePositives: ({ tp }: Counts) => tp,
  trueNegatives: ({ tn }: Counts) => tn,
  falsePositives: ({ fp }: Counts) => fp,
  falseNegatives: ({ fn }: Counts) => fn,
};

function counted(type: keyof typeof ofCounts, options: unknown): MetricTemplate {
  return template(type, options, ['thresholds', 'classId'], (o, subject) => {
    const thresholds = thresholdList(o['thresholds'], subject);
    const classId = o['classId'];
    const several = Array.isArray(o['thresholds']);
    return (context) => {
      if (
        classId !== undefined &&
        !(Number.isInteger(classId) && (classId as number) >= 0 && (classId as number) < context.classes)
      ) {
        refuse('ERR_VALUE', `${subject}: classId`, `a class from 0 to ${context.classes - 1}`, classId);
      }
      return {
        attrs: { kind: 'confusion', sparse: sparseOf(context), thresholds, argmax: false },
        largerIsBetter: !type.startsWith('false'),
        result: (sums) => {
          const values = thresholds.map((_, t) =>
            ofCounts[type](countsOf(sums, t, context.classes, classId as number | undefined)),
          );
          return several ? values : (values[0] as number);
        },
      };
    };
  });
}

function fScore(type: 'f1' | 'fBeta', options: unknown): MetricTemplate {
  const known = ['average', 'threshold', ...(type === 'fBeta' ? ['beta'] : [])];
  return template(type, options, known, (o, subject) => {
    const beta = positiveOption(o['beta'], `${subject}: beta`);
    const average =
      o['average'] === undefined || o['average'] === null
        ? null
        : resolveName(o['average'], ['micro', 'macro', 'weighted'] as const, `${subject}: average`);
    const given = o['threshold'] ?? undefined;
    const threshold = given === undefined ? undefined : thresholdOf(given, subject);
    return (context) => {
      // The largest of one output would be that output, whatever it says.
      const limit = threshold ?? (context.classes === 1 ? 0.5 : undefined);
      const thresholds = limit === undefined ? [] : [limit];
      return {
        attrs: { kind: 'confusion', sparse: sparseOf(context), thresholds, argmax: limit === undefined },
        result: (sums) => averageF(sums, context.classes, average, beta),
      };
    };
  });
}

function topK(options: TopKOptions): MetricTemplate {
  return template('topKCategoricalAccuracy', options, ['k'], (o, subject) => {
    const k = o['k'] ?? 5;
    if (!Number.isInteger(k) || (k as number) < 1)
      refuse('ERR_VALUE', `${subject}: k`, 'a positive integer', quoted(k));
    return (context) => ({
      attrs: { kind: 'topK', sparse: sparseOf(context), k: k as number },
      result: quotient,
    });
  });
}

export interface NameOption {
  /** The key in logs. Default: the metric's type, or the name by which it was asked for. */
  name?: string;
}

export interface TopKOptions extends NameOption {
  /** Default 5. */
  k?: number;
}

export const metrics = {
  /** Binary, sparse or dense categorical accuracy, as the loss and the output's size say. */
  accuracy: (options: NameOption = {}): MetricTemplate =>
    template('accuracy', options, [], () => (context) => {
      const binary = context.classes === 1 || binaryLosses.includes(context.loss.type);
      return (binary ? binaryAccuracy(0.5) : categoricalAccuracy)(context);
    }),
  /** Share of outputs on the right side of the threshold (default 0.5). */
  binaryAccuracy: (options: NameOption & { threshold?: number } = {}): MetricTemplate =>
    template('binaryAccuracy', options, ['threshold'], (o, subject) =>
      binaryAccuracy(thresholdOf(o['threshold'], subject)),
    ),
  /** Share of rows whose largest output is at the class of a one-hot target. */
  categoricalAccuracy: (options: NameOption = {}): MetricTemplate =>
    template('categoricalAccuracy', options, [], () => categoricalAccuracy),
  /** Share of rows whose largest output is at the target's class index. */
  sparseCategoricalAccuracy: (options: NameOption = {}): MetricTemplate =>
    template('sparseCategoricalAccuracy', options, [], () => categoricalAccuracy),
  /** Share of rows whose true class is among the k (default 5) largest outputs. */
  topKCategoricalAccuracy: (options: TopKOptions = {}): MetricTemplate => topK(options),
  /** The same under a shorter name. */
  topK: (options: TopKOptions = {}): MetricTemplate => topK({ name: 'topK', ...options }),
  /** tp / (tp + fp), over all outputs or one class. A list of thresholds gives a list. */
  precision: (options: NameOption & ThresholdOptions = {}): MetricTemplate => counted('precision', options),
  /** tp / (tp + fn), over all outputs or one class. A list of thresholds gives a list. */
  recall: (options: NameOption & ThresholdOptions = {}): MetricTemplate => counted('recall', options),
  /** Weight of the outputs that are rightly taken for positive, over all outputs or one class. A list of thresholds gives a list. */
  truePositives: (options: NameOption & ThresholdOptions = {}): MetricTemplate =>
    counted('truePositives', options),
  /** Weight of the outputs that are rightly taken for negative. */
  trueNegatives: (options: NameOption & ThresholdOptions = {}): MetricTemplate =>
    counted('trueNegatives', options),
  /** Weight of the outputs that are wrongly taken for positive. */
  falsePositives: (options: NameOption & ThresholdOptions = {}): MetricTemplate =>
    counted('falsePositives', options),
  /** Weight of the outputs that are wrongly taken for negative. */
  falseNegatives: (options: NameOption & ThresholdOptions = {}): MetricTemplate =>
    counted('falseNegatives', options),
  /** Harmonic mean of precision and recall per class. Without a threshold the largest output is the prediction. */
  f1: (options: NameOption & F1Options = {}): MetricTemplate => fScore('f1', options),
  /** The mean of precision and recall in which recall counts `beta` (default 1) times as much, per class; see f1. */
  fBeta: (options: NameOption & F1Options & { beta?: number } = {}): MetricTemplate =>
    fScore('fBeta', options),
  /** Area under the ROC or precision–recall curve over `numThresholds` (default 200) evenly spaced thresholds, outputs pooled. */
  auc: (options: NameOption & AucOptions = {}): MetricTemplate =>
    template('auc', options, ['numThresholds', 'curve', 'summationMethod'], (o, subject) => {
      const count = o['numThresholds'] ?? 200;
      if (!Number.isInteger(count) || (count as number) < 3)
        refuse('ERR_VALUE', `${subject}: numThresholds`, 'an integer, 3 or more', quoted(count));
      const curve = resolveName(o['curve'] ?? 'ROC', ['ROC', 'PR'] as const, `${subject}: curve`);
      const method = resolveName(
        o['summationMethod'] ?? 'interpolation',
        ['interpolation', 'minoring', 'majoring'] as const,
        `${subject}: summationMethod`,
      );
      return (context) => {
        needDense('auc', context);
        return {
          attrs: { kind: 'histogram', sparse: false, bins: count as number },
          result: (sums) => areaUnderCurve(sums, curve, method),
        };
      };
    }),
  meanSquaredError: (options: NameOption = {}): MetricTemplate =>
    template('meanSquaredError', options, [], () => error('squaredError', 'meanSquaredError')),
  meanAbsoluteError: (options: NameOption = {}): MetricTemplate =>
    template('meanAbsoluteError', options, [], () => error('absoluteError', 'meanAbsoluteError')),
  rootMeanSquaredError: (options: NameOption = {}): MetricTemplate =>
    template('rootMeanSquaredError', options, [], () =>
      error('squaredError', 'rootMeanSquaredError', Math.sqrt),
    ),
  /** 1 − Σ(y−p)² / Σ(y−ȳ)² per output, then averaged. */
  r2: (options: NameOption & R2Options = {}): MetricTemplate =>
    template('r2', options, ['classAggregation'], (o, subject) => {
      const given = o['classAggregation'] === undefined ? 'uniformAverage' : o['classAggregation'];
      const aggregation =
        given === null
          ? null
          : resolveName(
              given,
              ['uniformAverage', 'varianceWeightedAverage'] as const,
              `${subject}: classAggregation`,
            );
      return (context) => {
        needDense('r2', context);
        return { attrs: { kind: 'r2', sparse: false }, result: (sums) => r2Of(sums, aggregation) };
      };
    }),
  /** exp of the mean cross-entropy: the number of classes among which the model is as unsure. */
  perplexity: (options: NameOption = {}): MetricTemplate =>
    template('perplexity', options, [], () => crossentropy('perplexity', Math.exp)),
  /** Mean −log of the probability given to the true class; of one output that of a binary choice. */
  crossentropy: (options: NameOption & { labelSmoothing?: number } = {}): MetricTemplate =>
    template('crossentropy', options, ['labelSmoothing'], (o, subject) => {
      const share = shareOption(o['labelSmoothing'], `${subject}: labelSmoothing`);
      return (context) => {
        if (context.classes === 1)
          return scored('crossentropy', rowScores.binaryCrossentropy(share))(context);
        if (share !== 0) refuse('ERR_VALUE', `${subject}: labelSmoothing`, '0 for several classes', share);
        return crossentropy('crossentropy')(context);
      };
    }),
  /** Mean over outputs of −(y log p + (1−y) log(1−p)), p clipped to [10⁻⁷, 1 − 10⁻⁷]. */
  binaryCrossentropy: (options: NameOption & { labelSmoothing?: number } = {}): MetricTemplate =>
    template('binaryCrossentropy', options, ['labelSmoothing'], (o, subject) => {
      const share = shareOption(o['labelSmoothing'], `${subject}: labelSmoothing`);
      return scored('binaryCrossentropy', rowScores.binaryCrossentropy(share));
    }),
  /** Squared up to `delta` (default 1), linear beyond (Huber, 1964). */
  huber: (options: NameOption & { delta?: number } = {}): MetricTemplate =>
    template('huber', options, ['delta'], (o, subject) => {
      return scored('huber', rowScores.huber(positiveOption(o['delta'], `${subject}: delta`)));
    }),
  /** Mean of log cosh(p − y). */
  logCosh: (options: NameOption = {}): MetricTemplate => plainScore('logCosh', options),
  /** Σ y log(y / p). */
  klDivergence: (options: NameOption = {}): MetricTemplate => plainScore('klDivergence', options),
  /** The cosine of the angle between predictions and targets: 1 where they point the same way. The loss of this name is its negative. */
  cosineSimilarity: (options: NameOption = {}): MetricTemplate =>
    plainScore('cosineSimilarity', options, true),
  /** Mean of p − y log p, for rates p. */
  poisson: (options: NameOption = {}): MetricTemplate => plainScore('poisson', options),
  /** Mean of max(1 − y p, 0), for targets −1 and 1; 0 stands for −1. */
  hinge: (options: NameOption = {}): MetricTemplate => plainScore('hinge', options),
  /** Mean of max(1 − y p, 0)², for targets −1 and 1; 0 stands for −1. */
  squaredHinge: (options: NameOption = {}): MetricTemplate => plainScore('squaredHinge', options),
  /** max(1 + the largest p of a wrong class − p of the true one, 0), for one-hot targets. */
  categoricalHinge: (options: NameOption = {}): MetricTemplate => plainScore('categoricalHinge', options),
  /** Mean of (log(1 + p) − log(1 + y))²; what is negative counts as 0. */
  meanSquaredLogarithmicError: (options: NameOption = {}): MetricTemplate =>
    plainScore('meanSquaredLogarithmicError', options),
  /** Mean of 100 |p − y| / |y|. */
  meanAbsolutePercentageError: (options: NameOption = {}): MetricTemplate =>
    plainScore('meanAbsolutePercentageError', options),
};

const defined = new Map<string, (options: object) => MetricTemplate>();

/**
 * Makes a metric known by a name, for `compile({ metrics })`: the mean over rows of `score(yTrue, yPred)`, which is written with `ops` and gives
 * `[N, 1]`, or `[N, C]`, whose mean over columns counts. It wants targets like the predictions, not class indices.
 * @param finish makes the metric of the mean, e.g. `Math.sqrt`. Default: the mean itself
 * @returns a maker, like those of `metrics`
 * @throws ERR_VALUE for a name that is taken
 */
export function defineMetric(
  name: string,
  score: ScoreFunction,
  finish: (mean: number) => number = (mean) => mean,
): (options?: NameOption) => MetricTemplate {
  const subject = 'defineMetric';
  requireNewName(name, `${subject}: name`, defined, [metrics, short]);
  for (const [what, member] of Object.entries({ score, finish }))
    if (typeof member !== 'function')
      refuse('ERR_VALUE', `${subject}: ${what}`, 'a function', quoted(member));
  const make = (options: NameOption = {}) =>
    template(name, options, [], () => (context) => {
      needDense(name, context);
      const result = (sums: Float64Array) => {
        const value: unknown = finish(quotient(sums));
        if (typeof value !== 'number')
          refuse('ERR_VALUE', `metric '${name}': finish`, 'a number', quoted(value));
        return value as number;
      };
      return { attrs: { kind: 'value', sparse: false } as const, score, result };
    });
  defined.set(name, make);
  return make;
}

export type MetricName = keyof typeof metrics;
export type MetricSpec =
  | MetricName
  | 'acc'
  | 'mse'
  | 'mae'
  | 'rmse'
  | 'msle'
  | 'mape'
  | 'bce'
  | 'kld'
  | (string & {})
  | MetricTemplate
  | SpecConfig;

const short: Readonly<Record<string, MetricName>> = {
  acc: 'accuracy',
  mse: 'meanSquaredError',
  mae: 'meanAbsoluteError',
  rmse: 'rootMeanSquaredError',
  r2Score: 'r2',
  f1Score: 'f1',
  fBetaScore: 'fBeta',
  sparseTopKCategoricalAccuracy: 'topKCategoricalAccuracy',
  categoricalCrossentropy: 'crossentropy',
  sparseCategoricalCrossentropy: 'crossentropy',
  ce: 'crossentropy',
  bce: 'binaryCrossentropy',
  msle: 'meanSquaredLogarithmicError',
  mape: 'meanAbsolutePercentageError',
  kld: 'klDivergence',
  kullbackLeiblerDivergence: 'klDivergence',
  logCoshError: 'logCosh',
};

/** A metric for a model, from its name, its configuration `{ type, … }` or Keras's, or a template. Named as it was asked for. */
export function resolveMetric(spec: unknown, context: MetricContext, weighted = false): Metric {
  const subject = weighted ? 'compile: weightedMetrics' : 'compile: metrics';
  const made = templateOf(spec, subject);
  refuseOtherMeaning(spec, made.template.type, context, `${subject}: ${made.asked}`);
  const { attrs, result, score, largerIsBetter } = made.template.bind(context);
  const config = made.template.config;
  const name = (config['name'] as string | undefined) ?? made.asked;
  return {
    name,
    attrs,
    score,
    largerIsBetter: largerIsBetter ?? !errorKinds.includes(attrs.kind),
    weighted,
    result,
    getConfig: () => ({ type: made.template.type, ...config, name }),
  };
}

/** @throws ERR_VALUE for a metric, as Keras writes it, of which the one of this name here is another */
function refuseOtherMeaning(spec: unknown, type: string, { loss }: MetricContext, subject: string): void {
  const { class_name, module, config } = Object(spec) as Record<string, unknown>;
  if (type === 'cosineSimilarity' && (class_name === 'function' || module === 'keras.losses'))
    refuse(
      'ERR_VALUE',
      subject,
      'the metric of this name, which is the cosine',
      "Keras's loss, which is its negative",
    );
  // Metrics see probabilities: here a loss says whether there are logits to make them of.
  const { from_logits, fromLogits = from_logits } = Object(config) as Record<string, unknown>;
  if (fromLogits === true && !loss.fromLogits)
    refuse('ERR_VALUE', `${subject}: fromLogits`, 'false, as of the loss', true);
}

const kerasOptions: Harmless = {
  dtype: ['float32'],
  axis: [-1],
  fromLogits: ANY,
  multiLabel: [false],
  numRegressors: [0],
  fromSortedIds: [false],
  reduction: ['sum_over_batch_size', 'auto'],
};

function templateOf(spec: unknown, subject: string): { template: MetricTemplate; asked: string } {
  if (typeof spec === 'object' && spec !== null && typeof (spec as MetricTemplate).bind === 'function') {
    return { template: spec as MetricTemplate, asked: (spec as MetricTemplate).type };
  }
  if (typeof (spec as { getConfig?: unknown } | null)?.getConfig === 'function')
    refuse(
      'ERR_VALUE',
      subject,
      'metrics, by name or of `metrics`',
      'an object that is none, such as a loss',
    );
  const { type, options: read } = readSpec(spec, subject, kerasOptions);
  const { thresholds } = read;
  // Of one threshold in a list Keras gives a number.
  const only = 'class_name' in Object(spec) && Array.isArray(thresholds) && thresholds.length === 1;
  const options = only ? { ...read, thresholds: thresholds[0] as unknown } : read;
  const own = typeof type === 'string' ? defined.get(type) : undefined;
  if (own) return { template: own(options), asked: type as string };
  const known = [...Object.keys(metrics), ...Object.keys(short), ...defined.keys()];
  const asked = resolveName(type, known, subject);
  const name = short[asked] ?? (asked as MetricName);
  return { template: (metrics[name] as (o: object) => MetricTemplate)(options), asked };
}
