import { DeepRnnError, layers, loadModel, sequential, tensor } from '../../../lib';
import { randomSequences, smallModel, whichThird } from './data';

const x = randomSequences(20, 6, 4, 1);
const y = whichThird(x);
const compiled = () => smallModel().compile({ loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });

async function message(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    expect(error).toBeInstanceOf(DeepRnnError);
    return (error as Error).message;
  }
  throw new Error('nothing was refused');
}

describe('bad data', () => {
  test('ragged nested arrays', async () => {
    expect(await message(() => compiled().predict([[[1, 2], [3]]]))).toBe(
      'predict: x: ragged input: expected an array of length 2 at [0][1], got length 1. Pad sequences to one length with padSequences.',
    );
  });

  test('holes in nested arrays, which would move what stands behind them', async () => {
    const hole = 'nothing (a hole in the array)';
    // biome-ignore lint/suspicious/noSparseArray: the subject of the test
    const inRow = [[1, , 3] as number[], [4, 5, 6]];
    expect(await message(() => tensor(inRow))).toBe(
      `tensor: ragged input: expected a number at [0][1], got ${hole}.`,
    );
    // biome-ignore lint/suspicious/noSparseArray: the subject of the test
    expect(await message(() => tensor([, 2] as number[]))).toBe(
      `tensor: ragged input: expected a number at [0], got ${hole}.`,
    );
    // biome-ignore lint/suspicious/noSparseArray: the subject of the test
    const missingRow = [[1, 2], , [3, 4]] as number[][];
    expect(await message(() => tensor(missingRow))).toBe(
      `tensor: ragged input: expected an array of length 2 at [1], got ${hole}. Pad sequences to one length with padSequences.`,
    );
    expect(await message(() => tensor([[1, undefined as never]]))).toBe(
      'tensor: expected a number at [0][1], got undefined.',
    );
    expect(
      await message(() =>
        tensor([
          [1, 2],
          [3, [4]],
        ]),
      ),
    ).toBe('tensor: ragged input: expected a number at [1][1], got an array of length 1.');
    expect(
      Array.from(
        tensor(
          [
            [1, 2],
            [3, 4],
          ],
          undefined,
          'float64',
        ).data,
      ),
    ).toEqual([1, 2, 3, 4]);
  });

  test('wrong rank', async () => {
    expect(await message(() => compiled().fit(x.reshape([20, 24]), y))).toBe(
      "fit: x: expected shape [N, 6, 4] (input of layer 'lstm'), got [20, 24].",
    );
  });

  test('wrong number of features', async () => {
    expect(await message(() => compiled().predict(randomSequences(2, 6, 5, 1)))).toBe(
      "predict: x: expected shape [N, 6, 4] (input of layer 'lstm'), got [2, 6, 5].",
    );
  });

  test('a batch without examples', async () => {
    expect(await message(() => compiled().predict(tensor(new Float32Array(0), [0, 6, 4])))).toBe(
      'predict: x: expected at least one example and no empty axis, got shape [0, 6, 4].',
    );
  });

  test('labels outside the classes, with their place in the data set', async () => {
    const labels = Int32Array.from(y.data);
    labels[17] = 3;
    expect(await message(() => compiled().fit(x, tensor(labels), { batchSize: 4 }))).toBe(
      'fit: y: expected class indices from 0 to 2, got 3 at [17].',
    );
    labels[17] = -1;
    expect(await message(() => compiled().evaluate(x, tensor(labels), { batchSize: 4 }))).toBe(
      'evaluate: y: expected class indices from 0 to 2, got -1 at [17].',
    );
  });

  test('fractional labels', async () => {
    const labels = Float32Array.from(y.data);
    labels[2] = 0.5;
    expect(await message(() => compiled().fit(x, tensor(labels)))).toBe(
      'fit: y: expected whole numbers for dtype int32, got 0.5 at [2].',
    );
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])('%f in the input', async (bad) => {
    const values = Float32Array.from(x.data);
    values[(5 * 6 + 2) * 4 + 3] = bad;
    expect(await message(() => compiled().fit(tensor(values, x.shape), y, { batchSize: 7 }))).toBe(
      `fit: x: expected finite numbers (input of layer 'lstm'), got ${bad} at [5, 2, 3].`,
    );
  });

  test('NaN in the targets', async () => {
    const model = sequential([layers.dense({ units: 2, inputShape: [3] })]).compile({ loss: 'mse' });
    expect(await message(() => model.fit([[1, 2, 3]], [[1, Number.NaN]]))).toBe(
      'fit: y: expected finite numbers, got NaN at [0, 1].',
    );
  });

  test('one-hot targets for a sparse loss and the reverse are told apart', async () => {
    const oneHot = tensor(new Float32Array(60), [20, 3]);
    expect(await message(() => compiled().fit(x, oneHot))).toBe(
      'fit: y: expected shape [20] for sparseCategoricalCrossentropy, got [20, 3]. For one-hot targets use categoricalCrossentropy.',
    );
    const dense = smallModel().compile({ loss: 'categoricalCrossentropy' });
    expect(await message(() => dense.fit(x, y))).toBe(
      'fit: y: expected shape [20, 3] for categoricalCrossentropy, got [20]. For class indices use sparseCategoricalCrossentropy, or toCategorical(y).',
    );
  });

  test('another number of targets than inputs', async () => {
    expect(await message(() => compiled().fit(x, y.rows(0, 19)))).toBe(
      'fit: y: expected shape [20] for sparseCategoricalCrossentropy, got [19].',
    );
  });

  test('memory that was handed away while it was in use', async () => {
    const values = Float32Array.from(x.data);
    const give = { onBatchEnd: () => void structuredClone(values, { transfer: [values.buffer] }) };
    expect(
      await message(() => compiled().fit(tensor(values, x.shape), y, { batchSize: 5, callbacks: [give] })),
    ).toBe(
      'a tensor of shape [20, 6, 4]: expected its values, got memory of 0 values, because its buffer was transferred or resized while in use.',
    );
  });

  test('a batch too large for one array', async () => {
    const model = sequential([layers.dense({ units: 2 ** 20, kernelInitializer: 'zeros', inputShape: [1] })]);
    const many = tensor(new Float32Array(2 ** 14), [2 ** 14, 1]);
    expect(await message(() => model.predict(many, { batchSize: 2 ** 14 }))).toBe(
      "model 'sequential': expected batches whose arrays fit in memory, got y of shape [16384, 1048576]. Use a smaller batchSize.",
    );
  });

  test('sample weights that do not fit, or are negative', async () => {
    expect(await message(() => compiled().fit(x, y, { sampleWeight: [1, 2] }))).toBe(
      'fit: sampleWeight: expected shape [20], got [2].',
    );
    expect(await message(() => compiled().fit(x, y, { sampleWeight: new Float32Array(20).fill(-1) }))).toBe(
      'fit: sampleWeight: expected finite weights, 0 or more, got -1 at [0].',
    );
  });
});

describe('bad models', () => {
  test('predict before the model is built', async () => {
    const model = sequential([layers.lstm({ units: 3 })]);
    expect(await message(() => model.predict(x))).toBe(
      "predict: model 'sequential' has no weights yet. Give the first layer an inputShape, call build([timesteps, features]), or fit it first.",
    );
  });

  test('feature sizes that differ between layers', async () => {
    const work = () =>
      sequential([
        layers.lstm({ units: 8, returnSequences: true, inputShape: [6, 4] }),
        layers.gru({ units: 3, inputShape: [6, 4] }),
      ]);
    expect(await message(work)).toBe(
      "layer 'gru': expected inputs of shape [N, 6, 4], its inputShape, got [N, 6, 8] from below.",
    );
  });

  test('a recurrent layer above one that gives only its last step', async () => {
    const work = () => sequential([layers.lstm({ units: 8, inputShape: [6, 4] }), layers.gru({ units: 3 })]);
    expect(await message(work)).toBe(
      "layer 'gru': expected a sequence [N, T, features], got [N, 8]. When a recurrent layer is below, give it returnSequences: true.",
    );
  });

  test('units 0, fractional or missing', async () => {
    expect(await message(() => layers.lstm({ units: 0 }))).toBe(
      'layers.lstm: units: expected a positive integer, got 0.',
    );
    expect(await message(() => layers.dense({ units: 1.5, name: 'head' }))).toBe(
      "layer 'head': units: expected a positive integer, got 1.5.",
    );
    expect(await message(() => layers.gru({} as never))).toBe(
      'layers.gru: units: expected a positive integer, got undefined.',
    );
  });

  test('a layer too large for any memory', () => {
    expect(() => sequential([layers.lstm({ units: 200_000, inputShape: [4, 3] })])).toThrow(
      "layer 'lstm': expected weights of at most 2147483647 numbers each, got its recurrentKernel of shape [200000, 800000].",
    );
  });

  test('weights by position, and a missing file name', async () => {
    const model = sequential([layers.dense({ units: 2, inputShape: [3] })]);
    expect(await message(() => model.setWeights(model.getWeights() as never))).toBe(
      'setWeights: expected an object or Map by name (dense/kernel, dense/bias), got a promise. Await it first.',
    );
    for (const nothing of [{}, new Map()])
      expect(await message(() => model.setWeights(nothing))).toBe(
        'setWeights: expected an object or Map by name (dense/kernel, dense/bias), got an empty one.',
      );
    expect(await message(() => model.setWeights([new Float32Array(6)] as never))).toBe(
      'setWeights: expected an object or Map by name (dense/kernel, dense/bias), got [Float32Array(6)].',
    );
    expect(await message(() => model.save(undefined as never))).toBe(
      'save: path: expected a file name, got undefined.',
    );
    expect(await message(() => loadModel(''))).toBe("loadModel: path: expected a file name, got ''.");
  });

  test('a generator and targets beside it', async () => {
    const batches = function* () {
      yield [x, y] as const;
    };
    expect(await message(() => compiled().fit(batches as never, y as never, { epochs: 1 }))).toBe(
      'fit: y: expected none beside a generator, whose batches bring their own, got a Tensor.',
    );
  });

  test('targets of a cross-entropy that are no probabilities', async () => {
    const model = sequential([layers.dense({ units: 1, activation: 'sigmoid', inputShape: [1] })]);
    model.compile({ loss: 'binaryCrossentropy' });
    expect(await message(() => model.fit([[1], [2]], [[1], [5]]))).toBe(
      'fit: y: expected targets from 0 to 1 for binaryCrossentropy, got 5 at [1, 0].',
    );
  });

  test('an array that holds itself', async () => {
    const endless: unknown[] = [];
    endless.push(endless);
    expect(await message(() => compiled().predict(endless as never))).toBe(
      'predict: x: expected arrays nested at most 16 deep, got a deeper nesting.',
    );
  });

  test('a hook that nothing would ever call', async () => {
    const fit = (callback: object) => compiled().fit(x, y, { callbacks: [callback as never] });
    const hooks =
      'fit: callbacks: hook: expected one of onTrainBegin, onTrainEnd, onEpochBegin, onEpochEnd, onBatchBegin, ' +
      'onBatchEnd, onGradients, onEvaluateBegin, onEvaluateBatchEnd, onEvaluateEnd, ';
    expect(await message(() => fit({ on_epoch_end() {} }))).toBe(
      `${hooks}got 'on_epoch_end'. Did you mean 'onEpochEnd'?`,
    );
    expect(await message(() => fit({ onTrainBatchEnd() {} }))).toBe(
      `${hooks}got 'onTrainBatchEnd'. Did you mean 'onBatchEnd'?`,
    );
  });

  test('compile while another call is under way, which changes nothing', async () => {
    const model = compiled();
    const { optimizer, metrics } = model;
    const other = { loss: 'categoricalCrossentropy', optimizer: 'sgd', metrics: [] } as const;
    const targets = y.rows(0, 20);
    for (const [name, call] of [
      ['predict', () => model.predict(x)],
      ['evaluate', () => model.evaluate(x, targets, { batchSize: 3 })],
      ['computeGradients', () => model.computeGradients(x, targets)],
      ['a call that reads or writes its arrays', () => model.getWeights()],
      ['fit', () => model.fit(x, targets)],
    ] as const) {
      const running = call();
      expect(await message(() => model.compile(other))).toBe(
        `compile: model 'sequential' is in ${name}. Wait for its promise first.`,
      );
      await running;
      expect(model.optimizer).toBe(optimizer);
    }
    const step = model.step;
    await message(() => model.compile({ ...other, metrics: ['acuracy'] }));
    await message(() => model.compile({ ...other, device: 'tpu' }));
    await message(() => model.compile({ ...other, device: 'cpu', precision: 'tf32' }));
    expect(model.optimizer).toBe(optimizer);
    expect(model.metrics).toBe(metrics);
    expect(model.step).toBe(step);
    expect(Object.keys(await model.evaluate(x, targets))).toEqual(['loss', 'accuracy']);
    expect(model.compile(other).optimizer.type).toBe('sgd');
  });

  test('gradients of another batch than a stateful model carries', async () => {
    const model = sequential([
      layers.gru({ units: 3, stateful: true, batchInputShape: [4, 6, 4] }),
      layers.dense({ units: 3, activation: 'softmax' }),
    ]).compile({ loss: 'sparseCategoricalCrossentropy' });
    await model.trainOnBatch(x.rows(0, 4), y.rows(0, 4));
    expect(await message(() => model.computeGradients(x.rows(0, 5), y.rows(0, 5)))).toBe(
      'computeGradients: x: expected batches of exactly 4 examples (a stateful model), got 5. Set batchSize and drop or pad the rest.',
    );
  });

  test.each([
    ['fit: shuffle', { shuffle: 'false' }, 'true or false', "'false'"],
    ['fit: seed', { seed: -1 }, 'an integer from 0 to 2^53-1', '-1'],
    ['fit: validationSteps', { validationSteps: 0 }, 'a positive integer', '0'],
    ['fit: validationSteps', { validationSteps: 'a' }, 'a positive integer', "'a'"],
    ['fit: validationBatchSize', { validationBatchSize: 0 }, 'a positive integer', '0'],
    ['evaluate: steps', { steps: 0 }, 'a positive integer', '0'],
    ['predict: steps', { steps: -1 }, 'a positive integer', '-1'],
  ])('%s %j', async (subject, options, wanted, got) => {
    const calls: Record<string, () => unknown> = {
      fit: () => compiled().fit(x, y, options as never),
      evaluate: () => compiled().evaluate(x, y, options as never),
      predict: () => compiled().predict(x, options as never),
    };
    const call = calls[subject.split(':')[0] as string] as () => unknown;
    expect(await message(call)).toBe(`${subject}: expected ${wanted}, got ${got}.`);
  });

  test('a limit of batches holds for data in memory, and callbacks are told of it', async () => {
    const told: (number | null)[] = [];
    const asking = { onEvaluateBegin: (steps: number | null) => void told.push(steps) };
    const model = compiled();
    const options = { batchSize: 3, steps: 2 };
    expect((await model.predict(x, options)).shape).toEqual([6, 3]);
    const part = await model.evaluate(x, y, { ...options, callbacks: [asking] });
    expect(part).toEqual(await model.evaluate(x.rows(0, 6), y.rows(0, 6), { batchSize: 3 }));
    await model.fit(x, y, {
      validationData: [x, y],
      validationBatchSize: 4,
      validationSteps: 3,
      callbacks: [asking],
    });
    await model.evaluate(x, y, { batchSize: 3, callbacks: [asking] });
    expect(told).toEqual([2, 3, 7]);
  });

  test('more threads than there can be', async () => {
    expect(await message(() => smallModel().compile({ loss: 'mse', threads: 2000 }))).toBe(
      'compile: threads: expected an integer from 1 to 1024, got 2000.',
    );
  });

  test('fit before compile', async () => {
    expect(await message(() => smallModel().fit(x, y))).toBe(
      "fit: model 'sequential' is not compiled. Call compile({ loss, optimizer }) first.",
    );
  });

  test('unknown names, with the nearest known one', async () => {
    expect(await message(() => smallModel().compile({ loss: 'meanSquareError' as never }))).toContain(
      "Did you mean 'meanSquaredError'?",
    );
    expect(await message(() => smallModel().compile({ loss: 'mse', optimizer: 'adm' as never }))).toContain(
      "Did you mean 'adam'?",
    );
    expect(await message(() => layers.dense({ units: 2, activation: 'softmx' as never }))).toContain(
      "Did you mean 'softmax'?",
    );
  });

  test('an unknown device', async () => {
    expect(await message(() => smallModel().compile({ loss: 'mse', device: 'gpu' }))).toBe(
      "device: expected 'cpu', 'cuda', 'cuda:<number or UUID>' or 'reference', got 'gpu'.",
    );
  });

  test('a stateful model with another batch size', async () => {
    const model = sequential([layers.lstm({ units: 3, stateful: true, batchInputShape: [4, 6, 4] })]);
    expect(await message(() => model.predict(x.rows(0, 3)))).toBe(
      'predict: x: expected batches of exactly 4 examples (a stateful model), got 3. Set batchSize and drop or pad the rest.',
    );
  });

  test('use after dispose', async () => {
    const model = compiled();
    model.dispose();
    expect(await message(() => model.predict(x))).toBe("model 'sequential': it has been disposed.");
  });
});
