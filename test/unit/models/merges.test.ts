import { input, layers, model, tensor } from '../../../lib';
import { layerFromConfig } from '../../../lib/layers';
import { savedAndLoaded } from '../savedAndLoaded';
import { near, randomSequences } from './data';

const [N, T, S, D] = [4, 5, 6, 3];
const x = randomSequences(N, T, D, 1);
const other = randomSequences(N, S, D, 2);

/** Ids whose zeros are padding. */
const padded = (lengths: readonly number[]) =>
  tensor(
    Int32Array.from({ length: N * T }, (_, i) =>
      i % T < (lengths[Math.floor(i / T)] as number) ? 1 + (i % 3) : 0,
    ),
    [N, T],
  );

describe('steps that count after a merge', () => {
  const embedding = (maskZero: boolean) => layers.embedding({ inputDim: 4, outputDim: 2, maskZero });
  const merges = ['add', 'subtract', 'multiply', 'average', 'maximum', 'minimum', 'concatenate'] as const;
  /** How many steps a layer above saw: a SimpleRNN that counts them. */
  const counted = async (merge: (typeof merges)[number], masked: readonly boolean[], lengths: number[][]) => {
    const inputs = masked.map(() => input({ shape: [T], dtype: 'int32' }));
    const values = inputs.map((ids, i) => embedding(masked[i] as boolean).apply(ids));
    const both = layers[merge]().apply(values);
    const counter = layers.simpleRNN({ units: 1, activation: 'linear', name: 'counter' });
    const net = model({ inputs, outputs: counter.apply(both) });
    const width = both.shape.at(-1) as number;
    await net.setWeights({
      'counter/kernel': tensor(new Float32Array(width), [width, 1]),
      'counter/recurrentKernel': tensor([1]).reshape([1, 1]),
      'counter/bias': tensor([1]),
    });
    return Array.from((await net.predict(lengths.map(padded))).data);
  };
  const [few, many] = [
    [1, 2, 3, 0],
    [2, 1, 5, 4],
  ];

  test.each(merges)('%s: those that count in any of the inputs, all where one has no mask', async (merge) => {
    expect(await counted(merge, [true, true], [few, many])).toEqual([2, 2, 5, 4]);
    expect(await counted(merge, [true, true], [few, few])).toEqual(few);
    expect(await counted(merge, [true, false], [few, many])).toEqual([T, T, T, T]);
    expect(await counted(merge, [false, true], [few, many])).toEqual([T, T, T, T]);
  });

  test('dot: all', async () => {
    const inputs = [0, 1].map(() => input({ shape: [T], dtype: 'int32' }));
    const scores = layers.dot({ axes: -1 }).apply(inputs.map((ids) => embedding(true).apply(ids)));
    const counter = layers.simpleRNN({ units: 1, activation: 'linear', name: 'counter' });
    const net = model({ inputs, outputs: counter.apply(scores) });
    await net.setWeights({
      'counter/kernel': tensor(new Float32Array(T), [T, 1]),
      'counter/recurrentKernel': tensor([1]).reshape([1, 1]),
      'counter/bias': tensor([1]),
    });
    expect(Array.from((await net.predict([padded(few), padded(many)])).data)).toEqual([T, T, T, T]);
  });
});

describe('attention over the outputs of an encoder', () => {
  const attention = (device: string, normalize = false) => {
    const [source, target] = [
      input({ shape: [null, D], name: 'source' }),
      input({ shape: [null, D], name: 'target' }),
    ];
    const recurrent = { units: 4, returnSequences: true };
    const encoded = layers.gru(recurrent).apply(source);
    const decoded = layers.lstm(recurrent).apply(target);
    const scores = layers.dot({ axes: [2, 2], normalize }).apply([decoded, encoded]);
    const weights = layers.activation({ activation: 'softmax' }).apply(scores);
    const context = layers.dot({ axes: [2, 1] }).apply([weights, encoded]);
    const both = layers.maximum().apply([context, decoded]);
    return model({
      inputs: [source, target],
      outputs: layers.dense({ units: 2 }).apply(both),
      seed: 3,
    }).compile({
      loss: 'mse',
      optimizer: { type: 'adam', learningRate: 0.05 },
      device,
    });
  };
  const y = randomSequences(N, T, 2, 4);

  test.each([false, true])('trains as on the reference (cosines: %s)', async (normalize) => {
    const [cpu, reference] = ['cpu', 'reference'].map((device) => attention(device, normalize)) as [
      ReturnType<typeof attention>,
      ReturnType<typeof attention>,
    ];
    near(await cpu.predict([other, x]), await reference.predict([other, x]));
    const losses: number[][] = [];
    for (const net of [cpu, reference]) {
      const { history } = await net.fit([other, x], y, { epochs: 10, batchSize: N, verbose: 0 });
      losses.push(history['loss'] as number[]);
    }
    losses[0]?.forEach((loss, i) => {
      expect(loss).toBeCloseTo(losses[1]?.[i] as number, 3);
    });
    expect(losses[0]?.at(-1)).toBeLessThan(0.8 * (losses[0]?.[0] as number));
  });

  test('is saved and loaded', async () => {
    const net = attention('cpu', true);
    const again = await savedAndLoaded(net);
    expect(again.getConfig()).toEqual(net.getConfig());
    again.compile({ loss: 'mse', device: 'cpu' });
    expect(await again.predict([other, x])).toEqual(await net.predict([other, x]));
  });
});

test('dot keeps its options', () => {
  for (const config of [{ axes: -1 }, { axes: [2, 1], normalize: true }]) {
    expect(layerFromConfig('Dot', { ...config }).getConfig()).toEqual(config);
  }
});
