import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { callbacks, loadModel, optimizers, type Tensor } from '../../../lib';
import { refusal } from '../refusal';
import { randomSequences, smallModel, whichThird } from './data';

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-groups-'));
afterAll(() => rmSync(folder, { recursive: true }));
const x = randomSequences(12, 6, 4, 1);
const y = whichThird(x);

/** lstm → gru → dense, whose weights are `lstm/kernel` … `dense/bias`. */
const compiled = (optimizer: object, device = 'reference') =>
  smallModel(4).compile({
    loss: 'sparseCategoricalCrossentropy',
    optimizer: { type: 'sgd', learningRate: 0.1, ...optimizer } as never,
    device,
  });

/** What one step changes of each weight. */
async function moved(optimizer: object, device?: string): Promise<Map<string, number[]>> {
  const model = compiled(optimizer, device);
  const before = await model.getWeights();
  await model.trainOnBatch(x, y);
  const after = await model.getWeights();
  return new Map(
    [...before].map(([name, { data }]) => [
      name,
      Array.from(data, (v, i) => ((after.get(name) as Tensor).data[i] as number) - v),
    ]),
  );
}

describe.each(['reference', 'cpu'])('groups on %s', (device) => {
  test('have a rate that is a factor of the others’, under one clip of all gradients', async () => {
    const plain = await moved({ globalClipNorm: 0.05 }, device);
    const paramGroups = [
      { match: 'gru', learningRateFactor: 0 },
      { match: '*/recurrentKernel', learningRateFactor: 4 },
      { match: [/^dense\/(KERNEL|bias)$/i, 'nothing*'], learningRateFactor: 0.5 },
    ];
    const grouped = await moved({ globalClipNorm: 0.05, paramGroups }, device);
    const factors = (name: string) =>
      name.startsWith('gru/')
        ? 0
        : name.endsWith('recurrentKernel')
          ? 4
          : name.startsWith('dense/')
            ? 0.5
            : 1;
    expect([...grouped.keys()].map(factors).sort()).toEqual([0, 0, 0, 0.5, 0.5, 1, 1, 4]);
    for (const [name, steps] of grouped) {
      expect(plain.get(name)?.some((v) => Math.abs(v) > 1e-6)).toBe(true);
      steps.forEach((step, i) => {
        expect(Math.abs(step - factors(name) * (plain.get(name)?.[i] as number))).toBeLessThan(2e-7);
      });
    }
  });

  test('a weight decay is one of biases too where the optimizer says so', async () => {
    const [none, decayed] = [
      await moved({}, device),
      await moved({ weightDecay: 0.2, decayBiases: true }, device),
    ];
    const weights = await compiled({}, device).getWeights();
    for (const [name, steps] of decayed)
      for (const [i, step] of steps.entries()) {
        const before = (weights.get(name) as Tensor).data[i] as number;
        expect(step - (none.get(name)?.[i] as number)).toBeCloseTo(-0.1 * 0.2 * before, 6);
      }
    expect([...weights.keys()].some((name) => name.endsWith('bias'))).toBe(true);
  });

  test('have a weight decay of their own, of every weight that they match; that of the optimizer leaves biases alone', async () => {
    const rate = 0.1;
    const paramGroups = [
      { match: 'dense', weightDecay: 0 },
      { match: 'gru', weightDecay: 0.5, learningRateFactor: 2 },
    ];
    const [none, decayed] = [await moved({}, device), await moved({ weightDecay: 0.2, paramGroups }, device)];
    const start = await compiled({}, device).getWeights();
    for (const [name, steps] of decayed) {
      const [factor, decay] = name.startsWith('gru/')
        ? [2, 0.5]
        : name.startsWith('dense/')
          ? [1, 0]
          : [1, 0.2];
      const own = name.endsWith('bias') && !name.startsWith('gru/') ? 0 : decay;
      steps.forEach((step, i) => {
        const before = (start.get(name) as Tensor).data[i] as number;
        const wanted = factor * (none.get(name)?.[i] as number) - rate * factor * own * before;
        expect(Math.abs(step - wanted)).toBeLessThan(2e-7);
      });
    }
  });
});

test.each([
  'adam',
  'adamax',
  'nadam',
  'rmsprop',
  'adagrad',
  'lion',
  'adadelta',
  'adafactor',
  'ftrl',
] as const)('a factor of %s is a factor of its rate', async (type) => {
  // ftrl's weights are made anew, the rate and all.
  const paramGroups = [{ match: 'dense', learningRateFactor: 0.25 }];
  const grouped = await moved({ type, learningRate: 0.02, paramGroups });
  const [full, quarter] = [
    await moved({ type, learningRate: 0.02 }),
    await moved({ type, learningRate: 0.005 }),
  ];
  for (const [name, steps] of grouped) {
    const wanted = (name.startsWith('dense/') ? quarter : full).get(name) as number[];
    steps.forEach((step, i) => {
      expect(step).toBeCloseTo(wanted[i] as number, 12);
    });
  }
});

test('are saved with the model, and training that is resumed goes on with the same bits', async () => {
  const optimizer = optimizers.adamw({
    learningRate: 0.02,
    globalClipNorm: 1,
    paramGroups: [{ match: ['lstm', /kernel$/], learningRateFactor: 0.3, weightDecay: 0.1 }],
  });
  const start = () => compiled(optimizer.getConfig(), 'cpu');
  const whole = start();
  await whole.fit(x, y, { epochs: 3, batchSize: 4, verbose: 0 });
  const file = path.join(folder, 'checkpoint');
  await start().fit(x, y, {
    epochs: 2,
    batchSize: 4,
    verbose: 0,
    callbacks: [callbacks.modelCheckpoint({ path: file })],
  });
  const resumed = start();
  await resumed.fit(x, y, { epochs: 3, batchSize: 4, verbose: 0, resumeFrom: file });
  expect(await resumed.getWeights()).toEqual(await whole.getWeights());
  const saved = path.join(folder, 'saved.safetensors');
  await whole.save(saved);
  const again = await loadModel(saved);
  expect(again.optimizer.getConfig()).toEqual(optimizer.getConfig());
  expect(again.optimizer.getConfig()['paramGroups']).toEqual([
    { match: ['lstm', '/kernel$/'], learningRateFactor: 0.3, weightDecay: 0.1 },
  ]);
});

test.each([
  [{}, 'paramGroups: expected an array of groups, got an object.'],
  [['lstm'], "paramGroups[0]: expected { match, learningRateFactor, weightDecay }, got 'lstm'."],
  [[{}], 'paramGroups[0]: match: expected a pattern of names, or a list of patterns, got undefined.'],
  [[{ match: [] }], 'paramGroups[0]: match: expected a pattern of names, or a list of patterns, got [].'],
  [[{ match: '/(/' }], "paramGroups[0]: match: expected a regular expression, got '/(/'."],
  [
    [{ match: 'lstm' }, { match: 'gru', learningRateFactor: -1 }],
    'paramGroups[1]: learningRateFactor: expected a finite number, 0 or more, got -1.',
  ],
  [
    [{ match: 'lstm', weightDecay: '1' }],
    "paramGroups[0]: weightDecay: expected a finite number, 0 or more, got '1'.",
  ],
  [
    [{ match: 'lstm', learningRate: 0.1 }],
    "paramGroups[0]: unknown option 'learningRate'. Did you mean 'learningRateFactor'?",
  ],
])('%j is refused', async (paramGroups, message) => {
  expect(await refusal(() => optimizers.sgd({ paramGroups } as never))).toBe(
    `ERR_VALUE optimizers.sgd: ${message}`,
  );
});

test('a group that no weight is in is refused, with the names that there are', async () => {
  const model = compiled({ paramGroups: [{ match: 'gru' }, { match: 'ltsm*/kernel' }] });
  expect(await refusal(() => model.trainOnBatch(x, y))).toBe(
    "ERR_VALUE optimizers.sgd: paramGroups[1]: match: expected the name of a weight, got 'ltsm*/kernel'. The model has lstm/kernel, lstm/recurrentKernel, lstm/bias, gru/kernel, gru/recurrentKernel, gru/bias, dense/kernel, dense/bias.",
  );
});
