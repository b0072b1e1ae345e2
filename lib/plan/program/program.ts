import type { ActivationKind } from '../codes';

/**
 * The instructions of a program by number, as docs/plan.md lists them. A program computes row by row: an instruction reads values of some
 * rows `[rows, width]` and fills a register of as many rows.
 */
export const instructionCodes = {
  matmul: 0,
  activation: 1,
  activationGrad: 2,
  log: 3,
  sqrt: 4,
  abs: 5,
  sign: 6,
  reciprocal: 7,
  scale: 8,
  shift: 9,
  add: 10,
  subtract: 11,
  multiply: 12,
  divide: 13,
  maximum: 14,
  minimum: 15,
  greater: 16,
  greaterEqual: 17,
  select: 18,
  sumGroups: 19,
  expandGroups: 20,
  slice: 21,
  pad: 22,
  concat: 23,
  gather: 24,
  scatterAdd: 25,
  valid: 26,
  dropMask: 27,
} as const;

export type InstructionKind = keyof typeof instructionCodes;

export const operandCodes = { sequence: 0, rows: 1, weight: 2, valid: 3 } as const;

/** `sequence` `[T, N, width]` · `rows` `[N, width]`, the same at every step · `weight` `[rows, width]` or `[width]` · `valid` int32 `[T, N]`. */
export type OperandKind = keyof typeof operandCodes;

export interface ProgramOperand {
  readonly kind: OperandKind;
  /** Of a weight matrix; 1 of all else. */
  readonly rows: number;
  readonly width: number;
}

/** A value that a step hands to the next. */
export interface Carry {
  /** The register that it takes its value from, as that was after the step before. */
  readonly from: number;
  /** The operand (of kind `rows`) that it begins with; −1: zeros. */
  readonly init: number;
}

export interface Instruction {
  readonly kind: InstructionKind;
  /** The register that it fills; no other instruction does. */
  readonly to: number;
  /** Values that it reads: operands, carries and registers, numbered through in this order; −1: zeros (of `select`). */
  readonly from: readonly number[];
  readonly ints: readonly number[];
  readonly floats: readonly number[];
}

/** What happens at every step of a sequence, the same for each of its rows. */
export interface ProgramAttrs {
  readonly steps: number;
  readonly batch: number;
  /** Whether the last step comes first. */
  readonly reverse: boolean;
  readonly seed: number;
  readonly operands: readonly ProgramOperand[];
  readonly carries: readonly Carry[];
  /** Widths. */
  readonly registers: readonly number[];
  readonly instructions: readonly Instruction[];
}

/** Places of a program's outputs: the carries after the last step, then all steps of every carry, then of every register. */
export const outputOf = {
  last: (_: ProgramAttrs, carry: number) => carry,
  carry: ({ carries }: ProgramAttrs, i: number) => carries.length + i,
  register: ({ carries }: ProgramAttrs, i: number) => 2 * carries.length + i,
};

/** Width of a value by its number. */
export function widthOf(attrs: ProgramAttrs, value: number): number {
  const { operands, carries, registers } = attrs;
  const operand = operands[value];
  if (operand) return operand.width;
  const carry = carries[value - operands.length];
  return registers[carry ? carry.from : value - operands.length - carries.length] as number;
}

/** Of the activations that read a whole group of columns. */
export function readsGroups(kind: ActivationKind): boolean {
  return kind === 'softmax' || kind === 'logSoftmax';
}
