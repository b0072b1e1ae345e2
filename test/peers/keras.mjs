// Models of every kind from Keras into this library and back, and training that goes on from a file, on either side. Prints the largest
// differences and exits with 1 where one is too large. Usage: node test/peers/keras.mjs [--python <python with keras>] [--seeds <n>] [kind…]

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

const here = import.meta.dirname;
const {
  cells,
  input,
  layers: l,
  loadModel,
  loadWeights,
  model,
  sequential,
  tensor,
} = createRequire(import.meta.url)('../../dist/index.js');
const { values: options, positionals } = parseArgs({
  options: {
    python: { type: 'string', default: process.env.DEEPRNN_PEER_PYTHON ?? 'python3' },
    seeds: { type: 'string', default: '1' },
  },
  allowPositionals: true,
});

const TOLERANCE = 1e-5;
/** Of losses and predictions after steps of training, which carry rounding on. */
const TRAINED = 2e-5;

const [N, T, D] = [4, 6, 3];
const real = [T, D];
const sequence = (name) => input({ shape: real, name });
const merged = (layer) => () => {
  const x = sequence('x');
  const parts = [
    l.lstm({ units: 4, returnSequences: true }).apply(x),
    l.gru({ units: 4, returnSequences: true }).apply(x),
  ];
  return model({ inputs: x, outputs: layer().apply(parts) });
};
const maskedDecoder = (maskWithStates) => {
  const [a, b] = ['a', 'b'].map((name) => input({ shape: [T], dtype: 'int32', name }));
  const words = l.embedding({ inputDim: 9, outputDim: 4, maskZero: true });
  const [, h, c] = l.lstm({ units: 4, returnState: true }).applyAll(words.apply(a));
  const y = l.lstm({ units: 4, returnSequences: true, maskWithStates }).apply([words.apply(b), h, c]);
  return model({ inputs: [a, b], outputs: l.dense({ units: 2 }).apply(y) });
};
const mergedMasks = (layer, masked) => {
  const [x, other] = ['x', 'other'].map((name) => input({ shape: [T], dtype: 'int32', name }));
  const y = l.embedding({ inputDim: 9, outputDim: 4, maskZero: true }).apply(x);
  const z = masked
    ? l.gru({ units: 4, returnSequences: true }).apply(y)
    : l.embedding({ inputDim: 9, outputDim: 4 }).apply(other);
  const outputs = l.lstm({ units: 3 }).apply(layer().apply([y, z]));
  return model({ inputs: masked ? x : [x, other], outputs });
};
const chain =
  (...parts) =>
  () =>
    sequential(parts.map((make) => make()));
const first =
  (make, shape = real) =>
  () =>
    make({ inputShape: shape });
const more = (maker, own) => (shape) => maker({ ...own, ...shape });

/** The models of keras_peer.py, made here. */
const kinds = {
  simpleRNN: chain(first(more(l.simpleRNN, { units: 4, returnSequences: true })), () =>
    l.simpleRNN({ units: 3, useBias: false }),
  ),
  lstm: chain(first(more(l.lstm, { units: 4, returnSequences: true })), () =>
    l.lstm({ units: 3, recurrentActivation: 'hardSigmoid' }),
  ),
  'lstm backwards': chain(first(more(l.lstm, { units: 4, goBackwards: true, activation: 'relu' }))),
  gru: chain(first(more(l.gru, { units: 4, returnSequences: true })), () => l.gru({ units: 3 })),
  'gru reset before': chain(first(more(l.gru, { units: 4, resetAfter: false }))),
  'bidirectional lstm': () =>
    sequential([
      l.bidirectional({ layer: l.lstm({ units: 4, returnSequences: true }), inputShape: real }),
      l.dense({ units: 2 }),
    ]),
  'bidirectional gru sum': () =>
    sequential([l.bidirectional({ layer: l.gru({ units: 4 }), mergeMode: 'sum', inputShape: real })]),
  'bidirectional of two': () =>
    sequential([
      l.bidirectional({
        layer: l.gru({ units: 4 }),
        backwardLayer: l.lstm({ units: 3, goBackwards: true }),
        inputShape: real,
      }),
    ]),
  'bidirectional states': () => {
    const x = sequence('x');
    const inner = l.lstm({ units: 2, returnSequences: true, returnState: true });
    const [y, ...states] = l.bidirectional({ layer: inner }).applyAll(x);
    const above = l.bidirectional({ layer: l.lstm({ units: 2 }), mergeMode: 'sum' });
    return model({ inputs: x, outputs: above.apply([y, ...states]) });
  },
  'a direction frozen': () => {
    const own = { units: 3, kernelRegularizer: 'l2', returnSequences: true };
    return sequential([
      l.bidirectional({
        layer: l.lstm({ ...own, trainable: false }),
        backwardLayer: l.lstm({ ...own, goBackwards: true }),
        inputShape: real,
      }),
      l.dense({ units: 2 }),
    ]);
  },
  'rnn cell lstm': chain(first(more(l.rnn, { cell: cells.lstm({ units: 4 }), returnSequences: true }))),
  'rnn cell gru': chain(first(more(l.rnn, { cell: cells.gru({ units: 4 }) }))),
  'rnn cell simpleRNN': chain(first(more(l.rnn, { cell: cells.simpleRNN({ units: 4 }) }))),
  'rnn stacked': () => {
    const stack = [
      cells.gru({ units: 3 }),
      cells.lstm({ units: 4 }),
      cells.gru({ units: 3 }),
      cells.simpleRNN({ units: 2 }),
    ];
    return sequential([l.rnn({ cell: cells.stacked(stack), returnSequences: true, inputShape: real })]);
  },
  convLSTM1D: chain(
    first(more(l.convLSTM1D, { filters: 3, kernelSize: 3, returnSequences: true }), [3, 6, 2]),
  ),
  convLSTM2D: chain(
    first(more(l.convLSTM2D, { filters: 2, kernelSize: 3, padding: 'same' }), [3, 5, 4, 2]),
    () => l.flatten(),
  ),
  timeDistributed: () =>
    sequential([
      l.timeDistributed({ layer: l.dense({ units: 4, activation: 'gelu' }), inputShape: real }),
      l.gru({ units: 2 }),
    ]),
  dense: chain(first(more(l.dense, { units: 4, activation: 'softplus' }), [D]), () =>
    l.dense({ units: 2, activation: 'softmax' }),
  ),
  embedding: () => sequential([l.embedding({ inputDim: 9, outputDim: 4 }), l.gru({ units: 3 })]),
  'embedding masked': () =>
    sequential([
      l.embedding({ inputDim: 9, outputDim: 4, maskZero: true, inputShape: [T] }),
      l.lstm({ units: 3 }),
    ]),
  masking: chain(first(l.masking), () => l.lstm({ units: 3 })),
  'masked branches': () => {
    const x = input({ shape: [T], dtype: 'int32' });
    const y = l.embedding({ inputDim: 9, outputDim: 4, maskZero: true }).apply(x);
    const z = l.bidirectional({ layer: l.gru({ units: 2, returnSequences: true }) }).apply(y);
    return model({ inputs: x, outputs: l.simpleRNN({ units: 3 }).apply(l.add().apply([y, z])) });
  },
  'masking functional': () => {
    const x = sequence('x');
    const y = l.dense({ units: 3 }).apply(l.masking().apply(x));
    return model({ inputs: x, outputs: l.lstm({ units: 4 }).apply(y) });
  },
  'masks concatenated': () => {
    const x = sequence('x');
    const masked = l.masking().apply(x);
    const y = l.gru({ units: 2, returnSequences: true }).apply(masked);
    const both = l.concatenate({ name: 'both' }).apply([y, l.dense({ units: 3 }).apply(masked)]);
    return model({ inputs: x, outputs: l.lstm({ units: 3 }).apply(both) });
  },
  'a mask beside none': () => {
    const x = sequence('x');
    const y = l.gru({ units: 2, returnSequences: true }).apply(l.masking().apply(x));
    return model({
      inputs: x,
      outputs: l
        .lstm({ units: 3 })
        .apply(l.concatenate({ name: 'both' }).apply([y, l.dense({ units: 3 }).apply(x)])),
    });
  },
  conv1D: chain(
    first(more(l.conv1D, { filters: 4, kernelSize: 3, padding: 'causal', activation: 'relu' })),
    () => l.maxPooling1D({ poolSize: 2 }),
    () => l.conv1D({ filters: 2, kernelSize: 2, strides: 2 }),
  ),
  pooling: chain(first(more(l.averagePooling1D, { poolSize: 2 })), () => l.globalAveragePooling1D()),
  'global max': chain(first(l.globalMaxPooling1D)),
  batchNormalization: chain(first(l.batchNormalization), () => l.gru({ units: 3 })),
  layerNormalization: chain(first(more(l.layerNormalization, { epsilon: 0.01 })), () => l.gru({ units: 3 })),
  shapes: chain(
    first(more(l.permute, { dims: [2, 1] })),
    () => l.reshape({ targetShape: [9, 2] }),
    () => l.flatten(),
    () => l.repeatVector({ n: 2 }),
    () => l.gru({ units: 3 }),
  ),
  activations: chain(
    first(more(l.leakyReLU, { negativeSlope: 0.1 })),
    () => l.elu({ alpha: 0.7 }),
    () => l.prelu({ sharedAxes: [1] }),
    () => l.relu({ maxValue: 1.5 }),
    () => l.activation({ activation: 'hardSilu' }),
    () => l.softmax(),
  ),
  'activations that are layers': chain(
    first(
      more(l.lstm, {
        units: 4,
        activation: { type: 'leakyRelu', negativeSlope: 0.1 },
        recurrentActivation: 'hardSigmoid',
        returnSequences: true,
      }),
    ),
    () => l.dense({ units: 3, activation: { type: 'leakyRelu', alpha: 0.2 } }),
    () => l.dense({ units: 3, activation: { type: 'elu', alpha: 0.7 } }),
    () => l.activation({ activation: 'relu6' }),
    () => l.activation({ activation: 'linear' }),
    () => l.bidirectional({ layer: l.gru({ units: 2, activation: 'relu', returnSequences: true }) }),
    () => l.rnn({ cell: cells.gru({ units: 3, activation: { type: 'elu', alpha: 0.5 } }) }),
    () => l.dense({ units: 3, activation: 'softmax' }),
  ),
  'prelu per step': chain(first(l.prelu)),
  'noise and dropout': chain(
    first(more(l.gaussianNoise, { stddev: 0.1 })),
    () => l.spatialDropout1D({ rate: 0.2 }),
    () => l.dropout({ rate: 0.3 }),
    () => l.lstm({ units: 3, dropout: 0.1, recurrentDropout: 0.2 }),
  ),
  regularized: chain(
    first(
      more(l.lstm, {
        units: 4,
        kernelRegularizer: 'l2',
        recurrentConstraint: { type: 'maxNorm', maxValue: 1 },
      }),
    ),
    () =>
      l.dense({
        units: 2,
        kernelRegularizer: { type: 'l1l2', l1: 0.01, l2: 0.02 },
        biasConstraint: 'nonNeg',
      }),
  ),
  // Keras alone has such models: here they are read, and written as models of layers.
  'models in a row': undefined,
  'models used twice': undefined,
  'a model with branches inside': undefined,
  'masks inside a model': undefined,
  'masks handed into a model': undefined,
  'names with spaces': undefined,
  residual: () => {
    const x = sequence('x');
    const below = l.lstm({ units: 4, returnSequences: true }).apply(x);
    const above = l.lstm({ units: 4, returnSequences: true }).apply(below);
    return model({ inputs: x, outputs: l.gru({ units: 3 }).apply(l.add().apply([below, above])) });
  },
  shared: () => {
    const [a, b] = [sequence('a'), sequence('b')];
    const [read, dense] = [l.gru({ units: 4 }), l.dense({ units: 3 })];
    const both = l.concatenate().apply([a, b].map((x) => dense.apply(read.apply(x))));
    return model({ inputs: [a, b], outputs: l.dense({ units: 2 }).apply(both) });
  },
  states: () => {
    const [a, b] = [sequence('a'), sequence('b')];
    const [, h, c] = l.lstm({ units: 4, returnState: true }).applyAll(a);
    const y = l.lstm({ units: 4, returnSequences: true }).apply([b, h, c]);
    return model({
      inputs: [a, b],
      outputs: [l.dense({ units: 2 }).apply(y), l.gru({ units: 4 }).apply([y, h])],
    });
  },
  attention: () => {
    const x = sequence('x');
    const y = l.gru({ units: 4, returnSequences: true }).apply(x);
    const scores = l.softmax().apply(l.dot({ axes: -1 }).apply([y, y]));
    return model({ inputs: x, outputs: l.dot({ axes: [2, 1] }).apply([scores, y]) });
  },
  add: merged(l.add),
  subtract: merged(l.subtract),
  multiply: merged(l.multiply),
  average: merged(l.average),
  maximum: merged(l.maximum),
  minimum: merged(l.minimum),
  concatenate: merged(l.concatenate),
  dot: merged(() => l.dot({ axes: -1, normalize: true })),
  'a decoder with its mask': () => maskedDecoder(true),
  'multiply under one mask': () => mergedMasks(l.multiply, true),
  'maximum under one mask': () => mergedMasks(l.maximum, true),
  'a decoder without its mask': () => maskedDecoder(false),
  'directions without their mask': () => {
    const [a, b] = ['a', 'b'].map((name) => input({ shape: [T], dtype: 'int32', name }));
    const words = l.embedding({ inputDim: 9, outputDim: 4, maskZero: true });
    const [, h] = l.gru({ units: 3, returnState: true }).applyAll(words.apply(a));
    const layer = l.gru({ units: 3, returnSequences: true, returnState: true, maskWithStates: false });
    const [y, ...states] = l.bidirectional({ layer, mergeMode: 'sum' }).applyAll([words.apply(b), h, h]);
    return model({
      inputs: [a, b],
      outputs: [l.dense({ units: 2 }).apply(y), l.concatenate({ name: 'ends' }).apply(states)],
    });
  },
  'stacked cells beside states': () => {
    const [a, b] = ['a', 'b'].map((name) => input({ shape: [T], dtype: 'int32', name }));
    const words = l.embedding({ inputDim: 9, outputDim: 4 });
    const cell = cells.stacked([cells.lstm({ units: 3 }), cells.gru({ units: 2 })]);
    const [, ...states] = l.rnn({ cell, returnState: true }).applyAll(words.apply(a));
    const y = l.rnn({ cell, returnSequences: true }).apply([words.apply(b), ...states]);
    return model({ inputs: [a, b], outputs: l.dense({ units: 2 }).apply(y) });
  },
  'a decoder used twice': () => {
    const [a, b] = ['a', 'b'].map((name) => input({ shape: [T], dtype: 'int32', name }));
    const words = l.embedding({ inputDim: 9, outputDim: 4, maskZero: true });
    const read = l.gru({ units: 3, returnSequences: true, returnState: true, maskWithStates: false });
    const [y, h] = read.applyAll(words.apply(a));
    const z = read.apply([words.apply(b), h]);
    return model({ inputs: [a, b], outputs: [y, z].map((own) => l.dense({ units: 2 }).apply(own)) });
  },
  'a functional model as output': undefined,
};

/** Models of which Keras makes something else, each as it is here. */
const refused = {
  'multiply of one mask': () => mergedMasks(l.multiply, false),
  'maximum of one mask': () => mergedMasks(l.maximum, false),
  'minimum of one mask': () => mergedMasks(l.minimum, false),
};

/** Optimizers of both: Keras's name and options, and those here. */
const rate = 0.02;
const optimizers = {
  sgd: ['SGD', {}, {}],
  'sgd momentum': ['SGD', { momentum: 0.8 }, { momentum: 0.8 }],
  'sgd nesterov': ['SGD', { momentum: 0.8, nesterov: true }, { momentum: 0.8, nesterov: true }],
  rmsprop: ['RMSprop', {}, {}],
  'rmsprop centered': ['RMSprop', { momentum: 0.3, centered: true }, { momentum: 0.3, centered: true }],
  adam: ['Adam', {}, {}],
  'adam amsgrad': ['Adam', { amsgrad: true }, { amsgrad: true }],
  adamw: ['AdamW', { weight_decay: 0.1 }, { weightDecay: 0.1, decayBiases: true }],
  adagrad: ['Adagrad', {}, {}],
  nadam: ['Nadam', {}, {}],
  adamax: ['Adamax', {}, {}],
  lion: ['Lion', {}, {}],
  adadelta: ['Adadelta', { learning_rate: 1.0 }, { learningRate: 1 }],
  adafactor: ['Adafactor', {}, {}],
  ftrl: ['Ftrl', { learning_rate: 0.1 }, { learningRate: 0.1 }],
  'adam ema': [
    'Adam',
    { use_ema: true, ema_momentum: 0.5, ema_overwrite_frequency: 2 },
    { useEma: true, emaMomentum: 0.5, emaOverwriteFrequency: 2 },
  ],
  'sgd accumulated': [
    'SGD',
    { momentum: 0.5, gradient_accumulation_steps: 2 },
    { momentum: 0.5, gradientAccumulationSteps: 2 },
  ],
  'adam clipvalue': ['Adam', { clipvalue: 0.01 }, { clipValue: 0.01 }],
  'sgd clipnorm': ['SGD', { clipnorm: 0.1 }, { clipNorm: 0.1 }],
  'sgd global clipnorm': ['SGD', { global_clipnorm: 0.1 }, { globalClipNorm: 0.1 }],
  'sgd decay': ['SGD', { weight_decay: 0.05 }, { weightDecay: 0.05, decayBiases: true }],
  ...Object.fromEntries(
    [
      ['ExponentialDecay', { initial_learning_rate: 0.1, decay_steps: 2, decay_rate: 0.5, staircase: true }],
      ['InverseTimeDecay', { initial_learning_rate: 0.1, decay_steps: 2, decay_rate: 0.5 }],
      ['PolynomialDecay', { initial_learning_rate: 0.1, decay_steps: 4, power: 2.0, cycle: true }],
      ['PiecewiseConstantDecay', { boundaries: [2, 5], values: [0.1, 0.05, 0.01] }],
      ['CosineDecay', { initial_learning_rate: 0.01, decay_steps: 4, warmup_target: 0.1, warmup_steps: 3 }],
      ['CosineDecayRestarts', { initial_learning_rate: 0.1, first_decay_steps: 3, t_mul: 2.0, m_mul: 0.9 }],
    ].map(([name, own]) => [
      `sgd ${name}`,
      ['SGD', { learning_rate: { name, ...own } }, { learningRate: { type: name, ...own } }],
    ]),
  ),
};

/** Losses by what their outputs are, with the metrics that fit them. */
const scored = {
  softmax: [
    [
      'categoricalCrossentropy',
      { type: 'categoricalCrossentropy', labelSmoothing: 0.1 },
      'categoricalHinge',
      'klDivergence',
      { type: 'categoricalFocalCrossentropy', gamma: 1.5, alpha: 0.4 },
    ],
    [
      'accuracy',
      'categoricalAccuracy',
      { type: 'topKCategoricalAccuracy', k: 2 },
      'crossentropy',
      'categoricalHinge',
      'kld',
      { type: 'f1', average: 'macro' },
      { type: 'fBeta', average: 'micro', beta: 2 },
      { type: 'precision', classId: 1 },
      { type: 'recall', thresholds: 0.3 },
      { type: 'f1', average: 'macro', threshold: 1, name: 'sure' },
    ],
  ],
  sparse: [
    ['sparseCategoricalCrossentropy'],
    ['accuracy', 'sparseCategoricalAccuracy', { type: 'topK', k: 2 }, 'crossentropy'],
  ],
  sigmoid: [
    [
      'binaryCrossentropy',
      { type: 'binaryFocalCrossentropy', applyClassBalancing: true, alpha: 0.3 },
      'poisson',
      'hinge',
      'squaredHinge',
    ],
    [
      'accuracy',
      { type: 'binaryAccuracy', threshold: 0.4 },
      { type: 'auc', curve: 'PR' },
      'auc',
      'precision',
      'recall',
      { type: 'binaryCrossentropy', labelSmoothing: 0.1 },
      'hinge',
      'squaredHinge',
      'poisson',
      'truePositives',
      'trueNegatives',
      { type: 'falsePositives', thresholds: [0, 0.3, 0.6] },
      'falseNegatives',
    ],
  ],
  linear: [
    [
      'meanSquaredError',
      'meanAbsoluteError',
      { type: 'huber', delta: 0.5 },
      'logCosh',
      'cosineSimilarity',
      'meanSquaredLogarithmicError',
      'meanAbsolutePercentageError',
    ],
    ['mse', 'mae', 'rmse', 'r2', 'mape', 'msle', 'logCosh', 'cosineSimilarity'],
  ],
};

const STEPS = 4;

/** The answers of the Python process, one for each line. */
function peer() {
  const child = spawn(options.python, [path.join(here, 'keras_peer.py')], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const waiting = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.startsWith('ANSWER ')) waiting.shift()?.resolve(JSON.parse(line.slice(7)));
  });
  child.on('exit', () => {
    for (const { reject } of waiting) reject(new Error('the Python side ended'));
  });
  child.on('error', (error) => {
    for (const { reject } of waiting) reject(error);
  });
  return {
    ask: async (command, own) => {
      const answer = await new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        child.stdin.write(`${JSON.stringify({ command, ...own })}\n`);
      });
      if (answer.error) throw new Error(`Keras: ${answer.error}`);
      return answer;
    },
    end: () => child.stdin.end(),
  };
}

/** Largest difference, NaN where one side is no number. */
function difference(a, b) {
  if (a.length !== b.length) return Number.NaN;
  let most = 0;
  for (const [i, v] of a.entries()) {
    const d = Math.abs(v - b[i]);
    if (!(d <= most)) most = d;
  }
  return most;
}

function tensors(net, arrays) {
  return arrays.map(({ shape, data }, i) => {
    const ids = net.graph.inputs[i]?.symbol.dtype === 'int32';
    return tensor(ids ? Int32Array.from(data) : Float32Array.from(data), shape);
  });
}

const plain = (values) => values.map(({ shape, data }) => tensor(Float32Array.from(data), shape));
const given = (values) => (values.length > 1 ? values : values[0]);

async function predictions(net, arrays) {
  const y = await net.predict(given(tensors(net, arrays)));
  return (y.data ? [y] : Object.values(y)).map(({ shape, data }) => ({ shape: [...shape], data: [...data] }));
}

function worst(ours, theirs) {
  return Math.max(...ours.map(({ data }, i) => difference(data, theirs[i]?.data ?? [])));
}

/** Numbers from −0.5 to 0.5 that are the same in every run. */
function numbers(seed) {
  let state = seed * 2654435761;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 374761393) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
}

async function randomize(net, seed) {
  const next = numbers(seed);
  const weights = await net.getWeights();
  await net.setWeights(
    new Map(
      [...weights].map(([name, { shape, data }]) => {
        const values = Float32Array.from(data, () => (/variance/i.test(name) ? 1 + next() : next()));
        return [name, tensor(values, shape)];
      }),
    ),
  );
}

function inputsOf(net, seed) {
  const next = numbers(seed + 1000);
  return net.graph.inputs.map(({ symbol: { shape: own, dtype } }) => {
    const shape = [N, ...own.map((n) => n ?? T)];
    const data = Array.from({ length: shape.reduce((a, b) => a * b) }, () =>
      dtype === 'int32' ? 1 + Math.floor((next() + 0.5) * 8) : 4 * next(),
    );
    if (dtype === 'int32') data.fill(0, T - 2, T);
    else if (shape.length === 3) data.fill(0, (T - 1) * D, T * D);
    return { shape, data };
  });
}

async function trainFurther(net, x, y) {
  const losses = [];
  for (let i = 0; i < STEPS; i++)
    losses.push((await net.trainOnBatch(given(tensors(net, x)), given(plain(y)))).loss);
  return { losses, after: await predictions(net, x) };
}

/** A model of a kind, as it is made here, or from a file that Keras makes. */
async function modelOf(kind, seed, file) {
  if (kinds[kind]) {
    const net = kinds[kind]();
    if (!net.built) net.build([T]);
    return net;
  }
  await keras.ask('make', { kind, seed, path: file });
  return loadModel(file);
}

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-keras-'));
const keras = peer();
const rows = [];
let failures = 0;

async function row(name, tolerance, work) {
  const cells = [];
  for (const [direction, measure] of Object.entries(work)) {
    try {
      const found = await measure();
      const fits = found <= tolerance;
      if (!fits) failures++;
      cells.push(`${direction} ${found.toExponential(1)}${fits ? '' : ' TOO LARGE'}`);
    } catch (error) {
      failures++;
      cells.push(`${direction} FAILED: ${error.message}`);
    }
  }
  rows.push(name);
  console.log(`${name.padEnd(28)} ${cells.join('   ')}`);
}

const wanted = (name) => positionals.length === 0 || positionals.includes(name);
const { version, kinds: theirs } = await keras.ask('kinds', {});
console.log(`Keras ${version}; largest absolute differences of predictions`);
for (const kind of theirs) if (!(kind in kinds)) throw new Error(`no model '${kind}' here`);
for (const [i, kind] of Object.keys(kinds).entries()) {
  if (!wanted(kind)) continue;
  for (let s = 0; s < Number(options.seeds); s++) {
    const seed = 100 * s + i + 1;
    const file = (end) => path.join(folder, `${i}-${s}${end}`);
    const fromKeras = async (end) => {
      const made = await keras.ask('make', { kind, seed, path: file(end) });
      const net = await (end === '.weights.h5'
        ? modelOf(kind, seed, file('.made.keras'))
        : loadModel(file(end)));
      if (end === '.weights.h5') await loadWeights(net, file(end));
      return worst(await predictions(net, made.x), made.predicted);
    };
    const named = () => ({
      'from .safetensors': async () => {
        await keras.ask('make', { kind, seed, path: file('.named.keras') });
        const made = await keras.ask('make', { kind, seed: seed + 1, path: file('.safetensors') });
        const net = await loadModel(file('.named.keras'));
        await loadWeights(net, file('.safetensors'));
        return worst(await predictions(net, made.x), made.predicted);
      },
      'to .safetensors': async () => {
        const net = await loadModel(file('.named.keras'));
        await randomize(net, seed + 3);
        const x = inputsOf(net, seed);
        await net.saveWeights(file('.ours.safetensors'), { names: 'keras' });
        const filled = await keras.ask('assign', { kind, path: file('.ours.safetensors'), x });
        return worst(await predictions(net, x), filled.predicted);
      },
    });
    await row(kind, TOLERANCE, {
      'from .keras': () => fromKeras('.keras'),
      'from .h5': () => fromKeras('.h5'),
      'from .weights.h5': () => fromKeras('.weights.h5'),
      ...(kinds[kind] ? named() : {}),
      'to .keras': async () => {
        const net = await modelOf(kind, seed, file('.made.keras'));
        await randomize(net, seed);
        const x = inputsOf(net, seed);
        await net.save(file('.ours.keras'));
        const opened = await keras.ask('open', { path: file('.ours.keras'), x });
        return worst(await predictions(net, x), opened.predicted);
      },
    });
  }
}
for (const [i, kind] of Object.keys(refused).entries()) {
  if (!wanted(kind)) continue;
  const file = path.join(folder, `refused-${i}.keras`);
  /** 0 where it is refused for its mask. */
  const refusal = async (work) => {
    try {
      await work();
      return Number.NaN;
    } catch (error) {
      if (/mask/.test(error.message)) return 0;
      throw error;
    }
  };
  await row(`refused: ${kind}`, 0, {
    'from .keras': async () => {
      await keras.ask('make', { kind, seed: i + 1, path: file });
      return refusal(() => loadModel(file));
    },
    'to .keras': () => refusal(() => refused[kind]().save(file)),
  });
}
console.log(
  `\nTraining for ${STEPS} steps, saved, and for ${STEPS} steps on either side: losses and predictions after it`,
);
for (const [i, name] of Object.keys(optimizers).entries()) {
  if (!wanted(name)) continue;
  const [className, theirOptions, ourOptions] = optimizers[name];
  for (const [kind, fits] of [
    ['gru', true],
    ['bidirectional lstm', true],
    ['conv1D', name !== 'adafactor'],
    ['batchNormalization', true],
    ['states', true],
    ...['a direction frozen', 'models in a row', 'models used twice', 'names with spaces'].map((kind) => [
      kind,
      name === 'adam' || name === 'sgd clipnorm',
    ]),
    ['a decoder without its mask', name === 'sgd clipnorm'],
  ]) {
    if (!fits) continue;
    const file = (end) => path.join(folder, `t${i}-${kind}${end}`);
    const compared = (ours, other) =>
      Math.max(difference(ours.losses, other.losses), worst(ours.after, other.after));
    const fromKeras = async (end) => {
      const compile = { name: className, options: { learning_rate: rate, ...theirOptions } };
      const made = await keras.ask('make', { kind, seed: i + 50, path: file(end), compile, steps: STEPS });
      const net = await loadModel(file(end));
      return compared(await trainFurther(net, made.x, made.y), made);
    };
    await row(`${name}: ${kind}`, TRAINED, {
      'from .keras': () => fromKeras('.keras'),
      // Keras cannot write its state of this one to such a file: names are there twice.
      ...(name === 'adafactor' ? {} : { 'from .h5': () => fromKeras('.h5') }),
      'to .keras': async () => {
        const net = await modelOf(kind, i, file('.made.keras'));
        await randomize(net, i + 7);
        const type = className.toLowerCase();
        net.compile({ loss: 'mse', optimizer: { type, learningRate: rate, ...ourOptions } });
        const x = inputsOf(net, i);
        const y = (await predictions(net, x)).map(({ shape, data }) => {
          const next = numbers(i + 3);
          return { shape, data: data.map(() => next()) };
        });
        await trainFurther(net, x, y);
        await net.save(file('.ours.keras'));
        const opened = await keras.ask('open', { path: file('.ours.keras'), x, y, steps: STEPS });
        return compared(await trainFurther(net, x, y), opened);
      },
    });
  }
}
console.log('\nScores of models that were saved here, as Keras evaluates them, relative where above 1');
for (const [output, [losses, metrics]] of Object.entries(scored)) {
  for (const [i, loss] of losses.entries()) {
    const name = `${output}: ${loss.type ?? loss}`;
    if (!wanted(name)) continue;
    await row(name, TOLERANCE, {
      'to .keras': async () => {
        const activation = output === 'sparse' ? 'softmax' : output;
        const net = sequential([l.dense({ units: 3, activation, inputShape: [D] })]);
        await randomize(net, i + 31);
        net.compile({ loss, metrics, optimizer: 'sgd' });
        const x = inputsOf(net, i);
        const next = numbers(i + 5);
        const classes = Array.from({ length: N }, () => Math.floor((next() + 0.5) * 3));
        const targets = {
          softmax: { shape: [N, 3], data: classes.flatMap((c) => [0, 1, 2].map((k) => Number(k === c))) },
          sparse: { shape: [N], data: classes },
          sigmoid: { shape: [N, 3], data: Array.from({ length: 3 * N }, () => Number(next() > 0)) },
          linear: { shape: [N, 3], data: Array.from({ length: 3 * N }, () => 4 * next()) },
        };
        const y = targets[output];
        const path_ = path.join(folder, `${output}-${i}.keras`);
        await net.save(path_);
        const { scores } = await keras.ask('evaluate', { path: path_, x, y: [y] });
        const values = output === 'sparse' ? Int32Array.from(y.data) : Float32Array.from(y.data);
        const ours = await net.evaluate(given(tensors(net, x)), tensor(values, y.shape), { batchSize: N });
        const differences = Object.entries(ours).map(([key, own]) => {
          const theirs = scores[key] ?? [];
          const d = difference([own].flat(), theirs) / Math.max(1, ...theirs.map(Math.abs));
          if (!(d <= TOLERANCE)) console.log(`  ${key}: ${own} here, ${scores[key]} in Keras`);
          return d;
        });
        return differences.some(Number.isNaN) ? Number.NaN : Math.max(...differences);
      },
    });
  }
}
keras.end();
rmSync(folder, { recursive: true });
console.log(
  failures > 0
    ? `\n${failures} FAILED`
    : `\n${rows.length} rows, all within ${TOLERANCE}, trained ${TRAINED}`,
);
process.exitCode = failures > 0 ? 1 : 0;
