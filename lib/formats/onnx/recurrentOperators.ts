import { gateCounts } from '../../plan/codes';
import { stackLayout } from '../../plan/ops/rnnStack';
import { outputOf } from '../../plan/program/program';
import { ProgramBuilder, type ProgramValue } from '../../plan/program/programBuilder';
import { ABSENT, type ActivationAttrs, type RnnLayerAttrs, type ValueId } from '../../plan/types';
import { type Constant, constantOf } from './constants';
import { type Operator, writeClip, writeElu, writeHardSigmoid, writeLeakyRelu } from './elementwise';
import type { GraphNode } from './graphFile';
import { float, type GraphLowering, int, isConstant, type Live, shown, type Value, word } from './lowering';

type Cell = 'simpleRnn' | 'lstm' | 'gru';

/** Gates of ours as places in ONNX's order: i f g o of i o f c, r z n of z r h. */
const gateOrders: Readonly<Record<Cell, readonly number[]>> = {
  simpleRnn: [0],
  lstm: [0, 2, 3, 1],
  gru: [1, 0, 2],
};
const defaults: Readonly<Record<Cell, readonly string[]>> = {
  simpleRnn: ['tanh'],
  lstm: ['sigmoid', 'tanh', 'tanh'],
  gru: ['sigmoid', 'tanh'],
};
const directions: readonly string[] = ['forward', 'reverse', 'bidirectional'];

/** An activation of one gate, with its parameters. */
interface GateActivation {
  readonly name: string;
  readonly alpha: number;
  readonly beta: number;
}

/** Parameters of the activations that have some, where the node gives none. */
const parameters: Readonly<Record<string, { readonly alpha?: number; readonly beta?: number }>> = {
  affine: { alpha: 1, beta: 0 },
  leakyrelu: { alpha: 0.01 },
  thresholdedrelu: { alpha: 1 },
  scaledtanh: { alpha: 1, beta: 1 },
  hardsigmoid: { alpha: 0.2, beta: 0.5 },
  elu: { alpha: 1 },
  tanh: {},
  sigmoid: {},
  relu: {},
  softsign: {},
  softplus: {},
};

/** The activations of all directions. Parameters are handed out, in order, to those that have some. */
function activationsOf(node: GraphNode, cell: Cell): readonly GateActivation[] {
  const count = word(node, 'direction', 'forward') === 'bidirectional' ? 2 : 1;
  const usual = Array.from({ length: count }, () => defaults[cell]).flat();
  const names = (node.attributes.get('activations')?.strings ?? usual).map((name) => name.toLowerCase());
  const alphas = [...(node.attributes.get('activation_alpha')?.floats ?? [])];
  const betas = [...(node.attributes.get('activation_beta')?.floats ?? [])];
  return names.map((name) => {
    const known = parameters[name];
    const alpha = known?.alpha === undefined ? 0 : (alphas.shift() ?? known.alpha);
    const beta = known?.beta === undefined ? 0 : (betas.shift() ?? known.beta);
    return { name, alpha, beta };
  });
}

const near = (a: number, b: number) => Math.fround(a) === Math.fround(b);

/** The activation of plans that is the same; undefined: there is none. */
function planActivation({ name, alpha, beta }: GateActivation): ActivationAttrs | undefined {
  switch (name) {
    case 'affine':
      return alpha === 1 && beta === 0 ? { kind: 'linear', alpha: 0 } : undefined;
    case 'hardsigmoid':
      if (beta !== 0.5) return undefined;
      if (near(alpha, 1 / 6)) return { kind: 'hardSigmoid', alpha: 0 };
      return alpha === 0.5 ? { kind: 'sparseSigmoid', alpha: 0 } : undefined;
    case 'elu':
      return alpha >= 0 ? { kind: 'elu', alpha } : undefined;
    case 'leakyrelu':
      return alpha > 0 ? { kind: 'leakyRelu', alpha } : undefined;
    case 'thresholdedrelu':
      return { kind: 'threshold', alpha };
    case 'scaledtanh':
      return undefined;
    default:
      return { kind: name as 'tanh' | 'sigmoid' | 'relu' | 'softsign' | 'softplus', alpha: 0 };
  }
}

function writeActivation(program: ProgramBuilder, activation: GateActivation, x: ProgramValue): ProgramValue {
  const { name, alpha, beta } = activation;
  const { width } = x;
  const scaled = (of: ProgramValue, factor: number) => program.emit('scale', [of], width, [], [factor]);
  const found = planActivation(activation);
  if (found) return found.kind === 'linear' ? x : program.activation(found, x);
  switch (name) {
    case 'affine':
      return program.emit('shift', [scaled(x, alpha)], width, [], [beta]);
    case 'hardsigmoid':
      return writeHardSigmoid(program, x, width, alpha, beta);
    case 'elu':
      return writeElu(program, x, width, alpha);
    case 'leakyrelu':
      return writeLeakyRelu(program, x, width, alpha);
    default:
      return scaled(program.activation({ kind: 'tanh', alpha: 0 }, scaled(x, beta)), alpha);
  }
}

/** Activations that give of a number's negative 1 less what they give of the number. */
const complementary: readonly string[] = ['sigmoid', 'hardSigmoid', 'sparseSigmoid'];

/** One direction of a node. */
interface Direction {
  readonly node: GraphNode;
  readonly cell: Cell;
  readonly index: number;
  readonly reverse: boolean;
  readonly activations: readonly GateActivation[];
  readonly units: number;
  /** [T, N, D] */
  readonly x: Value;
  readonly valid: ValueId;
  readonly weights: {
    readonly W: Constant;
    readonly R: Constant;
    readonly B: Constant | undefined;
    readonly P: Constant | undefined;
  };
  readonly h0: ValueId;
  readonly c0: ValueId;
}

interface Recurred {
  /** [T, N, H] in the order of time; padding is not yet 0. */
  readonly y: ValueId;
  readonly ends: readonly ValueId[];
}

/** Rows of gates [nd, G·H, K] of a direction as columns [K, G·H] in another order, each times its sign; bias halves [nd, 2·G·H] likewise with K = 1. */
function gateColumns(
  constant: Constant,
  direction: Direction,
  order: readonly number[],
  signs: readonly number[],
  half?: 0 | 1,
): Float32Array {
  const { index, units, cell } = direction;
  const rows = (cell === 'simpleRnn' ? 1 : gateCounts[cell]) * units;
  const K = half === undefined ? (constant.dims[2] as number) : 1;
  const base = half === undefined ? index * rows * K : (2 * index + half) * rows;
  const made = new Float32Array(K * order.length * units);
  for (const [g, from] of order.entries())
    for (let j = 0; j < units; j++)
      for (let k = 0; k < K; k++)
        made[k * order.length * units + g * units + j] =
          (signs[g] as number) * (constant.data[base + (from * units + j) * K + k] as number);
  return made;
}

function biasColumns(
  direction: Direction,
  order: readonly number[],
  signs: readonly number[],
  apart: boolean,
) {
  const { B } = direction.weights;
  const [ofInput, ofState] = ([0, 1] as const).map((half) =>
    gateColumns(B as Constant, direction, order, signs, half),
  ) as [Float32Array, Float32Array];
  if (apart) return { dims: [2, ofInput.length], data: Float32Array.from([...ofInput, ...ofState]) };
  return { dims: [ofInput.length], data: ofInput.map((v, i) => v + (ofState[i] as number)) };
}

/** As a layer of a fused stack, where plans have all that the node asks for. */
function asStack(lowering: GraphLowering, direction: Direction): Recurred | undefined {
  const { node, cell, index, reverse, activations, units, x, valid, weights, h0, c0 } = direction;
  const plans = activations.map(planActivation);
  if (float(node, 'clip', 0) > 0 || plans.some((found) => found === undefined)) return undefined;
  const [f, g, h] = plans as ActivationAttrs[];
  const inner = cell === 'simpleRnn' ? f : g;
  if (h && (h.kind !== g?.kind || h.alpha !== g.alpha)) return undefined;
  const coupled = cell === 'lstm' && int(node, 'input_forget', 0) !== 0;
  // f = 1 − i here, i = 1 − f there: the gate of i with its signs turned.
  if (coupled && !complementary.includes((f as ActivationAttrs).kind)) return undefined;
  const order = coupled ? [0, 3, 1] : (gateOrders[cell] as readonly number[]);
  const signs = coupled ? [-1, 1, 1] : order.map(() => 1);
  const resetAfter = cell === 'gru' && int(node, 'linear_before_reset', 0) !== 0;
  const [steps, batch, inputSize] = x.dims as [number, number, number];
  const { builder, subject } = lowering;
  const part = (
    constant: Constant,
    what: string,
    make: () => { dims: readonly number[]; data: ArrayLike<number> },
  ) => lowering.variable(constant, `${what} ${cell} ${index} ${coupled} ${resetAfter} ${units}`, make);
  const kernel = part(weights.W, 'kernel', () => ({
    dims: [inputSize, order.length * units],
    data: gateColumns(weights.W, direction, order, signs),
  }));
  const recurrent = part(weights.R, 'recurrent', () => ({
    dims: [units, order.length * units],
    data: gateColumns(weights.R, direction, order, signs),
  }));
  const bias = weights.B
    ? part(weights.B, 'bias', () => biasColumns(direction, order, signs, resetAfter))
    : ABSENT;
  const P = weights.P;
  const peephole = P
    ? part(P, 'peephole', () => {
        const own = (k: number, sign: number) =>
          Array.from(P.data.subarray((3 * index + k) * units, (3 * index + k + 1) * units), (v) => sign * v);
        return coupled
          ? { dims: [2, units], data: [...own(0, -1), ...own(1, 1)] }
          : { dims: [3, units], data: [...own(0, 1), ...own(2, 1), ...own(1, 1)] };
      })
    : ABSENT;
  const none = { mode: 'sharedOverTime', rate: 0, stream: 0 } as const;
  const layer: RnnLayerAttrs = {
    name: node.subject,
    cell,
    units,
    activation: inner as ActivationAttrs,
    recurrentActivation: cell === 'simpleRnn' ? { kind: 'sigmoid', alpha: 0 } : (f as ActivationAttrs),
    resetAfter,
    ...(P ? { peepholes: true } : {}),
    ...(coupled ? { coupledGates: true } : {}),
    useBias: weights.B !== undefined,
    inputDropout: none,
    recurrentDropout: none,
  };
  const attrs = {
    steps,
    batch,
    inputSize,
    returnSequences: true,
    goBackwards: reverse,
    seed: 0,
    layers: [layer],
  };
  const outputs = builder.emit(
    'rnnStack',
    [
      builder.input('step', 'float64', [1]),
      lowering.form(x),
      valid,
      kernel,
      recurrent,
      bias,
      h0,
      c0,
      peephole,
    ],
    attrs,
    subject,
    [false, true, true, cell === 'lstm'],
  );
  const [made, ...ends] = outputs.slice(stackLayout.forwardOutput(0)) as [ValueId, ...ValueId[]];
  const y = reverse ? (builder.emit('reverseTime', [made], {}, subject)[0] as ValueId) : made;
  return { y, ends };
}

/** As a program that runs the equations of the standard, for what fused stacks have not. */
function asProgram(lowering: GraphLowering, direction: Direction): Recurred {
  const { node, cell, index, reverse, activations, units: H, x, valid, weights, h0, c0 } = direction;
  const { builder, subject } = lowering;
  const [steps, batch, inputSize] = x.dims as [number, number, number];
  const order = gateOrders[cell];
  const signs = order.map(() => 1);
  const G = order.length;
  const part = (
    constant: Constant,
    what: string,
    make: () => { dims: readonly number[]; data: ArrayLike<number> },
  ) => lowering.variable(constant, `${what} for programs ${cell} ${index} ${H}`, make);
  const resetAfter = int(node, 'linear_before_reset', 0) !== 0;
  const kernel = part(weights.W, 'kernel', () => ({
    dims: [inputSize, G * H],
    data: gateColumns(weights.W, direction, order, signs),
  }));
  const R = gateColumns(weights.R, direction, order, signs);
  const apart = cell === 'gru' && resetAfter;
  const both = weights.B ? biasColumns(direction, order, signs, apart) : undefined;
  const own = (data: ArrayLike<number> | undefined, first: number, count: number) =>
    Array.prototype.slice.call(data ?? [], first, first + count) as number[];
  const bias = weights.B
    ? part(weights.B, apart ? 'first bias' : 'bias', () => ({
        dims: [G * H],
        data: own(both?.data, 0, G * H),
      }))
    : ABSENT;
  // Of all steps at once.
  const [ofInput] = builder.emit('dense', [lowering.form(x), kernel, bias], {}, subject) as [ValueId];

  const program = new ProgramBuilder();
  const ids: ValueId[] = [];
  const operand = (kind: 'sequence' | 'rows' | 'weight' | 'valid', id: ValueId, width: number, rows = 1) => {
    ids.push(id);
    return program.operand(kind, width, rows);
  };
  const xs = operand('sequence', ofInput, G * H);
  const columns = (first: number, count: number) => {
    const made = new Float32Array(H * count * H);
    for (let k = 0; k < H; k++)
      for (let j = 0; j < count * H; j++) made[k * count * H + j] = R[k * G * H + first * H + j] as number;
    return { dims: [H, count * H], data: made };
  };
  const matrix = (what: string, first: number, count: number) =>
    operand(
      'weight',
      part(weights.R, what, () => columns(first, count)),
      count * H,
      H,
    );
  const counts = valid === ABSENT ? undefined : program.emit('valid', [operand('valid', valid, 1)], 1);
  const start = (id: ValueId) => (id === ABSENT ? undefined : operand('rows', id, H));
  const hCarry = program.carry(H, start(h0));
  const cCarry = cell === 'lstm' ? program.carry(H, start(c0)) : undefined;

  const emit = (kind: 'add' | 'multiply' | 'subtract', a: ProgramValue, b: ProgramValue) =>
    program.emit(kind, [a, b], H);
  const gate = (from: ProgramValue, g: number) => program.emit('slice', [from], H, [g * H]);
  const product = (a: ProgramValue, w: ProgramValue, width: number) =>
    program.emit('matmul', [a, w], width, [0, 1]);
  const limit = float(node, 'clip', 0);
  const clipped = (v: ProgramValue) => (limit > 0 ? writeClip(program, v, H, -limit, limit) : v);
  const activated = (i: number, v: ProgramValue) =>
    writeActivation(program, activations[i] as GateActivation, clipped(v));
  const rest = (v: ProgramValue) =>
    program.emit('shift', [program.emit('scale', [v], H, [], [-1])], H, [], [1]);

  let hNext: ProgramValue;
  let cNext: ProgramValue | undefined;
  if (cell === 'simpleRnn') {
    hNext = activated(0, emit('add', xs, product(hCarry, matrix('all', 0, 1), H)));
  } else if (cell === 'gru') {
    const two = matrix('r and z', 0, 2);
    const last = matrix('n', 2, 1);
    const ofState = product(hCarry, two, 2 * H);
    const B2 = (g: number) =>
      operand(
        'weight',
        part(weights.B as Constant, `second bias ${g}`, () => ({
          dims: [H],
          data: own(both?.data, (G + g) * H, H),
        })),
        H,
      );
    const withBias = (v: ProgramValue, g: number) => (apart && weights.B ? emit('add', v, B2(g)) : v);
    const r = activated(0, emit('add', gate(xs, 0), withBias(gate(ofState, 0), 0)));
    const z = activated(0, emit('add', gate(xs, 1), withBias(gate(ofState, 1), 1)));
    const inner = resetAfter
      ? emit('multiply', r, withBias(product(hCarry, last, H), 2))
      : product(emit('multiply', r, hCarry), last, H);
    const n = activated(1, emit('add', gate(xs, 2), inner));
    hNext = emit('add', emit('multiply', z, hCarry), emit('multiply', rest(z), n));
  } else {
    const c = cCarry as ProgramValue;
    const sums = program.emit('add', [xs, product(hCarry, matrix('all', 0, 4), 4 * H)], 4 * H);
    const P = weights.P;
    const seen = (g: number, k: number, of: ProgramValue) => {
      const sum = gate(sums, g);
      if (!P) return sum;
      const data = P.data.subarray((3 * index + k) * H, (3 * index + k + 1) * H);
      const weight = operand(
        'weight',
        part(P, `peephole ${k}`, () => ({ dims: [H], data })),
        H,
      );
      return emit('add', sum, emit('multiply', of, weight));
    };
    const i = activated(0, seen(0, 0, c));
    const f = int(node, 'input_forget', 0) !== 0 ? rest(i) : activated(0, seen(1, 2, c));
    cNext = emit('add', emit('multiply', f, c), emit('multiply', i, activated(1, gate(sums, 2))));
    const o = activated(0, seen(3, 1, cNext));
    hNext = emit('multiply', o, writeActivation(program, activations[2] as GateActivation, cNext));
  }
  const kept = (next: ProgramValue, before: ProgramValue) =>
    counts ? program.emit('select', [counts, next, before], H) : program.asRegister(next);
  const h = kept(hNext, hCarry);
  program.carryFrom(hCarry, h);
  if (cNext && cCarry) program.carryFrom(cCarry, kept(cNext, cCarry));
  const attrs = program.finish({ steps, batch, reverse, seed: 0 });
  const at = outputOf.register(attrs, h.index);
  const want = Array.from({ length: at + 1 }, (_, k) => k === at || k < attrs.carries.length);
  const outputs = builder.emit('program', [ABSENT, ...ids], attrs, subject, want);
  return { y: outputs[at] as ValueId, ends: outputs.slice(0, attrs.carries.length) };
}

/** Which steps count, int32 [T, N]; ABSENT: all. */
function validSteps(
  lowering: GraphLowering,
  lengths: Value | undefined,
  steps: number,
  batch: number,
): ValueId {
  if (lengths === undefined) return ABSENT;
  const { builder, subject } = lowering;
  if (lengths.dims.length !== 1 || lengths.dims[0] !== batch)
    lowering.fail(`sequence_lens [${batch}]`, shown(lengths.dims));
  if (isConstant(lengths)) {
    if (lengths.data.some((n) => !(n >= 0 && n <= steps)))
      lowering.fail(`sequence_lens from 0 to ${steps}`, shown(Array.from(lengths.data).slice(0, 8)));
    if (lengths.data.every((n) => n === steps)) return ABSENT;
    const id = lowering.variable(lengths, 'lengths', () => ({
      dims: [batch],
      data: lengths.data,
      int: true,
    }));
    return builder.emitOnce('lengthMask', [id], { steps }, subject);
  }
  if (lowering.isStoredInt(lengths)) {
    builder.emit('check', [lengths.id], { mode: 'index', size: steps + 1 }, `sequence_lens of ${subject}`);
    return builder.emitOnce('lengthMask', [lengths.id], { steps }, subject);
  }
  // Lengths that the graph worked out are real numbers here. One below 0 stands for a sequence that ends more than once: 1/(−1 + 1).
  const proof = lowering.program([lengths], (program, [n], width) =>
    program.emit('reciprocal', [program.emit('shift', [n], width, [], [1])], width),
  );
  builder.emit('check', [proof.id], { mode: 'finite' }, `sequence_lens of ${subject}`);
  const times = constantOf(
    'float32',
    [steps, 1],
    Float32Array.from({ length: steps }, (_, t) => t),
  );
  const counts = lowering.program([lowering.view(lengths, [1, batch]), times], (program, [n, t], width) =>
    program.emit('greater', [n, t], width),
  );
  return builder.emitOnce('stepMask', [lowering.form(counts, [steps, batch, 1])], { value: 0 }, subject);
}

/** A direction's initial state [N, H] out of [nd, N, H]; ABSENT for zeros. */
function startState(
  lowering: GraphLowering,
  state: Value | undefined,
  directionCount: number,
  index: number,
  batch: number,
  units: number,
): ValueId {
  if (state === undefined) return ABSENT;
  const wanted = [directionCount, batch, units];
  if (state.dims.join() !== wanted.join())
    lowering.fail(`an initial state ${shown(wanted)}`, shown(state.dims));
  if (isConstant(state) && state.data.every((v) => v === 0)) return ABSENT;
  return lowering.form(lowering.sliceAxis(state, 0, index, 1, 1), [batch, units]);
}

function lower(
  lowering: GraphLowering,
  node: GraphNode,
  cell: Cell,
  inputs: readonly (Value | undefined)[],
): readonly Value[] {
  const [given, W, R, B, lengths, initialH, initialC, P] = inputs;
  const batchFirst = int(node, 'layout', 0) !== 0;
  const { builder, subject } = lowering;
  if (given?.dims.length !== 3) lowering.fail('X of three axes', shown(given?.dims ?? []));
  const turned = (value: Value | undefined) =>
    value && (batchFirst ? lowering.transpose(value, [1, 0, 2]) : value);
  const x = turned(given) as Value;
  const weight = (value: Value | undefined, what: string): Constant => {
    if (!value || !isConstant(value))
      return lowering.fail(`constant ${what}`, `${what} that depends on data`);
    return value;
  };
  const isBoth = word(node, 'direction', 'forward') === 'bidirectional';
  const count = isBoth ? 2 : 1;
  const weights = { W: weight(W, 'W'), R: weight(R, 'R'), B: B && weight(B, 'B'), P: P && weight(P, 'P') };
  const [steps, batch, features] = x.dims as [number, number, number];
  const units = weights.R.dims[2] ?? 0;
  const rows = (cell === 'simpleRnn' ? 1 : gateCounts[cell]) * units;
  const shapes: readonly (readonly [string, Constant | undefined, readonly number[]])[] = [
    ['W', weights.W, [count, rows, features]],
    ['R', weights.R, [count, rows, units]],
    ['B', weights.B, [count, 2 * rows]],
    ['P', weights.P, [count, 3 * units]],
  ];
  for (const [name, constant, wanted] of shapes)
    if (constant && constant.dims.join() !== wanted.join())
      lowering.fail(`${name} ${shown(wanted)}`, shown(constant.dims));
  if (int(node, 'hidden_size', units) !== units || units < 1)
    lowering.fail(`hidden_size ${units}`, String(int(node, 'hidden_size', units)));
  const valid = validSteps(lowering, lengths, steps, batch);
  const activations = activationsOf(node, cell);
  const each = defaults[cell].length;
  const starts = [turned(initialH), turned(initialC)];
  const made = Array.from({ length: count }, (_, index): Recurred => {
    const [h0, c0] = starts.map((state) => startState(lowering, state, count, index, batch, units)) as [
      ValueId,
      ValueId,
    ];
    const direction: Direction = {
      node,
      cell,
      index,
      x,
      units,
      weights,
      valid,
      h0,
      c0,
      reverse: word(node, 'direction', 'forward') === 'reverse' || index === 1,
      activations: activations.slice(index * each, (index + 1) * each),
    };
    return asStack(lowering, direction) ?? asProgram(lowering, direction);
  });
  const masked = ({ y }: Recurred): Live => {
    const id = valid === ABSENT ? y : (builder.emit('maskRows', [y, valid], {}, subject)[0] as ValueId);
    return lowering.live(id, [steps, 1, batch, units]);
  };
  const together = (values: readonly Live[], axis: number) =>
    values.length === 1 ? (values[0] as Live) : lowering.concat(values, axis);
  const Y = together(made.map(masked), 1);
  const end = (k: number) =>
    together(
      made.map(({ ends }) => lowering.live(ends[k] as ValueId, [1, batch, units])),
      0,
    );
  const ends = cell === 'lstm' ? [end(0), end(1)] : [end(0)];
  if (!batchFirst) return [Y, ...ends];
  return [lowering.transpose(Y, [2, 0, 1, 3]), ...ends.map((value) => lowering.transpose(value, [1, 0, 2]))];
}

function operator(cell: Cell, inputs: number, outputs: number): Operator {
  return {
    inputs: [3, inputs],
    outputs,
    known: [1, 2, 3, 7],
    attributes: {
      activations: 'strings',
      activation_alpha: 'floats',
      activation_beta: 'floats',
      clip: 'float',
      direction: 'string',
      hidden_size: 'int',
      layout: 'int',
      ...(cell === 'gru' ? { linear_before_reset: 'int' as const } : {}),
      ...(cell === 'lstm' ? { input_forget: 'int' as const } : {}),
    },
    obstacle(node) {
      const direction = word(node, 'direction', 'forward');
      if (!directions.includes(direction)) return [`a direction ${directions.join(', ')}`, `'${direction}'`];
      const wanted = defaults[cell].length * (direction === 'bidirectional' ? 2 : 1);
      const found = activationsOf(node, cell);
      if (found.length !== wanted) return [`${wanted} activations`, String(found.length)];
      const unknown = found.find(({ name }) => !Object.hasOwn(parameters, name));
      if (unknown) return [`activations ${Object.keys(parameters).join(', ')}`, `'${unknown.name}'`];
      const wild = found.find(({ alpha, beta }) => !Number.isFinite(alpha) || !Number.isFinite(beta));
      if (wild) return ['finite parameters of activations', `those of '${wild.name}'`];
      return float(node, 'clip', 0) >= 0
        ? undefined
        : ['a clip of 0 or more', String(float(node, 'clip', 0))];
    },
    lower: (lowering, node, values) => lower(lowering, node, cell, values),
  };
}

export const recurrentOperators: Readonly<Record<string, Operator>> = {
  RNN: operator('simpleRnn', 6, 2),
  GRU: operator('gru', 6, 2),
  LSTM: operator('lstm', 8, 3),
};
