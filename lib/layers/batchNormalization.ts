import { flagOption, readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { ABSENT } from '../plan/types';
import type { ConstraintSpec } from './constraints';
import type { InitializerSpec } from './initializers';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  shownInput,
  type WeightSpec,
} from './layer';
import { commonOptions, subjectOf } from './options';
import type { RegularizerSpec } from './regularizers';
import { readWeightOptions, type WeightOptions, weightConfigs, weightOptionNames } from './weightOptions';

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
  'movingMeanInitializer',
  'movingVarianceInitializer',
  ...weightOptionNames('beta', 'gamma'),
] as const;

const learned = { gamma: 'ones', beta: 'zeros' } as const;
/** They follow the data, not the gradient. */
const moving = { movingMean: 'zeros', movingVariance: 'ones' } as const;

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
  private readonly of: Record<keyof typeof learned, WeightOptions>;
  private readonly statistics: Record<keyof typeof moving, WeightOptions>;

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
    this.of = readWeightOptions(o, learned, subject);
    this.statistics = readWeightOptions(o, moving, subject);
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
    const vector = (name: string, options: WeightOptions, trainable: boolean): WeightSpec => ({
      name,
      shape: [features],
      ...options,
      decay: false,
      trainable,
    });
    const { gamma, beta } = this.of;
    this.weights = [
      ...(this.scale ? [vector('gamma', gamma, true)] : []),
      ...(this.center ? [vector('beta', beta, true)] : []),
      ...Object.entries(this.statistics).map(([name, options]) => vector(name, options, false)),
    ];
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    const training = context.training && this.trainable;
    const gamma = this.scale ? context.weight(this, 'gamma') : ABSENT;
    const beta = this.center ? context.weight(this, 'beta') : ABSENT;
    const statistics = Object.keys(moving).map((name) => context.weight(this, name));
    const [id, movedMean, movedVariance] = context.builder.emit(
      'batchNorm',
      [input.id, training ? (input.mask ?? ABSENT) : ABSENT, gamma, beta, ...statistics],
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
    return {
      ...super.getConfig(),
      axis: this.axis,
      momentum: this.momentum,
      epsilon: this.epsilon,
      center: this.center,
      scale: this.scale,
      ...weightConfigs(this.of),
      ...weightConfigs(this.statistics),
    };
  }
}
