import { input, layers, model, sequential, tensor } from '../../../lib';
import { randomSequences } from '../models/data';
import { savedAndLoaded } from '../savedAndLoaded';

const [N, T, D] = [12, 5, 3];
const x = randomSequences(N, T, D, 1);
const y = tensor(
  Float32Array.from({ length: N }, (_, i) => Math.sin(i)),
  [N, 1],
);
const small = (device = 'cpu', options = {}) =>
  sequential(
    [
      layers.gru({ units: 4, returnSequences: true, inputShape: [T, D] }),
      layers.batchNormalization({ name: 'norm', momentum: 0.8, ...options }),
      layers.lstm({ units: 3 }),
      layers.dense({ units: 1 }),
    ],
    { seed: 5 },
  ).compile({ loss: 'mse', optimizer: { type: 'adam', learningRate: 0.02 }, device });

test('its moving statistics are weights that no gradient changes, and count as such in the summary', async () => {
  const net = small();
  expect([...(await net.getWeights()).keys()].filter((name) => name.startsWith('norm/'))).toEqual([
    'norm/gamma',
    'norm/beta',
    'norm/movingMean',
    'norm/movingVariance',
  ]);
  const { gradients } = await net.computeGradients(x, y);
  expect([...gradients.keys()].filter((name) => name.includes('moving'))).toEqual([]);
  expect(net.summary()).toContain(' trainable, 8 not)');
});

test('training moves them, whatever the number of epochs, as on the reference; predicting and evaluating do not', async () => {
  const [cpu, reference] = [small('cpu'), small('reference')];
  for (const net of [cpu, reference]) await net.fit(x, y, { epochs: 4, batchSize: 5, verbose: 0 });
  const [ours, wanted] = [await cpu.getWeights(), await reference.getWeights()];
  for (const name of ['norm/movingMean', 'norm/movingVariance', 'norm/gamma']) {
    const values = ours.get(name)?.data ?? [];
    expect(Array.from(values)).not.toEqual(new Array(4).fill(name.endsWith('Mean') ? 0 : 1));
    values.forEach((v, i) => {
      expect(v).toBeCloseTo(wanted.get(name)?.data[i] as number, 4);
    });
  }
  await cpu.predict(x);
  await cpu.evaluate(x, y);
  expect(await cpu.getWeights()).toEqual(ours);
});

test('a frozen layer keeps them', async () => {
  const net = small('cpu', { trainable: false });
  await net.fit(x, y, { epochs: 2, verbose: 0 });
  const weights = await net.getWeights();
  expect(Array.from(weights.get('norm/movingMean')?.data ?? [])).toEqual([0, 0, 0, 0]);
  expect(Array.from(weights.get('norm/movingVariance')?.data ?? [])).toEqual([1, 1, 1, 1]);
});

test('they are saved and loaded, and predictions with them', async () => {
  const net = small();
  await net.fit(x, y, { epochs: 3, verbose: 0 });
  const again = await savedAndLoaded(net);
  again.compile({ loss: 'mse', device: 'cpu' });
  expect(await again.getWeights()).toEqual(await net.getWeights());
  expect(await again.predict(x)).toEqual(await net.predict(x));
});

test('of a layer that is used twice both uses move them, one after the other', async () => {
  const norm = layers.batchNormalization({ name: 'norm', momentum: 0.5 });
  const [a, b] = [input({ shape: [D] }), input({ shape: [D] })];
  const sum = layers.add().apply([norm.apply(a), norm.apply(b)]);
  const net = model({ inputs: [a, b], outputs: layers.dense({ units: 1 }).apply(sum) });
  net.compile({ loss: 'mse', optimizer: 'sgd' });
  const constant = (v: number) => tensor(new Float32Array(N * D).fill(v), [N, D]);
  await net.trainOnBatch([constant(4), constant(8)], y);
  const weights = await net.getWeights();
  // 0 → (0 + 4)/2 = 2 → (2 + 8)/2 = 5, and 1 → 1/2 → 1/4.
  expect(Array.from(weights.get('norm/movingMean')?.data ?? [])).toEqual([5, 5, 5]);
  expect(Array.from(weights.get('norm/movingVariance')?.data ?? [])).toEqual([0.25, 0.25, 0.25]);
});

test('steps that lengths leave out do not count', async () => {
  const net = small();
  const wild = x.data.slice();
  for (let n = 0; n < N; n++) wild.fill(1e3, (n * T + 2) * D, (n + 1) * T * D);
  const lengths = new Array(N).fill(2);
  await net.fit(tensor(wild, [N, T, D]), y, { epochs: 1, batchSize: N, lengths, verbose: 0 });
  const short = small();
  const cut = tensor(
    Float32Array.from({ length: N * T * D }, (_, i) =>
      Math.floor(i / D) % T < 2 ? (x.data[i] as number) : 0,
    ),
    [N, T, D],
  );
  await short.fit(cut, y, { epochs: 1, batchSize: N, lengths, verbose: 0 });
  expect(await net.getWeights()).toEqual(await short.getWeights());
});

test('a live sequence goes through it', async () => {
  const net = sequential([
    layers.gru({ units: 4, returnSequences: true, inputShape: [null, D] }),
    layers.batchNormalization(),
  ]);
  const all = await net.predict(x.rows(0, 1));
  const stream = await net.stream();
  for (let t = 0; t < T; t++)
    expect(stream.stepSync(x.data.subarray(t * D, (t + 1) * D) as Float32Array)).toEqual(
      all.data.subarray(t * 4, (t + 1) * 4),
    );
});
