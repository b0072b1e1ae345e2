import {
  callbacks,
  type GradientReport,
  initializers,
  layers,
  type Sequential,
  sequential,
  type Tensor,
  tensor,
} from '../../../lib';
import { cut, near, randomSequences } from './data';

const stack = (options: object, shape: object) => [
  layers.lstm({ units: 5, returnSequences: true, ...options, ...shape }),
  layers.gru({ units: 3, returnSequences: true, ...options }),
];
describe.each(['cpu', 'reference'])('on %s', (device) => {
  test('a stateful model goes on where the last batch ended; resetStates starts anew', async () => {
    const x = randomSequences(2, 12, 4, 1);
    const whole = sequential(stack({}, { inputShape: [12, 4] }), { seed: 3 }).compile({
      loss: 'mse',
      device,
    });
    const stateful = sequential(stack({ stateful: true }, { batchInputShape: [2, null, 4] }), {
      seed: 3,
    }).compile({ loss: 'mse', device });
    const expected = await whole.predict(x);
    for (let round = 0; round < 2; round++) {
      near(await stateful.predict(cut(x, 0, 5)), cut(expected, 0, 5));
      near(await stateful.predict(cut(x, 5, 6)), cut(expected, 5, 6));
      near(await stateful.predict(cut(x, 6, 12)), cut(expected, 6, 12));
      await stateful.resetStates();
    }
    await stateful.predict(cut(x, 0, 5));
    const carried = await stateful.predict(cut(x, 0, 5));
    expect(Math.abs((carried.data[0] as number) - (expected.data[0] as number))).toBeGreaterThan(1e-4);
  });

  test('asking for gradients leaves the carried state alone', async () => {
    const x = randomSequences(2, 5, 4, 1);
    const model = sequential(stack({ stateful: true }, { batchInputShape: [2, null, 4] }), {
      seed: 3,
    }).compile({ loss: 'mse', device });
    const first = await model.predict(x);
    const second = await model.predict(x);
    await model.resetStates();
    await model.predict(x);
    await model.computeGradients(x, first);
    near(await model.predict(x), second);
  });

  test('initial states are used, one row per example, over several batches', async () => {
    const x = randomSequences(5, 4, 4, 2);
    const model = sequential(stack({}, { inputShape: [null, 4] }), { seed: 3 }).compile({
      loss: 'mse',
      device,
    });
    const states = {
      lstm: {
        h: randomSequences(5, 1, 5, 7).reshape([5, 5]),
        c: randomSequences(5, 1, 5, 8).reshape([5, 5]),
      },
      gru: { h: randomSequences(5, 1, 3, 9).reshape([5, 3]) },
    };
    const together = await model.predict(x, { initialStates: states });
    near(await model.predict(x, { initialStates: states, batchSize: 2 }), together);
    const without = await model.predict(x);
    expect(Math.abs((without.data[0] as number) - (together.data[0] as number))).toBeGreaterThan(1e-3);
    await expect(model.predict(x, { initialStates: { lstm: { z: states.lstm.h } } })).rejects.toThrow(
      'predict: initialStates: expected one of lstm/h, lstm/c, gru/h, got lstm/z.',
    );
    await expect(model.predict(x, { initialStates: { gru: { h: states.lstm.h } } })).rejects.toThrow(
      'predict: initialStates: gru/h: expected shape [5, 3], got [5, 5].',
    );
  });

  test('learned initial states are trained', async () => {
    const x = randomSequences(8, 3, 4, 2);
    const model = sequential(
      [layers.lstm({ units: 5, initialState: 'learned', inputShape: [3, 4] }), layers.dense({ units: 1 })],
      { seed: 3 },
    );
    model.compile({ loss: 'mse', optimizer: 'sgd', device });
    await model.fit(x, tensor(new Float32Array(8).fill(2)), { epochs: 2 });
    const weights = await model.getWeights();
    expect([...weights.keys()]).toEqual([
      'lstm/kernel',
      'lstm/recurrentKernel',
      'lstm/bias',
      'lstm/initialH',
      'lstm/initialC',
      'dense/kernel',
      'dense/bias',
    ]);
    for (const name of ['lstm/initialH', 'lstm/initialC'])
      expect(Math.hypot(...(weights.get(name) as Tensor).data)).toBeGreaterThan(1e-5);
  });
});

test('sequences of any length where the shape says null', async () => {
  const model = sequential(
    [layers.simpleRNN({ units: 4, inputShape: [null, 2] }), layers.dense({ units: 1 })],
    { seed: 1 },
  );
  for (const steps of [1, 7, 30])
    expect((await model.predict(randomSequences(3, steps, 2, 1))).shape).toEqual([3, 1]);
});

test('gradient health says in words that a deep sigmoid stack forgets', async () => {
  const x = randomSequences(32, 40, 3, 5);
  const y = tensor(Float32Array.from({ length: 32 }, (_, n) => x.data[n * 40 * 3] as number));
  const model = sequential(
    [
      layers.simpleRNN({ units: 8, activation: 'sigmoid', returnSequences: true, inputShape: [40, 3] }),
      layers.simpleRNN({ units: 8, activation: 'sigmoid' }),
      layers.dense({ units: 1 }),
    ],
    { seed: 1 },
  );
  model.compile({ loss: 'mse', optimizer: 'sgd' });
  const health = callbacks.gradientHealth({ every: 1, report: 'none' });
  await model.fit(x, y, { epochs: 2, callbacks: [health] });
  const found = health.findings();
  expect(found.map((f) => f.kind)).toContain('vanishing');
  expect(found.find((f) => f.where === 'time')?.message).toMatch(
    /^Gradients vanish through time in layer 'simpleRNN/,
  );
  const gated = sequential([layers.lstm({ units: 8, inputShape: [40, 3] }), layers.dense({ units: 1 })], {
    seed: 1,
  });
  gated.compile({ loss: 'mse', optimizer: 'sgd' });
  const other = callbacks.gradientHealth({ every: 1, report: 'none' });
  await gated.fit(x, y, { epochs: 1, callbacks: [other] });
  expect(Object.keys(other.summary().steps)).toEqual(['lstm']);
});

describe('gradient health of a loss on every step', () => {
  const [N, T] = [16, 100];
  const x = randomSequences(N, T, 3, 5);
  const every = randomSequences(N, T, 2, 6);
  /** Two layers whose recurrence shrinks what it carries by `gain` a step. */
  const stacked = (gain: number, top: object = { returnSequences: true }) => {
    const recurrentInitializer = initializers.orthogonal({ gain });
    const model = sequential(
      [
        layers.simpleRNN({ units: 8, returnSequences: true, inputShape: [null, 3], recurrentInitializer }),
        layers.simpleRNN({ units: 8, recurrentInitializer, ...top }),
        layers.dense({ units: 2 }),
      ],
      { seed: 1 },
    );
    return model.compile({ loss: 'mse', optimizer: { type: 'sgd', learningRate: 1e-3 } });
  };
  const watched = async (model: Sequential, x: Tensor, y: Tensor, options: object = {}) => {
    const reports: GradientReport[] = [];
    const health = callbacks.gradientHealth({ every: 1, report: 'none' });
    const onGradients = (r: GradientReport) => void reports.push(r);
    const asking = [health, { gradientsEvery: 1, onGradients }];
    await model.fit(x, y, { batchSize: N, shuffle: false, callbacks: asking, verbose: 0, ...options });
    return { findings: health.findings(), report: reports[0] as GradientReport };
  };

  test.each([0.1, 0.3])(
    'vanishing with gain %f is seen, as where the loss reads the last step',
    async (gain) => {
      const { findings, report } = await watched(stacked(gain), x, every);
      expect(findings[0]).toMatchObject({ kind: 'vanishing', where: 'time' });
      expect(findings[0]?.message).toMatch(/^Gradients vanish through time in layer 'simpleRNN'/);
      // The error of the steps themselves hides it.
      const { simpleRNN = [] } = report.steps;
      expect((simpleRNN[0] as number) / (simpleRNN[T - 1] as number)).toBeGreaterThan(0.1);
      const one = await watched(stacked(gain, {}), x, cut(every, T - 1, T).reshape([N, 2]));
      expect(one.findings.map((f) => [f.kind, f.where, f.layer])).toEqual(
        findings.map((f) => [f.kind, f.where, f.layer]),
      );
      expect(one.report.carried).toEqual(one.report.steps);
    },
  );

  test('gradients that are carried on are healthy', async () => {
    const { findings } = await watched(stacked(1), cut(x, 0, 10), cut(every, 0, 10));
    expect(findings.map((f) => f.kind)).toEqual(['healthy']);
  });

  test('what is carried is the gradient of the last step that has weight', async () => {
    const weights = new Float32Array(N * T);
    for (let n = 0; n < N; n++) weights[n * T + 59] = 1 + n;
    const alone = await watched(stacked(0.9), x, every, { sampleWeight: tensor(weights, [N, T]) });
    for (let n = 0; n < N; n++) weights.fill(1 + n, n * T, n * T + 60);
    const all = await watched(stacked(0.9), x, every, { sampleWeight: tensor(weights, [N, T]) });
    for (const layer of ['simpleRNN', 'simpleRNN_1']) {
      const [expected, carried] = [alone.report.steps[layer] ?? [], all.report.carried[layer] ?? []];
      expect(carried).toHaveLength(60);
      for (const [t, norm] of carried.entries()) expect(norm / (expected[t] as number)).toBeCloseTo(1, 4);
      expect((all.report.steps[layer] ?? [])[10]).toBeGreaterThan(2 * (carried[10] as number));
    }
  });

  test('short sequences are diagnosed; asking changes nothing in training', async () => {
    const [short, targets] = [cut(x, 0, 3), cut(every, 0, 3)];
    const asked = stacked(0.01);
    expect((await watched(asked, short, targets)).findings[0]).toMatchObject({
      kind: 'vanishing',
      where: 'time',
    });
    const plain = stacked(0.01);
    await plain.fit(short, targets, { batchSize: N, shuffle: false, verbose: 0 });
    const [a, b] = [await asked.getWeights(), await plain.getWeights()];
    for (const [name, { data }] of a) expect(data).toEqual(b.get(name)?.data);
  });

  test('layers below one that reads backwards are not read against time', async () => {
    const { report } = await watched(stacked(0.9, { returnSequences: true, goBackwards: true }), x, every);
    expect(Object.keys(report.steps)).toEqual(['simpleRNN', 'simpleRNN_1']);
    expect(Object.keys(report.carried)).toEqual(['simpleRNN_1']);
  });
});
