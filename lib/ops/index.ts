import { quoted, refuse } from '../errors';
import { type ActivationKind, activationCodes } from '../plan/codes';
import type { InstructionKind } from '../plan/program/program';
import { type ActivationSpec, resolveActivation } from './activations';
import { isMatrix, made, rowsOf, Traced, traceOf } from './traced';

/** A value `[N, width]`, a weight vector `[width]`, or a number, which is in every column. */
export type Operand = Traced | number;

/** Two operands of equal width, or one of them with a single column, which stands for all. */
function binary(kind: InstructionKind, name: string, a: Operand, b: Operand): Traced {
  const subject = `ops.${name}`;
  const [x, y] = [rowsOf(a, `${subject}: a`), rowsOf(b, `${subject}: b`)];
  if (x.width !== y.width && x.width !== 1 && y.width !== 1)
    refuse('ERR_SHAPE', subject, `two equal widths, or one of 1`, `${x} and ${y}`);
  return made(subject, kind, [x, y], Math.max(x.width, y.width));
}

function unary(kind: InstructionKind, name: string, x: Traced): Traced {
  const read = rowsOf(x, `ops.${name}: x`);
  return made(`ops.${name}`, kind, [read], read.width);
}

function scaled(name: string, x: Traced, factor: number): Traced {
  const read = rowsOf(x, `ops.${name}`);
  return made(`ops.${name}`, 'scale', [read], read.width, [], [finite(factor, `ops.${name}`)]);
}

function shifted(name: string, x: Traced, term: number): Traced {
  const read = rowsOf(x, `ops.${name}`);
  return made(`ops.${name}`, 'shift', [read], read.width, [], [finite(term, `ops.${name}`)]);
}

function finite(value: number, subject: string): number {
  if (!Number.isFinite(Math.fround(value)))
    refuse('ERR_VALUE', subject, "a number in float32's range", quoted(value));
  return value;
}

function columns(value: unknown, subject: string, least: number): number {
  if (!Number.isSafeInteger(value) || (value as number) < least)
    refuse('ERR_VALUE', subject, `an integer, ${least} or more`, quoted(value));
  return value as number;
}

/** A column of one number. It is made of a comparison, which is 0 whatever x is: the product of 0 and what is not finite is not. */
function constantLike(x: unknown, value: number, subject: string): Traced {
  const read = rowsOf(x, subject);
  const column = made(subject, 'slice', [read], 1, [0]);
  const zero = made(subject, 'greater', [column, column], 1);
  return made(subject, 'shift', [zero], 1, [], [finite(value, subject)]);
}

function activation(x: Traced, spec: ActivationSpec): Traced {
  const subject = 'ops.activation';
  const { kind, alpha } = resolveActivation(spec, subject);
  if (kind === 'sparsemax') refuse('ERR_VALUE', subject, 'an activation that programs have', "'sparsemax'");
  const read = rowsOf(x, `${subject}: x`);
  return made(subject, 'activation', [read], read.width, [activationCodes[kind], read.width], [alpha]);
}

const named = (kind: ActivationKind) => (x: Traced) => activation(x, kind);

/** Either operand may be a number, not both. */
function withNumbers(name: string, a: Operand, b: Operand, both: (x: Traced, y: Traced) => Traced): Traced {
  if (typeof a === 'number' && typeof b === 'number')
    refuse('ERR_VALUE', `ops.${name}`, 'a value among the operands', 'two numbers');
  const subject = `ops.${name}`;
  if (typeof a === 'number') return both(constantLike(b, a, subject), b as Traced);
  if (typeof b === 'number') return both(a, constantLike(a, b, subject));
  return both(a, b);
}

/** `a + b`. A number or a single column is added to every column. */
function add(a: Operand, b: Operand): Traced {
  if (typeof a === 'number' && b instanceof Traced) return shifted('add', b, a);
  if (typeof b === 'number' && a instanceof Traced) return shifted('add', a, b);
  return binary('add', 'add', a, b);
}

/** `a − b`. */
function subtract(a: Operand, b: Operand): Traced {
  if (typeof b === 'number' && a instanceof Traced) return shifted('subtract', a, -b);
  if (typeof a === 'number' && b instanceof Traced) return shifted('subtract', scaled('subtract', b, -1), a);
  return binary('subtract', 'subtract', a, b);
}

/** `a ⊙ b`. */
function multiply(a: Operand, b: Operand): Traced {
  if (typeof a === 'number' && b instanceof Traced) return scaled('multiply', b, a);
  if (typeof b === 'number' && a instanceof Traced) return scaled('multiply', a, b);
  return binary('multiply', 'multiply', a, b);
}

/** `a / b`, column by column. */
function divide(a: Operand, b: Operand): Traced {
  if (typeof b === 'number' && a instanceof Traced) return scaled('divide', a, 1 / b);
  if (typeof a === 'number' && b instanceof Traced)
    return scaled('divide', unary('reciprocal', 'divide', b), a);
  return binary('divide', 'divide', a, b);
}

/** `x·w`: x `[N, K]`, w a weight `[K, M]`; gives `[N, M]`. */
function matmul(x: Traced, w: Traced): Traced {
  const read = rowsOf(x, 'ops.matmul: x');
  if (!(w instanceof Traced) || w.node.sort !== 'weight' || !isMatrix(w)) {
    const got = w instanceof Traced ? String(w) : quoted(w);
    refuse('ERR_VALUE', 'ops.matmul: w', 'a weight [K, M]', got);
  }
  const [K, M] = (w.node as { shape: readonly number[] }).shape as [number, number];
  if (read.width !== K) refuse('ERR_SHAPE', 'ops.matmul', `x [N, ${K}] for ${w}`, String(read));
  return made('ops.matmul', 'matmul', [read, w], M, [0, 1]);
}

/** The sum of a row's columns: `[N, 1]`. */
function sum(x: Traced): Traced {
  const read = rowsOf(x, 'ops.sum: x');
  return made('ops.sum', 'sumGroups', [read], 1, [read.width]);
}

/** The mean of a row's columns: `[N, 1]`. */
function mean(x: Traced): Traced {
  const read = rowsOf(x, 'ops.mean: x');
  return scaled('mean', sum(read), 1 / read.width);
}

/** Side by side. */
function concatenate(parts: readonly Traced[]): Traced {
  const subject = 'ops.concatenate';
  if (!Array.isArray(parts) || parts.length === 0)
    refuse('ERR_VALUE', subject, 'an array of values', quoted(parts));
  const read = parts.map((part, i) => rowsOf(part, `${subject}: [${i}]`));
  traceOf(subject, read);
  return made(
    subject,
    'concat',
    read,
    read.reduce((width, part) => width + part.width, 0),
  );
}

/** Columns first … first + width − 1. */
function slice(x: Traced, first: number, width: number): Traced {
  const read = rowsOf(x, 'ops.slice: x');
  columns(first, 'ops.slice: first', 0);
  columns(width, 'ops.slice: width', 1);
  if (first + width > read.width)
    refuse('ERR_SHAPE', 'ops.slice', `at least ${first + width} columns`, String(read));
  return made('ops.slice', 'slice', [read], width, [first]);
}

type Parts<C extends number> = C extends 1
  ? [Traced]
  : C extends 2
    ? [Traced, Traced]
    : C extends 3
      ? [Traced, Traced, Traced]
      : C extends 4
        ? [Traced, Traced, Traced, Traced]
        : Traced[];

/** `count` equal parts of the columns. */
function split<const C extends number>(x: Traced, count: C): Parts<C> {
  const read = rowsOf(x, 'ops.split: x');
  columns(count, 'ops.split: count', 1);
  if (read.width % count !== 0)
    refuse('ERR_SHAPE', 'ops.split', `columns that are a multiple of ${count}`, String(read));
  const width = read.width / count;
  return Array.from({ length: count }, (_, i) => slice(read, i * width, width)) as Parts<C>;
}

/** `a` where the condition is not 0, else `b`. No gradient goes to the condition. */
function where(condition: Traced, a: Operand, b: Operand): Traced {
  const subject = 'ops.where';
  const when = rowsOf(condition, `${subject}: condition`);
  const like = (value: Operand) => (typeof value === 'number' ? constantLike(when, value, subject) : value);
  const [x, y] = [rowsOf(like(a), `${subject}: a`), rowsOf(like(b), `${subject}: b`)];
  const width = Math.max(when.width, x.width, y.width);
  if ([when, x, y].some((value) => value.width !== width && value.width !== 1))
    refuse('ERR_SHAPE', subject, 'three equal widths, or some of 1', `${when}, ${x} and ${y}`);
  return made(subject, 'select', [when, x, y], width);
}

/**
 * Each row with mean 0 and variance 1, times gamma, plus beta (Ba, Kiros & Hinton, 2016): `(x − μ)/√(σ² + epsilon)`.
 * @param gamma, beta weights `[width]`; default: 1 and 0
 */
function layerNormalization(x: Traced, gamma?: Traced, beta?: Traced, epsilon = 1e-3): Traced {
  if (!(typeof epsilon === 'number' && epsilon > 0 && Number.isFinite(epsilon)))
    refuse('ERR_VALUE', 'ops.layerNormalization: epsilon', 'a finite number above 0', quoted(epsilon));
  const centred = subtract(x, mean(x));
  const variance = mean(multiply(centred, centred));
  const hat = divide(centred, unary('sqrt', 'layerNormalization', add(variance, epsilon)));
  const stretched = gamma === undefined ? hat : multiply(hat, gamma);
  return beta === undefined ? stretched : add(stretched, beta);
}

/**
 * What cells, losses and metrics of one's own are made of: functions of rows `[N, width]`, column by column unless said otherwise. Numbers
 * stand for constants.
 */
export const ops = {
  add,
  subtract,
  multiply,
  divide,
  matmul,
  /** The larger of both; of equal ones the gradient goes to `a`. */
  maximum: (a: Operand, b: Operand) =>
    withNumbers('maximum', a, b, (x, y) => binary('maximum', 'maximum', x, y)),
  minimum: (a: Operand, b: Operand) =>
    withNumbers('minimum', a, b, (x, y) => binary('minimum', 'minimum', x, y)),
  /** 1 where a > b, else 0. It has no gradient. */
  greater: (a: Operand, b: Operand) =>
    withNumbers('greater', a, b, (x, y) => binary('greater', 'greater', x, y)),
  greaterEqual: (a: Operand, b: Operand) =>
    withNumbers('greaterEqual', a, b, (x, y) => binary('greaterEqual', 'greaterEqual', x, y)),
  where,
  negative: (x: Traced) => scaled('negative', x, -1),
  abs: (x: Traced) => unary('abs', 'abs', x),
  sign: (x: Traced) => unary('sign', 'sign', x),
  sqrt: (x: Traced) => unary('sqrt', 'sqrt', x),
  square: (x: Traced) => multiply(x, x),
  log: (x: Traced) => unary('log', 'log', x),
  exp: named('exponential'),
  tanh: named('tanh'),
  sigmoid: named('sigmoid'),
  relu: named('relu'),
  softplus: named('softplus'),
  /** Over all columns of a row. */
  softmax: named('softmax'),
  logSoftmax: named('logSoftmax'),
  /** Any activation by its name, or its name with its parameter. */
  activation,
  sum,
  mean,
  concatenate,
  slice,
  split,
  layerNormalization,
};
