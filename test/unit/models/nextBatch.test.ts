import { type Callback, DeepRnnError, type Tensor, tensor } from '../../../lib';
import { createEngine } from '../../../lib/engines/devices';
import { InputSets } from '../../../lib/models/inputSets';
import { PlanBuilder } from '../../../lib/plan/builder';
import { randomSequences, smallModel, whichThird } from './data';

const x = randomSequences(70, 6, 4, 1);
const y = whichThird(x);
const compile = { loss: 'sparseCategoricalCrossentropy', optimizer: 'adam', metrics: ['accuracy'] } as const;
const bits = (weights: Map<string, Tensor>) => [...weights].map(([name, t]) => [name, Array.from(t.data)]);

afterEach(() => {
  jest.restoreAllMocks();
});

describe('an executable', () => {
  /** y = 2x, total = 2 · step. */
  function loaded() {
    const b = new PlanBuilder('sets');
    const input = b.input('x', 'real', [3, 2]);
    const step = b.input('step', 'float64', [1]);
    b.output('y', b.emit('add', [input, input], {}, 'add')[0] as number);
    b.output('total', b.emit('sumScalars', [step, step], {}, 'total')[0] as number);
    return createEngine().createSession().load(b.finish());
  }

  test('has two arrays for each of its data, one for each scalar', () => {
    const executable = loaded();
    expect(executable.input('x', 1)).not.toBe(executable.input('x'));
    expect(executable.input('x', 0)).toBe(executable.input('x'));
    expect(executable.input('step', 1)).toBe(executable.input('step', 0));
  });

  test.each([true, false])('runs on the set that is asked for (staged: %s)', async (staged) => {
    const executable = loaded();
    for (let i = 0; i < 6; i++) {
      const set = (i % 2) as 0 | 1;
      executable.input('x', set).fill(i);
      if (staged) executable.stage(set);
      executable.input('step').fill(10 * i);
      const running = executable.run(set);
      executable.input('x', set === 0 ? 1 : 0).fill(-1);
      await running;
      expect(Array.from(executable.output('y'))).toEqual(new Array(6).fill(2 * i));
      expect(executable.output('total')[0]).toBe(20 * i);
    }
  });

  test('takes the data that were staged last', async () => {
    const executable = loaded();
    for (const value of [1, 2, 3]) {
      executable.input('x', 1).fill(value);
      executable.stage(1);
    }
    await executable.run(1);
    expect(executable.output('y')[5]).toBe(6);
  });
});

test('the next batch is gathered after one has begun and before it has ended; one of another shape too', async () => {
  const events: string[] = [];
  const { take, gatherAhead } = InputSets.prototype;
  jest.spyOn(InputSets.prototype, 'take').mockImplementation(function (this: InputSets, batch, mode) {
    events.push(`take ${batch.indices[0]}`);
    return take.call(this, batch, mode);
  });
  jest.spyOn(InputSets.prototype, 'gatherAhead').mockImplementation(function (this: InputSets, batch, mode) {
    events.push(`gather ${batch.indices[0]}`);
    gatherAhead.call(this, batch, mode);
  });
  const model = smallModel().compile(compile);
  const listen: Callback = { onEvaluateBatchEnd: (index) => void events.push(`end ${index}`) };
  const pass = () => model.evaluate(x, y, { batchSize: 32, callbacks: [listen] });
  await pass();
  // A plan that is not there yet cannot be loaded during a run.
  expect(events.join(', ')).toBe('take 0, gather 32, end 0, take 32, end 1, take 64, end 2');
  events.length = 0;
  await pass();
  expect(events.join(', ')).toBe('take 0, gather 32, end 0, take 32, gather 64, end 1, take 64, end 2');
});

test('fit gives the same bits as its batches one by one, with weights and a learning rate that changes', async () => {
  const sampleWeight = tensor(Float32Array.from({ length: 70 }, (_, i) => 0.5 + (i % 3)));
  const rate = (step: number) => 0.01 / (1 + step);
  const whole = smallModel(5, 0.2).compile(compile);
  const setRate: Callback = {
    onBatchBegin: () => {
      whole.learningRate = rate(whole.step);
    },
  };
  const fit = { batchSize: 16, epochs: 3, shuffle: false, sampleWeight, callbacks: [setRate] };
  await whole.fit(x, y, fit);
  const single = smallModel(5, 0.2).compile(compile);
  for (let epoch = 0; epoch < 3; epoch++) {
    for (let i = 0; i < 70; i += 16) {
      single.learningRate = rate(single.step);
      const rows = (t: Tensor) => t.rows(i, Math.min(70, i + 16));
      await single.trainOnBatch(rows(x), rows(y), { sampleWeight: rows(sampleWeight) });
    }
  }
  expect(bits(await whole.getWeights())).toEqual(bits(await single.getWeights()));
});

test('gradient reports of every second step change no bits', async () => {
  const plain = smallModel(5).compile(compile);
  await plain.fit(x, y, { batchSize: 16, epochs: 2 });
  const asked = smallModel(5).compile(compile);
  let reports = 0;
  await asked.fit(x, y, {
    batchSize: 16,
    epochs: 2,
    callbacks: [{ gradientsEvery: 2, onGradients: () => void reports++ }],
  });
  expect(reports).toBe(5);
  expect(bits(await asked.getWeights())).toEqual(bits(await plain.getWeights()));
});

test('predict in batches, with initial states, gives what the whole gives', async () => {
  const model = smallModel(2).compile(compile);
  const h = randomSequences(70, 1, 9, 4).reshape([70, 9]);
  const initialStates = { lstm: { h } };
  const whole = await model.predict(x, { batchSize: 70, initialStates });
  const parts = await model.predict(x, { batchSize: 8, initialStates });
  expect(parts.shape).toEqual(whole.shape);
  for (const [i, v] of parts.data.entries()) expect(v).toBeCloseTo(whole.data[i] as number, 5);
});

test('calls that share a plan do not take the data of each other', async () => {
  const model = smallModel(2).compile(compile);
  const other = randomSequences(70, 6, 4, 9);
  const alone = [
    await model.predict(x, { batchSize: 10 }),
    await model.predict(other, { batchSize: 10 }),
    await model.evaluate(x, y, { batchSize: 10 }),
    await model.evaluate(other, y, { batchSize: 10 }),
  ];
  const together = await Promise.all([
    model.predict(x, { batchSize: 10 }),
    model.predict(other, { batchSize: 10 }),
    model.evaluate(x, y, { batchSize: 10 }),
    model.evaluate(other, y, { batchSize: 10 }),
  ]);
  expect(together).toEqual(alone);
});

test('predict in the midst of fit changes no bits', async () => {
  const quiet = smallModel(5).compile(compile);
  await quiet.fit(x, y, { batchSize: 16, epochs: 2 });
  const asked = smallModel(5).compile(compile);
  const running = asked.fit(x, y, { batchSize: 16, epochs: 2 });
  for (let i = 0; i < 4; i++) await asked.predict(x, { batchSize: 16 });
  await running;
  expect(bits(await asked.getWeights())).toEqual(bits(await quiet.getWeights()));
});

test('a number that is none is named where it lies, and the batch before it has been learned', async () => {
  const bad = tensor(x.data.slice(), x.shape);
  bad.data[(41 * 6 + 3) * 4 + 2] = Number.NaN;
  const model = smallModel().compile(compile);
  const failure = await model.fit(bad, y, { batchSize: 16, shuffle: false }).catch((e) => e);
  expect(failure).toBeInstanceOf(DeepRnnError);
  expect(failure.message).toBe(
    "fit: x: expected finite numbers (input of layer 'lstm'), got NaN at [41, 3, 2].",
  );
  expect(model.step).toBe(2);
  const shuffled = await model.fit(bad, y, { batchSize: 16 }).catch((e) => e);
  expect(shuffled.message).toBe(failure.message);
});

test('what was gathered for a fit that was aborted is not used by the next', async () => {
  const other = randomSequences(70, 6, 4, 9);
  const aborted = smallModel(5).compile(compile);
  const controller = new AbortController();
  const abort: Callback = { onBatchEnd: () => controller.abort() };
  const fit = { batchSize: 16, shuffle: false };
  await expect(aborted.fit(x, y, { ...fit, signal: controller.signal, callbacks: [abort] })).rejects.toThrow(
    'fit: aborted by its signal',
  );
  await aborted.fit(other, y, fit);
  const single = smallModel(5).compile(compile);
  await single.trainOnBatch(x.rows(0, 16), y.rows(0, 16));
  await single.fit(other, y, fit);
  expect(bits(await aborted.getWeights())).toEqual(bits(await single.getWeights()));
});

test('a generator is asked for a batch when it is to be run, not before', async () => {
  const events: string[] = [];
  const batches = function* () {
    for (let i = 0; i < 3; i++) {
      events.push(`asked ${i}`);
      yield [x.rows(8 * i, 8 * i + 8), y.rows(8 * i, 8 * i + 8)] as const;
    }
  };
  const model = smallModel().compile(compile);
  await model.fit(batches, { callbacks: [{ onBatchEnd: (i) => void events.push(`end ${i}`) }] });
  expect(events).toEqual(['asked 0', 'end 0', 'asked 1', 'end 1', 'asked 2', 'end 2']);
});
