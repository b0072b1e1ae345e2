import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { exportOnnx, type OnnxExportOptions } from '../../../lib/formats';
import type { ModelMessage } from '../../../lib/formats/onnx/messages';
import type { OnnxModel } from '../../../lib/formats/onnx/onnxModel';
import { decode } from '../../../lib/formats/onnx/wire';
import {
  cells,
  input,
  type Layer,
  layers,
  loadModel,
  type Model,
  model,
  modelFromConfig,
  sequential,
  Tensor,
  tensor,
} from '../../../lib/index';
import { fixture, type PackedArray, unpacked, worstOf } from './onnxFixtures';

const folder = mkdtempSync(path.join(os.tmpdir(), 'onnx-export-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = path.join(folder, 'm.onnx');

interface ExportedModel {
  readonly kind: string;
  readonly config: Parameters<typeof modelFromConfig>[0];
  readonly weights: Readonly<Record<string, PackedArray>>;
  readonly options?: OnnxExportOptions;
  readonly inputs: Readonly<Record<string, PackedArray>>;
  /** Of ONNX Runtime. */
  readonly outputs: Readonly<Record<string, PackedArray>>;
  readonly sha256: string;
}

/** What the model predicts, under the names of the graph's outputs. */
async function predicted(model: Model, one: ExportedModel): Promise<Record<string, Tensor>> {
  const inputs = Object.fromEntries(Object.entries(one.inputs).map(([name, x]) => [name, unpacked(x)]));
  const names = (model.graph?.inputs ?? []).map(({ name }) => name);
  const xs = names.map((name) => inputs[name] as Tensor);
  const x = xs.length > 1 || model.namesOutputs ? xs : (xs[0] as Tensor);
  if (!one.options?.states) {
    const y = await model.predict(x as Tensor);
    return y instanceof Tensor
      ? { [Object.keys(one.outputs)[0] as string]: y }
      : (y as Record<string, Tensor>);
  }
  const { output, states } = await model.predict(x as Tensor, { returnStates: true });
  const made: Record<string, Tensor> = { [Object.keys(one.outputs)[0] as string]: output as Tensor };
  for (const [layer, own] of Object.entries(states))
    for (const [name, state] of Object.entries(own)) made[`${layer}/${name}/next`] = state;
  return made;
}

describe('files that ONNX Runtime has run', () => {
  const { cases } = fixture<{ cases: ExportedModel[] }>('exports');

  it.each(cases.map((one) => [one.kind, one] as const))('%s', async (_, one) => {
    const model = modelFromConfig(one.config) as Model;
    await model.setWeights(new Map(Object.entries(one.weights).map(([name, w]) => [name, unpacked(w)])));
    await (one.options ? exportOnnx(model, file, one.options) : model.save(file));
    // Another file: test/peers/onnx.mjs --fixtures has ONNX Runtime run it and remakes the fixture.
    expect(createHash('sha256').update(readFileSync(file)).digest('hex')).toBe(one.sha256);
    // A row whose numbers lie close together has their rounding made larger when it is normalized.
    const limit = /normalization|all variants/.test(one.kind) ? 1e-5 : 2e-6;
    const ours = await predicted(model, one);
    for (const [name, y] of Object.entries(one.outputs))
      expect(worstOf(unpacked(y), ours[name] as Tensor)).toBeLessThan(limit);
    const again = (await loadModel(file)) as OnnxModel;
    const given = Object.fromEntries(Object.entries(one.inputs).map(([name, x]) => [name, unpacked(x)]));
    const back = await again.run(given);
    for (const [name, y] of Object.entries(ours))
      expect(worstOf(y, back[name] as Tensor)).toBeLessThan(limit);
    again.dispose();
    model.dispose();
  });
});

describe('what ONNX has no operators for is refused before a file is written', () => {
  const lstm = (o: object) =>
    sequential([layers.lstm({ units: 2, inputShape: [null, 3], name: 'memory', ...o })]);
  it.each<[string, () => Model, RegExp]>([
    [
      'a stateful layer',
      () => lstm({ stateful: true, inputShape: undefined, batchInputShape: [2, null, 3] }),
      /^layer 'memory': stateful: .*states: true/,
    ],
    [
      'sparsemax',
      () => sequential([layers.dense({ units: 2, activation: 'sparsemax', inputShape: [3], name: 'top' })]),
      /^layer 'top': activation: .*'sparsemax'/,
    ],
    [
      'a stateful layer whose steps no operator makes',
      () => lstm({ stateful: true, zoneout: 0.1, inputShape: undefined, batchInputShape: [2, null, 3] }),
      /^layer 'memory': stateful: .*states: true/,
    ],
  ])('%s', async (_, make, message) => {
    const target = path.join(folder, 'refused.onnx');
    await expect(make().save(target)).rejects.toMatchObject({
      code: 'ERR_VALUE',
      message: expect.stringMatching(message),
    });
    expect(existsSync(target)).toBe(false);
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('a stateful layer goes out with its states', async () => {
    const model = sequential([
      layers.lstm({ units: 2, stateful: true, batchInputShape: [2, null, 3], name: 'memory' }),
    ]);
    await exportOnnx(model, file, { states: true });
    const loaded = (await loadModel(file)) as OnnxModel;
    expect(loaded.outputs).toEqual(['memory', 'memory/h/next', 'memory/c/next']);
    loaded.dispose();
  });

  it.each<[object, RegExp]>([
    [{ state: true }, /exportOnnx: unknown option 'state'. Did you mean 'states'\?/],
    [{ states: 1 }, /exportOnnx: states: expected true or false, got 1/],
    [{ lengths: true }, /exportOnnx: lengths: expected a model that reads sequences/],
  ])('options %j', async (options, message) => {
    const model = sequential([layers.dense({ units: 2, inputShape: [3] })]);
    await expect(exportOnnx(model, file, options)).rejects.toThrow(message);
  });

  it('states of an optimizer', async () => {
    const model = sequential([layers.dense({ units: 2, inputShape: [3] })]);
    await expect(model.save(file, { includeOptimizer: true })).rejects.toThrow(
      /save to ONNX: unknown option 'includeOptimizer'/,
    );
  });
});

describe('recurrences that ONNX has no operator for are written as Scan', () => {
  const nodesOf = async (...list: Layer[]) => {
    await sequential(list).save(file);
    const { graph } = decode<ModelMessage>(readFileSync(file), 'Model');
    return graph?.node ?? [];
  };

  it.each<[string, object, string]>([
    ['an LSTM of the standard', {}, 'LSTM'],
    ['layer normalization', { layerNormalization: true }, 'Scan'],
    ['a projection', { projectionUnits: 2 }, 'Scan'],
    ['a clipped state', { cellClip: 1 }, 'Scan'],
    ['zoneout', { zoneout: 0.1 }, 'Scan'],
    ['zoneout of the cell state', { cellZoneout: 0.1 }, 'Scan'],
    ['an activation that recurrent operators have not', { activation: 'gelu' }, 'Scan'],
    [
      'coupled gates of an activation that is not complementary',
      { coupledGates: true, recurrentActivation: 'relu' },
      'Scan',
    ],
  ])('%s', async (_, o, operator) => {
    const nodes = await nodesOf(layers.lstm({ units: 2, inputShape: [null, 3], ...o }));
    const found = nodes.filter(({ opType }) => opType === 'LSTM' || opType === 'Scan');
    expect(found.map(({ opType }) => opType)).toEqual([operator]);
  });

  it('products of the input alone are made of all steps at once, in front of it', async () => {
    const cell = cells.indRNN({ units: 2 });
    const nodes = await nodesOf(layers.rnn({ cell, returnSequences: true, inputShape: [null, 3] }));
    const scan = nodes.find(({ opType }) => opType === 'Scan');
    const body = scan?.attribute?.find(({ name }) => name === 'body')?.g;
    expect(nodes.filter(({ opType }) => opType === 'MatMul')).toHaveLength(1);
    expect(body?.node?.map(({ opType }) => opType)).toEqual(['Mul', 'Add', 'Add', 'Relu', 'Identity']);
  });

  it('names lie in one space, inside and outside', async () => {
    const cell = () => cells.sru({ units: 3 });
    const nodes = await nodesOf(
      layers.rnn({ cell: cell(), returnSequences: true, inputShape: [null, 3] }),
      layers.rnn({ cell: cell(), goBackwards: true }),
    );
    const bodies = nodes.flatMap(({ attribute = [] }) => attribute.flatMap(({ g }) => (g ? [g] : [])));
    expect(bodies).toHaveLength(2);
    const made = [
      ...[...nodes, ...bodies.flatMap(({ node = [] }) => node)].flatMap(({ output = [] }) => output),
      ...bodies.flatMap(({ input = [] }) => input.map(({ name }) => name)),
    ];
    expect(new Set(made).size).toBe(made.length);
  });
});

describe('batch and time', () => {
  it('are open, unless the model says how many', async () => {
    const model = sequential([layers.gru({ units: 2, returnSequences: true, inputShape: [null, 3] })]);
    await model.save(file);
    const loaded = (await loadModel(file)) as OnnxModel;
    expect(loaded.inputs).toEqual([{ name: 'x', dtype: 'float32', shape: [null, null, 3], optional: false }]);
    for (const [n, t] of [
      [1, 1],
      [4, 9],
      [2, 5],
    ] as const) {
      const x = new Tensor(
        Float32Array.from({ length: n * t * 3 }, (_, i) => Math.sin(i)),
        [n, t, 3],
      );
      expect(worstOf(await model.predict(x), (await loaded.predict(x)) as Tensor)).toBeLessThan(1e-6);
    }
    loaded.dispose();
  });

  it.each([
    ['an operator', {}, false],
    ['an operator of both directions', {}, true],
    ['Scan', { layerNormalization: true }, false],
    ['Scan in both directions', { layerNormalization: true }, true],
  ])('all steps are read by layers that are told so beside states, as %s', async (_, options, both) => {
    const x = input({ shape: [null], dtype: 'int32', name: 'ids' });
    const words = layers.embedding({ inputDim: 9, outputDim: 2, maskZero: true });
    const begin = layers.dense({ units: 3 }).apply(layers.globalAveragePooling1D().apply(words.apply(x)));
    const layer = layers.gru({ units: 3, returnSequences: true, maskWithStates: false, ...options });
    const y = both
      ? layers.bidirectional({ layer }).apply([words.apply(x), begin, begin])
      : layer.apply([words.apply(x), begin]);
    const net = model({ inputs: x, outputs: [y, layers.globalAveragePooling1D({ name: 'mean' }).apply(y)] });
    await net.save(file);
    const loaded = (await loadModel(file)) as OnnxModel;
    // Steps that do not count stand between those that do, which an operator could not leave out.
    const ids = tensor(Int32Array.of(1, 0, 2, 3, 4, 5, 0, 0), [2, 4]);
    const ours = Object.values((await net.predict(ids)) as unknown as Record<string, Tensor>);
    const theirs = Object.values((await loaded.predict(ids)) as unknown as Record<string, Tensor>);
    expect(theirs).toHaveLength(2);
    for (const [i, own] of ours.entries()) expect(worstOf(own, theirs[i] as Tensor)).toBeLessThan(1e-6);
    loaded.dispose();
  });

  it('masks that are not of the first steps alone make a run fail', async () => {
    const model = sequential([
      layers.embedding({ inputDim: 9, outputDim: 2, maskZero: true, name: 'words' }),
      layers.lstm({ units: 2 }),
    ]);
    await model.save(file);
    const loaded = (await loadModel(file)) as OnnxModel;
    const run = (ids: number[]) => loaded.run({ x: tensor(Int32Array.from(ids), [1, 4]) });
    await run([1, 2, 0, 0]);
    await run([0, 0, 0, 0]);
    await expect(run([1, 0, 2, 3])).rejects.toThrow(/sequence_lens of node .*padded behind/);
    await expect(run([0, 1, 2, 3])).rejects.toThrow(/sequence_lens of node/);
    loaded.dispose();
  });
});
