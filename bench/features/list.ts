// The features of docs/features.md: what is measured of each, and where it is tested.
import {
  cells,
  defineCell,
  defineLoss,
  input,
  layers,
  type Model,
  model,
  ops,
  type SymbolicTensor,
  type Traced,
} from 'deeprnn';

type Layer = ReturnType<(typeof layers)['dense']>;
type CompileOptions = Record<string, unknown>;

/** What lies above the engines: any engine serves it. */
export interface PlainFeature {
  readonly name: string;
  readonly test: string;
}

/** What a feature is measured on: a model of layers over `[N, T, D]`, or over `shape`; what is asked of it beside. */
export interface Feature {
  readonly name: string;
  readonly layers: () => Layer[];
  /** In place of the layers: a model with inputs of that shape. */
  readonly model?: () => Model<unknown>;
  /** How many inputs that model has. Default: 1. */
  readonly inputs?: number;
  /** Trained through `fit` with these options, in place of steps on the whole batch. */
  readonly fit?: Record<string, unknown>;
  /** Predicted so many times, where it carries something from one to the next. */
  readonly runs?: number;
  /** Batch-free shape of the input. Default: `[T, D]`. */
  readonly shape?: readonly number[];
  /** Ids below this number, in place of real inputs. */
  readonly ids?: number;
  readonly compile?: CompileOptions;
  /** Sequences of different lengths. */
  readonly padded?: boolean;
  /** Compared after so many training steps, by the weights, where the feature is one of training. */
  readonly steps?: number;
  /** Models in test/fixtures that somebody else has computed: the file, and a part of their names. */
  readonly oracle?: readonly [file: string, part: string];
  /** Where an oracle is looked at by a test of its own. */
  readonly otherOracle?: string;
  readonly test: string;
}

export interface Group {
  readonly title: string;
  readonly features: readonly (Feature | PlainFeature)[];
}

export const sizes = { N: 5, T: 7, D: 4, H: 6 } as const;
const { T, D, H } = sizes;
const sequences = { returnSequences: true } as const;

const minimalGated = defineCell('featuresMinimalGated', ({ units }: { units: number }) => ({
  states: { h: units },
  weights: (features) => ({
    kernel: { shape: [features, 2 * units] },
    recurrentKernel: { shape: [units, 2 * units], initializer: 'orthogonal' },
  }),
  step(x, states, w) {
    const h = states['h'] as Traced;
    const [fx, nx] = ops.split(ops.matmul(x, w['kernel'] as Traced), 2) as [Traced, Traced];
    const [fh, nh] = ops.split(ops.matmul(h, w['recurrentKernel'] as Traced), 2) as [Traced, Traced];
    const f = ops.sigmoid(ops.add(fx, fh));
    const n = ops.tanh(ops.add(nx, ops.multiply(f, nh)));
    const next = ops.add(ops.multiply(ops.subtract(1, f), h), ops.multiply(f, n));
    return { output: next, states: { h: next } };
  },
}));
const quantile = defineLoss('featuresQuantile', (yTrue, yPred) => {
  const error = ops.subtract(yTrue, yPred);
  return ops.maximum(ops.multiply(error, 0.9), ops.multiply(error, -0.1));
});

const lstm = (options: object = {}) => layers.lstm({ units: H, ...sequences, ...options });
const gru = (options: object = {}) => layers.gru({ units: H, ...sequences, ...options });
const rnn = (options: object = {}) => layers.simpleRNN({ units: H, ...sequences, ...options });
const around = (...middle: Layer[]) => [gru(), ...middle];

const cellTests = 'test/unit/layers/cells.test.ts';
const stackTests = 'test/parity/rnnStack.test.ts';
const fixtureTests = 'test/parity/fixtures.test.ts';
const fused = (name: string, make: () => Layer, otherOracle: string, test = stackTests): Feature => ({
  name,
  layers: () => [make()],
  otherOracle,
  test,
});
const optimizer = (name: string, options: object, otherOracle: string, test = fixtureTests): Feature => ({
  name,
  layers: () => [gru()],
  compile: { optimizer: { type: name.split(' ')[0], learningRate: 0.01, ...options } },
  steps: 5,
  otherOracle,
  test,
});

const merges = ['bidirectional, concat', 'sum', 'mul', 'ave'] as const;
/** All but those of every cell, tanh and sigmoid, and those that read whole rows. */
const activations = [
  'linear',
  'relu',
  'hardSigmoid',
  'softplus',
  'softsign',
  'elu',
  'selu',
  'exponential',
  'relu6',
  'leakyRelu',
  'gelu',
  'geluTanh',
  'silu',
  'mish',
  'hardSilu',
  'celu',
  'squareplus',
  'softShrink',
  'hardShrink',
  'threshold',
  'tanhShrink',
  'hardTanh',
  'logSigmoid',
  'sparsePlus',
  'sparseSigmoid',
] as const;
/** What has no usual parameter, and what would grow beyond all numbers. */
const special: Readonly<Record<string, object>> = {
  threshold: { activation: { type: 'threshold', threshold: 0.1 } },
  exponential: { recurrentInitializer: { type: 'orthogonal', gain: 0.1 } },
};
const rowActivations = ['softmax', 'logSoftmax', 'sparsemax', 'glu'] as const;

/** A model that one function makes of its inputs. */
const functional = (
  name: string,
  test: string,
  make: (...inputs: SymbolicTensor[]) => SymbolicTensor | SymbolicTensor[],
  more: Partial<Feature> = {},
): Feature => ({
  name,
  layers: () => [],
  model: () => {
    const inputs = Array.from({ length: more.inputs ?? 1 }, () => input({ shape: [T, D] }));
    return model({ inputs, outputs: make(...inputs), seed: 11 }) as unknown as Model<unknown>;
  },
  test,
  ...more,
});
const plain = (name: string, test: string): PlainFeature => ({ name, test });
const schedule = (learningRate: Record<string, unknown>): Feature => ({
  name: `schedule ${String(learningRate['type'])}`,
  layers: () => [gru()],
  compile: { optimizer: { type: 'sgd', learningRate } },
  steps: 5,
  otherOracle: learningRate['type'] === 'oneCycle' ? 'PyTorch' : 'Keras',
  test: 'test/unit/schedules.test.ts',
});
const functionalTests = 'test/unit/models/functional.test.ts';
const mergeTests = 'test/parity/merges.test.ts';
const elementwiseMerges = ['add', 'subtract', 'multiply', 'average', 'maximum', 'minimum'] as const;

export const groups: readonly Group[] = [
  {
    title: 'Cells',
    features: [
      fused('simpleRNN', () => rnn(), 'PyTorch, Keras'),
      fused('lstm', () => lstm(), 'PyTorch, Keras'),
      fused('gru, reset after', () => gru(), 'PyTorch, Keras'),
      fused('gru, reset before', () => gru({ resetAfter: false }), 'Keras'),
      fused(
        'lstm with peepholes',
        () => lstm({ peepholes: true, peepholeInitializer: 'randomNormal' }),
        'ONNX Runtime',
      ),
      fused('lstm with coupled gates', () => lstm({ coupledGates: true }), 'ONNX Runtime'),
      fused('lstm with cellClip', () => lstm({ cellClip: 0.2 }), 'TensorFlow'),
      {
        name: 'lstm with projection',
        layers: () => [lstm({ projectionUnits: 3 })],
        oracle: ['pytorch-cells', 'projected'],
        test: cellTests,
      },
      {
        name: 'lstm, layer-normalized',
        layers: () => [lstm({ layerNormalization: true })],
        oracle: ['pytorch-cells', 'LSTM, normalized'],
        test: cellTests,
      },
      {
        name: 'gru, layer-normalized',
        layers: () => [gru({ layerNormalization: true })],
        oracle: ['pytorch-cells', 'GRU, normalized'],
        test: cellTests,
      },
      {
        name: 'simpleRNN, layer-normalized',
        layers: () => [rnn({ layerNormalization: true })],
        oracle: ['pytorch-cells', 'SimpleRNN, normalized'],
        test: cellTests,
      },
      {
        name: 'IndRNN',
        layers: () => [layers.rnn({ cell: cells.indRNN({ units: H }), ...sequences })],
        oracle: ['pytorch-cells', 'IndRNN'],
        test: cellTests,
      },
      {
        name: 'SRU',
        layers: () => [layers.rnn({ cell: cells.sru({ units: H }), ...sequences })],
        oracle: ['pytorch-cells', 'SRU'],
        test: cellTests,
      },
      {
        name: 'a cell of one’s own',
        layers: () => [layers.rnn({ cell: minimalGated({ units: H }), ...sequences })],
        test: cellTests,
      },
      {
        name: 'stacked cells',
        layers: () => [
          layers.rnn({
            cell: cells.stacked([cells.lstm({ units: H }), minimalGated({ units: 3 })]),
            ...sequences,
          }),
        ],
        test: cellTests,
      },
      {
        name: 'convLSTM1D',
        layers: () => [layers.convLSTM1D({ filters: 2, kernelSize: 3, padding: 'same', ...sequences })],
        shape: [4, 6, 2],
        oracle: ['keras-video', '1D'],
        test: 'test/unit/layers/convLstm.test.ts',
      },
      {
        name: 'convLSTM2D',
        layers: () => [layers.convLSTM2D({ filters: 2, kernelSize: 3, padding: 'same', ...sequences })],
        shape: [3, 5, 4, 2],
        oracle: ['keras-video', '2D'],
        test: 'test/unit/layers/convLstm.test.ts',
      },
      ...activations.map(
        (activation): Feature =>
          fused(
            `activation ${activation} in a cell`,
            () => gru({ activation, ...special[activation] }),
            'Keras',
          ),
      ),
      ...rowActivations.map(
        (activation): Feature => ({
          name: `activation ${activation} of a dense layer`,
          layers: () => [gru(), layers.dense({ units: 4, activation })],
          otherOracle: 'Keras',
          test: 'test/unit/layers/activationLayers.test.ts',
        }),
      ),
    ],
  },
  {
    title: 'Structure',
    features: [
      ...merges.map(
        (mode, i): Feature => ({
          name: i === 0 ? mode : `bidirectional, ${mode}`,
          layers: () => [
            layers.bidirectional({ layer: lstm(), mergeMode: i === 0 ? 'concat' : (mode as 'sum') }),
          ],
          oracle: ['keras-bidirectional', ['side by side', 'summed', 'multiplied', 'averaged'][i] as string],
          test: 'test/unit/layers/bidirectional.test.ts',
        }),
      ),
      functional('bidirectional, outputs apart', 'test/unit/layers/bidirectional.test.ts', (x) => {
        const both = layers.bidirectional({ layer: lstm(), mergeMode: null });
        const [forwards, backwards] = both.applyAll(x) as [SymbolicTensor, SymbolicTensor];
        return layers.multiply().apply([forwards, backwards]);
      }),
      functional('residual connection', functionalTests, (x) => {
        const first = gru().apply(x);
        return layers.add().apply([first, gru().apply(first)]);
      }),
      functional('dense skip connections', functionalTests, (x) => {
        const first = gru().apply(x);
        const second = lstm().apply(layers.concatenate().apply([x, first]));
        return rnn().apply(layers.concatenate().apply([x, first, second]));
      }),
      functional('a layer used twice', functionalTests, (x) => {
        const shared = gru();
        const up = layers.dense({ units: D }).apply(shared.apply(x));
        return shared.apply(up);
      }),
      functional(
        'several inputs and outputs',
        functionalTests,
        (x, z) => {
          const both = layers.concatenate().apply([gru().apply(x), lstm().apply(z)]);
          return [layers.dense({ units: 2, name: 'first' }).apply(both), gru({ name: 'second' }).apply(both)];
        },
        { inputs: 2 },
      ),
      functional(
        'encoder and decoder: returnState, states as inputs',
        'test/unit/models/returnStates.test.ts',
        (x, z) => {
          const [, h, c] = lstm({ returnState: true }).applyAll(x) as SymbolicTensor[];
          return lstm().apply([z, h, c] as SymbolicTensor[]);
        },
        { inputs: 2 },
      ),
      ...elementwiseMerges.map(
        (kind): Feature =>
          functional(`merge: ${kind}`, mergeTests, (x) =>
            layers[kind]().apply([gru().apply(x), lstm().apply(x)]),
          ),
      ),
      functional('merge: concatenate', mergeTests, (x) =>
        layers.concatenate().apply([gru().apply(x), lstm().apply(x)]),
      ),
      functional('merge: dot', mergeTests, (x) =>
        layers.dot({ axes: -1, normalize: true }).apply([gru().apply(x), lstm().apply(x)]),
      ),
      {
        name: 'stateful batches',
        layers: () => [lstm({ stateful: true, batchInputShape: [sizes.N, T, D] }), gru({ stateful: true })],
        runs: 2,
        otherOracle: 'Keras',
        test: 'test/unit/models/states.test.ts',
      },
      {
        name: 'a stack of mixed cells and widths',
        layers: () => [lstm(), layers.dropout({ rate: 0.2 }), gru({ units: 3 }), rnn({ units: 5 })],
        oracle: ['keras-bidirectional', 'a stack'],
        test: stackTests,
      },
      {
        name: 'highway',
        layers: () => around(layers.highway({ activation: 'tanh' })),
        test: 'test/unit/layers/highway.test.ts',
      },
      {
        name: 'goBackwards',
        layers: () => [lstm({ goBackwards: true })],
        otherOracle: 'Keras',
        test: stackTests,
      },
      {
        name: 'learned initial states',
        layers: () => [lstm({ initialState: 'learned' })],
        test: 'test/unit/models/states.test.ts',
      },
      {
        name: 'masks: lengths',
        layers: () => [lstm(), gru()],
        padded: true,
        otherOracle: 'Keras',
        test: 'test/unit/models/masking.test.ts',
      },
      {
        name: 'layerNormalization',
        layers: () => around(layers.layerNormalization()),
        oracle: ['keras-normalization', ''],
        test: 'test/unit/layers/layerNormalization.test.ts',
      },
      {
        name: 'batchNormalization',
        layers: () => around(layers.batchNormalization()),
        otherOracle: 'Keras',
        test: 'test/unit/layers/batchNormalization.test.ts',
      },
      {
        name: 'conv1D, causal, dilated',
        layers: () => [
          layers.conv1D({ filters: 3, kernelSize: 3, padding: 'causal', dilationRate: 2 }),
          gru(),
        ],
        oracle: ['keras-convolutions', 'conv1D'],
        test: 'test/unit/layers/windowLayers.test.ts',
      },
      {
        name: 'pooling, windowed',
        layers: () => around(layers.maxPooling1D(), layers.averagePooling1D()),
        oracle: ['keras-convolutions', 'Pooling1D'],
        test: 'test/unit/layers/windowLayers.test.ts',
      },
      {
        name: 'pooling, global',
        layers: () => around(layers.globalAveragePooling1D()),
        oracle: ['keras-convolutions', 'global'],
        test: 'test/unit/layers/windowLayers.test.ts',
      },
      {
        name: 'flatten, reshape, permute, repeatVector',
        layers: () => [
          layers.permute({ dims: [2, 1] }),
          gru(),
          layers.flatten(),
          layers.repeatVector({ n: 3 }),
        ],
        oracle: ['keras-shapes', ''],
        test: 'test/unit/layers/shapeLayers.test.ts',
      },
      {
        name: 'timeDistributed',
        layers: () => around(layers.timeDistributed({ layer: layers.dense({ units: 3 }) })),
        oracle: ['keras-shapes', 'timeDistributed'],
        test: 'test/unit/layers/shapeLayers.test.ts',
      },
      {
        name: 'embedding',
        layers: () => [layers.embedding({ inputDim: 11, outputDim: D }), lstm()],
        shape: [T],
        ids: 11,
        otherOracle: 'Keras',
        test: fixtureTests,
      },
      {
        name: 'weight tying of embedding and output',
        layers: () => [
          layers.embedding({ name: 'table', inputDim: 11, outputDim: H }),
          lstm(),
          layers.dense({ units: 11, tiedTo: 'table' }),
        ],
        shape: [T],
        ids: 11,
        test: 'test/unit/models/tiedDense.test.ts',
      },
    ],
  },
  {
    title: 'Regularization (in training, the same draws on all engines)',
    features: [
      {
        name: 'dropout between layers',
        layers: () => [lstm(), layers.dropout({ rate: 0.3 }), lstm()],
        test: 'test/unit/layers/dropout.test.ts',
      },
      {
        name: 'variational dropout, inputs and states',
        layers: () => [lstm({ dropout: 0.3, recurrentDropout: 0.3 })],
        test: stackTests,
      },
      {
        name: 'dropout per step',
        layers: () => [
          lstm({
            dropout: 0.3,
            recurrentDropout: 0.3,
            dropoutMode: 'perStep',
            recurrentDropoutMode: 'perStep',
          }),
        ],
        test: stackTests,
      },
      {
        name: 'spatialDropout1D',
        layers: () => [layers.spatialDropout1D({ rate: 0.3 }), gru()],
        test: 'test/unit/layers/dropout.test.ts',
      },
      {
        name: 'DropConnect on recurrent weights',
        layers: () => [lstm({ recurrentWeightDropout: 0.3 })],
        test: 'test/unit/layers/recurrentWeights.test.ts',
      },
      {
        name: 'zoneout',
        layers: () => [lstm({ zoneout: 0.2, cellZoneout: 0.3 })],
        otherOracle: 'PyTorch',
        test: 'test/unit/models/zoneout.test.ts',
      },
      {
        name: 'weight noise',
        layers: () => [gru({ weightNoise: 0.1 })],
        test: 'test/unit/layers/recurrentWeights.test.ts',
      },
      {
        name: 'gaussianNoise',
        layers: () => [layers.gaussianNoise({ stddev: 0.2 }), gru()],
        test: 'test/unit/layers/noise.test.ts',
      },
      {
        name: 'l1 and l2, activity',
        layers: () => [
          gru({
            kernelRegularizer: { type: 'l1l2', l1: 0.01, l2: 0.02 },
            activityRegularizer: { type: 'l2', l2: 0.01 },
          }),
        ],
        otherOracle: 'Keras',
        test: 'test/unit/layers/penalties.test.ts',
      },
      {
        name: 'temporal activation regularization',
        layers: () => [gru({ temporalActivationRegularizer: 0.5 })],
        test: 'test/unit/layers/temporalActivation.test.ts',
      },
      {
        name: 'gradient noise',
        layers: () => [gru()],
        compile: { optimizer: { type: 'adam', gradientNoise: { eta: 0.1, gamma: 0.55 } } },
        steps: 5,
        test: 'test/unit/models/gradientNoise.test.ts',
      },
      {
        name: 'weight decay and rates by parameter group',
        layers: () => [gru()],
        compile: {
          optimizer: {
            type: 'adamw',
            paramGroups: [{ match: '*/kernel', learningRateFactor: 0.5, weightDecay: 0.1 }],
          },
        },
        steps: 5,
        otherOracle: 'PyTorch',
        test: 'test/unit/models/paramGroups.test.ts',
      },
      {
        name: 'moving averages of weights',
        layers: () => [gru()],
        compile: { optimizer: { type: 'sgd', useEma: true, emaMomentum: 0.9, emaOverwriteFrequency: 2 } },
        steps: 5,
        otherOracle: 'Keras',
        test: 'test/unit/models/averaging.test.ts',
      },
    ],
  },
  {
    title: 'Training (differences of weights after five steps)',
    features: [
      optimizer('sgd', { momentum: 0.9, nesterov: true }, 'Keras'),
      optimizer('rmsprop', {}, 'Keras'),
      optimizer('adam', { amsgrad: true }, 'Keras'),
      optimizer('nadam', {}, 'Keras'),
      optimizer('adamax', {}, 'Keras'),
      optimizer('lion', { learningRate: 0.001 }, 'Keras'),
      optimizer('adafactor', {}, 'Keras'),
      optimizer('adadelta', {}, 'Keras'),
      optimizer('ftrl', {}, 'Keras'),
      optimizer(
        'adam with global-norm clip and accumulation',
        { globalClipNorm: 0.1, gradientAccumulationSteps: 2 },
        'Keras',
        'test/unit/models/averaging.test.ts',
      ),
      optimizer('adagrad', {}, 'Keras'),
      optimizer('adamw', { weightDecay: 0.1 }, 'Keras'),
      schedule({ type: 'exponentialDecay', initialLearningRate: 0.1, decaySteps: 2, decayRate: 0.5 }),
      schedule({ type: 'inverseTimeDecay', initialLearningRate: 0.1, decaySteps: 2, decayRate: 0.5 }),
      schedule({ type: 'polynomialDecay', initialLearningRate: 0.1, decaySteps: 4 }),
      schedule({ type: 'piecewiseConstant', boundaries: [2, 3], values: [0.1, 0.05, 0.01] }),
      schedule({
        type: 'cosineDecay',
        initialLearningRate: 0.01,
        decaySteps: 4,
        warmupTarget: 0.1,
        warmupSteps: 2,
      }),
      schedule({ type: 'cosineDecayRestarts', initialLearningRate: 0.1, firstDecaySteps: 2 }),
      schedule({ type: 'oneCycle', maxLearningRate: 0.1, totalSteps: 5 }),
      {
        name: 'truncated backpropagation through time, with overlap',
        layers: () => [lstm(), gru({ layerNormalization: true })],
        compile: { optimizer: { type: 'sgd', learningRate: 0.1 } },
        fit: { epochs: 2, batchSize: sizes.N, shuffle: false, truncatedBPTT: { steps: 3, overlap: 2 } },
        test: 'test/unit/models/truncatedBPTT.test.ts',
      },
      {
        name: 'freezing',
        layers: () => [gru({ trainable: false }), lstm()],
        compile: { optimizer: { type: 'adam', learningRate: 0.01 } },
        steps: 5,
        test: 'test/unit/models/options.test.ts',
      },
      {
        name: 'label smoothing',
        layers: () => [gru(), layers.dense({ units: 3, activation: 'softmax' })],
        compile: { loss: { type: 'categoricalCrossentropy', labelSmoothing: 0.1 } },
        otherOracle: 'Keras',
        test: fixtureTests,
      },
      {
        name: 'gradient checkpointing',
        layers: () => [lstm(), gru()],
        compile: { gradientCheckpointing: { steps: 2 } },
        test: 'test/unit/models/gradientCheckpointing.test.ts',
      },
      {
        name: 'a loss of one’s own',
        layers: () => [gru()],
        compile: { loss: quantile },
        test: 'test/unit/ownScores.test.ts',
      },
      {
        name: 'focal loss',
        layers: () => [gru(), layers.dense({ units: 3, activation: 'softmax' })],
        compile: { loss: 'categoricalFocalCrossentropy' },
        otherOracle: 'Keras',
        test: fixtureTests,
      },
    ],
  },
  {
    title: 'Above the engines',
    features: [
      plain('several losses with weights', functionalTests),
      plain('metrics of one’s own', 'test/unit/ownScores.test.ts'),
      plain('metrics of every loss, counts, F-beta', 'test/parity/fixtures.test.ts'),
      plain(
        'decoders that read padded steps too (`maskWithStates: false`)',
        'test/unit/models/masking.test.ts',
      ),
      plain('learning-rate finder', 'test/unit/callbacks/lrFinder.test.ts'),
      plain('bucketing by length, padded batches, curriculum', 'test/unit/data/paddedBatches.test.ts'),
      plain('resume from a checkpoint, bit for bit', 'test/unit/models/resume.test.ts'),
      plain('bf16 and int8, no loss scaling needed', 'test/unit/models/precision.test.ts'),
      plain('gradient norms and what is wrong with them', 'test/unit/callbacks/gradientHealth.test.ts'),
      plain(
        'every cell in streams, stateful, padded, in other precisions',
        'test/unit/models/everyCell.test.ts',
      ),
      plain('summary', 'test/unit/models/summary.test.ts'),
      plain('profile by layer', 'test/unit/models/profile.test.ts'),
      plain('plots of models and training', 'test/unit/plots.test.ts'),
    ],
  },
];
