import { createHash } from 'node:crypto';
import { DeepRnnError } from '../../errors';
import type { PlanBuilder } from '../../plan/builder';
import { fuseStacks } from '../../plan/fuseStacks';
import { outputOf } from '../../plan/program/program';
import { ProgramBuilder, type ProgramValue } from '../../plan/program/programBuilder';
import { ABSENT, type ActivationAttrs, type Plan, type ValueId } from '../../plan/types';
import { sameShape, sizeOf, type TensorData } from '../../tensors/tensor';
import { type Constant, type ConstantType, constantOf, MOST_MADE, newData } from './constants';
import type { GraphNode } from './graphFile';

/**
 * A value that a plan works out. What it is for the graph (`dims`, `type`) and how it is stored may differ: a new shape costs nothing until an
 * op wants it. Truth values and counts that were worked out are stored as real numbers, whole inputs as int32.
 */
export interface Live {
  readonly id: ValueId;
  readonly dims: readonly number[];
  readonly type: ConstantType;
}

export type Value = Live | Constant;

export function isConstant(value: Value): value is Constant {
  return 'data' in value;
}

/** Arrays that plans read and the session holds, by their content. */
export class ConstantStore {
  private names = new WeakMap<Constant, Map<string, string>>();
  private readonly arrays = new Map<
    string,
    { readonly dims: readonly number[]; readonly int: boolean; data: ArrayLike<number> }
  >();
  /** Of all arrays that have been added. */
  bytes = 0;
  private large = 0;

  shapeOf(name: string): { readonly dims: readonly number[]; readonly int: boolean } {
    return this.arrays.get(name) as { dims: readonly number[]; int: boolean };
  }

  /** The numbers of an array, which are held no longer: the session has them. */
  take(name: string): ArrayLike<number> {
    const array = this.arrays.get(name) as { data: ArrayLike<number> };
    const { data } = array;
    array.data = [];
    return data;
  }

  /** Every array is made anew by the next plan. */
  forget(): void {
    this.arrays.clear();
    this.names = new WeakMap();
    this.bytes = 0;
  }

  /** The name of what `make` makes of a constant; `key` says what that is. */
  nameOf(
    constant: Constant,
    key: string,
    make: () => {
      readonly dims: readonly number[];
      readonly data: ArrayLike<number>;
      readonly int?: boolean;
    },
  ): string {
    let own = this.names.get(constant);
    if (!own) {
      own = new Map();
      this.names.set(constant, own);
    }
    const known = own.get(key);
    if (known !== undefined && this.arrays.has(known)) return known;
    const { dims, data, int = false } = make();
    const name = this.add(dims, int, data);
    own.set(key, name);
    return name;
  }

  /** The name of an array; a small one of the same content is the same. Large ones are not hashed: that takes its time. */
  add(dims: readonly number[], int: boolean, data: ArrayLike<number>): string {
    const held = int ? Int32Array.from(data) : Float32Array.from(data);
    const name = held.length > MOST_HASHED ? `large ${this.large++}` : hashOf(held, `${int} ${dims.join()}`);
    if (!this.arrays.has(name)) {
      this.arrays.set(name, { dims, int, data: held });
      this.bytes += held.byteLength;
    }
    return name;
  }
}

const MOST_HASHED = 2 ** 16;

/** What an array holds, in a few characters. @param about what else tells it from others */
export function hashOf(data: TensorData, about = ''): string {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return createHash('sha256').update(about).update(bytes).digest('hex');
}

const MOST_NUMBERS = 2 ** 31 - 1;
/** A file of a few bytes must not fill the memory: no network makes so many numbers of each that it is given. */
const MOST_GROWTH = 2 ** 12;

/** Writes a plan for inputs of known shapes. */
export class GraphLowering {
  /** Of the node at work, for messages. */
  subject = '';

  /** Of whole inputs that are places along axes, how long those axes are. */
  readonly idLengths = new Map<ValueId, Set<number>>();

  /** Numbers of all values so far. */
  private made = 0;
  private readonly most: number;

  /** @param given numbers of inputs and weights: what is made of them may be larger, but not by any factor */
  constructor(
    readonly builder: PlanBuilder,
    readonly store: ConstantStore,
    given: number,
  ) {
    this.most = MOST_MADE * 4 + MOST_GROWTH * given;
  }

  fail(wanted: string, got: string): never {
    throw new DeepRnnError('ERR_SHAPE', `${this.subject}: expected ${wanted}, got ${got}.`);
  }

  live(id: ValueId, dims: readonly number[], type: ConstantType = 'float32'): Live {
    const size = sizeOf(dims);
    if (size === 0) this.fail('a shape without a 0', shown(dims));
    this.made += size;
    if (size > MOST_NUMBERS || this.made > this.most)
      this.fail('fewer numbers for inputs and weights of this size', `${shown(dims)}, ${this.made} in all`);
    return { id, dims, type };
  }

  /** A variable that holds what `make` makes of a constant. */
  variable(
    constant: Constant,
    key: string,
    make: () => {
      readonly dims: readonly number[];
      readonly data: ArrayLike<number>;
      readonly int?: boolean;
    },
  ): ValueId {
    return this.named(this.store.nameOf(constant, key, make));
  }

  private named(name: string): ValueId {
    const { dims, int } = this.store.shapeOf(name);
    return this.builder.variable(name, int ? 'int32' : 'real', dims);
  }

  /** A value as it is stored for ops, of these lengths; of equal size to its own. */
  form(value: Value, dims: readonly number[] = value.dims): ValueId {
    const wanted = dims.length === 0 ? [1] : dims;
    if (isConstant(value)) {
      if (value.data.length === 0) this.fail('a shape without a 0', shown(value.dims));
      return this.variable(value, `as ${wanted.join()}`, () => ({ dims: wanted, data: value.data }));
    }
    const { shape, dtype } = this.builder.spec(value.id);
    if (sameShape(shape, wanted)) return value.id;
    if (dtype !== 'real')
      this.fail(
        'real numbers, or whole ones only as ids, lengths and in their shape',
        `${value.type} ${shown(shape)} as ${shown(wanted)}`,
      );
    return this.builder.emitOnce('reshape', [value.id], { shape: wanted }, this.subject);
  }

  /** Says that a whole input is places along an axis of so many. */
  countIds(ids: Live, length: number): void {
    const known = this.idLengths.get(ids.id) ?? new Set();
    this.idLengths.set(ids.id, known.add(length));
  }

  /** The plan's own whole numbers [..], in the shape in which they are stored. */
  isStoredInt(value: Value): boolean {
    return !isConstant(value) && this.builder.spec(value.id).dtype === 'int32';
  }

  view<V extends Value>(value: V, dims: readonly number[]): V {
    if (sizeOf(dims) !== sizeOf(value.dims))
      this.fail(`a shape of ${sizeOf(value.dims)} numbers`, shown(dims));
    return { ...value, dims };
  }

  transpose(value: Value, axes: readonly number[]): Value {
    const dims = axes.map((axis) => value.dims[axis] as number);
    if (isConstant(value)) return moved(value, dims, permuted(value.dims, axes), 1);
    // Axes of length 1 may stand anywhere.
    const long = axes.filter((axis) => value.dims[axis] !== 1);
    if (long.every((axis, i) => i === 0 || axis > (long[i - 1] as number))) return this.view(value, dims);
    const swapsLeading = axes[0] === 1 && axes[1] === 0 && axes.slice(2).every((axis, i) => axis === i + 2);
    const from = this.form(value);
    const [id] = swapsLeading
      ? this.builder.emit('batchToTime', [from], {}, this.subject)
      : this.builder.emit('transpose', [from], { axes }, this.subject);
    return this.live(id as ValueId, dims, value.type);
  }

  /** Blocks of `block` numbers of a value, by the places where they begin (in blocks). */
  pick(value: Value, dims: readonly number[], block: number, places: () => Int32Array): Value {
    if (sizeOf(dims) > MOST_MADE) this.fail(`at most ${MOST_MADE} numbers`, shown(dims));
    if (isConstant(value)) return moved(value, dims, places(), block);
    // Nothing is known of nothing.
    if (sizeOf(dims) === 0) return constantOf(value.type, dims, []);
    const from = places();
    const total = sizeOf(value.dims) / block;
    const first = from[0] as number;
    const contiguous = from.every((place, i) => place === first + i);
    if (contiguous && from.length === total) return this.view(value, dims);
    if (contiguous) {
      const flat = this.form(value, [1, total * block]);
      const attrs = { first: first * block, width: from.length * block };
      return this.live(
        this.builder.emit('slice', [flat], attrs, this.subject)[0] as ValueId,
        dims,
        value.type,
      );
    }
    const table = this.form(value, [total, block]);
    const ids = this.named(this.store.add([from.length], true, from));
    return this.live(
      this.builder.emit('embedding', [ids, table], {}, this.subject)[0] as ValueId,
      dims,
      value.type,
    );
  }

  /** Steps `first`, `first + step`, … (`count` of them) of one axis. */
  sliceAxis(value: Value, axis: number, first: number, step: number, count: number): Value {
    const length = value.dims[axis] as number;
    const dims = value.dims.map((n, i) => (i === axis ? count : n));
    if (count === length && step === 1) return value;
    const outer = sizeOf(value.dims.slice(0, axis));
    const inner = sizeOf(value.dims.slice(axis + 1));
    if (!isConstant(value) && count > 0 && !this.isStoredInt(value)) {
      if (step === 1) {
        const rows = this.form(value, [outer, length * inner]);
        const attrs = { first: first * inner, width: count * inner };
        return this.live(
          this.builder.emit('slice', [rows], attrs, this.subject)[0] as ValueId,
          dims,
          value.type,
        );
      }
      if (step === -1 && count === length && outer === 1) {
        const steps = this.form(value, [length, inner]);
        return this.live(
          this.builder.emit('reverseTime', [steps], {}, this.subject)[0] as ValueId,
          dims,
          value.type,
        );
      }
    }
    return this.pick(value, dims, inner, () => {
      const places = new Int32Array(outer * count);
      for (let o = 0; o < outer; o++)
        for (let k = 0; k < count; k++) places[o * count + k] = o * length + first + k * step;
      return places;
    });
  }

  expand(value: Value, dims: readonly number[]): Value {
    if (sameShape(value.dims, dims)) return value;
    if (!sameShape(this.broadcast(value.dims, dims), dims))
      this.fail(`what goes into ${shown(dims)}`, shown(value.dims));
    if (sizeOf(dims) > MOST_MADE) this.fail(`at most ${MOST_MADE} numbers`, shown(dims));
    const own = [...new Array<number>(dims.length - value.dims.length).fill(1), ...value.dims];
    let tail = dims.length;
    while (tail > 0 && own[tail - 1] === dims[tail - 1]) tail--;
    const block = sizeOf(dims.slice(tail));
    if (!isConstant(value) && !this.isStoredInt(value) && own.slice(0, tail).every((n) => n === 1)) {
      const row = this.form(value, [block]);
      const rows = sizeOf(dims.slice(0, tail));
      return this.live(
        this.builder.emit('broadcastRows', [row], { rows }, this.subject)[0] as ValueId,
        dims,
        value.type,
      );
    }
    return this.pick(value, dims, block, () => broadcastPlaces(own.slice(0, tail), dims.slice(0, tail)));
  }

  /** Shape of values one behind the other along an axis. */
  protected concatDims(values: readonly Value[], axis: number): number[] {
    const [first] = values as readonly [Value];
    const fits = values.every(
      ({ dims }) =>
        dims.length === first.dims.length && dims.every((n, i) => i === axis || n === first.dims[i]),
    );
    if (!fits)
      this.fail('inputs that differ in one axis alone', values.map(({ dims }) => shown(dims)).join(', '));
    return first.dims.map((n, i) =>
      i === axis ? values.reduce((sum, v) => sum + (v.dims[axis] as number), 0) : n,
    );
  }

  concat(values: readonly Value[], axis: number): Value {
    const [first] = values as readonly [Value];
    const dims = this.concatDims(values, axis);
    const outer = sizeOf(dims.slice(0, axis));
    if (values.every(isConstant)) {
      if (sizeOf(dims) > MOST_MADE) this.fail(`at most ${MOST_MADE} numbers`, shown(dims));
      const data = newData(first.type, sizeOf(dims));
      let at = 0;
      for (let o = 0; o < outer; o++)
        for (const { data: own } of values as readonly Constant[]) {
          const width = own.length / outer;
          data.set(own.subarray(o * width, (o + 1) * width), at);
          at += width;
        }
      return { type: first.type, dims, data };
    }
    const parts = values.filter(({ dims: own }) => sizeOf(own) > 0);
    const ids = parts.map((value) => this.form(value, [outer, sizeOf(value.dims) / outer]));
    if (ids.length === 1) return this.view(parts[0] as Value, dims);
    return this.live(this.builder.emit('concat', ids, {}, this.subject)[0] as ValueId, dims, first.type);
  }

  activation(value: Value, attrs: ActivationAttrs): Live {
    const [id] = this.builder.emit('activation', [this.form(value)], attrs, this.subject);
    return this.live(id as ValueId, value.dims, value.type);
  }

  scale(value: Value, factor: number): Live {
    const [id] = this.builder.emit('scale', [this.form(value)], { factor }, this.subject);
    return this.live(id as ValueId, value.dims, value.type);
  }

  /** a + b or a ⊙ b, of equal shapes. */
  combine(kind: 'add' | 'multiply', a: Value, b: Value): Live {
    const [id] = this.builder.emit(kind, [this.form(a), this.form(b)], {}, this.subject);
    return this.live(id as ValueId, a.dims, a.type);
  }

  /** A vector added to the product that was just made is its bias. The product without it is dropped if nothing else reads it. */
  addBias(product: Value, bias: Value): Live | undefined {
    const last = this.builder.ops.at(-1);
    if (isConstant(product) || !isConstant(bias) || last?.kind !== 'dense') return undefined;
    const [x, kernel, none] = last.inputs as [ValueId, ValueId, ValueId];
    const width = product.dims.at(-1);
    const isVector = bias.data.length === width && bias.dims.at(-1) === width;
    const rank = bias.dims.length <= product.dims.length;
    if (last.outputs[0] !== product.id || none !== ABSENT || !isVector || !rank) return undefined;
    const [id] = this.builder.emit('dense', [x, kernel, this.form(bias, [width])], {}, this.subject);
    return this.live(id as ValueId, product.dims, product.type);
  }

  /** A function of numbers that lie in the same place of values as ONNX broadcasts them. */
  program(
    values: readonly Value[],
    write: (program: ProgramBuilder, operands: readonly ProgramValue[], width: number) => ProgramValue,
    type: ConstantType = 'float32',
  ): Live {
    const dims = values.map(({ dims: own }) => own).reduce((a, b) => this.broadcast(a, b));
    const total = sizeOf(dims);
    const flat = values.every(({ dims: own }) => sizeOf(own) === total || sizeOf(own) === 1);
    const width = flat ? divisor(total) : (dims.at(-1) as number);
    const rows = total / width;
    const program = new ProgramBuilder();
    const ids: ValueId[] = [];
    const operands = values.map((value) => {
      const size = sizeOf(value.dims);
      const last = value.dims.at(-1) ?? 1;
      const isVector = isConstant(value) && size === last && (size === 1 || size === width);
      if (isVector) {
        ids.push(this.form(value, [size]));
        return program.operand('weight', size);
      }
      // A column of its own for each row, or all numbers.
      const column = !flat && last === 1 && size === rows && value.dims.length === dims.length;
      const columns = column ? 1 : width;
      const whole = column ? value : this.expand(value, dims);
      ids.push(this.form(whole, [1, rows, columns]));
      return program.operand('sequence', columns);
    });
    const result = program.asRegister(write(program, operands, width));
    const attrs = program.finish({ steps: 1, batch: rows, reverse: false, seed: 0 });
    const at = outputOf.register(attrs, result.index);
    const want = Array.from({ length: at + 1 }, (_, i) => i === at);
    const outputs = this.builder.emit('program', [ABSENT, ...ids], attrs, this.subject, want);
    return this.live(outputs[at] as ValueId, dims, type);
  }

  broadcast(a: readonly number[], b: readonly number[]): readonly number[] {
    const rank = Math.max(a.length, b.length);
    return Array.from({ length: rank }, (_, i) => {
      const x = a[i - rank + a.length] ?? 1;
      const y = b[i - rank + b.length] ?? 1;
      if (x !== y && x !== 1 && y !== 1)
        this.fail('two shapes of which one goes into the other', `${shown(a)} and ${shown(b)}`);
      return x === 1 ? y : x;
    });
  }

  finish(): Plan {
    fuseStacks(this.builder);
    return this.builder.finish();
  }
}

/** The largest divisor of a size that is a good width of rows. */
function divisor(size: number): number {
  for (let width = Math.min(size, 256); width > 1; width--) if (size % width === 0) return width;
  return 1;
}

export function shown(dims: readonly number[]): string {
  return `[${dims.join(', ')}]`;
}

function moved(
  { type, data }: Constant,
  dims: readonly number[],
  places: Int32Array,
  block: number,
): Constant {
  const made = newData(type, places.length * block);
  for (let i = 0; i < places.length; i++)
    for (let k = 0; k < block; k++) made[i * block + k] = data[(places[i] as number) * block + k] as number;
  return { type, dims, data: made };
}

/** For every number of an array whose axes are permuted the place where it was. */
function permuted(dims: readonly number[], axes: readonly number[]): Int32Array {
  const strides = dims.map((_, i) => sizeOf(dims.slice(i + 1)));
  const out = axes.map((axis) => dims[axis] as number);
  return walkPlaces(
    out,
    axes.map((axis) => strides[axis] as number),
  );
}

/** For every number of a shape that an array is broadcast to the place in that array; both of one rank. */
export function broadcastPlaces(own: readonly number[], dims: readonly number[]): Int32Array {
  return walkPlaces(
    dims,
    own.map((n, i) => (n === 1 ? 0 : sizeOf(own.slice(i + 1)))),
  );
}

function walkPlaces(dims: readonly number[], strides: readonly number[]): Int32Array {
  const places = new Int32Array(sizeOf(dims));
  const at = dims.map(() => 0);
  let place = 0;
  for (let i = 0; i < places.length; i++) {
    places[i] = place;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      at[axis] = (at[axis] as number) + 1;
      place += strides[axis] as number;
      if ((at[axis] as number) < (dims[axis] as number)) break;
      place -= (dims[axis] as number) * (strides[axis] as number);
      at[axis] = 0;
    }
  }
  return places;
}

/** Attributes of a node with their defaults. */
export function int(node: GraphNode, name: string, usual: number): number {
  return node.attributes.has(name) ? (node.attributes.get(name)?.i ?? 0) : usual;
}

export function float(node: GraphNode, name: string, usual: number): number {
  return node.attributes.has(name) ? (node.attributes.get(name)?.f ?? 0) : usual;
}

export function word(node: GraphNode, name: string, usual: string): string {
  return node.attributes.has(name) ? (node.attributes.get(name)?.s ?? '') : usual;
}

export function ints(node: GraphNode, name: string): readonly number[] | undefined {
  return node.attributes.has(name) ? (node.attributes.get(name)?.ints ?? []) : undefined;
}
