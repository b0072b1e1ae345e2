import { callbacks, layers, optimizers, sequential } from '../../../lib';
import { refusal } from '../refusal';
import { FakeModel, params } from './fakeModel';

/** Runs batches whose own losses these are, three an epoch, until the callback stops; gives the number run. */
async function search(
  finder: ReturnType<typeof callbacks.lrFinder>,
  model: FakeModel,
  losses: readonly number[],
) {
  await finder.onTrainBegin?.(model, params);
  for (const [i, loss] of losses.entries()) {
    const first = i - (i % 3);
    const sofar = losses.slice(first, i).concat(loss);
    await finder.onBatchBegin?.(i % 3);
    model.weight = i + 1;
    await finder.onBatchEnd?.(i % 3, { loss: sofar.reduce((a, b) => a + b, 0) / sofar.length });
    if (model.stopTraining) break;
  }
  await finder.onTrainEnd?.({});
}

test('the rate rises by one factor; the losses are those of the batches', async () => {
  const [model, losses] = [new FakeModel(), [5, 4, 1, 0.5, 0.75]];
  const finder = callbacks.lrFinder({ minLearningRate: 1e-4, maxLearningRate: 1, steps: 5, smoothing: 0 });
  await search(finder, model, losses);
  const found = finder.result();
  [1e-4, 1e-3, 1e-2, 1e-1, 1].forEach((rate, i) => {
    expect(found.learningRates[i]).toBeCloseTo(rate, 12);
    expect(found.losses[i]).toBeCloseTo(losses[i] as number, 12);
  });
  expect(found.smoothedLosses).toEqual(found.losses);
  // From the second to the third it falls by most.
  expect(found.suggestion).toBeCloseTo(1e-3, 12);
});

test('smoothing is an exponential mean without bias', async () => {
  const finder = callbacks.lrFinder({ steps: 3, smoothing: 0.5 });
  await search(finder, new FakeModel(), [4, 1, 1]);
  const wanted = [4, (0.5 * 4 + 1) / 1.5, (0.25 * 4 + 0.5 + 1) / 1.75];
  finder.result().smoothedLosses.forEach((v, i) => {
    expect(v).toBeCloseTo(wanted[i] as number, 12);
  });
});

test.each([
  ['has risen by more than four times its fall', [-1, -2, -3, 5.5], 4],
  ['is not finite', [3, Number.NaN, 1], 2],
])('it ends when the loss %s, with the weights and the rate of the beginning', async (_, losses, run) => {
  const model = new FakeModel();
  const finder = callbacks.lrFinder({ smoothing: 0, steps: 9 });
  await search(finder, model, [...losses, 0, 0, 0]);
  expect(finder.result().losses).toHaveLength(run);
  expect([model.stopTraining, model.weight, model.learningRate]).toEqual([true, 0, 0.1]);
});

test('where the loss never falls there is no suggestion', async () => {
  const finder = callbacks.lrFinder({ smoothing: 0, steps: 3 });
  await search(finder, new FakeModel(), [1, 2, 3]);
  expect(finder.result().suggestion).toBeUndefined();
});

test('a fit ends after the steps, as it began', async () => {
  const model = sequential([layers.dense({ units: 1, inputShape: [2] })]).compile({
    loss: 'mse',
    optimizer: optimizers.sgd({ learningRate: 0.25 }),
  });
  const before = await model.getWeights();
  const finder = callbacks.lrFinder({ steps: 20, maxLearningRate: 0.5 });
  const x = Array.from({ length: 16 }, (_, i) => [Math.sin(i), Math.cos(3 * i)]);
  const y = x.map(([a, b]) => [(a as number) - 2 * (b as number)]);
  await model.fit(x, y, { epochs: 30, batchSize: 16, callbacks: [finder] });
  const { learningRates, suggestion } = finder.result();
  expect(learningRates).toHaveLength(20);
  expect(suggestion).toBeGreaterThan(1e-4);
  expect(await model.getWeights()).toEqual(before);
  expect(model.learningRate).toBe(0.25);
});

test.each<[object, string]>([
  [{ minLearningRate: 0 }, 'minLearningRate: expected a finite number above 0, got 0.'],
  [
    { minLearningRate: 0.1, maxLearningRate: 0.1 },
    'maxLearningRate: expected a finite number above minLearningRate, 0.1, got 0.1.',
  ],
  [{ steps: 1 }, 'steps: expected a whole number of batches, 2 or more, got 1.'],
  [{ smoothing: 1 }, 'smoothing: expected a number from 0 to below 1, got 1.'],
  [{ divergence: 'far' }, "divergence: expected a finite number above 0, got 'far'."],
])('%j is refused', async (options, message) => {
  expect(await refusal(() => callbacks.lrFinder(options))).toBe(`ERR_VALUE callbacks.lrFinder: ${message}`);
});
