import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fromTorch, input, layers, model, sequential, type TorchDescription, tensor, toTorch } from 'deeprnn';
import { readSafetensors, writeSafetensors } from '../../../lib/io/modelFile';
import type { Tensor } from '../../../lib/tensors/tensor';
import { refusal } from '../refusal';

const fixtures = resolve(__dirname, '../../fixtures/torch');
interface Case {
  readonly description: TorchDescription;
  readonly ids: boolean;
  readonly input: { readonly shape: number[]; readonly data: number[] };
  readonly output: { readonly shape: number[]; readonly data: number[] };
}
const cases: Record<string, Case> = JSON.parse(readFileSync(join(fixtures, 'cases.json'), 'utf8'));
const fileOf = (name: string) => join(fixtures, `${name}.safetensors`);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'deeprnn-torch-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function expectClose(found: ArrayLike<number>, wanted: readonly number[]): void {
  expect(found.length).toBe(wanted.length);
  wanted.forEach((w, i) => {
    expect(Math.abs((found[i] as number) - w)).toBeLessThanOrEqual(1e-6 * (1 + Math.abs(w)));
  });
}

describe.each(Object.entries(cases))('%s', (name, { description, ids, input: given, output }) => {
  const x = tensor(ids ? Int32Array.from(given.data) : Float32Array.from(given.data), given.shape);

  test('predicts what the PyTorch modules give', async () => {
    const read = await fromTorch(fileOf(name), description);
    const y = await read.predict(x);
    expect(y.shape).toEqual(output.shape);
    expectClose(y.data, output.data);
  });

  test('is the same state dict when it is written again, but for the sum of two biases', async () => {
    const read = await fromTorch(fileOf(name), description);
    const back = join(folder, 'back.safetensors');
    const written = await toTorch(read, back, { description });
    const [before, after] = [await readSafetensors(fileOf(name)), await readSafetensors(back)];
    const kept = [...before.tensors.keys()].filter((key) => !key.endsWith('num_batches_tracked'));
    expect([...after.tensors.keys()]).toEqual(kept.sort());
    for (const key of kept) {
      const [a, b] = [before.tensors.get(key) as Tensor, after.tensors.get(key) as Tensor];
      expect(b.shape).toEqual(a.shape);
      if (/bias_.h_l/.test(key) && !name.startsWith('gru')) continue;
      expect([...b.data]).toEqual([...a.data]);
    }
    const again = await fromTorch(back, written);
    expect((await again.predict(x)).data).toEqual((await read.predict(x)).data);
  });
});

test('sizes, layers, directions and biases come from the arrays', async () => {
  const { input: given, output } = cases['lstm-bidirectional-projected'] as Case;
  const read = await fromTorch(fileOf('lstm-bidirectional-projected'), [
    { name: 'lstm', module: 'LSTM', returnSequences: false },
    { name: 'head', module: 'Linear' },
  ]);
  expectClose((await read.predict(tensor(Float32Array.from(given.data), given.shape))).data, output.data);
});

test('Softmax over the number of the last axis, of a sequence and of its last step', async () => {
  const file = fileOf('lstm-bidirectional-projected');
  const of = (returnSequences: boolean, dim: number | undefined) =>
    fromTorch(file, [
      { name: 'lstm', module: 'LSTM', returnSequences },
      { name: 'head', module: 'Linear' },
      dim === undefined ? { module: 'Softmax' } : { module: 'Softmax', dim },
    ]);
  expect((await of(false, 1)).outputShape).toEqual((await of(false, -1)).outputShape);
  const sequences = await of(true, 2);
  expect(sequences.outputShape).toHaveLength(2);
  const described = (dim: number) =>
    toTorch(sequences, join(folder, 'softmax.safetensors'), {
      description: [
        { name: 'lstm', module: 'LSTM', numLayers: 2 },
        { name: 'head', module: 'Linear' },
        { module: 'Softmax', dim },
      ],
    });
  expect((await described(2)).at(-1)).toEqual({ module: 'Softmax', dim: 2 });
  expect(await refusal(() => described(1))).toMatch(/dim: expected that of .*, -1, got 1/);
  expect(await refusal(() => of(true, 1))).toMatch(
    /\(Softmax\): dim: expected 2 or -1, the last axis of \[N, T, \d+\], got 1/,
  );
  // PyTorch would take the axis of the batch.
  expect(await refusal(() => of(true, undefined))).toMatch(/dim: expected 2 or -1, .*, got undefined\./);
  expect((await of(false, undefined)).outputShape).toEqual((await of(false, 1)).outputShape);
  expect(await refusal(() => of(false, 0))).toMatch(/dim: expected -1, the last axis, or its number, got 0/);
});

test("a description in PyTorch's spelling that leaves layers to be counted goes both ways", async () => {
  const file = join(folder, 'stacked.safetensors');
  const own = sequential([
    layers.lstm({ units: 4, returnSequences: true, inputShape: [null, 3] }),
    layers.lstm({ units: 4, returnSequences: true }),
    layers.lstm({ units: 4 }),
    layers.dense({ units: 2, activation: { type: 'leakyRelu', alpha: 0.25 } }),
  ]);
  const description = [
    { name: 'r', module: 'LSTM', return_sequences: false },
    { name: 'l', module: 'Linear' },
    { module: 'LeakyReLU', negative_slope: 0.25 },
  ] as unknown as TorchDescription;
  const written = await toTorch(own, file, { description });
  expect(written).toMatchObject([{ numLayers: 3 }, { outFeatures: 2 }, { negativeSlope: 0.25 }]);
  const x = tensor([[[1, 2, 3]]]);
  const wanted = (await own.predict(x)).data;
  for (const modules of [written, description])
    expectClose((await (await fromTorch(file, modules)).predict(x)).data, [...wanted]);
  expect(
    await refusal(() =>
      fromTorch(file, [
        { module: 'LeakyReLU', negative_slope: 1, negativeSlope: 1 },
      ] as unknown as TorchDescription),
    ),
  ).toMatch(/given twice/);
});

test('a model of ours becomes a module for every layer, by the names of the layers', async () => {
  const own = sequential([
    layers.embedding({ inputDim: 9, outputDim: 4, name: 'words' }),
    layers.lstm({ units: 4, name: 'reader', returnSequences: true }),
    layers.dense({ units: 9, activation: 'softmax', name: 'next', tiedTo: 'words' }),
  ]);
  const file = join(folder, 'own.safetensors');
  const description = await toTorch(own, file);
  expect(description.map(({ module, name }) => [module, name])).toEqual([
    ['Embedding', 'words'],
    ['LSTM', 'reader'],
    ['Linear', 'next'],
    ['Softmax', undefined],
  ]);
  const x = tensor([[1, 2, 8]], undefined, 'int32');
  expect((await (await fromTorch(file, description)).predict(x)).data).toEqual((await own.predict(x)).data);
});

describe('refused', () => {
  const lstm = fileOf('lstm');

  test.each<[string, string, unknown, RegExp]>([
    [
      'missing arrays',
      lstm,
      [{ name: 'model.lstm', module: 'LSTM', numLayers: 4 }],
      /missing 'model\.lstm\.weight_ih_l3', 'model\.lstm\.weight_hh_l3'/,
    ],
    [
      'unexpected arrays',
      lstm,
      [{ name: 'model.lstm', module: 'LSTM', numLayers: 2 }],
      /unexpected 'model\.lstm\.bias_hh_l2'/,
    ],
    [
      'another prefix',
      lstm,
      [{ name: 'lstm', module: 'LSTM' }],
      /missing 'lstm\.weight_ih_l0', .*; unexpected 'model\.lstm\./,
    ],
    [
      'another module',
      lstm,
      [{ name: 'model.lstm', module: 'GRU', hiddenSize: 7 }],
      /'model\.lstm\.weight_ih_l0' of GRU has shape \[28, 3\], expected \[21, 3\]/,
    ],
    [
      'another size',
      lstm,
      [{ name: 'model.lstm', module: 'LSTM', inputSize: 4 }],
      /has shape \[28, 3\], expected \[28, 4\]/,
    ],
    [
      'a module that is not known',
      lstm,
      [{ name: 'a', module: 'LSTMM' }],
      /fromTorch: module 'a' \(LSTMM\): module: expected one of .*Did you mean 'LSTM'\?/,
    ],
    [
      'an option that is not known',
      lstm,
      [{ name: 'a', module: 'LSTM', hidden: 7 }],
      /unknown option 'hidden'/,
    ],
    [
      'an option of another module',
      lstm,
      [{ name: 'a', module: 'GRU', projSize: 7 }],
      /projSize: expected it of LSTM alone, got 7/,
    ],
    ['an empty description', lstm, [], /fromTorch: description: expected an array/],
    [
      'a name twice',
      lstm,
      [
        { name: 'a', module: 'Linear' },
        { name: 'a', module: 'Linear' },
      ],
      /every name once, got 'a' twice/,
    ],
    [
      'widths that do not follow',
      fileOf('tagger'),
      [
        { name: '1', module: 'LSTM' },
        { name: '0', module: 'Embedding' },
        { name: '2', module: 'LayerNorm' },
        { name: '3', module: 'Linear' },
      ],
      /'0' \(Embedding\): expected ids, as the first module, got what LSTM gives/,
    ],
  ])('%s', async (_, file, description, message) => {
    expect(await refusal(() => fromTorch(file, description as TorchDescription))).toMatch(message);
  });

  test('pickles', async () => {
    const file = join(folder, 'state.pt');
    writeFileSync(file, Buffer.from('PK\x03\x04 and what else a zip has'));
    expect(await refusal(() => fromTorch(file, [{ module: 'Linear' }]))).toMatch(
      /is a pickle of torch\.save, expected safetensors/,
    );
  });

  test('whole numbers as weights', async () => {
    const file = join(folder, 'whole.safetensors');
    await writeSafetensors(file, {
      tensors: new Map([['weight', tensor([[1, 2]], undefined, 'int32')]]),
      metadata: {},
    });
    expect(await refusal(() => fromTorch(file, [{ module: 'Linear' }]))).toMatch(
      /'weight' of Linear holds whole numbers/,
    );
  });

  const D = [null, 3] as const;
  test.each<[string, () => Parameters<typeof toTorch>[0], RegExp]>([
    [
      'resetAfter: false',
      () => sequential([layers.gru({ units: 2, resetAfter: false, inputShape: D, name: 'g' })]),
      /toTorch: layer 'g' cannot be written for PyTorch: its resetAfter is false/,
    ],
    [
      'peepholes',
      () => sequential([layers.lstm({ units: 2, peepholes: true, inputShape: D })]),
      /its peepholes is true/,
    ],
    [
      'goBackwards',
      () => sequential([layers.lstm({ units: 2, goBackwards: true, inputShape: D })]),
      /its goBackwards is true/,
    ],
    [
      'layerNormalization',
      () => sequential([layers.lstm({ units: 2, layerNormalization: true, inputShape: D })]),
      /its layerNormalization is/,
    ],
    [
      'another activation',
      () => sequential([layers.lstm({ units: 2, activation: 'relu', inputShape: D })]),
      /its activation is "relu"/,
    ],
    [
      'a convolution',
      () => sequential([layers.conv1D({ filters: 2, kernelSize: 2, inputShape: D })]),
      /it is of the type conv1D/,
    ],
    [
      'branches',
      () => {
        const x = input({ shape: [3] });
        const y = layers.dense({ units: 3, name: 'd' }).apply(x);
        return model({ inputs: x, outputs: layers.add({ name: 'both' }).apply([x, y]) });
      },
      /expected layers in a row, got layer 'both'/,
    ],
  ])('to write %s', async (_, make, message) => {
    const file = join(folder, 'no.safetensors');
    expect(await refusal(() => toTorch(make(), file))).toMatch(message);
    expect(() => readFileSync(file)).toThrow(/ENOENT/);
  });

  test('to write by a description that does not fit', async () => {
    const own = sequential([layers.lstm({ units: 2, inputShape: D, name: 'a' })]);
    const file = join(folder, 'no.safetensors');
    const of = (description: unknown) =>
      refusal(() => toTorch(own, file, { description: description as TorchDescription }));
    expect(await of([{ name: 'x', module: 'GRU' }])).toMatch(
      /expected a layer that is GRU, got layer 'a', which is LSTM/,
    );
    expect(await of([{ name: 'x', module: 'LSTM', numLayers: 2 }])).toMatch(/got the end of the model/);
    expect(await of([{ name: 'x', module: 'LSTM', hiddenSize: 3 }])).toMatch(
      /expected \[12, 3\], got \[8, 3\]/,
    );
    expect(await of([{ name: 'x', module: 'LSTM', returnSequences: true }])).toMatch(
      /returnSequences: expected false/,
    );
  });
});
