import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { LayerMaker } from './bidirectional';
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

export interface TimeDistributedConfig extends LayerConfig {
  /** The layer to use on every step: `layers.dense(…)`, or its configuration. A copy of it is used. */
  layer: Layer | { readonly type: string; readonly config: object };
}

/**
 * A layer on every step of a sequence by itself, with the same weights: `[N, T, …]`. It takes layers that work on the last axis alone,
 * which do so without it too: `dense`, `activation`, `dropout`, `layerNormalization`, `gaussianNoise`. Weights are the layer's.
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
    return this.named().outputShape(input);
  }

  override build(input: SymbolicShape): void {
    this.outputShape(input);
    this.layer.build(input);
    this.weights = this.layer.weights;
  }

  override unbuild(): void {
    super.unbuild();
    this.layer.unbuild();
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    return this.named().call(new PartContext(context, this, '', {}), input);
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
  if (!layer.rowwise) refuse('ERR_VALUE', subject, wanted, `layers.${layer.type}`);
  return layer;
}
