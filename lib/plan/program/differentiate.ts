import { type ActivationKind, activationCodes, activationsFromInput } from '../codes';
import type { GradContext } from '../ops/row';
import { ABSENT, type PlanOp, type ValueId } from '../types';
import { type Instruction, outputOf, type ProgramAttrs, type ProgramOperand, widthOf } from './program';
import { ProgramBuilder, type ProgramValue } from './programBuilder';

const activationOf = new Map<number, ActivationKind>(
  Object.entries(activationCodes).map(([kind, code]) => [code, kind as ActivationKind]),
);

/**
 * Back-propagation through time of a program (Werbos, 1990): another program, which runs through the steps from the other end. It reads
 * what the forward run made, which that then has to give, and carries the gradients of the carries. Gradients of weights are left to one
 * product, or sum, over all steps and rows.
 * @returns the gradients of the op's inputs, of which the first is the training step
 */
export function differentiate(op: PlanOp<'program'>, c: GradContext): ValueId[] {
  return new Differentiation(op, c).run();
}

class Differentiation {
  private readonly attrs: ProgramAttrs;
  private readonly builder = new ProgramBuilder();
  /** What the operands of the backward program are. */
  private readonly inputs: ValueId[] = [];
  private readonly read = new Map<string, ProgramValue>();
  /** Whether a value leads back to an operand whose gradient is wanted, by its number. */
  private readonly active: boolean[];
  /** The gradient of each value so far, by its number. */
  private readonly adjoints = new Map<number, ProgramValue>();
  /** Gradients of weight matrices: what was multiplied, the gradient of the product, and the rows that each row stands for. */
  private readonly products: { weight: number; a: number; dy: ProgramValue; repeat: number }[] = [];

  constructor(
    private readonly op: PlanOp<'program'>,
    private readonly c: GradContext,
  ) {
    this.attrs = op.attrs;
    this.active = this.findActive();
  }

  run(): ValueId[] {
    const { attrs, builder, c } = this;
    const { operands, carries, registers } = attrs;
    const first = operands.length + carries.length;
    // The gradient of a carry at one step belongs to its register at the step before.
    const carried = carries.map((carry, i) => {
      if (!this.active[operands.length + i]) return undefined;
      const width = registers[carry.from] as number;
      const last = c.outGrad(outputOf.last(attrs, i));
      const value = builder.carry(width, last === ABSENT ? undefined : this.operand('rows', last, width));
      this.add(first + carry.from, value);
      return value;
    });
    registers.forEach((width, r) => {
      const grad = c.outGrad(outputOf.register(attrs, r));
      if (grad !== ABSENT && this.active[first + r])
        this.add(first + r, this.operand('sequence', grad, width));
    });
    carries.forEach((_, i) => {
      const grad = c.outGrad(outputOf.carry(attrs, i));
      const value = operands.length + i;
      if (grad !== ABSENT && this.active[value])
        this.add(value, this.operand('sequence', grad, widthOf(attrs, value)));
    });
    for (const instruction of [...attrs.instructions].reverse()) {
      const dy = this.adjoints.get(first + instruction.to);
      if (dy && this.active[first + instruction.to]) this.back(instruction, dy);
    }
    carried.forEach((carry, i) => {
      if (!carry) return;
      const adjoint = this.adjoints.get(operands.length + i);
      builder.carryFrom(carry, adjoint ?? this.zeros(carry.width));
    });
    return this.finish(carried);
  }

  /** The backward program as an op, and what is made of its outputs. */
  private finish(carried: readonly (ProgramValue | undefined)[]): ValueId[] {
    const { attrs, builder, c, op } = this;
    const { operands, carries, steps, batch, seed } = attrs;
    const wanted = operands.map((_, i) => c.needs(1 + i) && this.adjoints.has(i));
    // Rows that every step reads: their gradients add up on the way.
    const sums = operands.map((operand, i) => {
      if (operand.kind !== 'rows' || !wanted[i]) return undefined;
      const sum = builder.carry(operand.width);
      const own = this.adjoints.get(i) as ProgramValue;
      builder.carryFrom(sum, builder.emit('add', [sum, own], operand.width));
      return sum;
    });
    const gives = new Map<number, ProgramValue>();
    operands.forEach((operand, i) => {
      if (wanted[i] && (operand.kind === 'sequence' || operand.kind === 'weight'))
        gives.set(i, builder.asRegister(this.adjoints.get(i) as ProgramValue));
    });
    const dys = this.products.map(({ dy }) => builder.asRegister(dy));
    const backward = builder.finish({ steps, batch, reverse: !attrs.reverse, seed });
    const want: boolean[] = new Array(2 * backward.carries.length + backward.registers.length).fill(false);
    const begins = carries.map(({ init }, i) => init >= 0 && c.needs(1 + init) && carried[i] !== undefined);
    carried.forEach((carry, i) => {
      if (carry && begins[i]) want[outputOf.last(backward, carry.index)] = true;
    });
    for (const sum of sums) if (sum) want[outputOf.last(backward, sum.index)] = true;
    for (const { index } of [...gives.values(), ...dys]) want[outputOf.register(backward, index)] = true;
    if (!want.includes(true)) return op.inputs.map(() => ABSENT);
    const outputs = c.emit('program', [op.inputs[0] as ValueId, ...this.inputs], backward, want);

    const grads: ValueId[] = op.inputs.map(() => ABSENT);
    const accumulate = (operand: number, id: ValueId) => {
      const known = grads[1 + operand] as ValueId;
      grads[1 + operand] = known === ABSENT ? id : (c.emit('add', [known, id], {})[0] as ValueId);
    };
    carried.forEach((carry, i) => {
      if (carry && begins[i])
        accumulate(
          (carries[i] as { init: number }).init,
          outputs[outputOf.last(backward, carry.index)] as ValueId,
        );
    });
    sums.forEach((sum, i) => {
      if (sum) accumulate(i, outputs[outputOf.last(backward, sum.index)] as ValueId);
    });
    for (const [i, { index }] of gives) {
      const id = outputs[outputOf.register(backward, index)] as ValueId;
      accumulate(
        i,
        (operands[i] as ProgramOperand).kind === 'weight'
          ? this.sumOfRows(id, operands[i] as ProgramOperand)
          : id,
      );
    }
    this.products.forEach(({ weight, a, repeat }, i) => {
      if (!c.needs(1 + weight)) return;
      const dy = outputs[outputOf.register(backward, (dys[i] as ProgramValue).index)] as ValueId;
      const kernel = op.inputs[1 + weight] as ValueId;
      const rows = (id: ValueId) => this.inRows(id, repeat);
      const x = rows(this.sequence(a));
      accumulate(weight, c.emit('denseGrad', [x, kernel, rows(dy)], {}, [false, true, false])[1] as ValueId);
    });
    return grads;
  }

  /** [T, N, w] as [T, N·repeat, w/repeat]. */
  private inRows(id: ValueId, repeat: number): ValueId {
    if (repeat === 1) return id;
    const [steps, batch, width] = this.c.spec(id).shape as [number, number, number];
    return this.c.emit('reshape', [id], { shape: [steps, batch * repeat, width / repeat] })[0] as ValueId;
  }

  private sumOfRows(id: ValueId, { width }: ProgramOperand): ValueId {
    const whole = this.c.spec(id).shape[2] as number;
    return this.c.emit('sumRows', [this.inRows(id, whole / width)], {})[0] as ValueId;
  }

  private findActive(): boolean[] {
    const { operands, carries, registers, instructions } = this.attrs;
    const first = operands.length + carries.length;
    const active: boolean[] = new Array(first + registers.length).fill(false);
    operands.forEach((_, i) => {
      active[i] = this.c.needs(1 + i);
    });
    carries.forEach(({ init }, i) => {
      active[operands.length + i] = active[init] ?? false;
    });
    // A carry may be reached only through a register that reads it.
    for (let grown = true; grown; ) {
      grown = false;
      for (const { to, from } of instructions) active[first + to] ||= from.some((value) => active[value]);
      carries.forEach(({ from }, i) => {
        if (active[first + from] && !active[operands.length + i]) {
          active[operands.length + i] = true;
          grown = true;
        }
      });
    }
    return active;
  }

  private operand(
    kind: 'sequence' | 'rows' | 'weight' | 'valid',
    id: ValueId,
    width: number,
    rows = 1,
  ): ProgramValue {
    const key = `${kind}:${id}`;
    const known = this.read.get(key) ?? this.builder.operand(kind, width, rows);
    if (!this.read.has(key)) this.inputs.push(id);
    this.read.set(key, known);
    return known;
  }

  /** A value of the forward program, by its number, as one that the backward program reads. */
  private value(number: number): ProgramValue {
    const { attrs, op } = this;
    const operand = attrs.operands[number];
    if (operand)
      return this.operand(operand.kind, op.inputs[1 + number] as ValueId, operand.width, operand.rows);
    const again = this.instructionOf(number);
    if (again && (again.kind === 'valid' || again.kind === 'dropMask')) return this.repeated(number, again);
    return this.operand('sequence', this.sequence(number), widthOf(attrs, number));
  }

  private instructionOf(number: number): Instruction | undefined {
    const { operands, carries, instructions } = this.attrs;
    const register = number - operands.length - carries.length;
    return instructions.find(({ to }) => to === register);
  }

  /** Masks are drawn, or read, anew: that costs less than to keep them. */
  private repeated(number: number, { kind, from, ints, floats }: Instruction): ProgramValue {
    const key = `again:${number}`;
    const known = this.read.get(key);
    if (known) return known;
    const width = widthOf(this.attrs, number);
    const made = this.builder.emit(
      kind,
      from.map((value) => this.value(value)),
      width,
      ints,
      floats,
    );
    this.read.set(key, made);
    return made;
  }

  /** All steps of a carry or a register, or of an operand that is a sequence, in the plan. */
  private sequence(number: number): ValueId {
    const { attrs, op, c } = this;
    const { operands, carries } = attrs;
    if (number < operands.length) return op.inputs[1 + number] as ValueId;
    const own = number - operands.length;
    const place =
      own < carries.length ? outputOf.carry(attrs, own) : outputOf.register(attrs, own - carries.length);
    const known = op.outputs[place] as ValueId;
    return known === ABSENT ? c.addOutput(place) : known;
  }

  private add(number: number, value: ProgramValue): void {
    const known = this.adjoints.get(number);
    this.adjoints.set(number, known ? this.builder.emit('add', [known, value], value.width) : value);
  }

  private zeros(width: number): ProgramValue {
    return this.builder.emit('select', [undefined, undefined, undefined], width);
  }

  /** Adds `dy`, as wide as what the instruction gives, to what it read; of a single column every one. */
  private give(number: number, dy: ProgramValue): void {
    if (!this.active[number]) return;
    const { operands } = this.attrs;
    const width = widthOf(this.attrs, number);
    const whole = width === dy.width || (operands[number]?.kind === 'weight' && width > 1);
    this.add(number, whole ? dy : this.builder.emit('sumGroups', [dy], width, [dy.width / width]));
  }

  private back(instruction: Instruction, dy: ProgramValue): void {
    const { builder } = this;
    const { kind, from, ints, floats } = instruction;
    const [a, b, third] = from as [number, number, number];
    const { width } = dy;
    const emit = (k: Instruction['kind'], ...values: (ProgramValue | undefined)[]) =>
      builder.emit(k, values, width);
    const y = () => this.value(this.attrs.operands.length + this.attrs.carries.length + instruction.to);
    const minus = (value: ProgramValue) => builder.emit('scale', [value], value.width, [], [-1]);
    switch (kind) {
      case 'matmul': {
        const [, repeat = 1] = ints as [number, number];
        if (this.active[a])
          this.give(a, builder.emit('matmul', [dy, this.value(b)], widthOf(this.attrs, a), [1, repeat]));
        if (this.active[b]) this.products.push({ weight: b, a, dy, repeat });
        return;
      }
      case 'activation': {
        const known = activationsFromInput.has(activationOf.get(ints[0] as number) as ActivationKind)
          ? this.value(a)
          : y();
        this.give(a, builder.emit('activationGrad', [known, dy], width, ints, floats));
        return;
      }
      case 'log':
        this.give(a, emit('divide', dy, this.value(a)));
        return;
      case 'sqrt':
        this.give(a, emit('divide', builder.emit('scale', [dy], width, [], [0.5]), y()));
        return;
      case 'abs':
        this.give(a, emit('multiply', dy, emit('sign', this.value(a))));
        return;
      case 'reciprocal':
        this.give(a, minus(emit('multiply', dy, emit('multiply', y(), y()))));
        return;
      case 'scale':
        this.give(a, builder.emit('scale', [dy], width, [], floats));
        return;
      case 'shift':
        this.give(a, dy);
        return;
      case 'add':
        this.give(a, dy);
        this.give(b, dy);
        return;
      case 'subtract':
        this.give(a, dy);
        this.give(b, minus(dy));
        return;
      case 'multiply':
        if (this.active[a]) this.give(a, emit('multiply', dy, this.value(b)));
        if (this.active[b]) this.give(b, emit('multiply', dy, this.value(a)));
        return;
      case 'divide':
        if (this.active[a]) this.give(a, emit('divide', dy, this.value(b)));
        if (this.active[b]) this.give(b, minus(emit('divide', emit('multiply', dy, y()), this.value(b))));
        return;
      // Of equal ones the first takes the gradient, as in Keras on TensorFlow.
      case 'maximum':
        this.choose(emit('greaterEqual', this.value(a), this.value(b)), a, b, dy);
        return;
      case 'minimum':
        this.choose(emit('greaterEqual', this.value(b), this.value(a)), a, b, dy);
        return;
      case 'select':
        this.choose(this.value(a), b, third, dy);
        return;
      case 'sumGroups':
        this.give(a, builder.emit('expandGroups', [dy], widthOf(this.attrs, a), ints));
        return;
      case 'expandGroups':
        this.give(a, builder.emit('sumGroups', [dy], widthOf(this.attrs, a), ints));
        return;
      case 'slice':
        this.give(a, builder.emit('pad', [dy], widthOf(this.attrs, a), ints));
        return;
      case 'pad':
        this.give(a, builder.emit('slice', [dy], widthOf(this.attrs, a), ints));
        return;
      case 'concat': {
        let at = 0;
        for (const part of from) {
          const size = widthOf(this.attrs, part);
          if (this.active[part]) this.give(part, builder.emit('slice', [dy], size, [at]));
          at += size;
        }
        return;
      }
      case 'gather':
        this.give(a, builder.emit('scatterAdd', [dy], widthOf(this.attrs, a), ints));
        return;
      case 'scatterAdd':
        this.give(a, builder.emit('gather', [dy], widthOf(this.attrs, a), ints));
        return;
      // Steps and masks: nothing changes where their inputs do.
      case 'sign':
      case 'greater':
      case 'greaterEqual':
      case 'valid':
      case 'dropMask':
      case 'activationGrad':
        return;
    }
  }

  private choose(first: ProgramValue, a: number, b: number, dy: ProgramValue): void {
    const zero = undefined;
    if (a >= 0 && this.active[a]) this.give(a, this.builder.emit('select', [first, dy, zero], dy.width));
    if (b >= 0 && this.active[b]) this.give(b, this.builder.emit('select', [first, zero, dy], dy.width));
  }
}
