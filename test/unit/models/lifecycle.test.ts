import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  initializers,
  layers,
  loadModel,
  type Sequential,
  sequential,
  type Tensor,
  tensor,
} from '../../../lib';
import { refusal } from '../refusal';
import { randomSequences, smallModel, whichThird } from './data';

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-life-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = path.join(folder, 'model');
const x = randomSequences(8, 6, 4, 1);

describe('a disposed model', () => {
  test('finishes the save that has begun', async () => {
    const model = smallModel(2).compile({ loss: 'sparseCategoricalCrossentropy' });
    const expected = await model.predict(x);
    const saving = model.save(file);
    model.dispose();
    await saving;
    expect(await (await loadModel(file)).predict(x)).toEqual(expected);
  });

  test('never touches a file, also when nothing ever ran', async () => {
    await smallModel(2).save(file);
    const before = readFileSync(file);
    for (const model of [smallModel(3), smallModel(4)]) {
      model.dispose();
      expect(await refusal(() => model.save(file))).toBe(
        "ERR_STATE model 'sequential': it has been disposed.",
      );
    }
    expect(readFileSync(file).equals(before)).toBe(true);
    const fresh = smallModel(5);
    const saving = fresh.save(file);
    fresh.dispose();
    await saving;
    expect((await loadModel(file)).seed).toBe(5);
  });

  test.each<[string, (model: Sequential) => unknown]>([
    ['compile', (m) => m.compile({ loss: 'mse' })],
    ['build', (m) => m.build([6, 4])],
    ['add', (m) => m.add(layers.dense({ units: 2 }))],
    ['resetStates', (m) => m.resetStates()],
    ['countParams', (m) => m.countParams()],
    ['summary', (m) => m.summary()],
    ['getConfig', (m) => m.getConfig()],
    ['getWeights', (m) => m.getWeights()],
    ['setWeights', (m) => m.setWeights({})],
    ['evaluate', (m) => m.evaluate(x, whichThird(x))],
  ])('%s is refused', async (_, call) => {
    const model = smallModel();
    model.dispose();
    model.dispose();
    expect(await refusal(() => call(model))).toBe("ERR_STATE model 'sequential': it has been disposed.");
  });
});

test('reads of a model that never ran wait for each other, and runs for them', async () => {
  for (const device of ['cpu', undefined]) {
    const loss = 'sparseCategoricalCrossentropy';
    const model = smallModel(2).compile({ loss, ...(device === undefined ? {} : { device }) });
    const saving = model.save(file);
    const [first, second] = await Promise.all([model.getWeights(), model.getWeights(), model.predict(x)]);
    await saving;
    expect(second).toEqual(first);
    expect(await (await loadModel(file)).getWeights()).toEqual(first);
  }
});

describe('a model that could not be built stays buildable', () => {
  const lazy = () =>
    sequential([layers.lstm({ units: 2 }), layers.dense({ units: 1 })]).compile({ loss: 'mse' });
  const good = [
    [
      [1, 2],
      [1, 2],
    ],
  ];

  test.each<[string, unknown, unknown]>([
    ['data of a wrong rank', [[1, 2]], [[1]]],
    ['no data', [], []],
    ['data with an empty axis', [[[]]], [[1]]],
    ['ragged data', [[[1, 2], [1]]], [[1]]],
  ])('after %s', async (_, badX, badY) => {
    const model = lazy();
    expect(await refusal(() => model.fit(badX as never, badY as never))).toMatch(/^ERR_SHAPE/);
    expect(model.built).toBe(false);
    await model.fit(good, [[1]]);
    expect(model.inputShape).toEqual([2, 2]);
  });

  test('after a weight that could not be made; other features may follow', async () => {
    const fussy = {
      ...initializers.ones(),
      sample: (shape: readonly number[]) => {
        if (shape[0] === 5) throw new Error('not five');
        return new Float64Array((shape[0] as number) * (shape[1] as number));
      },
    };
    const model = sequential([
      layers.dense({ units: 2 }),
      layers.dense({ units: 3, kernelInitializer: fussy }),
    ]);
    expect(() => sequential([layers.dense({ units: 3, kernelInitializer: fussy })]).build([5])).toThrow(
      'not five',
    );
    model.build([5]);
    expect(model.countParams()).toBe(12 + 9);
    const wide = sequential([
      layers.dense({ units: 5 }),
      layers.dense({ units: 3, kernelInitializer: fussy }),
    ]);
    expect(() => wide.build([7])).toThrow('not five');
    expect(wide.built).toBe(false);
    expect(() => wide.build([8])).toThrow('not five');
  });

  test('a layer that does not fit is not added', async () => {
    const model = sequential([layers.lstm({ units: 8, inputShape: [6, 4] })]);
    expect(await refusal(() => model.add(layers.gru({ units: 3 })))).toContain('ERR_SHAPE');
    model.add(layers.dense({ units: 2 }));
    expect(model.layers.map(({ name }) => name)).toEqual(['lstm', 'dense']);
    expect(model.outputShape).toEqual([2]);
    expect(() => (model.layers as unknown[]).push(1)).toThrow('not extensible');
  });

  test('build proves the shape it is given', async () => {
    expect(await refusal(() => lazy().build([2, -1]))).toBe(
      'ERR_SHAPE build: inputShape: expected an array of positive integers or null, got [2, -1].',
    );
  });
});

describe('a layer is in one model', () => {
  const shared = () => {
    const layer = layers.dense({ units: 1 });
    const owner = sequential([layers.dense({ units: 3, inputShape: [3] }), layer], { seed: 1 });
    return { layer, owner };
  };

  test.each([
    ['fits', 3],
    ['does not fit', 5],
  ])('another one that it %s refuses it and leaves it untouched', async (_, units) => {
    const { layer, owner } = shared();
    const before = await owner.predict([[1, 2, 3]]);
    const other = () => sequential([layers.dense({ units, inputShape: [3] }), layer]);
    expect(await refusal(other)).toBe(
      "ERR_VALUE layer 'dense_1': expected a layer that is in no other model, got one that is. Make a new one for each model: weights cannot be shared between models.",
    );
    expect(owner.countParams()).toBe(16);
    expect(await owner.predict([[1, 2, 3]])).toEqual(before);
    await owner.save(file);
    expect([...(await (await loadModel(file)).getWeights()).keys()]).toContain('dense_1/kernel');
  });

  test('the same model refuses it a second time', async () => {
    const { layer, owner } = shared();
    expect(await refusal(() => owner.add(layer))).toBe(
      "ERR_VALUE layer 'dense_1': expected a layer that is not in the model yet, got the same layer again.",
    );
  });

  test('layers of a model that could not be made are free for another one, also their names', () => {
    const first = layers.dense({ units: 4, inputShape: [3] });
    const tooFlat = layers.lstm({ units: 2 });
    expect(() => sequential([first, tooFlat])).toThrow("layer 'lstm': expected a sequence");
    const model = sequential([
      layers.dense({ units: 5, inputShape: [2] }),
      layers.dense({ units: 3 }),
      first,
    ]);
    expect(model.layers.map(({ name }) => name)).toEqual(['dense', 'dense_1', 'dense_2']);
    expect(model.outputShape).toEqual([4]);
  });
});

test('every weight that is set is read by the next run, also one alone', async () => {
  const stack = (): Sequential =>
    sequential(
      [
        layers.gru({ units: 5, returnSequences: true, inputShape: [4, 3] }),
        layers.lstm({ units: 4 }),
        layers.dense({ units: 2 }),
      ],
      { seed: 1 },
    );
  const inputs = randomSequences(2, 4, 3, 1);
  const model = stack();
  await model.predict(inputs);
  for (const [name, weight] of await model.getWeights()) {
    const changed = tensor(
      Float32Array.from(weight.data, (v) => v + 0.5),
      weight.shape,
    );
    await model.setWeights({ [name]: changed });
    const fresh = stack();
    await fresh.setWeights(await model.getWeights());
    expect((await model.predict(inputs)).data).toEqual((await fresh.predict(inputs)).data);
  }
});

describe('calls that nobody waited for take effect in the order in which they were made', () => {
  const ones = tensor(new Float32Array(256).fill(1), [256, 1]);
  const zeros = tensor(new Float32Array(256), [256, 1]);
  const scaling = () =>
    sequential([layers.dense({ units: 1, useBias: false, inputShape: [1] })]).compile({
      loss: 'mse',
      optimizer: { type: 'sgd', learningRate: 0.5 },
    });
  const by = (factor: number) => ({ 'dense/kernel': tensor([[factor]]) });
  const seen = ({ data }: Tensor) => [...new Set(data)];
  // Several batches each; nested arrays of this length are read in slices.
  const nested = Array.from({ length: 300_000 }, () => [1]);

  test('setWeights, predict, evaluate and getWeights', async () => {
    const model = scaling();
    const done = [
      model.setWeights(by(2)),
      model.predict(nested, { batchSize: 50_000 }),
      model.evaluate(ones, zeros),
      model.setWeights(by(3)),
      model.predict(ones),
      model.getWeights(),
      model.setWeights(by(4)),
      model.predict(ones),
    ];
    const [, two, scores, , three, weights, , four] = await Promise.all(done);
    expect(seen(two as Tensor)).toEqual([2]);
    expect(scores).toEqual({ loss: 4 });
    expect(seen(three as Tensor)).toEqual([3]);
    expect(seen((weights as Map<string, Tensor>).get('dense/kernel') as Tensor)).toEqual([3]);
    expect(seen(four as Tensor)).toEqual([4]);
  });

  test('trainOnBatch and fit', async () => {
    const model = scaling();
    const all = { batchSize: 50_000 };
    // Half the gradient of w² takes any w to 0, exactly: 256 equal shares.
    const trained = await Promise.all([
      model.setWeights(by(2)),
      model.predict(nested, all),
      model.trainOnBatch(ones, zeros),
      model.predict(ones),
    ]);
    expect([trained[1], trained[3]].map(seen)).toEqual([[2], [0]]);
    const fitted = await Promise.all([
      model.setWeights(by(3)),
      model.predict(nested, all),
      model.fit(ones, zeros, { batchSize: 256 }),
    ]);
    expect(seen(fitted[1])).toEqual([3]);
    expect(seen(await model.predict(ones))).toEqual([0]);
  });

  test('a failed call holds up none behind it', async () => {
    const model = scaling();
    const failed = expect(model.predict(new Float32Array(3), {})).rejects.toThrow('predict: x');
    const set = model.setWeights(by(2));
    const two = model.predict(ones);
    await Promise.all([failed, set]);
    expect(seen(await two)).toEqual([2]);
  });

  test('a generator may wait for calls of the model that reads it', async () => {
    const model = scaling();
    const batches = async function* () {
      await model.setWeights(by(5));
      yield [ones] as const;
    };
    expect(seen(await model.predict(batches))).toEqual([5]);
  });
});
