import { type BatchGenerator, type Callback, layers, sequential } from '../../../lib';
import { refusal } from '../refusal';
import { randomSequences, smallModel, whichThird } from './data';

const x = randomSequences(20, 6, 4, 1);
const y = whichThird(x);
const compiled = () => smallModel(4).compile({ loss: 'sparseCategoricalCrossentropy' });
function* batches(count = Number.POSITIVE_INFINITY) {
  for (let i = 0; i < count; i++) yield [x, y] as const;
}
const never = new Promise<never>(() => undefined);

describe('a signal reaches a generator that does not answer', () => {
  const waits = async function* () {
    yield [x, y] as const;
    await never;
  };

  test.each<[string, (signal: AbortSignal) => Promise<unknown>]>([
    ['fit', (signal) => compiled().fit(waits, { signal })],
    ['fit', (signal) => compiled().fit(x, y, { signal, validationData: waits })],
    ['fit', (signal) => compiled().fit(() => never, { signal })],
    ['evaluate', (signal) => compiled().evaluate(waits, { signal })],
    ['predict', (signal) => compiled().predict(waits(), { signal })],
  ])('%s', async (call, work) => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    const settled = Promise.race([
      refusal(() => work(controller.signal)),
      new Promise((resolve) => setTimeout(resolve, 3000, 'never settled').unref()),
    ]);
    const caller = await settled;
    expect(caller).toMatch(new RegExp(`^ERR_ABORTED ${call}`));
    expect(caller).toContain('aborted by its signal; the model stays usable.');
  });

  test('and the model is free again', async () => {
    const model = compiled();
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 20);
    await model.fit(waits, { signal: controller.signal }).catch(() => undefined);
    await model.fit(x, y);
    expect(model.step).toBe(2);
  });
});

test('a generator is closed when enough of it was read', async () => {
  let closed = 0;
  const watched = function* () {
    try {
      yield* batches();
    } finally {
      closed++;
    }
  };
  await compiled().fit(watched, { epochs: 2, stepsPerEpoch: 2 });
  await compiled().predict(watched, { steps: 1 });
  expect(closed).toBe(3);
});

test('validation steps go on with the same iterator, epoch after epoch', async () => {
  const { epoch } = await compiled().fit(batches(), {
    epochs: 3,
    stepsPerEpoch: 2,
    validationData: batches(6),
    validationSteps: 2,
  });
  expect(epoch).toEqual([0, 1, 2]);
  expect(await refusal(() => compiled().fit(x, y, { epochs: 2, validationData: batches(2) }))).toBe(
    'ERR_VALUE fit: validationSteps: expected a number of batches for an iterator used in several validations, got nothing. Or pass a function that starts a new iterable.',
  );
});

test('an iterable that runs dry inside an epoch', async () => {
  expect(await refusal(() => compiled().fit(batches(5), { epochs: 2, stepsPerEpoch: 3 }))).toBe(
    'ERR_VALUE fit: generator: expected 3 batches (stepsPerEpoch) in epoch 1, got 2. Give epochs × stepsPerEpoch batches, or a function that starts a new iterable.',
  );
});

describe('a model without an input shape is built from the first batch', () => {
  const lazy = () =>
    sequential([layers.lstm({ units: 3 }), layers.dense({ units: 3, activation: 'softmax' })], {
      seed: 1,
    }).compile({ loss: 'sparseCategoricalCrossentropy' });

  test.each<[string, () => BatchGenerator]>([
    ['of a function', () => () => batches(2)],
    ['of an iterator', () => batches(4)],
    ['of a promise of an iterable', () => async () => batches(2)],
  ])('%s, which is trained on too', async (_, source) => {
    const model = lazy();
    await model.fit(source(), { epochs: 2, stepsPerEpoch: 2 });
    expect(model.inputShape).toEqual([6, 4]);
    expect(model.step).toBe(4);
  });

  test.each<[string, unknown, string, object?]>([
    ['a first batch of a wrong rank', [[[1, 2]], [0]], "ERR_SHAPE layer 'lstm'"],
    ['a first batch that is none', 5, 'ERR_VALUE fit: generator'],
    ['a misnamed part', { x, y, sampleWeigth: [1] }, 'ERR_VALUE fit: generator: unknown option'],
    ['a checkpoint that is not there', [x, y], 'ERR_FILE', { resumeFrom: '/nowhere/at/all' }],
  ])('%s closes the generator', async (_, batch, message, options = {}) => {
    for (const isFunction of [true, false]) {
      let closed = 0;
      const watched = function* () {
        try {
          for (;;) yield batch;
        } finally {
          closed++;
        }
      };
      const source = (isFunction ? watched : watched()) as BatchGenerator;
      const refused = await refusal(() => lazy().fit(source, { stepsPerEpoch: 2, ...options }));
      expect(refused).toContain(message);
      expect(closed).toBe(1);
    }
  });

  test('a signal that fires before the first batch has come does not wait for it', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 20);
    const waits = async function* () {
      await never;
      yield [x, y] as const;
    };
    expect(await refusal(() => lazy().fit(waits, { signal: controller.signal }))).toMatch(/^ERR_ABORTED/);
  });

  test('no batch', async () => {
    expect(await refusal(() => lazy().fit(() => batches(0)))).toBe(
      'ERR_VALUE fit: expected at least one batch, got none from the generator.',
    );
  });
});

test('what is no generator, and batches with a misnamed part', async () => {
  expect(await refusal(() => compiled().fit((async () => 5) as never))).toBe(
    'ERR_VALUE fit: generator: expected an iterable of batches, or a function that gives one, got 5.',
  );
  const misnamed = function* () {
    yield { x, y, sampleWeigth: [1] };
  };
  expect(await refusal(() => compiled().fit(misnamed as never))).toBe(
    "ERR_VALUE fit: generator: unknown option 'sampleWeigth'. Did you mean 'sampleWeight'?",
  );
});

test.each([
  ['fit', (options: object) => compiled().fit(() => batches(2), options)],
  ['evaluate', (options: object) => compiled().evaluate(() => batches(2), options)],
])('%s refuses sample weights beside a generator', async (call, work) => {
  expect(await refusal(() => work({ sampleWeight: [1] }))).toBe(
    `ERR_VALUE ${call}: sampleWeight: expected weights inside the batches when x is a generator, got sampleWeight.`,
  );
});

test('an error of onTrainEnd does not hide the one that ended the fit', async () => {
  const controller = new AbortController();
  const callback: Callback = {
    onBatchEnd: () => controller.abort(),
    onTrainEnd: () => {
      throw new Error('cannot close');
    },
  };
  const fit = () => compiled().fit(x, y, { batchSize: 5, signal: controller.signal, callbacks: [callback] });
  expect(await refusal(fit)).toBe('ERR_ABORTED fit: aborted by its signal; the model stays usable.');
});
