import { quoted, refuse } from '../errors';
import type { PlanBuilder } from '../plan/builder';
import { outputOf } from '../plan/program/program';
import { ProgramBuilder, type ProgramValue } from '../plan/program/programBuilder';
import { ABSENT, type ValueId } from '../plan/types';
import { sizeOf } from '../tensors/tensor';
import { named, Traced } from './traced';

/** A function of rows, written with `ops`: of what is true and what was predicted, each `[N, width]`. */
export type ScoreFunction = (yTrue: Traced, yPred: Traced) => Traced;

interface Written {
  readonly inputs: readonly Traced[];
  readonly result: Traced;
}

/**
 * Writes a function of two values of equal width down, and proves what it gives.
 * @param learns whether it is there to be learned from
 * @throws ERR_SHAPE unless that is a value of the function, of one column or as many as it was given; ERR_VALUE for one to be learned from
 * that what was predicted has no part in
 */
function writeScore(score: ScoreFunction, width: number, learns: boolean, subject: string): Written {
  const trace = {};
  const inputs = [0, 1].map(() => new Traced(width, { sort: 'input' }, trace));
  const result: unknown = named(subject, () => score(inputs[0] as Traced, inputs[1] as Traced));
  const own = result instanceof Traced && result.trace === trace;
  if (!own || (result.width !== 1 && result.width !== width)) {
    const got = result instanceof Traced ? String(result) : quoted(result);
    refuse('ERR_SHAPE', subject, width === 1 ? '[N, 1]' : `[N, 1] or [N, ${width}]`, got);
  }
  if (learns && !dependsOn(result as Traced, inputs[1] as Traced))
    refuse('ERR_VALUE', subject, 'a value that depends on yPred', String(result));
  return { inputs, result: result as Traced };
}

function dependsOn(result: Traced, input: Traced): boolean {
  const seen = new Set<Traced>([result]);
  for (const { node } of seen) if (node.sort === 'made') for (const from of node.from) seen.add(from);
  return seen.has(input);
}

/**
 * Emits such a function of values `[…, C]`; gives `[…, 1]` or `[…, C]`.
 * @param weight `[…]`, or absent. Rows of weight 0 (padded steps among them) see zeros and give 0: what they hold may be anything, and the
 * product of 0 and what is not finite is not 0.
 */
export function emitScore(
  builder: PlanBuilder,
  score: ScoreFunction,
  values: readonly [yTrue: ValueId, yPred: ValueId],
  weight: ValueId,
  learns: boolean,
  subject: string,
): ValueId {
  const { shape } = builder.spec(values[1]);
  const width = shape[shape.length - 1] as number;
  const rows = sizeOf(shape) / width;
  const { inputs, result } = writeScore(score, width, learns, subject);
  const program = new ProgramBuilder();
  const made = new Map<Traced, ProgramValue>();
  const ids: ValueId[] = [];
  const operand = (id: ValueId, columns: number): ProgramValue => {
    ids.push(builder.emit('reshape', [id], { shape: [1, rows, columns] }, subject)[0] as ValueId);
    return program.operand('sequence', columns);
  };
  const read = values.map((id) => operand(id, width));
  const counts = weight === ABSENT ? undefined : operand(weight, 1);
  const where = (value: ProgramValue): ProgramValue =>
    counts ? program.emit('select', [counts, value, undefined], value.width) : value;
  inputs.forEach((input, i) => {
    made.set(input, where(read[i] as ProgramValue));
  });
  const write = (value: Traced): ProgramValue => {
    const known = made.get(value);
    if (known) return known;
    const { node } = value;
    if (node.sort !== 'made')
      return refuse('ERR_VALUE', subject, 'values made of its own arguments', String(value));
    const own = program.emit(node.kind, node.from.map(write), value.width, node.ints, node.floats);
    made.set(value, own);
    return own;
  };
  const register = program.asRegister(where(write(result)));
  const attrs = program.finish({ steps: 1, batch: rows, reverse: false, seed: 0 });
  const want = attrs.registers.map((_, i) => i === register.index);
  const outputs = builder.emit('program', [ABSENT, ...ids], attrs, subject, want);
  const scores = outputs[outputOf.register(attrs, register.index)] as ValueId;
  const stored = [...shape.slice(0, -1), result.width];
  return builder.emit('reshape', [scores], { shape: stored }, subject)[0] as ValueId;
}
