import { refuse } from '../../errors';
import type { Bidirectional } from '../../layers/bidirectional';
import type { Layer } from '../../layers/layer';
import { type LayerActivation, resolveLayerActivation } from '../../layers/layerActivation';
import type { RecurrentLayer } from '../../layers/recurrentLayer';
import type { TimeDistributed } from '../../layers/timeDistributed';
import { resolveActivation } from '../../ops/activations';
import type { ActivationAttrs } from '../../plan/types';
import { writeActivation } from './activationNodes';
import { type ExportContext, ExportValue } from './exportContext';
import type { AttributeValue, Dim } from './graphWriter';
import { hasOperator, type RecurrentCell, recurrentCell } from './recurrentNodes';
import { scan, zeroRows } from './scanNodes';

/** A use of a layer. */
interface Use {
  readonly layer: Layer;
  readonly inputs: readonly [ExportValue, ...ExportValue[]];
  /** The configuration of the layer. */
  readonly o: Readonly<Record<string, unknown>>;
  /** Batch-free shapes of the outputs, with names for open lengths. */
  readonly dims: readonly (readonly Dim[])[];
}

type LayerWriter = (context: ExportContext, use: Use) => readonly ExportValue[];

const INT64_MIN = -Number.MAX_SAFE_INTEGER;

/** x·kernel + bias on the last axis of [N, D] or [N, …, D]. */
function denseNodes(
  { graph }: ExportContext,
  x: ExportValue,
  kernel: string,
  bias: string | undefined,
): string {
  if (x.dims.length === 1) return graph.node('Gemm', [x.batchMajor, kernel, ...(bias ? [bias] : [])]);
  const product = graph.node('MatMul', [x.batchMajor, kernel]);
  return bias ? graph.node('Add', [product, bias]) : product;
}

function layerActivation(
  { graph }: ExportContext,
  activation: LayerActivation,
  x: string,
  subject: string,
): string {
  if (activation !== 'glu') return writeActivation(graph, activation, x, subject);
  const [a, b] = graph.nodeAll('Split', [x], { axis: -1 }, 2) as [string, string];
  return graph.node('Mul', [a, graph.node('Sigmoid', [b])]);
}

const dense: LayerWriter = (context, { layer, inputs: [x], o, dims: [dims] }) => {
  const tied = o['tiedTo'];
  const kernel =
    tied === undefined
      ? context.weight(layer, 'kernel')
      : context.graph.transpose(`${tied}/embeddings`, [1, 0]);
  const bias = o['useBias'] ? context.weight(layer, 'bias') : undefined;
  const activation = resolveLayerActivation(o['activation'], `${layer.subject}: activation`);
  const sum = denseNodes(context, x, kernel, bias);
  return [x.with(layerActivation(context, activation, sum, layer.subject), dims)];
};

const activation: LayerWriter = (context, { layer, inputs: [x], o, dims: [dims] }) => {
  const read = resolveLayerActivation(o['activation'], `${layer.subject}: activation`);
  return [x.with(layerActivation(context, read, x.batchMajor, layer.subject), dims)];
};

/** A layer that is one activation. */
const oneActivation =
  (attrs: (o: Use['o']) => ActivationAttrs): LayerWriter =>
  ({ graph }, { layer, inputs: [x], o }) => [
    x.with(writeActivation(graph, attrs(o), x.batchMajor, layer.subject)),
  ];

const relu: LayerWriter = ({ graph }, { layer, inputs: [x], o }) => {
  const [threshold, slope, most] = [o['threshold'], o['negativeSlope'], o['maxValue']] as [
    number,
    number,
    number | undefined,
  ];
  const kind = threshold > 0 ? ('threshold' as const) : ('relu' as const);
  let y = writeActivation(graph, { kind, alpha: threshold }, x.batchMajor, layer.subject);
  if (most !== undefined) y = graph.node('Min', [y, graph.scalar(most)]);
  if (slope > 0) {
    const below = graph.node('Relu', [graph.node('Neg', [x.batchMajor])]);
    y = graph.node('Sub', [y, graph.node('Mul', [below, graph.scalar(slope)])]);
  }
  return [x.with(y)];
};

const prelu: LayerWriter = (context, { layer, inputs: [x] }) => [
  x.with(context.graph.node('PRelu', [x.batchMajor, context.weight(layer, 'alpha')])),
];

const highway: LayerWriter = (context, { layer, inputs: [x], o }) => {
  const { graph } = context;
  const bias = o['useBias'] ? context.weight(layer, 'bias') : undefined;
  const inner = resolveActivation(o['activation'], `${layer.subject}: activation`);
  const sum = denseNodes(context, x, context.weight(layer, 'kernel'), bias);
  const made = writeActivation(graph, inner, sum, layer.subject);
  const transform = [
    context.weight(layer, 'transformKernel'),
    context.weight(layer, 'transformBias'),
  ] as const;
  const gate = graph.node('Sigmoid', [denseNodes(context, x, ...transform)]);
  const change = graph.node('Mul', [gate, graph.node('Sub', [made, x.batchMajor])]);
  return [x.with(graph.node('Add', [x.batchMajor, change]))];
};

const embedding: LayerWriter = (context, { layer, inputs: [ids], o, dims }) => {
  const { graph } = context;
  const y = graph.node('Gather', [context.weight(layer, 'embeddings'), ids.batchMajor], { axis: 0 });
  const mask = o['maskZero']
    ? graph.node('Not', [graph.node('Equal', [ids.batchMajor, graph.constant([0], 'int32', [])])])
    : ids.mask;
  return [new ExportValue(graph, { batch: y }, dims[0] as readonly Dim[], true, mask)];
};

const masking: LayerWriter = ({ graph }, { inputs: [x], o }) => {
  const value = o['maskValue'] as number;
  const same = graph.node('Equal', [x.batchMajor, graph.scalar(value)]);
  const other = graph.node('Cast', [graph.node('Not', [same])], { to: 1 });
  const any = graph.node('ReduceMax', [other], { axes: [2], keepdims: 1 });
  const mask = graph.node('Cast', [graph.node('Squeeze', [any, graph.constant([2], 'int64')])], { to: 9 });
  const y = value === 0 ? x.batchMajor : graph.node('Mul', [x.batchMajor, any]);
  return [new ExportValue(graph, { batch: y }, x.dims, true, mask)];
};

const layerNormalization: LayerWriter = (context, { layer, inputs: [x], o }) => {
  const features = x.dims.at(-1) as number;
  const ones = () => context.graph.constant(new Array<number>(features).fill(1));
  const gamma = o['scale'] ? context.weight(layer, 'gamma') : ones();
  const beta = o['center'] ? context.weight(layer, 'beta') : '';
  const attributes = { axis: -1, epsilon: { f: o['epsilon'] as number } };
  return [x.with(context.graph.node('LayerNormalization', [x.batchMajor, gamma, beta], attributes))];
};

const batchNormalization: LayerWriter = (context, { layer, inputs: [x], o }) => {
  const { graph } = context;
  const features = x.dims.at(-1) as number;
  const same = (value: number) => graph.constant(new Array<number>(features).fill(value));
  const vectors = [
    o['scale'] ? context.weight(layer, 'gamma') : same(1),
    o['center'] ? context.weight(layer, 'beta') : same(0),
    context.weight(layer, 'movingMean'),
    context.weight(layer, 'movingVariance'),
  ];
  const epsilon = { f: o['epsilon'] as number };
  const normalized = (from: string) => graph.node('BatchNormalization', [from, ...vectors], { epsilon });
  if (x.dims.length === 1) return [x.with(normalized(x.batchMajor))];
  // ONNX has the features on axis 1.
  const last = x.dims.length;
  const between = Array.from({ length: last - 1 }, (_, i) => i + 1);
  const turned = graph.transpose(x.batchMajor, [0, last, ...between]);
  const back = [0, ...between.map((i) => i + 1), 1];
  return [x.with(graph.transpose(normalized(turned), back))];
};

/** Attributes of windows over the last axis of [N, D, T]. */
function windowAttributes(o: Use['o'], size: number): Record<string, string | number[]> {
  const stride = o['strides'] as number;
  const dilation = (o['dilationRate'] as number | undefined) ?? 1;
  const reach = (size - 1) * dilation;
  const padding = o['padding'] as string;
  const common = { kernel_shape: [size], strides: [stride] };
  if (padding === 'same' && stride > 1) return { ...common, auto_pad: 'SAME_UPPER' };
  const before = padding === 'causal' ? reach : Math.floor(reach / 2);
  return { ...common, pads: padding === 'valid' ? [0, 0] : [before, reach - before] };
}

const conv1D: LayerWriter = (context, { layer, inputs: [x], o, dims: [dims] }) => {
  const { graph } = context;
  const [size, filters, features] = [o['kernelSize'], o['filters'], x.dims[1]] as [number, number, number];
  const kernel = context.derived(`${layer.name}/kernel`, [filters, features, size], layer, (weight) => {
    const { data } = weight('kernel');
    const made = new Float32Array(data.length);
    for (let k = 0; k < size; k++)
      for (let d = 0; d < features; d++)
        for (let f = 0; f < filters; f++)
          made[(f * features + d) * size + k] = data[(k * features + d) * filters + f] as number;
    return made;
  });
  const bias = o['useBias'] ? context.weight(layer, 'bias') : '';
  const attributes = { ...windowAttributes(o, size), dilations: [o['dilationRate'] as number] };
  const made = graph.node('Conv', [graph.transpose(x.batchMajor, [0, 2, 1]), kernel, bias], attributes);
  const inner = resolveActivation(o['activation'], `${layer.subject}: activation`);
  const y = writeActivation(graph, inner, graph.transpose(made, [0, 2, 1]), layer.subject);
  return [new ExportValue(graph, { batch: y }, dims as readonly Dim[], true)];
};

const pooling =
  (operator: 'MaxPool' | 'AveragePool'): LayerWriter =>
  ({ graph }, { inputs: [x], o, dims: [dims] }) => {
    const attributes = windowAttributes(o, o['poolSize'] as number);
    const pooled = graph.node(operator, [graph.transpose(x.batchMajor, [0, 2, 1])], attributes);
    return [
      new ExportValue(graph, { batch: graph.transpose(pooled, [0, 2, 1]) }, dims as readonly Dim[], true),
    ];
  };

const globalMax: LayerWriter = ({ graph }, { inputs: [x], dims: [dims] }) => {
  const y = graph.node('ReduceMax', [x.batchMajor], { axes: [1], keepdims: 0 });
  return [new ExportValue(graph, { batch: y }, dims as readonly Dim[], false)];
};

const globalAverage: LayerWriter = ({ graph }, { inputs: [x], dims: [dims] }) => {
  let y: string;
  if (x.mask === undefined) y = graph.node('ReduceMean', [x.batchMajor], { axes: [1], keepdims: 0 });
  else {
    const steps = graph.constant([1], 'int64');
    const counted = graph.node('Unsqueeze', [
      graph.node('Cast', [x.mask], { to: 1 }),
      graph.constant([2], 'int64'),
    ]);
    const sum = (of: string) => graph.node('ReduceSum', [of, steps], { keepdims: 0 });
    const count = graph.node('Max', [sum(counted), graph.scalar(1)]);
    y = graph.node('Div', [sum(graph.node('Mul', [x.batchMajor, counted])), count]);
  }
  return [new ExportValue(graph, { batch: y }, dims as readonly Dim[], false)];
};

const flatten: LayerWriter = ({ graph }, { inputs: [x], dims: [dims] }) => [
  new ExportValue(
    graph,
    { batch: graph.node('Flatten', [x.batchMajor], { axis: 1 }) },
    dims as readonly Dim[],
    false,
  ),
];

const reshape: LayerWriter = ({ graph }, { inputs: [x], o, dims: [dims] }) => {
  const shape = graph.constant([0, ...(o['targetShape'] as number[])], 'int64');
  const own = dims as readonly Dim[];
  return [
    new ExportValue(graph, { batch: graph.node('Reshape', [x.batchMajor, shape]) }, own, own.length > 1),
  ];
};

const repeatVector: LayerWriter = ({ graph }, { inputs: [x], o, dims: [dims] }) => {
  const row = graph.node('Unsqueeze', [x.batchMajor, graph.constant([1], 'int64')]);
  const y = graph.node('Expand', [row, graph.constant([1, o['n'] as number, 1], 'int64')]);
  return [new ExportValue(graph, { batch: y }, dims as readonly Dim[], true)];
};

const permute: LayerWriter = ({ graph }, { inputs: [x], o, dims: [dims] }) => {
  const y = graph.transpose(x.batchMajor, [0, ...(o['dims'] as number[])]);
  return [new ExportValue(graph, { batch: y }, dims as readonly Dim[], x.sequence)];
};

/** Where a step of a merged sequence counts: where it does in any input. */
function mergedMask({ graph }: ExportContext, inputs: readonly ExportValue[]): string | undefined {
  const masks = new Set(inputs.map(({ mask }) => mask));
  if (masks.has(undefined)) return undefined;
  return ([...masks] as string[]).reduce((a, b) => graph.node('Or', [a, b]));
}

const merge =
  (operator: string, attributes = {}): LayerWriter =>
  (context, { inputs, dims: [dims] }) => {
    const [{ sequence }] = inputs;
    const names = inputs.map(({ batchMajor }) => batchMajor);
    const two = operator === 'Add' || operator === 'Mul';
    const batch = two
      ? names.reduce((a, b) => context.graph.node(operator, [a, b]))
      : context.graph.node(operator, names, attributes);
    const mask = sequence ? mergedMask(context, inputs) : undefined;
    return [new ExportValue(context.graph, { batch }, dims as readonly Dim[], sequence, mask)];
  };

const dot: LayerWriter = ({ graph }, { inputs, o, dims: [dims] }) => {
  const given = o['axes'] as number | [number, number];
  const own = dims as readonly Dim[];
  const factors = inputs.map((input, i) => {
    const rank = input.dims.length + 1;
    const axis = typeof given === 'number' ? given : (given[i] as number);
    const summed = axis < 0 ? axis + rank : axis;
    let name = input.batchMajor;
    if (o['normalize']) {
      const norm = graph.node('ReduceL2', [name], { axes: [summed], keepdims: 1 });
      name = graph.node('Div', [name, graph.node('Max', [norm, graph.scalar(1e-7)])]);
    }
    if (rank === 2) name = graph.node('Unsqueeze', [name, graph.constant([1], 'int64')]);
    // The first is to have the axis last, the second before the last.
    const isLast = rank === 2 || summed === 2;
    return isLast === (i === 0) ? name : graph.transpose(name, [0, 2, 1]);
  });
  let y = graph.node('MatMul', factors);
  if (own.length === 1) y = graph.node('Reshape', [y, graph.constant([0, -1], 'int64')]);
  return [new ExportValue(graph, { batch: y }, own, own.length === 2)];
};

const same: LayerWriter = (_, { inputs: [x] }) => [x];

const timeDistributed: LayerWriter = (context, { layer, inputs: [x], dims, ...rest }) => {
  const { layer: inner } = layer as TimeDistributed;
  if (inner.type === 'flatten' || inner.type === 'reshape') {
    const own = dims[0] as readonly Dim[];
    const shape = context.graph.constant([0, 0, ...(own.slice(1) as number[])], 'int64');
    return [x.with(context.graph.node('Reshape', [x.batchMajor, shape]), own)];
  }
  inner.name = layer.name;
  return writerOf(inner)(context, { ...rest, layer: inner, inputs: [x], dims, o: inner.getConfig() });
};

/** What one direction of a recurrence is written with. */
interface Direction {
  readonly cell: RecurrentLayer;
  /** The layer in the model and what its weights and states begin with there. */
  readonly owner: Layer;
  readonly prefix: string;
  readonly x: ExportValue;
  readonly begins: readonly ExportValue[];
  readonly zerosWhereMasked: boolean;
}

interface Recurred {
  /** [T, N, …] in the order of the input; undefined without returnSequences. */
  readonly sequence: string | undefined;
  /** The last output [N, …]; of no use with returnSequences. */
  readonly last: string;
  /** [N, size], in the order of the layer's states. */
  readonly ends: readonly string[];
}

/** [N, size] for the operator, which wants [1, N, size]. */
function startStates(context: ExportContext, { cell, owner, prefix, begins }: Direction): string[] {
  const { graph } = context;
  const first = graph.constant([0], 'int64');
  const starts = cell.states.map(({ name, size }, i) => {
    const given = begins[i]?.batchMajor;
    const learned = cell.initialWeight(name);
    const weight = learned === undefined ? undefined : context.weight(owner, `${prefix}${learned}`);
    const start = given ?? context.givenState(owner, `${prefix}${name}`, size, weight);
    if (start !== undefined) return graph.node('Unsqueeze', [start, first]);
    if (weight === undefined) return '';
    const shape = graph.node(
      'Concat',
      [graph.constant([1], 'int64'), context.batch, graph.constant([size], 'int64')],
      { axis: 0 },
    );
    return graph.node('Expand', [weight, shape]);
  });
  return starts;
}

/** What both directions of a bidirectional layer have to agree in to be one node. */
function isOneNode(cells: readonly RecurrentCell[], [forward]: readonly Direction[]): boolean {
  const shared = cells.map(({ operator, units, attributes, shapes: { B, P } }) => {
    const { activations: _, activation_alpha: __, activation_beta: ___, ...own } = attributes;
    return JSON.stringify([operator, units, own, B !== undefined, P !== undefined]);
  });
  return shared[0] === shared[1] && forward?.cell.goBackwards === false;
}

/** Lists of both directions one behind the other; all else is alike. */
function bothAttributes([forward, backward]: readonly RecurrentCell[]): Record<string, AttributeValue> {
  const made = { ...(forward as RecurrentCell).attributes };
  const theirs = (backward as RecurrentCell).attributes;
  made['activations'] = [...(made['activations'] as string[]), ...(theirs['activations'] as string[])];
  for (const key of ['activation_alpha', 'activation_beta']) {
    const lists = [made[key], theirs[key]] as ({ readonly fs: readonly number[] } | undefined)[];
    const fs = lists.flatMap((list) => list?.fs ?? []);
    if (fs.length > 0) made[key] = { fs };
  }
  return made;
}

/** Both directions of a layer, as one node where they are alike. */
function recurBoth(context: ExportContext, directions: readonly [Direction, Direction]): readonly Recurred[] {
  const [{ owner, x }] = directions;
  if (!directions.every(({ cell }) => hasOperator(cell)))
    return directions.map((direction) => recurOnce(context, direction));
  const cells = directions.map(({ cell }) => recurrentCell(cell, x.dims[1] as number, owner.subject));
  return isOneNode(cells, directions)
    ? recur(context, directions)
    : directions.flatMap((direction) => recur(context, [direction]));
}

/** One direction, by an operator of recurrence or step by step. */
function recurOnce(context: ExportContext, direction: Direction): Recurred {
  return hasOperator(direction.cell)
    ? (recur(context, [direction])[0] as Recurred)
    : recurByScan(context, direction);
}

function requireStates(context: ExportContext, { cell, owner }: Direction): void {
  if (cell.carriesState && !context.wantsStates)
    refuse(
      'ERR_VALUE',
      `${owner.subject}: stateful`,
      'false, because a graph carries no state from run to run',
      true,
      'exportOnnx(model, path, { states: true }) makes states inputs and outputs.',
    );
}

/** Values [N, size], or of frames [N, …], with other axes behind the first `lead` ones. */
function framed(
  { graph }: ExportContext,
  value: string,
  lead: number,
  own: readonly Dim[],
  wanted: readonly Dim[],
): string {
  if (own.length === wanted.length) return value;
  const shape = [...new Array<number>(lead).fill(0), ...(wanted as readonly number[])];
  return graph.node('Reshape', [value, graph.constant(shape, 'int64')]);
}

function recurByScan(context: ExportContext, direction: Direction): Recurred {
  const { cell, owner, prefix, x, begins, zerosWhereMasked } = direction;
  const { graph } = context;
  requireStates(context, direction);
  const starts = cell.states.map(({ name, size }, i) => {
    const begin = begins[i];
    if (begin) return framed(context, begin.batchMajor, 1, begin.dims, [size]);
    const learned = cell.initialWeight(name);
    const weight = learned === undefined ? undefined : context.weight(owner, `${prefix}${learned}`);
    const given = context.givenState(owner, `${prefix}${name}`, size, weight);
    const zeros = () => zeroRows(context, size);
    return given ?? (weight === undefined ? zeros() : graph.node('Add', [zeros(), weight]));
  });
  const frame = x.dims.slice(1) as readonly number[];
  const features = frame.reduce((size, n) => size * n, 1);
  const counts =
    x.mask === undefined
      ? undefined
      : graph.node('Unsqueeze', [graph.transpose(x.mask, [1, 0]), graph.constant([2], 'int64')]);
  const { output, ends } = scan(context, {
    cell,
    owner,
    prefix,
    x: framed(context, x.timeMajor, 2, frame, [features]),
    features,
    counts,
    starts,
  });
  const { shape } = cell.outputShape({ dtype: 'real', shape: [null, ...frame], sequence: true });
  const own = [cell.outputSize];
  if (!cell.returnSequences)
    return { sequence: undefined, last: framed(context, output, 1, own, shape as number[]), ends };
  const zeroed =
    zerosWhereMasked && counts !== undefined
      ? graph.node('Where', [counts, output, graph.scalar(0)])
      : output;
  return { sequence: framed(context, zeroed, 2, own, shape.slice(1) as number[]), last: output, ends };
}

/** One node for one direction, or for both of a layer. */
function recur(context: ExportContext, directions: readonly Direction[]): Recurred[] {
  const { graph } = context;
  const [first] = directions as readonly [Direction];
  const { cell, owner, prefix, x, zerosWhereMasked } = first;
  const { subject } = owner;
  const at = (n: number) => graph.constant([n], 'int64');
  requireStates(context, first);
  const cells = directions.map((direction) => recurrentCell(direction.cell, x.dims[1] as number, subject));
  const made = cells[0] as RecurrentCell;
  const isBoth = directions.length > 1;
  const part = (name: 'W' | 'R' | 'B' | 'P') => {
    const shape = made.shapes[name];
    if (!shape) return '';
    const whole = [directions.length, ...shape.slice(1)];
    return context.derived(`${owner.name}/${isBoth ? '' : prefix}${name}`, whole, owner, (weight) => {
      const parts = cells.map((own, i) => own.make(name, (of) => weight(`${directions[i]?.prefix}${of}`)));
      const data = new Float32Array(parts.reduce((size, { length }) => size + length, 0));
      parts.reduce((first, values) => {
        data.set(values, first);
        return first + values.length;
      }, 0);
      return data;
    });
  };
  const [W, R, B, P] = [part('W'), part('R'), part('B'), part('P')] as [string, string, string, string];
  const lengths = x.mask === undefined ? '' : context.lengthsOf(x.mask);
  const starts = directions.map((direction) => startStates(context, direction));
  const [h = '', c = ''] = cell.states.map((_, k) => {
    const own = starts.map((list) => list[k] as string);
    return isBoth && own[0] !== '' ? graph.node('Concat', own, { axis: 0 }) : (own[0] as string);
  });
  const isLstm = made.operator === 'LSTM';
  const inputs = [x.timeMajor, W, R, B, lengths, h, ...(isLstm ? [c, P] : [])];
  const attributes = isBoth
    ? { ...bothAttributes(cells), direction: 'bidirectional' }
    : { ...made.attributes, direction: cell.goBackwards ? 'reverse' : 'forward' };
  const [Y, ...finals] = graph.nodeAll(made.operator, inputs, attributes, isLstm ? 3 : 2) as [
    string,
    ...string[],
  ];
  /** Each direction's part of an output, whose axis of directions goes. */
  const apart = (value: string, axis: number): string[] => {
    const parts = isBoth ? graph.nodeAll('Split', [value], { axis }, 2) : [value];
    return parts.map((own) => graph.node('Squeeze', [own, at(axis)]));
  };
  const ends = finals.map((end) => apart(end, 0));
  const sequences = cell.returnSequences ? apart(Y, 1) : [];
  return directions.map((_, i): Recurred => {
    const own = ends.map((list) => list[i] as string);
    let sequence = sequences[i];
    if (sequence !== undefined && x.mask !== undefined && !zerosWhereMasked) {
      // ONNX gives zeros for padding, we the state: behind a sequence the last one, in front of one that is read from its end the first.
      const held = cell.goBackwards ? h : (finals[0] as string);
      const counts = graph.node('Unsqueeze', [graph.transpose(x.mask, [1, 0]), at(2)]);
      if (held !== '') sequence = graph.node('Where', [counts, sequence, held]);
    }
    return { sequence, last: own[0] as string, ends: own };
  });
}

/** Time-major, the last step first. */
function reversed({ graph }: ExportContext, sequence: string): string {
  const at = (n: number) => graph.constant([n], 'int64');
  return graph.node('Slice', [sequence, at(-1), at(INT64_MIN), at(0), at(-1)]);
}

/** What a direction reads: of a call with states perhaps all steps. */
const readBy = (cell: RecurrentLayer, x: ExportValue, begins: readonly ExportValue[]): ExportValue =>
  begins.length === 0 || cell.maskWithStates ? x : x.unmasked();

const recurrent: LayerWriter = (context, { layer, inputs: [x, ...begins], o, dims }) => {
  const { graph } = context;
  const cell = layer as RecurrentLayer;
  const zerosWhereMasked = o['zeroOutputForMask'] === true;
  const direction = {
    cell,
    owner: layer,
    prefix: '',
    x: readBy(cell, x, begins),
    begins,
    zerosWhereMasked,
  };
  const { sequence, last, ends } = recurOnce(context, direction);
  for (const [i, { name, size }] of cell.states.entries())
    context.endState(layer, name, size, ends[i] as string);
  const [own, ...stateDims] = dims as readonly (readonly Dim[])[];
  const place =
    sequence === undefined
      ? { batch: last }
      : { time: cell.goBackwards ? reversed(context, sequence) : sequence };
  let mask = sequence === undefined ? undefined : x.mask;
  if (mask !== undefined && cell.goBackwards) {
    const at = (n: number) => graph.constant([n], 'int64');
    mask = graph.node('Slice', [mask, at(-1), at(INT64_MIN), at(1), at(-1)]);
  }
  // A frame's first axis is a sequence too, but no mask is of its steps.
  const isSequence = sequence !== undefined || (own?.length ?? 0) > 1;
  const y = new ExportValue(graph, place, own as readonly Dim[], isSequence, mask);
  return [
    y,
    ...cell.states
      .slice(0, stateDims.length)
      .map((state, i) => stateValue(context, state, ends[i], stateDims[i])),
  ];
};

/** A state after the last step, [N, size] or a frame, for layers above. */
function stateValue(
  context: ExportContext,
  { size }: { readonly size: number },
  end: string | undefined,
  dims: readonly Dim[] | undefined,
): ExportValue {
  const wanted = dims as readonly Dim[];
  const batch = framed(context, end as string, 1, [size], wanted);
  return new ExportValue(context.graph, { batch }, wanted, wanted.length > 1);
}

const bidirectional: LayerWriter = (context, { layer, inputs: [x, ...begins], dims }) => {
  const { graph } = context;
  const { parts, mergeMode } = layer as Bidirectional;
  const half = begins.length / 2;
  const directions = (['forward', 'backward'] as const).map((d, i): Direction => {
    const own = begins.slice(i * half, (i + 1) * half);
    const cell = parts[d];
    const read = readBy(cell, x, own);
    return { cell, owner: layer, prefix: `${d}/`, x: read, begins: own, zerosWhereMasked: true };
  }) as [Direction, Direction];
  const both = recurBoth(context, directions) as [Recurred, Recurred];
  for (const [i, { cell, prefix }] of directions.entries())
    for (const [k, { name, size }] of cell.states.entries())
      context.endState(layer, `${prefix}${name}`, size, both[i]?.ends[k] as string);
  const isSequence = both[0].sequence !== undefined;
  const [a, b] = both.map(({ sequence, last }) => sequence ?? last) as [string, string];
  const mask = isSequence ? x.mask : undefined;
  const value = (name: string, own: readonly Dim[]) =>
    new ExportValue(graph, isSequence ? { time: name } : { batch: name }, own, isSequence, mask);
  const states = both.flatMap(({ ends }) => ends);
  const sizes = directions.flatMap(({ cell }) => cell.states);
  const merged = {
    concat: () => [graph.node('Concat', [a, b], { axis: -1 })],
    sum: () => [graph.node('Add', [a, b])],
    mul: () => [graph.node('Mul', [a, b])],
    ave: () => [graph.node('Mul', [graph.node('Add', [a, b]), graph.scalar(0.5)])],
    two: () => [a, b],
  }[mergeMode ?? 'two']();
  const outputs = merged.map((name, i) => value(name, dims[i] as readonly Dim[]));
  const rest = dims.slice(merged.length);
  return [...outputs, ...rest.map((d, i) => stateValue(context, sizes[i] as { size: number }, states[i], d))];
};

const writers: Readonly<Record<string, LayerWriter>> = {
  input: same,
  dropout: same,
  spatialDropout1D: same,
  gaussianNoise: same,
  dense,
  activation,
  leakyReLU: oneActivation(({ negativeSlope }) =>
    negativeSlope === 0 ? { kind: 'relu', alpha: 0 } : { kind: 'leakyRelu', alpha: negativeSlope as number },
  ),
  elu: oneActivation(({ alpha }) => ({ kind: 'elu', alpha: alpha as number })),
  softmax: oneActivation(() => ({ kind: 'softmax', alpha: 0 })),
  relu,
  prelu,
  highway,
  embedding,
  masking,
  layerNormalization,
  batchNormalization,
  conv1D,
  maxPooling1D: pooling('MaxPool'),
  averagePooling1D: pooling('AveragePool'),
  globalMaxPooling1D: globalMax,
  globalAveragePooling1D: globalAverage,
  flatten,
  reshape,
  repeatVector,
  permute,
  add: merge('Add'),
  subtract: merge('Sub'),
  multiply: merge('Mul'),
  average: merge('Mean'),
  maximum: merge('Max'),
  minimum: merge('Min'),
  concatenate: merge('Concat', { axis: -1 }),
  dot,
  timeDistributed,
  simpleRNN: recurrent,
  lstm: recurrent,
  gru: recurrent,
  rnn: recurrent,
  convLSTM1D: recurrent,
  convLSTM2D: recurrent,
  bidirectional,
};

/** How a layer is written. @throws ERR_VALUE, naming the layer, where ONNX has no operators for it */
function writerOf(layer: Layer): LayerWriter {
  const writer = Object.hasOwn(writers, layer.type) ? writers[layer.type] : undefined;
  if (writer) return writer;
  return refuse('ERR_VALUE', layer.subject, 'a layer that ONNX has operators for', `layers.${layer.type}`);
}

/** Writes a use of a layer; gives its outputs. */
export function writeLayer(
  context: ExportContext,
  layer: Layer,
  inputs: readonly ExportValue[],
  dims: readonly (readonly Dim[])[],
): readonly ExportValue[] {
  const read = inputs as readonly [ExportValue, ...ExportValue[]];
  return writerOf(layer)(context, { layer, inputs: read, o: layer.getConfig(), dims });
}
