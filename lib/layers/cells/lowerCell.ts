import { flagOption, readConfig } from '../../config';
import { quoted, refuse } from '../../errors';
import { made, named, rowsOf, Traced } from '../../ops/traced';
import { outputOf, type ProgramAttrs } from '../../plan/program/program';
import { ProgramBuilder, type ProgramValue } from '../../plan/program/programBuilder';
import { ABSENT, type ValueId } from '../../plan/types';
import { sameShape } from '../../tensors/tensor';
import type { CallContext, Layer } from '../layer';
import type { Recurrence, RecurrenceInputs } from '../recurrentLayer';
import type { CellContext, CellDefinition, CellStep } from './cell';

/** A cell as a layer runs it. */
export interface CellRun {
  readonly layer: Layer;
  /** By name, their shapes. */
  readonly weights: ReadonlyMap<string, readonly number[]>;
  readonly states: readonly { readonly name: string; readonly size: number }[];
  readonly outputSize: number;
  readonly returnSequences: boolean;
  readonly goBackwards: boolean;
  readonly seed: number;
  readonly step: CellDefinition['step'];
  /** What a weight is in the plan, where it is more than its variable. */
  readonly weight?: (name: string) => ValueId;
}

interface Trace {
  readonly x: Traced;
  readonly states: readonly Traced[];
  readonly output: Traced;
  readonly next: readonly Traced[];
}

/** Streams of one layer's draws lie so far apart that those of other layers fit between. */
const STREAM_STEP = 2 ** 20;

/**
 * Writes a cell's step down. A cell of one's own may go wrong in it, so what it gives is proved.
 * @param streams numbers of random streams, one for each mask
 */
export function traceCell(
  run: Pick<CellRun, 'weights' | 'states' | 'outputSize' | 'step'> & { readonly subject: string },
  features: number,
  training: boolean,
  streams: (draw: number) => number,
): Trace {
  const { subject } = run;
  const trace = {};
  const x = new Traced(features, { sort: 'input' }, trace);
  const states = run.states.map(({ name, size }) => new Traced(size, { sort: 'state', name }, trace));
  const weights = [...run.weights].map(
    ([name, shape]) =>
      [name, new Traced(shape[shape.length - 1] as number, { sort: 'weight', name, shape }, trace)] as const,
  );
  let draws = 0;
  const context: CellContext = {
    training,
    dropout(given, rate, options) {
      const value = rowsOf(given, `${subject}: dropout`);
      const { sharedOverTime: shared } = readConfig(options, ['sharedOverTime'], `${subject}: dropout`);
      const sharedOverTime = flagOption(shared, false, `${subject}: dropout: sharedOverTime`);
      if (!(typeof rate === 'number' && rate >= 0 && rate < 1))
        refuse('ERR_VALUE', `${subject}: dropout`, 'a rate from 0 to below 1', quoted(rate));
      const stream = streams(draws++);
      if (!training || rate === 0) return value;
      const ints = [stream, Number(sharedOverTime)];
      const mask = new Traced(
        value.width,
        { sort: 'made', kind: 'dropMask', from: [], ints, floats: [rate, 1 / (1 - rate)] },
        trace,
      );
      return made(`${subject}: dropout`, 'multiply', [value, mask], value.width);
    },
  };
  const byName = Object.fromEntries(run.states.map(({ name }, i) => [name, states[i] as Traced]));
  const given = named(`${subject}: step`, () => run.step(x, byName, Object.fromEntries(weights), context));
  return { x, states, ...provenStep(given, run, trace) };
}

function provenStep(
  given: CellStep,
  run: Pick<CellRun, 'states' | 'outputSize'> & { readonly subject: string },
  trace: object,
): { output: Traced; next: Traced[] } {
  const proven = (value: unknown, what: string, width: number): Traced => {
    const own = value instanceof Traced && value.trace === trace && value.node.sort !== 'weight';
    if (!own || value.width !== width)
      refuse(
        'ERR_SHAPE',
        `${run.subject}: ${what}`,
        `[N, ${width}]`,
        value instanceof Traced ? String(value) : quoted(value),
      );
    return value as Traced;
  };
  const { output, states } = Object(given) as Partial<CellStep>;
  return {
    output: proven(output, 'output', run.outputSize),
    next: run.states.map(({ name, size }) => proven(Object(states)[name], `state '${name}'`, size)),
  };
}

/** All values that some are made of, those first that others are made of. */
export function inOrder(roots: readonly Traced[]): Traced[] {
  const order = new Set<Traced>();
  const visiting: { value: Traced; entered: boolean }[] = roots.map((value) => ({ value, entered: false }));
  while (visiting.length > 0) {
    const { value, entered } = visiting.pop() as { value: Traced; entered: boolean };
    if (order.has(value)) continue;
    if (entered) {
      order.add(value);
      continue;
    }
    visiting.push({ value, entered: true });
    if (value.node.sort === 'made')
      for (const from of value.node.from) visiting.push({ value: from, entered: false });
  }
  return [...order];
}

const isProduct = ({ node }: Traced) => node.sort === 'made' && node.kind === 'matmul';

/** Emits the ops of a cell over a sequence. */
export function lowerCell(run: CellRun, context: CallContext, inputs: RecurrenceInputs): Recurrence {
  return new Lowering(run, context, inputs).emit();
}

/**
 * Products of what does not depend on the states are made of all steps at once before the recurrence, and those that no state depends on
 * after it; all else is a program that goes from step to step.
 */
class Lowering {
  private readonly trace: Trace;
  /** The input, read from its end where the layer does. */
  private readonly x: ValueId;
  private readonly mask: ValueId | undefined;
  /** What is there of all steps, `[T, N, width]`. */
  private readonly known = new Map<Traced, ValueId>();
  /** Depends on a state. */
  private readonly recurrent = new Set<Traced>();

  constructor(
    private readonly run: CellRun,
    private readonly context: CallContext,
    private readonly inputs: RecurrenceInputs,
  ) {
    const { layer } = run;
    const { input } = inputs;
    const base = context.stream(layer, 'recurrentDropout');
    this.trace = traceCell(
      { ...run, subject: layer.subject },
      input.shape[1] as number,
      context.training,
      (draw) => base + (draw + 1) * STREAM_STEP,
    );
    const turned = (id: ValueId) =>
      run.goBackwards ? (context.builder.emit('reverseTime', [id], {}, layer.subject)[0] as ValueId) : id;
    this.x = turned(input.id);
    this.mask = input.mask === undefined ? undefined : turned(input.mask);
    this.known.set(this.trace.x, this.x);
    for (const value of inOrder([this.trace.output, ...this.trace.next])) {
      const { node } = value;
      if (
        node.sort === 'state' ||
        (node.sort === 'made' && node.from.some((from) => this.recurrent.has(from)))
      )
        this.recurrent.add(value);
    }
  }

  emit(): Recurrence {
    const { run, trace, recurrent } = this;
    const needed = new Set(inOrder(trace.next));
    // A padded step gives the output of the step before, which only the recurrence knows; and of the last step alone products are no more.
    const later = run.returnSequences && this.mask === undefined;
    const after = new Set<Traced>();
    for (const value of inOrder([trace.output])) {
      const own = isProduct(value) && recurrent.has(value) && !needed.has(value);
      const from = value.node.sort === 'made' ? value.node.from : [];
      if (later && (own || from.some((part) => after.has(part)))) after.add(value);
    }
    const leaves = inOrder([trace.output])
      .filter((value) => after.has(value))
      .flatMap(partsOf);
    const given = after.has(trace.output)
      ? leaves.filter((value) => recurrent.has(value) && !after.has(value))
      : [trace.output];
    const ends = this.recur([...new Set(given)], after);
    const y = run.returnSequences ? this.sequence(trace.output) : ends.output;
    return { y: y as ValueId, ends: ends.states };
  }

  /** The program from step to step; `given` are values of which all steps are to be known. */
  private recur(
    given: readonly Traced[],
    after: ReadonlySet<Traced>,
  ): { output: ValueId | undefined; states: ValueId[] } {
    const { run, trace, recurrent, inputs } = this;
    const roots = after.has(trace.output) ? [...trace.next, ...given] : [...trace.next, trace.output];
    const writer = new ProgramWriter(this.context, run, this.known);
    const before = inOrder(roots).filter((value) => isProduct(value) && !recurrent.has(value));
    for (const value of before) this.sequence(value);
    const carries = trace.states.map((state, i) => writer.carry(state, inputs.starts[i]));
    const { builder } = writer;
    const valid = this.mask === undefined ? undefined : writer.valid(this.mask);
    trace.next.forEach((next, i) => {
      const carry = carries[i] as ProgramValue;
      const made = writer.value(next);
      // A padded step passes by.
      const kept = valid
        ? builder.emit('select', [valid, made, carry], carry.width)
        : builder.asRegister(made);
      builder.carryFrom(carry, kept);
      writer.carriedOn(trace.states[i] as Traced, next, kept);
    });
    // The output of the last step, and of padded ones, is a state like any other, unless it is one.
    const own = after.has(trace.output) ? undefined : this.outputCarry(writer, valid);
    const steps = new Map<Traced, ProgramValue>();
    if (own && run.returnSequences) steps.set(trace.output, own.register);
    else if (after.has(trace.output)) for (const value of given) steps.set(value, writer.registerOf(value));
    const attrs = writer.finish(run.seed);
    const want: boolean[] = new Array(2 * attrs.carries.length + attrs.registers.length).fill(false);
    const { statesAfter } = this.context;
    const early = statesAfter !== undefined && statesAfter < attrs.steps ? statesAfter : undefined;
    const endOf = ({ index }: ProgramValue) =>
      early === undefined ? outputOf.last(attrs, index) : outputOf.carry(attrs, index);
    for (const carry of carries) want[endOf(carry)] = inputs.wantsEnds;
    if (own && !run.returnSequences) want[outputOf.last(attrs, own.carry.index)] = true;
    for (const { index } of steps.values()) want[outputOf.register(attrs, index)] = true;
    const outputs = writer.emit(attrs, want);
    for (const [value, { index }] of steps)
      this.known.set(value, outputs[outputOf.register(attrs, index)] as ValueId);
    return {
      output: own && (outputs[outputOf.last(attrs, own.carry.index)] as ValueId),
      states: carries.map((carry) => {
        const end = outputs[endOf(carry)] as ValueId;
        // A step finds the states as they were after the step before.
        return early === undefined || !inputs.wantsEnds ? end : this.stepOf(end, early);
      }),
    };
  }

  /** One step `[N, width]` of `[T, N, width]`. */
  private stepOf(sequence: ValueId, step: number): ValueId {
    const { builder } = this.context;
    const { subject } = this.run.layer;
    const [steps, batch, width] = builder.spec(sequence).shape as [number, number, number];
    const own = batch * width;
    const row = builder.emit('reshape', [sequence], { shape: [1, steps * own] }, subject);
    const part = builder.emit('slice', [row[0] as ValueId], { first: step * own, width: own }, subject);
    const shape = [batch, width];
    return builder.emit('reshape', [part[0] as ValueId], { shape }, subject)[0] as ValueId;
  }

  private outputCarry(
    writer: ProgramWriter,
    valid: ProgramValue | undefined,
  ): { carry: ProgramValue; register: ProgramValue } {
    const { output } = this.trace;
    const { builder } = writer;
    const state = writer.stateOf(output);
    if (state) return state;
    const carry = builder.carry(output.width);
    const made = writer.value(output);
    const register = valid
      ? builder.emit('select', [valid, made, carry], carry.width)
      : builder.asRegister(made);
    builder.carryFrom(carry, register);
    return { carry, register };
  }

  /** All steps of a value that no program from step to step has to make, in the plan. */
  private sequence(value: Traced): ValueId {
    const known = this.known.get(value);
    if (known !== undefined) return known;
    const id = isProduct(value) ? this.product(value) : this.program(value);
    this.known.set(value, id);
    return id;
  }

  private product(value: Traced): ValueId {
    const { builder } = this.context;
    const { subject } = this.run.layer;
    const [x, w] = partsOf(value) as [Traced, Traced];
    const repeat = (value.node as Extract<Traced['node'], { sort: 'made' }>).ints[1] as number;
    const read = this.sequence(x);
    const kernel = weightId(this.context, this.run, w);
    if (repeat === 1) return builder.emit('dense', [read, kernel, ABSENT], {}, subject)[0] as ValueId;
    // Each row is several of the product's.
    const [steps, batch] = builder.spec(read).shape as [number, number];
    const rows = builder.emit(
      'reshape',
      [read],
      { shape: [steps, batch * repeat, x.width / repeat] },
      subject,
    );
    const made = builder.emit('dense', [rows[0] as ValueId, kernel, ABSENT], {}, subject);
    return builder.emit(
      'reshape',
      [made[0] as ValueId],
      { shape: [steps, batch, value.width] },
      subject,
    )[0] as ValueId;
  }

  /** A program without states. */
  private program(value: Traced): ValueId {
    for (const part of inOrder([value])) {
      if (isProduct(part)) this.sequence(part);
    }
    const writer = new ProgramWriter(this.context, this.run, this.known);
    const register = writer.registerOf(value);
    const attrs = writer.finish(this.run.seed);
    const want: boolean[] = new Array(attrs.registers.length).fill(false);
    want[outputOf.register(attrs, register.index)] = true;
    return writer.emit(attrs, want)[outputOf.register(attrs, register.index)] as ValueId;
  }
}

/** A weight in the shape in which the cell reads it: where a layer has rows of vectors, one after another. */
function weightId(context: CallContext, { layer, weight }: CellRun, { node }: Traced): ValueId {
  const { builder } = context;
  const { name, shape } = node as Extract<Traced['node'], { sort: 'weight' }>;
  const id = weight ? weight(name) : context.weight(layer, name);
  if (sameShape(builder.spec(id).shape, shape)) return id;
  return builder.emit('reshape', [id], { shape }, layer.subject)[0] as ValueId;
}

function partsOf({ node }: Traced): readonly Traced[] {
  return node.sort === 'made' ? node.from : [];
}

/** Writes traced values into a program. */
class ProgramWriter {
  readonly builder = new ProgramBuilder();
  private readonly ids: ValueId[] = [];
  private readonly values = new Map<Traced, ProgramValue>();
  private readonly carried = new Map<Traced, { carry: ProgramValue; register: ProgramValue }>();
  private readonly registers = new Map<Traced, ProgramValue>();
  private readonly steps: number;

  constructor(
    private readonly context: CallContext,
    private readonly run: CellRun,
    /** What is there of all steps. */
    private readonly known: ReadonlyMap<Traced, ValueId>,
  ) {
    const [first] = known.values();
    this.steps = context.builder.spec(first as ValueId).shape[0] as number;
  }

  carry(state: Traced, start: ValueId | undefined): ProgramValue {
    const init = start === undefined ? undefined : this.operand('rows', start, state.width);
    const carry = this.builder.carry(state.width, init);
    this.values.set(state, carry);
    return carry;
  }

  /** Says that a state goes on as `next`, which is this register. */
  carriedOn(state: Traced, next: Traced, register: ProgramValue): void {
    this.carried.set(next, { carry: this.values.get(state) as ProgramValue, register });
  }

  /** The state that this value becomes. */
  stateOf(value: Traced): { carry: ProgramValue; register: ProgramValue } | undefined {
    return this.carried.get(value);
  }

  valid(mask: ValueId): ProgramValue {
    return this.builder.emit('valid', [this.operand('valid', mask, 1)], 1);
  }

  registerOf(value: Traced): ProgramValue {
    const known = this.registers.get(value) ?? this.builder.asRegister(this.value(value));
    this.registers.set(value, known);
    return known;
  }

  /** The value, after what it is made of. */
  value(root: Traced): ProgramValue {
    for (const value of this.missing(root)) this.values.set(value, this.write(value));
    return this.values.get(root) as ProgramValue;
  }

  /** What is not there yet, in order; nothing of what others have computed is looked into. */
  private missing(root: Traced): Traced[] {
    const needed = new Set<Traced>([root]);
    for (const value of inOrder([root]).reverse()) {
      if (!needed.has(value) || this.values.has(value) || this.known.has(value)) continue;
      for (const part of partsOf(value)) needed.add(part);
    }
    return inOrder([root]).filter((value) => needed.has(value) && !this.values.has(value));
  }

  private write(value: Traced): ProgramValue {
    const { context, run, builder } = this;
    const { node, width } = value;
    const known = this.known.get(value);
    if (known !== undefined) return this.operand('sequence', known, width);
    if (node.sort === 'weight') {
      const rows = node.shape.length > 1 ? (node.shape[0] as number) : 1;
      return this.operand('weight', weightId(context, run, value), width, rows);
    }
    if (node.sort !== 'made') refuse('ERR_STATE', run.layer.subject, 'a state of the cell', String(value));
    const { kind, from, ints, floats } = node as Extract<Traced['node'], { sort: 'made' }>;
    return builder.emit(
      kind,
      from.map((part) => this.values.get(part)),
      width,
      ints,
      floats,
    );
  }

  private operand(
    kind: 'sequence' | 'rows' | 'weight' | 'valid',
    id: ValueId,
    width: number,
    rows = 1,
  ): ProgramValue {
    this.ids.push(id);
    return this.builder.operand(kind, width, rows);
  }

  finish(seed: number): ProgramAttrs {
    return this.builder.finish({ steps: this.steps, batch: this.context.batch, reverse: false, seed });
  }

  emit(attrs: ProgramAttrs, want: readonly boolean[]): ValueId[] {
    const { builder } = this.context;
    return builder.emit('program', [this.context.step(), ...this.ids], attrs, this.run.layer.subject, want);
  }
}
