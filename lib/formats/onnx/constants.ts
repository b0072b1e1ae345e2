import { readFile, realpath } from 'node:fs/promises';
import path from 'node:path';
import { DeepRnnError } from '../../errors';
import { sizeOf } from '../../tensors/tensor';
import { type ElementType, elementName, elementTypes, type TensorMessage } from './messages';
import { readNumbers } from './wire';

/** Types of which constants may be. Numbers of all but float32 are held in float64, int64 drawn to ±(2^53 − 1). */
const constantTypes = [
  'float32',
  'float64',
  'float16',
  'bool',
  'uint8',
  'int8',
  'uint16',
  'int16',
  'int32',
  'uint32',
  'int64',
] as const;
export type ConstantType = (typeof constantTypes)[number];

/** An array that is known before a plan runs: a weight, or what shapes are worked out with. */
export interface Constant {
  readonly type: ConstantType;
  readonly dims: readonly number[];
  readonly data: Float32Array | Float64Array;
}

/** The most numbers of an array that shapes make (`ConstantOfShape`, `Expand`, `Range`) rather than the file. */
export const MOST_MADE = 2 ** 24;

export function isFloat(type: ElementType): boolean {
  return type === 'float32' || type === 'float64' || type === 'float16';
}

/** Zeros of a type. */
export function newData(type: ConstantType, size: number): Float32Array | Float64Array {
  return type === 'float32' ? new Float32Array(size) : new Float64Array(size);
}

export function constantOf(type: ConstantType, dims: readonly number[], values: ArrayLike<number>): Constant {
  const data = newData(type, values.length);
  data.set(values);
  return { type, dims, data };
}

const widths: Readonly<Record<ConstantType, number>> = {
  float32: 4,
  float64: 8,
  float16: 2,
  bool: 1,
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
};

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 0x1f, bits & 0x3ff];
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function readRaw(bytes: Uint8Array, type: ConstantType, data: Float32Array | Float64Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read: Readonly<Record<ConstantType, (at: number) => number>> = {
    float32: (at) => view.getFloat32(at, true),
    float64: (at) => view.getFloat64(at, true),
    float16: (at) => half(view.getUint16(at, true)),
    bool: (at) => Number(view.getUint8(at) !== 0),
    uint8: (at) => view.getUint8(at),
    int8: (at) => view.getInt8(at),
    uint16: (at) => view.getUint16(at, true),
    int16: (at) => view.getInt16(at, true),
    int32: (at) => view.getInt32(at, true),
    uint32: (at) => view.getUint32(at, true),
    int64: (at) =>
      Math.min(
        Math.max(Number(view.getBigInt64(at, true)), -Number.MAX_SAFE_INTEGER),
        Number.MAX_SAFE_INTEGER,
      ),
  };
  const [one, width] = [read[type], widths[type]];
  for (let i = 0; i < data.length; i++) data[i] = one(i * width);
}

/** Numbers in the field that is for their type, where they do not lie in `rawData`. */
function readTyped(tensor: TensorMessage, type: ConstantType): number[] {
  const all = (pieces: Uint8Array[] | undefined, kind: 'int' | 'float' | 'double') =>
    (pieces ?? []).flatMap((piece) => readNumbers(piece, kind));
  if (type === 'float32') return all(tensor.floatData, 'float');
  if (type === 'float64') return all(tensor.doubleData, 'double');
  if (type === 'int64') return all(tensor.int64Data, 'int');
  const numbers = all(tensor.int32Data, 'int');
  return type === 'float16' ? numbers.map(half) : numbers;
}

/** The type of a tensor's elements. @throws Error for one that constants cannot be of */
export function typeOfTensor(tensor: TensorMessage): ConstantType {
  const type = constantTypes.find((known) => elementTypes[known] === tensor.dataType);
  if (!type) throw new Error(`it is of ${elementName(tensor.dataType)}, which is not read`);
  return type;
}

/**
 * Proves what can be proven of a tensor without reading its numbers: its type, its shape, and that there are as many bytes.
 * @throws Error that says what is wrong with it
 */
export function proveTensor(tensor: TensorMessage): void {
  const type = typeOfTensor(tensor);
  const dims = tensor.dims ?? [];
  if (tensor.segment) throw new Error('it is in segments');
  if (dims.length > 16 || dims.some((n) => n < 0))
    throw new Error(`its shape is [${dims.slice(0, 17).join(', ')}]`);
  const size = sizeOf(dims);
  if (!Number.isSafeInteger(size * widths[type])) throw new Error(`its shape is [${dims.join(', ')}]`);
  if (tensor.dataLocation === 1) return;
  const { rawData } = tensor;
  if (rawData) {
    if (rawData.length !== size * widths[type])
      throw new Error(`it has ${rawData.length} bytes for the shape [${dims.join(', ')}] of ${type}`);
    return;
  }
  const count = countTyped(tensor, type);
  if (count !== size)
    throw new Error(`it has ${count} numbers for the shape [${dims.join(', ')}] of ${type}`);
}

/** How many numbers lie in the field that is for their type. @throws Error for numbers that are cut off or too long */
function countTyped(tensor: TensorMessage, type: ConstantType): number {
  const width = { float32: 4, float64: 8 }[type as string];
  const pieces =
    { float32: tensor.floatData, float64: tensor.doubleData, int64: tensor.int64Data }[type as string] ??
    (width === undefined && type !== 'int64' ? tensor.int32Data : undefined) ??
    [];
  let count = 0;
  for (const piece of pieces) {
    if (width !== undefined) {
      if (piece.length % width !== 0) throw new Error('its last number is cut off');
      count += piece.length / width;
      continue;
    }
    let bytes = 0;
    for (const byte of piece) {
      bytes++;
      if (bytes > 10) throw new Error('it has a number of more than ten bytes');
      if (byte >= 0x80) continue;
      count++;
      bytes = 0;
    }
    if (bytes > 0) throw new Error('its last number is cut off');
  }
  return count;
}

/** A proven tensor's numbers. */
export function readTensor(tensor: TensorMessage): Constant {
  const type = typeOfTensor(tensor);
  const dims = tensor.dims ?? [];
  const size = sizeOf(dims);
  if (tensor.rawData) {
    const data = newData(type, size);
    // Node runs on machines alone that have numbers as files have them, the least significant byte first.
    if (type === 'float32') new Uint8Array(data.buffer).set(tensor.rawData);
    else readRaw(tensor.rawData, type, data);
    return { type, dims, data };
  }
  return constantOf(type, dims, readTyped(tensor, type));
}

/**
 * Brings the bytes of tensors that lie in files beside the model into `rawData`.
 * @throws ERR_FILE for a place outside the model's folder, also behind links, and for bytes that the file has not
 */
export async function readExternal(model: string, tensors: readonly TensorMessage[]): Promise<void> {
  const files = new Map<string, Uint8Array>();
  for (const tensor of tensors) {
    if (tensor.dataLocation !== 1) continue;
    const fail = (reason: string): never => {
      throw new DeepRnnError('ERR_FILE', `'${model}': initializer '${tensor.name ?? ''}': ${reason}.`);
    };
    const entries = new Map((tensor.externalData ?? []).map(({ key, value }) => [key, value ?? '']));
    const location = entries.get('location') ?? '';
    // No way out of the folder, on any system.
    if (!/^[^/\\:\0]+$/.test(location) || location === '.' || location === '..')
      fail(`its data are said to lie in '${location.slice(0, 100)}', which is no file beside the model`);
    let bytes = files.get(location);
    if (!bytes) {
      try {
        const folder = await realpath(path.dirname(path.resolve(model)));
        const file = await realpath(path.join(folder, location));
        if (path.dirname(file) !== folder) fail(`its data '${location}' lie behind a link out of the folder`);
        bytes = await readFile(file);
      } catch (error) {
        if (error instanceof DeepRnnError) throw error;
        throw new DeepRnnError(
          'ERR_FILE',
          `'${model}': initializer '${tensor.name ?? ''}': its data in '${location}' could not be read.`,
          { cause: error },
        );
      }
      files.set(location, bytes);
    }
    const number = (key: string, usual: number) => {
      const text = entries.get(key);
      const n = text === undefined ? usual : Number(text);
      return Number.isSafeInteger(n) && n >= 0 ? n : fail(`its ${key} is '${text?.slice(0, 40)}'`);
    };
    const whole = sizeOf(tensor.dims ?? []) * widths[typeOfTensor(tensor)];
    const begin = number('offset', 0);
    const length = number('length', whole);
    if (length !== whole || begin + length > bytes.length)
      fail(
        `it needs ${whole} bytes, '${location}' has ${Math.max(0, Math.min(length, bytes.length - begin))} for it`,
      );
    tensor.rawData = bytes.subarray(begin, begin + length);
  }
}
