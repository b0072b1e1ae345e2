import { flagOption, readConfig } from '../config';
import { refuse } from '../errors';
import type { ActivationSpec } from '../ops/activations';
import { ABSENT, type ValueId } from '../plan/types';
import { type Constraint, type ConstraintSpec, resolveConstraint } from './constraints';
import { type Initializer, type InitializerSpec, resolveInitializer } from './initializers';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  type WeightSpec,
} from './layer';
import {
  emitActivation,
  type LayerActivation,
  layerActivationConfig,
  resolveLayerActivation,
  widthAfter,
} from './layerActivation';
import { commonOptions, countOption, subjectOf } from './options';
import { configs } from './recurrent';
import { type Regularizer, type RegularizerSpec, resolveRegularizer } from './regularizers';

export interface DenseConfig extends LayerConfig {
  units: number;
  /** Default linear. `'glu'` halves the units that are given out. */
  activation?: ActivationSpec;
  /** Default true. */
  useBias?: boolean;
  /** Default `'glorotUniform'`. */
  kernelInitializer?: InitializerSpec;
  /** Default `'zeros'`. */
  biasInitializer?: InitializerSpec;
  kernelRegularizer?: RegularizerSpec;
  biasRegularizer?: RegularizerSpec;
  /** On the output, divided by the batch size. */
  activityRegularizer?: RegularizerSpec;
  kernelConstraint?: ConstraintSpec;
  biasConstraint?: ConstraintSpec;
}

const denseOptions = [
  ...commonOptions,
  'units',
  'activation',
  'useBias',
  'kernelInitializer',
  'biasInitializer',
  'kernelRegularizer',
  'biasRegularizer',
  'activityRegularizer',
  'kernelConstraint',
  'biasConstraint',
] as const;

/**
 * `activation(x·kernel + bias)` on the last axis: `[N, D]` → `[N, units]`, `[N, T, D]` → `[N, T, units]`.
 * kernel `[D, units]`, bias `[units]`.
 */
export class Dense extends Layer {
  readonly type = 'dense';
  readonly units: number;
  private readonly activation: LayerActivation;
  /** Columns of the output. */
  private readonly width: number;
  private readonly useBias: boolean;
  private readonly initializers: Record<'kernel' | 'bias', Initializer>;
  private readonly regularizers: Record<'kernel' | 'bias' | 'activity', Regularizer | undefined>;
  private readonly constraints: Record<'kernel' | 'bias', Constraint | undefined>;

  constructor(config: DenseConfig) {
    const subject = subjectOf('dense', config);
    const o = readConfig(config, denseOptions, subject);
    super('dense', o as LayerConfig);
    this.units = countOption(o.units, `${subject}: units`);
    this.activation = resolveLayerActivation(o.activation, `${subject}: activation`);
    this.width = widthAfter(this.activation, this.units, `${subject}: units`);
    this.useBias = flagOption(o.useBias, true, `${subject}: useBias`);
    this.initializers = {
      kernel: resolveInitializer(o.kernelInitializer ?? 'glorotUniform', `${subject}: kernelInitializer`),
      bias: resolveInitializer(o.biasInitializer ?? 'zeros', `${subject}: biasInitializer`),
    };
    this.regularizers = {
      kernel: resolveRegularizer(o.kernelRegularizer, `${subject}: kernelRegularizer`),
      bias: resolveRegularizer(o.biasRegularizer, `${subject}: biasRegularizer`),
      activity: resolveRegularizer(o.activityRegularizer, `${subject}: activityRegularizer`),
    };
    this.constraints = {
      kernel: resolveConstraint(o.kernelConstraint, `${subject}: kernelConstraint`),
      bias: resolveConstraint(o.biasConstraint, `${subject}: biasConstraint`),
    };
  }

  private inputSize: number | undefined;

  override get rowwise(): boolean {
    return true;
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    const features = input.shape[input.shape.length - 1];
    if (input.dtype !== 'real' || input.shape.length < 1) {
      refuse(
        'ERR_SHAPE',
        this.subject,
        'features [N, D] or a sequence [N, T, D]',
        input.dtype === 'int32' ? 'ids' : '[N]',
        input.dtype === 'int32' ? 'Put an embedding layer below.' : undefined,
      );
    }
    if (typeof features !== 'number')
      refuse('ERR_SHAPE', this.subject, 'a known number of features', '[…, any]');
    if (this.inputSize !== undefined && this.inputSize !== features) {
      refuse('ERR_SHAPE', this.subject, `${this.inputSize} features`, `${features}`);
    }
    return { ...input, shape: [...input.shape.slice(0, -1), this.width] };
  }

  override build(input: SymbolicShape): void {
    this.outputShape(input);
    const features = input.shape[input.shape.length - 1] as number;
    this.inputSize = features;
    const weights: WeightSpec[] = [
      {
        name: 'kernel',
        shape: [features, this.units],
        initializer: this.initializers.kernel,
        regularizer: this.regularizers.kernel,
        constraint: this.constraints.kernel,
      },
    ];
    if (this.useBias) {
      weights.push({
        name: 'bias',
        shape: [this.units],
        initializer: this.initializers.bias,
        regularizer: this.regularizers.bias,
        constraint: this.constraints.bias,
        decay: false,
      });
    }
    this.weights = weights;
  }

  override unbuild(): void {
    super.unbuild();
    this.inputSize = undefined;
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    const { builder } = context;
    const bias = this.useBias ? context.weight(this, 'bias') : ABSENT;
    let [id] = builder.emit('dense', [input.id, context.weight(this, 'kernel'), bias], {}, this.subject) as [
      ValueId,
    ];
    if (this.activation === 'glu' || this.activation.kind !== 'linear')
      id = emitActivation(builder, this.activation, id, this.subject);
    const { activity } = this.regularizers;
    if (activity) {
      const attrs = { l1: activity.l1, l2: activity.l2, scale: 1 / context.batch };
      context.addLoss(
        builder.emit('penalty', [id], attrs, `${this.subject}: activity regularizer`)[0] as ValueId,
      );
    }
    return { ...input, id, shape: [...input.shape.slice(0, -1), this.width] };
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...super.getConfig(),
      units: this.units,
      activation: layerActivationConfig(this.activation),
      useBias: this.useBias,
      kernelInitializer: this.initializers.kernel.getConfig(),
      biasInitializer: this.initializers.bias.getConfig(),
      ...configs({
        kernelRegularizer: this.regularizers.kernel,
        biasRegularizer: this.regularizers.bias,
        activityRegularizer: this.regularizers.activity,
        kernelConstraint: this.constraints.kernel,
        biasConstraint: this.constraints.bias,
      }),
    };
  }
}
