import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { ValueId } from '../plan/types';
import type { Shape } from '../tensors/tensor';
import type { LayerMaker } from './bidirectional';
import { Flatten } from './flatten';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  shownInput,
} from './layer';
import { commonOptions, subjectOf } from './options';
import { PartContext } from './partContext';
import { Reshape } from './reshape';

export interface TimeDistributedConfig extends LayerConfig {
  /** The layer to use on every step: `layers.dense(…)`, or its configuration. A copy of it is used. */
  layer: Layer | { readonly type: string; readonly config: object };
}

/**
 * A layer on every step of a sequence by itself, with the same weights: `[N, T, …]`. It takes layers that work on the last axis alone,
 * which do so without it too: `dense`, `activation`, `dropout`, `layerNormalization`, `gaussianNoise`; and `flatten` and `reshape`, which give
 * every step another shape. Weights are the layer's.
 */
export class TimeDistributed extends Layer {
  readonly type = 'timeDistributed';
  readonly layer: Layer;

  constructor(config: TimeDistributedConfig, make: LayerMaker) {
    const subject = subjectOf('timeDistributed', config);
    const o = readConfig(config, [...commonOptions, 'layer'], subject);
    const layer = copyOf(o.layer, `${subject}: layer`, make);
    super('timeDistributed', { trainable: layer.trainable, ...o } as LayerConfig);
    this.layer = layer;
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    if (!input.sequence || input.dtype !== 'real')
      refuse('ERR_SHAPE', this.subject, 'a sequence [N, T, …]', shownInput(input));
    if (!this.reshapes) return this.named().outputShape(input);
    const [steps, ...frame] = input.shape as [number | null, ...(number | null)[]];
    const { shape } = this.named().outputShape({ dtype: 'real', shape: frame, sequence: false });
    return { dtype: 'real', shape: [steps, ...shape], sequence: true };
  }

  override build(input: SymbolicShape): void {
    this.outputShape(input);
    if (this.reshapes) return;
    this.layer.build(input);
    this.weights = this.layer.weights;
  }

  override unbuild(): void {
    super.unbuild();
    this.layer.unbuild();
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    if (this.reshapes) return this.reshaped(context, input);
    return this.named().call(new PartContext(context, this, '', {}), input);
  }

  /** Whether the layer changes the shape of a step alone. */
  private get reshapes(): boolean {
    return this.layer instanceof Flatten || this.layer instanceof Reshape;
  }

  private reshaped({ builder, batch }: CallContext, input: LayerValue): LayerValue {
    const shape = this.outputShape(input).shape as Shape;
    const [steps, ...frame] = shape as [number, ...number[]];
    const [id] = builder.emit('reshape', [input.id], { shape: [steps, batch, ...frame] }, this.subject);
    return { ...input, id: id as ValueId, shape };
  }

  /** The layer under this one's name, which is what messages are to say. */
  private named(): Layer {
    this.layer.name = this.name;
    return this.layer;
  }

  override getConfig(): Record<string, unknown> {
    const { name: _, ...config } = this.layer.getConfig();
    return { ...super.getConfig(), layer: { type: this.layer.type, config } };
  }
}

/** A new layer like the given one, or like the one of a given configuration. */
function copyOf(given: unknown, subject: string, make: LayerMaker): Layer {
  const wanted = 'a layer that works on each step by itself';
  const spec = given instanceof Layer ? { type: given.type, config: given.getConfig() } : given;
  const { type, class_name = type, config } = Object(spec) as Record<string, unknown>;
  if (typeof class_name !== 'string' || typeof config !== 'object')
    refuse('ERR_VALUE', subject, wanted, quoted(given));
  const layer = make(class_name as string, { ...config, name: undefined });
  const reshapes = layer instanceof Flatten || layer instanceof Reshape;
  if (!layer.rowwise && !reshapes) refuse('ERR_VALUE', subject, wanted, `layers.${layer.type}`);
  return layer;
}
