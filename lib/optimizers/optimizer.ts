import { ANY, type Harmless, readSpec, type SpecConfig } from '../config';
import { resolveName } from '../names';
import type { OptimizerKind } from '../plan/codes';
import { HYPER_SIZE, hyperPlaces } from '../plan/ops/update';
import type { UpdateAttrs } from '../plan/types';
import {
  type AdadeltaOptions,
  type AdafactorOptions,
  type AdagradOptions,
  type AdamaxOptions,
  type AdamOptions,
  type Clip,
  type Ema,
  type FtrlOptions,
  flag,
  type GradientNoise,
  type LionOptions,
  notNegative,
  notPositive,
  number,
  type Options,
  positive,
  type RmspropOptions,
  readAccumulation,
  readClip,
  readEma,
  readGradientNoise,
  readOptions,
  type SgdOptions,
  share,
} from './options';
import { type Group, groupConfigs, readParamGroups } from './paramGroups';
import { resolveSchedule, type Schedule } from './schedules';

/** How gradients change the weights. The rules are in docs/plan.md, "Updating". */
export interface Optimizer {
  readonly type: OptimizerName;
  /** A number, or a schedule over training steps. */
  learningRate: number | Schedule;
  /** Arrays kept per weight, in the engine's slot order; null where the engine's slot is not used. */
  readonly slots: readonly ({ readonly name: string; readonly initial: number } | null)[];
  readonly clip: Clip;
  /** Steps to an update, which takes the mean of their gradients. */
  readonly gradientAccumulationSteps: number;
  /** How weights are averaged; undefined where they are not. */
  readonly ema: Ema | undefined;
  /** The learning rate at a step, counted from 0. */
  rate(step: number): number;
  /** The numbers that change from step to step, as the `update` op wants them. */
  hyper(step: number): Float64Array;
  /** Weights with a learning rate or a weight decay of their own. */
  readonly paramGroups: readonly Group[];
  /** Whether weights decay that a weight decay leaves alone otherwise: biases and the like. */
  readonly decayBiases: boolean;
  /** What is added to gradients; undefined where nothing is. */
  readonly gradientNoise: GradientNoise | undefined;
  /** @param decay whether each parameter decays  @param names their names, by which groups know them */
  updateAttrs(decay: readonly boolean[], names?: readonly string[]): UpdateAttrs;
  getConfig(): Record<string, unknown>;
}

/** What distinguishes one optimizer from another. */
interface Rule {
  readonly kind: OptimizerKind;
  readonly flag: boolean;
  readonly constants: readonly number[];
  readonly slots: Optimizer['slots'];
  /** hyper[1…] where `step` updates have been made; hyper[0] is the rate. */
  coefficients(step: number, rate: number): number[];
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
  const ema = readEma(o, type);
  const gradientAccumulationSteps = readAccumulation(o, type);
  const paramGroups = readParamGroups(o['paramGroups'], type);
  const gradientNoise = readGradientNoise(o, type);
  const decayBiases = flag(o, 'decayBiases', type);
  const weightDecay = config['weightDecay'] as number;
  return {
    type,
    learningRate,
    slots: rule.slots,
    clip,
    gradientAccumulationSteps,
    ema,
    paramGroups,
    decayBiases,
    gradientNoise,
    rate(step) {
      return typeof this.learningRate === 'number' ? this.learningRate : this.learningRate.at(step);
    },
    hyper(step) {
      const rate = this.rate(step);
      const updates = Math.floor(step / gradientAccumulationSteps);
      const summed = (step % gradientAccumulationSteps) + 1;
      const values = new Float64Array(HYPER_SIZE);
      values.set([rate, ...rule.coefficients(updates, rate)]);
      values[hyperPlaces.share] = 1 / summed;
      values[hyperPlaces.apply] = Number(summed === gradientAccumulationSteps);
      if (ema) {
        const { momentum, overwriteFrequency } = ema;
        values[hyperPlaces.averageMomentum] = updates === 0 ? 0 : momentum;
        values[hyperPlaces.overwrite] = Number(
          overwriteFrequency !== undefined && (updates + 1) % overwriteFrequency === 0,
        );
      }
      return values;
    },
    updateAttrs(decay, names = []) {
      const groups = decay.map((_, p) => paramGroups.find(({ matches }) => matches(names[p] ?? '')));
      return {
        kind: rule.kind,
        clip,
        flag: rule.flag,
        constants: rule.constants,
        decay: decay.map((decays, p) => groups[p]?.weightDecay ?? (decays || decayBiases ? weightDecay : 0)),
        rateFactors:
          paramGroups.length > 0 ? groups.map((group) => group?.learningRateFactor ?? 1) : undefined,
      };
    },
    getConfig() {
      const clips = {
        none: {},
        value: { clipValue: clip.limit },
        norm: { clipNorm: clip.limit },
        globalNorm: { globalClipNorm: clip.limit },
      };
      const rate = typeof this.learningRate === 'number' ? this.learningRate : this.learningRate.getConfig();
      const overwrites = ema?.overwriteFrequency;
      return {
        type,
        learningRate: rate,
        ...config,
        ...clips[clip.mode],
        // Only where they are used, so that checkpoints from before them can be resumed.
        ...(decayBiases ? { decayBiases } : {}),
        ...(gradientAccumulationSteps > 1 ? { gradientAccumulationSteps } : {}),
        ...(paramGroups.length > 0 ? { paramGroups: groupConfigs(paramGroups) } : {}),
        ...(gradientNoise ? { gradientNoise: { ...gradientNoise } } : {}),
        ...(ema ? { useEma: true, emaMomentum: ema.momentum } : {}),
        ...(overwrites === undefined ? {} : { emaOverwriteFrequency: overwrites }),
      };
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
  const slots = zeros('m', 'v', ...(amsgrad ? ['vMax'] : []));
  return optimizer(
    type,
    o,
    0.001,
    { beta1, beta2, epsilon, amsgrad, weightDecay },
    {
      kind: 'adam',
      flag: amsgrad,
      constants: [beta1, beta2, epsilon],
      slots,
      coefficients: (step, rate) => [(rate * Math.sqrt(1 - beta2 ** (step + 1))) / (1 - beta1 ** (step + 1))],
    },
  );
}

const zeros = (...names: string[]) => names.map((name) => ({ name, initial: 0 }));

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
        constants: [momentum],
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
        constants: [rho, momentum, epsilon],
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
        constants: [epsilon],
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
        constants: [beta1, beta2, epsilon],
        slots: zeros('m', 'v'),
        coefficients: (step) => {
          const t = step + 1;
          const [now, next] = [nadamMomentum(beta1, t), nadamMomentum(beta1, t + 1)];
          const product = productTo(t);
          return [next / (1 - product * next), (1 - now) / (1 - product), 1 / (1 - beta2 ** t)];
        },
      },
    );
  },
  /** Adam with the infinity norm (Kingma & Ba, 2015, section 7.1). Default learning rate 0.001. */
  adamax: (options: AdamaxOptions = {}): Optimizer => {
    const o = readOptions('adamax', options, ['beta1', 'beta2', 'epsilon']);
    const beta1 = share(o, 'beta1', 0.9, 'adamax');
    const beta2 = share(o, 'beta2', 0.999, 'adamax');
    const epsilon = positive(o, 'epsilon', 1e-7, 'adamax');
    const weightDecay = notNegative(o, 'weightDecay', 0, 'adamax');
    return optimizer(
      'adamax',
      o,
      0.001,
      { beta1, beta2, epsilon, weightDecay },
      {
        kind: 'adamax',
        flag: false,
        constants: [beta1, beta2, epsilon],
        slots: zeros('m', 'norm'),
        coefficients: (step, rate) => [rate / (1 - beta1 ** (step + 1))],
      },
    );
  },
  /** The sign of a momentum (Chen et al., 2023). Default learning rate 0.001. */
  lion: (options: LionOptions = {}): Optimizer => {
    const o = readOptions('lion', options, ['beta1', 'beta2']);
    const beta1 = number(
      o,
      'beta1',
      0.9,
      'lion',
      'a number above 0, at most 1: with 0 only signs of gradients are left',
      (v) => v > 0 && v <= 1,
    );
    const beta2 = share(o, 'beta2', 0.99, 'lion');
    const weightDecay = notNegative(o, 'weightDecay', 0, 'lion');
    return optimizer(
      'lion',
      o,
      0.001,
      { beta1, beta2, weightDecay },
      {
        kind: 'lion',
        flag: false,
        constants: [beta1, beta2],
        slots: zeros('m'),
        coefficients: () => [],
      },
    );
  },
  /** Zeiler (2012). Default learning rate 0.001; the paper's is 1. */
  adadelta: (options: AdadeltaOptions = {}): Optimizer => {
    const o = readOptions('adadelta', options, ['rho', 'epsilon']);
    const rho = share(o, 'rho', 0.95, 'adadelta');
    const epsilon = positive(o, 'epsilon', 1e-7, 'adadelta');
    const weightDecay = notNegative(o, 'weightDecay', 0, 'adadelta');
    return optimizer(
      'adadelta',
      o,
      0.001,
      { rho, epsilon, weightDecay },
      {
        kind: 'adadelta',
        flag: false,
        constants: [rho, epsilon],
        slots: zeros('accumulatedGradient', 'accumulatedDelta'),
        coefficients: () => [],
      },
    );
  },
  /**
   * Shazeer & Stern (2018): second moments of a matrix are kept as means over its rows and its columns. Default learning rate 0.001,
   * relative to the root mean square of the weight.
   */
  adafactor: (options: AdafactorOptions = {}): Optimizer => {
    const own = ['beta2Decay', 'epsilon1', 'epsilon2', 'clipThreshold', 'relativeStep'];
    const o = readOptions('adafactor', options, own);
    const beta2Decay = notPositive(o, 'beta2Decay', -0.8, 'adafactor');
    const smallest = 'a finite number, 1e-36 or more';
    const epsilon1 = number(o, 'epsilon1', 1e-30, 'adafactor', smallest, (v) => v >= 1e-36);
    const epsilon2 = notNegative(o, 'epsilon2', 1e-3, 'adafactor');
    const clipThreshold = positive(o, 'clipThreshold', 1, 'adafactor');
    const relativeStep = flag(o, 'relativeStep', 'adafactor', true);
    const weightDecay = notNegative(o, 'weightDecay', 0, 'adafactor');
    return optimizer(
      'adafactor',
      o,
      0.001,
      { beta2Decay, epsilon1, epsilon2, clipThreshold, relativeStep, weightDecay },
      {
        kind: 'adafactor',
        flag: false,
        constants: [epsilon1, epsilon2, clipThreshold],
        slots: zeros('rows', 'columns', 'velocity'),
        coefficients: (step, rate) => [Math.min(rate, 1 / Math.sqrt(step + 1)), 1 - (step + 1) ** beta2Decay],
      },
    );
  },
  /** Follow the regularized leader (McMahan et al., 2013). Default learning rate 0.001. */
  ftrl: (options: FtrlOptions = {}): Optimizer => {
    const names = {
      l1: 'l1RegularizationStrength',
      l2: 'l2RegularizationStrength',
      shrinkage: 'l2ShrinkageRegularizationStrength',
    };
    const own = ['learningRatePower', 'initialAccumulatorValue', ...Object.values(names), 'beta'];
    const o = readOptions('ftrl', options, own);
    const learningRatePower = notPositive(o, 'learningRatePower', -0.5, 'ftrl');
    const initialAccumulatorValue = notNegative(o, 'initialAccumulatorValue', 0.1, 'ftrl');
    const l1 = notNegative(o, names.l1, 0, 'ftrl');
    const l2 = notNegative(o, names.l2, 0, 'ftrl');
    const shrinkage = notNegative(o, names.shrinkage, 0, 'ftrl');
    const beta = notNegative(o, 'beta', 0, 'ftrl');
    const weightDecay = notNegative(o, 'weightDecay', 0, 'ftrl');
    return optimizer(
      'ftrl',
      o,
      0.001,
      {
        learningRatePower,
        initialAccumulatorValue,
        [names.l1]: l1,
        [names.l2]: l2,
        [names.shrinkage]: shrinkage,
        beta,
        weightDecay,
      },
      {
        kind: 'ftrl',
        flag: false,
        constants: [learningRatePower, l1, l2, shrinkage, beta],
        slots: [
          { name: 'accumulator', initial: initialAccumulatorValue },
          { name: 'linear', initial: 0 },
        ],
        coefficients: () => [],
      },
    );
  },
};

export type OptimizerName =
  | 'sgd'
  | 'rmsprop'
  | 'adam'
  | 'adamw'
  | 'adagrad'
  | 'nadam'
  | 'adamax'
  | 'lion'
  | 'adadelta'
  | 'adafactor'
  | 'ftrl';
export type OptimizerSpec = OptimizerName | (string & {}) | Optimizer | SpecConfig;

const kerasOptions: Harmless = {
  name: ANY,
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
