import { layers, sequential, tensor } from '../../../lib';
import { near, randomSequences } from '../models/data';

const [N, T, D] = [3, 6, 4];
const x = randomSequences(N, T, D, 1);

test.each(['cpu', 'reference'])(
  'gives t·tanh(x·W + b) + (1 − t)·x, t the sigmoid of its gate, on %s',
  async (device) => {
    const net = sequential([layers.highway({ name: 'h', inputShape: [T, D] })], { seed: 7 }).compile({
      loss: 'mse',
      device,
    });
    const bias = tensor([0.1, -0.2, 0.3, -0.4]);
    await net.setWeights({ 'h/bias': bias });
    const weights = await net.getWeights();
    const of = (name: string) => weights.get(`h/${name}`)?.data as Float32Array;
    expect(Array.from(of('transformBias'))).toEqual([-2, -2, -2, -2]);
    const product = (row: ArrayLike<number>, name: string, d: number) =>
      Array.from(row).reduce((sum, v, k) => sum + v * (of(name)[k * D + d] as number), 0);
    const wanted = new Float64Array(x.data.length);
    for (let r = 0; r < N * T; r++) {
      const row = x.data.subarray(r * D, (r + 1) * D);
      for (let d = 0; d < D; d++) {
        const t =
          1 / (1 + Math.exp(-product(row, 'transformKernel', d) - (of('transformBias')[d] as number)));
        const made = Math.tanh(product(row, 'kernel', d) + (bias.data[d] as number));
        wanted[r * D + d] = t * made + (1 - t) * (row[d] as number);
      }
    }
    near(await net.predict(x), tensor(wanted, [N, T, D]));
  },
);

test('between recurrent layers of a deep stack, trained as on the reference, padding and live sequences included', async () => {
  const stack = (device: string) =>
    sequential(
      [
        layers.lstm({ units: 5, returnSequences: true, inputShape: [null, D] }),
        layers.highway({ activation: 'relu', transformBias: -1, useBias: false, kernelRegularizer: 'l2' }),
        layers.gru({ units: 5, returnSequences: true }),
        layers.timeDistributed({ layer: layers.highway() }),
        layers.dense({ units: 1 }),
      ],
      { seed: 7 },
    ).compile({ loss: 'mse', optimizer: { type: 'adam', learningRate: 0.02 }, device });
  const y = randomSequences(N, T, 1, 2);
  const [cpu, reference] = [stack('cpu'), stack('reference')];
  const losses: number[][] = [];
  for (const net of [cpu, reference]) {
    const { history } = await net.fit(x, y, { epochs: 8, batchSize: N, lengths: [6, 2, 4], verbose: 0 });
    losses.push(history['loss'] as number[]);
  }
  losses[0]?.forEach((loss, i) => {
    expect(loss).toBeCloseTo(losses[1]?.[i] as number, 4);
  });
  expect(losses[0]?.at(-1)).toBeLessThan(0.9 * (losses[0]?.[0] as number));
  const all = await cpu.predict(x.rows(0, 1));
  const stream = await cpu.stream();
  for (let t = 0; t < T; t++)
    expect(stream.stepSync(x.data.subarray(t * D, (t + 1) * D) as Float32Array)).toEqual(
      all.data.subarray(t, t + 1),
    );
});
