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

const compiled = (stack: Layer[], device = 'cpu') =>
  sequential(stack, { seed: 3 }).compile({
    loss: 'mse',
    optimizer: { type: 'adam', learningRate: 0.05 },
    device,
  });

const cells = [
  ['simpleRNN', { zoneout: 0.3 }],
  ['lstm', { zoneout: 0.2, cellZoneout: 0.4 }],
  ['gru', { zoneout: 0.3 }],
] as const;

describe.each(cells)('a %s with zoneout', (cell, rates) => {
  const rnn = (options: object = {}) => layers[cell]({ name: 'rnn', units: 6, ...rates, ...options });

  test.each(['cpu', 'reference'])('of rate near 1 hardly leaves its first state on %s', async (device) => {
    const largest = async (rate: number) => {
      const slow = Object.fromEntries(Object.keys(rates).map((name) => [name, rate]));
      const model = compiled([rnn({ ...slow, inputShape: [T, D] })], device);
      return Math.max(...Array.from((await model.predict(x)).data, Math.abs));
    };
    expect(await largest(0.999)).toBeLessThan(0.02);
    expect(await largest(0)).toBeGreaterThan(0.1);
  });

  test('predicts what its draws give on average', async () => {
    const layer = () => rnn({ inputShape: [1, D] });
    // After one step the state is k ⊙ h: its mean over many sequences, all the same, tells how often k is 1.
    const many = 4000;
    const same = tensor(
      Float32Array.from({ length: many * D }, (_, i) => [1, -0.5, 2][i % D] as number),
      [many, 1, D],
    );
    const model = compiled([layer()]);
    const [expected, first] = [await model.predict(same), 6];
    const zeros = tensor(new Float32Array(many * first), [many, first]);
    // d mean(h²)/dh = 2·h/(many·6): the gradient of the bias of a linear layer above sums it.
    const probe = compiled([layer(), layers.dense({ name: 'probe', units: first, trainable: true })]);
    const weights = new Map(await probe.getWeights());
    for (const [name, value] of await model.getWeights()) weights.set(name, value);
    weights.set(
      'probe/kernel',
      tensor(
        Float32Array.from({ length: first * first }, (_, i) => Number(i % (first + 1) === 0)),
        [first, first],
      ),
    );
    await probe.setWeights(weights);
    const { gradients } = await probe.computeGradients(same, zeros);
    const drawn = (gradients.get('probe/bias') as Tensor).data;
    for (let j = 0; j < first; j++) {
      const mean = (drawn[j] as number) * (first / 2);
      const once = expected.data[j] as number;
      const renewed = 1 - rates.zoneout;
      // Five standard deviations of a binomial mean.
      const limit = 5 * Math.abs(once / renewed) * Math.sqrt((renewed * rates.zoneout) / many);
      expect(Math.abs(mean - once)).toBeLessThan(limit);
    }
  });

  test('trains as on the reference, in both directions, with all dropouts, learned states and padding', async () => {
    const found = [];
    for (const device of ['cpu', 'reference']) {
      const layer = rnn({
        dropout: 0.2,
        recurrentDropout: 0.3,
        initialState: 'learned',
        returnSequences: true,
      });
      const model = compiled(
        [
          layers.bidirectional({ name: 'both', layer, inputShape: [T, D] }),
          rnn({ name: 'upper', kernelRegularizer: 'l2' }),
          layers.dense({ units: 1 }),
        ],
        device,
      );
      const history = await model.fit(x, y, { epochs: 8, batchSize: N, lengths: [9, 2, 5, 7], verbose: 0 });
      found.push({
        losses: history.history['loss'] as number[],
        weights: [...(await model.getWeights()).values()],
      });
    }
    const [cpu, reference] = found;
    cpu?.losses.forEach((loss, i) => {
      expect(loss).toBeCloseTo(reference?.losses[i] as number, 3);
    });
    expect(new Set(cpu?.losses).size).toBe(8);
    cpu?.weights.forEach(({ data }, w) => {
      data.forEach((v, i) => {
        expect(v).toBeCloseTo(reference?.weights[w]?.data[i] as number, 2);
      });
    });
  });

  test('is saved and loaded with its configuration', async () => {
    const model = compiled([rnn({ inputShape: [T, D] }), layers.dense({ units: 1 })]);
    await model.fit(x, y, { epochs: 2, verbose: 0 });
    const again = await savedAndLoaded(model, { device: 'cpu' });
    expect(again.getConfig()).toEqual(model.getConfig());
    expect(await again.predict(x)).toEqual(await model.predict(x));
  });

  test.each(['cpu', 'reference'])('carries its states from call to call on %s', async (device) => {
    const whole = compiled([rnn({ returnSequences: true, inputShape: [null, D] })], device);
    const parts = compiled(
      [rnn({ returnSequences: true, stateful: true, batchInputShape: [N, 3, D] })],
      device,
    );
    await parts.setWeights(await whole.getWeights());
    const expected = await whole.predict(x);
    for (let t = 0; t < T; t += 3) near(await parts.predict(cut(x, t, t + 3)), cut(expected, t, t + 3));
  });
});

test("options are understood in Keras's spelling", () => {
  const layer = layerFromConfig('LSTM', { units: 3, zoneout: 0.5, cell_zoneout: 0.1 });
  expect(layer.getConfig()).toMatchObject({ zoneout: 0.5, cellZoneout: 0.1 });
});
