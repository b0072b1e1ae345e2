import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Callback, layers, optimizers, schedules, sequential, type Tensor } from '../../../lib';
import { readModelFile } from '../../../lib/io/modelFile';
import { randomSequences, smallModel, whichThird } from './data';

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-averaging-'));
afterAll(() => rmSync(folder, { recursive: true }));
const x = randomSequences(20, 6, 4, 1);
const y = whichThird(x);
const loss = 'sparseCategoricalCrossentropy';
const flat = (weights: ReadonlyMap<string, Tensor>) => [...weights.values()].flatMap((w) => [...w.data]);
const rows = (begin: number, end: number) =>
  [x, y].map((a) => (a.toArray() as never[]).slice(begin, end)) as [never[], never[]];

function expectNear(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  expect(actual).toHaveLength(expected.length);
  const worst = Math.max(...actual.map((v, i) => Math.abs(v - (expected[i] as number))));
  expect(worst).toBeLessThanOrEqual(tolerance);
}

describe.each([
  ['reference', 1e-12],
  ['cpu', 1e-6],
])('gradient accumulation on the %s device', (device, tolerance) => {
  test('two steps of four examples are one of eight, and nothing changes between them', async () => {
    const of = (options: object) =>
      smallModel(4).compile({ loss, device, optimizer: optimizers.adam({ clipNorm: 0.1, ...options }) });
    const [whole, split] = [of({}), of({ gradientAccumulationSteps: 2 })];
    for (const begin of [0, 8]) {
      await whole.trainOnBatch(...rows(begin, begin + 8));
      const before = flat(await split.getWeights());
      await split.trainOnBatch(...rows(begin, begin + 4));
      expect(flat(await split.getWeights())).toEqual(before);
      await split.trainOnBatch(...rows(begin + 4, begin + 8));
      expectNear(flat(await split.getWeights()), flat(await whole.getWeights()), tolerance);
    }
  });

  test('a schedule counts steps, not updates', async () => {
    const learningRate = schedules.piecewiseConstant({ boundaries: [0], values: [0, 0.1] });
    const model = smallModel(4).compile({
      loss,
      device,
      optimizer: optimizers.sgd({ learningRate, gradientAccumulationSteps: 2 }),
    });
    const before = flat(await model.getWeights());
    for (const begin of [0, 4]) await model.trainOnBatch(...rows(begin, begin + 4));
    expect(flat(await model.getWeights())).not.toEqual(before);
  });
});

describe.each(['reference', 'cpu'])('averages of weights on the %s device', (device) => {
  const compile = (options: object) =>
    smallModel(4).compile({
      loss,
      device,
      optimizer: optimizers.sgd({ learningRate: 0.1, useEma: true, emaMomentum: 0.75, ...options }),
    });

  test('fit ends with the average of what the weights were after each step', async () => {
    const model = compile({});
    let average: number[] | undefined;
    const following: Callback = {
      onBatchEnd: async () => {
        const now = flat(await model.getWeights());
        average = average ? average.map((v, i) => 0.75 * v + 0.25 * (now[i] as number)) : now;
      },
    };
    await model.fit(x, y, { batchSize: 4, epochs: 2, callbacks: [following] });
    expectNear(flat(await model.getWeights()), average as number[], device === 'cpu' ? 1e-6 : 1e-12);
  });

  test('stand in for the weights at every second update, where that is asked for', async () => {
    const [model, plain] = [compile({ emaOverwriteFrequency: 2 }), compile({ useEma: false })];
    await model.trainOnBatch(...rows(0, 4));
    await plain.trainOnBatch(...rows(0, 4));
    const first = flat(await plain.getWeights());
    expect(flat(await model.getWeights())).toEqual(first);
    await model.trainOnBatch(...rows(4, 8));
    await plain.trainOnBatch(...rows(4, 8));
    const second = flat(await plain.getWeights());
    const wanted = first.map((v, i) => 0.75 * v + 0.25 * (second[i] as number));
    expectNear(flat(await model.getWeights()), wanted, device === 'cpu' ? 1e-6 : 1e-12);
  });

  test('of a layer that is trained later begin with its weights', async () => {
    const frozen = layers.dense({ units: 3, inputShape: [2], trainable: false });
    const model = sequential([frozen, layers.dense({ units: 1 })]).compile({
      loss: 'mse',
      device,
      optimizer: optimizers.sgd({ learningRate: 0, useEma: true }),
    });
    const before = flat(await model.getWeights());
    await model.fit([[1, 2]], [[3]]);
    frozen.trainable = true;
    // Of another size, so that a new plan is made.
    await model.fit(
      [
        [1, 2],
        [3, 4],
      ],
      [[3], [4]],
    );
    expectNear(flat(await model.getWeights()), before, device === 'cpu' ? 1e-6 : 1e-12);
  });
});

test.each([
  ['accumulation', optimizers.adam({ gradientAccumulationSteps: 3 })],
  ['averages', optimizers.adam({ useEma: true, emaMomentum: 0.5 })],
  [
    'both, with factored moments',
    optimizers.adafactor({
      learningRate: 0.1,
      gradientAccumulationSteps: 2,
      useEma: true,
      emaOverwriteFrequency: 3,
    }),
  ],
  ['a leader that is followed', optimizers.ftrl({ learningRate: 0.1 })],
])('%s: a checkpoint resumes bit for bit', async (name, optimizer) => {
  const model = (seed: number) => smallModel(seed, 0.3).compile({ loss, optimizer });
  const file = path.join(folder, name);
  const options = { epochs: 3, batchSize: 4 };
  const whole = model(9);
  await whole.fit(x, y, options);

  const first = model(9);
  let batches = 0;
  const stop: Callback = {
    onBatchEnd: async () => {
      if (++batches < 8) return;
      await first.save(file, { checkpoint: true });
      throw new Error('power cut');
    },
  };
  await expect(first.fit(x, y, { ...options, callbacks: [stop] })).rejects.toThrow('power cut');
  const second = model(1);
  await second.fit(x, y, { ...options, resumeFrom: file });
  expect(flat(await second.getWeights())).toEqual(flat(await whole.getWeights()));

  const { tensors } = await readModelFile(file);
  const kept = (slot: string) => [...tensors.keys()].some((array) => array.endsWith(`:${slot}`));
  expect([kept('gradientSum'), kept('ema')]).toEqual([
    optimizer.gradientAccumulationSteps > 1,
    optimizer.ema !== undefined,
  ]);
});
