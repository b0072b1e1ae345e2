import { readConfig } from '../config';
import { refuse } from '../errors';
import type { ActivationSpec } from '../ops/activations';
import { type CallContext, Layer, type LayerConfig, type LayerValue, type SymbolicShape } from './layer';
import {
  emitActivation,
  type LayerActivation,
  layerActivationConfig,
  resolveLayerActivation,
  widthAfter,
} from './layerActivation';
import { commonOptions, subjectOf } from './options';

export interface ActivationConfig extends LayerConfig {
  activation: ActivationSpec;
}

/** An activation as a layer of its own; softmax, logSoftmax and sparsemax run over the last axis, and glu halves it. */
export class Activation extends Layer {
  readonly type = 'activation';
  private readonly activation: LayerActivation;

  constructor(config: ActivationConfig) {
    const subject = subjectOf('activation', config);
    const o = readConfig(config, [...commonOptions, 'activation'], subject);
    super('activation', o as LayerConfig);
    if (o.activation === undefined)
      refuse('ERR_VALUE', `${subject}: activation`, 'the name of an activation', 'nothing');
    this.activation = resolveLayerActivation(o.activation, `${subject}: activation`);
  }

  override get rowwise(): boolean {
    return true;
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    if (input.dtype !== 'real') refuse('ERR_SHAPE', this.subject, 'numbers', 'ids');
    if (this.activation !== 'glu') return input;
    const features = input.shape.at(-1);
    if (typeof features !== 'number')
      refuse('ERR_SHAPE', this.subject, 'a known number of features', '[…, any]');
    const width = widthAfter(this.activation, features as number, this.subject);
    return { ...input, shape: [...input.shape.slice(0, -1), width] };
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    const { shape } = this.outputShape(input) as LayerValue;
    return { ...input, shape, id: emitActivation(context.builder, this.activation, input.id, this.subject) };
  }

  override getConfig(): Record<string, unknown> {
    return { ...super.getConfig(), activation: layerActivationConfig(this.activation) };
  }
}
