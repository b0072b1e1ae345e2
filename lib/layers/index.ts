import { resolveName, toCamelCase } from '../names';
import { Activation, type ActivationConfig } from './activation';
import {
  Elu,
  type EluConfig,
  LeakyRelu,
  type LeakyReluConfig,
  Relu,
  type ReluConfig,
  Softmax,
  type SoftmaxConfig,
} from './activationLayers';
import { BatchNormalization, type BatchNormalizationConfig } from './batchNormalization';
import { Bidirectional, type BidirectionalConfig } from './bidirectional';
import { Conv1D, type Conv1DConfig } from './conv1D';
import { ConvLstm, type ConvLstmConfig } from './convLstm';
import { Dense, type DenseConfig } from './dense';
import { Dot, type DotConfig } from './dot';
import { Dropout, type DropoutConfig } from './dropout';
import { Embedding, type EmbeddingConfig } from './embedding';
import { Flatten } from './flatten';
import { GaussianNoise, type GaussianNoiseConfig } from './gaussianNoise';
import { GlobalPooling1D } from './globalPooling1D';
import { Gru, type GruConfig } from './gru';
import { Highway, type HighwayConfig } from './highway';
import { Input, type InputConfig } from './input';
import { fromKeras } from './kerasLayers';
import type { Layer, LayerConfig } from './layer';
import { LayerNormalization, type LayerNormalizationConfig } from './layerNormalization';
import { Lstm, type LstmConfig } from './lstm';
import { Masking, type MaskingConfig } from './masking';
import { Concatenate, type ConcatenateConfig, ElementwiseMerge } from './merge';
import { Permute, type PermuteConfig } from './permute';
import { Pooling1D, type Pooling1DConfig } from './pooling1D';
import { Prelu, type PreluConfig } from './prelu';
import { RepeatVector, type RepeatVectorConfig } from './repeatVector';
import { Reshape, type ReshapeConfig } from './reshape';
import { Rnn, type RnnConfig } from './rnn';
import { SimpleRnn, type SimpleRnnConfig } from './simpleRnn';
import { SpatialDropout1D, type SpatialDropout1DConfig } from './spatialDropout1D';
import { TimeDistributed, type TimeDistributedConfig } from './timeDistributed';

/** Makers of all layers. */
export const layers = {
  input: (config: InputConfig): Layer => new Input(fromKeras('input', config)),
  simpleRNN: (config: SimpleRnnConfig): Layer => new SimpleRnn(fromKeras('simpleRNN', config)),
  lstm: (config: LstmConfig): Layer => new Lstm(fromKeras('lstm', config)),
  gru: (config: GruConfig): Layer => new Gru(fromKeras('gru', config)),
  rnn: (config: RnnConfig): Layer => new Rnn(fromKeras('rnn', config)),
  bidirectional: (config: BidirectionalConfig): Layer =>
    new Bidirectional(fromKeras('bidirectional', config), layerFromConfig),
  dense: (config: DenseConfig): Layer => new Dense(fromKeras('dense', config)),
  embedding: (config: EmbeddingConfig): Layer => new Embedding(fromKeras('embedding', config)),
  dropout: (config: DropoutConfig): Layer => new Dropout(fromKeras('dropout', config)),
  masking: (config?: MaskingConfig): Layer => new Masking(fromKeras('masking', config ?? {})),
  activation: (config: ActivationConfig): Layer => new Activation(fromKeras('activation', config)),
  leakyReLU: (config?: LeakyReluConfig): Layer => new LeakyRelu(fromKeras('leakyReLU', config ?? {})),
  elu: (config?: EluConfig): Layer => new Elu(fromKeras('elu', config ?? {})),
  relu: (config?: ReluConfig): Layer => new Relu(fromKeras('relu', config ?? {})),
  prelu: (config?: PreluConfig): Layer => new Prelu(fromKeras('prelu', config ?? {})),
  softmax: (config?: SoftmaxConfig): Layer => new Softmax(fromKeras('softmax', config ?? {})),
  flatten: (config?: LayerConfig): Layer => new Flatten(fromKeras('flatten', config ?? {})),
  reshape: (config: ReshapeConfig): Layer => new Reshape(fromKeras('reshape', config)),
  repeatVector: (config: RepeatVectorConfig): Layer => new RepeatVector(fromKeras('repeatVector', config)),
  permute: (config: PermuteConfig): Layer => new Permute(fromKeras('permute', config)),
  timeDistributed: (config: TimeDistributedConfig): Layer =>
    new TimeDistributed(fromKeras('timeDistributed', config), layerFromConfig),
  layerNormalization: (config?: LayerNormalizationConfig): Layer =>
    new LayerNormalization(fromKeras('layerNormalization', config ?? {})),
  batchNormalization: (config?: BatchNormalizationConfig): Layer =>
    new BatchNormalization(fromKeras('batchNormalization', config ?? {})),
  conv1D: (config: Conv1DConfig): Layer => new Conv1D(fromKeras('conv1D', config)),
  convLSTM1D: (config: ConvLstmConfig): Layer => new ConvLstm('convLSTM1D', fromKeras('convLSTM1D', config)),
  convLSTM2D: (config: ConvLstmConfig): Layer => new ConvLstm('convLSTM2D', fromKeras('convLSTM2D', config)),
  maxPooling1D: (config?: Pooling1DConfig): Layer =>
    new Pooling1D('max', fromKeras('maxPooling1D', config ?? {})),
  averagePooling1D: (config?: Pooling1DConfig): Layer =>
    new Pooling1D('average', fromKeras('averagePooling1D', config ?? {})),
  globalMaxPooling1D: (config?: LayerConfig): Layer =>
    new GlobalPooling1D('max', fromKeras('globalMaxPooling1D', config ?? {})),
  globalAveragePooling1D: (config?: LayerConfig): Layer =>
    new GlobalPooling1D('average', fromKeras('globalAveragePooling1D', config ?? {})),
  highway: (config?: HighwayConfig): Layer => new Highway(fromKeras('highway', config ?? {})),
  gaussianNoise: (config: GaussianNoiseConfig): Layer =>
    new GaussianNoise(fromKeras('gaussianNoise', config)),
  spatialDropout1D: (config: SpatialDropout1DConfig): Layer =>
    new SpatialDropout1D(fromKeras('spatialDropout1D', config)),
  add: (config?: LayerConfig): Layer => new ElementwiseMerge('add', fromKeras('add', config ?? {})),
  subtract: (config?: LayerConfig): Layer =>
    new ElementwiseMerge('subtract', fromKeras('subtract', config ?? {})),
  multiply: (config?: LayerConfig): Layer =>
    new ElementwiseMerge('multiply', fromKeras('multiply', config ?? {})),
  average: (config?: LayerConfig): Layer =>
    new ElementwiseMerge('average', fromKeras('average', config ?? {})),
  maximum: (config?: LayerConfig): Layer =>
    new ElementwiseMerge('maximum', fromKeras('maximum', config ?? {})),
  minimum: (config?: LayerConfig): Layer =>
    new ElementwiseMerge('minimum', fromKeras('minimum', config ?? {})),
  dot: (config: DotConfig): Layer => new Dot(fromKeras('dot', config)),
  concatenate: (config?: ConcatenateConfig): Layer => new Concatenate(fromKeras('concatenate', config ?? {})),
};

/** Keras's other name. */
const aliases: Readonly<Record<string, keyof typeof layers>> = { inputLayer: 'input' };

/** A layer from its type and configuration, as `getConfig` gives them or as Keras writes them. */
export function layerFromConfig(type: string, config: Record<string, unknown>): Layer {
  const names = Object.keys(layers) as (keyof typeof layers)[];
  const { name: own } = Object(config) as { name?: unknown };
  const subject = typeof own === 'string' ? `layer '${own}': type` : 'layer type';
  // A function that changes nothing; masks go through both.
  if (toCamelCase(String(type)) === 'identity') return layers.activation({ ...config, activation: 'linear' });
  const name = resolveName(aliases[toCamelCase(String(type))] ?? type, names, subject);
  return (layers[name] as (config: unknown) => Layer)(config);
}

export { constraints } from './constraints';
export { initializers } from './initializers';
export { regularizers } from './regularizers';
export type {
  ActivationConfig,
  BatchNormalizationConfig,
  BidirectionalConfig,
  ConcatenateConfig,
  Conv1DConfig,
  ConvLstmConfig,
  DenseConfig,
  DotConfig,
  DropoutConfig,
  EluConfig,
  EmbeddingConfig,
  GaussianNoiseConfig,
  GruConfig,
  HighwayConfig,
  InputConfig,
  LayerNormalizationConfig,
  LeakyReluConfig,
  LstmConfig,
  MaskingConfig,
  PermuteConfig,
  Pooling1DConfig,
  PreluConfig,
  ReluConfig,
  RepeatVectorConfig,
  ReshapeConfig,
  RnnConfig,
  SimpleRnnConfig,
  SoftmaxConfig,
  SpatialDropout1DConfig,
  TimeDistributedConfig,
};
