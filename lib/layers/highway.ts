import { flagOption, readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { type ActivationSpec, activationConfig, resolveActivation } from '../ops/activations';
import { ABSENT, type ActivationAttrs, type ValueId } from '../plan/types';
import type { ConstraintSpec } from './constraints';
import { type InitializerSpec, initializers } from './initializers';
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

export interface HighwayConfig extends LayerConfig {
  /** Of what the layer makes of its input. Default `'tanh'`. */
  activation?: ActivationSpec;
  /** First values of the gate's bias. Below 0 the layer begins as one that mostly hands its input on. Default −2. */
  transformBias?: number;
  /** Whether there is a bias beside the gate's. Default true. */
  useBias?: boolean;
  /** Of both kernels. Default `'glorotUniform'`. */
  kernelInitializer?: InitializerSpec;
  /** Default `'zeros'`. */
  biasInitializer?: InitializerSpec;
  /** Of both kernels. */
  kernelRegularizer?: RegularizerSpec;
  biasRegularizer?: RegularizerSpec;
  /** Of both kernels. */
  kernelConstraint?: ConstraintSpec;
  biasConstraint?: ConstraintSpec;
}

const options = [
  ...commonOptions,
  'activation',
  'transformBias',
  'useBias',
  ...weightOptionNames('kernel', 'bias'),
] as const;

/**
 * A highway connection (Srivastava, Greff & Schmidhuber, 2015): `t·activation(x·kernel + bias) + (1 − t)·x` with
 * `t = sigmoid(x·transformKernel + transformBias)`, on the last axis of `[N, D]` or `[N, T, D]`, as it came. kernel and transformKernel
 * `[D, D]`, bias and transformBias `[D]`.
 */
export class Highway extends Layer {
  readonly type = 'highway';
  private readonly activation: ActivationAttrs;
  private readonly transformBias: number;
  private readonly useBias: boolean;
  private readonly of: Record<'kernel' | 'bias', WeightOptions>;

  constructor(config: HighwayConfig = {}) {
    const subject = subjectOf('highway', config);
    const o = readConfig(config, options, subject);
    super('highway', o as LayerConfig);
    this.activation = resolveActivation(
      o.activation === undefined ? 'tanh' : o.activation,
      `${subject}: activation`,
    );
    const transformBias = o.transformBias ?? -2;
    if (typeof transformBias !== 'number' || !Number.isFinite(transformBias))
      refuse('ERR_VALUE', `${subject}: transformBias`, 'a finite number', quoted(transformBias));
    this.transformBias = transformBias as number;
    this.useBias = flagOption(o.useBias, true, `${subject}: useBias`);
    this.of = readWeightOptions(o, { kernel: 'glorotUniform', bias: 'zeros' }, subject);
  }

  override get rowwise(): boolean {
    return true;
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    const features = input.shape.at(-1);
    const [kernel] = this.weights;
    if (input.dtype !== 'real' || typeof features !== 'number')
      refuse('ERR_SHAPE', this.subject, 'a known number of features [N, D] or [N, T, D]', shownInput(input));
    if (kernel && kernel.shape[0] !== features)
      refuse('ERR_SHAPE', this.subject, `${kernel.shape[0]} features`, features);
    return input;
  }

  override build(input: SymbolicShape): void {
    const features = this.outputShape(input).shape.at(-1) as number;
    const kernel = (name: string): WeightSpec => ({
      name,
      shape: [features, features],
      ...this.of.kernel,
    });
    const bias: WeightSpec = {
      name: 'bias',
      shape: [features],
      ...this.of.bias,
      decay: false,
    };
    const transformBias: WeightSpec = {
      name: 'transformBias',
      shape: [features],
      initializer: initializers.constant({ value: this.transformBias }),
      decay: false,
    };
    this.weights = [
      kernel('kernel'),
      ...(this.useBias ? [bias] : []),
      kernel('transformKernel'),
      transformBias,
    ];
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    const { builder } = context;
    const dense = (kernel: string, bias: string | undefined, activation: ActivationAttrs) => {
      const weights = [
        context.weight(this, kernel),
        bias === undefined ? ABSENT : context.weight(this, bias),
      ];
      const [sum] = builder.emit('dense', [input.id, ...weights], {}, this.subject) as [ValueId];
      return builder.emit('activation', [sum], activation, this.subject)[0] as ValueId;
    };
    const two = (kind: 'add' | 'multiply', a: ValueId, b: ValueId) =>
      builder.emit(kind, [a, b], {}, this.subject)[0] as ValueId;
    const made = dense('kernel', this.useBias ? 'bias' : undefined, this.activation);
    const gate = dense('transformKernel', 'transformBias', { kind: 'sigmoid', alpha: 0 });
    // x + t·(H − x)
    const [minus] = builder.emit('scale', [input.id], { factor: -1 }, this.subject) as [ValueId];
    return { ...input, id: two('add', input.id, two('multiply', gate, two('add', made, minus))) };
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...super.getConfig(),
      activation: activationConfig(this.activation),
      transformBias: this.transformBias,
      useBias: this.useBias,
      ...weightConfigs(this.of),
    };
  }
}
