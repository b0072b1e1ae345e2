import { type Layer, layers, regularizers, sequential, type Tensor, tensor } from '../../../lib';
import { randomSequences } from '../models/data';
import { Draws } from '../reference/gradientCheck';
import { expectSlopes } from './slopes';

const [N, T, D, H] = [4, 6, 3, 5];
const x = randomSequences(N, T, D, 3);
const cells = ['simpleRNN', 'lstm', 'gru'] as const;

/** Zeros where a step does not count: at the end, at the beginning, inside, and nowhere. */
const counted = [
  [1, 1, 1, 1, 0, 0],
  [0, 0, 1, 1, 1, 1],
  [1, 1, 0, 0, 1, 1],
  [1, 1, 1, 1, 1, 1],
];
const padded = tensor(
  x.data.map((v, i) => v * (counted[Math.floor(i / (T * D))]?.[Math.floor(i / D) % T] as number)),
  [N, T, D],
);

const compiled = (stack: Layer[], device: string) =>
  sequential(stack, { seed: 2 }).compile({
    loss: 'mse',
    optimizer: { type: 'sgd', learningRate: 0.1 },
    device,
  });

/** Σ of `of` the changes of `[N, T, H]` between neighbouring steps that count, divided by N. */
function changes(
  { data }: Tensor,
  of: (v: number) => number,
  counts = (_n: number, _t: number) => true,
): number {
  let sum = 0;
  for (let n = 0; n < N; n++)
    for (let t = 1; t < T; t++)
      for (let j = 0; j < H && counts(n, t) && counts(n, t - 1); j++)
        sum += of((data[(n * T + t) * H + j] as number) - (data[(n * T + t - 1) * H + j] as number));
  return sum / N;
}

describe.each([
  ['reference', 1e-9],
  ['cpu', 1e-5],
] as const)('temporalActivationRegularizer on %s', (device, tolerance) => {
  const close = (actual: number, wanted: number) =>
    expect(Math.abs(actual - wanted)).toBeLessThan(tolerance * Math.max(1, Math.abs(wanted)));

  test.each(cells)('adds to the loss what the states of a %s change, in evaluation too', async (cell) => {
    for (const returnSequences of [true, false]) {
      for (const goBackwards of [true, false]) {
        const options = { units: H, goBackwards, inputShape: [T, D] as [number, number], name: 'rnn' };
        const whole = compiled([layers[cell]({ ...options, returnSequences: true })], device);
        const plain = compiled([layers[cell]({ ...options, returnSequences })], device);
        const penalized = compiled(
          [layers[cell]({ ...options, returnSequences, temporalActivationRegularizer: 2 })],
          device,
        );
        const output = await plain.predict(x);
        const y = tensor(new Float32Array(output.data.length), output.shape);
        expect((await penalized.predict(x)).data).toEqual(output.data);
        const wanted = 2 * changes(await whole.predict(x), (v) => v * v);
        const base = (await plain.evaluate(x, y))['loss'] as number;
        close(((await penalized.evaluate(x, y))['loss'] as number) - base, wanted);
        close((await penalized.computeGradients(x, y)).loss - base, wanted);
      }
    }
  });

  test('leaves out changes from and to steps that do not count', async () => {
    const stack = (options: object) => [
      layers.masking({ inputShape: [T, D] }),
      layers.lstm({ units: H, returnSequences: true, initialState: 'learned', ...options }),
    ];
    const plain = compiled(stack({}), device);
    await plain.setWeights(new Map([['lstm/initialH', tensor(new Float32Array(H).fill(0.9), [H])]]));
    const weights = await plain.getWeights();
    const y = tensor(new Float32Array(N * T * H), [N, T, H]);
    const output = await plain.predict(padded);
    const wanted = changes(
      output,
      (v) => 0.5 * Math.abs(v) + v * v,
      (n, t) => counted[n]?.[t] === 1,
    );
    for (const zeroOutputForMask of [true, false]) {
      const temporalActivationRegularizer = regularizers.l1l2({ l1: 0.5, l2: 1 });
      const losses = await Promise.all(
        [{}, { temporalActivationRegularizer }].map(async (options) => {
          const model = compiled(stack({ ...options, zeroOutputForMask }), device);
          await model.setWeights(weights);
          return (await model.evaluate(padded, y))['loss'] as number;
        }),
      );
      close((losses[1] as number) - (losses[0] as number), wanted);
    }
  });
});

test('a sequence of one step has no change', async () => {
  const model = compiled(
    [layers.gru({ units: H, temporalActivationRegularizer: 5, inputShape: [1, D] })],
    'reference',
  );
  const one = tensor(x.data.slice(0, N * D), [N, 1, D]);
  expect((await model.evaluate(one, await model.predict(one)))['loss']).toBeCloseTo(0, 12);
});

test('its gradients are the slopes of the loss', async () => {
  const model = compiled(
    [
      layers.masking({ inputShape: [T, D] }),
      layers.bidirectional({
        layer: layers.lstm({ units: H, returnSequences: true, temporalActivationRegularizer: 0.7 }),
      }),
      layers.simpleRNN({ units: 3, returnSequences: true, temporalActivationRegularizer: 0.3 }),
    ],
    'reference',
  );
  const draws = new Draws();
  await expectSlopes(model, padded, tensor(draws.normals(N * T * 3), [N, T, 3]), draws);
  const last = compiled(
    [layers.gru({ units: 4, temporalActivationRegularizer: 0.4, inputShape: [T, D] })],
    'reference',
  );
  await expectSlopes(last, x, tensor(draws.normals(N * 4), [N, 4]), draws);
});

test('a stack trains on the CPU engine as on the reference', async () => {
  const found = [];
  for (const device of ['cpu', 'reference']) {
    const model = compiled(
      [
        layers.lstm({
          units: 7,
          returnSequences: true,
          temporalActivationRegularizer: 0.5,
          inputShape: [T, D],
        }),
        layers.gru({ units: 4, temporalActivationRegularizer: 0.2 }),
        layers.dense({ units: 1 }),
      ],
      device,
    );
    const y = tensor(Float32Array.from([1, -1, 0.5, 0]), [N, 1]);
    const { history } = await model.fit(x, y, { epochs: 6, batchSize: 4, lengths: [6, 3, 1, 5], verbose: 0 });
    found.push({ losses: history['loss'] as number[], weights: [...(await model.getWeights()).values()] });
  }
  const [cpu, reference] = found;
  cpu?.losses.forEach((loss, i) => {
    expect(loss).toBeCloseTo(reference?.losses[i] as number, 4);
  });
  cpu?.weights.forEach(({ data }, w) => {
    data.forEach((v, i) => {
      expect(v).toBeCloseTo(reference?.weights[w]?.data[i] as number, 4);
    });
  });
});
