// Every kind of recurrent layer, run in every way that a model can be run: each gives what one pass over whole sequences gives.
import {
  callbacks,
  cells,
  defineCell,
  layers,
  ops,
  optimizers,
  type Sequential,
  sequential,
  type Tensor,
  type Traced,
  tensor,
} from '../../../lib';
import { cut, randomSequences } from './data';

const [N, T, D, C] = [3, 7, 4, 2];
const [x, y] = [randomSequences(N, T, D, 41), randomSequences(N, T, C, 42)];

type Common = Readonly<{
  returnSequences: true;
  stateful?: boolean;
  inputShape?: readonly (number | null)[];
  batchInputShape?: readonly (number | null)[];
}>;

/** The minimal gated unit (Zhou et al., 2016). */
const minimalGated = defineCell('testMinimalGated', ({ units }: { units: number }) => ({
  states: { h: units },
  weights: (features) => ({
    gate: { shape: [features + units, units] },
    candidate: { shape: [features + units, units] },
    bias: { shape: [units] },
  }),
  step(x, states, w) {
    const h = states['h'] as Traced;
    const seen = (of: Traced, kernel: string) => ops.matmul(ops.concatenate([x, of]), w[kernel] as Traced);
    const f = ops.sigmoid(ops.add(seen(h, 'gate'), w['bias'] as Traced));
    const candidate = ops.tanh(seen(ops.multiply(f, h), 'candidate'));
    const next = ops.add(h, ops.multiply(f, ops.subtract(candidate, h)));
    return { output: next, states: { h: next } };
  },
}));

const kinds = {
  simpleRNN: (o: Common) => layers.simpleRNN({ units: 5, ...o }),
  lstm: (o: Common) => layers.lstm({ units: 5, ...o }),
  gru: (o: Common) => layers.gru({ units: 5, ...o }),
  'gru, reset before': (o: Common) => layers.gru({ units: 5, resetAfter: false, ...o }),
  'lstm with peepholes': (o: Common) => layers.lstm({ units: 5, peepholes: true, ...o }),
  'lstm with coupled gates': (o: Common) => layers.lstm({ units: 5, coupledGates: true, ...o }),
  'lstm with a projection': (o: Common) => layers.lstm({ units: 5, projectionUnits: 3, ...o }),
  'normalized lstm': (o: Common) => layers.lstm({ units: 5, layerNormalization: true, ...o }),
  'normalized gru': (o: Common) => layers.gru({ units: 5, layerNormalization: true, ...o }),
  'normalized simpleRNN': (o: Common) => layers.simpleRNN({ units: 5, layerNormalization: true, ...o }),
  'lstm with zoneout': (o: Common) => layers.lstm({ units: 5, zoneout: 0.2, cellZoneout: 0.1, ...o }),
  'gru with noise and DropConnect': (o: Common) =>
    layers.gru({ units: 5, recurrentWeightDropout: 0.2, weightNoise: 0.01, ...o }),
  'lstm with dropout per step': (o: Common) =>
    layers.lstm({
      units: 5,
      dropout: 0.2,
      recurrentDropout: 0.2,
      dropoutMode: 'perStep',
      recurrentDropoutMode: 'perStep',
      ...o,
    }),
  indRNN: (o: Common) => layers.rnn({ cell: cells.indRNN({ units: 5 }), ...o }),
  sru: (o: Common) => layers.rnn({ cell: cells.sru({ units: 5 }), ...o }),
  'a cell of one’s own': (o: Common) => layers.rnn({ cell: minimalGated({ units: 5 }), ...o }),
  'stacked cells': (o: Common) =>
    layers.rnn({ cell: cells.stacked([cells.lstm({ units: 4 }), cells.gru({ units: 5 })]), ...o }),
};

describe.each(Object.entries(kinds))('%s', (_, make) => {
  const net = (more: object = {}, ends: object = { inputShape: [null, D] }): Sequential =>
    sequential([make({ returnSequences: true, ...ends }), layers.dense({ units: C })], { seed: 5 }).compile({
      loss: 'mse',
      optimizer: optimizers.adam({ useEma: true }),
      device: 'cpu',
      ...more,
    });
  const model = net();
  let whole: Tensor;
  beforeAll(async () => {
    whole = await model.predict(x);
  });
  const expectClose = (a: Tensor, b: Tensor, digits = 6) => {
    expect(a.shape).toEqual(b.shape);
    for (const [i, v] of a.data.entries()) expect(v).toBeCloseTo(b.data[i] as number, digits);
  };

  test('a stream', async () => {
    const stream = await model.stream({ batchSize: N });
    for (let t = 0; t < T; t++) {
      const step = stream.stepSync(cut(x, t, t + 1).reshape([N, D]));
      const wanted = cut(whole, t, t + 1).data;
      for (const [i, v] of wanted.entries()) expect(step[i]).toBeCloseTo(v, 6);
    }
    stream.dispose();
  });

  test('stateful batches', async () => {
    const own = net({}, { stateful: true, batchInputShape: [N, null, D] });
    await own.setWeights(await model.getWeights());
    expectClose(await own.predict(cut(x, 0, 3), { batchSize: N }), cut(whole, 0, 3));
    expectClose(await own.predict(cut(x, 3, T), { batchSize: N }), cut(whole, 3, T));
    own.dispose();
  });

  test('states in and out', async () => {
    const first = await model.predict(cut(x, 0, 4), { returnStates: true });
    expectClose(first.output, cut(whole, 0, 4));
    expectClose(await model.predict(cut(x, 4, T), { initialStates: first.states }), cut(whole, 4, T));
  });

  test('padded sequences', async () => {
    const padded = await model.predict(x, { lengths: [T, 3, 1] });
    for (const [n, length] of [T, 3, 1].entries())
      expectClose(cut(padded.rows(n, n + 1), 0, length), cut(whole.rows(n, n + 1), 0, length));
  });

  test.each(['bf16', 'int8'])('in %s', async (precision) => {
    const own = net({ precision });
    const rough = await own.predict(x);
    let [far, size] = [0, 0];
    for (const [i, v] of rough.data.entries()) {
      far += (v - (whole.data[i] as number)) ** 2;
      size += (whole.data[i] as number) ** 2;
    }
    // Different, as it is rounded, but not far.
    expect(far).toBeGreaterThan(0);
    expect(Math.sqrt(far / size)).toBeLessThan(0.06);
    own.dispose();
  });

  test('training: in chunks, with gradients looked at, averages, and a profile', async () => {
    const own = net();
    const health = callbacks.gradientHealth({ report: 'none' });
    const { history } = await own.fit(x, y, {
      epochs: 3,
      batchSize: N,
      verbose: 0,
      truncatedBPTT: { steps: 3, overlap: 1 },
      callbacks: [health],
    });
    expect(history['loss']?.every((loss) => Number.isFinite(loss))).toBe(true);
    expect(health.summary().reports).toBeGreaterThan(0);
    const measured = await own.profile({ batchSize: 2, steps: 4, repeats: 1 });
    expect(measured.predict.milliseconds).toBeGreaterThan(0);
    const predicted = await own.profile({ batchSize: 2, steps: 4, estimate: true });
    expect(predicted).toBeDefined();
    expect(own.summary({ batchSize: 2, steps: 4 })).toContain('dense');
    own.dispose();
  });

  test('training is the same for any number of threads, with padding', async () => {
    const wide = tensor(
      Float32Array.from({ length: 9 * T * D }, (_, i) => Math.sin(i)),
      [9, T, D],
    );
    const targets = tensor(
      Float32Array.from({ length: 9 * T * C }, (_, i) => Math.cos(i)),
      [9, T, C],
    );
    const lengths = [T, 1, 3, T, 5, 2, T, 4, 6];
    const [one, three] = [net({ threads: 1 }), net({ threads: 3 })];
    for (const own of [one, three]) await own.trainOnBatch(wide, targets, { lengths });
    expect(await three.getWeights()).toEqual(await one.getWeights());
    one.dispose();
    three.dispose();
  });
});
