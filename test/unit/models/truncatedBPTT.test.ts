import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type Callback,
  callbacks,
  type FitOptions,
  type Functional,
  type InitialStates,
  input,
  layers,
  model,
  optimizers,
  type Sequential,
  sequential,
  type Tensor,
  tensor,
} from '../../../lib';
import { refusal } from '../refusal';
import { cut, randomSequences } from './data';

const [N, T, D] = [6, 11, 3];
const x = randomSequences(N, T, D, 1);
const y = randomSequences(N, T, 2, 2);
const chunks = [0, 4, 8].map((first) => [first, Math.min(T, first + 4)] as const);

function net(device: string, options: object = {}, shape: object = { inputShape: [null, D] }): Sequential {
  return sequential(
    [
      layers.lstm({ units: 5, returnSequences: true, ...options, ...shape }),
      layers.gru({ units: 4, returnSequences: true, ...options }),
      layers.dense({ units: 2 }),
    ],
    { seed: 3 },
  ).compile({
    loss: 'mse',
    optimizer: optimizers.adam({ learningRate: 0.02 }),
    metrics: ['mae'],
    device,
    threads: 2,
  });
}

const rows = (t: Tensor, begin: number, end: number) => t.rows(begin, end);
/** Row n of a batch is over after `lengths[n]` steps. */
const left = (lengths: Int32Array, [first, end]: readonly [number, number]) =>
  lengths.map((n) => Math.max(0, Math.min(n, end) - first));

describe.each(['cpu', 'reference'])('on %s', (device) => {
  test('chunks by hand through trainOnBatch give the same bits', async () => {
    const own = net(device);
    await own.fit(x, y, { batchSize: 4, epochs: 2, shuffle: false, truncatedBPTT: { steps: 4 } });
    const byHand = net(device);
    for (let epoch = 0; epoch < 2; epoch++) {
      for (const [begin, end] of [
        [0, 4],
        [4, 6],
      ] as const) {
        let initialStates: InitialStates | undefined;
        for (const [first, last] of chunks) {
          const part = cut(rows(x, begin, end), first, last);
          const given = initialStates ? { initialStates } : {};
          const { states } = await byHand.predict(part, { ...given, returnStates: true });
          await byHand.trainOnBatch(part, cut(rows(y, begin, end), first, last), given);
          initialStates = states;
        }
      }
    }
    expect(own.step).toBe(12);
    expect(await own.getWeights()).toEqual(await byHand.getWeights());
  });

  test('lengths and weights of samples and of steps go with the chunks', async () => {
    // No sequence of this batch reaches the last chunk, which is no step then.
    const lengths = Int32Array.of(8, 2, 5, 4, 1, 7);
    const weights = tensor(
      randomSequences(N, T, 1, 5).data.map((w) => Math.abs(w)),
      [N, T],
    );
    const own = net(device);
    await own.fit(x, y, {
      batchSize: N,
      shuffle: false,
      lengths,
      sampleWeight: weights,
      truncatedBPTT: { steps: 4 },
    });
    const byHand = net(device);
    let initialStates: InitialStates | undefined;
    for (const chunk of chunks.slice(0, 2)) {
      const part = cut(x, ...chunk);
      const options = { lengths: left(lengths, chunk), ...(initialStates ? { initialStates } : {}) };
      const { states } = await byHand.predict(part, { ...options, returnStates: true });
      const sampleWeight = cut(weights.reshape([N, T, 1]), ...chunk).reshape([N, 4]);
      await byHand.trainOnBatch(part, cut(y, ...chunk), { ...options, sampleWeight });
      initialStates = states;
    }
    expect(own.step).toBe(2);
    expect(await own.getWeights()).toEqual(await byHand.getWeights());
  });

  test('a stateful model goes on from batch to batch too', async () => {
    const shape = { batchInputShape: [3, null, D] };
    const own = net(device, { stateful: true }, shape);
    await own.fit(x, y, { batchSize: 3, truncatedBPTT: { steps: 4 } });
    const byHand = net(device, { stateful: true }, shape);
    for (const begin of [0, 3])
      for (const [first, end] of chunks)
        await byHand.trainOnBatch(
          cut(rows(x, begin, begin + 3), first, end),
          cut(rows(y, begin, begin + 3), first, end),
        );
    expect(await own.getWeights()).toEqual(await byHand.getWeights());
  });

  test('learned initial states and given ones begin the first chunk', async () => {
    const own = net(device, { initialState: 'learned' });
    const h = randomSequences(N, 1, 5, 9).reshape([N, 5]);
    const given = { lstm: { h, c: h } };
    await own.fit(x, y, { batchSize: N, shuffle: false, initialStates: given, truncatedBPTT: { steps: 6 } });
    const byHand = net(device, { initialState: 'learned' });
    const { states } = await byHand.predict(cut(x, 0, 6), { initialStates: given, returnStates: true });
    await byHand.trainOnBatch(cut(x, 0, 6), cut(y, 0, 6), { initialStates: given });
    await byHand.trainOnBatch(cut(x, 6, T), cut(y, 6, T), { initialStates: states });
    expect(await own.getWeights()).toEqual(await byHand.getWeights());
    expect((await own.getWeights()).get('gru/initialH')?.data.some((v) => v !== 0)).toBe(true);
  });
});

describe.each(['cpu', 'reference'])('steps that are read again, on %s', (device) => {
  const sgd = () =>
    ({ loss: 'mse', optimizer: optimizers.sgd({ learningRate: 0.3 }), metrics: ['mae'], device }) as const;
  const closeTo = (a: ReadonlyMap<string, Tensor>, b: ReadonlyMap<string, Tensor>) => {
    for (const [name, { data }] of a)
      for (const [i, v] of data.entries()) expect(v).toBeCloseTo(b.get(name)?.data[i] as number, 5);
  };

  /** A stack that fuses, and layers that go from step to step by programs. */
  const stepByStep = () =>
    sequential(
      [
        layers.lstm({ units: 4, projectionUnits: 3, returnSequences: true, inputShape: [null, D] }),
        layers.gru({ units: 3, layerNormalization: true, returnSequences: true }),
        layers.dense({ units: 2 }),
      ],
      { seed: 4 },
    );
  const uneven = Int32Array.of(11, 7, 9, 10, 11, 8);

  test.each<[string, string, (device: string) => Sequential, Int32Array | undefined]>([
    ['a stack', 'no lengths', net, undefined],
    ['a stack', 'lengths', net, uneven],
    ['programs', 'no lengths', stepByStep, undefined],
    ['programs', 'lengths', stepByStep, uneven],
  ])('chunks by hand, of %s, with %s', async (_, __, made, lengths) => {
    const given = lengths ? { lengths } : {};
    const own = made(device).compile(sgd());
    await own.fit(x, y, {
      batchSize: N,
      shuffle: false,
      ...given,
      truncatedBPTT: { steps: 4, overlap: 3 },
    });
    const byHand = made(device).compile(sgd());
    const ranges = [
      { begin: 0, first: 0, end: 4, next: 1 },
      { begin: 1, first: 4, end: 8, next: 5 },
      { begin: 5, first: 8, end: T, next: T },
    ];
    let initialStates: InitialStates | undefined;
    for (const { begin, first, end, next } of ranges) {
      const start = initialStates ? { initialStates } : {};
      const until = (last: number) => (lengths ? { lengths: left(lengths, [begin, last]) } : {});
      const { states } = await byHand.predict(cut(x, begin, next), {
        ...start,
        ...until(next),
        returnStates: true,
      });
      // The loss is the mean over all steps that count: as many times more for those that are scored.
      const counted = (from: number) =>
        lengths ? left(lengths, [from, end]).reduce((a, b) => a + b) : N * (end - from);
      const factor = counted(begin) / counted(first);
      const sampleWeight = tensor(
        Float32Array.from({ length: N * (end - begin) }, (_, i) =>
          begin + (i % (end - begin)) < first ? 0 : factor,
        ),
        [N, end - begin],
      );
      await byHand.trainOnBatch(cut(x, begin, end), cut(y, begin, end), {
        ...start,
        ...until(end),
        sampleWeight,
      });
      initialStates = states;
    }
    closeTo(await own.getWeights(), await byHand.getWeights());
  });

  test('so many that all are make chunks one whole, the gradients of which add up', async () => {
    const even = { optimizer: optimizers.sgd({ learningRate: 0.3, gradientAccumulationSteps: 3 }) };
    const own = net(device, { initialState: 'learned' }).compile({ ...sgd(), ...even });
    const [x12, y12] = [randomSequences(N, 12, D, 3), randomSequences(N, 12, 2, 4)];
    const options = { batchSize: N, shuffle: false, truncatedBPTT: { steps: 4, overlap: 12 } };
    const { history } = await own.fit(x12, y12, options);
    const whole = net(device, { initialState: 'learned' }).compile(sgd());
    const { loss, mae } = await whole.trainOnBatch(x12, y12);
    closeTo(await own.getWeights(), await whole.getWeights());
    expect(history['loss']?.[0]).toBeCloseTo(loss, 5);
    expect(history['mae']?.[0]).toBeCloseTo(mae as number, 5);
  });

  test('go with gradient checkpointing and with frozen layers', async () => {
    const made = (more: object) => {
      const own = net(device).compile({ ...sgd(), ...more });
      (own.layers[0] as { trainable: boolean }).trainable = false;
      return own;
    };
    const [whole, parts] = [made({}), made({ gradientCheckpointing: { steps: 3 } })];
    for (const own of [whole, parts])
      await own.fit(x, y, { batchSize: 4, truncatedBPTT: { steps: 3, overlap: 4 } });
    closeTo(await parts.getWeights(), await whole.getWeights());
    expect((await whole.getWeights()).get('lstm/kernel')).toEqual(
      (await net(device).getWeights()).get('lstm/kernel'),
    );
  });
});

test('steps that are read again and padding that a layer finds are both left out of scores', async () => {
  const padded = tensor(
    x.data.map((v, i) => (Math.floor(i / D) % T >= 9 - Math.floor(i / D / T) ? 0 : v)),
    [N, T, D],
  );
  const own = sequential(
    [
      layers.masking({ maskValue: 0, inputShape: [null, D] }),
      layers.gru({ units: 4, returnSequences: true }),
      layers.dense({ units: 2 }),
    ],
    { seed: 6 },
  ).compile({ loss: 'mse', optimizer: optimizers.sgd({ learningRate: 0 }), metrics: ['mae', 'r2'] });
  const options = { batchSize: N, shuffle: false, truncatedBPTT: { steps: 3, overlap: 2 } };
  const { history } = await own.fit(padded, y, options);
  const whole = await own.evaluate(padded, y);
  expect(history['mae']?.[0]).toBeCloseTo(whole['mae'] as number, 5);
});

test.each([[undefined], [Int32Array.of(11, 2, 5, 9, 1, 7)]])(
  'scores are those of the whole sequences',
  async (lengths) => {
    const still = net('cpu').compile({
      loss: 'mse',
      optimizer: optimizers.sgd({ learningRate: 0 }),
      metrics: ['mae', 'r2'],
    });
    const given = { batchSize: 4, ...(lengths ? { lengths } : {}) };
    const { history } = await still.fit(x, y, { ...given, shuffle: false, truncatedBPTT: { steps: 3 } });
    const whole = await still.evaluate(x, y, given);
    expect(history['loss']?.[0]).toBeCloseTo(whole.loss, 5);
    expect(history['mae']?.[0]).toBeCloseTo(whole['mae'] as number, 5);
  },
);

test('several inputs and outputs', async () => {
  const made = (): Functional<Readonly<Record<string, Tensor>>> => {
    const series = input({ shape: [null, D], name: 'series' });
    const ids = input({ shape: [null], dtype: 'int32', name: 'ids' });
    const embedded = layers.embedding({ inputDim: 4, outputDim: 2 }).apply(ids);
    const read = layers
      .lstm({ units: 3, returnSequences: true })
      .apply(layers.concatenate().apply([series, embedded]));
    return model({
      inputs: [series, ids],
      outputs: [
        layers.dense({ units: 2, name: 'level' }).apply(read),
        layers.dense({ units: 3, activation: 'softmax', name: 'kind' }).apply(read),
      ],
      seed: 4,
    }).compile({ loss: { level: 'mse', kind: 'sparseCategoricalCrossentropy' } });
  };
  const ids = tensor(
    Int32Array.from({ length: N * T }, (_, i) => (i * 7) % 4),
    [N, T],
  );
  const kinds = tensor(
    ids.data.map((i) => i % 3),
    [N, T],
  );
  const part = (t: Tensor, first: number, end: number): Tensor => {
    const flat = t.data.filter((_, i) => i % T >= first && i % T < end);
    return tensor(flat, [N, end - first]);
  };
  const own = made();
  await own.fit(
    { series: x, ids },
    { level: y, kind: kinds },
    { batchSize: N, shuffle: false, truncatedBPTT: { steps: 4 } },
  );
  const byHand = made();
  let initialStates: InitialStates | undefined;
  for (const [first, end] of chunks) {
    const given = initialStates ? { initialStates } : {};
    const inputs = [cut(x, first, end), part(ids, first, end)];
    const { states } = await byHand.predict(inputs, { ...given, returnStates: true });
    await byHand.trainOnBatch(inputs, [cut(y, first, end), part(kinds, first, end)], given);
    initialStates = states;
  }
  expect(await own.getWeights()).toEqual(await byHand.getWeights());
});

describe('a checkpoint between chunks', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-truncated-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'inside');
  const options = (more: FitOptions = {}): FitOptions => ({
    batchSize: 4,
    epochs: 2,
    truncatedBPTT: { steps: 4 },
    ...more,
  });
  const dropping = () => net('cpu', { recurrentDropout: 0.2 });

  test.each([0, 3])('goes on bit for bit; overlap %i', async (overlap) => {
    const whole = dropping();
    const truncatedBPTT = { steps: 4, overlap };
    const { history } = await whole.fit(x, y, options({ truncatedBPTT }));
    const controller = new AbortController();
    const stopped = dropping();
    // After the second of three chunks of the second batch.
    const save: Callback = {
      gradientsEvery: 1,
      async onGradients() {
        if (stopped.step !== 5) return;
        await stopped.save(file, { checkpoint: true });
        controller.abort();
      },
    };
    await stopped
      .fit(x, y, options({ truncatedBPTT, signal: controller.signal, callbacks: [save] }))
      .catch(() => undefined);
    expect(stopped.step).toBe(5);
    const resumed = dropping();
    expect((await resumed.fit(x, y, options({ truncatedBPTT, resumeFrom: file }))).history).toEqual(history);
    expect(await resumed.getWeights()).toEqual(await whole.getWeights());
  });

  test('is not resumed with other chunks', async () => {
    const other = options({ resumeFrom: file, truncatedBPTT: { steps: 5, overlap: 3 } });
    expect(await refusal(() => dropping().fit(x, y, other))).toBe(
      `ERR_VALUE fit: resumeFrom: chunkSteps: expected 4, as in '${file}', which was written inside an epoch, got 5.`,
    );
  });
});

test.each([
  [0, [4, 4, 3]],
  [3, [4, 7, 6]],
])('gradient reports are of chunks; overlap %i', async (overlap, wanted) => {
  const steps: number[] = [];
  const look: Callback = {
    gradientsEvery: 1,
    onGradients: ({ steps: norms }) => void steps.push(norms['gru']?.length as number),
  };
  await net('cpu').fit(x, y, { batchSize: N, callbacks: [look], truncatedBPTT: { steps: 4, overlap } });
  expect(steps).toEqual(wanted);
});

test('stopTraining ends it after a chunk, and the epoch counts as finished', async () => {
  const own = net('cpu');
  const stop: Callback = {
    gradientsEvery: 1,
    onGradients() {
      own.stopTraining = own.step === 2;
    },
  };
  const { history } = await own.fit(x, y, { epochs: 3, callbacks: [stop], truncatedBPTT: { steps: 4 } });
  expect([own.step, history['loss']?.length]).toEqual([2, 1]);
});

describe('refusals', () => {
  const last = () =>
    sequential([layers.gru({ units: 3, inputShape: [null, D] }), layers.dense({ units: 2 })]).compile({
      loss: 'mse',
    });
  const over = (layer: Parameters<typeof sequential>[0]) =>
    sequential([...(layer as never[]), layers.dense({ units: 2 })]).compile({ loss: 'mse' });
  const fit = (own: Sequential, truncatedBPTT: unknown, data = x) =>
    own.fit(data, y, { batchSize: N, shuffle: false, truncatedBPTT } as FitOptions);
  const broken = () => {
    const data = x.data.slice();
    data[(4 * T + 9) * D + 1] = Number.NaN;
    return tensor(data, [N, T, D]);
  };
  test.each<[string, () => unknown, string]>([
    [
      'a model that gives its last step alone',
      () => fit(last(), { steps: 4 }),
      "ERR_VALUE fit: truncatedBPTT: output 'dense': expected an output for every step [N, T, …], got [N, 2]. Only the last chunk would have an error to learn from: give the recurrent layers returnSequences: true.",
    ],
    [
      'a layer that reads from the end',
      () =>
        fit(
          over([layers.gru({ units: 3, returnSequences: true, goBackwards: true, inputShape: [null, D] })]),
          { steps: 4 },
        ),
      "ERR_VALUE fit: truncatedBPTT: layer 'gru': expected a layer that needs no later steps, got goBackwards: true, which begins at the end of the sequence.",
    ],
    [
      'no steps',
      () => fit(net('cpu'), {}),
      'ERR_VALUE fit: truncatedBPTT: steps: expected the number of steps of a chunk, got none.',
    ],
    [
      'steps that are none',
      () => fit(net('cpu'), { steps: 0 }),
      'ERR_VALUE fit: truncatedBPTT: steps: expected a positive integer, got 0.',
    ],
    [
      'an overlap that is none',
      () => fit(net('cpu'), { steps: 4, overlap: -1 }),
      'ERR_VALUE fit: truncatedBPTT: overlap: expected an integer, 0 or more, got -1.',
    ],
    [
      'an overlap beside states that batches carry',
      () => fit(net('cpu', { stateful: true }, { batchInputShape: [N, null, D] }), { steps: 4, overlap: 2 }),
      "ERR_VALUE fit: truncatedBPTT: layer 'lstm': expected overlap 0 beside a stateful layer, got 2.",
    ],
    [
      'an unknown option',
      () => fit(net('cpu'), { steps: 4, length: 3 }),
      "ERR_VALUE fit: truncatedBPTT: unknown option 'length'. It takes steps, overlap.",
    ],
    [
      'a wrong number in a later chunk, by its place in the data',
      () => fit(net('cpu'), { steps: 4 }, broken()),
      "ERR_VALUE fit: x: expected finite numbers (input of layer 'lstm'), got NaN at [4, 9, 1].",
    ],
  ])('%s', async (_, work, message) => {
    expect(await refusal(work)).toBe(message);
  });

  test('gradientHealth takes it', async () => {
    const health = callbacks.gradientHealth({ report: 'none' });
    await net('cpu').fit(x, y, { callbacks: [health], truncatedBPTT: { steps: 4 } });
    expect(health.summary().reports).toBeGreaterThan(0);
  });
});
