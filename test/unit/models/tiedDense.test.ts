import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  input,
  type Layer,
  layers,
  loadModel,
  type Model,
  model,
  modelFromConfig,
  sequential,
  type Tensor,
  tensor,
} from '../../../lib';
import type { DenseConfig } from '../../../lib/layers';
import { expectSlopes } from '../layers/slopes';
import { Draws } from '../reference/gradientCheck';
import { refusal } from '../refusal';

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-tied-'));
afterAll(() => rmSync(folder, { recursive: true }));
const [N, T, V, E] = [3, 6, 11, 5];
const ids = tensor(
  Int32Array.from({ length: N * T }, (_, i) => (i * i + 3) % V),
  [N, T],
);
const next = tensor(
  Int32Array.from({ length: N * T }, (_, i) => (i * 5 + 1) % V),
  [N, T],
);

const compile = <M extends Model<unknown>>(made: M, device: string): M =>
  made.compile({
    loss: 'sparseCategoricalCrossentropy',
    optimizer: { type: 'adam', learningRate: 0.02, globalClipNorm: 1 },
    device,
  }) as M;

const body = () => [
  layers.embedding({ name: 'words', inputDim: V, outputDim: E, embeddingsInitializer: 'randomNormal' }),
  layers.lstm({ units: E, returnSequences: true }),
];

/** A model of the next word, of which the last layer is `head`. */
const language = (head: Layer, device = 'reference') =>
  compile(sequential([...body(), head], { seed: 3 }), device);
const tiedHead = (options: Partial<DenseConfig> = {}) =>
  layers.dense({ name: 'head', units: V, activation: 'softmax', tiedTo: 'words', ...options });

/** The same through symbolic tensors, tied to the layer itself. */
function functional(device: string) {
  const [words, lstm] = body() as [Layer, Layer];
  const x = input({ shape: [T], dtype: 'int32' });
  const head = layers.dense({ name: 'head', units: V, activation: 'softmax', tiedTo: words });
  return compile(model({ inputs: x, outputs: head.apply(lstm.apply(words.apply(x))), seed: 3 }), device);
}

const transposed = ({ data, shape }: Tensor): Tensor => {
  const [rows, columns] = shape as [number, number];
  return tensor(
    data.map((_, i) => data[(i % rows) * columns + Math.floor(i / rows)] as number),
    [columns, rows],
  );
};

test.each([
  ['reference', 1e-12],
  ['cpu', 1e-5],
] as const)(
  'the table is the kernel, and gets the gradients of both uses, on %s',
  async (device, tolerance) => {
    const untied = language(layers.dense({ name: 'head', units: V, activation: 'softmax' }), device);
    for (const made of [language(tiedHead(), device), functional(device)]) {
      const weights = await made.getWeights();
      expect([...weights.keys()].sort()).toEqual(
        [
          'words/embeddings',
          'head/bias',
          ...['kernel', 'recurrentKernel', 'bias'].map((w) => `lstm/${w}`),
        ].sort(),
      );
      const table = weights.get('words/embeddings') as Tensor;
      await untied.setWeights(new Map([...weights, ['head/kernel', transposed(table)]]));
      const [tied, apart] = [
        await made.computeGradients(ids, next),
        await untied.computeGradients(ids, next),
      ];
      const close = (actual: ArrayLike<number>, wanted: ArrayLike<number>) => {
        expect(actual.length).toBe(wanted.length);
        for (let i = 0; i < wanted.length; i++)
          expect(Math.abs((actual[i] as number) - (wanted[i] as number))).toBeLessThan(tolerance);
      };
      close([tied.loss], [apart.loss]);
      close(((await made.predict(ids)) as Tensor).data, (await untied.predict(ids)).data);
      const own = transposed(apart.gradients.get('head/kernel') as Tensor).data;
      for (const [name, { data }] of tied.gradients) {
        const other = (apart.gradients.get(name) as Tensor).data;
        close(data, name === 'words/embeddings' ? other.map((v, i) => v + (own[i] as number)) : other);
      }
      expect(tied.gradients.size).toBe(5);
    }
  },
);

test('its gradients are the slopes of the loss', async () => {
  await expectSlopes(language(tiedHead()), ids, next, new Draws());
});

test('trains on the CPU engine as on the reference, and learns', async () => {
  const found = [];
  for (const device of ['cpu', 'reference']) {
    const made = language(tiedHead({ useBias: false }), device);
    const { history } = await made.fit(ids, next, { epochs: 40, batchSize: N, verbose: 0 });
    found.push({ losses: history['loss'] as number[], weights: [...(await made.getWeights()).values()] });
  }
  const [cpu, reference] = found;
  expect(cpu?.losses.at(-1)).toBeLessThan(0.7 * (cpu?.losses[0] as number));
  cpu?.losses.forEach((loss, i) => {
    expect(loss).toBeCloseTo(reference?.losses[i] as number, 3);
  });
  cpu?.weights.forEach(({ data }, w) => {
    data.forEach((v, i) => {
      expect(v).toBeCloseTo(reference?.weights[w]?.data[i] as number, 2);
    });
  });
});

test.each([
  ['sequential', () => language(tiedHead(), 'cpu')],
  ['functional', () => functional('cpu')],
] as const)('is saved and loaded in a %s model', async (name, make) => {
  const made = make() as Model<Tensor>;
  await made.fit(ids, next, { epochs: 2, verbose: 0 });
  const file = path.join(folder, `${name}.safetensors`);
  await made.save(file);
  const again = (await loadModel(file, { device: 'cpu' })) as Model<Tensor>;
  expect(again.getConfig()).toEqual(made.getConfig());
  expect(await again.predict(ids)).toEqual(await made.predict(ids));
  expect(modelFromConfig(made.getConfig() as never).getConfig()).toEqual(made.getConfig());
});

test('predicts with what training has made of the table', async () => {
  const made = language(tiedHead(), 'cpu');
  const before = await made.predict(ids);
  await made.trainOnBatch(ids, next);
  const after = await made.predict(ids);
  expect(after.data).not.toEqual(before.data);
  const fresh = language(tiedHead(), 'cpu');
  await fresh.setWeights(await made.getWeights());
  expect(await fresh.predict(ids)).toEqual(after);
});

test('a frozen embedding stays as it is', async () => {
  const [words, lstm] = body() as [Layer, Layer];
  words.trainable = false;
  const made = compile(sequential([words, lstm, tiedHead()], { seed: 3 }), 'cpu');
  const before = (await made.getWeights()).get('words/embeddings');
  await made.trainOnBatch(ids, next);
  expect((await made.getWeights()).get('words/embeddings')).toEqual(before);
});

const inside = () => [layers.embedding({ inputDim: V, outputDim: E, inputShape: [T] })];

test.each([
  [
    'a name that is not there',
    () => language(tiedHead({ tiedTo: 'word' })),
    "ERR_VALUE layer 'head': tiedTo: expected an embedding of the same model, got 'word'. It has 'words'.",
  ],
  [
    'a layer that is no embedding',
    () => language(tiedHead({ tiedTo: 'lstm' })),
    "ERR_VALUE layer 'head': tiedTo: expected an embedding of the same model, got 'lstm'. It has 'words'.",
  ],
  [
    "another model's embedding",
    () => language(tiedHead({ tiedTo: layers.embedding({ name: 'others', inputDim: V, outputDim: E }) })),
    "ERR_VALUE layer 'head': tiedTo: expected an embedding of the same model, got layer 'others'. It has 'words'.",
  ],
  [
    'a model without embeddings',
    () => sequential([layers.dense({ units: 3, tiedTo: 'words', inputShape: [2] })]),
    "ERR_VALUE layer 'dense': tiedTo: expected an embedding of the same model, got 'words'. It has none.",
  ],
  [
    'other units',
    () => language(tiedHead({ units: 12 })),
    "ERR_SHAPE layer 'head': units: expected 11, the ids of layer 'words', which it is tied to, got 12.",
  ],
  [
    'other features',
    () => sequential([...body(), layers.gru({ units: 7 }), tiedHead()]),
    "ERR_SHAPE layer 'head': expected 5 features, as layer 'words' has, which it is tied to, got 7. Put a dense layer of that many units between.",
  ],
  [
    'a number',
    () => tiedHead({ tiedTo: 3 as never }),
    "ERR_VALUE layer 'head': tiedTo: expected an embedding or its name, got 3.",
  ],
  [
    'another layer',
    () => tiedHead({ tiedTo: layers.flatten({ name: 'flat' }) }),
    "ERR_VALUE layer 'head': tiedTo: expected an embedding or its name, got layer 'flat'.",
  ],
  [
    'an initializer of the kernel',
    () => tiedHead({ kernelInitializer: 'ones' }),
    "ERR_VALUE layer 'head': kernelInitializer: expected nothing beside tiedTo, whose embedding has its own, got 'ones'.",
  ],
  [
    'a layer inside another',
    () =>
      sequential([
        ...inside(),
        layers.timeDistributed({ layer: layers.dense({ units: V, tiedTo: 'embedding' }) }),
      ]),
    "ERR_VALUE layer 'timeDistributed': tiedTo: expected a layer of a model, not one inside another layer, got one inside.",
  ],
])('%s is refused', async (_, work, message) => {
  expect(await refusal(work)).toBe(message);
});
