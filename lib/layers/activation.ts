import { readConfig } from '../config';
import { refuse } from '../errors';
import { type ActivationSpec, activationConfig, resolveActivation } from '../ops/activations';
import type { ActivationAttrs, ValueId } from '../plan/types';
import { type CallContext, Layer, type LayerConfig, type LayerValue, type SymbolicShape } from './layer';
import { commonOptions, subjectOf } from './options';

export interface ActivationConfig extends LayerConfig {
  activation: ActivationSpec;
}

/** An activation as a layer of its own; softmax and logSoftmax run over the last axis. */
export class Activation extends Layer {
  readonly type = 'activation';
  private readonly activation: ActivationAttrs;

  constructor(config: ActivationConfig) {
    const subject = subjectOf('activation', config);
    const o = readConfig(config, [...commonOptions, 'activation'], subject);
    super('activation', o as LayerConfig);
    if (o.activation === undefined)
      refuse('ERR_VALUE', `${subject}: activation`, 'the name of an activation', 'nothing');
    this.activation = resolveActivation(o.activation, `${subject}: activation`);
  }

  override get rowwise(): boolean {
    return true;
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    if (input.dtype !== 'real') refuse('ERR_SHAPE', this.subject, 'numbers', 'ids');
    return input;
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    const [id] = context.builder.emit('activation', [input.id], this.activation, this.subject) as [ValueId];
    return { ...input, id };
  }

  override getConfig(): Record<string, unknown> {
    return { ...super.getConfig(), activation: activationConfig(this.activation) };
  }
}
