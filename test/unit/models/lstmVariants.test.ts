import { type Layer, layers, sequential, type Tensor, tensor } from '../../../lib';
import { layerFromConfig } from '../../../lib/layers';
import { savedAndLoaded } from '../savedAndLoaded';
import { cut, near, randomSequences } from './data';

const [N, T, D] = [4, 9, 3];
const x = randomSequences(N, T, D, 5);
const y = tensor(
  Float32Array.from({ length: N }, (_, i) => Math.cos(i)),
  [N, 1],
);

const variants = {
  cellClip: { cellClip: 0.2 },
  peepholes: { peepholes: true, peepholeInitializer: 'heNormal' },
  coupledGates: { coupledGates: true },
  'all three': { cellClip: 0.3, peepholes: true, peepholeInitializer: 'ones', coupledGates: true },
} as const;

const compiled = (stack: Layer[], device = 'cpu', precision: 'fp32' | 'bf16' | 'int8' = 'fp32') =>
  sequential(stack, { seed: 3 }).compile({
    loss: 'mse',
    optimizer: { type: 'adam', learningRate: 0.05 },
    device,
    ...(device === 'reference' ? {} : { precision }),
  });

const largest = ({ data }: Tensor) => Math.max(...Array.from(data, Math.abs));

describe.each(Object.entries(variants))('an lstm with %s', (_, variant) => {
  const lstm = (options: object = {}) => layers.lstm({ name: 'lstm', units: 6, ...variant, ...options });
  const plain = layers.lstm({ name: 'lstm', units: 6, returnSequences: true, inputShape: [T, D] });

  test('gives other outputs than the usual one', async () => {
    const model = compiled([lstm({ returnSequences: true, inputShape: [T, D] })]);
    expect((await model.predict(x)).data).not.toEqual((await compiled([plain]).predict(x)).data);
  });

  test('trains as on the reference, in both directions, with all dropouts, learned states and padding', async () => {
    const [losses, weights] = [[], []] as [number[][], Tensor[][]];
    for (const device of ['cpu', 'reference']) {
      const layer = lstm({
        dropout: 0.2,
        recurrentDropout: 0.3,
        initialState: 'learned',
        returnSequences: true,
      });
      const model = compiled(
        [
          layers.bidirectional({ name: 'both', layer, inputShape: [T, D] }),
          lstm({ name: 'upper', kernelRegularizer: 'l2' }),
          layers.dense({ units: 1 }),
        ],
        device,
      );
      const history = await model.fit(x, y, { epochs: 8, batchSize: N, lengths: [9, 2, 5, 7], verbose: 0 });
      losses.push(history.history['loss'] as number[]);
      const trained = await model.getWeights();
      const own = [...trained].filter(([name]) => name.endsWith('peephole'));
      expect(own.map(([name]) => name)).toEqual(
        'peepholes' in variant ? ['both/forward', 'both/backward', 'upper'].map((n) => `${n}/peephole`) : [],
      );
      weights.push([...trained.values()]);
    }
    losses[0]?.forEach((loss, i) => {
      expect(loss).toBeCloseTo(losses[1]?.[i] as number, 3);
    });
    expect(losses[0]?.at(-1)).toBeLessThan(0.7 * (losses[0]?.[0] as number));
    weights[0]?.forEach((w, i) => {
      w.data.forEach((v, j) => {
        expect(v).toBeCloseTo(weights[1]?.[i]?.data[j] as number, 2);
      });
    });
  });

  test('is saved and loaded with its weights and configuration', async () => {
    const model = compiled([lstm({ inputShape: [T, D] }), layers.dense({ units: 1 })]);
    await model.fit(x, y, { epochs: 2, verbose: 0 });
    const again = await savedAndLoaded(model, { device: 'cpu' });
    expect(again.getConfig()).toEqual(model.getConfig());
    expect(await again.getWeights()).toEqual(await model.getWeights());
    expect(await again.predict(x)).toEqual(await model.predict(x));
  });

  test.each(['cpu', 'reference'])('carries its states from call to call on %s', async (device) => {
    const whole = compiled([lstm({ returnSequences: true, inputShape: [null, D] })], device);
    const parts = compiled(
      [lstm({ returnSequences: true, stateful: true, batchInputShape: [N, 3, D] })],
      device,
    );
    await parts.setWeights(await whole.getWeights());
    const expected = await whole.predict(x, { returnStates: true });
    for (let round = 0; round < 2; round++) {
      for (let t = 0; t < T; t += 3) {
        near(await parts.predict(cut(x, t, t + 3)), cut(expected.output, t, t + 3));
      }
      await parts.resetStates();
    }
    const first = await whole.predict(cut(x, 0, 4), { returnStates: true });
    near(await whole.predict(cut(x, 4, T), { initialStates: first.states }), cut(expected.output, 4, T));
    const { cellClip } = variant as { cellClip?: number };
    const c = largest(expected.states['lstm']?.['c'] as Tensor);
    if (cellClip) expect(c).toBe(device === 'cpu' ? Math.fround(cellClip) : cellClip);
  });

  test.each(['bf16', 'int8'] as const)(
    'predicts in %s what it does in fp32, but for rounding',
    async (precision) => {
      const stack = () => [lstm({ returnSequences: true, inputShape: [T, D] }), lstm({ name: 'upper' })];
      const exact = await compiled(stack()).predict(x);
      const rounded = await compiled(stack(), 'cpu', precision).predict(x);
      expect(rounded.data).not.toEqual(exact.data);
      exact.data.forEach((v, i) => {
        expect(Math.abs(v - (rounded.data[i] as number))).toBeLessThan(0.05 * largest(exact));
      });
    },
  );
});

test('peepholes begin at zero, as an lstm without', async () => {
  const first = { units: 5, inputShape: [T, D] as [number, number] };
  const model = compiled([layers.lstm({ ...first, peepholes: true })]);
  expect(largest((await model.getWeights()).get('lstm/peephole') as Tensor)).toBe(0);
  near(await model.predict(x), await compiled([layers.lstm(first)]).predict(x));
});

test('the forget gate of coupled gates begins open', async () => {
  const model = compiled([layers.lstm({ units: 2, coupledGates: true, inputShape: [T, D] })]);
  expect([...((await model.getWeights()).get('lstm/bias') as Tensor).data]).toEqual([1, 1, 0, 0, 0, 0]);
});

test("options are understood in Keras's spelling", () => {
  const layer = layerFromConfig('LSTM', { units: 3, cell_clip: 0.5, peepholes: true, coupled_gates: true });
  expect(layer.getConfig()).toMatchObject({ cellClip: 0.5, peepholes: true, coupledGates: true });
});

test('options of an lstm are refused by other layers', () => {
  expect(() => layerFromConfig('gru', { units: 3, peepholes: true })).toThrow(
    "layers.gru: unknown option 'peepholes'.",
  );
});
