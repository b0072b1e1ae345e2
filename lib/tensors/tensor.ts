import { DeepRnnError, quoted, refuse, show } from '../errors';

export type TensorDType = 'float32' | 'float64' | 'int32';
export type TensorData = Float32Array | Float64Array | Int32Array;
export type Shape = readonly number[];
/** Numbers in arrays in arrays; the innermost may be typed arrays. */
export type NestedArray = number | NumericView | readonly NestedArray[];

/** Typed arrays of numbers. */
export type NumericView = TensorData | Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array;

/** Anything a tensor can be made from. */
export type TensorLike = Tensor | NestedArray;

/** A dense, row-major array on the JavaScript side: a typed array and its shape. Batch-major (`[N, T, D]`) for sequences. */
export class Tensor {
  readonly shape: Shape;
  readonly data: TensorData;

  /** @throws ERR_SHAPE when `data.length` is not the product of `shape`. */
  constructor(data: TensorData, shape: Shape) {
    checkShape(shape, 'tensor');
    const size = sizeOf(shape);
    if (data.length !== size) {
      refuse('ERR_SHAPE', 'tensor', `${size} values for shape ${show([...shape])}`, `${data.length} values`);
    }
    this.data = data;
    this.shape = Object.freeze([...shape]);
  }

  get dtype(): TensorDType {
    if (this.data instanceof Float32Array) return 'float32';
    return this.data instanceof Int32Array ? 'int32' : 'float64';
  }

  get rank(): number {
    return this.shape.length;
  }

  /** Number of values. */
  get size(): number {
    return this.data.length;
  }

  /** The same values (not copied) under another shape of equal size. */
  reshape(shape: Shape): Tensor {
    return new Tensor(this.data, shape);
  }

  /** Rows `begin` (inclusive) to `end` (exclusive) of the first axis, as a view on the same memory. */
  rows(begin: number, end = this.shape[0] ?? 0): Tensor {
    const [count = 0, ...rest] = this.shape;
    if (!(Number.isInteger(begin) && Number.isInteger(end) && begin >= 0 && begin <= end && end <= count)) {
      refuse('ERR_VALUE', 'tensor.rows', `0 <= begin <= end <= ${count}`, `${begin}, ${end}`);
    }
    const width = sizeOf(rest);
    return new Tensor(this.data.subarray(begin * width, end * width), [end - begin, ...rest]);
  }

  /** The values as nested arrays. A scalar (rank 0) gives a number. */
  toArray(): PlainArray {
    const build = (axis: number, offset: number): PlainArray => {
      if (axis === this.shape.length) return this.data[offset] as number;
      const stride = sizeOf(this.shape.slice(axis + 1));
      return Array.from({ length: this.shape[axis] as number }, (_, i) =>
        build(axis + 1, offset + i * stride),
      );
    };
    return build(0, 0);
  }

  toString(): string {
    return `Tensor(${this.dtype} [${this.shape.join(', ')}])`;
  }
}

/** What {@link Tensor.toArray} gives. */
export type PlainArray = number | readonly PlainArray[];

/** The place of element `flat` of an array, as messages write it: `[2, 0, 1]`. */
export function placeOf(flat: number, shape: Shape): string {
  const place = shape.map((n, axis) => Math.floor(flat / sizeOf(shape.slice(axis + 1))) % n);
  return `[${place.join(', ')}]`;
}

/** Number of values in an array of this shape. */
export function sizeOf(shape: Shape): number {
  return shape.reduce((product, n) => product * n, 1);
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}

/** @throws ERR_SHAPE unless every entry is a non-negative safe integer. */
export function checkShape(shape: Shape, subject: string): void {
  if (
    !Array.isArray(shape) ||
    !shape.every((n) => Number.isSafeInteger(n) && n >= 0) ||
    !Number.isSafeInteger(sizeOf(shape))
  ) {
    refuse('ERR_SHAPE', subject, 'a shape of non-negative integers', shape);
  }
}

const constructors = { float32: Float32Array, float64: Float64Array, int32: Int32Array } as const;

/** Converts values to the typed array of `dtype`; without copying when they already are one. */
export function asTyped(values: ArrayLike<number>, dtype: TensorDType): TensorData {
  const Ctor = constructors[dtype];
  return values instanceof Ctor ? values : Ctor.from(values);
}

/**
 * Makes a tensor from a typed array and a shape, or from nested arrays (the shape is read off them).
 *
 * `dtype` defaults to that of the typed array (Int32Array → int32, Float64Array → float64, all others → float32).
 * @throws ERR_SHAPE for ragged nested arrays (with the path of the first odd one) or a size that does not fit the shape.
 * @throws ERR_VALUE for entries that are not numbers, or fractions when dtype is int32.
 */
export function tensor(values: TensorLike, shape?: Shape, dtype?: TensorDType): Tensor {
  return namedTensor('tensor', values, shape, dtype);
}

/** The same for a part of a call, which messages then name. */
export function namedTensor(subject: string, values: TensorLike, shape?: Shape, dtype?: TensorDType): Tensor {
  if (values instanceof Tensor) {
    const { data } = values;
    const converted = dtype && dtype !== values.dtype ? convert(data, dtype, subject, values.shape) : data;
    return new Tensor(converted, shape ?? values.shape);
  }
  if (isNumericView(values)) {
    const natural =
      values instanceof Int32Array ? 'int32' : values instanceof Float64Array ? 'float64' : 'float32';
    const own = shape ?? [values.length];
    return new Tensor(convert(values, dtype ?? natural, subject, own), own);
  }
  if (typeof values !== 'number' && !Array.isArray(values)) {
    refuse('ERR_VALUE', subject, 'a typed array, a Tensor or nested arrays', quoted(values));
  }
  const nested = values as NestedArray;
  const found = shapeOfNested(nested, subject);
  const wanted = dtype ?? 'float32';
  // Whole numbers are proven before they are narrowed.
  const flat = wanted === 'float32' ? new Float32Array(sizeOf(found)) : new Float64Array(sizeOf(found));
  fillFromNested(nested, found, flat, subject);
  return new Tensor(convert(flat, wanted, subject, found), shape ?? found);
}

/** A typed array of numbers: no DataView, and no BigInts. */
function isNumericView(values: unknown): values is NumericView {
  return (
    ArrayBuffer.isView(values) &&
    !(values instanceof DataView) &&
    !(values instanceof BigInt64Array || values instanceof BigUint64Array)
  );
}

const isArray = (values: unknown): values is ArrayLike<NestedArray> =>
  Array.isArray(values) || isNumericView(values);

function convert(values: ArrayLike<number>, dtype: TensorDType, subject: string, shape: Shape): TensorData {
  if (dtype === 'int32' && !(values instanceof Int32Array)) {
    for (let i = 0; i < values.length; i++) {
      const v = values[i] as number;
      if (!Number.isInteger(v) || v < -2147483648 || v > 2147483647) {
        const wanted = Number.isInteger(v) ? 'numbers that fit dtype int32' : 'whole numbers for dtype int32';
        refuse('ERR_VALUE', subject, wanted, `${v} at ${placeOf(i, shape)}`);
      }
    }
  }
  return asTyped(values, dtype);
}

const MOST_AXES = 16;

function shapeOfNested(values: NestedArray, subject: string): number[] {
  const shape: number[] = [];
  for (let v: NestedArray | undefined = values; isArray(v); v = v[0]) {
    // An array that holds itself would never end.
    if (shape.length === MOST_AXES)
      refuse('ERR_SHAPE', subject, `arrays nested at most ${MOST_AXES} deep`, 'a deeper nesting');
    shape.push(v.length);
  }
  return shape;
}

/** Copies a row up to the first entry that is no number; gives how many there were. */
function copyNumbers(row: ArrayLike<NestedArray>, out: Float32Array | Float64Array, at: number): number {
  for (let i = 0; i < row.length; i++) {
    const v = row[i];
    if (typeof v !== 'number') return i;
    out[at + i] = v;
  }
  return row.length;
}

/** Fills `out` in order. Rows of numbers are copied in a plain loop: that is where the time goes. */
function fillFromNested(
  values: NestedArray,
  shape: Shape,
  out: Float32Array | Float64Array,
  subject: string,
): void {
  let at = 0;
  const path: number[] = [];
  const where = () => (path.length ? `[${path.join('][')}]` : 'the top');
  const ragged = (wanted: string, got: string): never => {
    const hint = wanted === 'a number' ? '' : ' Pad sequences to one length with padSequences.';
    throw new DeepRnnError(
      'ERR_SHAPE',
      `${subject}: ragged input: expected ${wanted} at ${where()}, got ${got}.${hint}`,
    );
  };
  const refuseLeaf = (v: unknown, isHole: boolean): never => {
    if (isArray(v)) return ragged('a number', `an array of length ${v.length}`);
    if (isHole) return ragged('a number', 'nothing (a hole in the array)');
    return refuse('ERR_VALUE', subject, `a number at ${where()}`, quoted(v));
  };
  const walk = (v: NestedArray | undefined, axis: number): void => {
    if (axis === shape.length) {
      if (typeof v !== 'number') refuseLeaf(v, false);
      out[at++] = v as number;
      return;
    }
    if (!isArray(v) || v.length !== shape[axis]) {
      const got = isArray(v)
        ? `length ${v.length}`
        : v === undefined
          ? 'nothing (a hole in the array)'
          : show(quoted(v));
      ragged(`an array of length ${shape[axis]}`, got);
    }
    const row = v as ArrayLike<NestedArray>;
    const isLast = axis === shape.length - 1;
    const numbers = isLast ? copyNumbers(row, out, at) : 0;
    at += numbers;
    // Not forEach, which skips holes: what stands behind one would move up.
    for (let i = numbers; i < row.length; i++) {
      path.push(i);
      if (isLast) refuseLeaf(row[i], !(i in row));
      walk(row[i], axis + 1);
      path.pop();
    }
  };
  walk(values, 0);
}
