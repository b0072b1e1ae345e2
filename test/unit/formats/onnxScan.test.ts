import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { loadModel } from '../../../lib/formats';
import {
  type AttributeMessage,
  attributeTypes,
  elementTypes,
  type GraphMessage,
  type ModelMessage,
  type NodeMessage,
  type TensorMessage,
  type ValueInfoMessage,
} from '../../../lib/formats/onnx/messages';
import type { OnnxModel } from '../../../lib/formats/onnx/onnxModel';
import { decode, encode } from '../../../lib/formats/onnx/wire';
import { cells, layers, sequential, tensor } from '../../../lib/index';

const folder = mkdtempSync(path.join(os.tmpdir(), 'onnx-scan-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = path.join(folder, 'm.onnx');

function info(name: string, dims: readonly (number | string)[] = []): ValueInfoMessage {
  const dim = dims.map((n) => (typeof n === 'number' ? { dimValue: n } : { dimParam: n }));
  return { name, type: { tensorType: { elemType: elementTypes.float32, shape: { dim } } } };
}

function constant(
  name: string,
  dims: number[],
  values: number[],
  type: 'float32' | 'int64' = 'float32',
): TensorMessage {
  const numbers = type === 'float32' ? Float32Array.from(values) : BigInt64Array.from(values, BigInt);
  return { name, dims, dataType: elementTypes[type], rawData: new Uint8Array(numbers.buffer) };
}

const int = (name: string, i: number): AttributeMessage => ({ name, i, type: attributeTypes.int });
const ints = (name: string, list: number[]): AttributeMessage => ({
  name,
  ints: list,
  type: attributeTypes.ints,
});

interface ScanGraph {
  readonly body?: Partial<GraphMessage>;
  readonly node?: Partial<NodeMessage>;
  /** Beside body and num_scan_inputs. */
  readonly attributes?: AttributeMessage[];
  readonly sequences?: number;
  /** In front of the Scan. */
  readonly front?: NodeMessage[];
}

/** s ← 2·s + x·W of each step, which shows s too. */
function written({ body, node, attributes = [], sequences = 1, front = [] }: ScanGraph = {}): Uint8Array {
  const own: GraphMessage = {
    name: 'body',
    node: [
      { opType: 'MatMul', name: 'product', input: ['step', 'W'], output: ['p'] },
      { opType: 'Mul', name: 'twice', input: ['before', 'two'], output: ['t'] },
      { opType: 'Add', name: 'sum', input: ['p', 't'], output: ['after'] },
      { opType: 'Identity', name: 'show', input: ['after'], output: ['shown'] },
    ],
    input: [info('before'), info('step')],
    output: [info('after'), info('shown')],
    ...body,
  };
  const scan: NodeMessage = {
    opType: 'Scan',
    name: 'steps',
    input: ['s', 'x'],
    output: ['end', 'all'],
    attribute: [
      { name: 'body', g: own, type: attributeTypes.graph },
      int('num_scan_inputs', sequences),
      ...attributes,
    ],
    ...node,
  };
  const graph: GraphMessage = {
    name: 'scan',
    node: [...front, scan],
    initializer: [
      constant('W', [2, 2], [1, 0, 0, 10]),
      constant('two', [], [2]),
      constant('vector', [2], [5, 7]),
      constant('place', [], [0], 'int64'),
      constant('batch', [1], [1], 'int64'),
      constant('tall', [2, 1], [1, 2]),
      constant('places', [2], [1, 0], 'int64'),
      constant('last', [1], [-1], 'int64'),
      constant('shape', [3], [0, 2, 1], 'int64'),
    ],
    input: [info('s', ['N', 2]), info('x', ['T', 'N', 2])],
    output: [info('end', ['N', 2]), info('all', ['T', 'N', 2])],
  };
  return encode({ irVersion: 8, graph, opsetImport: [{ domain: '', version: 17 }] }, 'Model');
}

async function load(bytes: Uint8Array, device?: string): Promise<OnnxModel> {
  writeFileSync(file, bytes);
  return (await loadModel(file, device === undefined ? {} : { device })) as OnnxModel;
}

const inputs = { s: [[1, 1]], x: [[[1, 1]], [[2, 2]], [[3, 3]]] };
async function ran(bytes: Uint8Array): Promise<Record<string, unknown>> {
  const model = await load(bytes);
  const outputs = await model.run(inputs);
  model.dispose();
  return Object.fromEntries(Object.entries(outputs).map(([name, y]) => [name, y.toArray()]));
}

/** s of each step by hand: x forwards, and from its end. */
const forwards = [[[3, 12]], [[8, 44]], [[19, 118]]];
const backwards = [[[5, 32]], [[12, 84]], [[25, 178]]];

describe('Scan', () => {
  const turned = (list: unknown[]) => [...list].reverse();
  it.each<[string, AttributeMessage[], unknown[]]>([
    ['forwards', [], forwards],
    ['forwards, the last step in front', [ints('scan_output_directions', [1])], turned(forwards)],
    ['from the end', [ints('scan_input_directions', [1])], backwards],
    [
      'from the end, in the order of the input',
      [ints('scan_input_directions', [1]), ints('scan_output_directions', [1])],
      turned(backwards),
    ],
  ])('reads %s', async (_, attributes, all) => {
    const { end, all: shown } = await ran(written({ attributes }));
    expect(shown).toEqual(all);
    expect(end).toEqual(
      attributes.some(({ name }) => name === 'scan_input_directions') ? [[25, 178]] : [[19, 118]],
    );
  });

  it('reads two sequences, each its own way', async () => {
    const bytes = written({
      sequences: 2,
      node: { input: ['s', 'x', 'x'] },
      attributes: [ints('scan_input_directions', [0, 1])],
      body: {
        input: [info('before'), info('step'), info('other')],
        node: [
          { opType: 'Sub', input: ['step', 'other'], output: ['d'] },
          { opType: 'Add', input: ['d', 'before'], output: ['after'] },
          { opType: 'Mul', input: ['step', 'other'], output: ['shown'] },
        ],
      },
    });
    expect(await ran(bytes)).toEqual({ end: [[1, 1]], all: [[[3, 3]], [[4, 4]], [[3, 3]]] });
  });

  it.each<[string, NodeMessage[], unknown]>([
    [
      'sums of a row',
      [
        { opType: 'ReduceSum', input: ['step', 'last'], output: ['r'] },
        { opType: 'Add', input: ['r', 'before'], output: ['after'] },
      ],
      [[13, 13]],
    ],
    [
      'places of columns',
      [
        { opType: 'Gather', input: ['step', 'places'], output: ['r'], attribute: [int('axis', 1)] },
        { opType: 'MatMul', input: ['r', 'W'], output: ['after'] },
      ],
      [[3, 30]],
    ],
    [
      'rows in other axes',
      [
        { opType: 'Reshape', input: ['step', 'shape'], output: ['r'] },
        { opType: 'ReduceSum', input: ['r', 'last'], output: ['q'], attribute: [int('keepdims', 0)] },
        { opType: 'Concat', input: ['q', 'before'], output: ['c'], attribute: [int('axis', -1)] },
        { opType: 'Split', input: ['c'], output: ['a', 'b'], attribute: [int('axis', 1)] },
        { opType: 'Add', input: ['a', 'b'], output: ['after'] },
      ],
      [[7, 7]],
    ],
  ])('%s', async (_, nodes, end) => {
    const node = [...nodes, { opType: 'Identity', input: ['after'], output: ['shown'] }];
    expect((await ran(written({ body: { node } })))['end']).toEqual(end);
  });

  const float = (name: string, f: number): AttributeMessage => ({ name, f, type: attributeTypes.float });
  it.each<[string, NodeMessage, unknown]>([
    ['a product', { input: ['step', 'W'] }, [[3, 30]]],
    ['a product with a bias', { input: ['step', 'W', 'vector'] }, [[8, 37]]],
    ['a product with a number', { input: ['step', 'W', 'two'], attribute: [float('beta', 3)] }, [[9, 36]]],
    [
      'parts of a product and of the state',
      { input: ['step', 'W', 'before'], attribute: [float('alpha', 0.5), float('beta', 2)] },
      [[13.5, 63]],
    ],
    ['without the bias', { input: ['step', 'W', 'before'], attribute: [float('beta', 0)] }, [[3, 30]]],
    [
      'by a transposed constant',
      { input: ['step', 'own', 'vector'], attribute: [int('transB', 1)] },
      [[5 + 3 * 3, 7 + 3 * 7]],
    ],
    [
      'by a transposed matrix that is worked out',
      { input: ['step', 'worked'], attribute: [int('transB', 1)] },
      [[12, 6]],
    ],
  ])('Gemm, %s', async (_, node, end) => {
    const bytes = written({
      front: [
        { opType: 'Gather', input: ['x', 'places'], output: ['two steps'] },
        { opType: 'Squeeze', input: ['two steps', 'batch'], output: ['worked'] },
      ],
      body: {
        initializer: [constant('own', [2, 2], [1, 2, 3, 4])],
        node: [
          { opType: 'Gemm', output: ['after'], ...node },
          { opType: 'Identity', input: ['after'], output: ['shown'] },
        ],
      },
    });
    expect((await ran(bytes))['end']).toEqual(end);
  });

  it.each<[string, NodeMessage[], unknown]>([
    [
      'sums',
      [
        { opType: 'Sub', input: ['level', 'vector'], output: ['d'] },
        { opType: 'Add', input: ['step', 'd'], output: ['after'] },
      ],
      [[3 + 1 - 5, 3 + 1 - 7]],
    ],
    [
      'activations',
      [
        { opType: 'Relu', input: ['level'], output: ['d'] },
        { opType: 'Mul', input: ['d', 'level'], output: ['e'] },
        { opType: 'Add', input: ['step', 'e'], output: ['after'] },
      ],
      [[4, 4]],
    ],
    [
      'a matrix as long as the batch',
      [
        { opType: 'Mul', input: ['flat', 'W'], output: ['d'] },
        { opType: 'MatMul', input: ['step', 'd'], output: ['after'] },
      ],
      [[3, 30]],
    ],
  ])('works out what no step is in once, outside: %s', async (_, nodes, end) => {
    const bytes = written({
      front: [
        { opType: 'Gather', input: ['s', 'place'], output: ['level'] },
        { opType: 'Mul', input: ['level', 'level'], output: ['flat'] },
      ],
      body: { node: [...nodes, { opType: 'Identity', input: ['after'], output: ['shown'] }] },
    });
    const model = await load(bytes);
    expect((await model.run(inputs))['end']?.toArray()).toEqual(end);
    // Of a batch as long as the rows likewise.
    const twice = {
      s: [...inputs.s, [2, 2]],
      x: inputs.x.map(([row]) => [row as number[], row as number[]]),
    };
    expect((await model.run(twice))['end']?.toArray()).toEqual([
      ...(end as unknown[]),
      ...(end as unknown[]),
    ]);
    model.dispose();
  });

  it("reads a body's own constants, of the same name as others in the graph around it and in other bodies", async () => {
    const own = (value: number): Partial<GraphMessage> => ({
      initializer: [constant('two', [], [value]), constant('unread', [1], [0])],
    });
    const [first, second] = [3, 4].map((value) => {
      const { graph } = decode<ModelMessage>(written({ body: own(value) }), 'Model');
      return graph as GraphMessage;
    }) as [GraphMessage, GraphMessage];
    const [a, b] = [first.node?.[0] as NodeMessage, second.node?.[0] as NodeMessage];
    const graph: GraphMessage = {
      ...first,
      node: [
        a,
        { ...b, output: ['more', 'others'] },
        { opType: 'Mul', input: ['more', 'two'], output: ['both'] },
      ],
      output: [info('end', ['N', 2]), info('both', ['N', 2])],
    };
    const bytes = encode({ irVersion: 8, graph, opsetImport: [{ domain: '', version: 17 }] }, 'Model');
    // 3·(3·(3·1 + 1) + 2) + 3 and 4·(4·(4·1 + 1) + 2) + 3 of x, twice the latter.
    expect(await ran(bytes)).toEqual({ end: [[45, 207]], both: [[2 * 91, 2 * 334]] });
  });

  /** s ← s + what `nodes` make of x as `r`, where the batch is as long as the rows: nothing but the number of axes tells them apart. */
  const square = (nodes: NodeMessage[]) =>
    written({
      body: {
        node: [
          ...nodes,
          { opType: 'Add', name: 'sum', input: ['before', 'r'], output: ['after'] },
          { opType: 'Identity', input: ['after'], output: ['shown'] },
        ],
      },
    });
  const squareInputs = {
    s: [
      [0, 0],
      [0, 0],
    ],
    x: [
      [
        [1, 2],
        [30, 40],
      ],
    ],
  };
  const sums: NodeMessage = {
    opType: 'ReduceSum',
    input: ['step', 'last'],
    output: ['q'],
    attribute: [int('keepdims', 0)],
  };

  it.each<[string, NodeMessage[], unknown]>([
    [
      'again an axis',
      [sums, { opType: 'Unsqueeze', input: ['q', 'last'], output: ['r'] }],
      [
        [3, 3],
        [70, 70],
      ],
    ],
    [
      'kept axes',
      [{ ...sums, output: ['r'], attribute: [] }],
      [
        [3, 3],
        [70, 70],
      ],
    ],
    [
      'a vector from outside, along the last axis',
      [{ opType: 'Mul', input: ['step', 'vector'], output: ['r'] }],
      [
        [5, 14],
        [150, 280],
      ],
    ],
  ])('adds a batch as long as its rows: %s', async (_, nodes, end) => {
    const model = await load(square(nodes));
    expect((await model.run(squareInputs))['end']?.toArray()).toEqual(end);
    model.dispose();
  });

  it('refuses what would lie along the columns with its batch', async () => {
    const model = await load(square([{ ...sums, output: ['r'] }]));
    await expect(model.run(squareInputs)).rejects.toThrow(
      /node 'sum' \(Add\).*: expected rows \[2, 2\], or one column with as many axes, got \[2\]/,
    );
    // A batch of one is one number, wherever it lies.
    const { end } = await model.run({ s: [[0, 1]], x: [[[1, 2]]] });
    expect(end?.toArray()).toEqual([[3, 4]]);
    model.dispose();
  });

  it('is one program on every engine', async () => {
    for (const device of ['cpu', 'reference']) {
      const model = await load(written(), device);
      const given = new Map([
        ['s', tensor([[1, 1]])],
        ['x', tensor(inputs.x)],
      ]);
      expect(model.lower(given).plan.ops.filter(({ kind }) => kind === 'program')).toHaveLength(1);
      expect((await model.run(inputs))['end']?.toArray()).toEqual([[19, 118]]);
      model.dispose();
    }
  });

  it('of any batch and number of steps, as files of this library have it', async () => {
    const built = sequential([
      layers.lstm({ units: 3, layerNormalization: true, returnSequences: true, inputShape: [null, 2] }),
      layers.rnn({ cell: cells.sru({ units: 4 }), goBackwards: true }),
    ]);
    await built.save(file);
    const model = (await loadModel(file)) as OnnxModel;
    for (const [n, t] of [
      [1, 1],
      [3, 7],
    ] as const) {
      const x = tensor(
        Float32Array.from({ length: n * t * 2 }, (_, i) => Math.cos(i)),
        [n, t, 2],
      );
      const [a, b] = [await built.predict(x), await model.predict(x)];
      expect(b.shape).toEqual([n, 4]);
      b.data.forEach((v, i) => {
        expect(v).toBeCloseTo(a.data[i] as number, 5);
      });
    }
    model.dispose();
    built.dispose();
  });
});

describe('a Scan that cannot be run is refused, naming node and reason', () => {
  const body = (change: Partial<GraphMessage>) => written({ body: change });
  const only = (change: Partial<NodeMessage>) =>
    body({
      node: [
        { opType: 'Add', name: 'inner', input: ['before', 'step'], output: ['after'], ...change },
        { opType: 'Identity', input: ['after'], output: ['shown'] },
      ],
    });
  it.each<[string, Uint8Array, RegExp]>([
    [
      'an operator that steps have not',
      only({ opType: 'LSTM' }),
      /node 'inner' \(LSTM\) in the body of node 'steps' \(Scan\): this operator is not known/,
    ],
    [
      'a Scan in a Scan',
      only({ opType: 'Scan' }),
      /node 'inner' \(Scan\) in the body of node 'steps' \(Scan\): this operator is not known/,
    ],
    [
      'a graph in a step, which is not read',
      only({ attribute: [{ name: 'body', type: attributeTypes.graph }] }),
      /node 'inner' \(Add\) in the body of node 'steps' \(Scan\): attribute 'body'/,
    ],
    [
      'no body',
      written({ node: { attribute: [int('num_scan_inputs', 1)] } }),
      /node 'steps' \(Scan\): its body: it has none/,
    ],
    [
      'a value that nothing makes',
      only({ input: ['before', 'ghost'] }),
      /node 'steps' \(Scan\): nothing makes its input 'ghost'/,
    ],
    [
      'a cycle',
      only({ input: ['shown', 'step'] }),
      /its body: node 'inner' \(Add\) in the body of .*: 'shown' is made behind it, in a cycle/,
    ],
    ['a value made twice', only({ output: ['step'] }), /its output 'step' is made twice/],
    [
      'an output that nothing makes',
      body({ output: [info('after'), info('ghost')] }),
      /nothing makes its input 'ghost'/,
    ],
    [
      'a constant of its own that is cut off',
      body({ initializer: [constant('w', [2], [1])] }),
      /node 'steps' \(Scan\): its body: initializer 'w': /,
    ],
    [
      'two constants of one name',
      body({ initializer: [constant('w', [1], [1]), constant('w', [1], [1])] }),
      /node 'steps' \(Scan\): its body: two initializers are called 'w'/,
    ],
    [
      'a constant of its own that is an input too',
      body({ initializer: [constant('step', [1], [1])] }),
      /its body: its input 'step' is an initializer too/,
    ],
    [
      'a constant of its own that a node makes too',
      body({ initializer: [constant('after', [1], [1])] }),
      /node 'sum' \(Add\) in the body of node 'steps' \(Scan\): its output 'after' is made twice/,
    ],
    ['inputs of one name', body({ input: [info('step'), info('step')] }), /two inputs have one name/],
    [
      'an input without a name',
      body({ input: [info('before'), info('')] }),
      /an input or output has no name/,
    ],
    [
      'too few inputs',
      written({ node: { input: ['x'] } }),
      /\(Scan\): expected 2 inputs, as its body has, got 1/,
    ],
    ['no sequence', written({ sequences: 0 }), /expected sequences among the 2 inputs/],
    ['more sequences than inputs', written({ sequences: 3 }), /expected sequences among the 2 inputs/],
    ['an input that is left out', written({ node: { input: ['s', ''] } }), /none left out/],
    [
      'more outputs than its body has',
      written({ node: { output: ['end', 'all', 'more'] } }),
      /expected outputs of 1 states/,
    ],
    ['fewer outputs than states', body({ output: [] }), /expected outputs of 1 states/],
    [
      'steps along another axis',
      written({ attributes: [ints('scan_input_axes', [1])] }),
      /expected steps along the first axis/,
    ],
    [
      'another direction',
      written({ attributes: [ints('scan_input_directions', [2])] }),
      /expected directions 0 or 1, got 2/,
    ],
    [
      'more nodes than any exporter writes',
      body({
        node: Array.from({ length: 50_000 }, () => ({ opType: 'Relu', input: ['step'], output: ['after'] })),
      }),
      /its graph has 50001 nodes/,
    ],
  ])('%s', async (_, bytes, message) => {
    await expect(load(bytes)).rejects.toMatchObject({
      code: 'ERR_FILE',
      message: expect.stringMatching(message),
    });
  });

  it.each<[string, NodeMessage, RegExp]>([
    [
      'a state of another shape',
      { opType: 'ReduceSum', input: ['step', 'last'], output: ['after'] },
      /node 'steps' \(Scan\): expected the state \[1, 2\] again, got \[1, 1\]/,
    ],
    [
      'a product by what is worked out at the step',
      { opType: 'MatMul', name: 'm', input: ['step', 'before'], output: ['after'] },
      /node 'm' \(MatMul\) in the body of node 'steps' \(Scan\): expected rows by a matrix from outside/,
    ],
    [
      'a quotient of whole numbers',
      { opType: 'Div', name: 'd', input: ['counted', 'last'], output: ['after'] },
      /node 'd' \(Div\) in the body of .*: expected real numbers to divide, got int64 that depend on data/,
    ],
    [
      'a transposed product',
      {
        opType: 'Gemm',
        name: 'm',
        input: ['step', 'W'],
        output: ['after'],
        attribute: [int('transA', 1)],
      },
      /node 'm' \(Gemm\) in the body of node 'steps' \(Scan\): expected rows as they are, got transA 1/,
    ],
    [
      'a transposed matrix that does not fit',
      {
        opType: 'Gemm',
        name: 'm',
        input: ['step', 'tall'],
        output: ['after'],
        attribute: [int('transB', 1)],
      },
      /node 'm' \(Gemm\) in .*: expected rows by a matrix from outside, got \[1, 2\] by the transpose of \[2, 1\]/,
    ],
    [
      'a bias of another shape',
      { opType: 'Gemm', name: 'm', input: ['step', 'W', 'shape'], output: ['after'] },
      /node 'm' \(Gemm\) in the body of node 'steps' \(Scan\): expected two shapes of which one/,
    ],
    [
      'a bias of more rows',
      { opType: 'Gemm', name: 'm', input: ['step', 'W', 'W'], output: ['after'] },
      /node 'm' \(Gemm\) in the body of node 'steps' \(Scan\): expected a C for \[1, 2\], got \[2, 2\]/,
    ],
    [
      'sequences mixed',
      { opType: 'Transpose', name: 't', input: ['step'], output: ['after'] },
      /node 't' \(Transpose\) in the body of node 'steps' \(Scan\): this operator is not known/,
    ],
    [
      'places that are not there',
      {
        opType: 'Gather',
        name: 'g',
        input: ['step', 'shape'],
        output: ['after'],
        attribute: [int('axis', 1)],
      },
      /node 'g' \(Gather\) in the body of node 'steps' \(Scan\): expected indices below 2/,
    ],
    [
      'places along the batch',
      { opType: 'Gather', name: 'g', input: ['step', 'places'], output: ['after'] },
      /node 'g' \(Gather\) in the body of node 'steps' \(Scan\): expected the first axis of columns/,
    ],
  ])('%s', async (_, node, message) => {
    const counted: NodeMessage[] = [
      { opType: 'Greater', input: ['step', 'before'], output: ['more'] },
      {
        opType: 'Cast',
        input: ['more'],
        output: ['counted'],
        attribute: [int('to', elementTypes.int64)],
      },
    ];
    const bytes = body({
      node: [...counted, node, { opType: 'Identity', input: ['after'], output: ['shown'] }],
    });
    await expect(ran(bytes)).rejects.toThrow(message);
  });
});
