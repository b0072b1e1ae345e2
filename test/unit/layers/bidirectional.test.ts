import { input, layers, model, sequential, type Tensor, tensor } from '../../../lib';
import type { Sequential } from '../../../lib/models/sequential';
import { refusal } from '../refusal';
import { savedAndLoaded } from '../savedAndLoaded';

const [N, T, D] = [3, 5, 4];
const x = tensor(
  Float32Array.from({ length: N * T * D }, (_, i) => Math.sin(3 * i)),
  [N, T, D],
);

function reversed({ data, shape }: Tensor): Tensor {
  const [rows, steps, width] = shape as [number, number, number];
  const out = new Float32Array(data.length);
  for (let n = 0; n < rows; n++)
    for (let t = 0; t < steps; t++)
      for (let d = 0; d < width; d++)
        out[(n * steps + t) * width + d] = data[(n * steps + steps - 1 - t) * width + d] as number;
  return tensor(out, shape);
}

function compiled(layer: ReturnType<typeof layers.lstm>): Sequential {
  const model = sequential([layer], { seed: 3 });
  model.compile({ loss: 'mse' });
  model.build([T, D]);
  return model;
}

test('equals two layers, one over the reversed sequence, side by side', async () => {
  const both = compiled(
    layers.bidirectional({
      name: 'both',
      layer: layers.lstm({ units: 3, returnSequences: true }),
      backwardLayer: layers.gru({ units: 2, returnSequences: true, goBackwards: true }),
    }),
  );
  const one = compiled(layers.lstm({ name: 'one', units: 3, returnSequences: true }));
  const other = compiled(layers.gru({ name: 'one', units: 2, returnSequences: true }));
  const weights = await both.getWeights();
  expect([...weights.keys()]).toEqual(
    ['forward', 'backward'].flatMap((d) =>
      ['kernel', 'recurrentKernel', 'bias'].map((w) => `both/${d}/${w}`),
    ),
  );
  for (const [model, direction] of [
    [one, 'forward'],
    [other, 'backward'],
  ] as const) {
    const own = [...weights].filter(([name]) => name.includes(direction));
    await model.setWeights(new Map(own.map(([name, w]) => [name.replace(`both/${direction}`, 'one'), w])));
  }
  const y = await both.predict(x);
  const forward = await one.predict(x);
  const backward = reversed(await other.predict(reversed(x)));
  expect(y.shape).toEqual([N, T, 5]);
  for (let r = 0; r < N * T; r++) {
    expect(y.data.slice(5 * r, 5 * r + 3)).toEqual(forward.data.slice(3 * r, 3 * r + 3));
    expect(y.data.slice(5 * r + 3, 5 * r + 5)).toEqual(backward.data.slice(2 * r, 2 * r + 2));
  }
});

test('takes initial states of both directions, and carries them when stateful', async () => {
  const last = compiled(layers.bidirectional({ name: 'b', layer: layers.simpleRNN({ units: 2 }) }));
  const zeros = await last.predict(x);
  const h = tensor(new Float32Array(2 * N).fill(0.5), [N, 2]);
  const given = await last.predict(x, { initialStates: { b: { 'backward/h': h } } });
  for (let n = 0; n < N; n++) {
    expect(given.data.slice(4 * n, 4 * n + 2)).toEqual(zeros.data.slice(4 * n, 4 * n + 2));
    expect(given.data.slice(4 * n + 2, 4 * n + 4)).not.toEqual(zeros.data.slice(4 * n + 2, 4 * n + 4));
  }
  const layer = layers.lstm({ units: 2, stateful: true, batchInputShape: [N, T, D] });
  const stateful = sequential([layers.bidirectional({ layer })]);
  stateful.compile({ loss: 'mse' });
  const first = await stateful.predict(x);
  expect(await stateful.predict(x)).not.toEqual(first);
  await stateful.resetStates();
  expect(await stateful.predict(x)).toEqual(first);
});

test('draws other dropout masks for each direction, the same on every engine', async () => {
  const losses = await Promise.all(
    (['cpu', 'reference'] as const).map(async (device) => {
      const layer = layers.gru({ units: 6, dropout: 0.5, recurrentDropout: 0.5, initialState: 'learned' });
      const model = sequential(
        [layers.bidirectional({ layer, mergeMode: 'sum', inputShape: [T, D] }), layers.dense({ units: 2 })],
        { seed: 11 },
      );
      model.compile({ loss: 'mse', optimizer: 'adam', device });
      const found: number[] = [];
      for (let i = 0; i < 5; i++)
        found.push(
          (await model.trainOnBatch(x, tensor(new Float32Array(2 * N).fill(1), [N, 2]))).loss as number,
        );
      return found;
    }),
  );
  losses[0]?.forEach((loss, i) => {
    expect(loss).toBeCloseTo(losses[1]?.[i] as number, 4);
  });
});

test('is saved and loaded, and reports its gradients by direction', async () => {
  const inner = layers.lstm({ units: 3, returnSequences: true, kernelRegularizer: 'l2' });
  const model = sequential([
    layers.bidirectional({ name: 'b', layer: inner, inputShape: [T, D] }),
    layers.dense({ units: 1 }),
  ]);
  model.compile({ loss: 'mse' });
  let steps: string[] = [];
  let carried: string[] = [];
  const y = tensor(new Float32Array(N * T), [N, T, 1]);
  await model.fit(x, y, {
    epochs: 1,
    verbose: 0,
    callbacks: [
      {
        gradientsEvery: 1,
        onGradients: (report) => {
          steps = Object.keys(report.steps);
          carried = Object.keys(report.carried);
        },
      },
    ],
  });
  const again = await savedAndLoaded(model);
  expect(await again.predict(x)).toEqual(await model.predict(x));
  expect(again.getConfig()).toEqual(model.getConfig());
  expect({ steps, carried }).toEqual({ steps: ['b/forward', 'b/backward'], carried: ['b/forward'] });
});

test('with mergeMode null gives both directions, which a file keeps', async () => {
  const source = input({ shape: [T, D] });
  const inner = layers.lstm({ units: 3, returnSequences: true, returnState: true });
  const both = layers.bidirectional({ name: 'b', layer: inner, mergeMode: null });
  const [forward, backward, h, c, , otherC, ...rest] = both.applyAll(source);
  expect([forward, backward, h, c, otherC].map((value) => value?.shape)).toEqual([
    [T, 3],
    [T, 3],
    [3],
    [3],
    [3],
  ]);
  expect(rest).toEqual([]);
  const decoder = layers.lstm({ units: 3, returnSequences: true });
  const decoded = decoder.apply([backward, h, otherC] as never);
  const difference = layers.subtract().apply([forward, decoded] as never);
  const net = model({ inputs: source, outputs: difference, seed: 4 });
  const again = await savedAndLoaded(net);
  expect(again.getConfig()).toEqual(net.getConfig());
  expect(await again.predict(x)).toEqual(await net.predict(x));
  expect(both.getConfig()).toMatchObject({ mergeMode: null });
});

test.each<[string, () => unknown, string]>([
  [
    'a layer that is not recurrent',
    () => layers.bidirectional({ layer: layers.dense({ units: 2 }) }),
    'layers.bidirectional: layer: expected a recurrent layer, got layers.dense.',
  ],
  [
    'no layer',
    () => layers.bidirectional({} as never),
    'layers.bidirectional: layer: expected a recurrent layer, got undefined.',
  ],
  [
    'two layers in one direction',
    () => layers.bidirectional({ layer: layers.gru({ units: 2 }), backwardLayer: layers.gru({ units: 2 }) }),
    'layers.bidirectional: backwardLayer: expected a layer that reads against the other, got another.',
  ],
  [
    'widths that cannot be added',
    () =>
      layers.bidirectional({
        layer: layers.gru({ units: 2 }),
        backwardLayer: layers.gru({ units: 3, goBackwards: true }),
        mergeMode: 'sum',
      }),
    "layers.bidirectional: backwardLayer: expected 2 units for mergeMode 'sum', got 3.",
  ],
  [
    'a merge that is none',
    () => layers.bidirectional({ layer: layers.gru({ units: 2 }), mergeMode: 'max' as never }),
    "layers.bidirectional: mergeMode: expected one of 'concat', 'sum', 'mul', 'ave', or null, got 'max'.",
  ],
  [
    'one layer that gives its states beside one that does not',
    () =>
      layers.bidirectional({
        layer: layers.gru({ units: 2, returnState: true }),
        backwardLayer: layers.gru({ units: 2, goBackwards: true }),
      }),
    'layers.bidirectional: backwardLayer: expected returnState true, got another.',
  ],
  [
    'the states of one direction',
    () =>
      layers
        .bidirectional({ name: 'b', layer: layers.gru({ units: 2 }) })
        .apply([input({ shape: [5, 4] }), input({ shape: [2] })]),
    "layer 'b': expected one input, or with the 2 initial states of both directions 3, got 2.",
  ],
  [
    'a state of another width',
    () =>
      layers
        .bidirectional({ name: 'b', layer: layers.gru({ units: 2 }) })
        .apply([input({ shape: [5, 4] }), input({ shape: [2] }), input({ shape: [3] })]),
    "layer 'b/backward': initial state h: expected [N, 2], got [N, 3].",
  ],
  [
    'two outputs in a sequential model',
    () => sequential([layers.bidirectional({ name: 'b', layer: layers.gru({ units: 2 }), mergeMode: null })]),
    "layer 'b': expected one output in a sequential model, got mergeMode: null. Use input, applyAll and model({ inputs, outputs }) for states, and for directions apart.",
  ],
  [
    'a wrong input',
    () =>
      sequential([
        layers.bidirectional({ name: 'b', layer: layers.gru({ units: 2 }), inputShape: [4] }),
      ]).build(),
    "layer 'b/forward': expected a sequence [N, T, features], got [N, 4]. When a recurrent layer is below, give it returnSequences: true.",
  ],
])('%s is refused', async (_, work, message) => {
  expect((await refusal(work)).replace(/^\w+ /, '')).toBe(message);
});
