import {
  callbacks,
  input,
  layers,
  model,
  type SymbolicTensor,
  sequential,
  type Tensor,
  tensor,
} from '../../../lib';
import type { Sequential } from '../../../lib/models/sequential';
import { refusal } from '../refusal';

/** Sequences of their own lengths in [3, 6] ids, 0 beyond them, with labels for every step. */
const lengths = [6, 2, 4];
const ids = tensor(Int32Array.of(3, 1, 4, 1, 5, 2, 6, 5, 0, 0, 0, 0, 2, 6, 3, 1, 0, 0), [3, 6]);
const labels = tensor(Int32Array.of(1, 0, 2, 1, 1, 0, 2, 1, 2, 2, 2, 2, 0, 0, 1, 2, 1, 0), [3, 6]);
/** Row n of an array [3, 6], as far as it counts. */
const row = (all: typeof ids, n: number) =>
  tensor((all.data as Int32Array).slice(6 * n, 6 * n + (lengths[n] as number)), [1, lengths[n] as number]);

/** The engine that tests run on, and the one they are held to. */
const devices = [process.env['DEEPRNN_DEVICE'] ?? 'cpu', 'reference'];

function tagger(device: string, returnSequences = true): Sequential {
  const model = sequential(
    [
      layers.embedding({ inputDim: 7, outputDim: 4, maskZero: true }),
      layers.lstm({ units: 9, returnSequences: true }),
      layers.dropout({ rate: 0.3 }),
      layers.gru({ units: 5, returnSequences }),
      layers.dense({ units: 3, activation: 'softmax' }),
    ],
    { seed: 5 },
  );
  model.compile({
    loss: 'sparseCategoricalCrossentropy',
    optimizer: { type: 'sgd', learningRate: 0.1 },
    metrics: ['accuracy'],
    device,
  });
  return model;
}

/** Largest absolute difference. */
const apart = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((max, v, i) => Math.max(max, Math.abs(v - (b[i] as number))), 0);

describe.each(devices)('maskWithStates: false on the %s engine', (device) => {
  /** An encoder that begins a decoder of the same ids, in one direction or both. @param masked whether the decoder's ids have a mask */
  function encoderDecoder(both: boolean, options: object, masked = true) {
    const x = input({ shape: [6], dtype: 'int32', name: 'x' });
    const words = layers.embedding({ inputDim: 7, outputDim: 4, maskZero: true, name: 'words' });
    const others = layers.embedding({ inputDim: 7, outputDim: 4, maskZero: masked, name: 'others' });
    const [, h] = layers.gru({ units: 3, returnState: true }).applyAll(words.apply(x));
    const begin = h as SymbolicTensor;
    const layer = layers.gru({ units: 3, returnSequences: true, ...options, name: 'decoder' });
    const read = others.apply(x);
    const y = both
      ? layers.bidirectional({ layer, name: 'decoder' }).apply([read, begin, begin])
      : layer.apply([read, begin]);
    const made = model({ inputs: x, outputs: y, seed: 4 });
    made.compile({ loss: 'mse', optimizer: 'sgd', device });
    return made;
  }

  test.each([false, true])(
    'all steps are read, and those that do not count are left out above (both: %s)',
    async (both) => {
      const open = encoderDecoder(both, { maskWithStates: false });
      const without = encoderDecoder(both, {}, false);
      const masked = encoderDecoder(both, {});
      const y = (await open.predict(ids)) as Tensor;
      const all = (await without.predict(ids)) as Tensor;
      expect(apart(y.data, all.data)).toBe(0);
      const width = both ? 6 : 3;
      const passing = (await masked.predict(ids)) as Tensor;
      const counts = (i: number) =>
        Math.floor(i / width) % 6 < (lengths[Math.floor(i / width / 6)] as number);
      const padded = [...y.data.keys()].filter((i) => !counts(i));
      expect(
        apart(
          padded.map((i) => y.data[i] as number),
          padded.map((i) => passing.data[i] as number),
        ),
      ).toBeGreaterThan(1e-3);
      // The loss is that of the steps that count.
      const targets = tensor(
        Float32Array.from(y.data, (v, i) => Math.fround(v + 0.01 * (i % 7))),
        y.shape,
      );
      const { loss, gradients } = await open.computeGradients(ids, targets);
      const errors = [...y.data.keys()]
        .filter(counts)
        .map((i) => ((y.data[i] as number) - (targets.data[i] as number)) ** 2);
      expect(loss).toBeCloseTo(errors.reduce((a, b) => a + b) / errors.length, 6);
      const weights = tensor(
        Float32Array.from(
          { length: 18 },
          (_, i) => (Number(i % 6 < (lengths[Math.floor(i / 6)] as number)) * 18) / 12,
        ),
        [3, 6],
      );
      const wanted = await without.computeGradients(ids, targets, { sampleWeight: weights });
      for (const [name, { data }] of wanted.gradients)
        expect(apart(gradients.get(name)?.data ?? [], data)).toBeLessThan(1e-6);
    },
  );

  test('without states the mask counts', async () => {
    const net = (options: object) =>
      sequential(
        [
          layers.embedding({ inputDim: 7, outputDim: 4, maskZero: true }),
          layers.lstm({ units: 3, ...options }),
        ],
        { seed: 2 },
      ).compile({ loss: 'mse', optimizer: 'sgd', device });
    const y = await net({ maskWithStates: false }).predict(ids);
    expect(apart(y.data, (await net({}).predict(ids)).data)).toBe(0);
  });
});

describe.each(devices)('padded sequences on the %s engine', (device) => {
  // A product on a GPU may be summed in another order when it has other rows.
  const exact = /cuda/.test(device) ? 1e-5 : 1e-12;

  test('are predicted as they would be alone', async () => {
    const model = tagger(device);
    const together = await model.predict(ids);
    for (let n = 0; n < 3; n++) {
      const alone = await model.predict(row(ids, n));
      expect(apart(alone.data, together.data.slice(18 * n))).toBeLessThan(exact);
    }
    const last = tagger(device, false);
    const ends = await last.predict(ids);
    expect(ends.shape).toEqual([3, 3]);
    for (let n = 0; n < 3; n++)
      expect(apart((await last.predict(row(ids, n))).data, ends.data.slice(3 * n))).toBeLessThan(exact);
  });

  test('count in loss, metrics and gradients by their steps', async () => {
    const model = tagger(device);
    const { loss, accuracy } = await model.evaluate(ids, labels);
    let [sum, right] = [0, 0];
    for (let n = 0; n < 3; n++) {
      const alone = await model.evaluate(row(ids, n), row(labels, n));
      sum += (alone.loss as number) * (lengths[n] as number);
      right += (alone['accuracy'] as number) * (lengths[n] as number);
    }
    // Metrics are means over all steps that count, whatever the batches; the loss is a mean of the batches' means, as in Keras.
    expect((await model.evaluate(ids, labels, { batchSize: 2 }))['accuracy']).toBeCloseTo(right / 12, 6);
    expect(loss).toBeCloseTo(sum / 12, 5);
    expect(accuracy).toBeCloseTo(right / 12, 6);
    // Labels of padding change nothing at all.
    const others = tensor(
      Int32Array.from(labels.data as Int32Array, (v, i) => ((ids.data[i] as number) === 0 ? 2 - v : v)),
      [3, 6],
    );
    expect(await model.evaluate(ids, others)).toEqual(await model.evaluate(ids, labels));
    const one = tagger(device);
    const other = tagger(device);
    await one.trainOnBatch(ids, labels);
    await other.trainOnBatch(ids, others);
    const weights = await other.getWeights();
    for (const [name, value] of await one.getWeights()) expect(value.data).toEqual(weights.get(name)?.data);
  });

  test('train a model of the last step alike on every engine', async () => {
    const classes = tensor(Int32Array.of(0, 2, 1), [3]);
    const [one, other] = [tagger(device, false), tagger('reference', false)];
    for (let i = 0; i < 3; i++) {
      const [a, b] = [await one.trainOnBatch(ids, classes), await other.trainOnBatch(ids, classes)];
      expect(a.loss).toBeCloseTo(b.loss as number, 4);
    }
  });

  test('weights of steps count beside the mask', async () => {
    const model = tagger(device);
    const sampleWeight = tensor(
      Float32Array.from({ length: 18 }, (_, i) => 1 + (i % 3)),
      [3, 6],
    );
    const { loss } = await model.evaluate(ids, labels, { sampleWeight });
    let sum = 0;
    for (let n = 0; n < 3; n++) {
      const own = tensor((sampleWeight.data as Float32Array).slice(6 * n, 6 * n + (lengths[n] as number)), [
        1,
        lengths[n] as number,
      ]);
      const alone = await model.evaluate(row(ids, n), row(labels, n), { sampleWeight: own });
      sum += (alone.loss as number) * (lengths[n] as number);
    }
    expect(loss).toBeCloseTo(sum / 12, 5);
  });

  test('of features are masked by a value, backwards too', async () => {
    const model = sequential(
      [
        layers.masking({ maskValue: 0.1, inputShape: [null, 2] }),
        layers.simpleRNN({ units: 4, goBackwards: true, returnSequences: true }),
        layers.lstm({ units: 3, returnSequences: true }),
      ],
      { seed: 2 },
    );
    model.compile({ loss: 'mse', device });
    // One step of feature 0.1 alone is no padding.
    const steps = [0.4, -0.2, 0.1, 0.6, 0.3, 0.3];
    const alone = await model.predict(tensor(Float32Array.from(steps), [1, 3, 2]));
    const padded = await model.predict(tensor(Float32Array.from([...steps, 0.1, 0.1, 0.1, 0.1]), [1, 5, 2]));
    // Backwards, the padding comes first and leaves the states as they were: zero.
    expect(Array.from(padded.data.slice(0, 6))).toEqual(new Array(6).fill(0));
    expect(apart(alone.data, padded.data.slice(6))).toBeLessThan(exact);
  });
});

const stacks = async (model: Sequential) =>
  (
    await model.profile({ batchSize: 3, steps: 6, device: 'cuda', estimate: true })
  ).estimate.predict.stacks.map((s) => s.layers);

test('layers under different masks run apart, and layers behind a backwards one with it', async () => {
  const rest = { units: 4, returnSequences: true };
  const embedded = layers.embedding({ inputDim: 7, outputDim: 2, maskZero: true });
  const twice = sequential([
    embedded,
    layers.lstm(rest),
    layers.masking(),
    layers.gru({ ...rest, name: 'g' }),
  ]);
  twice.compile({ loss: 'mse' }).build([6]);
  expect(await stacks(twice)).toEqual([['lstm'], ['g']]);
  const back = sequential([
    layers.embedding({ inputDim: 7, outputDim: 2, maskZero: true }),
    layers.lstm({ ...rest, goBackwards: true }),
    layers.gru(rest),
  ]);
  back.compile({ loss: 'mse' }).build([6]);
  expect(await stacks(back)).toEqual([['lstm', 'gru']]);
});

test('what padding holds reaches a layer that reads every step as zero', async () => {
  const model = sequential([
    layers.masking({ maskValue: -1, inputShape: [3, 2] }),
    layers.dense({ units: 2, useBias: false, kernelInitializer: 'ones' }),
  ]);
  model.compile({ loss: 'mse' });
  const y = await model.predict(tensor(Float32Array.of(1, 2, -1, -1, -1, 3), [1, 3, 2]));
  expect(Array.from(y.data)).toEqual([3, 3, 0, 0, 2, 2]);
});

test('a mask goes through a stack that runs as one op', async () => {
  const model = tagger('reference');
  const { estimate } = await model.profile({ batchSize: 3, steps: 6, device: 'cuda', estimate: true });
  expect(estimate.predict.stacks).toMatchObject([{ layers: ['lstm', 'gru'] }]);
});

test('masks are saved with a model', () => {
  const config = tagger('reference').getConfig();
  expect(config.layers[0]?.config).toMatchObject({ maskZero: true });
  expect(layers.masking({ maskValue: 0.5 }).getConfig()).toMatchObject({ maskValue: 0.5 });
});

describe('lengths', () => {
  const x = tensor(
    Float32Array.from({ length: 36 }, (_, i) => Math.sin(i)),
    [3, 6, 2],
  );
  const model = (device: string, returnSequences = true) => {
    const made = sequential(
      [
        layers.lstm({ units: 4, returnSequences: true, inputShape: [6, 2] }),
        layers.bidirectional({ layer: layers.gru({ units: 3, returnSequences }) }),
        layers.dense({ units: 3, activation: 'softmax' }),
      ],
      { seed: 4 },
    );
    made.compile({ loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'], device });
    return made;
  };
  const part = (n: number) =>
    tensor((x.data as Float32Array).slice(12 * n, 12 * n + 2 * (lengths[n] as number)), [
      1,
      lengths[n] as number,
      2,
    ]);

  test.each(devices)('say which steps count where no value does, on the %s engine', async (device) => {
    const any = sequential(
      [layers.lstm({ units: 4, returnSequences: true, inputShape: [null, 2] }), layers.gru({ units: 3 })],
      { seed: 4 },
    );
    any.compile({ loss: 'mse', device });
    const y = await any.predict(x, { lengths });
    for (let n = 0; n < 3; n++)
      expect(apart((await any.predict(part(n))).data, y.data.slice(3 * n))).toBeLessThan(1e-5);
    expect(apart((await any.predict(x)).data, y.data)).toBeGreaterThan(1e-3);
  });

  test.each(devices)(
    'go with their examples through fit, evaluate and generators, on the %s engine',
    async (device) => {
      const [one, other] = [model(device), model(device)];
      const options = { epochs: 2, batchSize: 2, shuffle: true, verbose: 0 } as const;
      await one.fit(x, labels, { ...options, lengths, validationData: { x, y: labels, lengths } });
      // Labels beyond the lengths change nothing.
      const changed = tensor(
        Int32Array.from(labels.data as Int32Array, (v, i) =>
          i % 6 < (lengths[Math.floor(i / 6)] as number) ? v : 2 - v,
        ),
        [3, 6],
      );
      await other.fit(x, changed, { ...options, lengths, validationData: { x, y: changed, lengths } });
      const weights = await other.getWeights();
      for (const [name, value] of await one.getWeights()) expect(value.data).toEqual(weights.get(name)?.data);
      const whole = await one.evaluate(x, labels, { lengths });
      expect(await one.evaluate(() => [{ x, y: changed, lengths }])).toEqual(whole);
      expect(whole).not.toEqual(await one.evaluate(x, labels));
    },
  );

  test.each<[string, unknown, string]>([
    ['too many', [6, 2], 'ERR_SHAPE predict: lengths: expected shape [3], got [2].'],
    [
      'longer than the sequences',
      [6, 2, 7],
      'ERR_VALUE predict: lengths: expected numbers of steps from 0 to 6, got 7 at [2].',
    ],
  ])('that are %s are refused', async (_, given, message) => {
    expect(await refusal(() => model('reference').predict(x, { lengths: given as number[] }))).toBe(message);
  });

  test('are refused beside a generator and for inputs that are no sequences', async () => {
    const flat = sequential([layers.dense({ units: 1, inputShape: [2] })]);
    flat.compile({ loss: 'mse' });
    const rows = tensor(new Float32Array(4), [2, 2]);
    expect(await refusal(() => flat.predict(rows, { lengths: [1, 1] }))).toBe(
      'ERR_VALUE predict: lengths: expected a model that reads sequences, got inputs [N, 2].',
    );
    expect(await refusal(() => model('reference').evaluate(() => [{ x, y: labels }], { lengths }))).toMatch(
      /^ERR_VALUE evaluate: lengths: expected lengths inside the batches when x is a generator/,
    );
    expect(await refusal(() => model('reference').predict(() => [{ x }], { lengths }))).toMatch(
      /^ERR_VALUE predict: lengths: expected lengths inside the batches/,
    );
  });
});

describe('gradient health', () => {
  /** What a fit of one step on sequences of 10 steps, padded to `steps`, finds. */
  async function findings(steps: number, last: boolean): Promise<string[]> {
    const [N, T] = [8, 10];
    const padded = Int32Array.from({ length: N * steps }, (_, i) => (i % steps < T ? 1 + ((i * 7) % 6) : 0));
    const stack = last
      ? [layers.lstm({ units: 8, returnSequences: true }), layers.lstm({ units: 8 })]
      : [
          layers.simpleRNN({
            units: 8,
            returnSequences: true,
            recurrentInitializer: { type: 'orthogonal', gain: 0.2 },
          }),
        ];
    const model = sequential(
      [layers.embedding({ inputDim: 7, outputDim: 4, maskZero: true }), ...stack, layers.dense({ units: 1 })],
      { seed: 9 },
    );
    model.compile({ loss: 'mse', optimizer: 'sgd' });
    const y = tensor(new Float32Array(last ? N : N * steps).fill(1), last ? [N, 1] : [N, steps, 1]);
    const health = callbacks.gradientHealth({ report: 'none' });
    await model.fit(tensor(padded, [N, steps]), y, {
      epochs: 1,
      batchSize: N,
      verbose: 0,
      callbacks: [health],
    });
    return health.findings().map(({ kind, layer = '' }) => `${kind} ${layer}`);
  }

  test.each([true, false])(
    'finds in padded sequences what it finds in them alone, last step only %s',
    async (last) => {
      const alone = await findings(10, last);
      expect(await findings(20, last)).toEqual(alone);
      expect(alone).toEqual(last ? ['healthy '] : ['vanishing simpleRNN']);
    },
  );
});

test.each<[string, () => unknown, string]>([
  [
    'a value beyond float32',
    () => layers.masking({ maskValue: 1e39 }),
    'layers.masking: maskValue: expected a finite number that float32 holds, got 1e+39.',
  ],
  [
    'a value that is none',
    () => layers.masking({ maskValue: Number.NaN }),
    'layers.masking: maskValue: expected a finite number that float32 holds, got NaN.',
  ],
  [
    'a switch that is none',
    () => layers.embedding({ inputDim: 2, outputDim: 2, maskZero: 1 as never }),
    'layers.embedding: maskZero: expected true or false, got 1.',
  ],
  [
    'an input that is no sequence',
    () => sequential([layers.masking({ inputShape: [4] })]).build(),
    "layer 'masking': expected a sequence [N, T, D], got [N, 4].",
  ],
])('%s is refused', (_, work, message) => {
  expect(work).toThrow(message);
});
