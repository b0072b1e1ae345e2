import { initializers, layers, sequential, sequentialFromConfig } from '../../../lib';
import { refusal } from '../refusal';

const policy = {
  module: 'keras',
  class_name: 'DTypePolicy',
  config: { name: 'float32' },
  registered_name: null,
};
const initializer = (class_name: string, config: object = { seed: null }) => ({
  module: 'keras.initializers',
  class_name,
  config,
  registered_name: null,
});

/** What Keras 3 writes for a small model, `json.loads(model.to_json())`. */
const keras3 = {
  module: 'keras',
  class_name: 'Sequential',
  config: {
    name: 'reader',
    trainable: true,
    dtype: policy,
    layers: [
      {
        module: 'keras.layers',
        class_name: 'InputLayer',
        config: { batch_shape: [null, 12], dtype: 'float32', sparse: false, ragged: false, name: 'ids' },
        registered_name: null,
      },
      {
        module: 'keras.layers',
        class_name: 'Embedding',
        config: {
          name: 'embedding',
          trainable: true,
          dtype: policy,
          input_dim: 50,
          output_dim: 6,
          embeddings_initializer: initializer('RandomUniform', { minval: -0.05, maxval: 0.05, seed: null }),
          embeddings_regularizer: null,
          activity_regularizer: null,
          embeddings_constraint: null,
          mask_zero: true,
        },
        registered_name: null,
        build_config: { input_shape: [null, 12] },
      },
      {
        module: 'keras.layers',
        class_name: 'GRU',
        config: {
          name: 'gru',
          trainable: true,
          dtype: policy,
          return_sequences: true,
          return_state: false,
          go_backwards: false,
          stateful: false,
          unroll: false,
          zero_output_for_mask: false,
          units: 5,
          activation: 'tanh',
          recurrent_activation: 'hard_sigmoid',
          use_bias: true,
          kernel_initializer: initializer('HeNormal'),
          recurrent_initializer: initializer('Orthogonal', { gain: 1.0, seed: null }),
          bias_initializer: initializer('Zeros', {}),
          kernel_regularizer: { module: 'keras.regularizers', class_name: 'L2', config: { l2: 0.01 } },
          recurrent_regularizer: null,
          bias_regularizer: null,
          activity_regularizer: null,
          kernel_constraint: { class_name: 'MaxNorm', config: { max_value: 3, axis: 0 } },
          recurrent_constraint: null,
          bias_constraint: null,
          dropout: 0.1,
          recurrent_dropout: 0.0,
          reset_after: true,
          seed: null,
        },
      },
      { class_name: 'LSTM', config: { name: 'lstm', units: 4, implementation: 2, unit_forget_bias: true } },
      { class_name: 'Dropout', config: { name: 'dropout', rate: 0.5, seed: null, noise_shape: null } },
      { class_name: 'Dense', config: { name: 'dense', units: 3, activation: null, lora_rank: null } },
    ],
    build_input_shape: [null, 12],
  },
  keras_version: '3.6.0',
  backend: 'tensorflow',
};

test('a whole Keras 3 model', () => {
  const model = sequentialFromConfig(keras3);
  expect(model.name).toBe('reader');
  expect([model.inputShape, model.outputShape]).toEqual([[12], [3]]);
  const ours = sequential([
    layers.input({ name: 'ids', shape: [12], dtype: 'int32' }),
    layers.embedding({
      inputDim: 50,
      outputDim: 6,
      maskZero: true,
      embeddingsInitializer: initializers.randomUniform({ minval: -0.05, maxval: 0.05 }),
    }),
    layers.gru({
      units: 5,
      returnSequences: true,
      recurrentActivation: 'hardSigmoid',
      kernelInitializer: 'heNormal',
      recurrentInitializer: initializers.orthogonal({ gain: 1 }),
      kernelRegularizer: { type: 'l2', l2: 0.01 },
      kernelConstraint: { type: 'maxNorm', maxValue: 3 },
      dropout: 0.1,
    }),
    layers.lstm({ units: 4 }),
    layers.dropout({ rate: 0.5 }),
    layers.dense({ units: 3 }),
  ]);
  expect(model.getConfig().layers).toEqual(ours.getConfig().layers);
});

test('layers of Keras 2, and get_config() alone', () => {
  const model = sequentialFromConfig({
    name: 'old',
    layers: [
      { class_name: 'Embedding', config: { input_dim: 9, output_dim: 2, input_length: 4 } },
      { class_name: 'SimpleRNN', config: { units: 3, time_major: false, dtype: 'float32' } },
    ],
  });
  expect(model.inputShape).toEqual([4]);
  const stateful = sequentialFromConfig({
    layers: [{ class_name: 'LSTM', config: { units: 4, batch_input_shape: [2, 3, 2], stateful: true } }],
  });
  expect(stateful.inputShape).toEqual([3, 2]);
  expect(stateful.layers[0]?.batchSize).toBe(2);
});

test.each([
  ['OrthogonalInitializer', { gain: 1.0, seed: null }, { type: 'orthogonal', gain: 1 }],
  ['IdentityInitializer', { gain: 2.0 }, { type: 'identity', gain: 2 }],
])("an initializer under Keras's second name for it, %s", (class_name, config, expected) => {
  const gru = { units: 5, recurrent_initializer: initializer(class_name, config) };
  const model = sequentialFromConfig({ layers: [{ class_name: 'GRU', config: gru }] });
  expect(model.getConfig().layers[0]?.config['recurrentInitializer']).toEqual(expected);
});

test.each<[string, object, string]>([
  [
    'return_state',
    { class_name: 'LSTM', config: { units: 2, return_state: true } },
    'layers.lstm: expected one output in a sequential model, got returnState: true. Use input, applyAll and model({ inputs, outputs }) for states, and for directions apart.',
  ],
  [
    'dtype',
    { class_name: 'GRU', config: { units: 2, dtype: { config: { name: 'mixed_bfloat16' } } } },
    "layers.gru: dtype: expected 'float32', got 'mixed_bfloat16'.",
  ],
  [
    'a layer without configuration',
    { class_name: 'GRU' },
    'sequentialFromConfig: layers[0]: expected { type, config } or { class_name, config }, got an object.',
  ],
])('%s is refused by name', async (_, layer, message) => {
  expect(await refusal(() => sequentialFromConfig({ layers: [layer as never] }))).toBe(
    `ERR_VALUE ${message}`,
  );
});

test('what is no sequential model', async () => {
  expect(await refusal(() => sequentialFromConfig({ class_name: 'Functional', config: {} }))).toBe(
    "ERR_VALUE sequentialFromConfig: class_name: expected 'Sequential', got 'Functional'.",
  );
  expect(await refusal(() => sequentialFromConfig({} as never))).toBe(
    'ERR_VALUE sequentialFromConfig: layers: expected an array of layers, got undefined.',
  );
  expect(await refusal(() => sequentialFromConfig(null as never))).toBe(
    'ERR_VALUE sequentialFromConfig: expected the configuration of a model, got null.',
  );
});

describe('activations that are layers of Keras', () => {
  const object = (class_name: string, own: object) => ({
    module: 'keras.layers',
    class_name,
    config: { name: 'a', trainable: true, dtype: policy, ...own },
    registered_name: null,
  });
  const read = (activation: unknown) =>
    layers.dense({ units: 2, name: 'd', activation: activation as never }).getConfig()['activation'];

  test.each<[string, object, unknown]>([
    ['LeakyReLU', { negative_slope: 0.1 }, { type: 'leakyRelu', alpha: 0.1 }],
    ['LeakyReLU', { alpha: 0.1 }, { type: 'leakyRelu', alpha: 0.1 }],
    ['LeakyReLU', {}, { type: 'leakyRelu', alpha: 0.3 }],
    ['LeakyReLU', { negative_slope: 0 }, 'relu'],
    ['ELU', { alpha: 0.5 }, { type: 'elu', alpha: 0.5 }],
    ['ELU', { alpha: 1 }, 'elu'],
    ['ReLU', { max_value: null, negative_slope: 0, threshold: 0 }, 'relu'],
    ['ReLU', { max_value: 6, negative_slope: 0, threshold: 0 }, 'relu6'],
    ['ReLU', { max_value: null, negative_slope: 0.25, threshold: 0 }, { type: 'leakyRelu', alpha: 0.25 }],
    ['ReLU', { threshold: 0.5 }, { type: 'threshold', alpha: 0.5 }],
    ['Softmax', { axis: -1 }, 'softmax'],
    ['Activation', { activation: 'mish' }, 'mish'],
    ['Activation', { activation: object('ELU', { alpha: 0.5 }) }, { type: 'elu', alpha: 0.5 }],
  ])('%s %j', (class_name, own, wanted) => {
    expect(read(object(class_name, own))).toEqual(wanted);
  });

  test.each<[string, object, string]>([
    [
      'PReLU',
      { shared_axes: null },
      'activation: PReLU: expected a function without weights of its own, got a PReLU.',
    ],
    [
      'ReLU',
      { max_value: 2 },
      'activation: ReLU: expected a ReLU up to 6 and nothing else, got max_value: 2.',
    ],
    [
      'ReLU',
      { max_value: 6, threshold: 1 },
      'activation: ReLU: expected a ReLU with a threshold and nothing else',
    ],
    ['Softmax', { axis: 1 }, 'activation: Softmax: axis: expected -1, got 1.'],
    ['LeakyReLU', { negative_slope: 0.1, slope: 1 }, "activation: LeakyReLU: unknown option 'slope'"],
    [
      'LeakyReLU',
      { negative_slope: -1 },
      "layer 'd': activation: alpha: expected a finite number above 0, got -1",
    ],
    ['ELU', { dtype: 'float16' }, "activation: dtype: expected 'float32', got 'float16'"],
    ['Dense', { units: 2 }, "layer 'd': activation: expected one of"],
  ])('%s %j is refused', async (class_name, own, reason) => {
    expect(await refusal(() => read(object(class_name, own)))).toContain(reason);
  });

  test('in one another without end are refused', async () => {
    let deep: unknown = 'relu';
    for (let i = 0; i < 5000; i++) deep = object('Activation', { activation: deep });
    expect(await refusal(() => read(deep))).toContain(
      'expected an activation, got activations in activations',
    );
  });

  test('of recurrent layers and cells', () => {
    const given = object('LeakyReLU', { negative_slope: 0.1 });
    const wanted = { type: 'leakyRelu', alpha: 0.1 };
    const lstm = layers.lstm({ units: 2, activation: given, recurrentActivation: given });
    expect(lstm.getConfig()).toMatchObject({ activation: wanted, recurrentActivation: wanted });
    const cell = {
      class_name: 'GRUCell',
      config: { units: 2, activation: given, recurrent_activation: 'sigmoid' },
    };
    expect(layers.rnn({ cell: cell as never }).getConfig()).toMatchObject({
      cell: { config: { activation: wanted, recurrent_activation: 'sigmoid' } },
    });
  });
});

test('Identity is an activation that changes nothing', () => {
  const config = {
    layers: [{ class_name: 'Identity', config: { name: 'same', trainable: true, dtype: policy } }],
  };
  const [layer] = sequentialFromConfig(config).layers;
  expect([layer?.type, layer?.getConfig()]).toEqual(['activation', { name: 'same', activation: 'linear' }]);
});

test('means by other names are losses, sums and the like are not', async () => {
  const compiled = (reduction: string | null) =>
    sequential([layers.dense({ units: 3, inputShape: [2] })]).compile({
      loss: { class_name: 'Huber', config: { delta: 2, reduction } } as never,
      optimizer: 'sgd',
    });
  for (const reduction of ['mean', 'auto', 'sum_over_batch_size'])
    expect(compiled(reduction).compiled?.losses[0]?.getConfig()).toEqual({ type: 'huber', delta: 2 });
  for (const reduction of ['sum', 'none', 'mean_with_sample_weight'])
    expect(await refusal(() => compiled(reduction))).toContain(
      "compile: loss: 'Huber': reduction: expected a mean",
    );
});

test("compile takes Keras's short names of losses and metrics", () => {
  const short = {
    bce: 'binaryCrossentropy',
    kld: 'klDivergence',
    mae: 'meanAbsoluteError',
    mse: 'meanSquaredError',
    mape: 'meanAbsolutePercentageError',
    msle: 'meanSquaredLogarithmicError',
  };
  const dense = () => sequential([layers.dense({ units: 3, activation: 'softmax', inputShape: [2] })]);
  for (const [name, type] of Object.entries(short))
    for (const loss of [name, name.toUpperCase()]) {
      const model = dense();
      model.compile({ loss });
      expect(model.compiled?.losses[0]?.getConfig()).toMatchObject({ type });
      model.dispose();
    }
  const model = dense();
  model.compile({ loss: 'categoricalCrossentropy', metrics: ['ce', 'MSE', 'mae', 'acc'] });
  expect(model.metrics.map((metric) => [metric.name, metric.getConfig()['type']])).toEqual([
    ['ce', 'crossentropy'],
    ['mse', 'meanSquaredError'],
    ['mae', 'meanAbsoluteError'],
    ['acc', 'accuracy'],
  ]);
  model.dispose();
});

test('compile takes optimizers, losses and metrics as Keras writes them', async () => {
  const dense = () => sequential([layers.dense({ units: 3, inputShape: [2] })]);
  const model = dense().compile({
    loss: {
      module: 'keras.losses',
      class_name: 'CategoricalCrossentropy',
      config: {
        name: 'cc',
        reduction: 'sum_over_batch_size',
        from_logits: true,
        label_smoothing: 0.1,
        axis: -1,
      },
    },
    optimizer: {
      class_name: 'Adam',
      config: {
        name: 'adam',
        learning_rate: {
          class_name: 'ExponentialDecay',
          config: {
            initial_learning_rate: 0.1,
            decay_steps: 10,
            decay_rate: 0.5,
            staircase: false,
            name: 'd',
          },
        },
        weight_decay: null,
        clipnorm: 1,
        global_clipnorm: null,
        use_ema: true,
        ema_momentum: 0.875,
        ema_overwrite_frequency: null,
        loss_scale_factor: null,
        gradient_accumulation_steps: 2,
        beta_1: 0.8,
        amsgrad: false,
      },
    },
    metrics: [
      {
        class_name: 'Precision',
        config: { name: 'p', dtype: policy, thresholds: null, class_id: null, top_k: null },
      },
    ],
  } as never);
  expect(model.compiled?.losses[0]?.getConfig()).toMatchObject({ fromLogits: true, labelSmoothing: 0.1 });
  expect(model.optimizer.getConfig()).toMatchObject({
    type: 'adam',
    beta1: 0.8,
    clipNorm: 1,
    gradientAccumulationSteps: 2,
  });
  expect(model.optimizer.ema).toEqual({ momentum: 0.875, overwriteFrequency: undefined });
  expect(model.learningRate).toBe(0.1);
  expect(model.metrics.map(({ name }) => name)).toEqual(['p']);
  expect(
    await refusal(() =>
      dense().compile({ loss: { class_name: 'MeanSquaredError', config: { reduction: 'sum' } } } as never),
    ),
  ).toBe(
    "ERR_VALUE compile: loss: 'MeanSquaredError': reduction: expected a mean over the batch (sum_over_batch_size), which is what losses are here, got 'sum'. For batches of one size lossWeights: [the number of rows in a batch] makes the same of it.",
  );
  expect(
    await refusal(() =>
      dense().compile({ loss: 'mse', optimizer: { class_name: 'Adam', config: { decay: 0.1 } } } as never),
    ),
  ).toBe('ERR_VALUE compile: optimizer: decay: expected 0, got 0.1.');
});
