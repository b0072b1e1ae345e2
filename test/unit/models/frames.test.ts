// Outputs with several rows in each step, as frames have: lengths and weights of steps hold for all of them.
import { callbacks, cells, layers, type Sequential, sequential, type Tensor, tensor } from '../../../lib';
import { refusal } from '../refusal';
import { randomSequences } from './data';

const [N, T, R, C] = [3, 5, 4, 2];
const frames = (seed: number): Tensor => randomSequences(N, T, R * C, seed).reshape([N, T, R, C]);
const [x, y] = [frames(21), frames(22)];
const lengths = [5, 2, 3];
const devices = [process.env['DEEPRNN_DEVICE'] ?? 'cpu', 'reference'];

const net = (device: string): Sequential =>
  sequential(
    [
      layers.convLSTM1D({
        filters: C,
        kernelSize: 3,
        padding: 'same',
        returnSequences: true,
        inputShape: [null, R, C],
      }),
    ],
    { seed: 3 },
  ).compile({ loss: 'mse', metrics: ['mae'], weightedMetrics: ['mse'], optimizer: 'sgd', device });

/** Means of squares and of absolute errors over the rows that count, each with its weight. */
function scores(
  predicted: Tensor,
  weight: (n: number, t: number) => number,
  counts: (n: number, t: number) => boolean,
) {
  const sums = { squares: 0, absolute: 0, weights: 0, rows: 0, weighted: 0 };
  for (let n = 0; n < N; n++)
    for (let t = 0; t < T; t++) {
      if (!counts(n, t)) continue;
      for (let r = 0; r < R; r++) {
        let [square, absolute] = [0, 0];
        for (let c = 0; c < C; c++) {
          const i = ((n * T + t) * R + r) * C + c;
          const error = (predicted.data[i] as number) - (y.data[i] as number);
          square += error ** 2 / C;
          absolute += Math.abs(error) / C;
        }
        sums.rows += 1;
        sums.weights += weight(n, t);
        sums.squares += square;
        sums.weighted += square * weight(n, t);
        sums.absolute += absolute;
      }
    }
  return {
    loss: sums.weighted / sums.rows,
    mae: sums.absolute / sums.rows,
    mse: sums.weighted / sums.weights,
  };
}

describe.each(devices)('on %s', (device) => {
  const model = net(device);
  const one = () => 1;
  const counted = (n: number, t: number) => t < (lengths[n] as number);

  test('padded steps are left out of loss and metrics, with all their rows', async () => {
    const predicted = await model.predict(x, { lengths });
    const wanted = scores(predicted, one, counted);
    const found = await model.evaluate(x, y, { lengths });
    for (const [name, value] of Object.entries(wanted)) expect(found[name]).toBeCloseTo(value, 5);
    expect((await model.evaluate(x, y))['loss']).not.toBeCloseTo(wanted.loss, 5);
  });

  test('weights are given for examples, for steps, or for rows', async () => {
    const ofStep = (n: number, t: number) => ((n * 3 + t * 2) % 4) / 2;
    const list = (rows: number) =>
      Float32Array.from({ length: N * T * rows }, (_, i) =>
        ofStep(Math.floor(i / rows / T), Math.floor(i / rows) % T),
      );
    for (const given of [{}, { lengths }]) {
      const counts = 'lengths' in given ? counted : () => true;
      const wanted = scores(await model.predict(x, given), ofStep, counts);
      for (const sampleWeight of [tensor(list(1), [N, T]), tensor(list(R), [N, T, R])]) {
        const found = await model.evaluate(x, y, { ...given, sampleWeight });
        for (const [name, value] of Object.entries(wanted)) expect(found[name]).toBeCloseTo(value, 5);
      }
    }
    expect(
      await refusal(() => model.evaluate(x, y, { sampleWeight: tensor(new Float32Array(N * R), [N, R]) })),
    ).toBe(
      `ERR_SHAPE evaluate: sampleWeight: expected shape [${N}] or [${N}, ${T}] or [${N}, ${T}, ${R}], got [${N}, ${R}].`,
    );
  });

  test('gradients are those of the reference, and chunks with overlap add up', async () => {
    const given = await net(device).computeGradients(x, y, { lengths });
    const wanted = await net('reference').computeGradients(x, y, { lengths });
    expect(given.loss).toBeCloseTo(wanted.loss, 6);
    for (const [name, { data }] of wanted.gradients)
      for (const [i, g] of data.entries()) expect(given.gradients.get(name)?.data[i]).toBeCloseTo(g, 6);
    const own = net(device);
    const { history } = await own.fit(x, y, {
      batchSize: N,
      lengths,
      truncatedBPTT: { steps: 2, overlap: 1 },
    });
    expect(Number.isFinite(history['loss']?.[0])).toBe(true);
  });
});

test('gradients through time are looked at where a step has several rows', async () => {
  const health = callbacks.gradientHealth({ report: 'none' });
  const own = sequential([
    layers.lstm({ units: 6, returnSequences: true, inputShape: [null, 3] }),
    layers.timeDistributed({ layer: layers.reshape({ targetShape: [3, 2] }) }),
  ]).compile({ loss: 'mse' });
  await own.fit(randomSequences(2, 5, 3, 1), randomSequences(2, 5, 6, 2).reshape([2, 5, 3, 2]), {
    callbacks: [health],
  });
  const carried = health.summary().carried['lstm'] as readonly number[];
  // The loss of the last step reaches it first, and fades on the way back.
  expect(carried).toHaveLength(5);
  expect(carried[4]).toBeGreaterThan(carried[0] as number);
  expect(carried[0]).toBeGreaterThan(0);
  expect(health.findings().map(({ kind }) => kind)).toEqual(['healthy']);
});

test('of cells that run by programs it is said that nothing is known', async () => {
  const health = callbacks.gradientHealth({ report: 'none' });
  const own = sequential([
    layers.rnn({ cell: cells.sru({ units: 4 }), returnSequences: true, name: 'own', inputShape: [null, 3] }),
    layers.lstm({ units: 4, returnSequences: true }),
    layers.gru({ units: 2, layerNormalization: true, name: 'normal' }),
  ]).compile({ loss: 'mse' });
  await own.fit(randomSequences(2, 5, 3, 1), randomSequences(2, 1, 2, 2).reshape([2, 2]), {
    callbacks: [health],
  });
  expect(Object.keys(health.summary().steps)).toEqual(['lstm']);
  const unknown = health.findings().filter(({ kind }) => kind === 'unknown');
  expect(unknown.map(({ layer }) => layer)).toEqual(['own', 'normal']);
  expect(unknown[0]?.message).toContain("through time in layer 'own' is not known");
  expect(own.summary()).toContain('own (rnn: sru)');
});
