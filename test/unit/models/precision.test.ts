import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type CompileOptions,
  devices,
  layers,
  loadModel,
  type Model,
  sequential,
  type Tensor,
  tensor,
} from '../../../lib';
import { refusal } from '../refusal';
import { randomSequences, smallModel, whichThird } from './data';

const compile = (model: Model<Tensor>, precision?: CompileOptions['precision']) =>
  model.compile({
    loss: 'sparseCategoricalCrossentropy',
    optimizer: { type: 'adam', learningRate: 0.02 },
    metrics: ['accuracy'],
    device: 'cpu',
    ...(precision ? { precision } : {}),
  });
const x = randomSequences(60, 6, 4, 1);
const y = whichThird(x);
const predicted = async (model: Model<Tensor>) => Array.from((await model.predict(x)).data);
const largestDifference = (a: number[], b: number[]) =>
  Math.max(...a.map((v, i) => Math.abs(v - (b[i] as number))));

test('compiling again changes the precision, not the weights', async () => {
  const model = compile(smallModel(3));
  await model.fit(x, y, { epochs: 5 });
  const [weights, exact] = [await model.getWeights(), await predicted(model)];
  for (const [precision, most] of [
    ['bf16', 2e-2],
    ['int8', 5e-2],
  ] as const) {
    const rounded = await predicted(compile(model, precision));
    const difference = largestDifference(rounded, exact);
    expect(difference).toBeGreaterThan(0);
    expect(difference).toBeLessThan(most);
    expect(await model.getWeights()).toEqual(weights);
  }
  expect(await predicted(compile(model, 'fp32'))).toEqual(exact);
});

test('a saved model holds float32 weights, whatever it was trained and predicted in', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-'));
  try {
    const file = path.join(folder, 'model.safetensors');
    const model = compile(smallModel(3), 'bf16');
    await model.fit(x, y, { epochs: 2 });
    const weights = await model.getWeights();
    // More digits than a bfloat16 has.
    expect([...weights.values()].some(({ data }) => Array.from(data).some((v) => fractionBits(v) > 8))).toBe(
      true,
    );
    await compile(model, 'int8').save(file);
    const again = await loadModel(file);
    expect(await again.getWeights()).toEqual(weights);
    expect(await predicted(compile(again, 'bf16'))).toEqual(await predicted(compile(model, 'bf16')));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Bits that the fraction of a float32 needs. */
function fractionBits(v: number): number {
  const bits = new Uint32Array(new Float32Array([v]).buffer)[0] as number;
  for (let n = 23; n > 0; n--) if ((bits >>> (23 - n)) & 1) return n;
  return 0;
}

test('bf16 needs no scaling of the loss: gradients far below the smallest number of fp16 lose nothing', async () => {
  const gradients = async (lossWeight: number) => {
    const model = smallModel(3).compile({
      loss: 'sparseCategoricalCrossentropy',
      lossWeights: [lossWeight],
      device: 'cpu',
      precision: 'bf16',
    });
    return (await model.computeGradients(x, y)).gradients;
  };
  const scale = 2 ** -60;
  const [whole, small] = [await gradients(1), await gradients(scale)];
  for (const [name, { data }] of whole) {
    expect(data.some((g) => g !== 0)).toBe(true);
    for (const [i, g] of data.entries()) expect((small.get(name)?.data[i] as number) / scale).toBe(g);
  }
});

test('training in bf16 comes as far as in float32', async () => {
  const [exact, rounded] = await Promise.all(
    (['fp32', 'bf16'] as const).map(async (precision) => {
      const model = compile(smallModel(3), precision);
      const { history } = await model.fit(x, y, { epochs: 30, batchSize: 20, seed: 1 });
      return history['loss'] as number[];
    }),
  );
  const last = (losses: number[] | undefined) => losses?.at(-1) as number;
  expect(last(exact)).toBeLessThan(0.5 * (exact?.[0] as number));
  expect(Math.abs(last(rounded) / last(exact) - 1)).toBeLessThan(0.1);
});

test('int8 evaluates and predicts, and refuses what needs gradients', async () => {
  const model = compile(smallModel(3), 'int8');
  expect(Object.keys(await model.evaluate(x, y))).toEqual(['loss', 'accuracy']);
  const { train, precision } = await model.profile({ repeats: 1 });
  expect([train, precision]).toEqual([undefined, 'int8']);
  for (const [name, call] of [
    ['fit', () => model.fit(x, y)],
    ['trainOnBatch', () => model.trainOnBatch(x, y)],
    ['computeGradients', () => model.computeGradients(x, y)],
  ] as const) {
    expect(await refusal(call)).toBe(
      `ERR_STATE ${name}: precision: expected one that has gradients, got 'int8'. Train in 'fp32' or 'bf16', then compile again with 'int8' to predict and evaluate.`,
    );
  }
});

test('devices() says what each engine has', () => {
  expect(devices().find(({ device }) => device === 'cpu')?.precisions).toEqual(['fp32', 'bf16', 'int8']);
});

test('a precision that is not there is refused with those that are', async () => {
  const model = smallModel(3);
  expect(await refusal(() => compile(model, 'fp16' as 'bf16'))).toBe(
    "ERR_VALUE compile: precision: expected 'fp32', 'tf32', 'bf16' or 'int8', got 'fp16'.",
  );
  expect(await refusal(() => compile(model, 'tf32'))).toBe(
    "ERR_VALUE precision: expected 'fp32', 'bf16' or 'int8' on device 'cpu', got 'tf32'.",
  );
});

test('what overflows is never predicted as a number', async () => {
  for (const precision of ['fp32', 'bf16', 'int8'] as const) {
    const model = sequential([layers.dense({ units: 2, useBias: false, inputShape: [3] })], { seed: 1 });
    const kernel = tensor(Float32Array.of(3e38, 1, 3e38, 1, 3e38, 1), [3, 2]);
    await model.setWeights({ 'dense/kernel': kernel });
    model.compile({ loss: 'mse', device: 'cpu', precision });
    const out = (await model.predict(tensor(Float32Array.of(2, 2, 2), [1, 3]))).data;
    expect(out[0]).toBe(Number.POSITIVE_INFINITY);
    expect(out[1]).toBeCloseTo(6, 1);
  }
});
