import { flagOption, readConfig } from '../config';
import { refuse } from '../errors';
import { type ActivationSpec, activationConfig, resolveActivation } from '../ops/activations';
import { ABSENT, type ActivationAttrs, type ValueId } from '../plan/types';
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
import { commonOptions, countOption, MOST, subjectOf } from './options';
import { type Regularizer, type RegularizerSpec, resolveRegularizer } from './regularizers';
import {
  configs,
  readWeightOptions,
  type WeightOptions,
  weightConfigs,
  weightOptionNames,
} from './weightOptions';
import {
  lengthOption,
  type Padding,
  paddingOption,
  reachOf,
  type WindowOptions,
  windowedShape,
  windowsOver,
} from './windows';

export interface Conv1DConfig extends LayerConfig {
  /** Number of output features. */
  filters: number;
  /** Steps that a filter reads. */
  kernelSize: number | readonly number[];
  /** Steps from one output to the next. Default 1. */
  strides?: number | readonly number[];
  /**
   * `'valid'` (default): filters lie in the sequence; `'same'`: an output for every stride, zeros on both sides; `'causal'`: the same
   * with all zeros in front, so that no output depends on later steps.
   */
  padding?: Padding;
  /** Distance of the steps that a filter reads. Default 1; another one only with strides 1. */
  dilationRate?: number | readonly number[];
  /** Default linear. */
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

const options = [
  ...commonOptions,
  'filters',
  'kernelSize',
  'strides',
  'padding',
  'dilationRate',
  'activation',
  'useBias',
  ...weightOptionNames('kernel', 'bias'),
  'activityRegularizer',
] as const;

/**
 * A convolution over time: `[N, T, D]` → `[N, windows, filters]`. kernel `[kernelSize, D, filters]`, bias `[filters]`. What padding
 * was is no longer known, as in Keras.
 */
export class Conv1D extends Layer {
  readonly type = 'conv1D';
  readonly filters: number;
  private readonly window: WindowOptions;
  private readonly activation: ActivationAttrs;
  private readonly useBias: boolean;
  private readonly of: Record<'kernel' | 'bias', WeightOptions>;
  private readonly activity: Regularizer | undefined;

  constructor(config: Conv1DConfig) {
    const subject = subjectOf('conv1D', config);
    const o = readConfig(config, options, subject);
    super('conv1D', o as LayerConfig);
    this.filters = countOption(o.filters, `${subject}: filters`);
    this.window = {
      size: lengthOption(o.kernelSize, `${subject}: kernelSize`),
      stride: lengthOption(o.strides ?? 1, `${subject}: strides`),
      dilation: lengthOption(o.dilationRate ?? 1, `${subject}: dilationRate`),
      padding: paddingOption(o.padding, ['valid', 'same', 'causal'], `${subject}: padding`),
    };
    const { stride, dilation } = this.window;
    if (stride > 1 && dilation > 1)
      refuse('ERR_VALUE', `${subject}: dilationRate`, `1 with strides ${stride}`, dilation);
    const reach = reachOf(this.window);
    if (reach > MOST)
      refuse('ERR_VALUE', `${subject}: dilationRate`, `filters over at most ${MOST} steps`, reach);
    this.activation = resolveActivation(o.activation, `${subject}: activation`);
    this.useBias = flagOption(o.useBias, true, `${subject}: useBias`);
    this.of = readWeightOptions(o, { kernel: 'glorotUniform', bias: 'zeros' }, subject);
    this.activity = resolveRegularizer(o.activityRegularizer, `${subject}: activityRegularizer`);
  }

  override get streamObstacle(): string {
    return 'filters over several steps';
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    const shape = windowedShape(input, this.window, this.filters, this.subject);
    const features = input.shape[1];
    if (typeof features !== 'number')
      refuse('ERR_SHAPE', this.subject, 'a known number of features', shownInput(input));
    const [kernel] = this.weights;
    if (kernel && kernel.shape[1] !== features)
      refuse('ERR_SHAPE', this.subject, `${kernel.shape[1]} features`, features);
    return shape;
  }

  override build(input: SymbolicShape): void {
    this.outputShape(input);
    const part = (name: 'kernel' | 'bias', shape: number[]): WeightSpec => ({
      name,
      shape,
      ...this.of[name],
      decay: name === 'kernel',
    });
    const kernel = part('kernel', [this.window.size, input.shape[1] as number, this.filters]);
    this.weights = this.useBias ? [kernel, part('bias', [this.filters])] : [kernel];
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    const { builder } = context;
    const { size, stride, dilation } = this.window;
    const attrs = { size, stride, dilation, ...windowsOver(input.shape[0] as number, this.window) };
    const [steps] = builder.emit('unfold', [input.id], attrs, this.subject) as [ValueId];
    const bias = this.useBias ? context.weight(this, 'bias') : ABSENT;
    const kernel = context.weight(this, 'kernel');
    let [id] = builder.emit('dense', [steps, kernel, bias], {}, this.subject) as [ValueId];
    if (this.activation.kind !== 'linear')
      [id] = builder.emit('activation', [id], this.activation, this.subject) as [ValueId];
    const { activity } = this;
    if (activity) {
      const penalty = { l1: activity.l1, l2: activity.l2, scale: 1 / context.batch };
      const label = `${this.subject}: activity regularizer`;
      context.addLoss(builder.emit('penalty', [id], penalty, label)[0] as ValueId);
    }
    return { id, dtype: 'real', shape: [attrs.windows, this.filters], sequence: true };
  }

  override getConfig(): Record<string, unknown> {
    const { size, stride, dilation, padding } = this.window;
    return {
      ...super.getConfig(),
      filters: this.filters,
      kernelSize: size,
      strides: stride,
      padding,
      dilationRate: dilation,
      activation: activationConfig(this.activation),
      useBias: this.useBias,
      ...weightConfigs(this.of),
      ...configs({ activityRegularizer: this.activity }),
    };
  }
}
