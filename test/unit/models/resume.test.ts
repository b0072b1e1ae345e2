import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { FitOptions } from '../../../lib';
import {
  type Callback,
  callbacks,
  optimizers,
  type Sequential,
  schedules,
  type WeightValues,
} from '../../../lib';
import { refusal } from '../refusal';
import { randomSequences, smallModel, whichThird } from './data';

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-resume-'));
afterAll(() => rmSync(folder, { recursive: true }));
const x = randomSequences(16, 6, 4, 1);
const y = whichThird(x);
const compiled = () => smallModel(4).compile({ loss: 'sparseCategoricalCrossentropy' });

describe('a checkpoint written inside an epoch', () => {
  const file = path.join(folder, 'inside');
  beforeAll(async () => {
    const controller = new AbortController();
    const stop: Callback = { onBatchEnd: (batch) => (batch === 5 ? controller.abort() : undefined) };
    const saving = callbacks.modelCheckpoint({ path: file, saveFreq: 5 });
    await compiled()
      .fit(x, y, { batchSize: 2, signal: controller.signal, callbacks: [saving, stop] })
      .catch(() => undefined);
  });
  const why = `, as in '${file}', which was written inside an epoch`;

  test.each<[string, FitOptions, string]>([
    ['another batch size', { batchSize: 4 }, `batchSize: expected 2${why}, got 4.`],
    ['other steps', { batchSize: 2, stepsPerEpoch: 3 }, `stepsPerEpoch: expected 8${why}, got 3.`],
    ['another order', { batchSize: 2, shuffle: false }, `shuffle: expected true${why}, got false.`],
    ['another seed', { batchSize: 2, seed: 9 }, `seed: expected 4${why}, got 9.`],
    ['other data', { batchSize: 2, validationSplit: 0.25 }, `examples: expected 16${why}, got 12.`],
  ])('is not resumed with %s, and the model stays as it is', async (_, options, message) => {
    const model = compiled();
    const before = await model.getWeights();
    expect(await refusal(() => model.fit(x, y, { ...options, resumeFrom: file }))).toBe(
      `ERR_VALUE fit: resumeFrom: ${message}`,
    );
    expect(await model.getWeights()).toEqual(before);
    expect(model.step).toBe(0);
  });

  test.each([
    ['metrics', { metrics: ['accuracy'] }],
    ['weightedMetrics', { weightedMetrics: ['accuracy'] }],
  ])('is not resumed with other %s, whose sums over its first batches it lacks', async (part, more) => {
    const model = smallModel(4).compile({ loss: 'sparseCategoricalCrossentropy', ...more });
    expect(await refusal(() => model.fit(x, y, { batchSize: 2, resumeFrom: file }))).toBe(
      `ERR_VALUE fit: resumeFrom: ${part}: expected that of the checkpoint, [], got ${JSON.stringify([model.metrics[0]?.getConfig()])}.`,
    );
    expect(model.step).toBe(0);
  });

  test('brings its seed to a model with another', async () => {
    const model = smallModel(9).compile({ loss: 'sparseCategoricalCrossentropy' });
    await model.fit(x, y, { batchSize: 2, resumeFrom: file });
    expect([model.seed, model.step]).toEqual([4, 8]);
  });

  test('goes on where it stopped with the same', async () => {
    const model = compiled();
    await model.fit(x, y, { batchSize: 2, resumeFrom: file });
    expect(model.step).toBe(8);
  });

  test('has its first gradients looked at', async () => {
    const health = callbacks.gradientHealth({ report: 'none' });
    await compiled().fit(x, y, { batchSize: 2, resumeFrom: file, callbacks: [health] });
    expect(health.summary().reports).toBe(1);
  });
});

describe("arrays of a caller's own callback", () => {
  const file = path.join(folder, 'arrays');
  const save = (getArrays: () => unknown) => {
    const own = { stateKey: 'mine', getArrays } as Callback;
    const saving = callbacks.modelCheckpoint({ path: file, checkpoint: true });
    return compiled().fit(x, y, { callbacks: [own, saving] });
  };
  const values = { data: Float32Array.of(1, 2, 3), shape: [3] };

  test('are kept also without getState', async () => {
    await save(() => new Map([['a', values]]));
    const told: [unknown, ReadonlyMap<string, WeightValues>][] = [];
    const own: Callback = { stateKey: 'mine', setState: (...given) => void told.push(given) };
    await compiled().fit(x, y, { epochs: 2, resumeFrom: file, callbacks: [own] });
    expect(told).toHaveLength(1);
    expect(told[0]?.[0]).toBeNull();
    expect([...(told[0]?.[1] ?? [])]).toEqual([['a', expect.objectContaining(values)]]);
  });

  test.each<[string, () => unknown, string]>([
    ['in an object', () => ({ a: values }), ': expected a Map of { data, shape } by name, got an object.'],
    ['without a shape', () => new Map([['a', [1, 2]]]), ": 'a': expected { data, shape }, got [1, 2]."],
  ])('are refused %s', async (_, getArrays, message) => {
    expect(await refusal(() => save(getArrays))).toBe(
      `ERR_VALUE fit: callbacks: getArrays of 'mine'${message}`,
    );
  });
});

describe('the learning rate of a checkpoint', () => {
  const loss = 'sparseCategoricalCrossentropy';
  const decay = (decayRate: number) =>
    schedules.exponentialDecay({ initialLearningRate: 0.1, decaySteps: 5, decayRate });
  const withRate = (learningRate: number | ReturnType<typeof decay>) =>
    smallModel(4).compile({ loss, optimizer: optimizers.adam({ learningRate }) });
  const file = path.join(folder, 'rate');
  const write = (model: Sequential) =>
    model.fit(x, y, { callbacks: [callbacks.modelCheckpoint({ path: file })] });

  test.each([
    ['a number', 0.5],
    ['another schedule', decay(0.8)],
  ])('that is a schedule is not replaced by %s', async (_, own) => {
    await write(withRate(decay(0.9)));
    const model = withRate(own);
    const shown = JSON.stringify(typeof own === 'number' ? own : own.getConfig());
    expect(await refusal(() => model.fit(x, y, { epochs: 2, resumeFrom: file }))).toBe(
      `ERR_VALUE fit: resumeFrom: learningRate: expected that of the checkpoint, ${JSON.stringify(decay(0.9).getConfig())}, got ${shown}.`,
    );
    expect(model.step).toBe(0);
  });

  test('that is a schedule goes on with the same', async () => {
    await write(withRate(decay(0.9)));
    const model = withRate(decay(0.9));
    await model.fit(x, y, { epochs: 2, resumeFrom: file });
    expect(model.learningRate).toBe(decay(0.9).at(2));
  });

  test('that is a number replaces any other', async () => {
    await write(withRate(0.25));
    const model = withRate(0.5);
    await model.fit(x, y, { epochs: 2, resumeFrom: file });
    expect(model.learningRate).toBe(0.25);
  });
});

describe('a run that early stopping had ended', () => {
  const file = path.join(folder, 'stopped');
  const rising: Callback = {
    onEpochEnd: (epoch, logs) => {
      logs['watched'] = epoch;
    },
  };
  const stopping = (patience: number) =>
    callbacks.earlyStopping({ monitor: 'watched', mode: 'min', patience, restoreBestWeights: true });
  const resumed = async (patience: number) => {
    const model = compiled();
    const options = { epochs: 9, resumeFrom: file, callbacks: [rising, stopping(patience)] };
    return { model, history: await model.fit(x, y, options) };
  };
  let ended: Sequential;
  beforeAll(async () => {
    ended = compiled();
    const own = [rising, stopping(2), callbacks.modelCheckpoint({ path: file })];
    expect((await ended.fit(x, y, { epochs: 9, callbacks: own })).epoch).toEqual([0, 1, 2]);
  });

  test('stays ended, with its best weights', async () => {
    const { model, history } = await resumed(2);
    expect(history.epoch).toEqual([0, 1, 2]);
    expect(await model.getWeights()).toEqual(await ended.getWeights());
  });

  test('goes on with more patience', async () => {
    const { history } = await resumed(3);
    expect(history.epoch).toEqual([0, 1, 2, 3]);
  });
});

test('stopTraining inside an epoch counts it as finished: a resume begins with the next', async () => {
  const file = path.join(folder, 'cut');
  const first = compiled();
  const cut: Callback = {
    onBatchEnd: (batch) => {
      first.stopTraining = batch === 2;
    },
  };
  await first.fit(x, y, { batchSize: 2, callbacks: [cut, callbacks.modelCheckpoint({ path: file })] });
  const second = compiled();
  const { epoch } = await second.fit(x, y, { epochs: 2, batchSize: 2, resumeFrom: file });
  expect([epoch, first.step, second.step]).toEqual([[0, 1], 3, 3 + 8]);
});

test('a checkpoint written after an epoch goes on with other metrics', async () => {
  const file = path.join(folder, 'after');
  await compiled().fit(x, y, { callbacks: [callbacks.modelCheckpoint({ path: file })] });
  const model = smallModel(4).compile({ loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
  const { history } = await model.fit(x, y, { epochs: 2, resumeFrom: file });
  expect(history['accuracy']).toEqual([Number.NaN, expect.any(Number)]);
});
