import { flagOption, readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { ABSENT, type ValueId } from '../plan/types';
import type { ConstraintSpec } from './constraints';
import type { InitializerSpec } from './initializers';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  shownInput,
} from './layer';
import { commonOptions, subjectOf } from './options';
import type { RegularizerSpec } from './regularizers';
import { readWeightOptions, type WeightOptions, weightConfigs, weightOptionNames } from './weightOptions';

export interface LayerNormalizationConfig extends LayerConfig {
  /** The axis to normalize along, which has to be the last. Default −1. */
  axis?: number | readonly number[];
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
  betaRegularizer?: RegularizerSpec;
  gammaRegularizer?: RegularizerSpec;
  betaConstraint?: ConstraintSpec;
  gammaConstraint?: ConstraintSpec;
}

const options = [
  ...commonOptions,
  'axis',
  'epsilon',
  'center',
  'scale',
  ...weightOptionNames('beta', 'gamma'),
] as const;

/**
 * `gamma · (x − mean) / √(variance + epsilon) + beta`, mean and variance over the features of each row (Ba, Kiros & Hinton, 2016).
 * `[N, D]` or `[N, T, D]`, as it came. gamma and beta `[D]`.
 */
export class LayerNormalization extends Layer {
  readonly type = 'layerNormalization';
  readonly axis: number;
  readonly epsilon: number;
  private readonly center: boolean;
  private readonly scale: boolean;
  private readonly of: Record<'gamma' | 'beta', WeightOptions>;

  constructor(config: LayerNormalizationConfig = {}) {
    const subject = subjectOf('layerNormalization', config);
    const o = readConfig(config, options, subject);
    super('layerNormalization', o as LayerConfig);
    const given = o.axis ?? -1;
    const axis = Array.isArray(given) && given.length === 1 ? given[0] : given;
    if (!Number.isSafeInteger(axis) || !(axis === -1 || axis > 0))
      refuse('ERR_VALUE', `${subject}: axis`, '-1 or the number of the last axis', quoted(given));
    this.axis = axis as number;
    const epsilon = o.epsilon ?? 1e-3;
    if (typeof epsilon !== 'number' || !(epsilon > 0 && Number.isFinite(epsilon)))
      refuse('ERR_VALUE', `${subject}: epsilon`, 'a finite number above 0', quoted(epsilon));
    this.epsilon = epsilon as number;
    this.center = flagOption(o.center, true, `${subject}: center`);
    this.scale = flagOption(o.scale, true, `${subject}: scale`);
    this.of = readWeightOptions(o, { gamma: 'ones', beta: 'zeros' }, subject);
  }

  override get rowwise(): boolean {
    return true;
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    const features = input.shape.at(-1);
    const [gamma] = this.weights;
    if (input.dtype !== 'real' || typeof features !== 'number')
      refuse('ERR_SHAPE', this.subject, 'a known number of features [N, D] or [N, T, D]', shownInput(input));
    if (gamma && gamma.shape[0] !== features)
      refuse('ERR_SHAPE', this.subject, `${gamma.shape[0]} features`, features);
    if (this.axis !== -1 && this.axis !== input.shape.length) {
      const got = `axis ${this.axis} of ${shownInput(input)}`;
      refuse('ERR_SHAPE', this.subject, `the last axis, ${input.shape.length} or -1`, got);
    }
    return input;
  }

  override build(input: SymbolicShape): void {
    const features = this.outputShape(input).shape.at(-1) as number;
    this.weights = (['gamma', 'beta'] as const)
      .filter((name) => (name === 'gamma' ? this.scale : this.center))
      .map((name) => ({ name, shape: [features], ...this.of[name], decay: false }));
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    const gamma = this.scale ? context.weight(this, 'gamma') : ABSENT;
    const beta = this.center ? context.weight(this, 'beta') : ABSENT;
    const attrs = { epsilon: this.epsilon };
    const [id] = context.builder.emit('layerNorm', [input.id, gamma, beta], attrs, this.subject) as [ValueId];
    return { ...input, id };
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...super.getConfig(),
      axis: this.axis,
      epsilon: this.epsilon,
      center: this.center,
      scale: this.scale,
      ...weightConfigs(this.of),
    };
  }
}
