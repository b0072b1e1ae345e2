import { ANY, type Harmless, readConfig, readSpec, type SpecConfig } from '../config';
import { DeepRnnError, quoted, refuse } from '../errors';
import { resolveName } from '../names';
import type { ClipMode, OptimizerKind } from '../plan/codes';
import { HYPER_SIZE } from '../plan/ops/update';
import type { UpdateAttrs } from '../plan/types';
import { resolveSchedule, type Schedule } from './schedules';

/** How gradients change the weights. The rules are in docs/plan.md, "Updating". */
export interface Optimizer {
  readonly type: OptimizerName;
  /** A number, or a schedule over training steps. */
  learningRate: number | Schedule;
  /** Arrays kept per weight, in the engine's slot order; null where the engine's slot is not used. */
  readonly slots: readonly ({ readonly name: string; readonly initial: number } | null)[];
  readonly clip: { readonly mode: ClipMode; readonly limit: number };
  /** The learning rate at a step, counted from 0. */
  rate(step: number): number;
  /** The numbers that change from step to step, as the `update` op wants them. */
  hyper(step: number): Float64Array;
  updateAttrs(decay: readonly boolean[]): UpdateAttrs;
  getConfig(): Record<string, unknown>;
}

export interface OptimizerOptions {
  learningRate?: number | Schedule | SpecConfig;
  /** Limit on every gradient element. At most one of the three clips. */
  clipValue?: number;
  /** Limit on the L2 norm of every weight's gradient. */
  clipNorm?: number;
  /** Limit on the L2 norm over all gradients (Pascanu et al., 2013). */
  globalClipNorm?: number;
  /** Decoupled weight decay (Loshchilov & Hutter, 2019): p ← p − learningRate·weightDecay·p; biases are left alone. */
  weightDecay?: number;
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

/** What distinguishes one optimizer from another. */
interface Rule {
  readonly kind: OptimizerKind;
  readonly flag: boolean;
  readonly constants: readonly number[];
  readonly slots: Optimizer['slots'];
  /** hyper[1…] at a step; hyper[0] is the rate. */
  coefficients(step: number, rate: number): number[];
}

const commonOptions = ['learningRate', 'clipValue', 'clipNorm', 'globalClipNorm', 'weightDecay'] as const;

type Options = Partial<Record<string, unknown>>;

/** The options, also in Keras's spellings (`clipnorm`, `global_clipnorm`, `beta_1`); null stands for not given. */
function readOptions(type: string, given: unknown, own: readonly string[]): Options {
  const read = readConfig<string>(given, [...commonOptions, ...own], `optimizers.${type}`);
  return Object.fromEntries(Object.entries(read).filter(([, value]) => value !== null));
}

function number(
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

const share = (o: Options, key: string, fallback: number, type: string) =>
  number(o, key, fallback, type, 'a number from 0 to below 1', (v) => v >= 0 && v < 1);
const positive = (o: Options, key: string, fallback: number, type: string) =>
  number(o, key, fallback, type, 'a finite number above 0', (v) => v > 0);
const notNegative = (o: Options, key: string, fallback: number, type: string) =>
  number(o, key, fallback, type, 'a finite number, 0 or more', (v) => v >= 0);

function flag(o: Options, key: string, type: string): boolean {
  const value = o[key] ?? false;
  if (typeof value !== 'boolean')
    refuse('ERR_VALUE', `optimizers.${type}: ${key}`, 'true or false', quoted(value));
  return value as boolean;
}

function readClip(o: Options, type: string): Optimizer['clip'] {
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

function optimizer(
  type: OptimizerName,
  o: Options,
  defaultRate: number,
  config: Record<string, unknown>,
  rule: Rule,
): Optimizer {
  const given = o['learningRate'] ?? defaultRate;
  const learningRate =
    typeof given === 'number'
      ? notNegative({ learningRate: given }, 'learningRate', defaultRate, type)
      : resolveSchedule(given, `optimizers.${type}: learningRate`);
  const clip = readClip(o, type);
  return {
    type,
    learningRate,
    slots: rule.slots,
    clip,
    rate(step) {
      return typeof this.learningRate === 'number' ? this.learningRate : this.learningRate.at(step);
    },
    hyper(step) {
      const rate = this.rate(step);
      const values = new Float64Array(HYPER_SIZE);
      values.set([rate, ...rule.coefficients(step, rate)]);
      return values;
    },
    updateAttrs: (decay) => ({
      kind: rule.kind,
      clip,
      flag: rule.flag,
      constants: rule.constants,
      decay: [...decay],
    }),
    getConfig() {
      const clips = {
        none: {},
        value: { clipValue: clip.limit },
        norm: { clipNorm: clip.limit },
        globalNorm: { globalClipNorm: clip.limit },
      };
      const rate = typeof this.learningRate === 'number' ? this.learningRate : this.learningRate.getConfig();
      return { type, learningRate: rate, ...config, ...clips[clip.mode] };
    },
  };
}

function adamLike(type: 'adam' | 'adamw', options: AdamOptions, defaultDecay: number): Optimizer {
  const o = readOptions(type, options, ['beta1', 'beta2', 'epsilon', 'amsgrad']);
  const beta1 = share(o, 'beta1', 0.9, type);
  const beta2 = share(o, 'beta2', 0.999, type);
  const epsilon = positive(o, 'epsilon', 1e-7, type);
  const weightDecay = notNegative(o, 'weightDecay', defaultDecay, type);
  const amsgrad = flag(o, 'amsgrad', type);
  const slots = ['m', 'v', ...(amsgrad ? ['vMax'] : [])].map((name) => ({ name, initial: 0 }));
  return optimizer(
    type,
    o,
    0.001,
    { beta1, beta2, epsilon, amsgrad, weightDecay },
    {
      kind: 'adam',
      flag: amsgrad,
      constants: [beta1, beta2, epsilon, weightDecay],
      slots,
      coefficients: (step, rate) => [(rate * Math.sqrt(1 - beta2 ** (step + 1))) / (1 - beta1 ** (step + 1))],
    },
  );
}

/** Dozat (2016): u_t = beta1 (1 − ½·0.96^t), t counted from 1. */
const nadamMomentum = (beta1: number, t: number) => beta1 * (1 - 0.5 * 0.96 ** t);

export const optimizers = {
  /** Stochastic gradient descent, with momentum (Nesterov's where asked). Default learning rate 0.01. */
  sgd: (options: SgdOptions = {}): Optimizer => {
    const o = readOptions('sgd', options, ['momentum', 'nesterov']);
    const momentum = number(o, 'momentum', 0, 'sgd', 'a number from 0 to 1', (v) => v >= 0 && v <= 1);
    const nesterov = flag(o, 'nesterov', 'sgd');
    const weightDecay = notNegative(o, 'weightDecay', 0, 'sgd');
    return optimizer(
      'sgd',
      o,
      0.01,
      { momentum, nesterov, weightDecay },
      {
        kind: 'sgd',
        flag: nesterov,
        constants: [momentum, weightDecay],
        slots: momentum > 0 ? [{ name: 'momentum', initial: 0 }] : [],
        coefficients: () => [],
      },
    );
  },
  /** Tieleman & Hinton (2012). Default learning rate 0.001. */
  rmsprop: (options: RmspropOptions = {}): Optimizer => {
    const o = readOptions('rmsprop', options, ['rho', 'momentum', 'epsilon', 'centered']);
    const rho = share(o, 'rho', 0.9, 'rmsprop');
    const momentum = share(o, 'momentum', 0, 'rmsprop');
    const epsilon = positive(o, 'epsilon', 1e-7, 'rmsprop');
    const centered = flag(o, 'centered', 'rmsprop');
    const weightDecay = notNegative(o, 'weightDecay', 0, 'rmsprop');
    const slot = (name: string, used: boolean) => (used ? { name, initial: 0 } : null);
    return optimizer(
      'rmsprop',
      o,
      0.001,
      { rho, momentum, epsilon, centered, weightDecay },
      {
        kind: 'rmsprop',
        flag: centered,
        constants: [rho, momentum, epsilon, weightDecay],
        slots: [slot('velocity', true), slot('average', centered), slot('momentum', momentum > 0)],
        coefficients: () => [],
      },
    );
  },
  /** Kingma & Ba (2015), with the bias correction in the step size as in their section 2. Default learning rate 0.001. */
  adam: (options: AdamOptions = {}): Optimizer => adamLike('adam', options, 0),
  /** Adam with decoupled weight decay (Loshchilov & Hutter, 2019), default 0.004. */
  adamw: (options: AdamOptions = {}): Optimizer => adamLike('adamw', options, 0.004),
  /** Duchi et al. (2011). Default learning rate 0.001. */
  adagrad: (options: AdagradOptions = {}): Optimizer => {
    const o = readOptions('adagrad', options, ['initialAccumulatorValue', 'epsilon']);
    const initialAccumulatorValue = notNegative(o, 'initialAccumulatorValue', 0.1, 'adagrad');
    const epsilon = positive(o, 'epsilon', 1e-7, 'adagrad');
    const weightDecay = notNegative(o, 'weightDecay', 0, 'adagrad');
    return optimizer(
      'adagrad',
      o,
      0.001,
      { initialAccumulatorValue, epsilon, weightDecay },
      {
        kind: 'adagrad',
        flag: false,
        constants: [epsilon, weightDecay],
        slots: [{ name: 'accumulator', initial: initialAccumulatorValue }],
        coefficients: () => [],
      },
    );
  },
  /** Adam with Nesterov momentum (Dozat, 2016). Default learning rate 0.001. */
  nadam: (options: Omit<AdamOptions, 'amsgrad'> = {}): Optimizer => {
    const o = readOptions('nadam', options, ['beta1', 'beta2', 'epsilon']);
    const beta1 = share(o, 'beta1', 0.9, 'nadam');
    const beta2 = share(o, 'beta2', 0.999, 'nadam');
    const epsilon = positive(o, 'epsilon', 1e-7, 'nadam');
    const weightDecay = notNegative(o, 'weightDecay', 0, 'nadam');
    // Π u_i up to t, kept from call to call; counted anew when training was resumed elsewhere.
    let known = { t: 0, product: 1 };
    const productTo = (t: number): number => {
      if (t < known.t) known = { t: 0, product: 1 };
      let { t: i, product } = known;
      while (i < t) product *= nadamMomentum(beta1, ++i);
      known = { t, product };
      return product;
    };
    return optimizer(
      'nadam',
      o,
      0.001,
      { beta1, beta2, epsilon, weightDecay },
      {
        kind: 'nadam',
        flag: false,
        constants: [beta1, beta2, epsilon, weightDecay],
        slots: [
          { name: 'm', initial: 0 },
          { name: 'v', initial: 0 },
        ],
        coefficients: (step) => {
          const t = step + 1;
          const [now, next] = [nadamMomentum(beta1, t), nadamMomentum(beta1, t + 1)];
          const product = productTo(t);
          return [next / (1 - product * next), (1 - now) / (1 - product), 1 / (1 - beta2 ** t)];
        },
      },
    );
  },
};

export type OptimizerName = 'sgd' | 'rmsprop' | 'adam' | 'adamw' | 'adagrad' | 'nadam';
export type OptimizerSpec = OptimizerName | (string & {}) | Optimizer | SpecConfig;

const kerasOptions: Harmless = {
  name: ANY,
  useEma: [false],
  emaMomentum: ANY,
  emaOverwriteFrequency: ANY,
  jitCompile: ANY,
  isLegacyOptimizer: ANY,
  decay: [0],
};

/** An optimizer from its name, its configuration `{ type, … }` or Keras's, or itself. */
export function resolveOptimizer(spec: unknown, subject = 'compile: optimizer'): Optimizer {
  if (typeof spec === 'object' && spec !== null && typeof (spec as Optimizer).hyper === 'function')
    return spec as Optimizer;
  const { type, options } = readSpec(spec, subject, kerasOptions);
  return optimizers[resolveName(type, Object.keys(optimizers) as OptimizerName[], subject)](options);
}
