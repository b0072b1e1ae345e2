import {
  ANY,
  type Harmless,
  positiveOption,
  readConfig,
  readSpec,
  type SpecConfig,
  shareOption,
} from '../config';
import { quoted, refuse, show } from '../errors';
import { requireNewName, resolveName } from '../names';
import type { ScoreFunction } from '../ops/rowFunction';
import type { LossKind } from '../plan/codes';

/** What training makes small. The formulas are in docs/plan.md, "Losses". */
export interface Loss {
  readonly type: LossKind;
  /** Targets are class indices. */
  readonly sparse: boolean;
  /** Predictions are logits, not probabilities. */
  readonly fromLogits: boolean;
  /** Huber's delta or the label smoothing; 0 for the others. */
  readonly parameter: number;
  /** The exponent of a focal loss. */
  readonly gamma?: number;
  /** The weight of classes in a focal loss; undefined where they count alike. */
  readonly alpha?: number | undefined;
  /** Of a loss of one's own (type `value`): what it makes of a row. */
  readonly score?: ScoreFunction;
  getConfig(): Record<string, unknown>;
}

/** By what name it was asked for. */
export const nameOf = (loss: Loss): string => String(loss.getConfig()['type']);

/** Whether outputs are probabilities or logits of one class each. */
export const isBinary = ({ type }: Pick<Loss, 'type'>): boolean =>
  type === 'binaryCrossentropy' || type === 'binaryFocalCrossentropy';

/** Whether outputs are a distribution over classes, or its logits. */
export const isCategorical = ({ type }: Pick<Loss, 'type'>): boolean =>
  type === 'categoricalCrossentropy' ||
  type === 'sparseCategoricalCrossentropy' ||
  type === 'categoricalFocalCrossentropy';

export interface CrossentropyOptions {
  /**
   * Predictions are logits; metrics see their softmax or sigmoid. Not needed behind a softmax or sigmoid, where the logits are
   * used anyway. Default false.
   */
  fromLogits?: boolean;
  /** Share of the target that is spread over all classes. Default 0. */
  labelSmoothing?: number;
}

export interface FocalOptions extends CrossentropyOptions {
  /** The exponent of 1 − p of the truth, which lowers the share of easy examples. Default 2. */
  gamma?: number;
  /** Weight of class 1, from 0 to 1, or of all classes of a categorical loss, 0 or more. Default 0.25. */
  alpha?: number;
}

function crossentropy(type: LossKind, options: CrossentropyOptions): Loss {
  return readCrossentropy(type, readConfig(options, ['fromLogits', 'labelSmoothing'], `losses.${type}`));
}

function readCrossentropy(type: LossKind, read: { fromLogits?: unknown; labelSmoothing?: unknown }): Loss {
  const subject = `losses.${type}`;
  const fromLogits = read.fromLogits ?? false;
  if (typeof fromLogits !== 'boolean')
    refuse('ERR_VALUE', `${subject}: fromLogits`, 'true or false', fromLogits);
  const labelSmoothing = shareOption(read.labelSmoothing, `${subject}: labelSmoothing`);
  return {
    type,
    sparse: type === 'sparseCategoricalCrossentropy',
    fromLogits: fromLogits as boolean,
    parameter: labelSmoothing,
    getConfig: () => ({ type, fromLogits, labelSmoothing }),
  };
}

/** Lin et al. (2017). */
function focal(
  type: 'binaryFocalCrossentropy' | 'categoricalFocalCrossentropy',
  options: FocalOptions & { applyClassBalancing?: boolean },
): Loss {
  const subject = `losses.${type}`;
  const binary = type === 'binaryFocalCrossentropy';
  const own = binary ? (['applyClassBalancing'] as const) : [];
  const read = readConfig(options, ['fromLogits', 'labelSmoothing', 'gamma', 'alpha', ...own], subject);
  const { gamma = 2, alpha = 0.25, applyClassBalancing = false } = read;
  const notNegative = 'a finite number, 0 or more';
  if (typeof gamma !== 'number' || !(gamma >= 0) || !Number.isFinite(gamma))
    refuse('ERR_VALUE', `${subject}: gamma`, notNegative, quoted(gamma));
  if (typeof alpha !== 'number' || !(alpha >= 0) || !(binary ? alpha <= 1 : Number.isFinite(alpha)))
    refuse('ERR_VALUE', `${subject}: alpha`, binary ? 'a number from 0 to 1' : notNegative, quoted(alpha));
  if (typeof applyClassBalancing !== 'boolean')
    refuse('ERR_VALUE', `${subject}: applyClassBalancing`, 'true or false', quoted(applyClassBalancing));
  const base = readCrossentropy(type, read);
  const config = { gamma, alpha, ...(binary ? { applyClassBalancing } : {}) };
  return {
    ...base,
    gamma: gamma as number,
    alpha: binary && !applyClassBalancing ? undefined : (alpha as number),
    getConfig: () => ({ ...base.getConfig(), ...config }),
  };
}

function plain(type: LossKind, options: object): Loss {
  readConfig(options, [], `losses.${type}`);
  return { type, sparse: false, fromLogits: false, parameter: 0, getConfig: () => ({ type }) };
}

export const losses = {
  /** −Σ y log p, for one-hot or soft targets `[…, C]`. */
  categoricalCrossentropy: (options: CrossentropyOptions = {}): Loss =>
    crossentropy('categoricalCrossentropy', options),
  /** −log p_y, for class indices `[…]`. */
  sparseCategoricalCrossentropy: (options: CrossentropyOptions = {}): Loss =>
    crossentropy('sparseCategoricalCrossentropy', options),
  /** Mean over outputs of −(y log p + (1−y) log(1−p)). */
  binaryCrossentropy: (options: CrossentropyOptions = {}): Loss =>
    crossentropy('binaryCrossentropy', options),
  meanSquaredError: (options: object = {}): Loss => plain('meanSquaredError', options),
  meanAbsoluteError: (options: object = {}): Loss => plain('meanAbsoluteError', options),
  /** Squared up to `delta` (default 1), linear beyond (Huber, 1964). */
  huber: (options: { delta?: number } = {}): Loss => {
    const read = readConfig(options, ['delta'], 'losses.huber');
    const delta = positiveOption(read.delta, 'losses.huber: delta');
    return {
      type: 'huber',
      sparse: false,
      fromLogits: false,
      parameter: delta,
      getConfig: () => ({ type: 'huber', delta }),
    };
  },
  /** Mean of log cosh(p − y). */
  logCosh: (options: object = {}): Loss => plain('logCosh', options),
  /** Σ y log(y / p). */
  klDivergence: (options: object = {}): Loss => plain('klDivergence', options),
  /** Binary cross-entropy times (1 − p of the truth)^gamma; with `applyClassBalancing` class 1 weighs alpha, class 0 1 − alpha. */
  binaryFocalCrossentropy: (options: FocalOptions & { applyClassBalancing?: boolean } = {}): Loss =>
    focal('binaryFocalCrossentropy', options),
  /** −alpha Σ y (1 − p)^gamma log p. */
  categoricalFocalCrossentropy: (options: FocalOptions = {}): Loss =>
    focal('categoricalFocalCrossentropy', options),
  /** −cos of the angle between predictions and targets: −1 where they point the same way. */
  cosineSimilarity: (options: object = {}): Loss => plain('cosineSimilarity', options),
  /** Mean of p − y log p, for rates p. */
  poisson: (options: object = {}): Loss => plain('poisson', options),
  /** Mean of max(1 − y p, 0), for targets −1 and 1; 0 stands for −1. */
  hinge: (options: object = {}): Loss => plain('hinge', options),
  /** Mean of max(1 − y p, 0)², for targets −1 and 1; 0 stands for −1. */
  squaredHinge: (options: object = {}): Loss => plain('squaredHinge', options),
  /** max(1 + the largest p of a wrong class − p of the true one, 0), for one-hot targets. */
  categoricalHinge: (options: object = {}): Loss => plain('categoricalHinge', options),
  /** Mean of (log(1 + p) − log(1 + y))²; what is negative counts as 0. */
  meanSquaredLogarithmicError: (options: object = {}): Loss => plain('meanSquaredLogarithmicError', options),
  /** Mean of 100 |p − y| / |y|. */
  meanAbsolutePercentageError: (options: object = {}): Loss => plain('meanAbsolutePercentageError', options),
};

const defined = new Map<string, Loss>();

/**
 * Makes a loss known by a name, for `compile({ loss })`: `score(yTrue, yPred)` of rows `[N, C]`, written with `ops`, gives `[N, 1]`, or `[N, C]`,
 * whose mean over columns counts. The loss is the mean over rows, with their weights, as of any other. Models are saved with the name.
 * @returns the loss
 * @throws ERR_VALUE for a name that is taken
 */
export function defineLoss(name: string, score: ScoreFunction): Loss {
  const subject = 'defineLoss';
  requireNewName(name, `${subject}: name`, defined, [losses, short]);
  if (typeof score !== 'function') refuse('ERR_VALUE', `${subject}: score`, 'a function', quoted(score));
  const loss: Loss = {
    type: 'value',
    sparse: false,
    fromLogits: false,
    parameter: 0,
    score,
    getConfig: () => ({ type: name }),
  };
  defined.set(name, loss);
  return loss;
}

export type LossName = keyof typeof losses;
export type LossSpec =
  | LossName
  | 'mse'
  | 'mae'
  | 'msle'
  | 'mape'
  | 'bce'
  | 'kld'
  | (string & {})
  | Loss
  | SpecConfig;

const names = Object.keys(losses) as LossName[];
const short: Readonly<Record<string, LossName>> = {
  mse: 'meanSquaredError',
  mae: 'meanAbsoluteError',
  msle: 'meanSquaredLogarithmicError',
  mape: 'meanAbsolutePercentageError',
  kld: 'klDivergence',
  bce: 'binaryCrossentropy',
  kullbackLeiblerDivergence: 'klDivergence',
};

const kerasOptions: Harmless = {
  name: ANY,
  dtype: ['float32'],
  axis: [-1],
};

/** What Keras calls the mean over what a loss gives for the rows of a batch. Without weights of samples the last ones are the same. */
const means: readonly unknown[] = ['sum_over_batch_size', 'auto', 'mean'];

/** A loss from its name, its configuration `{ type, … }` or Keras's, or itself. */
export function resolveLoss(spec: unknown, subject = 'loss'): Loss {
  if (typeof spec === 'object' && spec !== null && typeof (spec as Loss).getConfig === 'function')
    return spec as Loss;
  const { type, options: given } = readSpec(spec, subject, kerasOptions);
  const isKeras = typeof spec === 'object' && spec !== null && !('type' in spec);
  const { reduction, ...rest } = given;
  const options = isKeras ? rest : given;
  if (isKeras && reduction !== undefined && !means.includes(reduction))
    refuse(
      'ERR_VALUE',
      `${subject}: ${show(quoted(type))}: reduction`,
      'a mean over the batch (sum_over_batch_size), which is what losses are here',
      quoted(reduction),
      'For batches of one size lossWeights: [the number of rows in a batch] makes the same of it.',
    );
  const own = typeof type === 'string' ? defined.get(type) : undefined;
  if (own) {
    readConfig(options, [], `${subject}: ${type}`);
    return own;
  }
  const known = [...names, ...Object.keys(short), ...defined.keys()];
  const name = resolveName(type, known, subject);
  return losses[short[name] ?? (name as LossName)](options);
}
