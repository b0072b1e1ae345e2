import { quoted, refuse } from '../../errors';
import { layerFromConfig } from '../../layers';
import type { Layer } from '../../layers/layer';

/** An object as Keras writes it. */
export interface KerasObject {
  readonly module: string;
  readonly class_name: string;
  readonly config: Record<string, unknown>;
  readonly registered_name: string | null;
  readonly build_config?: { readonly input_shape: unknown };
}

type Config = Readonly<Record<string, unknown>>;

export function kerasObject(
  module: string,
  class_name: string,
  config: Record<string, unknown>,
): KerasObject {
  return { module, class_name, config, registered_name: null };
}

/** `returnSequences` → `return_sequences`. */
export function toSnakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

const kernels = ['kernelInitializer', 'kernelRegularizer', 'kernelConstraint'];
const biases = ['useBias', 'biasInitializer', 'biasRegularizer', 'biasConstraint'];
const affine = ['gamma', 'beta'].flatMap((name) =>
  ['Initializer', 'Regularizer', 'Constraint'].map((part) => name + part),
);
const windows = ['filters', 'kernelSize', 'strides', 'padding', 'dilationRate'];
const ofSteps = [
  'activation',
  'recurrentInitializer',
  'recurrentRegularizer',
  'recurrentConstraint',
  'recurrentDropout',
  'dropout',
  'seed',
  ...kernels,
  ...biases,
];
const ofSequences = [
  'activityRegularizer',
  'returnSequences',
  'returnState',
  'zeroOutputForMask',
  'goBackwards',
  'stateful',
];
const recurrent = ['units', ...ofSteps, ...ofSequences];
const convLstm = [...windows, ...ofSteps, ...ofSequences, 'recurrentActivation', 'unitForgetBias'];

/** Keras's classes by the types of layers here, with the options that they have. Those with parts are written by functions of their own. */
const classes: Readonly<Record<string, readonly [className: string, options: readonly string[]]>> = {
  simpleRNN: ['SimpleRNN', recurrent],
  lstm: ['LSTM', [...recurrent, 'recurrentActivation', 'unitForgetBias']],
  gru: ['GRU', [...recurrent, 'recurrentActivation', 'resetAfter']],
  rnn: ['RNN', [...ofSequences, 'cell']],
  convLSTM1D: ['ConvLSTM1D', convLstm],
  convLSTM2D: ['ConvLSTM2D', convLstm],
  bidirectional: ['Bidirectional', ['layer', 'backwardLayer', 'mergeMode']],
  timeDistributed: ['TimeDistributed', ['layer']],
  dense: ['Dense', ['units', 'activation', 'activityRegularizer', ...kernels, ...biases]],
  embedding: [
    'Embedding',
    [
      'inputDim',
      'outputDim',
      'maskZero',
      'embeddingsInitializer',
      'embeddingsRegularizer',
      'embeddingsConstraint',
    ],
  ],
  masking: ['Masking', ['maskValue']],
  dropout: ['Dropout', ['rate', 'noiseShape', 'seed']],
  spatialDropout1D: ['SpatialDropout1D', ['rate', 'seed']],
  gaussianNoise: ['GaussianNoise', ['stddev', 'seed']],
  activation: ['Activation', ['activation']],
  leakyReLU: ['LeakyReLU', ['negativeSlope']],
  elu: ['ELU', ['alpha']],
  relu: ['ReLU', ['maxValue', 'negativeSlope', 'threshold']],
  prelu: ['PReLU', ['alphaInitializer', 'alphaRegularizer', 'alphaConstraint', 'sharedAxes']],
  softmax: ['Softmax', ['axis']],
  conv1D: ['Conv1D', [...windows, 'activation', 'activityRegularizer', ...kernels, ...biases]],
  maxPooling1D: ['MaxPooling1D', ['poolSize', 'strides', 'padding']],
  averagePooling1D: ['AveragePooling1D', ['poolSize', 'strides', 'padding']],
  globalMaxPooling1D: ['GlobalMaxPooling1D', []],
  globalAveragePooling1D: ['GlobalAveragePooling1D', []],
  layerNormalization: ['LayerNormalization', ['axis', 'epsilon', 'center', 'scale', ...affine]],
  batchNormalization: [
    'BatchNormalization',
    [
      'axis',
      'momentum',
      'epsilon',
      'center',
      'scale',
      'movingMeanInitializer',
      'movingVarianceInitializer',
      ...affine,
    ],
  ],
  flatten: ['Flatten', []],
  reshape: ['Reshape', ['targetShape']],
  permute: ['Permute', ['dims']],
  repeatVector: ['RepeatVector', ['n']],
  add: ['Add', []],
  subtract: ['Subtract', []],
  multiply: ['Multiply', []],
  average: ['Average', []],
  maximum: ['Maximum', []],
  minimum: ['Minimum', []],
  concatenate: ['Concatenate', ['axis']],
  dot: ['Dot', ['axes', 'normalize']],
};

/** Keras's class of a layer. @throws ERR_VALUE, naming it, where Keras has none */
export function classOf({ type, subject }: Pick<Layer, 'type' | 'subject'>): string {
  return (
    classes[type]?.[0] ??
    refuse('ERR_VALUE', `save: ${subject}`, 'a layer that Keras has', `'${type}'`, WAY_OUT)
  );
}

const WAY_OUT = "Save under another ending, in this library's own format.";
const cellClasses: Readonly<Record<string, string>> = {
  simpleRNN: 'SimpleRNNCell',
  lstm: 'LSTMCell',
  gru: 'GRUCell',
};

/** Keras's class of a cell. */
export function cellClassOf(type: string, subject: string): string {
  return (
    cellClasses[type] ??
    refuse('ERR_VALUE', `save: ${subject}: cell`, 'a cell that Keras has', quoted(type), WAY_OUT)
  );
}

/** A layer as Keras writes it. @throws ERR_VALUE, naming layer and option, for what Keras has no word for */
export function toKerasLayer(layer: Layer): KerasObject {
  return layerObject(layer.type, layer.getConfig(), layer.subject, layer.name);
}

function layerObject(type: string, config: Config, subject: string, name: string): KerasObject {
  const className = classOf({ type, subject });
  const options = optionsOf(config, classes[type]?.[1] as readonly string[], subject);
  const { trainable = true } = config;
  if ('cell' in options) options['cell'] = cellObject(config['cell'], subject, `${name}_cell`);
  if (type === 'timeDistributed') options['layer'] = partOf(config['layer'], subject, `${name}_layer`, {});
  if (type === 'bidirectional') {
    const part = (key: string, own: string) => {
      const given = config[key] as { config: Config };
      return partOf(given, subject, `${name}_${own}`, {
        // So that steps that do not count are zeros, as Keras's own wrapper makes them.
        zero_output_for_mask: given.config['returnSequences'] === true,
      });
    };
    options['layer'] = part('layer', 'forward');
    if ('backward_layer' in options) options['backward_layer'] = part('backwardLayer', 'backward');
  }
  // Its class has no such option, nor weights.
  const trains = type === 'spatialDropout1D' ? {} : { trainable };
  return kerasObject('keras.layers', className, { name, ...trains, dtype: 'float32', ...options });
}

/** A layer in a layer. */
function partOf(given: unknown, subject: string, name: string, more: object): KerasObject {
  const { type, config } = given as { type: string; config: Config };
  const part = layerObject(type, config, subject, name);
  return { ...part, config: { ...part.config, ...more } };
}

function cellObject(given: unknown, subject: string, name: string): KerasObject {
  const { type, config } = given as { type: string; config: Config };
  const own = { name, trainable: true, dtype: 'float32' };
  if (type === 'stacked') {
    const { cells } = config as unknown as { cells: readonly unknown[] };
    const parts = cells.map((cell, i) => cellObject(cell, subject, `${name}_${i}`));
    return kerasObject('keras.layers', 'StackedRNNCells', { ...own, cells: parts });
  }
  const className = cellClassOf(type, subject);
  // The layer of the same name reads the cell's options, in any spelling, and fills in the others.
  const layer = layerFromConfig(type, config as Record<string, unknown>);
  const [, ofLayer] = classes[type] as (typeof classes)[string];
  const known = ofLayer.filter((option) => !ofSequences.includes(option));
  const {
    returnSequences: _,
    zeroOutputForMask: __,
    goBackwards: ___,
    stateful: ____,
    ...options
  } = layer.getConfig();
  return kerasObject('keras.layers', className, {
    ...own,
    ...optionsOf(options, known, `${subject}: cell '${type}'`),
  });
}

/** Options of every layer, which are written apart, and those that say nothing at these values. */
const apart = ['name', 'trainable', 'inputShape', 'batchInputShape', 'maskWithStates'];
const silent: Config = { initialState: 'zeros', zeroOutputForMask: false, dropout: 0 };

function optionsOf(config: Config, known: readonly string[], subject: string): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(config)) {
    if (apart.includes(key) || value === silent[key]) continue;
    if (!known.includes(key))
      refuse('ERR_VALUE', `save: ${subject}`, 'options that Keras has', `${key}: ${shown(value)}`, WAY_OUT);
    options[toSnakeCase(key)] = kerasValue(key, value, `save: ${subject}: ${key}`);
  }
  return options;
}

function shown(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(quoted(value));
}

/** Seeds are 32 bits wide in Keras, of which some engines take 31. */
const MOST_SEED = 2 ** 31 - 1;

function kerasValue(key: string, value: unknown, subject: string): unknown {
  if (/initializer$/i.test(key)) return initializerObject(value as Config, subject);
  if (/regularizer$/i.test(key)) return regularizerObject(value as Config);
  if (/constraint$/i.test(key)) return constraintObject(value as Config);
  if (/activation$/i.test(key)) return activationValue(value, subject);
  if (key === 'seed' && (value as number) > MOST_SEED)
    refuse('ERR_VALUE', subject, `at most ${MOST_SEED} for Keras`, value);
  return value;
}

/** Functions that Keras has under other names than these with an underscore, or does not have by name. */
const activationNames: Readonly<Record<string, string | undefined>> = {
  geluTanh: undefined,
  threshold: undefined,
};

/** Functions that are layers in Keras where they have a parameter other than its usual one. */
const activationLayers: Readonly<Record<string, readonly [className: string, option: string]>> = {
  leakyRelu: ['LeakyReLU', 'negative_slope'],
  elu: ['ELU', 'alpha'],
};

function activationValue(given: unknown, subject: string): unknown {
  const { type = given, ...parameters } = Object(given) as { type?: unknown; alpha?: unknown };
  const name = type as string;
  const isPlain = typeof given === 'string';
  const layer = isPlain ? undefined : activationLayers[name];
  if (layer) {
    const [className, option] = layer;
    return kerasObject('keras.layers', className, { name: toSnakeCase(name), [option]: parameters.alpha });
  }
  if (!isPlain || name in activationNames) {
    const got = isPlain ? `'${name}'` : `'${name}' with ${JSON.stringify(parameters)}`;
    const wayOut = 'Keras writes activations by name, and leakyReLU, elu and relu as layers.';
    refuse('ERR_VALUE', subject, 'an activation that Keras has by name', got, wayOut);
  }
  return toSnakeCase(name);
}

/** Initializers that draw have a seed. */
const constants = ['zeros', 'ones', 'constant', 'identity'];

function initializerObject({ type, ...options }: Config, subject: string): KerasObject {
  const name = type as string;
  const { seed = null, ...rest } = options;
  if (typeof seed === 'number' && seed > MOST_SEED)
    refuse('ERR_VALUE', `${subject}: seed`, `at most ${MOST_SEED} for Keras`, seed);
  const config = Object.fromEntries(
    Object.entries(rest).map(([key, value]) => [
      toSnakeCase(key),
      typeof value === 'string' ? toSnakeCase(value) : value,
    ]),
  );
  const className = name.charAt(0).toUpperCase() + name.slice(1);
  return kerasObject(
    'keras.initializers',
    className,
    constants.includes(name) ? config : { ...config, seed },
  );
}

function regularizerObject({ type, ...options }: Config): KerasObject {
  return kerasObject(
    'keras.regularizers',
    type === 'l1l2' ? 'L1L2' : (type as string).toUpperCase(),
    options,
  );
}

const constraintClasses: Readonly<Record<string, string>> = {
  maxNorm: 'MaxNorm',
  unitNorm: 'UnitNorm',
  nonNeg: 'NonNeg',
};

function constraintObject({ type, ...options }: Config): KerasObject {
  const config = Object.fromEntries(Object.entries(options).map(([key, value]) => [toSnakeCase(key), value]));
  return kerasObject('keras.constraints', constraintClasses[type as string] as string, config);
}
