import { readdirSync, readFileSync } from 'node:fs';
import {
  type Layer,
  layers,
  type ModelStream,
  type Sequential,
  type StreamOptions,
  sequential,
  type Tensor,
  tensor,
} from '../../../lib';
import { Philox } from '../../../lib/tensors/random';
import { refusal } from '../refusal';
import { randomSequences } from './data';

const T = 7;
const D = 5;
const native = process.env['DEEPRNN_DEVICE'] ?? 'cpu';

/** What a step gave is what predict gives: the same bits, but on CUDA, where products of whole sequences are summed in another order. */
function same(step: Float32Array | Float64Array, predicted: ArrayLike<number>): void {
  if (native.startsWith('cuda')) {
    expect(step).toHaveLength(predicted.length);
    step.forEach((v, i) => {
      expect(Math.abs(v - (predicted[i] as number))).toBeLessThan(1e-5);
    });
  } else {
    expect([...step]).toEqual(Array.from(predicted));
  }
}

/** Step t of sequences `[N, T, …]`, flat. */
function at(x: Tensor, t: number): Float32Array {
  const [count, steps] = x.shape as [number, number];
  const width = x.size / (count * steps);
  const rows = Array.from({ length: count }, (_, n) =>
    x.data.subarray((n * steps + t) * width, (n * steps + t + 1) * width),
  );
  return Float32Array.from(rows.flatMap((row) => [...row]));
}

/** Weights of which none are zero, biases and learned states among them. */
async function spread(model: Sequential, seed = 1): Promise<Sequential> {
  const random = new Philox(seed, 5);
  const weights = await model.getWeights();
  await model.setWeights(
    new Map(
      [...weights].map(([name, { shape, size }]) => [
        name,
        tensor(
          Float32Array.from({ length: size }, () => random.nextNormal() / 2),
          shape,
        ),
      ]),
    ),
  );
  return model;
}

/** A model of sequences `[N, T, 5]` with weights of its own. */
function made(stack: Layer[], device = native): Promise<Sequential> {
  return spread(sequential(stack, { seed: 3 }).compile({ loss: 'mse', optimizer: 'sgd', device }));
}

const first = { returnSequences: true, inputShape: [null, D] } as const;
const small = (device = native) =>
  made([layers.lstm({ units: 6, ...first }), layers.gru({ units: 3, returnSequences: true })], device);

const stacks: Record<string, () => Layer[]> = {
  simpleRNN: () => [layers.simpleRNN({ units: 9, ...first })],
  'simpleRNN without bias': () => [
    layers.simpleRNN({ units: 9, useBias: false, activation: 'relu', ...first }),
  ],
  lstm: () => [layers.lstm({ units: 9, ...first })],
  'lstm of other activations': () => [
    layers.lstm({ units: 9, activation: 'silu', recurrentActivation: 'hardSigmoid', ...first }),
  ],
  'lstm with cellClip': () => [layers.lstm({ units: 9, cellClip: 0.1, ...first })],
  'lstm with peepholes': () => [layers.lstm({ units: 9, peepholes: true, ...first })],
  'lstm with coupledGates and peepholes': () => [
    layers.lstm({ units: 9, coupledGates: true, peepholes: true, ...first }),
  ],
  'zoneout of all cells': () => [
    layers.lstm({ units: 9, zoneout: 0.2, cellZoneout: 0.4, ...first }),
    layers.gru({ units: 7, zoneout: 0.3, returnSequences: true }),
    layers.simpleRNN({ units: 5, zoneout: 0.1, returnSequences: true }),
  ],
  'gru, reset after': () => [layers.gru({ units: 9, resetAfter: true, ...first })],
  'gru, reset before': () => [layers.gru({ units: 9, resetAfter: false, ...first })],
  'learned states': () => [
    layers.lstm({ units: 9, initialState: 'learned', ...first }),
    layers.gru({ units: 4, initialState: 'learned', returnSequences: true }),
  ],
  'a mixed stack': () => [
    layers.dense({ units: 8, activation: 'tanh', inputShape: [null, D] }),
    layers.simpleRNN({ units: 7, returnSequences: true, dropout: 0.3, recurrentDropout: 0.3 }),
    layers.dropout({ rate: 0.5 }),
    layers.lstm({ units: 6, returnSequences: true }),
    layers.dense({ units: 5 }),
    layers.gru({ units: 4, returnSequences: true }),
    layers.dense({ units: 3 }),
    layers.activation({ activation: 'softmax' }),
  ],
};

describe.each([native, 'reference'])('on %s', (device) => {
  test.each(Object.keys(stacks))('steps of %s are those of predict over the whole sequence', async (name) => {
    const model = await made((stacks[name] as () => Layer[])(), device);
    for (const batchSize of [1, 2, 9]) {
      const x = randomSequences(batchSize, T, D, 4);
      const whole = await model.predict(x);
      const stream = await model.stream({ batchSize });
      for (let round = 0; round < 2; round++) {
        for (let t = 0; t < T; t++) same(stream.stepSync(at(x, t)), at(whole, t));
        stream.reset();
      }
      for (let t = 0; t < T; t++) same(await stream.step(at(x, t)), at(whole, t));
      stream.dispose();
    }
  });

  test('ids go through an embedding; the last layer gives its step', async () => {
    const model = await made(
      [
        layers.embedding({ inputDim: 11, outputDim: 4 }),
        layers.gru({ units: 6 }),
        layers.dense({ units: 3 }),
      ],
      device,
    );
    const ids = tensor(Int32Array.from([3, 0, 10, 7, 7, 1, 2, 9]), [2, 4]);
    const stream = await model.stream({ batchSize: 2 });
    for (let t = 0; t < 4; t++) {
      const seen = [0, 1].flatMap((n) => [...ids.data.subarray(4 * n, 4 * n + t + 1)]);
      const expected = await model.predict(tensor(Int32Array.from(seen), [2, t + 1]));
      const step = [ids.data[t] as number, ids.data[4 + t] as number];
      // Ids as they may come, one form a step.
      const given = [Int32Array.from(step), step, Float32Array.from(step), tensor(Int32Array.from(step))][t];
      same(stream.stepSync(given as Int32Array), Float32Array.from(expected.data));
    }
    const alone = await model.stream();
    const one = await model.predict(tensor(Int32Array.from([7]), [1, 1]));
    same(alone.stepSync(7), Float32Array.from(one.data));
  });

  test('a stream begins where initialStates say, and begins there anew after reset', async () => {
    const model = await small(device);
    const x = randomSequences(2, T, D, 4);
    const h = randomSequences(2, 1, 6, 8).reshape([2, 6]);
    const initialStates = {
      lstm: { h },
      gru: {
        h: [
          [0.1, 0.2, 0.3],
          [-0.4, 0.5, 0.6],
        ],
      },
    };
    const whole = await model.predict(x, { initialStates });
    const stream = await model.stream({ batchSize: 2, initialStates });
    h.data.fill(0);
    for (let round = 0; round < 2; round++) {
      for (let t = 0; t < T; t++) same(stream.stepSync(at(x, t)), at(whole, t));
      stream.reset();
    }
  });
});

test('wide layers over many steps, whose products predict cuts otherwise', async () => {
  const model = await made([
    layers.gru({ units: 130, ...first }),
    layers.lstm({ units: 70, returnSequences: true }),
    layers.dense({ units: 33 }),
  ]);
  const x = randomSequences(1, 70, D, 4);
  const whole = await model.predict(x);
  const stream = await model.stream();
  for (let t = 0; t < 70; t++) same(stream.stepSync(at(x, t)), at(whole, t));
});

describe('the states of a stream', () => {
  const x = randomSequences(1, T, D, 4);
  const run = (stream: ModelStream, from: number, to = T) =>
    Array.from({ length: to - from }, (_, i) => stream.stepSync(at(x, from + i)));

  test('a saved state goes on in another stream, a fork by itself', async () => {
    const model = await small();
    const stream = await model.stream();
    const expected = run(stream, 0).slice(3);
    stream.reset();
    run(stream, 0, 3);
    const saved = stream.state;
    expect([...saved].map(([name, { shape }]) => [name, shape])).toEqual([
      ['lstm/h', [1, 6]],
      ['lstm/c', [1, 6]],
      ['gru/h', [1, 3]],
    ]);
    const fork = stream.fork();
    expect(run(stream, 3)).toEqual(expected);
    expect(run(fork, 3)).toEqual(expected);
    const later = await model.stream();
    later.setState(saved);
    expect(run(later, 3)).toEqual(expected);
    later.setState(
      Object.fromEntries([...saved].map(([name, state]) => [name, state.toArray() as number[][]])),
    );
    expect(run(later, 3)).toEqual(expected);
    fork.reset();
    expect(run(fork, 0).slice(3)).toEqual(expected);
  });

  test('streams that take turns do not see one another, nor the states that the model carries', async () => {
    const model = await made([
      layers.lstm({ units: 6, stateful: true, returnSequences: true, batchInputShape: [1, null, D] }),
      layers.gru({ units: 3, stateful: true, returnSequences: true }),
    ]);
    const other = randomSequences(1, T, D, 9);
    const expected = await model.predict(x);
    await model.resetStates();
    const otherExpected = await model.predict(other);
    const [a, b] = [await model.stream(), await model.stream()];
    for (let t = 0; t < T; t++) {
      same(a.stepSync(at(x, t)), at(expected, t));
      same(b.stepSync(at(other, t)), at(otherExpected, t));
    }
    // What the model carries is what predict left.
    const carried = await model.predict(x);
    await model.resetStates();
    await model.predict(other);
    expect((await model.predict(x)).data).toEqual(carried.data);
  });

  test('one state may be set while others stay, also learned ones that no step has read', async () => {
    const model = await made((stacks['learned states'] as () => Layer[])());
    const stream = await model.stream();
    const learned = (await model.getWeights()).get('lstm/initialC') as Tensor;
    stream.setState({ 'lstm/h': [Array(9).fill(0.25)] });
    expect(stream.state.get('lstm/h')?.data).toEqual(new Float32Array(9).fill(0.25));
    expect(stream.state.get('lstm/c')?.data).toEqual(learned.data);
  });

  test('after a refused step the states are as they were', async () => {
    const stream = await (await small()).stream();
    run(stream, 0, 2);
    const before = stream.state;
    expect(await refusal(() => stream.stepSync([1, 2, Number.NaN, 4, 5]))).toBe(
      "ERR_VALUE stream.stepSync: x: expected finite numbers (input of layer 'lstm'), got NaN at [0, 2].",
    );
    expect(stream.state).toEqual(before);
  });
});

test('learned states that no step has read cannot be told while they may change', async () => {
  const model = await made((stacks['learned states'] as () => Layer[])());
  const stream = await model.stream();
  const fitting = model.fit(randomSequences(1, T, D, 4), randomSequences(1, T, 4, 3), { verbose: 0 });
  expect(await refusal(() => stream.state)).toBe(
    "ERR_STATE stream.state: model 'sequential' is in fit. Wait for its promise first: the states are learned.",
  );
  await fitting;
  expect(stream.state.size).toBe(3);
});

describe('a model that changes', () => {
  const x = randomSequences(1, T, D, 4);

  test('the next step uses new weights, learned first states, and another device after compile', async () => {
    const model = await made((stacks['learned states'] as () => Layer[])());
    const [stream, fresh] = [await model.stream(), await model.stream()];
    stream.stepSync(at(x, 0));
    await spread(model, 2);
    const state = stream.state;
    const initialStates = {
      lstm: { h: state.get('lstm/h') as Tensor, c: state.get('lstm/c') as Tensor },
      gru: { h: state.get('gru/h') as Tensor },
    };
    const one = tensor(at(x, 1), [1, 1, D]);
    const expected = await model.predict(one, { initialStates });
    same(stream.stepSync(at(x, 1)), expected.data);
    same(fresh.stepSync(at(x, 1)), (await model.predict(one)).data);
    await model.fit(x, randomSequences(1, T, 4, 3), { epochs: 1, verbose: 0 });
    stream.setState(state);
    same(stream.stepSync(at(x, 1)), (await model.predict(one, { initialStates })).data);

    model.compile({ loss: 'mse', device: 'reference' });
    stream.setState(state);
    const exact = await model.predict(one, { initialStates });
    same(stream.stepSync(at(x, 1), new Float64Array(4)), exact.data);
  });

  test('a model that was never compiled can stream', async () => {
    const model = sequential([layers.gru({ units: 3, ...first })], { seed: 1 });
    const stream = await model.stream();
    same(stream.stepSync(at(x, 0)), at(await model.predict(x), 0));
  });

  test('a model with streams takes no more layers', async () => {
    const model = sequential([layers.gru({ units: 3, ...first })], { seed: 1 });
    const stream = await model.stream();
    expect(await refusal(() => model.add(layers.dense({ units: 2 })))).toBe(
      "ERR_STATE model 'sequential': expected all layers before stream, got add of layers.dense.",
    );
    stream.dispose();
    model.add(layers.dense({ units: 2 }));
    expect((await model.stream()).stepSync(at(x, 0))).toHaveLength(2);
  });

  test('steps that nobody waits for follow one another, and calls made before them', async () => {
    const model = await small();
    const [stream, expected] = [await model.stream(), await model.stream()];
    const buffer = new Float32Array(D);
    const steps = Array.from({ length: T }, (_, t) => {
      buffer.set(at(x, t));
      return stream.step(buffer);
    });
    const outputs = await Promise.all(steps);
    outputs.forEach((y, t) => {
      expect(y).toEqual(expected.stepSync(at(x, t)));
    });
    const weights = await model.getWeights();
    const doubled = [...weights].map(
      ([name, w]) =>
        [
          name,
          tensor(
            w.data.map((v) => 2 * v),
            w.shape,
          ),
        ] as const,
    );
    stream.reset();
    const set = model.setWeights(new Map(doubled));
    const after = await stream.step(at(x, 0));
    await set;
    expected.reset();
    expect(after).toEqual(expected.stepSync(at(x, 0)));
  });

  test('stepSync is refused while another call is under way; step waits for its turn', async () => {
    const model = await small();
    const stream = await model.stream();
    const busy = (call: string) =>
      `ERR_STATE stream.stepSync: model 'sequential' is in ${call}. Use await stream.step(x), which waits for its turn.`;
    const fitting = model.fit(x, randomSequences(1, T, 3, 3), { epochs: 3, verbose: 0 });
    expect(await refusal(() => stream.stepSync(at(x, 0)))).toBe(busy('fit'));
    expect(await stream.step(at(x, 0))).toHaveLength(3);
    await fitting;
    const predicting = model.predict(x);
    expect(await refusal(() => stream.stepSync(at(x, 0)))).toBe(busy('predict'));
    await predicting;
    const other = await model.stream();
    const stepping = other.step(at(x, 0));
    expect(await refusal(() => stream.stepSync(at(x, 0)))).toBe(busy('stream.step'));
    for (const [what, call] of [
      ['reset', () => other.reset()],
      ['state', () => other.state],
      ['setState', () => other.setState({})],
      ['fork', () => other.fork()],
    ] as const) {
      expect(await refusal(call)).toBe(
        `ERR_STATE stream.${what}: the stream is in step. Wait for its promise first.`,
      );
    }
    await stepping;
    expect(stream.stepSync(at(x, 0))).toHaveLength(3);
  });
});

describe('disposal', () => {
  const x = new Float32Array(D).fill(0.5);

  test('a disposed stream refuses everything; the plan goes with the last one', async () => {
    const model = await small();
    const one = await model.stream();
    const { executable } = (
      one as unknown as { plan: { ready(): { executable: { run(): Promise<void> } } } }
    ).plan.ready();
    const two = one.fork();
    const stepping = one.step(x);
    one.dispose();
    one.dispose();
    expect(await stepping).toHaveLength(3);
    expect(two.stepSync(x)).toEqual(await stepping);
    two[Symbol.dispose]();
    await expect(executable.run()).rejects.toThrow('the executable has been disposed');
    expect(model.stepPlans.size).toBe(0);
    for (const [what, call] of [
      ['stepSync', () => one.stepSync(x)],
      ['step', () => one.step(x)],
      ['reset', () => one.reset()],
      ['state', () => one.state],
      ['setState', () => one.setState({})],
      ['fork', () => one.fork()],
    ] as const) {
      expect(await refusal(call)).toBe(`ERR_STATE stream.${what}: the stream has been disposed.`);
    }
    expect((await model.stream()).stepSync(x)).toHaveLength(3);
  });

  test('a stream of a disposed model says so', async () => {
    const model = await small();
    const stream = await model.stream();
    model.dispose();
    const gone = "ERR_STATE model 'sequential': it has been disposed.";
    expect(await refusal(() => stream.stepSync(x))).toBe(gone);
    expect(await refusal(() => stream.step(x))).toBe(gone);
    expect(await refusal(() => model.stream())).toBe(gone);
    stream.dispose();
  });
});

describe('what is refused', () => {
  const reader = "(input of layer 'lstm')";

  test.each([
    ['batchSize: 0', { batchSize: 0 }, 'ERR_VALUE stream: batchSize: expected a positive integer, got 0.'],
    [
      'an unknown option',
      { batch: 1 },
      "ERR_VALUE stream: unknown option 'batch'. It takes batchSize, initialStates.",
    ],
    [
      'initial states of another batch size',
      {
        initialStates: {
          gru: {
            h: [
              [1, 2, 3],
              [1, 2, 3],
            ],
          },
        },
      },
      'ERR_SHAPE stream: initialStates: gru/h: expected shape [1, 3], got [2, 3].',
    ],
  ])('%s', async (_, options, message) => {
    expect(await refusal(async () => (await small()).stream(options as StreamOptions))).toBe(message);
  });

  test('models that cannot go on step by step', async () => {
    const open = (stack: Layer[]) => refusal(() => sequential(stack).stream());
    expect(
      await open([layers.gru({ units: 2, ...first }), layers.gru({ units: 3, goBackwards: true })]),
    ).toBe(
      "ERR_VALUE stream: layer 'gru_1': expected a layer that needs no later steps, got goBackwards: true, which begins at the end of the sequence.",
    );
    const both = layers.bidirectional({ layer: layers.gru({ units: 2, ...first }) });
    expect(await open([both])).toBe(
      "ERR_VALUE stream: layer 'bidirectional': expected a layer that needs no later steps, got a direction that begins at the end of the sequence.",
    );
    expect(await open([layers.dense({ units: 2, inputShape: [4] })])).toBe(
      'ERR_VALUE stream: expected a model of sequences [N, T, features] or of ids [N, T], got one that reads [N, 4].',
    );
    expect(await open([layers.gru({ units: 2 })])).toBe(
      "ERR_STATE stream: model 'sequential' has no weights yet. Give the first layer an inputShape, call build([timesteps, features]), or fit it first.",
    );
  });

  test.each([
    [
      'too few numbers',
      [1, 2],
      `ERR_SHAPE stream.stepSync: x: expected one time step of shape [2, 5], or 10 numbers, ${reader}, got [2].`,
    ],
    [
      'axes the wrong way',
      tensor(new Float32Array(10), [5, 2]),
      `ERR_SHAPE stream.stepSync: x: expected one time step of shape [2, 5], or 10 numbers, ${reader}, got [5, 2].`,
    ],
    [
      'an axis of time',
      tensor(new Float32Array(10), [2, 1, 5]),
      `ERR_SHAPE stream.stepSync: x: expected one time step of shape [2, 5], or 10 numbers, ${reader}, got [2, 1, 5].`,
    ],
    [
      'text',
      'abc',
      "ERR_VALUE stream.stepSync: x: expected a typed array, a Tensor or nested arrays, got 'abc'.",
    ],
    [
      'infinity',
      new Float32Array(10).fill(Number.POSITIVE_INFINITY, 8),
      `ERR_VALUE stream.stepSync: x: expected finite numbers ${reader}, got Infinity at [1, 3].`,
    ],
  ])('%s as x', async (_, x, message) => {
    const stream = await (await small()).stream({ batchSize: 2 });
    expect(await refusal(() => stream.stepSync(x as Tensor))).toBe(message);
    expect(await refusal(() => stream.step(x as Tensor))).toBe(message.replaceAll('stepSync', 'step'));
  });

  test('ids outside the table, and fractions', async () => {
    const model = await made([layers.embedding({ inputDim: 5, outputDim: 4 }), layers.gru({ units: 2 })]);
    const stream = await model.stream({ batchSize: 2 });
    expect(await refusal(() => stream.stepSync([4, 5]))).toBe(
      "ERR_VALUE stream.stepSync: x: expected ids from 0 to 4 (input of layer 'embedding'), got 5 at [1].",
    );
    expect(await refusal(() => stream.stepSync([0, 1.5]))).toBe(
      'ERR_VALUE stream.stepSync: x: expected whole numbers for dtype int32, got 1.5 at [1].',
    );
    expect(await refusal(() => stream.stepSync([1]))).toBe(
      "ERR_SHAPE stream.stepSync: x: expected one time step of shape [2] (input of layer 'embedding'), got [1].",
    );
  });

  test.each([
    ['of another length', new Float32Array(2), 'Float32Array(2)'],
    ['of another type', new Int32Array(3), 'Int32Array(3)'],
    ['that is plain', [0, 0, 0], '[0, 0, 0]'],
  ])('an output array %s', async (_, out, got) => {
    const stream = await (await small()).stream();
    expect(await refusal(() => stream.stepSync(new Float32Array(D), out as Float32Array))).toBe(
      `ERR_SHAPE stream.stepSync: out: expected a Float32Array of length 3, got ${got}.`,
    );
  });

  test('states that do not fit', async () => {
    const stream = await (await small()).stream();
    const set = (states: unknown) => refusal(() => stream.setState(states as Record<string, Tensor>));
    expect(await set({ 'gru/c': [[1]] })).toBe(
      'ERR_VALUE stream.setState: expected one of lstm/h, lstm/c, gru/h, got gru/c.',
    );
    expect(await set({ 'gru/h': [1, 2, 3] })).toBe(
      'ERR_SHAPE stream.setState: gru/h: expected shape [1, 3], got [3].',
    );
    expect(await set({ 'gru/h': [[1, 2, Number.NaN]] })).toBe(
      'ERR_VALUE stream.setState: gru/h: expected finite numbers, got NaN at [0, 2].',
    );
    expect(await set(5)).toBe(
      "ERR_VALUE stream.setState: expected an object or Map by name, { 'lstm/h': … }, got 5.",
    );
  });
});

test('an output array is used again', async () => {
  const stream = await (await small()).stream();
  const out = new Float32Array(3);
  const x = new Float32Array(D).fill(0.5);
  const first = stream.stepSync(x, out);
  expect(first).toBe(out);
  const before = out.slice();
  stream.stepSync(x, out);
  expect(out).not.toEqual(before);
});

const onLinux = process.platform === 'linux' ? test : test.skip;
onLinux('a small step wakes no other thread', async () => {
  const threads = () => readdirSync('/proc/self/task');
  const before = new Set(threads());
  const model = sequential([layers.lstm({ units: 128, ...first })], { seed: 1 });
  model.compile({ loss: 'mse', device: 'cpu', threads: 3 });
  const stream = await model.stream();
  const x = new Float32Array(D);
  stream.stepSync(x);
  const added = threads().filter((id) => !before.has(id));
  expect(added.length).toBeGreaterThanOrEqual(2);
  /** How often they have gone to sleep so far. */
  const sleeps = () =>
    added.reduce((sum, id) => {
      const status = readFileSync(`/proc/self/task/${id}/status`, 'utf8');
      return sum + Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(status)?.[1]);
    }, 0);
  const pause = () => new Promise((done) => setTimeout(done, 2));
  await pause();
  const asleep = sleeps();
  for (let i = 0; i < 50; i++) {
    stream.stepSync(x);
    await pause();
  }
  expect(sleeps() - asleep).toBeLessThan(25);
});
