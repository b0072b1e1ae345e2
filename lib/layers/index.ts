import { resolveName, toCamelCase } from '../names';
import { Activation, type ActivationConfig } from './activation';
import { Bidirectional, type BidirectionalConfig } from './bidirectional';
import { Dense, type DenseConfig } from './dense';
import { Dropout, type DropoutConfig } from './dropout';
import { Embedding, type EmbeddingConfig } from './embedding';
import { Gru, type GruConfig } from './gru';
import { Input, type InputConfig } from './input';
import { fromKeras } from './kerasLayers';
import type { Layer } from './layer';
import { Lstm, type LstmConfig } from './lstm';
import { Masking, type MaskingConfig } from './masking';
import { SimpleRnn, type SimpleRnnConfig } from './simpleRnn';

/** Makers of all layers. */
export const layers = {
  input: (config: InputConfig): Layer => new Input(fromKeras('input', config)),
  simpleRNN: (config: SimpleRnnConfig): Layer => new SimpleRnn(fromKeras('simpleRNN', config)),
  lstm: (config: LstmConfig): Layer => new Lstm(fromKeras('lstm', config)),
  gru: (config: GruConfig): Layer => new Gru(fromKeras('gru', config)),
  bidirectional: (config: BidirectionalConfig): Layer =>
    new Bidirectional(fromKeras('bidirectional', config), layerFromConfig),
  dense: (config: DenseConfig): Layer => new Dense(fromKeras('dense', config)),
  embedding: (config: EmbeddingConfig): Layer => new Embedding(fromKeras('embedding', config)),
  dropout: (config: DropoutConfig): Layer => new Dropout(fromKeras('dropout', config)),
  masking: (config?: MaskingConfig): Layer => new Masking(fromKeras('masking', config ?? {})),
  activation: (config: ActivationConfig): Layer => new Activation(fromKeras('activation', config)),
};

/** Keras's other name. */
const aliases: Readonly<Record<string, keyof typeof layers>> = { inputLayer: 'input' };

/** A layer from its type and configuration, as `getConfig` gives them or as Keras writes them. */
export function layerFromConfig(type: string, config: Record<string, unknown>): Layer {
  const names = Object.keys(layers) as (keyof typeof layers)[];
  const name = resolveName(aliases[toCamelCase(String(type))] ?? type, names, 'layer type');
  return (layers[name] as (config: unknown) => Layer)(config);
}

export { constraints } from './constraints';
export { initializers } from './initializers';
export { regularizers } from './regularizers';
export type {
  ActivationConfig,
  BidirectionalConfig,
  DenseConfig,
  DropoutConfig,
  EmbeddingConfig,
  GruConfig,
  InputConfig,
  LstmConfig,
  MaskingConfig,
  SimpleRnnConfig,
};
