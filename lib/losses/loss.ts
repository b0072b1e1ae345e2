import { ANY, type Harmless, readConfig, readSpec, type SpecConfig } from '../config';
import { quoted, refuse } from '../errors';
import { resolveName } from '../names';
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
  getConfig(): Record<string, unknown>;
}

export interface CrossentropyOptions {
  /**
   * Predictions are logits; metrics see their softmax or sigmoid. Not needed behind a softmax or sigmoid, where the logits are
   * used anyway. Default false.
   */
  fromLogits?: boolean;
  /** Share of the target that is spread over all classes. Default 0. */
  labelSmoothing?: number;
}

function crossentropy(type: LossKind, options: CrossentropyOptions): Loss {
  const subject = `losses.${type}`;
  const read = readConfig(options, ['fromLogits', 'labelSmoothing'], subject);
  const fromLogits = read.fromLogits ?? false;
  const labelSmoothing = read.labelSmoothing ?? 0;
  if (typeof fromLogits !== 'boolean')
    refuse('ERR_VALUE', `${subject}: fromLogits`, 'true or false', fromLogits);
  if (typeof labelSmoothing !== 'number' || !(labelSmoothing >= 0 && labelSmoothing < 1)) {
    refuse('ERR_VALUE', `${subject}: labelSmoothing`, 'a number from 0 to below 1', labelSmoothing);
  }
  return {
    type,
    sparse: type === 'sparseCategoricalCrossentropy',
    fromLogits: fromLogits as boolean,
    parameter: labelSmoothing as number,
    getConfig: () => ({ type, fromLogits, labelSmoothing }),
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
    const delta = readConfig(options, ['delta'], 'losses.huber').delta ?? 1;
    if (typeof delta !== 'number' || !(delta > 0) || !Number.isFinite(delta)) {
      refuse('ERR_VALUE', 'losses.huber: delta', 'a finite number above 0', quoted(delta));
    }
    return {
      type: 'huber',
      sparse: false,
      fromLogits: false,
      parameter: delta as number,
      getConfig: () => ({ type: 'huber', delta }),
    };
  },
  /** Mean of log cosh(p − y). */
  logCosh: (options: object = {}): Loss => plain('logCosh', options),
  /** Σ y log(y / p). */
  klDivergence: (options: object = {}): Loss => plain('klDivergence', options),
};

export type LossName = keyof typeof losses;
export type LossSpec = LossName | 'mse' | 'mae' | (string & {}) | Loss | SpecConfig;

const names = Object.keys(losses) as LossName[];
const short: Readonly<Record<string, LossName>> = {
  mse: 'meanSquaredError',
  mae: 'meanAbsoluteError',
  kld: 'klDivergence',
  kullbackLeiblerDivergence: 'klDivergence',
};

const kerasOptions: Harmless = {
  name: ANY,
  reduction: ['sum_over_batch_size', 'auto'],
  dtype: ['float32'],
  axis: [-1],
};

/** A loss from its name, its configuration `{ type, … }` or Keras's, or itself. */
export function resolveLoss(spec: unknown, subject = 'loss'): Loss {
  if (typeof spec === 'object' && spec !== null && typeof (spec as Loss).getConfig === 'function')
    return spec as Loss;
  const { type, options } = readSpec(spec, subject, kerasOptions);
  const known = [...names, ...Object.keys(short)];
  const name = resolveName(type, known, subject);
  return losses[short[name] ?? (name as LossName)](options);
}
