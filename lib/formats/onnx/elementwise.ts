import type { InstructionKind } from '../../plan/program/program';
import type { ProgramBuilder, ProgramValue } from '../../plan/program/programBuilder';
import type { ActivationAttrs } from '../../plan/types';
import { sizeOf } from '../../tensors/tensor';
import { type Constant, type ConstantType, isFloat, newData } from './constants';
import type { GraphNode, OperatorSpec } from './graphFile';
import {
  broadcastPlaces,
  float,
  type GraphLowering,
  int,
  isConstant,
  type Live,
  type Value,
  word,
} from './lowering';

/** An operator: what is known of it before anything runs, and what it becomes. */
export interface Operator extends OperatorSpec {
  /** @param inputs undefined where left out; as many as the operator may have at most */
  lower(lowering: GraphLowering, node: GraphNode, inputs: readonly (Value | undefined)[]): readonly Value[];
}

type Write = (program: ProgramBuilder, operands: readonly ProgramValue[], width: number) => ProgramValue;

const LIMITS: Readonly<Partial<Record<ConstantType, (n: number) => number>>> = {
  float32: Math.fround,
  float64: (n) => n,
  float16: Math.fround,
  bool: (n) => Number(n !== 0),
};

/** A number as a type holds it. */
export function held(type: ConstantType): (n: number) => number {
  return LIMITS[type] ?? Math.trunc;
}

/** A function of constants, number by number. */
export function fold(
  values: readonly Constant[],
  dims: readonly number[],
  type: ConstantType,
  of: (...numbers: number[]) => number,
): Constant {
  const data = newData(type, sizeOf(dims));
  const places = values.map(({ dims: own }) =>
    broadcastPlaces([...new Array<number>(dims.length - own.length).fill(1), ...own], dims),
  );
  const keep = held(type);
  for (let i = 0; i < data.length; i++)
    data[i] = keep(of(...values.map(({ data: own }, k) => own[places[k]?.[i] as number] as number)));
  return { type, dims, data };
}

/** All of a node's inputs; none may be left out. */
export function present(inputs: readonly (Value | undefined)[]): readonly Value[] {
  return inputs.filter((value) => value !== undefined);
}

/** Both ways of an elementwise operator: of constants at once, of others in the plan. */
export function elementwise(
  lowering: GraphLowering,
  values: readonly Value[],
  of: (...numbers: number[]) => number,
  write: Write,
  type: ConstantType = (values[0] as Value).type,
): Value {
  if (values.every(isConstant)) {
    const dims = values.map(({ dims: own }) => own).reduce((a, b) => lowering.broadcast(a, b));
    if (sizeOf(dims) > 2 ** 24)
      lowering.fail('at most 2^24 numbers in arithmetic of constants', String(sizeOf(dims)));
    return fold(values, dims, type, of);
  }
  return lowering.program(values, write, type);
}

const two =
  (kind: InstructionKind): Write =>
  (program, [a, b], width) =>
    program.emit(kind, [a, b], width);
const one =
  (kind: InstructionKind): Write =>
  (program, [a], width) =>
    program.emit(kind, [a], width);

function unary(of: (x: number) => number, write: Write): Operator {
  return {
    inputs: [1, 1],
    outputs: 1,
    lower: (lowering, _, inputs) => [elementwise(lowering, present(inputs), of, write)],
  };
}

const sameDims = (a: Value, b: Value) =>
  a.dims.length === b.dims.length && a.dims.every((n, i) => n === b.dims[i]);

/** Sums and products of equal shapes are ops of their own; a number alone is a factor. */
function arithmetic(
  name: 'add' | 'subtract' | 'multiply' | 'divide',
  of: (a: number, b: number) => number,
): Operator {
  return {
    inputs: [2, 2],
    outputs: 1,
    lower(lowering, _, inputs) {
      const [a, b] = present(inputs) as [Value, Value];
      const biased = name === 'add' ? (lowering.addBias(a, b) ?? lowering.addBias(b, a)) : undefined;
      if (biased) return [biased];
      const live = !isConstant(a) || !isConstant(b);
      if (live && sameDims(a, b)) {
        if (name === 'add' || name === 'multiply') return [lowering.combine(name, a, b)];
        if (name === 'subtract') return [lowering.combine('add', a, lowering.scale(b, -1))];
      }
      const whole = name === 'divide' && !isFloat(a.type);
      // Whole numbers that were worked out are stored as real ones, whose quotients are not cut.
      if (whole && live) lowering.fail('real numbers to divide', `${a.type} that depend on data`);
      return [elementwise(lowering, [a, b], whole ? (x, y) => Math.trunc(x / y) : of, two(name))];
    },
  };
}

function comparison(of: (a: number, b: number) => boolean, write: Write): Operator {
  return {
    inputs: [2, 2],
    outputs: 1,
    lower(lowering, _, inputs) {
      const values = present(inputs) as [Value, Value];
      const special = values.some((value) => lowering.isStoredInt(value))
        ? compareInts(lowering, _.op, values)
        : undefined;
      return [special ?? elementwise(lowering, values, (a, b) => Number(of(a, b)), write, 'bool')];
    },
  };
}

/** Whole inputs are compared with a number, or as lengths with the places of steps. */
function compareInts(lowering: GraphLowering, op: string, [a, b]: readonly [Value, Value]): Live | undefined {
  const { builder, subject } = lowering;
  const real = (mask: number) =>
    builder.emit('maskWeights', [mask, -1], { normalize: false }, subject)[0] as number;
  if (
    op === 'Equal' &&
    lowering.isStoredInt(a) &&
    isConstant(b) &&
    b.data.length === 1 &&
    builder.spec((a as Live).id).shape.length === 2
  ) {
    const other = real(
      builder.emitOnce('stepMask', [(a as Live).id], { value: b.data[0] as number }, subject),
    );
    const differs = lowering.live(other, a.dims, 'bool');
    return lowering.program(
      [differs],
      (program, [x], width) =>
        program.emit('shift', [program.emit('scale', [x], width, [], [-1])], width, [], [1]),
      'bool',
    );
  }
  const steps = a.dims.at(-1) as number;
  if (
    op === 'Less' &&
    isConstant(a) &&
    a.dims.length === 1 &&
    a.data.every((n, i) => n === i) &&
    lowering.isStoredInt(b)
  ) {
    const [count] = b.dims as [number];
    if (b.dims.length === 2 && b.dims[1] === 1 && builder.spec((b as Live).id).shape.length === 1) {
      const [mask] = builder.emit('lengthMask', [(b as Live).id], { steps }, subject) as [number];
      return lowering.transpose(lowering.live(real(mask), [steps, count], 'bool'), [1, 0]) as Live;
    }
  }
  return undefined;
}

/** The smallest, largest, sum or mean of any number of inputs. */
function several(of: (...n: number[]) => number, kind: InstructionKind, mean = false): Operator {
  return {
    inputs: [1, 2 ** 20],
    outputs: 1,
    lower(lowering, _, inputs) {
      const values = present(inputs);
      const write: Write = (program, operands, width) => {
        const all = operands.reduce((a, b) => program.emit(kind, [a, b], width));
        return mean ? program.emit('scale', [all], width, [], [1 / operands.length]) : all;
      };
      return [elementwise(lowering, values, of, write)];
    },
  };
}

/** An activation that plans have; constants are not run through it. */
function activationOf(
  attributes: OperatorSpec['attributes'],
  attrs: (node: GraphNode) => ActivationAttrs | undefined,
  write?: (node: GraphNode) => Write,
): Operator {
  return {
    inputs: [1, 1],
    outputs: 1,
    ...(attributes ? { attributes } : {}),
    obstacle: (node) =>
      attrs(node) || write
        ? undefined
        : [
            'parameters that this library has for it',
            JSON.stringify([...node.attributes.values()].map(({ name, f }) => [name, f])),
          ],
    lower(lowering, node, [x]) {
      const found = attrs(node);
      if (found) return [lowering.activation(x as Value, found)];
      return [lowering.program([x as Value], (write as (node: GraphNode) => Write)(node))];
    },
  };
}

const near = (a: number, b: number) => Math.fround(a) === Math.fround(b);
const plain = (kind: ActivationAttrs['kind']) => activationOf(undefined, () => ({ kind, alpha: 0 }));

/** A number in every column of a program. */
function constantIn(program: ProgramBuilder, like: ProgramValue, width: number, value: number): ProgramValue {
  return program.emit('shift', [program.emit('greater', [like, like], width)], width, [], [value]);
}

/** clip(x, least, most) */
export function writeClip(
  program: ProgramBuilder,
  x: ProgramValue,
  width: number,
  least: number,
  most: number,
): ProgramValue {
  let y = x;
  if (least > -3.4e38) y = program.emit('maximum', [y, constantIn(program, x, width, least)], width);
  if (most < 3.4e38) y = program.emit('minimum', [y, constantIn(program, x, width, most)], width);
  return program.asRegister(y);
}

/** x where it is above 0, else what `below` makes of min(x, 0). */
function writeBelow(
  program: ProgramBuilder,
  x: ProgramValue,
  width: number,
  below: (x: ProgramValue) => ProgramValue,
): ProgramValue {
  const zero = constantIn(program, x, width, 0);
  return program.emit(
    'select',
    [program.emit('greater', [x, zero], width), x, below(program.emit('minimum', [x, zero], width))],
    width,
  );
}

/** clip(alpha·x + beta, 0, 1) */
export function writeHardSigmoid(
  program: ProgramBuilder,
  x: ProgramValue,
  width: number,
  alpha: number,
  beta: number,
): ProgramValue {
  const line = program.emit('shift', [program.emit('scale', [x], width, [], [alpha])], width, [], [beta]);
  return writeClip(program, line, width, 0, 1);
}

export function writeLeakyRelu(
  program: ProgramBuilder,
  x: ProgramValue,
  width: number,
  alpha: number,
): ProgramValue {
  return writeBelow(program, x, width, (y) => program.emit('scale', [y], width, [], [alpha]));
}

export function writeElu(
  program: ProgramBuilder,
  x: ProgramValue,
  width: number,
  alpha: number,
  rate = 1,
): ProgramValue {
  return writeBelow(program, x, width, (y) => {
    const power = program.activation(
      { kind: 'exponential', alpha: 0 },
      rate === 1 ? y : program.emit('scale', [y], width, [], [rate]),
    );
    return program.emit('scale', [program.emit('shift', [power], width, [], [-1])], width, [], [alpha]);
  });
}

/** Softmax and its logarithm: over one axis since set 13, before over all axes from one on. */
function softmax(kind: 'softmax' | 'logSoftmax'): Operator {
  return {
    inputs: [1, 1],
    outputs: 1,
    attributes: { axis: 'int' },
    lower(lowering, node, [given]) {
      const x = given as Value;
      const rank = x.dims.length;
      const axis = int(node, 'axis', node.opset < 13 ? 1 : -1);
      const at = axis < 0 ? axis + rank : axis;
      if (at < 0 || at >= Math.max(rank, 1)) lowering.fail(`an axis of ${rank}`, String(axis));
      if (node.opset < 13) {
        const rows = [sizeOf(x.dims.slice(0, at)), sizeOf(x.dims.slice(at))];
        return [lowering.view(lowering.activation(lowering.view(x, rows), { kind, alpha: 0 }), x.dims)];
      }
      const others = x.dims.map((_, i) => i).filter((i) => i !== at);
      const turned = [...others, at];
      const y = lowering.activation(lowering.transpose(x, turned), { kind, alpha: 0 });
      return [
        lowering.transpose(
          y,
          x.dims.map((_, i) => turned.indexOf(i)),
        ),
      ];
    },
  };
}

/** erf(x), by the normal distribution function that gelu(u) = u·Φ(u) has: 2·Φ(u) − 1 with u = x·√2. */
const writeErf: Write = (program, [x], width) => {
  const u = program.emit('scale', [x], width, [], [Math.SQRT2]);
  const tiny = constantIn(program, u, width, 1e-30);
  const isLarge = program.emit('greater', [program.emit('abs', [u], width), tiny], width);
  const safe = program.emit('select', [isLarge, u, tiny], width);
  const share = program.emit('divide', [program.activation({ kind: 'gelu', alpha: 0 }, safe), safe], width);
  return program.emit('shift', [program.emit('scale', [share], width, [], [2])], width, [], [-1]);
};

const equal: Write = (program, [a, b], width) => {
  const greater = program.emit('greater', [a, b], width);
  const less = program.emit('greater', [b, a], width);
  const either = program.emit('maximum', [greater, less], width);
  return program.emit('shift', [program.emit('scale', [either], width, [], [-1])], width, [], [1]);
};

/** Operators that work number by number. */
export const elementwiseOperators: Readonly<Record<string, Operator>> = {
  Add: arithmetic('add', (a, b) => a + b),
  Sub: arithmetic('subtract', (a, b) => a - b),
  Mul: arithmetic('multiply', (a, b) => a * b),
  Div: arithmetic('divide', (a, b) => a / b),
  Max: several((...n) => Math.max(...n), 'maximum'),
  Min: several((...n) => Math.min(...n), 'minimum'),
  Sum: several((...n) => n.reduce((a, b) => a + b), 'add'),
  Mean: several((...n) => n.reduce((a, b) => a + b) / n.length, 'add', true),
  Neg: unary(
    (x) => -x,
    (program, [x], width) => program.emit('scale', [x], width, [], [-1]),
  ),
  Abs: unary(Math.abs, one('abs')),
  Sign: unary(Math.sign, one('sign')),
  Sqrt: unary(Math.sqrt, one('sqrt')),
  Log: unary(Math.log, one('log')),
  Reciprocal: unary((x) => 1 / x, one('reciprocal')),
  Exp: unary(Math.exp, (program, [x]) =>
    program.activation({ kind: 'exponential', alpha: 0 }, x as ProgramValue),
  ),
  Erf: {
    inputs: [1, 1],
    outputs: 1,
    lower: (lowering, _, [x]) => [lowering.program([x as Value], writeErf)],
  },
  Not: unary(
    (x) => Number(x === 0),
    (program, [x], width) =>
      program.emit('shift', [program.emit('scale', [x], width, [], [-1])], width, [], [1]),
  ),
  Greater: comparison((a, b) => a > b, two('greater')),
  GreaterOrEqual: comparison((a, b) => a >= b, two('greaterEqual')),
  Less: comparison(
    (a, b) => a < b,
    (program, [a, b], width) => program.emit('greater', [b, a], width),
  ),
  LessOrEqual: comparison(
    (a, b) => a <= b,
    (program, [a, b], width) => program.emit('greaterEqual', [b, a], width),
  ),
  Equal: comparison((a, b) => a === b, equal),
  And: comparison((a, b) => a !== 0 && b !== 0, two('multiply')),
  Or: comparison((a, b) => a !== 0 || b !== 0, two('maximum')),
  Where: {
    inputs: [3, 3],
    outputs: 1,
    lower(lowering, _, inputs) {
      const [when, a, b] = present(inputs) as [Value, Value, Value];
      const write: Write = (program, operands, width) => program.emit('select', operands, width);
      return [elementwise(lowering, [when, a, b], (c, x, y) => (c !== 0 ? x : y), write, a.type)];
    },
  },
  PRelu: {
    inputs: [2, 2],
    outputs: 1,
    lower: (lowering, _, inputs) => [
      elementwise(
        lowering,
        present(inputs),
        (x, slope) => (x > 0 ? x : slope * x),
        (program, [x, slope], width) =>
          writeBelow(program, x as ProgramValue, width, (y) => program.emit('multiply', [y, slope], width)),
      ),
    ],
  },
  Clip: {
    inputs: [1, 3],
    outputs: 1,
    known: [1, 2],
    attributes: { min: 'float', max: 'float' },
    lower(lowering, node, [x, min, max]) {
      const bound = (value: Value | undefined, name: string, usual: number) => {
        if (value === undefined) return float(node, name, usual);
        if (!isConstant(value) || value.data.length !== 1) lowering.fail(`a constant ${name}`, 'another');
        return (value as Constant).data[0] as number;
      };
      const [least, most] = [
        bound(min, 'min', Number.NEGATIVE_INFINITY),
        bound(max, 'max', Number.POSITIVE_INFINITY),
      ];
      const clip = (v: number) => Math.min(Math.max(v, least), most);
      return [
        elementwise(lowering, [x as Value], clip, (program, [v], width) =>
          writeClip(program, v as ProgramValue, width, least, most),
        ),
      ];
    },
  },
  Relu: plain('relu'),
  Tanh: plain('tanh'),
  Sigmoid: plain('sigmoid'),
  Softplus: plain('softplus'),
  Softsign: plain('softsign'),
  Mish: plain('mish'),
  HardSwish: plain('hardSilu'),
  HardSigmoid: activationOf(
    { alpha: 'float', beta: 'float' },
    () => undefined,
    (node) =>
      (program, [x], width) =>
        writeHardSigmoid(
          program,
          x as ProgramValue,
          width,
          float(node, 'alpha', 0.2),
          float(node, 'beta', 0.5),
        ),
  ),
  Elu: activationOf(
    { alpha: 'float' },
    (node) => {
      const alpha = float(node, 'alpha', 1);
      return alpha >= 0 ? { kind: 'elu', alpha } : undefined;
    },
    (node) =>
      (program, [x], width) =>
        writeElu(program, x as ProgramValue, width, float(node, 'alpha', 1)),
  ),
  LeakyRelu: activationOf(
    { alpha: 'float' },
    (node) => {
      const alpha = float(node, 'alpha', 0.01);
      return alpha > 0 ? { kind: 'leakyRelu', alpha } : undefined;
    },
    (node) =>
      (program, [x], width) =>
        writeLeakyRelu(program, x as ProgramValue, width, float(node, 'alpha', 0.01)),
  ),
  Selu: activationOf(
    { alpha: 'float', gamma: 'float' },
    (node) =>
      near(float(node, 'alpha', 1.6732632), 1.6732632) && near(float(node, 'gamma', 1.050701), 1.050701)
        ? { kind: 'selu', alpha: 0 }
        : undefined,
    (node) =>
      (program, [x], width) =>
        program.emit(
          'scale',
          [writeElu(program, x as ProgramValue, width, float(node, 'alpha', 1.6732632))],
          width,
          [],
          [float(node, 'gamma', 1.050701)],
        ),
  ),
  Celu: activationOf({ alpha: 'float' }, (node) => {
    const alpha = float(node, 'alpha', 1);
    return alpha > 0 ? { kind: 'celu', alpha } : undefined;
  }),
  ThresholdedRelu: activationOf({ alpha: 'float' }, (node) => ({
    kind: 'threshold',
    alpha: float(node, 'alpha', 1),
  })),
  Shrink: activationOf(
    { lambd: 'float', bias: 'float' },
    (node) => {
      const [alpha, bias] = [float(node, 'lambd', 0.5), float(node, 'bias', 0)];
      if (bias === 0 && alpha >= 0) return { kind: 'hardShrink', alpha };
      return bias === alpha && alpha >= 0 ? { kind: 'softShrink', alpha } : undefined;
    },
    (node) =>
      (program, [x], width) => {
        const [lambd, bias] = [float(node, 'lambd', 0.5), float(node, 'bias', 0)];
        const limit = constantIn(program, x as ProgramValue, width, lambd);
        const below = constantIn(program, x as ProgramValue, width, -lambd);
        const up = program.emit(
          'select',
          [
            program.emit('greater', [x, limit], width),
            program.emit('shift', [x], width, [], [-bias]),
            undefined,
          ],
          width,
        );
        return program.emit(
          'select',
          [program.emit('greater', [below, x], width), program.emit('shift', [x], width, [], [bias]), up],
          width,
        );
      },
  ),
  Gelu: activationOf({ approximate: 'string' }, (node) => ({
    kind: word(node, 'approximate', 'none') === 'tanh' ? 'geluTanh' : 'gelu',
    alpha: 0,
  })),
  Softmax: softmax('softmax'),
  LogSoftmax: softmax('logSoftmax'),
  Pow: {
    inputs: [2, 2],
    outputs: 1,
    known: [1],
    lower(lowering, _, inputs) {
      const [x, power] = present(inputs) as [Value, Value];
      const exponent = isConstant(power) && power.data.length === 1 ? power.data[0] : undefined;
      if (!isConstant(x) && exponent !== 2 && exponent !== 0.5)
        lowering.fail('2 or 0.5 as the power', String(exponent ?? 'another'));
      const write: Write = (program, [v], width) =>
        exponent === 2 ? program.emit('multiply', [v, v], width) : program.emit('sqrt', [v], width);
      return [
        isConstant(x) ? elementwise(lowering, [x, power], Math.pow, write) : lowering.program([x], write),
      ];
    },
  },
};
