import { flagOption, readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { ABSENT } from '../plan/types';
import { type Constraint, type ConstraintSpec, resolveConstraint } from './constraints';
import { type Initializer, type InitializerSpec, resolveInitializer } from './initializers';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  shownInput,
} from './layer';
import { commonOptions, subjectOf } from './options';
import { configs } from './recurrent';
import { type Regularizer, type RegularizerSpec, resolveRegularizer } from './regularizers';

export interface BatchNormalizationConfig extends LayerConfig {
  /** The axis of the features, which has to be the last. Default −1. */
  axis?: number | readonly number[];
  /** How much of the moving statistics a training step leaves as it was. Default 0.99. */
  momentum?: number;
  /** Added to the variance. Default 0.001. */
  epsilon?: number;
  /** Whether beta is added. Default true. */
  center?: boolean;
  /** Whether gamma is multiplied by. Default true. */
  scale?: boolean;
  /** Default `'zeros'`. */
  betaInitializer?: InitializerSpec;
  /** Default `'ones'`. */
  gammaInitializer?: InitializerSpec;
  /** Default `'zeros'`. */
  movingMeanInitializer?: InitializerSpec;
  /** Default `'ones'`. */
  movingVarianceInitializer?: InitializerSpec;
  betaRegularizer?: RegularizerSpec;
  gammaRegularizer?: RegularizerSpec;
  betaConstraint?: ConstraintSpec;
  gammaConstraint?: ConstraintSpec;
}

const options = [
  ...commonOptions,
  'axis',
  'momentum',
  'epsilon',
  'center',
  'scale',
  'betaInitializer',
  'gammaInitializer',
  'movingMeanInitializer',
  'movingVarianceInitializer',
  'betaRegularizer',
  'gammaRegularizer',
  'betaConstraint',
  'gammaConstraint',
] as const;

/** The layer's vectors, with their usual first values. */
const vectorNames = { gamma: 'ones', beta: 'zeros', movingMean: 'zeros', movingVariance: 'ones' } as const;
type VectorName = keyof typeof vectorNames;

interface Vector {
  readonly name: VectorName;
  readonly initializer: Initializer;
  readonly regularizer: Regularizer | undefined;
  readonly constraint: Constraint | undefined;
  /** The moving statistics follow the data, not the gradient. */
  readonly trainable: boolean;
}

/**
 * `gamma · (x − mean) / √(variance + epsilon) + beta`, feature by feature (Ioffe & Szegedy, 2015). `[N, D]` or `[N, T, D]`, as it came;
 * gamma, beta, movingMean, movingVariance `[D]`. In training mean and variance are those of the batch, over all its steps that count, and
 * the moving statistics go towards them; predictions and evaluations, and a layer with `trainable: false` also in training, use the moving ones.
 */
export class BatchNormalization extends Layer {
  readonly type = 'batchNormalization';
  readonly axis: number;
  readonly momentum: number;
  readonly epsilon: number;
  private readonly center: boolean;
  private readonly scale: boolean;
  private readonly vectors: readonly Vector[];

  constructor(config: BatchNormalizationConfig = {}) {
    const subject = subjectOf('batchNormalization', config);
    const o = readConfig(config, options, subject);
    super('batchNormalization', o as LayerConfig);
    const given = o.axis ?? -1;
    const axis = Array.isArray(given) && given.length === 1 ? given[0] : given;
    if (!Number.isSafeInteger(axis) || !(axis === -1 || axis > 0))
      refuse('ERR_VALUE', `${subject}: axis`, '-1 or the number of the last axis', quoted(given));
    this.axis = axis as number;
    const momentum = o.momentum ?? 0.99;
    if (typeof momentum !== 'number' || !(momentum >= 0 && momentum <= 1))
      refuse('ERR_VALUE', `${subject}: momentum`, 'a number from 0 to 1', quoted(momentum));
    this.momentum = momentum as number;
    const epsilon = o.epsilon ?? 1e-3;
    if (typeof epsilon !== 'number' || !(epsilon > 0 && Number.isFinite(epsilon)))
      refuse('ERR_VALUE', `${subject}: epsilon`, 'a finite number above 0', quoted(epsilon));
    this.epsilon = epsilon as number;
    this.center = flagOption(o.center, true, `${subject}: center`);
    this.scale = flagOption(o.scale, true, `${subject}: scale`);
    const part = <P>(resolve: (spec: unknown, subject: string) => P, key: string, fallback?: string) =>
      resolve((o as Record<string, unknown>)[key] ?? fallback, `${subject}: ${key}`);
    this.vectors = (Object.keys(vectorNames) as VectorName[]).map((name) => {
      const trainable = name === 'gamma' || name === 'beta';
      return {
        name,
        initializer: part(resolveInitializer, `${name}Initializer`, vectorNames[name]),
        regularizer: trainable ? part(resolveRegularizer, `${name}Regularizer`) : undefined,
        constraint: trainable ? part(resolveConstraint, `${name}Constraint`) : undefined,
        trainable,
      };
    });
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    const features = input.shape.at(-1);
    const [known] = this.weights;
    if (input.dtype !== 'real' || typeof features !== 'number')
      refuse('ERR_SHAPE', this.subject, 'a known number of features [N, D] or [N, T, D]', shownInput(input));
    if (known && known.shape[0] !== features)
      refuse('ERR_SHAPE', this.subject, `${known.shape[0]} features`, features);
    if (this.axis !== -1 && this.axis !== input.shape.length) {
      const got = `axis ${this.axis} of ${shownInput(input)}`;
      refuse('ERR_SHAPE', this.subject, `the last axis, ${input.shape.length} or -1`, got);
    }
    return input;
  }

  override build(input: SymbolicShape): void {
    const features = this.outputShape(input).shape.at(-1) as number;
    const absent = new Set<VectorName>();
    if (!this.scale) absent.add('gamma');
    if (!this.center) absent.add('beta');
    this.weights = this.vectors
      .filter(({ name }) => !absent.has(name))
      .map((vector) => ({ ...vector, shape: [features], decay: false }));
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    const training = context.training && this.trainable;
    const gamma = this.scale ? context.weight(this, 'gamma') : ABSENT;
    const beta = this.center ? context.weight(this, 'beta') : ABSENT;
    const moving = ['movingMean', 'movingVariance'].map((name) => context.weight(this, name));
    const [id, movedMean, movedVariance] = context.builder.emit(
      'batchNorm',
      [input.id, training ? (input.mask ?? ABSENT) : ABSENT, gamma, beta, ...moving],
      { training, epsilon: this.epsilon, momentum: this.momentum },
      this.subject,
      [true, training, training],
    ) as [number, number, number];
    if (training) {
      context.becomes(this, 'movingMean', movedMean);
      context.becomes(this, 'movingVariance', movedVariance);
    }
    return { ...input, id };
  }

  override getConfig(): Record<string, unknown> {
    const of = Object.fromEntries(this.vectors.map((vector) => [vector.name, vector])) as Record<
      VectorName,
      Vector
    >;
    return {
      ...super.getConfig(),
      axis: this.axis,
      momentum: this.momentum,
      epsilon: this.epsilon,
      center: this.center,
      scale: this.scale,
      betaInitializer: of.beta.initializer.getConfig(),
      gammaInitializer: of.gamma.initializer.getConfig(),
      movingMeanInitializer: of.movingMean.initializer.getConfig(),
      movingVarianceInitializer: of.movingVariance.initializer.getConfig(),
      ...configs({
        betaRegularizer: of.beta.regularizer,
        gammaRegularizer: of.gamma.regularizer,
        betaConstraint: of.beta.constraint,
        gammaConstraint: of.gamma.constraint,
      }),
    };
  }
}
