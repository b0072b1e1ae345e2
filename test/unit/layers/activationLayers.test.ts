import { layers, sequential, tensor } from '../../../lib';
import { near, randomSequences } from '../models/data';

const [N, T, D] = [3, 5, 4];
const x = randomSequences(N, T, D, 1);

describe.each(['cpu', 'reference'])('glu on %s', (device) => {
  const halves = (y: Float32Array | Float64Array | Int32Array, width: number) => {
    const out = new Float64Array((y.length / width) * (width / 2));
    out.forEach((_, i) => {
      const row = Math.floor(i / (width / 2)) * width;
      const c = i % (width / 2);
      out[i] = (y[row + c] as number) / (1 + Math.exp(-(y[row + width / 2 + c] as number)));
    });
    return out;
  };

  test('as a layer and in a dense one: the first half times the sigmoid of the second', async () => {
    const alone = sequential([layers.activation({ activation: 'glu', inputShape: [T, D] })]);
    near(await alone.compile({ loss: 'mse', device }).predict(x), tensor(halves(x.data, D), [N, T, D / 2]));
    const dense = (activation?: string) =>
      sequential([layers.dense({ units: 6, ...(activation ? { activation } : {}), inputShape: [T, D] })], {
        seed: 4,
      }).compile({ loss: 'mse', device });
    const linear = await dense().predict(x);
    near(await dense('glu').predict(x), tensor(halves(linear.data, 6), [N, T, 3]));
  });
});

test('a model of them trains as on the reference', async () => {
  const stack = (device: string) =>
    sequential(
      [
        layers.dense({ units: 8, activation: 'glu', inputShape: [T, D] }),
        layers.prelu({ alphaInitializer: 'ones', sharedAxes: [1] }),
        layers.gru({
          units: 4,
          activation: 'celu',
          recurrentActivation: 'sparseSigmoid',
          returnSequences: true,
        }),
        layers.prelu({ alphaRegularizer: 'l2' }),
        layers.relu({ maxValue: 0.5, negativeSlope: 0.1 }),
        layers.leakyReLU(),
        layers.lstm({ units: 4, activation: 'softShrink', returnSequences: true }),
        layers.activation({ activation: 'sparsemax' }),
        layers.dense({ units: 1, activation: { type: 'squareplus', b: 1 } }),
        layers.elu(),
      ],
      { seed: 7 },
    ).compile({ loss: 'mse', optimizer: { type: 'adam', learningRate: 0.02 }, device });
  const y = randomSequences(N, T, 1, 2);
  const losses: number[][] = [];
  for (const device of ['cpu', 'reference']) {
    const net = stack(device);
    losses.push((await net.fit(x, y, { epochs: 6, batchSize: N, verbose: 0 })).history['loss'] as number[]);
  }
  losses[0]?.forEach((loss, i) => {
    expect(loss).toBeCloseTo(losses[1]?.[i] as number, 4);
  });
  expect(losses[0]?.at(-1)).toBeLessThan(losses[0]?.[0] as number);
});

test('slopes for each step cannot go on live, the same for all can', async () => {
  const live = (sharedAxes: number[]) =>
    sequential([
      layers.gru({ units: 3, returnSequences: true, inputShape: [T, D] }),
      layers.prelu({ alphaInitializer: 'ones', sharedAxes }),
    ]).stream();
  await expect(live([])).rejects.toThrow('slopes for each step');
  (await live([1])).dispose();
});

test('defaults are those of Keras', () => {
  expect(layers.leakyReLU().getConfig()).toEqual({ negativeSlope: 0.3 });
  expect(layers.elu().getConfig()).toEqual({ alpha: 1 });
  expect(layers.relu().getConfig()).toEqual({ negativeSlope: 0, threshold: 0 });
  expect(layers.prelu().getConfig()).toEqual({ alphaInitializer: { type: 'zeros' } });
  expect(layers.softmax().getConfig()).toEqual({ axis: -1 });
});
