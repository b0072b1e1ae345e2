import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  Functional,
  type GradientReport,
  input,
  layers,
  loadModel,
  model,
  modelFromConfig,
  optimizers,
  type SymbolicTensor,
  sequential,
  type Tensor,
  tensor,
} from '../../../lib';
import { lower } from '../../../lib/models/lower';
import { refusal } from '../refusal';
import { near, randomSequences, whichThird } from './data';

const [N, T, D] = [12, 6, 4];
const x = randomSequences(N, T, D, 1);
const y = whichThird(x);
const compile = (device: string) =>
  ({ loss: 'sparseCategoricalCrossentropy', optimizer: 'adam', device, metrics: ['accuracy'] }) as const;
const sequence = <O extends object>(options: O) => ({ returnSequences: true, ...options });

/** Two recurrent layers with a residual connection around the upper one, and the mean of the lower one's steps beside its last. */
function branching(seed = 3, dropout = 0): Functional {
  const source = input({ shape: [null, D], name: 'series' });
  const lower = layers.lstm(sequence({ units: 5, dropout })).apply(source);
  const upper = layers.gru(sequence({ units: 5 })).apply(lower);
  const last = layers.simpleRNN({ units: 4 }).apply(layers.add().apply([lower, upper]));
  const mean = layers.globalAveragePooling1D().apply(lower);
  const both = layers.concatenate().apply([last, mean]);
  return model({
    inputs: source,
    outputs: layers.dense({ units: 3, activation: 'softmax' }).apply(both),
    seed,
  });
}

/** Loss after one weight is moved by `by`. */
async function lossAt(net: Functional, name: string, index: number, by: number): Promise<number> {
  const weights = await net.getWeights();
  const moved = new Map([...weights].map(([key, { data, shape }]) => [key, { data: data.slice(), shape }]));
  const { data, shape } = moved.get(name) as { data: Float64Array; shape: number[] };
  data[index] = (data[index] as number) + by;
  await net.setWeights({ [name]: { data, shape } } as never);
  const { loss } = await net.evaluate(x, y, { batchSize: N });
  await net.setWeights(weights);
  return loss;
}

/** Proves gradients of some elements of every weight by central differences of the reference. */
async function proveGradients(net: Functional): Promise<void> {
  const { gradients } = await net.computeGradients(x, y);
  expect(gradients.size).toBeGreaterThan(0);
  for (const [name, { data }] of gradients) {
    for (const index of [0, Math.floor(data.length / 2), data.length - 1]) {
      const h = 1e-4;
      const slope = ((await lossAt(net, name, index, h)) - (await lossAt(net, name, index, -h))) / (2 * h);
      expect(Math.abs(slope - (data[index] as number))).toBeLessThan(2e-6);
    }
  }
}

test('branches and a residual connection: outputs and gradients of cpu are those of the reference, which are right', async () => {
  const exact = branching().compile(compile('reference'));
  const fast = branching().compile(compile('cpu'));
  near(await fast.predict(x), await exact.predict(x));
  const found = (await fast.computeGradients(x, y)).gradients;
  for (const [name, gradient] of (await exact.computeGradients(x, y)).gradients) {
    const own = found.get(name);
    expect(own?.shape).toEqual(gradient.shape);
    for (const [i, g] of gradient.data.entries())
      expect(Math.abs((own?.data[i] as number) - g)).toBeLessThan(1e-6);
  }
  await proveGradients(exact);
});

test('a residual connection is what its parts give when they are asked one by one', async () => {
  const source = input({ shape: [T, D] });
  const below = layers.lstm(sequence({ units: D, name: 'below' })).apply(source);
  const whole = model({ inputs: source, outputs: layers.average().apply([below, source, below]) });
  const other = input({ shape: [T, D] });
  const part = model({
    inputs: other,
    outputs: layers.lstm(sequence({ units: D, name: 'below' })).apply(other),
  });
  await part.setWeights(await whole.getWeights());
  const [all, own] = [await whole.predict(x), await part.predict(x)];
  for (const [i, v] of all.data.entries())
    expect(v).toBeCloseTo((2 * (own.data[i] as number) + (x.data[i] as number)) / 3, 5);
});

test.each([
  ['subtract', (a: number, b: number) => a - b],
  ['multiply', (a: number, b: number) => a * b],
  ['add', (a: number, b: number) => a + b],
  ['average', (a: number, b: number) => (a + b) / 2],
] as const)('%s', async (kind, rule) => {
  const source = input({ shape: [T, D] });
  const a = layers.activation({ activation: 'tanh' }).apply(source);
  const net = model({ inputs: source, outputs: layers[kind]().apply([a, source]) });
  const { data } = await net.predict(x);
  for (const [i, v] of data.entries())
    expect(v).toBeCloseTo(rule(Math.tanh(x.data[i] as number), x.data[i] as number), 5);
});

describe('a layer that is used twice', () => {
  const twice = (device: string, dropout = 0) => {
    const source = input({ shape: [T, D] });
    const shared = layers.lstm(sequence({ units: D, dropout, name: 'shared' }));
    const head = layers.dense({ units: 3, activation: 'softmax' });
    const above = layers.flatten().apply(shared.apply(shared.apply(source)));
    return model({ inputs: source, outputs: head.apply(above), seed: 4 }).compile(compile(device));
  };

  test('has one set of weights, and the sum of the gradients of both uses', async () => {
    const net = twice('reference');
    expect([...(await net.getWeights()).keys()]).toEqual([
      'shared/kernel',
      'shared/recurrentKernel',
      'shared/bias',
      'dense/kernel',
      'dense/bias',
    ]);
    await proveGradients(net);
    near(await twice('cpu').predict(x), await net.predict(x));
  });

  test('draws a mask for each use', () => {
    const { plan } = lower(twice('cpu', 0.5).recipe(), {
      mode: 'train',
      inputShapes: [[N, T, D]],
      weighted: [],
      initialStates: [],
      gradientNorms: false,
    });
    const streams = plan.ops.flatMap((op) =>
      op.kind === 'rnnStack' ? op.attrs.layers.map(({ inputDropout }) => inputDropout.stream) : [],
    );
    expect(streams).toHaveLength(2);
    expect(new Set(streams).size).toBe(2);
  });
});

test('recurrent layers of a branching model are one fused stack, as far as they are a chain', () => {
  const { plan } = lower(branching().compile(compile('cpu')).recipe(), {
    mode: 'train',
    inputShapes: [[N, T, D]],
    weighted: [],
    initialStates: [],
    gradientNorms: false,
  });
  const stacks = plan.ops.flatMap((op) =>
    op.kind === 'rnnStack' ? [op.attrs.layers.map(({ name }) => name)] : [],
  );
  expect(stacks).toEqual([['lstm', 'gru'], ['simpleRNN']]);
});

describe('files', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-functional-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  test('a model is saved and loaded with its connections, compiled, and goes on the same', async () => {
    const net = branching(5, 0.3).compile(compile('cpu'));
    await net.fit(x, y, { epochs: 2, batchSize: 5 });
    const file = path.join(folder, 'model.safetensors');
    await net.save(file, { includeOptimizer: true });
    const again = await loadModel(file, { device: 'cpu' });
    expect(again).toBeInstanceOf(Functional);
    expect(again.getConfig()).toEqual(net.getConfig());
    expect(await again.predict(x)).toEqual(await net.predict(x));
    const after = { epochs: 3, batchSize: 5, initialEpoch: 2 };
    expect((await again.fit(x, y, after)).history).toEqual((await net.fit(x, y, after)).history);
  });

  test('modelFromConfig makes the same model with weights of the same seed', async () => {
    const net = branching(6);
    const again = modelFromConfig(JSON.parse(JSON.stringify(net.getConfig())));
    expect(await again.predict(x)).toEqual(await net.predict(x));
  });
});

test('lengths and masks reach every branch', async () => {
  const lengths = Array.from({ length: N }, (_, n) => 1 + (n % T));
  const net = branching();
  const whole = await net.predict(x, { lengths });
  const cutOff = x.data.slice();
  for (const [n, length] of lengths.entries()) cutOff.fill(7, (n * T + length) * D, (n + 1) * T * D);
  // What padding holds makes no difference.
  near(await net.predict(tensor(cutOff, [N, T, D]), { lengths }), whole);
});

test('a live sequence goes through a branching model', async () => {
  const source = input({ shape: [null, D] });
  const lower = layers.lstm(sequence({ units: 5 })).apply(source);
  const upper = layers.gru(sequence({ units: 5 })).apply(lower);
  const net = model({ inputs: source, outputs: layers.add().apply([lower, upper]) });
  const all = await net.predict(x.rows(0, 1));
  const stream = await net.stream();
  for (let t = 0; t < T; t++)
    expect(stream.stepSync(x.data.subarray(t * D, (t + 1) * D) as Float32Array)).toEqual(
      all.data.subarray(t * 5, (t + 1) * 5),
    );
});

describe('several inputs', () => {
  const ids = tensor(
    Int32Array.from({ length: N * T }, (_, i) => (i * 7) % 5),
    [N, T],
  );
  const static_ = randomSequences(N, 1, 2, 5).reshape([N, 2]);
  const joined = (device: string) => {
    const series = input({ shape: [T, D], name: 'series' });
    const words = input({ shape: [T], dtype: 'int32', name: 'words' });
    const facts = input({ shape: [2], name: 'facts' });
    const embedded = layers.embedding({ inputDim: 5, outputDim: 3 }).apply(words);
    const both = layers.concatenate().apply([series, embedded]);
    const read = layers.gru({ units: 4 }).apply(both);
    const all = layers.concatenate().apply([read, facts]);
    return model({
      inputs: [series, words, facts],
      outputs: layers.dense({ units: 3, activation: 'softmax' }).apply(all),
      seed: 8,
    }).compile({ ...compile(device), optimizer: { type: 'adam', learningRate: 0.05 } });
  };
  const inputs = { series: x, words: ids, facts: static_ };

  test('by name and in order give the same, and cpu what the reference gives', async () => {
    const net = joined('cpu');
    const byName = await net.predict(inputs);
    expect(await net.predict([x, ids, static_])).toEqual(byName);
    const nested = [x.toArray(), ids.toArray(), static_.toArray()] as never;
    expect(await net.predict(nested)).toEqual(byName);
    near(byName, await joined('reference').predict(inputs));
  });

  test('every input makes a difference', async () => {
    const net = joined('cpu');
    const before = (await net.predict(inputs)).data;
    const changed = {
      series: randomSequences(N, T, D, 9),
      words: tensor(
        ids.data.map((i) => 4 - i),
        [N, T],
      ),
      facts: randomSequences(N, 1, 2, 9).reshape([N, 2]),
    };
    for (const name of ['series', 'words', 'facts'] as const)
      expect((await net.predict({ ...inputs, [name]: changed[name] })).data).not.toEqual(before);
  });

  test('fit over shuffled batches, validation and a generator; evaluate', async () => {
    const net = joined('cpu');
    const { history } = await net.fit(inputs, y, { epochs: 30, batchSize: 5, validationSplit: 0.25 });
    expect(history['loss']?.at(-1)).toBeLessThan(0.8 * (history['loss']?.[0] as number));
    const whole = await net.evaluate(inputs, y, { batchSize: 4 });
    const parts = [0, 4, 8].map((at) => ({
      x: Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, value.rows(at, at + 4)])),
      y: y.rows(at, at + 4),
    }));
    expect(await net.evaluate(() => parts)).toEqual(whole);
    await net.fit(() => parts, { epochs: 2, validationData: [[x, ids, static_], y] });
  });

  test('a batch of an epoch is what its rows give in one call', async () => {
    const [whole, single] = [joined('cpu'), joined('cpu')];
    await whole.fit(inputs, y, { batchSize: 4, shuffle: false });
    for (const at of [0, 4, 8])
      await single.trainOnBatch(
        [x.rows(at, at + 4), ids.rows(at, at + 4), static_.rows(at, at + 4)],
        y.rows(at, at + 4),
      );
    expect(await single.getWeights()).toEqual(await whole.getWeights());
  });

  test('profile', async () => {
    const { predict, train } = await joined('cpu').profile({ batchSize: 2, repeats: 1 });
    expect([predict.milliseconds, train?.milliseconds].every((ms) => (ms as number) > 0)).toBe(true);
  });

  const net = joined('reference');
  test.each<[string, () => unknown, string]>([
    [
      'one too few',
      () => net.predict([x, ids]),
      "ERR_VALUE predict: x: expected an array of 3 arrays, or an object with 'series', 'words' and 'facts', got an array of 2.",
    ],
    [
      'a name that is none',
      () => net.predict({ ...inputs, fact: static_ }),
      "ERR_VALUE predict: x: expected arrays called 'series', 'words' or 'facts', got 'fact'.",
    ],
    [
      'one that is missing',
      () => net.predict({ series: x, words: ids }),
      "ERR_VALUE predict: x: expected an array 'facts', got none.",
    ],
    [
      'a wrong shape',
      () => net.predict([x, ids, x]),
      "ERR_SHAPE predict: x.facts: expected shape [N, 2] (input 'facts'), got [12, 6, 4].",
    ],
    [
      'fewer examples of one',
      () => net.evaluate([x, ids.rows(0, 5), static_], y),
      'ERR_SHAPE evaluate: x.words: expected 12 examples, as many as of evaluate: x.series, got 5.',
    ],
    [
      'an id beyond the embedding',
      () =>
        net.predict([
          x,
          tensor(
            ids.data.map((i) => i + 1),
            [N, T],
          ),
          static_,
        ]),
      "ERR_VALUE predict: x.words: expected ids from 0 to 4 (input of layer 'embedding'), got 5 at [0, 2].",
    ],
    [
      'a number that is none',
      () =>
        net.trainOnBatch(
          [
            x,
            ids,
            tensor(
              static_.data.map(() => Number.NaN),
              [N, 2],
            ),
          ],
          y,
        ),
      "ERR_VALUE trainOnBatch: x.facts: expected finite numbers (input 'facts'), got NaN at [0, 0].",
    ],
    ['a stream', () => net.stream(), 'ERR_VALUE stream: expected a model with one input, got 3.'],
  ])('refused: %s', async (_, work, message) => {
    expect(await refusal(work)).toBe(message);
  });
});

describe('several outputs', () => {
  const steps = tensor(
    x.data.filter((_, i) => i % D === 0).map((v) => Math.tanh(v)),
    [N, T, 1],
  );
  const heads = () => {
    const source = input({ shape: [T, D] });
    const below = layers.lstm({ units: 6, returnSequences: true, name: 'below' }).apply(source);
    const third = layers.gru({ units: 5, name: 'above' }).apply(below);
    return {
      source,
      kind: layers.dense({ units: 3, activation: 'softmax', name: 'kind' }).apply(third),
      level: layers
        .dense({ units: 1, name: 'level', kernelRegularizer: { type: 'l2', l2: 0.01 } })
        .apply(below),
    };
  };
  const both = (device = 'cpu', lossWeights: readonly number[] | Record<string, number> = [0.5, 2]) => {
    const { source, kind, level } = heads();
    return model({ inputs: source, outputs: [kind, level], seed: 2 }).compile({
      loss: { kind: 'sparseCategoricalCrossentropy', level: 'mse' },
      lossWeights,
      metrics: { kind: ['accuracy'], level: 'mae' },
      weightedMetrics: { level: ['mae'] },
      optimizer: optimizers.adam({ learningRate: 0.02 }),
      device,
    });
  };
  /** The same weights under one output alone. */
  const alone = async (which: 'kind' | 'level') => {
    const parts = heads();
    const net = model({ inputs: parts.source, outputs: parts[which], seed: 2 }).compile({
      loss: which === 'kind' ? 'sparseCategoricalCrossentropy' : 'mse',
      device: 'reference',
    });
    const weights = await both('reference').getWeights();
    const own = [...(await net.getWeights()).keys()].map((name) => [name, weights.get(name)] as const);
    await net.setWeights(new Map(own) as never);
    return net;
  };
  const y2 = { kind: y, level: steps };

  test('predictions by name, those of the outputs alone', async () => {
    const found = await both('reference').predict(x, { batchSize: 5 });
    expect(Object.keys(found)).toEqual(['kind', 'level']);
    near(found['kind'] as Tensor, await (await alone('kind')).predict(x));
    near(found['level'] as Tensor, await (await alone('level')).predict(x));
    const fast = await both().predict(x);
    for (const name of ['kind', 'level']) near(fast[name] as Tensor, found[name] as Tensor);
  });

  test('losses, their weighted sum with the penalty once, and metrics', async () => {
    const scores = await both('reference').evaluate(x, y2);
    expect(Object.keys(scores)).toEqual([
      'loss',
      'kind_loss',
      'level_loss',
      'kind_accuracy',
      'level_mae',
      'level_weighted_mae',
    ]);
    const kind = await (await alone('kind')).evaluate(x, y);
    const level = await (await alone('level')).evaluate(x, steps);
    const weights = (await both('reference').getWeights()).get('level/kernel') as Tensor;
    const penalty = 0.01 * Array.from(weights.data).reduce((sum, w) => sum + w * w, 0);
    expect(scores['kind_loss']).toBeCloseTo(kind.loss, 6);
    expect(scores['level_loss']).toBeCloseTo(level.loss - penalty, 6);
    expect(scores.loss).toBeCloseTo(0.5 * kind.loss + 2 * (level.loss - penalty) + penalty, 6);
    const fast = await both().evaluate(x, [y, steps]);
    for (const [name, value] of Object.entries(scores)) expect(fast[name]).toBeCloseTo(value as number, 5);
  });

  test('gradients are the weighted sum of those of the outputs alone', async () => {
    const { loss, gradients } = await both('reference').computeGradients(x, y2);
    const kind = await (await alone('kind')).computeGradients(x, y);
    const level = await (await alone('level')).computeGradients(x, steps);
    expect(gradients.size).toBe(10);
    const weights = await both('reference').getWeights();
    for (const [name, { data }] of gradients) {
      for (const [i, g] of data.entries()) {
        // The penalty's own gradient counts once.
        const penalty =
          name === 'level/kernel' ? 0.02 * ((weights.get(name) as Tensor).data[i] as number) : 0;
        const wanted =
          0.5 * (kind.gradients.get(name)?.data[i] ?? 0) +
          2 * ((level.gradients.get(name)?.data[i] ?? 0) - penalty) +
          penalty;
        expect(Math.abs(g - wanted)).toBeLessThan(1e-9);
      }
    }
    const fast = await both().computeGradients(x, y2);
    expect(fast.loss).toBeCloseTo(loss, 5);
    for (const [name, { data }] of gradients)
      for (const [i, g] of data.entries())
        expect(Math.abs((fast.gradients.get(name)?.data[i] as number) - g)).toBeLessThan(1e-6);
  });

  test('an output with weight 0 is scored and teaches nothing', async () => {
    const net = both('cpu', { kind: 0 });
    const exact = both('reference', { kind: 0 });
    for (const one of [net, exact]) await one.trainOnBatch(x, y2);
    const wanted = await exact.getWeights();
    for (const [name, { data }] of await net.getWeights())
      for (const [i, w] of data.entries()) expect(w).toBeCloseTo(wanted.get(name)?.data[i] as number, 4);
    const { gradients } = await net.computeGradients(x, y2);
    for (const [name, { data }] of gradients)
      expect([name, data.some((g) => g !== 0)]).toEqual([name, /^(below|level)/.test(name)]);
    const { loss, kind_loss: own, level_loss: other } = await net.evaluate(x, y2);
    expect(own).toBeGreaterThan(0.5);
    expect(loss).toBeLessThan((other as number) + 0.2);
  });

  test('fit learns both, with weights of one, validation, and a file that goes on the same', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-outputs-'));
    try {
      const net = both();
      const sampleWeight = { level: tensor(Float32Array.from({ length: N }, (_, n) => n % 2)) };
      const { history } = await net.fit(x, y2, {
        epochs: 40,
        batchSize: 6,
        sampleWeight,
        validationSplit: 0.25,
      });
      for (const name of ['loss', 'kind_loss', 'level_loss'])
        expect(history[name]?.at(-1)).toBeLessThan(0.7 * (history[name]?.[0] as number));
      expect(history['val_level_loss']).toHaveLength(40);
      const file = path.join(folder, 'model.safetensors');
      await net.save(file, { includeOptimizer: true });
      const again = await loadModel<Record<string, Tensor>>(file, { device: 'cpu' });
      expect(await again.predict(x)).toEqual(await net.predict(x));
      expect(again.getConfig()).toEqual(net.getConfig());
      const after = { epochs: 42, batchSize: 6, initialEpoch: 40 };
      expect((await again.fit(x, y2, after)).history).toEqual((await net.fit(x, y2, after)).history);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('a checkpoint from inside an epoch resumes bit for bit', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-outputs-'));
    try {
      const file = path.join(folder, 'checkpoint');
      const options = { epochs: 2, batchSize: 4 };
      const whole = both();
      const { history } = await whole.fit(x, y2, options);
      const stopped = both();
      const stop = {
        onBatchEnd: async (batch: number) => {
          if (batch !== 1 || stopped.stopTraining) return;
          await stopped.save(file, { checkpoint: true });
          stopped.stopTraining = true;
        },
      };
      await stopped.fit(x, y2, { ...options, callbacks: [stop] });
      const resumed = both();
      expect((await resumed.fit(x, y2, { ...options, resumeFrom: file })).history).toEqual(history);
      expect(await resumed.getWeights()).toEqual(await whole.getWeights());
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('one value given twice, and one output as an array', async () => {
    const { source, level } = heads();
    const twice = await model({ inputs: source, outputs: [level, level] }).predict(x);
    expect(Object.keys(twice)).toEqual(['level', 'level_1']);
    expect(twice['level_1']).toEqual(twice['level']);
    const parts = heads();
    const named = await model({ inputs: parts.source, outputs: [parts.level] }).predict(x);
    expect(Object.keys(named)).toEqual(['level']);
  });

  test('gradient norms and profile', async () => {
    const reports: unknown[] = [];
    await both().fit(x, y2, {
      callbacks: [{ gradientsEvery: 1, onGradients: (report: unknown) => void reports.push(report) }],
    });
    expect(reports).toHaveLength(1);
    expect((await both().profile({ batchSize: 2, repeats: 1 })).train?.milliseconds).toBeGreaterThan(0);
  });

  const net = both();
  test.each<[string, () => unknown, string]>([
    [
      'targets of one alone',
      () => net.evaluate(x, { kind: y }),
      "ERR_VALUE evaluate: y: expected an array 'level', got none.",
    ],
    [
      'targets of a wrong shape',
      () => net.evaluate(x, [y, y]),
      'ERR_SHAPE evaluate: y.level: expected shape [12, 6, 1] for meanSquaredError, got [12].',
    ],
    [
      'a class that is none',
      () => net.evaluate(x, [tensor(y.data.map(() => 3)), steps]),
      'ERR_VALUE evaluate: y.kind: expected class indices from 0 to 2, got 3 at [0].',
    ],
    [
      'class weights',
      () => net.fit(x, y2, { classWeight: { 0: 2 } }),
      'ERR_VALUE fit: classWeight: expected a model with one output, got 2 outputs. Give each output its sampleWeight.',
    ],
    [
      'a weight that is negative',
      () => both('cpu', [1, -1]),
      'ERR_VALUE compile: lossWeights: level: expected a finite number, 0 or more, got -1.',
    ],
    [
      'weights that are all zero',
      () => both('cpu', [0, 0]),
      'ERR_VALUE compile: lossWeights: expected at least one above 0, got zeros.',
    ],
    [
      'losses for other outputs',
      () => both().compile({ loss: ['mse'] }),
      'ERR_VALUE compile: loss: expected one for each output: an array of 2, or an object with kind, level, got an array of 1.',
    ],
    [
      'metrics of which nobody knows what they are of',
      () => both().compile({ loss: 'mse', metrics: 'mae' as never }),
      "ERR_VALUE compile: metrics: expected one for each output: an array of 2, or an object with kind, level, got 'mae'.",
    ],
  ])('refused: %s', async (_, work, message) => {
    expect(await refusal(work)).toBe(message);
  });
});

describe('states as values', () => {
  const target = randomSequences(N, 4, D, 6);
  const wanted = randomSequences(N, 4, 2, 7);
  const wantedStates = randomSequences(N, 1, 5, 8).reshape([N, 5]);
  /** An encoder whose last states a decoder of the same kind begins from. */
  const translator = (kind: 'simpleRNN' | 'lstm' | 'gru', device: string) => {
    const source = input({ shape: [T, D], name: 'source' });
    const begun = input({ shape: [4, D], name: 'target' });
    const encoder = layers[kind]({ units: 5, returnState: true, name: 'encoder' });
    const [, ...states] = encoder.applyAll(source);
    const decoder = layers[kind]({ units: 5, returnSequences: true, name: 'decoder' });
    const decoded = decoder.apply([begun, ...states]);
    return model({
      inputs: [source, begun],
      outputs: layers.dense({ units: 2, name: 'head' }).apply(decoded),
      seed: 6,
    }).compile({ loss: 'mse', optimizer: 'adam', device });
  };

  describe.each(['simpleRNN', 'lstm', 'gru'] as const)('%s', (kind) => {
    test('a decoder begins where the encoder ends', async () => {
      const whole = translator(kind, 'reference');
      const weights = await whole.getWeights();
      const part = (name: string, steps: number, head: boolean) => {
        const source = input({ shape: [steps, D] });
        const read = layers[kind]({ units: 5, returnSequences: head, name }).apply(source);
        const outputs = head ? layers.dense({ units: 2, name: 'head' }).apply(read) : read;
        return model({ inputs: source, outputs }).compile({ loss: 'mse', device: 'reference' });
      };
      const set = async (net: Functional) => {
        const names = [...(await net.getWeights()).keys()];
        await net.setWeights(new Map(names.map((name) => [name, weights.get(name)] as const)) as never);
        return net;
      };
      const encoder = await set(part('encoder', T, false));
      const decoder = await set(part('decoder', 4, true));
      const { states } = await encoder.predict(x, { returnStates: true });
      const initialStates = { decoder: states['encoder'] as Record<string, Tensor> };
      near(await whole.predict([x, target]), await decoder.predict(target, { initialStates }));
      near(await translator(kind, 'cpu').predict([x, target]), await whole.predict([x, target]));
    });

    test('gradients reach the encoder through the states', async () => {
      const exact = translator(kind, 'reference');
      const { gradients } = await exact.computeGradients([x, target], wanted);
      const fast = await translator(kind, 'cpu').computeGradients([x, target], wanted);
      for (const [name, { data, shape }] of gradients) {
        expect(data.some((g) => Math.abs(g) > 1e-6)).toBe(true);
        for (const [i, g] of data.entries())
          expect(Math.abs((fast.gradients.get(name)?.data[i] as number) - g)).toBeLessThan(1e-6);
        const index = data.length >> 1;
        const h = 1e-4;
        const value = (await exact.getWeights()).get(name) as Tensor;
        const lossWith = async (by: number) => {
          const moved = value.data.slice();
          moved[index] = (moved[index] as number) + by;
          await exact.setWeights({ [name]: { data: moved, shape } } as never);
          return (await exact.evaluate([x, target], wanted, { batchSize: N })).loss;
        };
        const slope = ((await lossWith(h)) - (await lossWith(-h))) / (2 * h);
        await lossWith(0);
        expect(Math.abs(slope - (data[index] as number))).toBeLessThan(2e-6);
      }
    });
  });

  test.each([false, true])(
    'a layer that reads another one and begins from its states is not fused with it (states through a dense layer: %s)',
    async (through) => {
      const net = (device: string) => {
        const source = input({ shape: [T, D] });
        const below = layers.gru({ units: 5, returnSequences: true, returnState: true });
        const [steps, h] = below.applyAll(source) as [SymbolicTensor, SymbolicTensor];
        const begin = through ? layers.dense({ units: 5, activation: 'tanh' }).apply(h) : h;
        const outputs = layers.gru({ units: 5, name: 'above' }).apply([steps, begin]);
        return model({ inputs: source, outputs, seed: 3 }).compile({ loss: 'mse', device });
      };
      near(await net('cpu').predict(x), await net('reference').predict(x));
      const { gradients } = await net('cpu').computeGradients(x, wantedStates);
      for (const [name, { data }] of (await net('reference').computeGradients(x, wantedStates)).gradients)
        for (const [k, g] of data.entries())
          expect(Math.abs((gradients.get(name)?.data[k] as number) - g)).toBeLessThan(1e-6);
    },
  );

  test('states and outputs of the same values, in a file and with states of predict', async () => {
    const source = input({ shape: [null, D] });
    const lstm = layers.lstm({ units: 3, returnState: true, name: 'lstm' });
    const outputs = lstm.applyAll(source);
    const net = model({ inputs: source, outputs });
    const { output, states } = await net.predict(x, { returnStates: true });
    expect(Object.keys(output)).toEqual(['lstm', 'lstm_1', 'lstm_2']);
    expect(output['lstm_1']).toEqual(states['lstm']?.['h']);
    expect(output['lstm_2']).toEqual(states['lstm']?.['c']);
    expect(output['lstm']).toEqual(output['lstm_1']);
    const again = modelFromConfig<Record<string, Tensor>>(JSON.parse(JSON.stringify(net.getConfig())));
    await again.setWeights(await net.getWeights());
    expect(await again.predict(x)).toEqual(output);
  });

  test('lengths: the states after the last step that counts', async () => {
    const source = input({ shape: [null, D] });
    const [, h] = layers.gru({ units: 3, returnState: true }).applyAll(source) as [
      SymbolicTensor,
      SymbolicTensor,
    ];
    const net = model({ inputs: source, outputs: h });
    const cutOff = (await net.predict(x, { lengths: new Array(N).fill(3) })).data;
    const [count, steps, width] = [N, 3, D];
    const short = new Float32Array(count * steps * width);
    for (let n = 0; n < N; n++)
      short.set(x.data.subarray(n * T * D, n * T * D + steps * width), n * steps * width);
    near(tensor(cutOff, [N, 3]), (await net.predict(tensor(short, [N, 3, D]))).reshape([N, 3]));
  });

  const source = input({ shape: [T, D] });
  const [, h, c] = layers.lstm({ units: 5, returnState: true }).applyAll(source) as [
    SymbolicTensor,
    SymbolicTensor,
    SymbolicTensor,
  ];
  const shared = () => {
    const own = layers.lstm({ units: D, returnSequences: true, name: 'shared' });
    return model({ inputs: source, outputs: own.apply(own.apply(source)) });
  };
  test.each<[string, () => unknown, string]>([
    [
      'one of two states',
      () => layers.lstm({ units: 5, name: 'decoder' }).apply([source, h]),
      "ERR_VALUE layer 'decoder': expected one input, or with its 2 initial states 3, got 2.",
    ],
    [
      'states of another width',
      () => layers.lstm({ units: 4, name: 'decoder' }).apply([source, h, c]),
      "ERR_SHAPE layer 'decoder': initial state h: expected [N, 4], got [N, 5].",
    ],
    [
      'beside learned ones',
      () => layers.gru({ units: 5, initialState: 'learned', name: 'decoder' }).apply([source, h]),
      "ERR_VALUE layer 'decoder': expected no initial states beside initialState: 'learned', got some.",
    ],
    [
      'in a sequential model',
      () => sequential([layers.gru({ units: 2, returnState: true, name: 'gru', inputShape: [3, 2] })]),
      "ERR_VALUE layer 'gru': expected one output in a sequential model, got returnState: true. Use input, applyAll and model({ inputs, outputs }) for states, and for directions apart.",
    ],
    [
      'a stream of a layer used twice',
      () => shared().stream(),
      "ERR_VALUE stream: layer 'shared': expected a recurrent layer that is used once, got one used several times.",
    ],
    [
      'initial states of a layer used twice',
      () =>
        shared().predict(x, { initialStates: { shared: { h: tensor(new Float32Array(N * D), [N, D]) } } }),
      'ERR_VALUE predict: initialStates: expected one of no states, got shared/h.',
    ],
    [
      'a stateful layer used twice',
      () => {
        const whole = input({ shape: [T, D], batchSize: 2 });
        const own = layers.gru({ units: D, returnSequences: true, stateful: true, name: 'own' });
        return model({ inputs: whole, outputs: own.apply(own.apply(whole)) });
      },
      "ERR_VALUE layer 'own': expected one use of a stateful layer, got several, which would share its state.",
    ],
  ])('refused: %s', async (_, work, message) => {
    expect(await refusal(work)).toBe(message);
  });
});

test.each([false, true])(
  'gradient reports follow the graph, not the order of the layers (turned branch first: %s)',
  async (first) => {
    const source = input({ shape: [T, D] });
    const forward = layers.simpleRNN({ units: 3, name: 'forward' }).apply(source);
    const below = layers.gru({ units: 4, returnSequences: true, name: 'below' }).apply(source);
    const turned = layers.simpleRNN({ units: 3, goBackwards: true, name: 'turned' }).apply(below);
    const both = layers.concatenate().apply(first ? [turned, forward] : [forward, turned]);
    const net = model({
      inputs: source,
      outputs: layers.dense({ units: 3, activation: 'softmax' }).apply(both),
    });
    const reports: GradientReport[] = [];
    await net.compile(compile('cpu')).fit(x, y, {
      lengths: new Array(N).fill(4),
      batchSize: N,
      callbacks: [{ gradientsEvery: 1, onGradients: (report) => void reports.push(report) }],
    });
    const [report] = reports as [GradientReport];
    // What reaches the first step of `below` came through its last one only for those that read on.
    expect(Object.keys(report.carried).sort()).toEqual(['forward', 'turned']);
    // The steps that count, of a layer that reads backwards the last ones of its order.
    expect(
      Object.fromEntries(Object.entries(report.steps).map(([name, norms]) => [name, norms.length])),
    ).toEqual({
      forward: 4,
      below: 4,
      turned: 4,
    });
    for (const norms of Object.values(report.steps)) expect(norms.every((norm) => norm > 0)).toBe(true);
  },
);

test('a list of one input and one output is taken as by Keras', async () => {
  const source = input({ shape: [T, D] });
  const net = model({ inputs: [source], outputs: [layers.dense({ units: 2, name: 'out' }).apply(source)] });
  expect(await net.predict([x])).toEqual(await net.predict(x));
  net.compile({ loss: 'mse' });
  const targets = randomSequences(N, T, 2, 4);
  expect(await net.evaluate([x], [targets])).toEqual(await net.evaluate(x, targets));
});

test('validation data of several outputs by name', async () => {
  const source = input({ shape: [T, D], name: 'series' });
  const heads = ['left', 'right'].map((name) => layers.dense({ units: 1, name }).apply(source));
  const net = model({ inputs: source, outputs: heads }).compile({ loss: 'mse' });
  const [left, right] = [randomSequences(N, T, 1, 5), randomSequences(N, T, 1, 6)];
  const { history } = await net.fit(
    { series: x },
    { left, right },
    { validationData: [{ series: x }, { left, right }] },
  );
  const { loss, ...own } = await net.evaluate(x, [left, right]);
  expect(history['val_loss']?.[0]).toBeCloseTo(loss, 6);
  expect(history['val_right_loss']?.[0]).toBeCloseTo(own['right_loss'] as number, 6);
});

test('what is made of the same padding by several layers counts as one mask', async () => {
  const lengths = Int32Array.from({ length: N }, (_, n) => 1 + (n % T));
  const source = input({ shape: [T, D] });
  const backwards = (units: number) =>
    layers.gru(sequence({ units, goBackwards: true })).apply(layers.masking({ maskValue: 7 }).apply(source));
  const net = model({ inputs: source, outputs: layers.add().apply([backwards(3), backwards(3)]), seed: 2 });
  const other = input({ shape: [T, D] });
  const one = model({
    inputs: other,
    outputs: layers.gru(sequence({ units: 3, goBackwards: true })).apply(other),
  });
  const weights = await net.getWeights();
  const sum = await net.predict(x, { lengths });
  const parts = [];
  for (const name of ['gru', 'gru_1']) {
    const own = [...weights].filter(([key]) => key.startsWith(`${name}/`));
    await one.setWeights(Object.fromEntries(own.map(([key, w]) => [key.replace(name, 'gru'), w])));
    parts.push((await one.predict(x)).data);
  }
  for (const [i, v] of sum.data.entries())
    expect(v).toBeCloseTo((parts[0]?.[i] as number) + (parts[1]?.[i] as number), 5);
});

test('names that layers were given come before those made up', () => {
  const source = input({ shape: [D] });
  const lower = layers.dense({ units: 2 }).apply(source);
  const net = model({ inputs: source, outputs: layers.dense({ units: 2, name: 'dense' }).apply(lower) });
  expect(net.layers.map(({ name }) => name)).toEqual(['dense_1', 'dense']);
});

describe('refusals', () => {
  const source = input({ shape: [T, D], name: 'series' });
  const out = (units = 3): SymbolicTensor => layers.dense({ units, name: 'head' }).apply(source);
  test.each<[string, () => unknown, string]>([
    [
      'an input that is not given',
      () => model({ inputs: input({ shape: [2] }), outputs: out() }),
      "ERR_VALUE model: inputs: expected all inputs that the outputs are made from, got none of input 'series'.",
    ],
    [
      'an input in the middle',
      () => {
        const middle = out();
        return model({ inputs: middle, outputs: layers.flatten().apply(middle) });
      },
      "ERR_VALUE model: inputs[0]: expected what input({ shape }) gave, got the output of layer 'head'.",
    ],
    [
      'no layers',
      () => model({ inputs: source, outputs: source }),
      'ERR_VALUE model: expected at least one layer between inputs and outputs, got none.',
    ],
    [
      'shapes that do not fit, when the layer is applied',
      () => layers.add({ name: 'sum' }).apply([out(), source]),
      "ERR_SHAPE layer 'sum': expected inputs of one shape, got [N, 6, 3], [N, 6, 4].",
    ],
    [
      'one input of a merge',
      () => layers.concatenate().apply(source),
      'ERR_VALUE layers.concatenate: expected 2 inputs or more, got 1. Use it in a model: layers.concatenate().apply([a, b]).',
    ],
    [
      'several inputs of a layer that reads one',
      () => layers.dense({ units: 2 }).apply([source, source]),
      'ERR_VALUE layers.dense: expected one input, got 2.',
    ],
    [
      'what is no symbolic tensor',
      () => layers.lstm({ units: 2 }).apply(x as never),
      "ERR_VALUE layers.lstm: apply: expected what input({ shape }) or a layer's apply gives, one or an array of them, got a Tensor.",
    ],
    [
      'a layer of another model',
      () => {
        const shared = layers.dense({ units: 2, name: 'mine' });
        model({ inputs: source, outputs: shared.apply(source) });
        return model({ inputs: source, outputs: shared.apply(source) });
      },
      "ERR_VALUE layer 'mine': expected a layer that is in no other model, got one that is. Make a new one for each model: weights cannot be shared between models.",
    ],
    [
      'two layers of one name',
      () => model({ inputs: source, outputs: layers.dense({ units: 2, name: 'head' }).apply(out()) }),
      "ERR_VALUE layer 'head': expected a name of its own in the model, got a name that another layer has.",
    ],
    [
      'no inputs',
      () => model({ outputs: out() } as never),
      "ERR_VALUE model: inputs: expected what input({ shape }) or a layer's apply gives, one or an array of them, got undefined.",
    ],
    [
      'inputs and outputs one after the other',
      () => model(source as never),
      'ERR_VALUE model: expected model({ inputs, outputs }), got a SymbolicTensor.',
    ],
    [
      'a stream of several outputs',
      () => {
        const steps = input({ shape: [null, D] });
        const [a, b] = [1, 2].map((units) => layers.gru(sequence({ units })).apply(steps));
        return model({ inputs: steps, outputs: [a as SymbolicTensor, b as SymbolicTensor] }).stream();
      },
      'ERR_VALUE stream: expected a model with one output, got 2.',
    ],
    [
      'initial states of a layer that is given its states by others',
      () => {
        const begin = input({ shape: [2], name: 'begin' });
        const read = layers.gru({ units: 2 }).apply([source, begin]);
        const h = tensor(new Float32Array(2 * N), [N, 2]);
        return model({ inputs: [source, begin], outputs: read }).predict([x, h], {
          initialStates: { gru: { h } },
        });
      },
      'ERR_VALUE predict: initialStates: expected one of no states, got gru/h.',
    ],
    [
      'a configuration that points nowhere',
      () => modelFromConfig({ ...branching().getConfig(), outputs: [[40, 0]] } as never),
      'ERR_VALUE modelFromConfig: outputs: expected [value, output] of one before it, got [40, 0].',
    ],
  ])('%s', async (_, work, message) => {
    expect(await refusal(work)).toBe(message);
  });
});
