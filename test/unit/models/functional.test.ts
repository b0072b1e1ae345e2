import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  Functional,
  input,
  layers,
  loadModel,
  model,
  modelFromConfig,
  type SymbolicTensor,
  tensor,
} from '../../../lib';
import { lower } from '../../../lib/models/lower';
import { refusal } from '../refusal';
import { near, randomSequences, whichThird } from './data';

const [N, T, D] = [12, 6, 4];
const x = randomSequences(N, T, D, 1);
const y = whichThird(x);
const compile = (device: string) =>
  ({ loss: 'sparseCategoricalCrossentropy', optimizer: 'adam', device, metrics: ['accuracy'] }) as const;
const sequence = <O extends object>(options: O) => ({ returnSequences: true, ...options });

/** Two recurrent layers with a residual connection around the upper one, and the mean of the lower one's steps beside its last. */
function branching(seed = 3, dropout = 0): Functional {
  const source = input({ shape: [null, D], name: 'series' });
  const lower = layers.lstm(sequence({ units: 5, dropout })).apply(source);
  const upper = layers.gru(sequence({ units: 5 })).apply(lower);
  const last = layers.simpleRNN({ units: 4 }).apply(layers.add().apply([lower, upper]));
  const mean = layers.globalAveragePooling1D().apply(lower);
  const both = layers.concatenate().apply([last, mean]);
  return model({
    inputs: source,
    outputs: layers.dense({ units: 3, activation: 'softmax' }).apply(both),
    seed,
  });
}

/** Loss after one weight is moved by `by`. */
async function lossAt(net: Functional, name: string, index: number, by: number): Promise<number> {
  const weights = await net.getWeights();
  const moved = new Map([...weights].map(([key, { data, shape }]) => [key, { data: data.slice(), shape }]));
  const { data, shape } = moved.get(name) as { data: Float64Array; shape: number[] };
  data[index] = (data[index] as number) + by;
  await net.setWeights({ [name]: { data, shape } } as never);
  const { loss } = await net.evaluate(x, y, { batchSize: N });
  await net.setWeights(weights);
  return loss;
}

/** Proves gradients of some elements of every weight by central differences of the reference. */
async function proveGradients(net: Functional): Promise<void> {
  const { gradients } = await net.computeGradients(x, y);
  expect(gradients.size).toBeGreaterThan(0);
  for (const [name, { data }] of gradients) {
    for (const index of [0, Math.floor(data.length / 2), data.length - 1]) {
      const h = 1e-4;
      const slope = ((await lossAt(net, name, index, h)) - (await lossAt(net, name, index, -h))) / (2 * h);
      expect(Math.abs(slope - (data[index] as number))).toBeLessThan(2e-6);
    }
  }
}

test('branches and a residual connection: outputs and gradients of cpu are those of the reference, which are right', async () => {
  const exact = branching().compile(compile('reference'));
  const fast = branching().compile(compile('cpu'));
  near(await fast.predict(x), await exact.predict(x));
  const found = (await fast.computeGradients(x, y)).gradients;
  for (const [name, gradient] of (await exact.computeGradients(x, y)).gradients) {
    const own = found.get(name);
    expect(own?.shape).toEqual(gradient.shape);
    for (const [i, g] of gradient.data.entries())
      expect(Math.abs((own?.data[i] as number) - g)).toBeLessThan(1e-6);
  }
  await proveGradients(exact);
});

test('a residual connection is what its parts give when they are asked one by one', async () => {
  const source = input({ shape: [T, D] });
  const below = layers.lstm(sequence({ units: D, name: 'below' })).apply(source);
  const whole = model({ inputs: source, outputs: layers.average().apply([below, source, below]) });
  const other = input({ shape: [T, D] });
  const part = model({
    inputs: other,
    outputs: layers.lstm(sequence({ units: D, name: 'below' })).apply(other),
  });
  await part.setWeights(await whole.getWeights());
  const [all, own] = [await whole.predict(x), await part.predict(x)];
  for (const [i, v] of all.data.entries())
    expect(v).toBeCloseTo((2 * (own.data[i] as number) + (x.data[i] as number)) / 3, 5);
});

test.each([
  ['subtract', (a: number, b: number) => a - b],
  ['multiply', (a: number, b: number) => a * b],
  ['add', (a: number, b: number) => a + b],
  ['average', (a: number, b: number) => (a + b) / 2],
] as const)('%s', async (kind, rule) => {
  const source = input({ shape: [T, D] });
  const a = layers.activation({ activation: 'tanh' }).apply(source);
  const net = model({ inputs: source, outputs: layers[kind]().apply([a, source]) });
  const { data } = await net.predict(x);
  for (const [i, v] of data.entries())
    expect(v).toBeCloseTo(rule(Math.tanh(x.data[i] as number), x.data[i] as number), 5);
});

describe('a layer that is used twice', () => {
  const twice = (device: string, dropout = 0) => {
    const source = input({ shape: [T, D] });
    const shared = layers.lstm(sequence({ units: D, dropout, name: 'shared' }));
    const head = layers.dense({ units: 3, activation: 'softmax' });
    const above = layers.flatten().apply(shared.apply(shared.apply(source)));
    return model({ inputs: source, outputs: head.apply(above), seed: 4 }).compile(compile(device));
  };

  test('has one set of weights, and the sum of the gradients of both uses', async () => {
    const net = twice('reference');
    expect([...(await net.getWeights()).keys()]).toEqual([
      'shared/kernel',
      'shared/recurrentKernel',
      'shared/bias',
      'dense/kernel',
      'dense/bias',
    ]);
    await proveGradients(net);
    near(await twice('cpu').predict(x), await net.predict(x));
  });

  test('draws a mask for each use', () => {
    const { plan } = lower(twice('cpu', 0.5).recipe(), {
      mode: 'train',
      inputShape: [N, T, D],
      weighted: false,
      initialStates: [],
      gradientNorms: false,
    });
    const streams = plan.ops.flatMap((op) =>
      op.kind === 'rnnStack' ? op.attrs.layers.map(({ inputDropout }) => inputDropout.stream) : [],
    );
    expect(streams).toHaveLength(2);
    expect(new Set(streams).size).toBe(2);
  });
});

test('recurrent layers of a branching model are one fused stack, as far as they are a chain', () => {
  const { plan } = lower(branching().compile(compile('cpu')).recipe(), {
    mode: 'train',
    inputShape: [N, T, D],
    weighted: false,
    initialStates: [],
    gradientNorms: false,
  });
  const stacks = plan.ops.flatMap((op) =>
    op.kind === 'rnnStack' ? [op.attrs.layers.map(({ name }) => name)] : [],
  );
  expect(stacks).toEqual([['lstm', 'gru'], ['simpleRNN']]);
});

describe('files', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-functional-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  test('a model is saved and loaded with its connections, compiled, and goes on the same', async () => {
    const net = branching(5, 0.3).compile(compile('cpu'));
    await net.fit(x, y, { epochs: 2, batchSize: 5 });
    const file = path.join(folder, 'model.safetensors');
    await net.save(file, { includeOptimizer: true });
    const again = await loadModel(file);
    expect(again).toBeInstanceOf(Functional);
    expect(again.getConfig()).toEqual(net.getConfig());
    expect(await again.predict(x)).toEqual(await net.predict(x));
    const after = { epochs: 3, batchSize: 5, initialEpoch: 2 };
    expect((await again.fit(x, y, after)).history).toEqual((await net.fit(x, y, after)).history);
  });

  test('modelFromConfig makes the same model with weights of the same seed', async () => {
    const net = branching(6);
    const again = modelFromConfig(JSON.parse(JSON.stringify(net.getConfig())));
    expect(await again.predict(x)).toEqual(await net.predict(x));
  });
});

test('lengths and masks reach every branch', async () => {
  const lengths = Array.from({ length: N }, (_, n) => 1 + (n % T));
  const net = branching();
  const whole = await net.predict(x, { lengths });
  const cutOff = x.data.slice();
  for (const [n, length] of lengths.entries()) cutOff.fill(7, (n * T + length) * D, (n + 1) * T * D);
  // What padding holds makes no difference.
  near(await net.predict(tensor(cutOff, [N, T, D]), { lengths }), whole);
});

test('a live sequence goes through a branching model', async () => {
  const source = input({ shape: [null, D] });
  const lower = layers.lstm(sequence({ units: 5 })).apply(source);
  const upper = layers.gru(sequence({ units: 5 })).apply(lower);
  const net = model({ inputs: source, outputs: layers.add().apply([lower, upper]) });
  const all = await net.predict(x.rows(0, 1));
  const stream = await net.stream();
  for (let t = 0; t < T; t++)
    expect(stream.stepSync(x.data.subarray(t * D, (t + 1) * D) as Float32Array)).toEqual(
      all.data.subarray(t * 5, (t + 1) * 5),
    );
});

describe('refusals', () => {
  const source = input({ shape: [T, D], name: 'series' });
  const out = (units = 3): SymbolicTensor => layers.dense({ units, name: 'head' }).apply(source);
  test.each<[string, () => unknown, string]>([
    [
      'an input that is not given',
      () => model({ inputs: input({ shape: [2] }), outputs: out() }),
      "ERR_VALUE model: inputs: expected all inputs that the outputs are made from, got none of input 'series'.",
    ],
    [
      'an input in the middle',
      () => {
        const middle = out();
        return model({ inputs: middle, outputs: layers.flatten().apply(middle) });
      },
      "ERR_VALUE model: inputs[0]: expected what input({ shape }) gave, got the output of layer 'head'.",
    ],
    [
      'no layers',
      () => model({ inputs: source, outputs: source }),
      'ERR_VALUE model: expected at least one layer between inputs and outputs, got none.',
    ],
    [
      'shapes that do not fit, when the layer is applied',
      () => layers.add({ name: 'sum' }).apply([out(), source]),
      "ERR_SHAPE layer 'sum': expected inputs of one shape, got [N, 6, 3], [N, 6, 4].",
    ],
    [
      'one input of a merge',
      () => layers.concatenate().apply(source),
      'ERR_VALUE layers.concatenate: expected 2 inputs or more, got 1. Use it in a model: layers.concatenate().apply([a, b]).',
    ],
    [
      'several inputs of a layer that reads one',
      () => layers.lstm({ units: 2 }).apply([source, source]),
      'ERR_VALUE layers.lstm: expected one input, got 2.',
    ],
    [
      'what is no symbolic tensor',
      () => layers.lstm({ units: 2 }).apply(x as never),
      "ERR_VALUE layers.lstm: apply: expected what input({ shape }) or a layer's apply gives, one or an array of them, got a Tensor.",
    ],
    [
      'a layer of another model',
      () => {
        const shared = layers.dense({ units: 2, name: 'mine' });
        model({ inputs: source, outputs: shared.apply(source) });
        return model({ inputs: source, outputs: shared.apply(source) });
      },
      "ERR_VALUE layer 'mine': expected a layer that is in no other model, got one that is. Make a new one for each model: weights cannot be shared between models.",
    ],
    [
      'two layers of one name',
      () => model({ inputs: source, outputs: layers.dense({ units: 2, name: 'head' }).apply(out()) }),
      "ERR_VALUE layer 'head': expected a name of its own in the model, got a name that another layer has.",
    ],
    [
      'a configuration that points nowhere',
      () => modelFromConfig({ ...branching().getConfig(), outputs: [[40, 0]] } as never),
      'ERR_VALUE modelFromConfig: outputs: expected [value, output] of one before it, got [40, 0].',
    ],
  ])('%s', async (_, work, message) => {
    expect(await refusal(work)).toBe(message);
  });
});
