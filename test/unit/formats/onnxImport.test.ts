import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { loadModel } from '../../../lib/formats';
import { onnx } from '../../../lib/formats/onnx';
import {
  attributeTypes,
  elementTypes,
  type ModelMessage,
  type NodeMessage,
  type TensorMessage,
} from '../../../lib/formats/onnx/messages';
import type { OnnxModel } from '../../../lib/formats/onnx/onnxModel';
import { encode } from '../../../lib/formats/onnx/wire';
import { Tensor, tensor } from '../../../lib/tensors/tensor';
import { fixture, type PackedArray, unpacked, worstOf } from './onnxFixtures';

const folder = mkdtempSync(path.join(os.tmpdir(), 'onnx-import-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function load(bytes: Uint8Array, device?: string): Promise<OnnxModel> {
  const file = path.join(folder, 'm.onnx');
  writeFileSync(file, bytes);
  return (await loadModel(file, device === undefined ? {} : { device })) as OnnxModel;
}

interface ConformanceCase {
  readonly name: string;
  readonly model: string;
  readonly inputs: readonly PackedArray[];
  readonly outputs: readonly PackedArray[];
}

describe("the ONNX project's conformance cases of the operators that are known", () => {
  const { cases } = fixture<{ cases: ConformanceCase[] }>('conformance');

  it('are there, those of recurrences among them', () => {
    expect(cases.length).toBeGreaterThanOrEqual(338);
    const recurrent = cases.filter(({ name }) => /^test_(simple_rnn|rnn|gru|lstm)_/.test(name));
    expect(recurrent.map(({ name }) => name)).toHaveLength(18);
  });

  const { DEEPRNN_TEST_DEVICE = 'cpu' } = process.env;
  for (const device of [DEEPRNN_TEST_DEVICE, 'reference'])
    it(`agree on ${device}`, async () => {
      const wrong: string[] = [];
      for (const { name, model, inputs, outputs } of cases) {
        const loaded = await load(Buffer.from(model, 'base64'), device);
        const names = loaded.inputs.map((input) => input.name);
        const made = await loaded.run(Object.fromEntries(inputs.map((x, i) => [names[i], unpacked(x)])));
        const worst = Math.max(
          0,
          ...outputs.map((y, i) => worstOf(unpacked(y), made[loaded.outputs[i] as string] as Tensor)),
        );
        if (!(worst <= 1e-5)) wrong.push(`${name}: ${worst}`);
        loaded.dispose();
      }
      expect(wrong).toEqual([]);
    });
});

interface ExportCase {
  readonly name: string;
  readonly model: string;
  readonly inputs: Readonly<Record<string, PackedArray>>;
  readonly outputs: Readonly<Record<string, PackedArray>>;
}

describe('models that PyTorch and Keras exported', () => {
  const cases = ['pytorch-exports', 'keras-exports'].flatMap(
    (name) => fixture<{ cases: ExportCase[] }>(name).cases,
  );

  it.each(cases.map((one) => [one.name, one] as const))('%s', async (_, { model, inputs, outputs }) => {
    const loaded = await load(Buffer.from(model, 'base64'));
    const given = Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, unpacked(x)]));
    const made = await loaded.run(given);
    for (const [name, y] of Object.entries(outputs))
      expect(worstOf(unpacked(y), made[name] as Tensor)).toBeLessThan(2e-6);
    loaded.dispose();
  });

  it('fuses the layers of a stack', async () => {
    const { model, inputs } = cases.find(
      ({ name }) => name === 'lstm of two layers, TorchScript',
    ) as ExportCase;
    const loaded = await load(Buffer.from(model, 'base64'));
    const { plan } = loaded.lower(new Map(Object.entries(inputs).map(([name, x]) => [name, unpacked(x)])));
    const stacks = plan.ops.flatMap((op) => (op.kind === 'rnnStack' ? [op.attrs.layers.length] : []));
    expect(stacks).toEqual([2]);
    loaded.dispose();
  });
});

const vector = (name: string, dims: number[], values: number[]): TensorMessage => ({
  name,
  dims,
  dataType: elementTypes.float32,
  rawData: new Uint8Array(Float32Array.from(values).buffer),
});
const info = (name: string, dims: (number | string)[], elemType: number = elementTypes.float32) => ({
  name,
  type: {
    tensorType: {
      elemType,
      shape: { dim: dims.map((n) => (typeof n === 'number' ? { dimValue: n } : { dimParam: n })) },
    },
  },
});

/** x [N, 2] → y = x·W, W [2, 2]. */
function small(change: Partial<NonNullable<ModelMessage['graph']>> = {}, opset = 17): Uint8Array {
  const node: NodeMessage = { opType: 'MatMul', name: 'product', input: ['x', 'W'], output: ['y'] };
  const graph = {
    name: 'g',
    node: [node],
    initializer: [vector('W', [2, 2], [1, 2, 3, 4])],
    input: [info('x', ['N', 2])],
    output: [info('y', ['N', 2])],
    ...change,
  };
  return encode({ irVersion: 8, graph, opsetImport: [{ domain: '', version: opset }] }, 'Model');
}

describe('run and predict', () => {
  it('take arrays of any kind, by name or of the one input', async () => {
    const model = await load(small());
    expect((await model.run({ x: [[1, 1]] }))['y']?.toArray()).toEqual([[4, 6]]);
    expect(
      (
        (await model.predict(
          tensor([
            [1, 0],
            [0, 1],
          ]),
        )) as Tensor
      ).toArray(),
    ).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(((await model.predict({ x: [[2, 0]] })) as Tensor).toArray()).toEqual([[2, 4]]);
    expect(model.inputs).toEqual([{ name: 'x', dtype: 'float32', shape: [null, 2], optional: false }]);
    expect(model.summary()).toContain('y = MatMul(x, W)');
    expect(model.countParams()).toBe(4);
    model.dispose();
    await expect(model.run({ x: [[1, 1]] })).rejects.toThrow(/has been disposed/);
  });

  it('several at once, of several shapes', async () => {
    const model = await load(small());
    const made = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        model.run({ x: new Tensor(new Float32Array(2 * (i + 1)).fill(i), [i + 1, 2]) }),
      ),
    );
    for (const [i, { y }] of made.entries())
      expect(y?.toArray()).toEqual(Array.from({ length: i + 1 }, () => [4 * i, 6 * i]));
    model.dispose();
  });

  it.each<[string, unknown, RegExp]>([
    ['an unknown name', { x: [[1, 1]], z: [1] }, /run: inputs: expected names among x, got 'z'/],
    ['a missing input', {}, /run: input 'x': expected an array, got nothing/],
    ['a wrong width', { x: [[1, 1, 1]] }, /run: input 'x': expected \[N, 2\], got \[1, 3\]/],
    ['a wrong rank', { x: [1, 1] }, /run: input 'x': expected \[N, 2\], got \[2\]/],
    ['no object', [[1, 1]], /run: inputs: expected an object of arrays/],
  ])('refuse %s', async (_, inputs, message) => {
    const model = await load(small());
    await expect(model.run(inputs as Record<string, number[]>)).rejects.toThrow(message);
    model.dispose();
  });

  it('leave training and saving to models of layers', async () => {
    const model = await load(small());
    await expect(model.fit([[1, 1]], [[1, 1]])).rejects.toThrow(
      /expected a model of layers, got one of an ONNX graph/,
    );
    await expect(model.save(path.join(folder, 'again.onnx'))).rejects.toThrow(/an ONNX graph/);
    expect(() => model.compile()).toThrow(/cannot be trained/);
    expect(() => model.getConfig()).toThrow(/ONNX graph/);
    model.dispose();
  });

  it('prove ids, naming the node', async () => {
    const model = await load(
      small({
        node: [{ opType: 'Gather', name: 'lookup', input: ['W', 'x'], output: ['y'] }],
        input: [info('x', ['N'], elementTypes.int64)],
      }),
    );
    expect((await model.run({ x: [1, 0] }))['y']?.toArray()).toEqual([
      [3, 4],
      [1, 2],
    ]);
    await expect(model.run({ x: [0, 2] })).rejects.toThrow(
      /ids of node 'lookup' \(Gather\): expected whole numbers from 0 to 1, got 2/,
    );
    model.dispose();
  });

  it('take a default for what is left out', async () => {
    const model = await load(small({ input: [info('x', ['N', 2]), info('W', [2, 2])] }));
    expect((await model.run({ x: [[1, 1]] }))['y']?.toArray()).toEqual([[4, 6]]);
    expect(
      (
        await model.run({
          x: [[1, 1]],
          W: [
            [1, 0],
            [0, 1],
          ],
        })
      )['y']?.toArray(),
    ).toEqual([[1, 1]]);
    model.dispose();
  });
});

describe('a vector that is added to a product', () => {
  const graph = (output: string[]) =>
    small({
      node: [
        { opType: 'MatMul', input: ['x', 'W'], output: ['p'] },
        { opType: 'Add', input: ['b', 'p'], output: ['y'] },
      ],
      initializer: [vector('W', [2, 2], [1, 2, 3, 4]), vector('b', [2], [10, 20])],
      output: output.map((name) => info(name, ['N', 2])),
    });

  it('is its bias', async () => {
    const model = await load(graph(['y']));
    expect((await model.run({ x: [[1, 1]] }))['y']?.toArray()).toEqual([[14, 26]]);
    const { plan } = model.lower(new Map([['x', tensor([[1, 1]])]]));
    expect(plan.ops.map(({ kind }) => kind)).toEqual(['dense', 'scale']);
    model.dispose();
  });

  it('but not of the product itself, where that is wanted too', async () => {
    const model = await load(graph(['y', 'p']));
    const { y, p } = await model.run({ x: [[1, 1]] });
    expect([y?.toArray(), p?.toArray()]).toEqual([[[14, 26]], [[4, 6]]]);
    model.dispose();
  });
});

describe('ids', () => {
  const ids = (node: NodeMessage[], output = ['y']) =>
    small({
      node,
      initializer: [vector('W', [2, 3], [1, 2, 3, 4, 5, 6]), vector('V', [4, 1], [10, 20, 30, 40])],
      input: [info('ids', ['N', 2], elementTypes.int32)],
      output: output
        .map((name) => info(name, []))
        .map(({ name, type: { tensorType } }) => {
          return { name, type: { tensorType: { elemType: tensorType.elemType } } };
        }),
    });
  const gather = (table: string, y: string, axis = 0, from = 'ids'): NodeMessage => ({
    opType: 'Gather',
    name: y,
    input: [table, from],
    output: [y],
    attribute: [{ name: 'axis', i: axis, type: attributeTypes.int }],
  });
  const given = { ids: tensor(Int32Array.from([0, -1]), [1, 2]) };

  it('below 0 count from the end, under another name too', async () => {
    const cast = { name: 'to', i: elementTypes.int64, type: attributeTypes.int };
    const node = [
      { opType: 'Cast', input: ['ids'], output: ['same'], attribute: [cast] },
      gather('V', 'y', 0, 'same'),
    ];
    const model = await load(ids(node));
    expect((await model.run(given))['y']?.toArray()).toEqual([[[10], [40]]]);
    // What the caller gave is left as it was.
    expect([...given.ids.data]).toEqual([0, -1]);
    await expect(model.run({ ids: tensor(Int32Array.from([0, -5]), [1, 2]) })).rejects.toThrow(
      /ids of node 'y' \(Gather\): expected whole numbers from 0 to 3, got -5/,
    );
    model.dispose();
  });

  it('are refused below 0 where they are of axes of two lengths, or read otherwise', async () => {
    const two = await load(ids([gather('W', 'y'), gather('V', 'z')], ['y', 'z']));
    await expect(two.run(given)).rejects.toThrow(/expected whole numbers from 0 to/);
    two.dispose();
    const compared: NodeMessage = { opType: 'Equal', input: ['ids', 'minus'], output: ['z'] };
    const bytes = ids(
      [
        {
          opType: 'Constant',
          output: ['minus'],
          attribute: [{ name: 'value_int', i: -1, type: attributeTypes.int }],
        },
        gather('V', 'y'),
        compared,
      ],
      ['y', 'z'],
    );
    const other = await load(bytes);
    await expect(other.run(given)).rejects.toThrow(/expected whole numbers from 0 to/);
    other.dispose();
  });

  it('along any axis, of a constant and of what is worked out', async () => {
    const relu: NodeMessage = { opType: 'Relu', input: ['W'], output: ['live'] };
    for (const [nodes, table] of [
      [[], 'W'],
      [[relu], 'live'],
    ] as const) {
      const model = await load(ids([...nodes, gather(table, 'y', 1)]));
      expect((await model.run(given))['y']?.toArray()).toEqual([[[1, 3]], [[4, 6]]]);
      model.dispose();
    }
  });
});

describe('arrays without numbers', () => {
  it('are summed to 0, and come out where something is cut off whole', async () => {
    const axes = { ...vector('axes', [1], []), dataType: elementTypes.int64, rawData: new Uint8Array(8) };
    const begin = { ...axes, name: 'begin', rawData: Uint8Array.from([9, 0, 0, 0, 0, 0, 0, 0]) };
    const bytes = small({
      node: [
        {
          opType: 'ReduceSum',
          input: ['x', 'axes'],
          output: ['y'],
          attribute: [{ name: 'keepdims', i: 0, type: attributeTypes.int }],
        },
        { opType: 'Slice', input: ['x', 'begin', 'begin', 'axes'], output: ['cut'] },
      ],
      initializer: [axes, begin],
      output: [info('y', [2]), info('cut', ['M', 2])],
    });
    const model = await load(bytes);
    const empty = await model.run({ x: new Tensor(new Float32Array(0), [0, 2]) });
    expect(empty['y']?.toArray()).toEqual([0, 0]);
    expect(empty['cut']?.shape).toEqual([0, 2]);
    expect((await model.run({ x: [[1, 2]] }))['y']?.toArray()).toEqual([1, 2]);
    model.dispose();
  });

  it('are refused by the node that has nothing to do with them', async () => {
    const model = await load(small());
    await expect(model.run({ x: new Tensor(new Float32Array(0), [0, 2]) })).rejects.toThrow(
      /node 'product' \(MatMul\): expected a shape without a 0, got \[0, 2\]/,
    );
    model.dispose();
  });
});

test('NaN is true, as all that is not 0', async () => {
  const cast = (input: string, output: string, to: number): NodeMessage => {
    return {
      opType: 'Cast',
      input: [input],
      output: [output],
      attribute: [{ name: 'to', i: to, type: attributeTypes.int }],
    };
  };
  const model = await load(
    small({ node: [cast('x', 'b', elementTypes.bool), cast('b', 'y', elementTypes.float32)] }),
  );
  const x = [
    [Number.NaN, 0],
    [-0, -2],
    [Number.POSITIVE_INFINITY, 1e-40],
  ];
  const { y } = await model.run({ x });
  expect(y?.toArray()).toEqual([
    [1, 0],
    [0, 1],
    [1, 1],
  ]);
  model.dispose();
});

describe('a file is known as ONNX', () => {
  it('by what is in it, whatever its name', async () => {
    const file = path.join(folder, 'graph.bin');
    writeFileSync(file, small());
    const model = (await loadModel(file)) as OnnxModel;
    expect(model.outputs).toEqual(['y']);
    model.dispose();
  });

  it('and not for the length of the header of safetensors', () => {
    const header = [0x08, 0x09, 0x3a, 0, 0, 0, 0, 0];
    expect(onnx.recognizes(Uint8Array.from([...header, 0x7b, 0x22]), 'm.safetensors')).toBe(false);
    expect(onnx.recognizes(Uint8Array.from([0x08, 0x09, 0x3a, 4, 0x0a, 0, 0x12, 0]), 'm.bin')).toBe(true);
  });

  it('by its name, which then has to be true', async () => {
    const file = path.join(folder, 'text.onnx');
    writeFileSync(file, 'no model at all');
    await expect(loadModel(file)).rejects.toMatchObject({ code: 'ERR_FILE' });
  });
});

test('a graph of more nodes than any exporter writes is refused before they are looked at', async () => {
  const chain = Array.from({ length: 50_001 }, (_, i): NodeMessage => {
    return { opType: 'Relu', input: [i === 0 ? 'x' : `v${i}`], output: [i === 50_000 ? 'y' : `v${i + 1}`] };
  });
  await expect(load(small({ node: chain }))).rejects.toThrow(
    /its graph has 50001 nodes, expected at most 50000/,
  );
});

test('of more recurrences on each other than any network has a stack holds 256', async () => {
  const count = 300;
  const rnn = (i: number): NodeMessage[] => [
    { opType: 'RNN', name: `n${i}`, input: [i === 0 ? 'x' : `h${i - 1}`, 'k', 'r'], output: [`d${i}`] },
    { opType: 'Squeeze', input: [`d${i}`, 'axis'], output: [i === count - 1 ? 'y' : `h${i}`] },
  ];
  const bytes = small({
    node: Array.from({ length: count }, (_, i) => rnn(i)).flat(),
    initializer: [
      vector('k', [1, 1, 1], [1.5]),
      vector('r', [1, 1, 1], [-0.5]),
      {
        name: 'axis',
        dims: [1],
        dataType: elementTypes.int64,
        rawData: Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0]),
      },
    ],
    input: [info('x', ['T', 'N', 1])],
    output: [info('y', ['T', 'N', 1])],
  });
  const x = tensor([
    [[0.5], [-1]],
    [[1], [0.25]],
  ]);
  const outputs = [];
  for (const device of ['cpu', 'reference']) {
    const model = await load(bytes, device);
    const stacks = model.lower(new Map([['x', x]])).plan.ops.filter((op) => op.kind === 'rnnStack');
    expect(stacks.map(({ attrs }) => attrs.layers.length)).toEqual([256, 44]);
    outputs.push((await model.run({ x }))['y'] as Tensor);
    model.dispose();
  }
  expect(worstOf(outputs[1] as Tensor, outputs[0] as Tensor)).toBeLessThan(1e-5);
});

describe('refusals name node, operator and reason', () => {
  const node = (change: Partial<NodeMessage>) =>
    small({ node: [{ opType: 'MatMul', name: 'n', input: ['x', 'W'], output: ['y'], ...change }] });
  const bad = (change: Partial<TensorMessage>) =>
    small({ initializer: [{ ...vector('W', [2, 2], [1, 2, 3, 4]), ...change }] });
  it.each<[string, Uint8Array, RegExp]>([
    ['an unknown operator', node({ opType: 'Loop' }), /node 'n' \(Loop\): this operator is not known/],
    [
      'another domain',
      node({ domain: 'com.microsoft' }),
      /node 'n' \(com\.microsoft\.MatMul\): this operator/,
    ],
    [
      'an unknown attribute',
      node({ attribute: [{ name: 'odd', i: 1, type: attributeTypes.int }] }),
      /node 'n' \(MatMul\): attribute 'odd'/,
    ],
    [
      'an attribute of another type',
      node({ opType: 'Gather', attribute: [{ name: 'axis', f: 1, type: attributeTypes.float }] }),
      /attribute 'axis' is not written as int/,
    ],
    ['too few inputs', node({ input: ['x'] }), /node 'n' \(MatMul\): expected 2 inputs, got 1/],
    [
      'an input that is left out, but needed (found by test/fuzz/onnx.mjs)',
      node({ opType: 'Gemm', input: ['', 'x', 'W'] }),
      /node 'n' \(Gemm\): expected 2 to 3 inputs/,
    ],
    ['an input that nothing makes', node({ input: ['x', 'V'] }), /nothing makes its input 'V'/],
    [
      'a cycle',
      small({
        node: [
          { opType: 'MatMul', name: 'a', input: ['z', 'W'], output: ['y'] },
          { opType: 'MatMul', name: 'b', input: ['y', 'W'], output: ['z'] },
        ],
      }),
      /node 'a' \(MatMul\): its input 'z' is made behind it, in a cycle/,
    ],
    [
      'a value made twice',
      small({
        node: [
          { opType: 'Identity', input: ['x'], output: ['y'] },
          { opType: 'Identity', input: ['x'], output: ['y'] },
        ],
      }),
      /its output 'y' is made twice/,
    ],
    ['an output that nothing makes', small({ output: [info('q', [1])] }), /nothing makes the output 'q'/],
    [
      'an input of another type',
      small({ input: [info('x', ['N', 2], elementTypes.float64)] }),
      /input 'x': expected a tensor of .*, got float64/,
    ],
    [
      'weights of another type',
      bad({ dataType: elementTypes.complex64 }),
      /initializer 'W': it is of complex64/,
    ],
    ['a gigantic shape', bad({ dims: [2 ** 40, 2 ** 40] }), /initializer 'W': its shape is/],
    ['more than the bytes', bad({ dims: [2 ** 30, 2] }), /initializer .W.: it has 16 bytes/],
    ['a negative length', bad({ dims: [-1, -4] }), /initializer 'W': its shape is \[-1, -4\]/],
    ['an old operator set', small({}, 6), /expected an operator set of version 7 to \d+, got 6/],
    ['no graph', encode({ irVersion: 8, opsetImport: [{ version: 17 }] }, 'Model'), /it has no graph/],
    [
      'an unknown direction',
      node({
        opType: 'LSTM',
        input: ['x', 'W', 'W'],
        attribute: [{ name: 'direction', s: 'sideways', type: attributeTypes.string }],
      }),
      /node 'n' \(LSTM\): expected a direction .*, got 'sideways'/,
    ],
    [
      'an unknown activation',
      node({
        opType: 'RNN',
        input: ['x', 'W', 'W'],
        attribute: [{ name: 'activations', strings: ['Sine'], type: attributeTypes.strings }],
      }),
      /expected activations .*, got 'sine'/,
    ],
    [
      'too many made numbers',
      small({
        node: [{ opType: 'ConstantOfShape', name: 'n', input: ['s'], output: ['y'] }],
        initializer: [
          {
            name: 's',
            dims: [2],
            dataType: elementTypes.float32,
            rawData: new Uint8Array(Float32Array.from([2 ** 20, 2 ** 20]).buffer),
          },
        ],
        input: [],
      }),
      /node 'n' \(ConstantOfShape\): expected a shape of at most/,
    ],
  ])('%s', async (_, bytes, message) => {
    await expect(load(bytes)).rejects.toMatchObject({
      code: 'ERR_FILE',
      message: expect.stringMatching(message),
    });
  });

  it('shapes that do not fit, when they are known', async () => {
    const model = await load(
      small({ node: [{ opType: 'Add', name: 'sum', input: ['x', 'W'], output: ['y'] }] }),
    );
    await expect(model.run({ x: new Float32Array(6) as never })).rejects.toThrow(/expected \[N, 2\]/);
    await expect(model.run({ x: new Tensor(new Float32Array(6), [3, 2]) })).rejects.toThrow(
      /node 'sum' \(Add\): expected two shapes of which one goes into the other, got \[3, 2\] and \[2, 2\]/,
    );
    model.dispose();
  });

  it('vectors that do not go into the rows they are for (found by test/fuzz/onnx.mjs)', async () => {
    const node: NodeMessage = { opType: 'LayerNormalization', name: 'n', input: ['x', 'W'], output: ['y'] };
    const model = await load(small({ node: [node] }));
    await expect(model.run({ x: [[1, 2]] })).rejects.toThrow(
      /node 'n' \(LayerNormalization\): expected what goes into \[2\], got \[2, 2\]/,
    );
    model.dispose();
  });

  it('numbers that are cut off, of a constant that is read when shapes are known (found by test/fuzz/onnx.mjs)', async () => {
    const value = (piece: number[]): TensorMessage => ({
      dims: [1],
      dataType: elementTypes.float32,
      floatData: [Uint8Array.from(piece)],
    });
    const filled = (t: TensorMessage) =>
      small({
        node: [
          { opType: 'Shape', input: ['x'], output: ['s'] },
          {
            opType: 'ConstantOfShape',
            name: 'n',
            input: ['s'],
            output: ['y'],
            attribute: [{ name: 'value', t, type: attributeTypes.tensor }],
          },
        ],
      });
    const model = await load(filled(value([0, 0, 128, 63])));
    expect((await model.run({ x: [[5, 6]] }))['y']?.toArray()).toEqual([[1, 1]]);
    model.dispose();
    await expect(load(filled(value([0, 0, 128])))).rejects.toThrow(/its last number is cut off/);
  });

  it('graphs that make far more numbers than they are given', async () => {
    const node = Array.from(
      { length: 29 },
      (_, i): NodeMessage => ({
        opType: 'Concat',
        input: [`v${i}`, `v${i}`],
        output: [`v${i + 1}`],
        attribute: [{ name: 'axis', i: 0, type: attributeTypes.int }],
      }),
    );
    const model = await load(
      small({ node, input: [info('v0', ['N', 2])], initializer: [], output: [info('v29', ['M', 2])] }),
    );
    await expect(model.run({ v0: [[1, 2]] })).rejects.toThrow(
      /expected fewer numbers for inputs and weights/,
    );
    model.dispose();
  });

  it('truncated and altered files', async () => {
    const bytes = small();
    let refused = 0;
    for (let end = 0; end < bytes.length; end++)
      await load(bytes.subarray(0, end)).then(
        (model) => model.dispose(),
        () => refused++,
      );
    expect(refused).toBeGreaterThan(bytes.length * 0.9);
  });
});

describe('weights in files beside the model', () => {
  const outside = (location: string, more: { key: string; value: string }[] = []) =>
    small({
      initializer: [
        {
          name: 'W',
          dims: [2, 2],
          dataType: elementTypes.float32,
          dataLocation: 1,
          externalData: [{ key: 'location', value: location }, ...more],
        },
      ],
    });
  writeFileSync(path.join(folder, 'W.bin'), new Uint8Array(Float32Array.from([9, 1, 2, 3, 4]).buffer));
  symlinkSync(os.devNull, path.join(folder, 'link.bin'));

  it('are read from their place', async () => {
    const model = await load(
      outside('W.bin', [
        { key: 'offset', value: '4' },
        { key: 'length', value: '16' },
      ]),
    );
    expect((await model.run({ x: [[1, 1]] }))['y']?.toArray()).toEqual([[4, 6]]);
    model.dispose();
  });

  it.each([
    ['../W.bin', /no file beside the model/],
    ['/etc/passwd', /no file beside the model/],
    ['..', /no file beside the model/],
    ['a\\..\\W.bin', /no file beside the model/],
    ['link.bin', /behind a link out of the folder/],
    ['none.bin', /could not be read/],
  ])('are not read from %s', async (location, message) => {
    await expect(load(outside(location))).rejects.toMatchObject({
      code: 'ERR_FILE',
      message: expect.stringMatching(message),
    });
  });

  it.each([
    [[{ key: 'offset', value: '8' }], /has 12 for it/],
    [[{ key: 'length', value: '12' }], /needs 16 bytes/],
    [[{ key: 'offset', value: '-4' }], /its offset is '-4'/],
  ])('must be as many as the shape says: %j', async (more, message) => {
    await expect(load(outside('W.bin', more))).rejects.toThrow(message);
  });
});
