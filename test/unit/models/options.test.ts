import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Callback, callbacks, layers, loadModel, sequential, sequentialFromConfig } from '../../../lib';
import { readModelFile } from '../../../lib/io/modelFile';
import { refusal } from '../refusal';
import { randomSequences, smallModel, whichThird } from './data';

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-options-'));
afterAll(() => rmSync(folder, { recursive: true }));

const x = randomSequences(20, 6, 4, 1);
const y = whichThird(x);
const compiled = () => smallModel().compile({ loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
/** Options as someone writes them who knows Keras; TypeScript would refuse them. */
const keras = (options: object) => options as never;

describe("options in Keras's spelling count", () => {
  test('fit', async () => {
    const sizes: number[] = [];
    const count: Callback = { onBatchEnd: (batch) => void sizes.push(batch) };
    const model = compiled();
    const { epoch, history } = await model.fit(
      x,
      y,
      keras({ batch_size: 5, epochs: 6, initial_epoch: 5, validation_split: 0.25, callbacks: [count] }),
    );
    expect(epoch).toEqual([5]);
    expect(sizes).toEqual([0, 1, 2]);
    expect(Object.keys(history)).toContain('val_loss');
    expect(await refusal(() => model.fit(x, y, keras({ sample_weight: 'junk' })))).toBe(
      "ERR_VALUE fit: sampleWeight: expected a typed array, a Tensor or nested arrays, got 'junk'.",
    );
    expect(await refusal(() => model.fit(x, y, keras({ resume_from: path.join(folder, 'none') })))).toContain(
      'could not be read: ENOENT',
    );
  });

  test('evaluate and predict', async () => {
    const model = compiled();
    const weights = Array.from({ length: 20 }, (_, i) => i);
    expect(await model.evaluate(x, y, keras({ sample_weight: weights }))).toEqual(
      await model.evaluate(x, y, { sampleWeight: weights }),
    );
    const h = randomSequences(20, 1, 7, 5).reshape([20, 7]);
    expect(await model.predict(x, keras({ initial_states: { gru: { h } } }))).toEqual(
      await model.predict(x, { initialStates: { gru: { h } } }),
    );
  });

  test('trainOnBatch, save and validation data', async () => {
    const weights = Array.from({ length: 20 }, (_, i) => i);
    expect(await compiled().trainOnBatch(x, y, keras({ sample_weight: weights }))).toEqual(
      await compiled().trainOnBatch(x, y, { sampleWeight: weights }),
    );
    const model = compiled();
    const { history } = await model.fit(x, y, { validationData: keras({ x, y, sample_weight: weights }) });
    expect(history['val_loss']?.[0]).toBeCloseTo(
      (await model.evaluate(x, y, { sampleWeight: weights }))['loss'] as number,
      6,
    );
    const file = path.join(folder, 'model');
    await model.save(file, keras({ include_optimizer: true }));
    expect((await readModelFile(file)).config).toMatchObject({ step: 1 });
  });
});

describe('null stands for not given, as in Keras', () => {
  test('of fit, with validation data and batches whose weights are null', async () => {
    const plain = await compiled().fit(x, y);
    const nulls = {
      batch_size: null,
      validation_data: null,
      validation_split: null,
      validation_steps: null,
      class_weight: null,
      sample_weight: null,
      steps_per_epoch: null,
      callbacks: null,
      initialStates: null,
      signal: null,
      resumeFrom: null,
      shuffle: null,
      verbose: null,
    };
    expect((await compiled().fit(x, y, keras(nulls))).history).toEqual(plain.history);
    const batches = function* () {
      yield [x, y, null];
    };
    const { history } = await compiled().fit(keras(batches), { validationData: keras([x, y, null]) });
    expect(Object.keys(history)).toContain('val_loss');
  });

  test('of the other calls and of callbacks', async () => {
    const model = compiled();
    const weights = { sample_weight: null, class_weight: null };
    const scores = await model.evaluate(x, y);
    expect(await model.evaluate(x, y, keras({ ...weights, steps: null, callbacks: null }))).toEqual(scores);
    await model.predict(x, keras({ batch_size: null, steps: null, verbose: null }));
    await model.computeGradients(x, y, keras(weights));
    await model.trainOnBatch(x, y, keras(weights));
    await model.save(path.join(folder, 'null'), keras({ includeOptimizer: null }));
    const stop = callbacks.earlyStopping(keras({ monitor: 'loss', baseline: null, mode: null }));
    await model.fit(x, y, { callbacks: [stop] });
    expect(model.step).toBe(2);
  });

  test('but for an activation, where it is none', () => {
    const gru = layers.gru(keras({ units: 2, activation: null, recurrent_activation: null }));
    expect(gru.getConfig()).toMatchObject({ activation: 'linear', recurrentActivation: 'linear' });
    const loaded = { layers: [{ class_name: 'GRU', config: { units: 2, recurrent_activation: null } }] };
    expect(sequentialFromConfig(loaded).getConfig().layers[0]?.config).toMatchObject({
      recurrentActivation: 'linear',
    });
  });

  test('what must be given', async () => {
    expect(await refusal(() => smallModel().compile(keras({ loss: null })))).toBe(
      "ERR_VALUE compile: loss: expected a loss, e.g. 'categoricalCrossentropy', got nothing.",
    );
  });
});

describe("Keras's options at values that mean nothing here", () => {
  test('are passed over by layers', () => {
    expect(
      layers
        .embedding(keras({ inputDim: 3, outputDim: 2, mask_zero: false, input_length: 4, dtype: 'float32' }))
        .getConfig(),
    ).toEqual(layers.embedding({ inputDim: 3, outputDim: 2, inputShape: [4] }).getConfig());
    const harmless = { implementation: 2, unroll: true, return_state: false, use_cudnn: 'auto' };
    expect(layers.lstm(keras({ units: 2, ...harmless })).getConfig()).toEqual(
      layers.lstm({ units: 2 }).getConfig(),
    );
  });

  test('and by compile', () => {
    const options = {
      loss: 'mse',
      loss_weights: null,
      run_eagerly: false,
      jit_compile: 'auto',
      steps_per_execution: 1,
      auto_scale_loss: true,
    };
    const model = sequential([layers.dense({ units: 1, inputShape: [1] })]);
    expect(model.compile(keras(options)).compiled?.losses[0]?.type).toBe('meanSquaredError');
  });

  test.each<[string, () => unknown, string]>([
    [
      'return_state',
      () => layers.dense(keras({ units: 3, return_state: true })),
      'layers.dense: return_state: expected false, got true.',
    ],
    [
      'run_eagerly',
      () => smallModel().compile(keras({ loss: 'mse', run_eagerly: true })),
      'compile: run_eagerly: expected false, got true.',
    ],
    [
      'lossWeights',
      () => smallModel().compile(keras({ loss: 'mse', lossWeights: [1, 2] })),
      'compile: lossWeights: expected one for each output: an array of 1, or an object with dense, got an array of 2.',
    ],
  ])('at others they are refused: %s', async (_, work, message) => {
    expect(await refusal(work)).toBe(`ERR_VALUE ${message}`);
  });
});

describe('names that mean nothing are refused by every call', () => {
  const file = path.join(folder, 'named');
  test.each<[string, (name: object) => unknown, string, string]>([
    ['trainOnBatch', (o) => compiled().trainOnBatch(x, y, o), 'sampelWeight', 'sampleWeight'],
    ['computeGradients', (o) => compiled().computeGradients(x, y, o), 'classWeights', 'classWeight'],
    ['save', (o) => compiled().save(file, o), 'includeOptimiser', 'includeOptimizer'],
    ['loadModel', (o) => loadModel(file, o), 'compil', 'compile'],
    ['sequential', (o) => sequential([], o), 'sed', 'seed'],
  ])('%s', async (call, work, name, nearest) => {
    expect(await refusal(() => work({ [name]: 3 }))).toBe(
      `ERR_VALUE ${call}: unknown option '${name}'. Did you mean '${nearest}'?`,
    );
  });
});

test('an option in both spellings is refused, and both are told', async () => {
  for (const options of [
    { batch_size: 3, batchSize: 4 },
    { batchSize: 4, batch_size: 3 },
  ]) {
    expect(await refusal(() => compiled().fit(x, y, keras(options)))).toBe(
      "ERR_VALUE fit: option 'batchSize' is given twice, also as 'batch_size'.",
    );
  }
});

describe('values', () => {
  test.each<[string, () => unknown, string]>([
    [
      'a switch',
      () => loadModel('x', keras({ compile: 'no' })),
      "loadModel: compile: expected true or false, got 'no'.",
    ],
    [
      'another switch',
      () => compiled().save('x', keras({ checkpoint: 1 })),
      'save: checkpoint: expected true or false, got 1.',
    ],
    [
      'no options',
      () => sequential([], null as never),
      'sequential: expected an object of options, got null.',
    ],
    ['a name', () => sequential([], keras({ name: 5 })), 'sequential: name: expected a name, got 5.'],
    [
      'a signal',
      () => compiled().fit(x, y, keras({ signal: {} })),
      'fit: signal: expected an AbortSignal, got an object.',
    ],
    [
      'a signal of predict',
      () => compiled().predict(x, keras({ signal: {} })),
      'predict: signal: expected an AbortSignal, got an object.',
    ],
    [
      'callbacks in an array too many',
      () => compiled().fit(x, y, keras({ callbacks: [[{}]] })),
      'fit: callbacks: expected an array of callbacks, got [[an object]].',
    ],
    [
      'a hook that cannot be called',
      () => compiled().fit(x, y, keras({ callbacks: [{ onEpochEnd: 5 }] })),
      'fit: callbacks: onEpochEnd: expected a function, got 5.',
    ],
    [
      'no initial states',
      () => compiled().predict(x, keras({ initialStates: 5 })),
      'predict: initialStates: expected an object of states by layer and name, { lstm: { h, c } }, got 5.',
    ],
    [
      'a share of the data',
      () => compiled().fit(x, y, { validationSplit: 1 }),
      'fit: validationSplit: expected a number from 0 to below 1, got 1.',
    ],
  ])('%s', async (_, work, message) => {
    expect(await refusal(work)).toBe(`ERR_VALUE ${message}`);
  });

  test('what Keras takes is taken: verbose of evaluate and predict, true and false, a split of 0', async () => {
    const model = compiled();
    await model.fit(x, y, { validationSplit: 0, verbose: false });
    await model.evaluate(x, y, { verbose: 0 });
    expect((await model.predict(x, { verbose: 'auto' })).shape).toEqual([20, 3]);
    expect(await refusal(() => model.predict(x, keras({ verbose: 3 })))).toBe(
      "ERR_VALUE predict: verbose: expected 0, 1, 2, 'auto', true or false, got 3.",
    );
  });

  test('an initial state that is not finite, with its place', async () => {
    const h = new Float32Array(20 * 7);
    h[3 * 7 + 2] = Number.NaN;
    const states = { gru: { h: randomSequences(20, 1, 7, 5).reshape([20, 7]) } };
    states.gru.h.data[3 * 7 + 2] = Number.NaN;
    for (const [call, work] of [
      ['fit', () => compiled().fit(x, y, { initialStates: states })],
      ['predict', () => compiled().predict(x, { initialStates: states })],
    ] as const) {
      expect(await refusal(work)).toBe(
        `ERR_VALUE ${call}: initialStates: gru/h: expected finite numbers, got NaN at [3, 2].`,
      );
    }
  });

  test('a stateful model refuses a remainder before any batch has run', async () => {
    const model = sequential([
      layers.lstm({ units: 3, stateful: true, batchInputShape: [4, 6, 4] }),
      layers.dense({ units: 3, activation: 'softmax' }),
    ]).compile({ loss: 'sparseCategoricalCrossentropy' });
    const message =
      'x: expected batches of exactly 4 examples (a stateful model), got 2. Set batchSize and drop or pad the rest.';
    expect(await refusal(() => model.fit(x.rows(0, 10), y.rows(0, 10)))).toBe(`ERR_SHAPE fit: ${message}`);
    expect(model.step).toBe(0);
    expect(await refusal(() => model.predict(x.rows(0, 10)))).toBe(`ERR_SHAPE predict: ${message}`);
    await model.fit(x.rows(0, 10), y.rows(0, 10), { stepsPerEpoch: 2 });
    expect(model.step).toBe(2);
  });
});
