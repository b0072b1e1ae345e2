import { ABSENT, type ValueId } from '../../plan/types';
import { sameShape, sizeOf } from '../../tensors/tensor';
import {
  type Constant,
  type ConstantType,
  constantOf,
  isFloat,
  MOST_MADE,
  newData,
  readTensor,
} from './constants';
import { elementwiseOperators, held, type Operator } from './elementwise';
import type { GraphNode } from './graphFile';
import {
  float,
  type GraphLowering,
  int,
  ints,
  isConstant,
  type Live,
  shown,
  type Value,
  word,
} from './lowering';
import { elementName, elementTypes } from './messages';
import { recurrentOperators } from './recurrentOperators';
import { scanOperator } from './scanOperator';

function axisOf(lowering: GraphLowering, axis: number, rank: number): number {
  const at = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(at) || at < 0 || at >= rank) lowering.fail(`an axis of ${rank}`, String(axis));
  return at;
}

/** The numbers of an input that has to be known when a plan is made: a constant, or worked out from shapes. */
function known(lowering: GraphLowering, value: Value, what: string): number[] {
  if (!isConstant(value))
    lowering.fail(`${what} that are constant, or follow from shapes`, 'some that depend on data');
  const { data } = value as Constant;
  if (data.length > 2 ** 16) lowering.fail(`at most ${2 ** 16} ${what}`, String(data.length));
  return Array.from(data);
}

/** What a list may be given as: an attribute in older operator sets, an input in newer ones. */
function listOf(
  lowering: GraphLowering,
  node: GraphNode,
  name: string,
  value: Value | undefined,
): number[] | undefined {
  const own = ints(node, name);
  return own ? [...own] : value && known(lowering, value, name);
}

function constant(lowering: GraphLowering, value: Value | undefined, what: string): Constant {
  if (!value || !isConstant(value)) lowering.fail(`a constant ${what}`, 'one that depends on data');
  return value as Constant;
}

const view =
  (
    dims: (
      lowering: GraphLowering,
      node: GraphNode,
      x: Value,
      rest: readonly (Value | undefined)[],
    ) => readonly number[],
  ): Operator['lower'] =>
  (lowering, node, [x, ...rest]) => [lowering.view(x as Value, dims(lowering, node, x as Value, rest))];

function squeezed(
  lowering: GraphLowering,
  node: GraphNode,
  x: Value,
  [axes]: readonly (Value | undefined)[],
): number[] {
  const list = listOf(lowering, node, 'axes', axes)?.map((axis) => axisOf(lowering, axis, x.dims.length));
  for (const axis of list ?? [])
    if (x.dims[axis] !== 1) lowering.fail(`an axis ${axis} of length 1`, shown(x.dims));
  return x.dims.filter((n, i) => (list ? !list.includes(i) : n !== 1));
}

function unsqueezed(
  lowering: GraphLowering,
  node: GraphNode,
  x: Value,
  [axes]: readonly (Value | undefined)[],
): number[] {
  const given = listOf(lowering, node, 'axes', axes) ?? lowering.fail('axes', 'none');
  const rank = x.dims.length + given.length;
  if (rank > 16) lowering.fail('at most 16 axes', String(rank));
  const at = new Set(given.map((axis) => axisOf(lowering, axis, rank)));
  if (at.size < given.length) lowering.fail('axes that differ', shown(given));
  const left = [...x.dims];
  return Array.from({ length: rank }, (_, i) => (at.has(i) ? 1 : (left.shift() as number)));
}

function reshaped(
  lowering: GraphLowering,
  node: GraphNode,
  x: Value,
  [shape]: readonly (Value | undefined)[],
): number[] {
  const list = known(lowering, shape as Value, 'lengths');
  if (list.length > 16) lowering.fail('at most 16 axes', String(list.length));
  const dims = list.map((n, i) =>
    n === 0 && int(node, 'allowzero', 0) === 0 ? (x.dims[i] ?? lowering.fail('an axis to copy', 'none')) : n,
  );
  const rest = dims.reduce((a, b) => (b === -1 ? a : a * b), 1);
  const whole = dims.map((n) => (n === -1 ? sizeOf(x.dims) / rest : n));
  if (
    dims.filter((n) => n === -1).length > 1 ||
    whole.some((n) => !Number.isSafeInteger(n) || n < 0) ||
    sizeOf(whole) !== sizeOf(x.dims)
  )
    lowering.fail(`a shape of ${sizeOf(x.dims)} numbers`, shown(list));
  return whole;
}

function sliced(
  lowering: GraphLowering,
  node: GraphNode,
  [x, s, e, a, t]: readonly (Value | undefined)[],
): Value {
  let value = x as Value;
  const rank = value.dims.length;
  const starts = listOf(lowering, node, 'starts', s) ?? lowering.fail('starts', 'none');
  const ends = listOf(lowering, node, 'ends', e) ?? lowering.fail('ends', 'none');
  const axes = listOf(lowering, node, 'axes', a) ?? starts.map((_, i) => i);
  const steps = t ? known(lowering, t, 'steps') : starts.map(() => 1);
  if (ends.length !== starts.length || axes.length !== starts.length || steps.length !== starts.length)
    lowering.fail(
      'as many starts as ends, axes and steps',
      `${starts.length}, ${ends.length}, ${axes.length}, ${steps.length}`,
    );
  for (const [i, given] of axes.entries()) {
    const axis = axisOf(lowering, given, rank);
    const length = value.dims[axis] as number;
    const step = steps[i] as number;
    if (step === 0) lowering.fail('steps other than 0', '0');
    const clamp = (n: number) => {
      const at = n < 0 ? n + length : n;
      return step > 0 ? Math.min(Math.max(at, 0), length) : Math.min(Math.max(at, -1), length - 1);
    };
    const [first, end] = [clamp(starts[i] as number), clamp(ends[i] as number)];
    value = lowering.sliceAxis(value, axis, first, step, Math.max(0, Math.ceil((end - first) / step)));
  }
  return value;
}

function gathered(lowering: GraphLowering, node: GraphNode, [x, ids]: readonly (Value | undefined)[]): Value {
  const [table, at] = [x, ids] as [Value, Value];
  const axis = axisOf(lowering, int(node, 'axis', 0), table.dims.length);
  const length = table.dims[axis] as number;
  const before = table.dims.slice(0, axis);
  const behind = table.dims.slice(axis + 1);
  const dims = [...before, ...at.dims, ...behind];
  const { builder, subject } = lowering;
  if (isConstant(at)) {
    const places = Array.from(at.data, (n) => (n < 0 ? n + length : n));
    if (places.some((n) => !(n >= 0 && n < length)))
      lowering.fail(`indices below ${length}`, shown(Array.from(at.data).slice(0, 8)));
    const outer = sizeOf(before);
    return lowering.pick(table, dims, sizeOf(behind), () => {
      const from = new Int32Array(outer * places.length);
      for (let o = 0; o < outer; o++)
        for (const [k, place] of places.entries()) from[o * places.length + k] = o * length + place;
      return from;
    });
  }
  if (!lowering.isStoredInt(at)) lowering.fail('ids that are an input', 'some that are worked out');
  lowering.countIds(at, length);
  builder.emit('check', [at.id], { mode: 'index', size: length }, `ids of ${subject}`);
  const rank = table.dims.length;
  const others = Array.from({ length: rank }, (_, i) => i).filter((i) => i !== axis);
  const inFront = () => lowering.transpose(table, [axis, ...others]);
  const tableDims = [length, sizeOf(before) * sizeOf(behind)];
  const rows =
    axis === 0
      ? lowering.form(table, tableDims)
      : isConstant(table)
        ? lowering.variable(table, `by axis ${axis}`, () => ({ ...(inFront() as Constant), dims: tableDims }))
        : lowering.form(inFront(), tableDims);
  const [id] = builder.emit('embedding', [at.id, rows], {}, subject);
  const made = lowering.live(id as ValueId, [...at.dims, ...before, ...behind], table.type);
  // What stood in front of the axis comes in front of the places again.
  const places = at.dims.length;
  const from = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);
  const order = [...from(places, axis), ...from(0, places), ...from(places + axis, behind.length)];
  return axis === 0 ? made : lowering.transpose(made, order);
}

/** Largest number, mean, sum or norm over some axes. */
function reduction(kind: 'max' | 'min' | 'mean' | 'sum' | 'norm' | 'product'): Operator {
  const combine = {
    max: Math.max,
    min: Math.min,
    mean: (a: number, b: number) => a + b,
    sum: (a: number, b: number) => a + b,
    norm: (a: number, b: number) => a + b * b,
    product: (a: number, b: number) => a * b,
  }[kind];
  const first = {
    max: Number.NEGATIVE_INFINITY,
    min: Number.POSITIVE_INFINITY,
    mean: 0,
    sum: 0,
    norm: 0,
    product: 1,
  }[kind];
  return {
    inputs: [1, 2],
    outputs: 1,
    known: [1],
    attributes: { axes: 'ints', keepdims: 'int', noop_with_empty_axes: 'int' },
    lower(lowering, node, [given, list]) {
      const x = given as Value;
      const asked = listOf(lowering, node, 'axes', list) ?? [];
      // Exporters reduce scalars over axis 0, which ONNX Runtime takes.
      const named = x.dims.length === 0 ? asked.filter((axis) => axis !== 0 && axis !== -1) : asked;
      if (named.length === 0 && int(node, 'noop_with_empty_axes', 0) !== 0) return [x];
      const axes =
        named.length > 0
          ? [...new Set(named.map((axis) => axisOf(lowering, axis, x.dims.length)))].sort()
          : x.dims.map((_, i) => i);
      const others = x.dims.map((_, i) => i).filter((i) => !axes.includes(i));
      const keep = int(node, 'keepdims', 1) !== 0;
      const dims = keep
        ? x.dims.map((n, i) => (axes.includes(i) ? 1 : n))
        : others.map((i) => x.dims[i] as number);
      const count = sizeOf(axes.map((axis) => x.dims[axis] as number));
      const rest = sizeOf(dims);
      const front = lowering.transpose(x, [...axes, ...others]);
      if (isConstant(front)) {
        const data = newData(x.type, rest);
        // Of no truth values none is true, and all are.
        const begin = x.type === 'bool' && !Number.isFinite(first) ? Number(kind === 'min') : first;
        if (count === 0 && !Number.isFinite(begin) && !isFloat(x.type))
          lowering.fail(`numbers of ${x.type} to compare`, 'none');
        for (let r = 0; r < rest; r++) {
          let sum = begin;
          for (let k = 0; k < count; k++) sum = combine(sum, front.data[k * rest + r] as number);
          data[r] = held(x.type)(kind === 'mean' ? sum / count : kind === 'norm' ? Math.sqrt(sum) : sum);
        }
        return [{ type: x.type, dims, data }];
      }
      if (kind === 'product') return lowering.fail('a product of constants', 'one of data');
      const { builder, subject } = lowering;
      const pooled = (of: Value, pool: 'max' | 'average') => {
        const attrs = { kind: pool, size: count, stride: 1, before: 0, windows: 1 } as const;
        const [id] = builder.emit('pool', [lowering.form(of, [count, 1, rest]), ABSENT], attrs, subject);
        return lowering.live(id as ValueId, dims, x.type);
      };
      if (kind === 'max') return [pooled(front, 'max')];
      if (kind === 'min') return [lowering.scale(pooled(lowering.scale(front, -1), 'max'), -1)];
      if (kind === 'mean') return [pooled(front, 'average')];
      if (kind === 'sum') return [lowering.scale(pooled(front, 'average'), count)];
      const squares = lowering.program([front], (program, [v], width) =>
        program.emit('multiply', [v, v], width),
      );
      const sum = lowering.scale(pooled(squares, 'average'), count);
      return [lowering.program([sum], (program, [v], width) => program.emit('sqrt', [v], width))];
    },
  };
}

/** x·kernel on the last axis, the kernel constant. */
function dense(
  lowering: GraphLowering,
  x: Value,
  kernel: ValueId,
  units: number,
  bias: ValueId = ABSENT,
): Live {
  const { builder, subject } = lowering;
  const features = x.dims.at(-1) as number;
  const rows = lowering.form(x, x.dims.length > 1 ? x.dims : [1, features]);
  const [id] = builder.emit('dense', [rows, kernel, bias], {}, subject);
  return lowering.live(id as ValueId, [...x.dims.slice(0, -1), units], x.type);
}

const matMul: Operator['lower'] = (lowering, _, [x, y]) => {
  const [a, b] = [x, y] as [Value, Value];
  const { builder, subject } = lowering;
  const [ra, rb] = [a.dims.length, b.dims.length];
  if (ra === 0 || rb === 0) lowering.fail('vectors or matrices', `${shown(a.dims)} and ${shown(b.dims)}`);
  const inner = [a.dims.at(-1), rb === 1 ? b.dims[0] : b.dims[rb - 2]];
  if (inner[0] !== inner[1]) lowering.fail('factors that fit', `${shown(a.dims)} and ${shown(b.dims)}`);
  if (isConstant(b) && rb <= 2) {
    const units = rb === 1 ? 1 : (b.dims[1] as number);
    const made = dense(lowering, a, lowering.form(b, [b.dims[0] as number, units]), units);
    return [rb === 1 ? lowering.view(made, a.dims.slice(0, -1)) : made];
  }
  const left = ra === 1 ? [1, a.dims[0] as number] : a.dims;
  const right = rb === 1 ? [b.dims[0] as number, 1] : b.dims;
  const outer = lowering.broadcast(left.slice(0, -2), right.slice(0, -2));
  const [M, S] = [left.at(-2), right.at(-1)] as [number, number];
  const batch = sizeOf(outer);
  const spread = (value: Value, own: readonly number[]) =>
    lowering.form(lowering.expand(lowering.view(value, own), [...outer, ...own.slice(-2)]), [
      batch,
      ...own.slice(-2),
    ]);
  const attrs = { transposeA: false, transposeB: false };
  const [id] = builder.emit('matmul', [spread(a, left), spread(b, right)], attrs, subject);
  const made = lowering.live(id as ValueId, [...outer, M, S], a.type);
  const dims = [...outer, ...(ra === 1 ? [] : [M]), ...(rb === 1 ? [] : [S])];
  return [lowering.view(made, dims)];
};

const gemm: Operator['lower'] = (lowering, node, [x, y, c]) => {
  const [a, b] = [x, y] as [Value, Value];
  if (a.dims.length !== 2 || b.dims.length !== 2)
    lowering.fail('two matrices', `${shown(a.dims)} and ${shown(b.dims)}`);
  const left = int(node, 'transA', 0) !== 0 ? lowering.transpose(a, [1, 0]) : a;
  const right = int(node, 'transB', 0) !== 0 ? lowering.transpose(b, [1, 0]) : b;
  const [alpha, beta] = [float(node, 'alpha', 1), float(node, 'beta', 1)];
  const [K, units] = right.dims as [number, number];
  if (left.dims[1] !== K) lowering.fail('factors that fit', `${shown(left.dims)} and ${shown(right.dims)}`);
  const vector = c && isConstant(c) && c.data.length === units && c.dims.at(-1) === units;
  if (isConstant(b) && alpha === 1 && beta === 1 && (c === undefined || vector)) {
    const turned = int(node, 'transB', 0) !== 0;
    // Of the array in the file, so that the turned one is made once.
    const kernel = turned
      ? lowering.variable(b, 'turned', () => ({ dims: right.dims, data: (right as Constant).data }))
      : lowering.form(b);
    return [dense(lowering, left, kernel, units, c ? lowering.form(c, [units]) : ABSENT)];
  }
  const [product] = matMul(lowering, node, [left, right]) as [Value];
  let made = alpha === 1 ? product : lowering.scale(product, alpha);
  if (c !== undefined && beta !== 0) {
    if (!sameShape(lowering.broadcast(made.dims, c.dims), made.dims))
      lowering.fail(`a C for ${shown(made.dims)}`, shown(c.dims));
    made = lowering.program([made, c], (program, [v, w], width) => {
      const term = beta === 1 ? w : program.emit('scale', [w], (w as { width: number }).width, [], [beta]);
      return program.emit('add', [v, term], width);
    });
  }
  return [made];
};

/** [N, C, …] to [N, …, C] and back. */
function lastAxis(lowering: GraphLowering, x: Value): Value {
  const rest = x.dims.slice(2).map((_, i) => i + 2);
  return lowering.transpose(x, [0, ...rest, 1]);
}

function secondAxis(lowering: GraphLowering, x: Value): Value {
  const last = x.dims.length - 1;
  const rest = x.dims.slice(1, -1).map((_, i) => i + 1);
  return lowering.transpose(x, [0, last, ...rest]);
}

/** Windows over the last axis of [N, C, T]: how many, and the padding in front. */
function windows(
  lowering: GraphLowering,
  node: GraphNode,
  x: Value,
  size: number,
  stride: number,
  dilation: number,
) {
  if (x.dims.length !== 3) lowering.fail('[N, C, T], one axis of steps', shown(x.dims));
  const steps = x.dims[2] as number;
  const reach = (size - 1) * dilation + 1;
  const auto = word(node, 'auto_pad', 'NOTSET');
  let [before, after] = (ints(node, 'pads') ?? [0, 0]) as [number, number];
  if (auto !== 'NOTSET') [before, after] = [0, 0];
  if (auto.startsWith('SAME')) {
    const missing = Math.max(0, (Math.ceil(steps / stride) - 1) * stride + reach - steps);
    before = auto === 'SAME_UPPER' ? Math.floor(missing / 2) : Math.ceil(missing / 2);
    after = missing - before;
  }
  const room = steps + before + after - reach;
  const up = int(node, 'ceil_mode', 0) !== 0;
  let count = (up ? Math.ceil(room / stride) : Math.floor(room / stride)) + 1;
  // A window that would begin behind the sequence is left out.
  if (up && (count - 1) * stride >= steps + before) count -= 1;
  if (count < 1 || before < 0 || after < 0) lowering.fail(`at least ${reach} steps`, shown(x.dims));
  return { windows: count, before };
}

const oneStepAxis = (node: GraphNode): readonly [string, string] | undefined => {
  const wrong = ['kernel_shape', 'strides', 'dilations'].find(
    (name) => (ints(node, name) ?? [1]).length !== 1,
  );
  if (wrong) return ['windows over one axis', `${wrong} [${ints(node, wrong)}]`];
  return (ints(node, 'pads') ?? [0, 0]).length === 2
    ? undefined
    : ['pads of one axis', `[${ints(node, 'pads')}]`];
};

function pooling(kind: 'max' | 'average'): Operator {
  return {
    inputs: [1, 1],
    outputs: 1,
    attributes: {
      auto_pad: 'string',
      ceil_mode: 'int',
      count_include_pad: 'int',
      dilations: 'ints',
      kernel_shape: 'ints',
      pads: 'ints',
      storage_order: 'int',
      strides: 'ints',
    },
    obstacle: (node) => {
      if ((ints(node, 'dilations') ?? [1]).some((n) => n !== 1))
        return ['dilations of 1', `[${ints(node, 'dilations')}]`];
      const padded =
        (ints(node, 'pads') ?? []).some((n) => n !== 0) || word(node, 'auto_pad', '').startsWith('SAME');
      if (kind === 'average' && int(node, 'count_include_pad', 0) !== 0 && padded)
        return ['padding that does not count', 'count_include_pad 1'];
      return oneStepAxis(node);
    },
    lower(lowering, node, [given]) {
      const x = given as Value;
      const size = (ints(node, 'kernel_shape') ?? [1])[0] as number;
      const stride = (ints(node, 'strides') ?? [1])[0] as number;
      const attrs = { kind, size, stride, ...windows(lowering, node, x, size, stride, 1) };
      const [N, C] = x.dims as [number, number];
      const steps = lowering.form(lowering.transpose(x, [2, 0, 1]));
      const [id] = lowering.builder.emit('pool', [steps, ABSENT], attrs, lowering.subject);
      return [lowering.transpose(lowering.live(id as ValueId, [attrs.windows, N, C]), [1, 2, 0])];
    },
  };
}

const conv: Operator = {
  inputs: [2, 3],
  outputs: 1,
  known: [1, 2],
  attributes: {
    auto_pad: 'string',
    dilations: 'ints',
    group: 'int',
    kernel_shape: 'ints',
    pads: 'ints',
    strides: 'ints',
  },
  obstacle: (node) =>
    int(node, 'group', 1) === 1 ? oneStepAxis(node) : ['one group', String(int(node, 'group', 1))],
  lower(lowering, node, [given, w, b]) {
    const [x, kernel] = [given as Value, constant(lowering, w, 'kernel')];
    const [filters, features, size] = kernel.dims as [number, number, number];
    if (kernel.dims.length !== 3 || x.dims[1] !== features)
      lowering.fail(
        `x [N, ${features}, T] and a kernel of one axis`,
        `${shown(x.dims)} and ${shown(kernel.dims)}`,
      );
    const stride = (ints(node, 'strides') ?? [1])[0] as number;
    const dilation = (ints(node, 'dilations') ?? [1])[0] as number;
    const attrs = { size, stride, dilation, ...windows(lowering, node, x, size, stride, dilation) };
    const { builder, subject } = lowering;
    const steps = lowering.form(lowering.transpose(x, [2, 0, 1]));
    const [unfolded] = builder.emit('unfold', [steps], attrs, subject) as [ValueId];
    const id = lowering.variable(kernel, 'kernel of a convolution', () => {
      const turned = lowering.transpose(kernel, [2, 1, 0]) as Constant;
      return { dims: [size * features, filters], data: turned.data };
    });
    const bias = b ? lowering.form(constant(lowering, b, 'bias'), [filters]) : ABSENT;
    const [made] = builder.emit('dense', [unfolded, id, bias], {}, subject) as [ValueId];
    return [
      lowering.transpose(lowering.live(made, [attrs.windows, x.dims[0] as number, filters]), [1, 2, 0]),
    ];
  },
};

const batchNormalization: Operator = {
  inputs: [5, 5],
  outputs: 1,
  known: [1, 2, 3, 4],
  attributes: { epsilon: 'float', momentum: 'float', spatial: 'int', training_mode: 'int' },
  obstacle: (node) => (int(node, 'training_mode', 0) === 0 ? undefined : ['training_mode 0', '1']),
  lower(lowering, node, [given, ...vectors]) {
    const x = given as Value;
    const last = x.dims.length > 1 ? lastAxis(lowering, x) : x;
    const features = last.dims.at(-1) as number;
    const ids = vectors.map((v) => lowering.form(constant(lowering, v, 'vector'), [features]));
    const attrs = {
      training: false,
      epsilon: float(node, 'epsilon', 1e-5),
      momentum: float(node, 'momentum', 0.9),
    };
    const [id] = lowering.builder.emit(
      'batchNorm',
      [lowering.form(last), ABSENT, ...ids],
      attrs,
      lowering.subject,
      [true, false, false],
    );
    const made = lowering.live(id as ValueId, last.dims, x.type);
    return [x.dims.length > 1 ? secondAxis(lowering, made) : made];
  },
};

const layerNormalization: Operator = {
  inputs: [2, 3],
  outputs: 3,
  known: [1, 2],
  attributes: { axis: 'int', epsilon: 'float', stash_type: 'int' },
  lower(lowering, node, [given, scale, shift]) {
    const { builder, subject } = lowering;
    const x = given as Value;
    const axis = axisOf(lowering, int(node, 'axis', -1), x.dims.length);
    const size = sizeOf(x.dims.slice(axis));
    const outer = sizeOf(x.dims) / size;
    const rows = lowering.form(x, [outer, size]);
    const vector = (v: Value | undefined) =>
      v === undefined
        ? ABSENT
        : lowering.form(lowering.expand(constant(lowering, v, 'vector'), x.dims.slice(axis)), [size]);
    const attrs = { epsilon: float(node, 'epsilon', 1e-5) };
    const [id] = builder.emit('layerNorm', [rows, vector(scale), vector(shift)], attrs, subject);
    const y = lowering.live(id as ValueId, x.dims, x.type);
    if (node.outputs.length === 1) return [y];
    // The mean of each row, and what its deviation is the reciprocal of.
    const dims = x.dims.map((n, i) => (i < axis ? n : 1));
    const mean = (of: Live) => {
      const pool = { kind: 'average', size, stride: 1, before: 0, windows: 1 } as const;
      const [pooled] = builder.emit(
        'pool',
        [lowering.form(lowering.transpose(of, [1, 0]), [size, 1, outer]), ABSENT],
        pool,
        subject,
      );
      return lowering.live(pooled as ValueId, [outer, 1], x.type);
    };
    const row = lowering.live(rows, [outer, size], x.type);
    const centre = mean(row);
    const squares = lowering.program([row, centre], (program, [v, m], width) => {
      const away = program.emit('subtract', [v, m], width);
      return program.emit('multiply', [away, away], width);
    });
    const deviation = lowering.program([mean(squares)], (program, [v], width) =>
      program.emit(
        'reciprocal',
        [program.emit('sqrt', [program.emit('shift', [v], width, [], [attrs.epsilon])], width)],
        width,
      ),
    );
    return [y, lowering.view(centre, dims), lowering.view(deviation, dims)];
  },
};

function cast(lowering: GraphLowering, x: Value, code: number): Value {
  const to = Object.entries(elementTypes).find(([, number]) => number === code)?.[0] as ConstantType;
  if (isConstant(x)) {
    const data = newData(to, x.data.length);
    const keep = held(to);
    for (let i = 0; i < data.length; i++) data[i] = keep(x.data[i] as number);
    return { type: to, dims: x.dims, data };
  }
  const toFloat = to === 'float32';
  if (lowering.isStoredInt(x)) {
    if (to === 'int32' || to === 'int64') return { ...x, type: to };
    return lowering.fail('whole inputs that stay whole', `a cast to ${to}`);
  }
  if (to === 'bool') {
    const zero = constantOf('float32', [], [0]);
    // What is 0 is at least 0 and at most 0. NaN is neither, and true as all that is not 0.
    return lowering.program(
      [x, zero],
      (program, [v, o], width) => {
        const isZero = program.emit(
          'multiply',
          [program.emit('greaterEqual', [v, o], width), program.emit('greaterEqual', [o, v], width)],
          width,
        );
        return program.emit('shift', [program.emit('scale', [isZero], width, [], [-1])], width, [], [1]);
      },
      'bool',
    );
  }
  if (x.type === 'float32' && !toFloat) lowering.fail('numbers that stay real', `a cast to ${to}`);
  return { ...x, type: to };
}

const castTargets: readonly number[] = [
  elementTypes.float32,
  elementTypes.float64,
  elementTypes.int32,
  elementTypes.int64,
  elementTypes.bool,
];

const identity: Operator['lower'] = (_, __, [x]) => [x as Value];

/** All operators that graphs may be made of. docs/formats-onnx.md says what each becomes. */
export const operators: Readonly<Record<string, Operator>> = {
  ...elementwiseOperators,
  ...recurrentOperators,
  Identity: { inputs: [1, 1], outputs: 1, lower: identity },
  Dropout: {
    inputs: [1, 3],
    outputs: 2,
    known: [1, 2],
    attributes: { ratio: 'float', seed: 'int' },
    lower(lowering, _, [x, ratio, training]) {
      const isOff = (value: Value | undefined) => value && isConstant(value) && value.data[0] === 0;
      if (training && !isOff(training) && !isOff(ratio))
        lowering.fail('training_mode false, or a ratio of 0', 'another');
      const { dims } = x as Value;
      return [x as Value, constantOf('bool', dims, new Float64Array(sizeOf(dims)).fill(1))];
    },
  },
  Cast: {
    inputs: [1, 1],
    outputs: 1,
    attributes: { to: 'int', saturate: 'int' },
    obstacle: (node) =>
      castTargets.includes(int(node, 'to', 0))
        ? undefined
        : ['a cast to float32, float64, int32, int64 or bool', elementName(int(node, 'to', 0))],
    lower: (lowering, node, [x]) => [cast(lowering, x as Value, int(node, 'to', 0))],
  },
  Constant: {
    inputs: [0, 0],
    outputs: 1,
    attributes: {
      value: 'tensor',
      value_float: 'float',
      value_floats: 'floats',
      value_int: 'int',
      value_ints: 'ints',
    },
    obstacle: (node) => (node.attributes.size === 1 ? undefined : ['one value', `${node.attributes.size}`]),
    lower(_, node) {
      const [value] = [...node.attributes.values()] as [
        { t?: object; name?: string; f?: number; i?: number; floats?: number[]; ints?: number[] },
      ];
      if (value.t) return [readTensor(value.t)];
      if (value.name === 'value_float') return [constantOf('float32', [], [value.f ?? 0])];
      if (value.name === 'value_int') return [constantOf('int64', [], [value.i ?? 0])];
      const isReal = value.name === 'value_floats';
      const list = (isReal ? value.floats : value.ints) ?? [];
      return [constantOf(isReal ? 'float32' : 'int64', [list.length], list)];
    },
  },
  ConstantOfShape: {
    inputs: [1, 1],
    outputs: 1,
    known: [0],
    attributes: { value: 'tensor' },
    lower(lowering, node, [shape]) {
      const dims = known(lowering, shape as Value, 'lengths');
      const of = node.attributes.get('value')?.t;
      const value = of ? readTensor(of) : constantOf('float32', [1], [0]);
      if (dims.some((n) => n < 0) || sizeOf(dims) > MOST_MADE)
        lowering.fail(`a shape of at most ${MOST_MADE} numbers`, shown(dims));
      return [{ type: value.type, dims, data: newData(value.type, sizeOf(dims)).fill(value.data[0] ?? 0) }];
    },
  },
  Shape: {
    inputs: [1, 1],
    outputs: 1,
    attributes: { start: 'int', end: 'int' },
    lower(_, node, [x]) {
      const { dims } = x as Value;
      const part = dims.slice(int(node, 'start', 0), int(node, 'end', dims.length));
      return [constantOf('int64', [part.length], part)];
    },
  },
  Size: {
    inputs: [1, 1],
    outputs: 1,
    lower: (_, __, [x]) => [constantOf('int64', [], [sizeOf((x as Value).dims)])],
  },
  Range: {
    inputs: [3, 3],
    outputs: 1,
    known: [0, 1, 2],
    lower(lowering, _, inputs) {
      const [first, end, step] = inputs.map((value) => known(lowering, value as Value, 'numbers')[0]) as [
        number,
        number,
        number,
      ];
      const count = Math.max(0, Math.ceil((end - first) / step));
      if (!(count <= MOST_MADE)) lowering.fail(`at most ${MOST_MADE} numbers`, String(count));
      return [
        constantOf(
          (inputs[0] as Value).type,
          [count],
          Float64Array.from({ length: count }, (_, i) => first + i * step),
        ),
      ];
    },
  },
  Reshape: {
    inputs: [2, 2],
    outputs: 1,
    known: [1],
    since: 5,
    attributes: { allowzero: 'int' },
    lower: view(reshaped),
  },
  Squeeze: { inputs: [1, 2], outputs: 1, known: [1], attributes: { axes: 'ints' }, lower: view(squeezed) },
  Unsqueeze: {
    inputs: [1, 2],
    outputs: 1,
    known: [1],
    attributes: { axes: 'ints' },
    lower: view(unsqueezed),
  },
  Flatten: {
    inputs: [1, 1],
    outputs: 1,
    attributes: { axis: 'int' },
    lower: view((lowering, node, { dims }) => {
      const axis = int(node, 'axis', 1);
      const at = axis === dims.length ? axis : axisOf(lowering, axis, dims.length);
      return [sizeOf(dims.slice(0, at)), sizeOf(dims.slice(at))];
    }),
  },
  Transpose: {
    inputs: [1, 1],
    outputs: 1,
    attributes: { perm: 'ints' },
    lower(lowering, node, [given]) {
      const x = given as Value;
      const perm = ints(node, 'perm') ?? x.dims.map((_, i) => x.dims.length - 1 - i);
      if (perm.length !== x.dims.length || !x.dims.every((_, i) => perm.includes(i)))
        lowering.fail(`the axes of ${shown(x.dims)}`, shown(perm));
      return [lowering.transpose(x, perm)];
    },
  },
  Expand: {
    inputs: [2, 2],
    outputs: 1,
    known: [1],
    lower(lowering, _, [given, shape]) {
      const x = given as Value;
      const dims = known(lowering, shape as Value, 'lengths');
      if (dims.some((n) => n < 0)) lowering.fail('lengths of 0 or more', shown(dims));
      return [lowering.expand(x, lowering.broadcast(x.dims, dims))];
    },
  },
  Concat: {
    inputs: [1, 2 ** 20],
    outputs: 1,
    attributes: { axis: 'int' },
    lower: (lowering, node, inputs) => {
      const values = inputs.filter((value) => value !== undefined);
      return [
        lowering.concat(values, axisOf(lowering, int(node, 'axis', 0), (values[0] as Value).dims.length)),
      ];
    },
  },
  Split: {
    inputs: [1, 2],
    outputs: 2 ** 16,
    known: [1],
    attributes: { axis: 'int', split: 'ints', num_outputs: 'int' },
    lower(lowering, node, [given, list]) {
      const x = given as Value;
      const axis = axisOf(lowering, int(node, 'axis', 0), x.dims.length);
      const length = x.dims[axis] as number;
      const count = node.outputs.length;
      const each = Math.ceil(length / count);
      const parts =
        listOf(lowering, node, 'split', list) ??
        Array.from({ length: count }, (_, i) => Math.min(each, length - i * each));
      if (parts.length !== count || parts.some((n) => n < 0) || parts.reduce((a, b) => a + b) !== length)
        lowering.fail(`${count} parts of ${length}`, shown(parts));
      let first = 0;
      return parts.map((width) => {
        const part = lowering.sliceAxis(x, axis, first, 1, width);
        first += width;
        return part;
      });
    },
  },
  Slice: {
    inputs: [1, 5],
    outputs: 1,
    known: [1, 2, 3, 4],
    attributes: { starts: 'ints', ends: 'ints', axes: 'ints' },
    lower: (lowering, node, inputs) => [sliced(lowering, node, inputs)],
  },
  Gather: {
    inputs: [2, 2],
    outputs: 1,
    attributes: { axis: 'int' },
    lower: (lowering, node, inputs) => [gathered(lowering, node, inputs)],
  },
  MatMul: { inputs: [2, 2], outputs: 1, lower: matMul },
  Gemm: {
    inputs: [2, 3],
    outputs: 1,
    attributes: { alpha: 'float', beta: 'float', transA: 'int', transB: 'int' },
    lower: gemm,
  },
  Conv: conv,
  MaxPool: pooling('max'),
  AveragePool: pooling('average'),
  BatchNormalization: batchNormalization,
  LayerNormalization: layerNormalization,
  ReduceMax: reduction('max'),
  ReduceMin: reduction('min'),
  ReduceMean: reduction('mean'),
  ReduceSum: reduction('sum'),
  ReduceL2: reduction('norm'),
  ReduceProd: reduction('product'),
  Scan: scanOperator((op) => (Object.hasOwn(operators, op) ? operators[op] : undefined)),
};
