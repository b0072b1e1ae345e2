import { outputOf } from '../../plan/program/program';
import { ProgramBuilder, type ProgramValue } from '../../plan/program/programBuilder';
import { ABSENT, type ActivationAttrs, type ValueId } from '../../plan/types';
import { sameShape, sizeOf } from '../../tensors/tensor';
import type { Constant, ConstantType } from './constants';
import { elementwiseOperators, type Operator } from './elementwise';
import type { GraphBody, GraphNode } from './graphFile';
import { float, GraphLowering, int, ints, isConstant, type Live, shown, type Value } from './lowering';

/** Numbers of a step's own values begin here: no plan has so many. */
const FIRST_OWN = 2 ** 40;

/**
 * Writes what happens at a step into a program. Its own values are the rows of the step, [N, …]; all others are of the graph around it, the
 * same at every step.
 */
class StepLowering extends GraphLowering {
  readonly steps = new ProgramBuilder();
  /** What the program reads, by its operands. */
  readonly ids: ValueId[] = [];
  private readonly own = new Map<ValueId, ProgramValue>();
  private readonly read = new Map<string, ProgramValue>();
  private next = FIRST_OWN;

  constructor(
    private readonly outer: GraphLowering,
    readonly batch: number,
  ) {
    super(outer.builder, outer.store, 0);
  }

  override live(id: ValueId, dims: readonly number[], type?: ConstantType): Live {
    const { outer } = this;
    const { subject } = outer;
    outer.subject = this.subject;
    const made = outer.live(id, dims, type);
    outer.subject = subject;
    return made;
  }

  isOwn(value: Value): value is Live {
    return !isConstant(value) && this.own.has(value.id);
  }

  override isStoredInt(value: Value): boolean {
    return !this.isOwn(value) && super.isStoredInt(value);
  }

  /** Adds a value of the step. */
  give(value: ProgramValue, dims: readonly number[], type?: ConstantType): Live {
    this.next += 1;
    this.own.set(this.next, value);
    return this.live(this.next, dims, type);
  }

  operand(kind: 'sequence' | 'rows' | 'weight', id: ValueId, width: number, rows = 1): ProgramValue {
    const key = `${kind} ${id} ${rows}`;
    const known = this.read.get(key);
    if (known) return known;
    this.ids.push(id);
    const made = this.steps.operand(kind, width, rows);
    this.read.set(key, made);
    return made;
  }

  override form(value: Value, dims?: readonly number[]): ValueId {
    if (this.isOwn(value)) this.fail('what works on rows, column by column', `a value ${shown(value.dims)}`);
    return super.form(value, dims);
  }

  override view<V extends Value>(value: V, dims: readonly number[]): V {
    if (this.isOwn(value) && dims[0] !== this.batch) this.fail('the axis of the batch in front', shown(dims));
    return super.view(value, dims);
  }

  /**
   * A value in rows of the columns that `dims` [N, …] says, or in a column that stands for all. Last axes meet, as ONNX broadcasts: of a value
   * of the step with fewer axes than `dims`, the batch would lie along columns.
   */
  rowsOf(value: Value, dims: readonly number[]): ProgramValue {
    const { dims: given } = value;
    if (this.isOwn(value)) {
      const isColumn =
        given.slice(1).every((n) => n === 1) && (given.length === dims.length || given[0] === 1);
      if (!sameShape(given, dims) && !isColumn)
        this.fail(`rows ${shown(dims)}, or one column with as many axes`, shown(given));
      return this.own.get(value.id) as ProgramValue;
    }
    const aligned = [...new Array<number>(dims.length - given.length).fill(1), ...given];
    const columns = aligned.slice(1).every((n) => n === 1) ? aligned.slice(1) : dims.slice(1);
    const width = sizeOf(columns);
    const isVector = aligned[0] === 1;
    const whole = this.expand(super.view(value, aligned), [aligned[0] as number, ...columns]);
    return isVector
      ? this.operand('weight', this.form(whole, [width]), width)
      : this.operand('rows', this.form(whole, [this.batch, width]), width);
  }

  /** Rows that the step hands on or shows: a register. */
  registerOf(value: Value, dims: readonly number[]): ProgramValue {
    const rows = this.rowsOf(value, dims);
    const width = sizeOf(dims.slice(1));
    if (rows.width === width) return this.steps.asRegister(rows);
    return this.steps.emit('expandGroups', [rows], width, [width]);
  }

  override program(
    values: readonly Value[],
    write: Parameters<GraphLowering['program']>[1],
    type: ConstantType = 'float32',
  ): Live {
    // What is of no step is worked out once, outside.
    if (!values.some((value) => this.isOwn(value))) return super.program(values, write, type);
    const dims = values.map(({ dims: own }) => own).reduce((a, b) => this.broadcast(a, b));
    if (dims.length < 2 || dims[0] !== this.batch) this.fail(`rows [${this.batch}, …]`, shown(dims));
    const operands = values.map((value) => this.rowsOf(value, dims));
    return this.give(write(this.steps, operands, sizeOf(dims.slice(1))), dims, type);
  }

  override activation(value: Value, attrs: ActivationAttrs): Live {
    if (!this.isOwn(value)) return super.activation(value, attrs);
    const group = value.dims.at(-1);
    return this.program(
      [value],
      (program, [x]) => program.activation(attrs, x as ProgramValue, group),
      value.type,
    );
  }

  override scale(value: Value, factor: number): Live {
    if (!this.isOwn(value)) return super.scale(value, factor);
    return this.program(
      [value],
      (program, [x], width) => program.emit('scale', [x], width, [], [factor]),
      value.type,
    );
  }

  override combine(kind: 'add' | 'multiply', a: Value, b: Value): Live {
    if (!this.isOwn(a) && !this.isOwn(b)) return super.combine(kind, a, b);
    return this.program([a, b], (program, operands, width) => program.emit(kind, operands, width), a.type);
  }

  override addBias(): undefined {
    return undefined;
  }

  /** Columns in front of an axis would be parts of blocks. */
  private requireLeading(dims: readonly number[], axis: number): void {
    if (axis < 1 || sizeOf(dims.slice(1, axis)) !== 1)
      this.fail('the first axis of columns', `axis ${axis} of ${shown(dims)}`);
  }

  override sliceAxis(value: Value, axis: number, first: number, step: number, count: number): Value {
    if (!this.isOwn(value)) return super.sliceAxis(value, axis, first, step, count);
    const { dims } = value;
    if (count === dims[axis] && step === 1) return value;
    this.requireLeading(dims, axis);
    if (step !== 1 || count === 0) this.fail('columns beside each other', `${count} in steps of ${step}`);
    const block = sizeOf(dims.slice(axis + 1));
    const rows = this.steps.emit('slice', [this.own.get(value.id)], count * block, [first * block]);
    return this.give(
      rows,
      dims.map((n, i) => (i === axis ? count : n)),
      value.type,
    );
  }

  override concat(values: readonly Value[], axis: number): Value {
    if (!values.some((value) => this.isOwn(value))) return super.concat(values, axis);
    const [first] = values as readonly [Value];
    this.requireLeading(first.dims, axis);
    const dims = this.concatDims(values, axis);
    const parts = values.map((value) => this.rowsOf(value, value.dims));
    return this.give(this.steps.emit('concat', parts, sizeOf(dims.slice(1))), dims, first.type);
  }

  /** Rows of several rows each by a matrix from outside. @param turned whether the matrix is [M, K] */
  product(a: Value, b: Value, turned = false): Live {
    const [K, M] = (turned ? [b.dims[1], b.dims[0]] : b.dims) as [number, number];
    if (
      this.isOwn(b) ||
      b.dims.length !== 2 ||
      a.dims.length < 2 ||
      a.dims[0] !== this.batch ||
      a.dims.at(-1) !== K
    )
      this.fail(
        'rows by a matrix from outside',
        `${shown(a.dims)} by ${turned ? 'the transpose of ' : ''}${shown(b.dims)}`,
      );
    const dims = [...a.dims.slice(0, -1), M];
    const matrix = this.operand('weight', turned ? this.turned(b) : this.form(b), M, K);
    const repeat = sizeOf(a.dims.slice(1, -1));
    const rows = this.rowsOf(a, a.dims);
    return this.give(this.steps.emit('matmul', [rows, matrix], repeat * M, [0, repeat]), dims, a.type);
  }

  /** A matrix's transpose; of a constant it is made once. */
  private turned(b: Value): ValueId {
    const made = () => this.transpose(b, [1, 0]);
    return isConstant(b) ? this.variable(b, 'turned', () => made() as Constant) : this.form(made());
  }

  /** Sums over the last axis. */
  sums(value: Live, keeps: boolean): Live {
    const { dims } = value;
    const group = dims.at(-1) as number;
    const before = dims.slice(0, -1);
    const rows = this.steps.emit('sumGroups', [this.rowsOf(value, dims)], sizeOf(before.slice(1)), [group]);
    return this.give(rows, keeps ? [...before, 1] : before, value.type);
  }

  /** Blocks of columns, by their places along an axis. */
  gather(value: Live, axis: number, at: readonly number[], inner: readonly number[]): Live {
    const { dims } = value;
    this.requireLeading(dims, axis);
    const length = dims[axis] as number;
    const places = at.map((n) => (n < 0 ? n + length : n));
    if (places.some((n) => !(n >= 0 && n < length)))
      this.fail(`indices below ${length}`, shown(at.slice(0, 8)));
    const block = sizeOf(dims.slice(axis + 1));
    const made = [...dims.slice(0, axis), ...inner, ...dims.slice(axis + 1)];
    const width = places.length * block;
    return this.give(
      this.steps.emit('gather', [this.own.get(value.id)], width, [block, ...places]),
      made,
      value.type,
    );
  }
}

type StepLower = (step: StepLowering, node: GraphNode, inputs: readonly (Value | undefined)[]) => Value;

/** Operators that are another thing in a step than in a graph. */
const stepOperators: Readonly<Record<string, StepLower>> = {
  MatMul: (step, _, [a, b]) => step.product(a as Value, b as Value),
  Gemm(step, node, [a, b, c]) {
    const [rows, matrix] = [a as Value, b as Value];
    if (int(node, 'transA', 0) !== 0) step.fail('rows as they are', 'transA 1');
    if (rows.dims.length !== 2) step.fail('two matrices', `${shown(rows.dims)} and ${shown(matrix.dims)}`);
    const [alpha, beta] = [float(node, 'alpha', 1), float(node, 'beta', 1)];
    const product = step.product(rows, matrix, int(node, 'transB', 0) !== 0);
    const scaled = alpha === 1 ? product : step.scale(product, alpha);
    if (c === undefined || beta === 0) return scaled;
    if (!sameShape(step.broadcast(product.dims, c.dims), product.dims))
      step.fail(`a C for ${shown(product.dims)}`, shown(c.dims));
    return step.program([scaled, c], (program, [y, term], width) => {
      const added = term as ProgramValue;
      const weighted = beta === 1 ? added : program.emit('scale', [added], added.width, [], [beta]);
      return program.emit('add', [y, weighted], width);
    });
  },
  ReduceSum(step, node, [x, list]) {
    const value = x as Live;
    const axes = ints(node, 'axes') ?? (list && isConstant(list) ? Array.from(list.data) : []);
    const last = axes.length === 1 && (axes[0] === -1 || axes[0] === value.dims.length - 1);
    if (!last || value.dims.length < 2)
      step.fail('the last axis of columns', `axes ${shown(axes)} of ${shown(value.dims)}`);
    return step.sums(value, int(node, 'keepdims', 1) !== 0);
  },
  Gather(step, node, [x, ids]) {
    const [value, at] = [x as Live, ids as Value];
    if (!isConstant(at)) return step.fail('constant places of columns', 'some that depend on data');
    const axis = int(node, 'axis', 0);
    return step.gather(value, axis < 0 ? axis + value.dims.length : axis, Array.from(at.data), at.dims);
  },
};

/** Operators that work through what a step overrides, or on shapes. */
const usual: readonly string[] = [
  ...Object.keys(elementwiseOperators),
  ...['Identity', 'Cast', 'Constant', 'Shape', 'Size', 'Reshape', 'Squeeze', 'Unsqueeze', 'Flatten'],
  ...['Expand', 'Concat', 'Split', 'Slice', 'Dropout'],
];
const bodyOperators: ReadonlySet<string> = new Set([...usual, ...Object.keys(stepOperators)]);

function lowerStep(
  step: StepLowering,
  { nodes, outputs }: GraphBody,
  values: Map<string, Value>,
  operatorOf: (op: string) => Operator,
): Value[] {
  for (const node of nodes) {
    step.subject = node.subject;
    const inputs = node.inputs.map((name) => (name === '' ? undefined : values.get(name)));
    const isOwn = inputs.some((value) => value && step.isOwn(value));
    const special = isOwn && Object.hasOwn(stepOperators, node.op) ? stepOperators[node.op] : undefined;
    const made = special ? [special(step, node, inputs)] : operatorOf(node.op).lower(step, node, inputs);
    for (const [i, name] of node.outputs.entries()) if (name !== '' && made[i]) values.set(name, made[i]);
  }
  return outputs.map((name) => values.get(name) as Value);
}

const lower =
  (operatorOf: (op: string) => Operator): Operator['lower'] =>
  (lowering, node, given) => {
    const { builder, subject } = lowering;
    const body = node.body as GraphBody;
    const inputs = given as readonly Value[];
    const count = body.inputs.length;
    const sequenceCount = int(node, 'num_scan_inputs', 0);
    const stateCount = count - sequenceCount;
    const starts = inputs.slice(0, stateCount);
    const sequences = inputs.slice(stateCount, count);
    const [T, N] = (sequences[0]?.dims ?? []) as [number, number];
    for (const { dims } of sequences)
      if (dims.length < 3 || dims[0] !== T || dims[1] !== N)
        lowering.fail(`sequences [${T ?? 'steps'}, ${N ?? 'batch'}, …]`, shown(dims));
    for (const { dims } of starts)
      if (dims.length < 2 || dims[0] !== N) lowering.fail(`states [${N}, …]`, shown(dims));
    const step = new StepLowering(lowering, N);
    const [first = 0, ...others] = ints(node, 'scan_input_directions') ?? [];
    const turned = (id: ValueId) => builder.emit('reverseTime', [id], {}, subject)[0] as ValueId;
    const carries = starts.map((value) => {
      const width = sizeOf(value.dims.slice(1));
      const isZero = isConstant(value) && value.data.every((v) => v === 0);
      const id = isZero ? undefined : lowering.form(value, [N, width]);
      return step.steps.carry(width, id === undefined ? undefined : step.operand('rows', id, width));
    });
    const values = new Map<string, Value>();
    for (const [i, name] of body.captured.entries()) values.set(name, inputs[count + i] as Value);
    for (const [i, name] of body.inputs.entries()) {
      const { dims, type } = inputs[i] as Value;
      if (i < stateCount) {
        values.set(name, step.give(carries[i] as ProgramValue, dims, type));
        continue;
      }
      const width = sizeOf(dims.slice(2));
      const id = lowering.form(inputs[i] as Value, [T, N, width]);
      const against = i > stateCount && (others[i - stateCount - 1] ?? 0) !== first;
      values.set(
        name,
        step.give(step.operand('sequence', against ? turned(id) : id, width), dims.slice(1), type),
      );
    }
    const made = lowerStep(step, body, values, operatorOf);
    step.subject = subject;
    starts.forEach(({ dims }, i) => {
      const after = made[i] as Value;
      if (!sameShape(after.dims, dims)) lowering.fail(`the state ${shown(dims)} again`, shown(after.dims));
      step.steps.carryFrom(carries[i] as ProgramValue, step.registerOf(after, dims));
    });
    const shows = made.slice(stateCount).map((value) => {
      if (value.dims.length < 2 || value.dims[0] !== N) lowering.fail(`rows [${N}, …]`, shown(value.dims));
      return { value, register: step.registerOf(value, value.dims) };
    });
    const attrs = step.steps.finish({ steps: T, batch: N, reverse: first === 1, seed: 0 });
    const places = [
      ...starts.map((_, i) => outputOf.last(attrs, i)),
      ...shows.map(({ register }) => outputOf.register(attrs, register.index)),
    ];
    const want = new Array<boolean>(Math.max(...places) + 1).fill(false);
    for (const place of places) want[place] = true;
    const outputs = builder.emit('program', [ABSENT, ...step.ids], attrs, subject, want);
    const directions = ints(node, 'scan_output_directions') ?? [];
    return [
      ...starts.map(({ dims, type }, i) => lowering.live(outputs[i] as ValueId, dims, type)),
      ...shows.map(({ value, register }, i) => {
        const id = outputs[outputOf.register(attrs, register.index)] as ValueId;
        // Steps lie where they were read; the graph wants them in the order of reading, or the last in front.
        const apart = (directions[i] ?? 0) !== first;
        return lowering.live(apart ? turned(id) : id, [T, ...value.dims], value.type);
      }),
    ];
  };

/** `Scan` as a program that runs its body from step to step. @param known all operators */
export function scanOperator(known: (op: string) => Operator | undefined): Operator {
  return {
    inputs: [1, 2 ** 16],
    outputs: 2 ** 16,
    since: 9,
    attributes: {
      body: 'graph',
      num_scan_inputs: 'int',
      scan_input_axes: 'ints',
      scan_input_directions: 'ints',
      scan_output_axes: 'ints',
      scan_output_directions: 'ints',
    },
    body: (op) => (bodyOperators.has(op) ? known(op) : undefined),
    obstacle(node) {
      const { inputs, outputs } = node.body as GraphBody;
      const sequences = int(node, 'num_scan_inputs', 0);
      const states = inputs.length - sequences;
      if (sequences < 1 || states < 0 || node.inputs.slice(0, inputs.length).includes(''))
        return [
          `sequences among the ${inputs.length} inputs, none left out`,
          `${sequences} in ${node.inputs.slice(0, inputs.length).join(', ')}`,
        ];
      if (outputs.length < states || node.outputs.length > outputs.length)
        return [
          `outputs of ${states} states, and as many in all as its body has`,
          `${outputs.length} of the body, ${node.outputs.length} of the node`,
        ];
      for (const name of ['scan_input_axes', 'scan_output_axes'])
        if (ints(node, name)?.some((axis) => axis !== 0))
          return ['steps along the first axis', `${name} ${shown(ints(node, name) ?? [])}`];
      const directions = [
        ...(ints(node, 'scan_input_directions') ?? []),
        ...(ints(node, 'scan_output_directions') ?? []),
      ];
      const odd = directions.find((n) => n !== 0 && n !== 1);
      return odd === undefined ? undefined : ['directions 0 or 1', String(odd)];
    },
    lower: lower((op) => known(op) as Operator),
  };
}
