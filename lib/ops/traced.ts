import { DeepRnnError, quoted, refuse } from '../errors';
import { activationCodes } from '../plan/codes';
import type { InstructionKind } from '../plan/program/program';
import type { ActivationAttrs } from '../plan/types';

/** What a traced value is made of. */
export type TracedNode =
  | { readonly sort: 'input' }
  | { readonly sort: 'weight'; readonly name: string; readonly shape: readonly number[] }
  | { readonly sort: 'state'; readonly name: string }
  | {
      readonly sort: 'made';
      readonly kind: InstructionKind;
      readonly from: readonly Traced[];
      readonly ints: readonly number[];
      readonly floats: readonly number[];
    };

/**
 * A value in a function of rows that is being written down: `[N, width]`, or a weight. It has no numbers; `ops` make others of it, and an
 * engine computes them.
 */
export class Traced {
  /** @internal */
  constructor(
    /** Columns. */
    readonly width: number,
    /** @internal */ readonly node: TracedNode,
    /** @internal The function that it belongs to: values of two are not mixed. */ readonly trace: object,
  ) {}

  toString(): string {
    const { node, width } = this;
    if (node.sort === 'weight') return `weight '${node.name}' [${node.shape.join(', ')}]`;
    if (node.sort === 'state') return `state '${node.name}' [N, ${width}]`;
    return `${node.sort === 'input' ? 'the input' : node.kind} [N, ${width}]`;
  }
}

export function isMatrix(value: Traced): boolean {
  return value.node.sort === 'weight' && value.node.shape.length > 1;
}

/** @throws ERR_VALUE for what is no traced value, or a matrix where rows are wanted */
export function rowsOf(value: unknown, subject: string): Traced {
  if (!(value instanceof Traced)) {
    const wanted = 'a value that the function was given, or that ops made of such';
    refuse('ERR_VALUE', subject, wanted, quoted(value));
  }
  if (isMatrix(value as Traced))
    refuse('ERR_VALUE', subject, 'rows or a vector', String(value), 'Use ops.matmul for a matrix.');
  return value as Traced;
}

/** The trace that all values share. @throws ERR_VALUE where they have two */
export function traceOf(subject: string, values: readonly Traced[]): object {
  const [first] = values;
  if (values.some(({ trace }) => trace !== first?.trace))
    refuse('ERR_VALUE', subject, 'values of one and the same call', 'some of another');
  return (first as Traced).trace;
}

export function made(
  subject: string,
  kind: InstructionKind,
  from: readonly Traced[],
  width: number,
  ints: readonly number[] = [],
  floats: readonly number[] = [],
): Traced {
  return new Traced(width, { sort: 'made', kind, from, ints, floats }, traceOf(subject, from));
}

/** An activation whose options have been read; over all columns of a row where it reads several. */
export function activated({ kind, alpha }: ActivationAttrs, x: Traced, subject = 'activation'): Traced {
  return made(subject, 'activation', [x], x.width, [activationCodes[kind], x.width], [alpha]);
}

/** Writes a function of one's own down: what `ops` refuse in it is said of `subject`. Other errors are the function's own. */
export function named<R>(subject: string, write: () => R): R {
  try {
    return write();
  } catch (error) {
    if (!(error instanceof DeepRnnError)) throw error;
    throw new DeepRnnError(error.code, `${subject}: ${error.message}`, { cause: error });
  }
}
