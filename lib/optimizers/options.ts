import { readConfig, type SpecConfig } from '../config';
import { DeepRnnError, quoted, refuse } from '../errors';
import type { ClipMode } from '../plan/codes';
import type { ParamGroup } from './paramGroups';
import type { Schedule } from './schedules';

export interface OptimizerOptions {
  learningRate?: number | Schedule | SpecConfig;
  /** Limit on every gradient element. At most one of the three clips. */
  clipValue?: number;
  /** Limit on the L2 norm of every weight's gradient. */
  clipNorm?: number;
  /** Limit on the L2 norm over all gradients (Pascanu et al., 2013). */
  globalClipNorm?: number;
  /**
   * Normal noise that is added to every gradient before it is clipped (Neelakantan et al., 2015), at step t, counted from 0, with variance
   * `eta / (1 + t)^gamma`. Its draws are those of the model's seed and the step.
   */
  gradientNoise?: GradientNoiseOptions;
  /** Weights with a learning rate or a weight decay of their own. */
  paramGroups?: readonly ParamGroup[];
  /** Decoupled weight decay (Loshchilov & Hutter, 2019): p ← p − learningRate·weightDecay·p; biases and the like are left alone. */
  weightDecay?: number;
  /** Weight decay of all weights, biases and the like too, as Keras has it. Default false. */
  decayBiases?: boolean;
  /**
   * Steps whose gradients are averaged for one update of the weights, 2 or more; default: each step updates. A schedule counts steps,
   * everything else counts updates, as in Keras.
   */
  gradientAccumulationSteps?: number;
  /** Keep an exponential moving average of the weights; `fit` ends by putting it in their place. Default false. */
  useEma?: boolean;
  /** Share of the old average in the new one. Default 0.99. */
  emaMomentum?: number;
  /** Also put the average in the weights' place at every update whose number is a multiple of this; default: never. */
  emaOverwriteFrequency?: number;
}

export interface GradientNoiseOptions {
  /** Variance at the first step; the paper has 0.01, 0.3 and 1. */
  eta: number;
  /** Default 0.55, the paper's. */
  gamma?: number;
}

export interface SgdOptions extends OptimizerOptions {
  /** Default 0. */
  momentum?: number;
  /** Default false. */
  nesterov?: boolean;
}

export interface RmspropOptions extends OptimizerOptions {
  /** Default 0.9. */
  rho?: number;
  /** Default 0. */
  momentum?: number;
  /** Default 1e-7. */
  epsilon?: number;
  /** Default false. */
  centered?: boolean;
}

export interface AdamOptions extends OptimizerOptions {
  /** Default 0.9. */
  beta1?: number;
  /** Default 0.999. */
  beta2?: number;
  /** Default 1e-7. */
  epsilon?: number;
  /** Default false. */
  amsgrad?: boolean;
}

export interface AdagradOptions extends OptimizerOptions {
  /** Default 0.1. */
  initialAccumulatorValue?: number;
  /** Default 1e-7. */
  epsilon?: number;
}

export interface AdamaxOptions extends OptimizerOptions {
  /** Default 0.9. */
  beta1?: number;
  /** Default 0.999. */
  beta2?: number;
  /** Default 1e-7. */
  epsilon?: number;
}

export interface LionOptions extends OptimizerOptions {
  /** Default 0.9; from above 0 to 1. */
  beta1?: number;
  /** Default 0.99. */
  beta2?: number;
}

export interface AdadeltaOptions extends OptimizerOptions {
  /** Default 0.95. */
  rho?: number;
  /** Default 1e-7. */
  epsilon?: number;
}

export interface AdafactorOptions extends OptimizerOptions {
  /** beta2 at update t is 1 − t^beta2Decay. Default −0.8; at most 0. */
  beta2Decay?: number;
  /** Added to squared gradients. Default 1e-30; not below 1e-36, which float32 holds. */
  epsilon1?: number;
  /** The least root mean square of a weight that scales its steps. Default 1e-3. */
  epsilon2?: number;
  /** Root mean square above which the unscaled step is cut. Default 1. */
  clipThreshold?: number;
  /** Default true. As in Keras 3, whose step is min(learningRate, 1/√t) either way. */
  relativeStep?: boolean;
}

export interface FtrlOptions extends OptimizerOptions {
  /** Default −0.5; at most 0. */
  learningRatePower?: number;
  /** Default 0.1. */
  initialAccumulatorValue?: number;
  /** Default 0. */
  l1RegularizationStrength?: number;
  /** Default 0. */
  l2RegularizationStrength?: number;
  /** Adds 2·strength·weight to the gradient. Default 0. */
  l2ShrinkageRegularizationStrength?: number;
  /** Default 0. */
  beta?: number;
}

const commonOptions = [
  'learningRate',
  'clipValue',
  'clipNorm',
  'globalClipNorm',
  'weightDecay',
  'decayBiases',
  'gradientAccumulationSteps',
  'useEma',
  'emaMomentum',
  'emaOverwriteFrequency',
  'paramGroups',
  'gradientNoise',
] as const;

export type Options = Partial<Record<string, unknown>>;

/** The options, also in Keras's spellings (`clipnorm`, `global_clipnorm`, `beta_1`); null stands for not given. */
export function readOptions(type: string, given: unknown, own: readonly string[]): Options {
  const read = readConfig<string>(given, [...commonOptions, ...own], `optimizers.${type}`);
  return Object.fromEntries(Object.entries(read).filter(([, value]) => value !== null));
}

export function number(
  o: Options,
  key: string,
  fallback: number,
  type: string,
  wanted: string,
  fits: (v: number) => boolean,
): number {
  const value = o[key] ?? fallback;
  if (typeof value !== 'number' || !Number.isFinite(value) || !fits(value))
    refuse('ERR_VALUE', `optimizers.${type}: ${key}`, wanted, quoted(value));
  return value as number;
}

export const share = (o: Options, key: string, fallback: number, type: string) =>
  number(o, key, fallback, type, 'a number from 0 to below 1', (v) => v >= 0 && v < 1);
export const positive = (o: Options, key: string, fallback: number, type: string) =>
  number(o, key, fallback, type, 'a finite number above 0', (v) => v > 0);
export const notPositive = (o: Options, key: string, fallback: number, type: string) =>
  number(o, key, fallback, type, 'a finite number, 0 or less', (v) => v <= 0);
export const notNegative = (o: Options, key: string, fallback: number, type: string) =>
  number(o, key, fallback, type, 'a finite number, 0 or more', (v) => v >= 0);

export function flag(o: Options, key: string, type: string, fallback = false): boolean {
  const value = o[key] ?? fallback;
  if (typeof value !== 'boolean')
    refuse('ERR_VALUE', `optimizers.${type}: ${key}`, 'true or false', quoted(value));
  return value as boolean;
}

export interface Clip {
  readonly mode: ClipMode;
  readonly limit: number;
}

export function readClip(o: Options, type: string): Clip {
  const modes = { clipValue: 'value', clipNorm: 'norm', globalClipNorm: 'globalNorm' } as const;
  const given = (Object.keys(modes) as (keyof typeof modes)[]).filter((key) => o[key] !== undefined);
  const [key] = given;
  if (given.length > 1) {
    throw new DeepRnnError(
      'ERR_VALUE',
      `optimizers.${type}: expected at most one of clipValue, clipNorm, globalClipNorm, got ${given.join(' and ')}.`,
    );
  }
  return key === undefined
    ? { mode: 'none', limit: 0 }
    : { mode: modes[key], limit: positive(o, key, 0, type) };
}

export interface GradientNoise {
  readonly eta: number;
  readonly gamma: number;
}

export function readGradientNoise(o: Options, type: string): GradientNoise | undefined {
  const given = o['gradientNoise'];
  if (given === undefined) return undefined;
  const read: Options = readConfig(given, ['eta', 'gamma'], `optimizers.${type}: gradientNoise`);
  const own = `${type}: gradientNoise`;
  if (read['eta'] === undefined)
    refuse('ERR_VALUE', `optimizers.${own}: eta`, 'a finite number above 0', 'nothing');
  return { eta: positive(read, 'eta', 0, own), gamma: notNegative(read, 'gamma', 0.55, own) };
}

export interface Ema {
  readonly momentum: number;
  readonly overwriteFrequency: number | undefined;
}

export function readEma(o: Options, type: string): Ema | undefined {
  const used = flag(o, 'useEma', type);
  const momentum = number(o, 'emaMomentum', 0.99, type, 'a number from 0 to 1', (v) => v >= 0 && v <= 1);
  const overwriteFrequency =
    o['emaOverwriteFrequency'] === undefined
      ? undefined
      : number(o, 'emaOverwriteFrequency', 1, type, 'a whole number of updates, 1 or more', isCount(1));
  return used ? { momentum, overwriteFrequency } : undefined;
}

export function readAccumulation(o: Options, type: string): number {
  if (o['gradientAccumulationSteps'] === undefined) return 1;
  return number(o, 'gradientAccumulationSteps', 1, type, 'a whole number of steps, 2 or more', isCount(2));
}

const isCount = (least: number) => (v: number) => Number.isSafeInteger(v) && v >= least;
