import { type BatchGenerator, layers, Philox, paddedBatches, padSequences, sequential } from '../../../lib';

const random = new Philox(Math.floor(Math.random() * 2 ** 47));
const count = 50;
/** Which of two inputs is the larger on average. */
const sequences = Array.from({ length: count }, () => {
  const lead = random.nextInt(2);
  return Array.from({ length: 1 + random.nextInt(25) }, () => [
    random.nextNormal() + lead,
    random.nextNormal() + 1 - lead,
  ]);
});
const labels = sequences.map((s) => Number(s.reduce((sum, [a = 0, b = 0]) => sum + a - b, 0) > 0));
const steps = sequences.map((s) => s.map(([a = 0, b = 0]) => Number(a > b)));
const post = { padding: 'post' } as const;
const lengths = sequences.map((s) => s.length);

function model(returnSequences: boolean) {
  return sequential(
    [
      layers.lstm({ units: 8, returnSequences, inputShape: [null, 2] }),
      layers.dense({ units: 2, activation: 'softmax' }),
    ],
    { seed: 3 },
  ).compile({
    loss: 'sparseCategoricalCrossentropy',
    optimizer: { type: 'adam', learningRate: 0.02 },
    metrics: ['accuracy'],
  });
}

test('fit learns from buckets; evaluate and predict over them are those over one padded array', async () => {
  const one = model(false);
  const train: BatchGenerator = paddedBatches(sequences, labels, { batchSize: 8, buckets: 3, seed: 1 });
  const { history } = await one.fit(train, { epochs: 12 });
  expect(history['loss']?.at(-1)).toBeLessThan(0.7 * (history['loss']?.[0] as number));

  const ordered = paddedBatches(sequences, labels, { batchSize: 8, buckets: 3, shuffle: false });
  const bucketed = await one.evaluate(ordered);
  const whole = await one.evaluate(padSequences(sequences, post), labels, { lengths, batchSize: count });
  expect(Math.abs(bucketed.loss - whole.loss)).toBeLessThan(1e-5);
  expect(bucketed.accuracy).toBeCloseTo(whole.accuracy, 6);

  const predicted = await one.predict(ordered);
  const straight = await one.predict(padSequences(sequences, post), { lengths });
  ordered.order(0).forEach((n, i) => {
    for (const k of [0, 1])
      expect(predicted.data[2 * i + k]).toBeCloseTo(straight.data[2 * n + k] as number, 5);
  });
});

test('targets on every step: metrics are those over one padded array, and so is the loss of each batch', async () => {
  const one = model(true);
  const options = { batchSize: 8, buckets: 3, targetSequences: true, seed: 1 };
  await one.fit(paddedBatches(sequences, steps, options), { epochs: 3 });
  const bucketed = await one.evaluate(paddedBatches(sequences, steps, { ...options, shuffle: false }));
  const given = { lengths, batchSize: count };
  const whole = await one.evaluate(padSequences(sequences, post), padSequences(steps, post), given);
  expect(bucketed.accuracy).toBeCloseTo(whole.accuracy, 6);
  const together = { ...options, buckets: 1, batchSize: count };
  const { loss } = await one.evaluate(paddedBatches(sequences, steps, together));
  expect(Math.abs(loss - whole.loss)).toBeLessThan(1e-5);
});

describe('epochs are counted by calls', () => {
  const options = { buckets: 2, seed: 5, padToMultipleOf: 32 };
  const regression = (inputShape: object = { inputShape: [null, 2] }) =>
    sequential([layers.gru({ units: 3, ...inputShape }), layers.dense({ units: 1 })], {
      seed: 2,
    }).compile({ loss: 'mse' });
  const outputs = (of: ReturnType<typeof regression>) =>
    of.predict(padSequences(sequences, { ...post, maxLen: 32 }), { lengths });

  test('of which looking at the first batch, to build a model, is not one more', async () => {
    const [built, lazy] = [regression(), regression({})];
    for (const each of [built, lazy])
      await each.fit(paddedBatches(sequences, labels, options), { epochs: 2 });
    expect(await outputs(lazy)).toEqual(await outputs(built));
  });

  test('and a fit goes on from a first epoch as if it had not stopped', async () => {
    const [whole, parts] = [regression(), regression()];
    await whole.fit(paddedBatches(sequences, labels, options), { epochs: 3 });
    await parts.fit(paddedBatches(sequences, labels, options), { epochs: 1 });
    const rest = paddedBatches(sequences, labels, { ...options, firstEpoch: 1 });
    await parts.fit(rest, { initialEpoch: 1, epochs: 3 });
    expect(await outputs(parts)).toEqual(await outputs(whole));
  });
});
