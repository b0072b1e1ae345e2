import type { ActivationKind } from '../codes';
import { activationCodes } from '../codes';
import type { ActivationAttrs } from '../types';
import type { InstructionKind, OperandKind, ProgramAttrs } from './program';

/** A value of a program in the making. */
export interface ProgramValue {
  readonly sort: 'operand' | 'carry' | 'register';
  readonly index: number;
  readonly width: number;
}

type Argument = ProgramValue | undefined;

/** Collects the operands, carries and instructions of a program. */
export class ProgramBuilder {
  private readonly operands: { kind: OperandKind; rows: number; width: number }[] = [];
  private readonly carries: { from?: number; init: Argument }[] = [];
  private readonly registers: number[] = [];
  private readonly instructions: {
    kind: InstructionKind;
    to: number;
    from: readonly Argument[];
    ints: readonly number[];
    floats: readonly number[];
  }[] = [];

  operand(kind: OperandKind, width: number, rows = 1): ProgramValue {
    this.operands.push({ kind, rows, width });
    return { sort: 'operand', index: this.operands.length - 1, width };
  }

  /** A value that comes from the step before; `carryFrom` says from where. */
  carry(width: number, init?: ProgramValue): ProgramValue {
    this.carries.push({ init });
    return { sort: 'carry', index: this.carries.length - 1, width };
  }

  /** @param from a register, of which nothing else need be known yet */
  carryFrom(carry: ProgramValue, from: ProgramValue): void {
    (this.carries[carry.index] as { from?: number }).from = this.asRegister(from).index;
  }

  emit(
    kind: InstructionKind,
    from: readonly Argument[],
    width: number,
    ints: readonly number[] = [],
    floats: readonly number[] = [],
  ): ProgramValue {
    this.registers.push(width);
    const to = this.registers.length - 1;
    this.instructions.push({ kind, to, from, ints, floats });
    return { sort: 'register', index: to, width };
  }

  /** The value itself where it is a register, or else a copy in one. */
  asRegister(value: ProgramValue): ProgramValue {
    return value.sort === 'register' ? value : this.emit('scale', [value], value.width, [], [1]);
  }

  activation({ kind, alpha }: ActivationAttrs, x: ProgramValue, group = x.width): ProgramValue {
    return this.emit('activation', [x], x.width, [activationCodes[kind as ActivationKind], group], [alpha]);
  }

  finish(rest: Pick<ProgramAttrs, 'steps' | 'batch' | 'reverse' | 'seed'>): ProgramAttrs {
    const { operands, carries, registers } = this;
    const before = { operand: 0, carry: operands.length, register: operands.length + carries.length };
    const number = (value: Argument) => (value ? before[value.sort] + value.index : -1);
    return {
      ...rest,
      operands,
      carries: carries.map(({ from, init }) => ({ from: from as number, init: number(init) })),
      registers,
      instructions: this.instructions.map(({ from, ...own }) => ({ ...own, from: from.map(number) })),
    };
  }
}
