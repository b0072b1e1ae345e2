import { splitSeed } from '../../tensors/random';
import { sameShape } from '../../tensors/tensor';
import { differentiate } from '../program/differentiate';
import { type Instruction, instructionCodes, operandCodes, type ProgramAttrs } from '../program/program';
import type { ValueSpec } from '../types';
import { need, type OpRow, type OutputSpec } from './row';

function checkOperand(attrs: ProgramAttrs, i: number, v: ValueSpec | undefined): void {
  const { steps, batch } = attrs;
  const { kind, rows, width } = attrs.operands[i] as ProgramAttrs['operands'][number];
  const shapes = {
    sequence: [steps, batch, width],
    rows: [batch, width],
    weight: rows > 1 ? [rows, width] : [width],
    valid: [steps, batch],
  } as const;
  const wanted = shapes[kind];
  // A matrix of one row is a matrix too.
  const fits = v && (sameShape(v.shape, wanted) || (kind === 'weight' && sameShape(v.shape, [rows, width])));
  const dtype = kind === 'valid' ? 'int32' : 'real';
  need(fits === true && v?.dtype === dtype, 'program', `operand ${i} ${dtype} [${wanted.join(', ')}]`, v);
}

/** What the same instructions make of every row at every step: a cell, or any other function of rows. */
export const program: OpRow<'program'> = {
  infer([step, ...operands], attrs) {
    const { steps, batch, carries, registers, instructions } = attrs;
    const drawn = instructions.some(({ kind }) => kind === 'dropMask');
    const known = step !== undefined && step.dtype === 'float64' && sameShape(step.shape, [1]);
    need(known || (step === undefined && !drawn), 'program', 'step float64 [1]', step);
    need(
      operands.length === attrs.operands.length,
      'program',
      `${attrs.operands.length} operands`,
      ...operands,
    );
    for (const [i, operand] of operands.entries()) checkOperand(attrs, i, operand);
    const widths = carries.map(({ from }) => registers[from] as number);
    const sequence = (width: number): OutputSpec => ({ dtype: 'real', shape: [steps, batch, width] });
    return [
      ...widths.map((width): OutputSpec => ({ dtype: 'real', shape: [batch, width] })),
      ...widths.map(sequence),
      ...registers.map(sequence),
    ];
  },
  encode({ steps, batch, reverse, seed, operands, carries, registers, instructions }) {
    const ints = [steps, batch, Number(reverse), ...splitSeed(seed)];
    ints.push(operands.length, carries.length, registers.length, instructions.length);
    for (const { kind, rows, width } of operands) ints.push(operandCodes[kind], rows, width);
    for (const { from, init } of carries) ints.push(from, init);
    for (const width of registers) ints.push(width);
    const floats: number[] = [];
    for (const instruction of instructions as readonly Instruction[]) {
      ints.push(instructionCodes[instruction.kind], instruction.to);
      for (const list of [instruction.from, instruction.ints]) {
        ints.push(list.length);
        // One by one: of a convolution there are too many for the arguments of a call.
        for (const value of list) ints.push(value);
      }
      ints.push(instruction.floats.length);
      floats.push(...instruction.floats);
    }
    return { ints, floats };
  },
  grad: differentiate,
};
