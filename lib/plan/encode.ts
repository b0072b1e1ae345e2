import { DeepRnnError } from '../errors';
import { ALIGNMENT, planBuffers } from './buffers';
import { dtypeCodes, opCodes, roleCodes } from './codes';
import type { OpRow } from './ops/row';
import { opRow } from './opTable';
import type { Plan, ValueSpec } from './types';

export const PLAN_MAGIC = 0x44524e4e;
export const PLAN_VERSION = 3;
const HEADER_WORDS = 8;

/** A plan as a native engine reads it (docs/plan.md, "Encoding for native engines"). */
export interface EncodedPlan {
  readonly words: Int32Array;
  readonly floats: Float64Array;
  readonly arenaBytes: number;
  /** The input and output values in slot order. */
  readonly inputs: readonly ValueSpec[];
  readonly outputs: readonly ValueSpec[];
}

/**
 * Encodes a plan for an engine with `realBytes` bytes a real. `variableSlot` gives the session's index of a variable.
 * Unused values keep their number, so that value ids in error messages stay those of the plan, but as zero-byte arena values.
 */
export function encodePlan(
  plan: Plan,
  realBytes: number,
  variableSlot: (name: string) => number,
): EncodedPlan {
  const { offsets, arenaBytes } = planBuffers(plan, realBytes);
  const inputs = plan.values.filter((v) => v.role === 'input');
  const outputs = plan.values.filter((v) => v.role === 'output');
  const slots = new Map([...inputs.entries(), ...outputs.entries()].map(([slot, v]) => [v.id, slot]));
  const words: number[] = [];
  const floats: number[] = [];
  for (const v of plan.values) {
    const unused = v.role === 'arena' && offsets[v.id] === undefined;
    const slot =
      v.role === 'variable'
        ? variableSlot(v.name)
        : v.role === 'arena'
          ? (offsets[v.id] ?? 0) / ALIGNMENT
          : (slots.get(v.id) as number);
    const shape = unused ? [0] : v.shape;
    words.push(dtypeCodes[v.dtype], roleCodes[v.role], slot, shape.length, ...shape);
  }
  for (const op of plan.ops) {
    const attrs = (opRow(op.kind) as OpRow<typeof op.kind>).encode(op.attrs as never);
    words.push(opCodes[op.kind]);
    // One by one: a call has no room for the arguments of a program of thousands of instructions.
    for (const list of [op.inputs, op.outputs, attrs.ints]) {
      words.push(list.length);
      for (const word of list) words.push(word);
    }
    words.push(attrs.floats.length);
    for (const f of attrs.floats) floats.push(f);
  }
  for (const word of words) {
    if (word > 4294967295 || word < -2147483648) {
      throw new DeepRnnError(
        'ERR_SHAPE',
        `plan '${plan.name}': ${word} does not fit in 32 bits; use a smaller batch or fewer steps.`,
      );
    }
  }
  const low = arenaBytes % 4294967296;
  const header = [
    PLAN_MAGIC,
    PLAN_VERSION,
    plan.values.length,
    plan.ops.length,
    low,
    Math.floor(arenaBytes / 4294967296),
    HEADER_WORDS + words.length,
    floats.length,
  ];
  const encoded = new Int32Array(HEADER_WORDS + words.length);
  encoded.set(header);
  encoded.set(words, HEADER_WORDS);
  return {
    words: encoded,
    floats: new Float64Array(floats),
    arenaBytes,
    inputs,
    outputs,
  };
}
