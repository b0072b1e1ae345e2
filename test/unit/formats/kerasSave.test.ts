import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  cells,
  defineCell,
  defineLoss,
  model as functional,
  input,
  type Layer,
  layers,
  loadModel,
  loadWeights,
  type Model,
  modelFromConfig,
  ops,
  schedules,
  sequential,
  standardScaler,
  type Tensor,
  tensor,
} from 'deeprnn';
import { readArchive } from '../../../lib/formats/keras/archive';
import { writeZip } from '../../../lib/io/zip';
import { refusal } from '../refusal';

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-keras-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = path.join(folder, 'model.keras');

const [N, T, D] = [5, 4, 3];
const x = tensor(
  Float32Array.from({ length: N * T * D }, (_, i) => Math.sin(i)),
  [N, T, D],
);
const y = tensor(
  Float32Array.from({ length: N * 2 }, (_, i) => Math.cos(i)),
  [N, 2],
);

const bits = (t: Tensor) => Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength).toString('hex');

function stacked(optimizer: unknown = 'adam') {
  const net = sequential(
    [
      layers.bidirectional({ layer: layers.gru({ units: 3, returnSequences: true }), inputShape: [null, D] }),
      layers.batchNormalization(),
      layers.dropout({ rate: 0.2 }),
      layers.rnn({ cell: cells.stacked([cells.gru({ units: 3 }), cells.lstm({ units: 2 })]) }),
      layers.dense({ units: 2, kernelRegularizer: { type: 'l2', l2: 0.01 }, biasConstraint: 'nonNeg' }),
    ],
    { seed: 3 },
  );
  return net.compile({ loss: 'huber', optimizer: optimizer as string, metrics: ['mae'] });
}

/** A configuration in which cells, which are kept as they were given, are left out. */
function withoutCells(net: Model): unknown {
  return JSON.parse(JSON.stringify(net.getConfig(), (key, value) => (key === 'cell' ? undefined : value)));
}

describe('a model that is saved as Keras has it, and loaded again', () => {
  test.each([
    'adam',
    {
      type: 'sgd',
      momentum: 0.9,
      nesterov: true,
      learningRate: schedules.cosineDecay({ initialLearningRate: 0.1, decaySteps: 9 }),
    },
    { type: 'nadam', gradientAccumulationSteps: 2, useEma: true, emaMomentum: 0.5 },
    { type: 'adamw', weightDecay: 0.01, decayBiases: true, clipNorm: 1 },
    { type: 'rmsprop', centered: true, momentum: 0.1 },
  ])('is the same, and trains on with the same bits: %j', async (optimizer) => {
    const net = stacked(optimizer);
    for (let i = 0; i < 3; i++) await net.trainOnBatch(x, y);
    net.preprocessing['scaler'] = standardScaler();
    (net.preprocessing['scaler'] as ReturnType<typeof standardScaler>).fit(x);
    await net.save(file);
    const again = await loadModel(file);
    expect(withoutCells(again)).toEqual(withoutCells(net));
    expect(again.optimizer.getConfig()).toEqual(net.optimizer.getConfig());
    expect(again.step).toBe(3);
    expect(again.preprocessing['scaler']?.toJSON()).toEqual(net.preprocessing['scaler']?.toJSON());
    expect(bits(await again.predict(x))).toBe(bits(await net.predict(x)));
    for (let i = 0; i < 3; i++) expect(await again.trainOnBatch(x, y)).toEqual(await net.trainOnBatch(x, y));
    expect(bits(await again.predict(x))).toBe(bits(await net.predict(x)));
  });

  test('of several inputs and outputs, with layers used twice and states', async () => {
    const [a, b] = [input({ shape: [T, D], name: 'a' }), input({ shape: [T, D], name: 'b' })];
    const encoder = layers.lstm({ units: 2, returnState: true });
    const [read, h, c] = encoder.applyAll(a);
    const [other] = encoder.applyAll(b);
    const decoded = layers.lstm({ units: 2, name: 'decoded' }).apply([b, h as never, c as never]);
    const both = layers.add({ name: 'both' }).apply([read as never, other as never]);
    const net = functional({ inputs: [a, b], outputs: [decoded, both], name: 'two', seed: 4 });
    net.compile({
      loss: { decoded: 'mse', both: { type: 'huber', delta: 0.5 } },
      lossWeights: { both: 0.25 },
      optimizer: 'adagrad',
      metrics: { both: ['mae'] },
    });
    await net.trainOnBatch([x, x], { decoded: y, both: y });
    await net.save(file);
    const again = await loadModel<Record<string, Tensor>>(file);
    expect(again.getConfig()).toEqual(net.getConfig());
    expect(await again.trainOnBatch([x, x], [y, y])).toEqual(await net.trainOnBatch([x, x], [y, y]));
  });

  test('one output in an array stays one by name', async () => {
    const a = input({ shape: [D] });
    const net = functional({ inputs: a, outputs: [layers.dense({ units: 2, name: 'only' }).apply(a)] });
    await net.save(file);
    expect((await loadModel(file)).getConfig()).toEqual(net.getConfig());
  });

  test('a stateful model keeps its batch size', async () => {
    const net = sequential([layers.gru({ units: 2, stateful: true, batchInputShape: [N, T, D] })]);
    await net.save(file);
    expect((await loadModel(file)).getConfig()).toEqual(net.getConfig());
  });

  test('includeOptimizer: false leaves out what compile said', async () => {
    await stacked().save(file, { includeOptimizer: false });
    expect((await loadModel(file)).compiled).toBeUndefined();
  });

  test('a frozen layer keeps its weights out of the optimizer', async () => {
    const net = sequential([
      layers.dense({ units: 3, inputShape: [D], trainable: false }),
      layers.dense({ units: 2 }),
    ]).compile({ loss: 'mse', optimizer: 'adam' });
    const flat = tensor(x.data.slice(0, N * D), [N, D]);
    await net.trainOnBatch(flat, y);
    await net.save(file);
    const again = await loadModel(file);
    expect(again.variables.names().sort()).toEqual(net.variables.names().sort());
    expect(await again.trainOnBatch(flat, y)).toEqual(await net.trainOnBatch(flat, y));
  });

  test('what this library adds is there under its own name, and a newer form of it is refused', async () => {
    await stacked().save(file);
    const names = ['metadata.json', 'config.json', 'model.weights.h5', 'deeprnn.json'];
    const members = new Map(await readArchive(readFileSync(file), 'test', names));
    expect(JSON.parse(members.get('deeprnn.json')?.toString() ?? '')).toEqual({
      version: 1,
      seed: 3,
      namesOutputs: false,
      preprocessing: {},
      withoutMask: [],
    });
    members.set('deeprnn.json', Buffer.from('{"version":2}'));
    writeFileSync(file, Buffer.concat(await writeZip(members)));
    expect(await refusal(() => loadModel(file))).toContain('deeprnn.json: version: expected 1');
    members.delete('deeprnn.json');
    writeFileSync(file, Buffer.concat(await writeZip(members)));
    expect((await loadModel(file)).layers).toHaveLength(5);
  });
});

test('weights alone go to a .weights.h5 file, and back', async () => {
  const [net, other] = [stacked(), stacked()];
  const weights = path.join(folder, 'model.weights.h5');
  await net.trainOnBatch(x, y);
  await net.saveWeights(weights);
  await loadWeights(other, weights);
  expect(bits(await other.predict(x))).toBe(bits(await net.predict(x)));
  const own = path.join(folder, 'weights.safetensors');
  await net.saveWeights(own);
  await loadWeights(other, own);
  expect(await refusal(() => loadModel(weights))).toBe(
    `ERR_FILE '${weights}' holds weights alone. Make the model and call loadWeights(model, path).`,
  );
  expect(
    await refusal(() => loadWeights(sequential([layers.dense({ units: 2, inputShape: [D] })]), weights)),
  ).toMatch(
    /^ERR_FILE .* holds the weights of another model: expected dense\/kernel at 'layers\/dense\/vars\/0' \[3, 2\], got \[2, 2\]\.$/,
  );
});

describe('what Keras has no word for is refused before anything is written', () => {
  const minimal = defineCell('kerasSaveMinimal', () => ({
    states: { h: 2 },
    weights: (features) => ({ kernel: { shape: [features, 2] } }),
    step: (own, _states, weights) => {
      const h = ops.matmul(own, weights['kernel'] as never);
      return { output: h, states: { h } };
    },
  }));
  const options = (own: object): Layer =>
    layers.lstm({ units: 2, name: 'upper', inputShape: [T, D], ...own });
  const shaped = { name: 'upper', inputShape: [T, D] };

  test.each<[string, () => Layer, string]>([
    [
      'zoneout',
      () => options({ zoneout: 0.1 }),
      "layer 'upper': expected options that Keras has, got zoneout: 0.1",
    ],
    ['peepholes', () => options({ peepholes: true }), 'got peepholes: true'],
    ['coupledGates', () => options({ coupledGates: true }), 'got coupledGates: true'],
    ['cellClip', () => options({ cellClip: 3 }), 'got cellClip: 3'],
    ['projectionUnits', () => options({ projectionUnits: 1 }), 'got projectionUnits: 1'],
    [
      'layerNormalization',
      () => options({ layerNormalization: true }),
      'got layerNormalization: {"epsilon":0.00001}',
    ],
    ['weightNoise', () => options({ weightNoise: 0.1 }), 'got weightNoise: 0.1'],
    ['dropoutMode', () => options({ dropout: 0.1, dropoutMode: 'perStep' }), "got dropoutMode: 'perStep'"],
    ['initialState', () => options({ initialState: 'learned' }), "got initialState: 'learned'"],
    [
      'highway',
      () => layers.highway(shaped),
      "layer 'upper': expected a layer that Keras has, got 'highway'",
    ],
    [
      'indRNN',
      () => layers.rnn({ cell: cells.indRNN({ units: 2 }), ...shaped }),
      "layer 'upper': cell: expected a cell that Keras has, got 'indRNN'",
    ],
    [
      'defineCell',
      () => layers.rnn({ cell: minimal({}), ...shaped }),
      "cell: expected a cell that Keras has, got 'kerasSaveMinimal'",
    ],
    [
      'a cell of a stack',
      () =>
        layers.rnn({
          cell: cells.stacked([cells.gru({ units: 2 }), cells.lstm({ units: 2, zoneout: 0.1 })]),
          ...shaped,
        }),
      "cell 'lstm': expected options that Keras has, got zoneout: 0.1",
    ],
    [
      'inside bidirectional',
      () => layers.bidirectional({ layer: layers.gru({ units: 2, zoneout: 0.1 }), ...shaped }),
      'got zoneout: 0.1',
    ],
    [
      'an activation',
      () => layers.dense({ units: 2, activation: 'geluTanh', ...shaped }),
      "activation: expected an activation that Keras has by name, got 'geluTanh'",
    ],
    [
      'a parameter of one',
      () => layers.dense({ units: 2, activation: { type: 'celu', alpha: 0.5 }, ...shaped }),
      'got \'celu\' with {"alpha":0.5}',
    ],
    [
      'a large seed',
      () => layers.dropout({ rate: 0.1, seed: 2 ** 40, ...shaped }),
      'seed: expected at most 2147483647 for Keras',
    ],
  ])('%s', async (_, make, reason) => {
    const target = path.join(folder, 'none.keras');
    expect(await refusal(() => sequential([make()]).save(target))).toContain(reason);
    expect(existsSync(target)).toBe(false);
  });

  test('a dense layer tied to an embedding', async () => {
    const net = sequential([
      layers.embedding({ inputDim: 4, outputDim: 2, name: 'table' }),
      layers.dense({ units: 4, tiedTo: 'table' }),
    ]);
    net.build([T]);
    expect(await refusal(() => net.save(file))).toContain("got tiedTo: 'table'");
  });

  test.each<[string, object, string]>([
    [
      'paramGroups',
      { optimizer: { type: 'adam', paramGroups: [{ match: 'dense', learningRateFactor: 0 }] } },
      'optimizers.adam: expected options that Keras has, got paramGroups',
    ],
    ['gradientNoise', { optimizer: { type: 'adam', gradientNoise: { eta: 0.1 } } }, 'got gradientNoise'],
    [
      'oneCycle',
      {
        optimizer: { type: 'adam', learningRate: schedules.oneCycle({ maxLearningRate: 1, totalSteps: 9 }) },
      },
      "learningRate: expected a schedule that Keras has, got 'oneCycle'",
    ],
    [
      'a decay that leaves biases alone',
      { optimizer: 'adamw' },
      'optimizers.adamw: weightDecay: expected decayBiases: true beside it',
    ],
    ['a metric', { metrics: ['perplexity'] }, "metrics: expected metrics that Keras has, got 'perplexity'"],
    [
      'a loss of its own',
      { loss: defineLoss('kerasSaveOwn', (a, b) => ops.subtract(a, b)) },
      "loss: expected a loss that Keras has, got 'kerasSaveOwn'",
    ],
  ])('%s, unless the optimizer is left out', async (_, own, reason) => {
    const net = sequential([layers.dense({ units: 2, inputShape: [D] })]);
    net.compile({ loss: 'mse', ...own });
    const target = path.join(folder, 'none.keras');
    const said = await refusal(() => net.save(target));
    expect(said).toContain(reason);
    expect(said).toContain('includeOptimizer: false');
    expect(existsSync(target)).toBe(false);
    await net.save(file, { includeOptimizer: false });
  });

  test('a checkpoint, and the old format', async () => {
    expect(await refusal(() => stacked().save(file, { checkpoint: true }))).toBe(
      "ERR_VALUE save: checkpoint: expected false for a '.keras' file, which has no place for a fit under way, got true. Give the file another ending, e.g. '.safetensors'.",
    );
    expect(await refusal(() => stacked().save(path.join(folder, 'old.h5')))).toContain(
      "expected a name that ends in '.keras'",
    );
  });

  test('adafactor with a weight of three axes', async () => {
    const net = sequential([layers.conv1D({ filters: 2, kernelSize: 2, inputShape: [T, D] })]);
    net.compile({ loss: 'mse', optimizer: 'adafactor' });
    expect(await refusal(() => net.save(file))).toContain(
      "optimizers.adafactor: 'conv1D/kernel': expected weights of one or two axes",
    );
  });
});

describe('what Keras says of frozen parts', () => {
  const layer = (class_name: string, config: object) => ({ class_name, config });
  const inside = (trainable: boolean) => layer('GRU', { units: 2, trainable });
  const built = (class_name: string, config: object) =>
    modelFromConfig({
      class_name: 'Sequential',
      config: { layers: [layer(class_name, { name: 'own', batch_input_shape: [null, T, D], ...config })] },
    }).layers[0] as Layer;

  test('a wrapper is frozen with what is inside', async () => {
    expect(built('Bidirectional', { trainable: true, layer: inside(false) }).trainable).toBe(false);
    expect(built('Bidirectional', { trainable: true, layer: inside(true) }).trainable).toBe(true);
    const dense = layer('Dense', { units: 2, trainable: false });
    expect(built('TimeDistributed', { trainable: true, layer: dense }).trainable).toBe(false);
  });

  test('one direction is frozen by itself, and stays so', async () => {
    const half = () =>
      built('Bidirectional', {
        layer: inside(false),
        backward_layer: layer('GRU', { units: 2, go_backwards: true, trainable: true }),
      });
    expect(half().trainable).toBe(true);
    const trained = ({ weights }: Layer) => weights.map(({ name, trainable }) => [name, trainable !== false]);
    const model = modelFromConfig({
      class_name: 'Sequential',
      config: {
        layers: [layer('Bidirectional', { batch_input_shape: [null, T, D], ...half().getConfig() })],
      },
    } as never);
    const wanted = ['kernel', 'recurrentKernel', 'bias'].flatMap((name) => [
      [`forward/${name}`, false],
      [`backward/${name}`, true],
    ]);
    expect(trained(model.layers[0] as Layer)).toEqual(expect.arrayContaining(wanted));
    model.compile({ loss: 'mse', optimizer: 'sgd' });
    const before = await model.getWeights();
    await model.trainOnBatch(
      tensor(new Float32Array(2 * T * D).fill(0.5), [2, T, D]),
      tensor(new Float32Array(8), [2, 4]),
    );
    const after = await model.getWeights();
    for (const [name, { data }] of after)
      expect([name, data.join() === before.get(name)?.data.join()]).toEqual([
        name,
        name.includes('/forward/'),
      ]);
    await model.save(file);
    expect(trained((await loadModel(file)).layers[0] as Layer)).toEqual(trained(model.layers[0] as Layer));
  });

  test('a cell is frozen with its layer, and not by itself', async () => {
    const cell = layer('GRUCell', { units: 2, trainable: false });
    expect(built('RNN', { trainable: false, cell }).trainable).toBe(false);
    expect(await refusal(() => built('RNN', { trainable: true, cell }))).toBe(
      "ERR_VALUE layer 'own': cell: trainable: expected true, got false.",
    );
    expect(await refusal(() => built('RNN', { cell: layer('GRUCell', { units: 2, dropout: 0.1 }) }))).toBe(
      "ERR_VALUE layer 'own': cell: dropout: expected 0, got 0.1.",
    );
  });
});

test('states of stacked cells are written cell by cell, as Keras takes them', async () => {
  await (
    await loadModel(path.resolve(__dirname, '../../fixtures/keras/stacked-cells-beside-states.keras'))
  ).save(file);
  const members = await readArchive(readFileSync(file), 'test', ['config.json']);
  const { config } = JSON.parse(String(members?.get('config.json'))) as {
    config: { layers: { class_name: string; inbound_nodes: { kwargs: { initial_state?: unknown[] } }[] }[] };
  };
  const [, decoder] = config.layers.filter(({ class_name }) => class_name === 'RNN');
  const [lstm, gru] = (decoder?.inbound_nodes[0]?.kwargs.initial_state ?? [[]]) as [unknown[], object];
  const historyOf = (tensor: unknown) =>
    (tensor as { config: { keras_history: unknown[] } }).config.keras_history[2];
  // Behind the output: h and c of the first cell, h of the second.
  expect(lstm.map(historyOf)).toEqual([1, 2]);
  expect(historyOf(gru)).toBe(3);
});

test('an accuracy stays the one that it was, which Keras tells by the width alone', async () => {
  const net = sequential([layers.dense({ units: 3, activation: 'sigmoid', inputShape: [D] })]);
  net.compile({ loss: 'binaryCrossentropy', optimizer: 'sgd', metrics: ['accuracy'] });
  await net.save(file);
  const names = ['metadata.json', 'config.json', 'model.weights.h5'];
  const members = new Map(await readArchive(readFileSync(file), 'test', names));
  const config = JSON.parse((members.get('config.json') as Buffer).toString());
  const [metric] = config.compile_config.metrics;
  expect(metric).toMatchObject({ class_name: 'BinaryAccuracy', config: { name: 'accuracy' } });
  const kindOf = async () => (await loadModel(file)).metrics.map(({ name, attrs }) => [name, attrs.kind]);
  expect(await kindOf()).toEqual([['accuracy', 'binaryAccuracy']]);
  config.compile_config.metrics = ['accuracy'];
  members.set('config.json', Buffer.from(JSON.stringify(config)));
  writeFileSync(file, Buffer.concat(await writeZip(members)));
  expect(await kindOf()).toEqual([['accuracy', 'categoricalAccuracy']]);
});

test('cross-entropies are written with the form of their predictions, and read as Keras writes them', async () => {
  const written = async (units: number, compile: object) => {
    const net = sequential([layers.dense({ units, inputShape: [D] })]);
    net.compile({ optimizer: 'sgd', ...compile } as never);
    await net.save(file);
    const names = ['metadata.json', 'config.json', 'model.weights.h5'];
    const members = new Map(await readArchive(readFileSync(file), 'test', names));
    const config = JSON.parse((members.get('config.json') as Buffer).toString());
    const again = await loadModel(file);
    expect(again.metrics.map(({ attrs }) => attrs)).toEqual(net.metrics.map(({ attrs }) => attrs));
    return config.compile_config.metrics[0];
  };
  const sparse = { type: 'sparseCategoricalCrossentropy', fromLogits: true };
  const categorical = { type: 'categoricalCrossentropy', fromLogits: true };
  const binary = { type: 'binaryCrossentropy', fromLogits: true };
  const smooth = { type: 'crossentropy', labelSmoothing: 0 };
  expect(await written(3, { loss: sparse, metrics: [smooth] })).toEqual({
    module: 'keras.metrics',
    class_name: 'SparseCategoricalCrossentropy',
    config: { name: 'crossentropy', dtype: 'float32', from_logits: true },
    registered_name: null,
  });
  expect(await written(3, { loss: categorical, metrics: [smooth] })).toMatchObject({
    class_name: 'CategoricalCrossentropy',
    config: { from_logits: true, label_smoothing: 0 },
  });
  const bce = { type: 'bce', labelSmoothing: 0.25 };
  expect(await written(3, { loss: binary, metrics: [bce] })).toMatchObject({
    class_name: 'BinaryCrossentropy',
    config: { name: 'bce', from_logits: true, label_smoothing: 0.25 },
  });
  expect(await written(1, { loss: 'mse', metrics: ['ce'] })).toMatchObject({
    class_name: 'BinaryCrossentropy',
    config: { name: 'ce', from_logits: false },
  });
  // Keras's own configurations have options that say nothing.
  const config = { from_logits: true, label_smoothing: 0, axis: -1, name: 'c', dtype: 'float32' };
  const spec = { module: 'keras.metrics', class_name: 'CategoricalCrossentropy', config };
  const read = (loss: unknown, from_logits = true) => {
    const net = sequential([layers.dense({ units: 3, inputShape: [D] })]);
    const metrics = [{ ...spec, config: { ...config, from_logits } }];
    return net.compile({ loss, optimizer: 'sgd', metrics } as never).metrics[0]?.attrs;
  };
  expect(read(categorical)).toEqual({ kind: 'crossentropy', sparse: false, fromLogits: true });
  expect(read('categoricalCrossentropy', false)).toMatchObject({ fromLogits: false });
  expect(await refusal(() => read('categoricalCrossentropy'))).toBe(
    'ERR_VALUE compile: metrics: categoricalCrossentropy: fromLogits: expected false, as of the loss, got true.',
  );
  const [net, metrics] = [stacked(), [{ type: 'truePositives', classId: 0 }]];
  net.compile({ loss: 'mse', optimizer: 'sgd', metrics });
  expect(await refusal(() => net.save(file))).toMatch(
    /^ERR_VALUE save: metrics.truePositives: classId: expected counts of all outputs, as Keras has them, got 0\. Save with/,
  );
});

test('metrics that Keras has otherwise are written so that they are the same, or refused', async () => {
  const net = (units: number, loss: string, metrics: unknown[]) =>
    sequential([layers.dense({ units, activation: 'sigmoid', inputShape: [D] })]).compile({
      loss,
      metrics: metrics as string[],
      optimizer: 'sgd',
    });
  for (const metric of ['precision', 'recall', 'f1', 'fBeta', 'falsePositives'])
    expect(await refusal(() => net(3, 'sparseCategoricalCrossentropy', [metric]).save(file))).toMatch(
      `save: metrics.${metric}: expected targets like the predictions, for Keras, got class indices.`,
    );
  // Of one output Keras would take whatever it is for positive.
  await net(1, 'binaryCrossentropy', ['f1', { type: 'r2', classAggregation: null }]).save(file);
  const again = await loadModel(file);
  expect(again.metrics[0]?.attrs).toEqual({
    kind: 'confusion',
    sparse: false,
    thresholds: [0.5],
    argmax: false,
  });
  expect(again.metrics[1]?.getConfig()).toMatchObject({ classAggregation: null });
  const config = {
    num_regressors: 0,
    class_aggregation: 'uniform_average',
    dtype: 'float32',
    name: 'r2_score',
  };
  net(1, 'mse', [{ module: 'keras.metrics', class_name: 'R2Score', config }]);
  const cosine = { module: 'builtins', class_name: 'function', config: 'cosine_similarity' };
  expect(await refusal(() => net(1, 'mse', [cosine]))).toBe(
    "ERR_VALUE compile: metrics: cosineSimilarity: expected the metric of this name, which is the cosine, got Keras's loss, which is its negative.",
  );
});

test('a metric that is not known here is refused, with the way out', async () => {
  await stacked().save(file);
  const names = ['metadata.json', 'config.json', 'model.weights.h5'];
  const members = new Map(await readArchive(readFileSync(file), 'test', names));
  const config = (members.get('config.json') as Buffer).toString().replace('MeanAbsoluteError', 'MeanIoU');
  writeFileSync(file, Buffer.concat(await writeZip(members.set('config.json', Buffer.from(config)))));
  const said = await refusal(() => loadModel(file));
  expect(said).toContain('cannot be compiled as it says: compile: metrics: expected one of');
  expect(said).toMatch(/loadModel\(path, \{ compile: false \}\) leaves it out\.$/);
  expect((await loadModel(file, { compile: false })).compiled).toBeUndefined();
});

describe('configurations of functional models', () => {
  const entry = (class_name: string, name: string, config: object, ...inbound_nodes: unknown[]) => ({
    class_name,
    name,
    config: { name, ...config },
    inbound_nodes,
  });
  const old = (layerList: unknown[], ends: unknown = [['out', 0, 0]]) => ({
    class_name: 'Functional',
    config: { name: 'm', layers: layerList, input_layers: [['in', 0, 0]], output_layers: ends },
  });
  const start = entry('InputLayer', 'in', { batch_input_shape: [null, T, D], dtype: 'float32' });
  const lstm = { units: 2, return_state: true, return_sequences: true };

  test("of Keras 2, with states among a layer's options", () => {
    const net = modelFromConfig(
      old([
        start,
        entry('LSTM', 'a', lstm, [['in', 0, 0, {}]]),
        entry('LSTM', 'b', { units: 2 }, [
          [
            'in',
            0,
            0,
            {
              initial_state: [
                ['a', 0, 1],
                ['a', 0, 2],
              ],
            },
          ],
        ]),
        entry('Add', 'out', {}, [
          ['b', 0, 0, {}],
          ['a', 0, 1, {}],
        ]),
      ]),
    ) as Model & { graph: { nodes: { inputs: unknown[] }[] } };
    expect(net.layers.map(({ name }) => name)).toEqual(['a', 'b', 'out']);
    expect(net.graph.nodes[1]?.inputs).toHaveLength(3);
  });

  test.each<[string, object, string]>([
    [
      'a layer that is not known',
      old([start, entry('Conv2D', 'out', {}, [['in', 0, 0, {}]])]),
      "layer 'out'",
    ],
    [
      'a Lambda',
      old([start, entry('Lambda', 'out', {}, [['in', 0, 0, {}]])]),
      "layer 'out': expected a layer that a file can say all of, got a Lambda",
    ],
    [
      'a loop',
      old([
        start,
        entry('Add', 'out', {}, [
          ['in', 0, 0, {}],
          ['b', 0, 0, {}],
        ]),
        entry('ELU', 'b', {}, [['out', 0, 0, {}]]),
      ]),
      'expected connections without a loop',
    ],
    [
      'a layer that is not there',
      old([start, entry('ELU', 'out', {}, [['gone', 0, 0, {}]])]),
      "layer 'out': expected outputs of layers that are there, got 'gone'",
    ],
    [
      'a use that is not there',
      old([start, entry('ELU', 'out', {}, [['in', 0, 0, {}]])], [['out', 7, 0]]),
      'output_layers: expected outputs of layers that are there',
    ],
    [
      'an output that is not there',
      old([start, entry('ELU', 'out', {}, [['in', 0, 0, {}]])], [['out', 0, 7]]),
      'outputs: expected [value, output] of one before it',
    ],
    ['names twice', old([start, start]), "expected a name of its own, got 'in'"],
    [
      'a mask of its own',
      old([
        start,
        entry(
          'LSTM',
          'out',
          { units: 2 },
          {
            args: [{ class_name: '__keras_tensor__', config: { keras_history: ['in', 0, 0] } }],
            kwargs: { mask: { class_name: '__keras_tensor__', config: { keras_history: ['in', 0, 0] } } },
          },
        ),
      ]),
      "layer 'out': mask: expected the mask of the layers below",
    ],
    [
      'training: true',
      old([
        start,
        entry(
          'Dropout',
          'out',
          { rate: 0.1 },
          {
            args: [{ class_name: '__keras_tensor__', config: { keras_history: ['in', 0, 0] } }],
            kwargs: { training: true },
          },
        ),
      ]),
      "layer 'out': training: expected nothing given to a use of the layer, got true",
    ],
  ])('%s is refused', async (_, config, reason) => {
    expect(await refusal(() => modelFromConfig(config as never))).toContain(reason);
  });
});
