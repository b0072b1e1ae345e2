import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { input, layers, loadModel, model, sequential, type Tensor, tensor } from '../../../lib';
import { RandomInputs } from '../../parity/harness';

let stream = 90_000;
function random(shape: readonly number[]): Tensor {
  return tensor(Float32Array.from(new RandomInputs(stream++).normal(shape).values), shape);
}

function largestDifference(a: Tensor, b: Tensor): number {
  expect(a.shape).toEqual(b.shape);
  let most = 0;
  for (const [i, v] of a.data.entries()) most = Math.max(most, Math.abs(v - (b.data[i] as number)));
  return most;
}

const [N, T, ROWS, COLUMNS, C] = [2, 4, 5, 4, 2];
const frames = [T, ROWS, COLUMNS, C];

describe('convLSTM2D', () => {
  test('padded steps and dropout: the cpu engine’s values and gradients are the reference’s', async () => {
    const run = async (device: 'cpu' | 'reference', x: Tensor, y: Tensor) => {
      const net = sequential(
        [
          layers.convLSTM2D({
            filters: 3,
            kernelSize: [3, 2],
            padding: 'same',
            dropout: 0.3,
            recurrentDropout: 0.4,
            returnSequences: true,
            inputShape: frames,
          }),
          layers.convLSTM2D({ filters: 2, kernelSize: 2 }),
          layers.flatten(),
        ],
        { seed: 9 },
      );
      net.compile({ loss: 'meanSquaredError', device });
      const lengths = [4, 2];
      const { gradients, loss } = await net.computeGradients(x, y, { lengths });
      return new Map([...gradients, ['loss', tensor([loss])], ['y', await net.predict(x, { lengths })]] as [
        string,
        Tensor,
      ][]);
    };
    const [x, y] = [random([N, ...frames]), random([N, 4 * 3 * 2])];
    const [given, wanted] = [await run('cpu', x, y), await run('reference', x, y)];
    for (const [name, value] of wanted)
      expect(largestDifference(given.get(name) as Tensor, value)).toBeLessThan(1e-5);
  });

  test('states are frames: of one layer to another, and a layer goes on from them', async () => {
    const options = { filters: 3, kernelSize: 3, padding: 'same' } as const;
    const x = input({ shape: frames, name: 'x' });
    const later = input({ shape: frames, name: 'later' });
    const encoder = layers.convLSTM2D({ ...options, returnState: true, name: 'encoder' });
    const [, h, c] = encoder.applyAll(x) as [never, never, never];
    const decoder = layers.convLSTM2D({ ...options, returnSequences: true, name: 'decoder' });
    const net = model({ inputs: [x, later], outputs: decoder.apply([later, h, c]), seed: 2 });
    net.compile({ loss: 'meanSquaredError', device: 'cpu' });
    const [a, b] = [random([N, ...frames]), random([N, ...frames])];
    // The same weights in both: then it is one layer on both clips, one after the other.
    const weights = await net.getWeights();
    const same = Object.fromEntries(
      [...weights.keys()].map((name) => [name, weights.get(name.replace('decoder', 'encoder')) as Tensor]),
    );
    await net.setWeights(same);
    const whole = sequential([
      layers.convLSTM2D({
        ...options,
        returnSequences: true,
        name: 'encoder',
        inputShape: [2 * T, ROWS, COLUMNS, C],
      }),
    ]);
    whole.compile({ loss: 'meanSquaredError', device: 'cpu' });
    await whole.setWeights(
      Object.fromEntries(Object.entries(same).filter(([name]) => name.startsWith('encoder'))),
    );
    const size = T * ROWS * COLUMNS * C;
    const joined = tensor(
      Float32Array.from({ length: 2 * N * size }, (_, i) => {
        const [n, at] = [Math.floor(i / (2 * size)), i % (2 * size)];
        return (at < size ? a.data[n * size + at] : b.data[n * size + at - size]) as number;
      }),
      [N, 2 * T, ROWS, COLUMNS, C],
    );
    const wanted = await whole.predict(joined);
    const given = await net.predict([a, b]);
    const own = T * ROWS * COLUMNS * 3;
    for (let n = 0; n < N; n++)
      for (let i = 0; i < own; i++)
        expect(given.data[n * own + i]).toBeCloseTo(wanted.data[n * 2 * own + own + i] as number, 5);
  });

  test('a model of clips learns, is saved and loaded', async () => {
    const net = sequential(
      [
        layers.convLSTM2D({
          filters: 4,
          kernelSize: 3,
          padding: 'same',
          returnSequences: true,
          inputShape: frames,
        }),
        layers.timeDistributed({ layer: layers.flatten() }),
        layers.lstm({ units: 6 }),
        layers.dense({ units: 1 }),
      ],
      { seed: 4 },
    );
    net.compile({ loss: 'meanSquaredError', optimizer: { type: 'adam', learningRate: 0.01 }, device: 'cpu' });
    const x = random([32, ...frames]);
    const y = tensor(
      Float32Array.from({ length: 32 }, (_, n) => x.data[n * T * ROWS * COLUMNS * C] as number),
      [32, 1],
    );
    const before = (await net.evaluate(x, y))['loss'] as number;
    await net.fit(x, y, { epochs: 30, batchSize: 8, verbose: 0 });
    expect((await net.evaluate(x, y))['loss']).toBeLessThan(0.5 * before);
    const folder = mkdtempSync(join(tmpdir(), 'deeprnn-convlstm-'));
    try {
      await net.save(join(folder, 'm.deeprnn'));
      const again = await loadModel(join(folder, 'm.deeprnn'), { device: 'cpu' });
      expect(await again.predict(x)).toEqual(await net.predict(x));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  const refused: [string, () => unknown, string][] = [
    [
      'features',
      () =>
        layers
          .convLSTM2D({ filters: 1, kernelSize: 2, name: 'v' })
          .outputShape({ dtype: 'real', shape: [3, 4], sequence: true }),
      "layer 'v': expected frames [N, T, rows, columns, channels], got [N, 3, 4].",
    ],
    [
      'a size left open',
      () =>
        layers
          .convLSTM1D({ filters: 1, kernelSize: 2, name: 'v' })
          .outputShape({ dtype: 'real', shape: [3, null, 4], sequence: true }),
      "layer 'v': expected frames [N, T, length, channels] of known sizes, got [N, 3, any, 4].",
    ],
    [
      'frames that are too small',
      () =>
        layers
          .convLSTM1D({ filters: 1, kernelSize: 5, name: 'v' })
          .outputShape({ dtype: 'real', shape: [3, 4, 1], sequence: true }),
      "layer 'v': expected frames with room for a filter, got [N, 3, 4, 1].",
    ],
    [
      'three sizes of two',
      () => layers.convLSTM2D({ filters: 1, kernelSize: [1, 2, 3] }),
      'layers.convLSTM2D: kernelSize: expected 2 numbers, or one, got 3.',
    ],
    [
      'strides and dilation',
      () => layers.convLSTM2D({ filters: 1, kernelSize: 2, strides: 2, dilationRate: 2 }),
      'layers.convLSTM2D: dilationRate: expected 1 with strides 2, got 2.',
    ],
    [
      'softmax as a gate',
      () => layers.convLSTM1D({ filters: 1, kernelSize: 2, recurrentActivation: 'softmax' }),
      "layers.convLSTM1D: recurrentActivation: expected an elementwise activation, got 'softmax'.",
    ],
  ];
  test.each(refused)('%s is refused', (_, act, message) => {
    expect(act).toThrow(message);
  });
});

test('in both directions the last frames lie side by side, neither turned', async () => {
  const o = { filters: 2, kernelSize: 2 };
  const inputShape = [null, 4, 1];
  const x = tensor(
    Float32Array.from({ length: 24 }, (_, i) => Math.sin(i)),
    [2, 3, 4, 1],
  );
  const both = sequential([layers.bidirectional({ layer: layers.convLSTM1D(o), inputShape, name: 'both' })]);
  const weights = await both.getWeights();
  const frames = [];
  for (const [part, goBackwards] of [
    ['forward', false],
    ['backward', true],
  ] as const) {
    const one = sequential([layers.convLSTM1D({ ...o, goBackwards, inputShape, name: 'one' })]);
    const own = [...weights].filter(([name]) => name.startsWith(`both/${part}/`));
    await one.setWeights(new Map(own.map(([name, w]) => [name.replace(`both/${part}`, 'one'), w])));
    frames.push(await one.predict(x));
    one.dispose();
  }
  const y = await both.predict(x);
  expect(y.shape).toEqual([2, 3, 4]);
  const [a, b] = frames as [Tensor, Tensor];
  y.data.forEach((v, i) => {
    const [place, column] = [Math.floor(i / 4), i % 4];
    const own = column < 2 ? a.data[place * 2 + column] : b.data[place * 2 + column - 2];
    expect(v).toBeCloseTo(own as number, 6);
  });
  both.dispose();
});
