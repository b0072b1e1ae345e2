import { readConfig, requirePath } from '../config';
import { DeepRnnError, oneOf, quoted, refuse } from '../errors';
import {
  namedTensor,
  placeOf,
  type Shape,
  sizeOf,
  Tensor,
  type TensorData,
  type TensorLike,
} from '../tensors/tensor';
import { atomicWrite } from './atomicWrite';
import { readBytes } from './modelFile';
import { fromFloat16, integersFrom, toFloat16 } from './numbers';

/*
 * NumPy's array files: the bytes 93 'NUMPY', a version, the length of a header (16 bits in version 1, 32 in 2 and 3), a Python dict
 * { 'descr', 'fortran_order', 'shape' } and the numbers. Read and written here: the packages on npm leave out byte orders, Fortran order or
 * writing.
 */

/** Kinds of numbers that are written. */
const written = {
  float32: '<f4',
  float64: '<f8',
  int32: '<i4',
  int64: '<i8',
  uint8: '|u1',
  bool: '|b1',
  float16: '<f2',
} as const;
export type NpyDType = keyof typeof written;

export interface NpyOptions {
  /** What the numbers are in the file. Default: as they are in the tensor. */
  readonly dtype?: NpyDType;
}

/**
 * A NumPy array (`numpy.save`): float16, 32 and 64, whole numbers of any width and bool, in either byte order, C or Fortran order. float16 becomes
 * float32; whole numbers become int32, or float64 where one does not fit.
 * @throws ERR_FILE for what is no such file, and for whole numbers beyond 2^53
 */
export async function readNpy(path: string): Promise<Tensor> {
  requirePath(path, 'readNpy: path');
  return decodeNpy(await readBytes(path), `'${path}'`);
}

/** Writes a tensor, or what one can be made of, as a NumPy array, atomically. @throws ERR_VALUE for numbers that are none of `dtype` */
export async function writeNpy(path: string, values: TensorLike, options: NpyOptions = {}): Promise<void> {
  requirePath(path, 'writeNpy: path');
  const dtype = dtypeOption(options, 'writeNpy');
  await atomicWrite(path, encodeNpy(namedTensor('writeNpy', values), dtype, 'writeNpy'));
}

function dtypeOption(options: NpyOptions, caller: string): NpyDType | undefined {
  const { dtype } = readConfig(options, ['dtype'], caller);
  if (dtype !== undefined && !Object.hasOwn(written, dtype as string))
    refuse('ERR_VALUE', `${caller}: dtype`, oneOf(Object.keys(written)), quoted(dtype));
  return dtype as NpyDType | undefined;
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
/** NumPy's own limit. */
const MOST_AXES = 64;
/** NumPy's own limit too: of a longer header it would take seconds to find out that it is none. */
const MOST_HEADER = 10_000;
/** Numbers begin at multiples of it. */
const ALIGNMENT = 64;

const HEADER =
  /^\{\s*'descr'\s*:\s*'([^']*)'\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,\s*'shape'\s*:\s*\(([\dL,\s]*)\)\s*,?\s*\}\s*$/;

/**
 * Nothing in the file is trusted: the shape is proven against its length before anything is allocated.
 * @param where what messages call it
 */
export function decodeNpy(bytes: Uint8Array, where: string): Tensor {
  const fail = (reason: string): never => {
    throw new DeepRnnError('ERR_FILE', `${where} is not a usable NumPy array: ${reason}.`);
  };
  if (bytes.length < 10 || MAGIC.some((byte, i) => bytes[i] !== byte))
    fail('it does not begin with \\x93NUMPY');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes[6] as number;
  if (version < 1 || version > 3) fail(`its version is ${version}, known are 1 to 3`);
  const begin = version === 1 ? 10 : 12;
  const length = version === 1 || bytes.length < 12 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (begin + length > bytes.length) fail(`its header says it is ${length} bytes long, the file ends before`);
  if (length > MOST_HEADER) fail(`its header has ${length} bytes, expected ${MOST_HEADER} at most`);
  const header = Buffer.from(bytes.buffer, bytes.byteOffset + begin, length).toString('latin1');
  const [, descr = '', order = '', axes = ''] = HEADER.exec(header) ?? [];
  if (descr === '' && /'descr'\s*:\s*\[/.test(header)) fail('its elements are records, expected numbers');
  if (descr === '') fail('its header is not { descr, fortran_order, shape }');
  const shape = axes
    .split(',')
    .map((axis) => axis.trim().replace(/L$/, ''))
    .filter((axis, i, all) => axis !== '' || i + 1 < all.length)
    .map((axis) => (/^\d+$/.test(axis) ? Number(axis) : Number.NaN));
  const isShape = shape.length <= MOST_AXES && shape.every(Number.isSafeInteger);
  if (!isShape || !Number.isSafeInteger(sizeOf(shape)))
    fail(`its shape (${axes.trim().slice(0, 60)}) is none`);
  const [, byteOrder = '', kind = '', digits = ''] = /^([<>|=])([a-zA-Z])(\d+)$/.exec(descr) ?? [];
  const width = Number(digits);
  if (/^[<>|=]?O/.test(descr)) fail('its elements are pickled Python objects, expected numbers');
  const reader = readers[`${kind}${digits}`];
  if (!reader)
    fail(`its elements are '${descr.slice(0, 40)}', expected f2, f4, f8, i1 to i8, u1 to u8 or b1`);
  const wanted = sizeOf(shape) * width;
  const body = bytes.subarray(begin + length);
  if (body.length !== wanted) fail(`it has ${body.length} bytes of numbers, its shape needs ${wanted}`);
  const odd = kind === 'b' ? body.findIndex((byte) => byte > 1) : -1;
  if (odd >= 0) fail(`it holds ${body[odd]} at place ${odd}, expected 0 and 1 of booleans`);
  const data = (reader as Reader)(inOwnOrder(body, width, byteOrder === '>'), (place, value) =>
    fail(`it holds ${value} at place ${place}, expected whole numbers up to 2^53`),
  );
  return new Tensor(order === 'True' ? fromFortranOrder(data, shape) : data, shape);
}

type Beyond = (place: number, value: number | bigint) => never;
type Reader = (buffer: ArrayBuffer, beyond: Beyond) => TensorData;
const whole =
  (Integers: new (buffer: ArrayBuffer) => ArrayLike<number | bigint>): Reader =>
  (buffer, beyond) =>
    integersFrom(new Integers(buffer), beyond);

const readers: Readonly<Partial<Record<string, Reader>>> = {
  f2: (buffer) => Float32Array.from(new Uint16Array(buffer), fromFloat16),
  f4: (buffer) => new Float32Array(buffer),
  f8: (buffer) => new Float64Array(buffer),
  b1: whole(Uint8Array),
  i1: whole(Int8Array),
  i2: whole(Int16Array),
  i4: (buffer) => new Int32Array(buffer),
  i8: whole(BigInt64Array),
  u1: whole(Uint8Array),
  u2: whole(Uint16Array),
  u4: whole(Uint32Array),
  u8: whole(BigUint64Array),
};

/** A copy in the byte order of this machine, which is little-endian. */
function inOwnOrder(bytes: Uint8Array, width: number, turned: boolean): ArrayBuffer {
  const copy = Buffer.from(new Uint8Array(bytes).buffer);
  if (turned && width === 2) copy.swap16();
  if (turned && width === 4) copy.swap32();
  if (turned && width === 8) copy.swap64();
  return copy.buffer as ArrayBuffer;
}

/** Numbers of which the first axis varies fastest, in row-major order. */
function fromFortranOrder(data: TensorData, shape: Shape): TensorData {
  const out = data.slice();
  const place = shape.map(() => 0);
  const strides = shape.map((_, axis) => sizeOf(shape.slice(0, axis)));
  for (let i = 0, from = 0; i < out.length; i++) {
    out[i] = data[from] as number;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis] as number;
      place[axis] = (place[axis] as number) + 1;
      if ((place[axis] as number) < (shape[axis] as number)) break;
      from -= (strides[axis] as number) * (shape[axis] as number);
      place[axis] = 0;
    }
  }
  return out;
}

/** The file's pieces: header and numbers. */
export function encodeNpy(
  values: Tensor,
  dtype: NpyDType = values.dtype,
  subject = 'writeNpy',
): Uint8Array[] {
  const { shape } = values;
  const axes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const dict = `{'descr': '${written[dtype]}', 'fortran_order': False, 'shape': (${axes}), }`;
  const length = Math.ceil((10 + dict.length + 1) / ALIGNMENT) * ALIGNMENT - 10;
  const head = Buffer.alloc(10 + length, ' ');
  head.set([...MAGIC, 1, 0]);
  head.writeUInt16LE(length, 8);
  head.write(dict, 10, 'latin1');
  head[head.length - 1] = 0x0a;
  const { buffer, byteOffset, byteLength } = numbersAs(values, dtype, subject);
  return [head, new Uint8Array(buffer, byteOffset, byteLength)];
}

function numbersAs({ data, shape, dtype: own }: Tensor, dtype: NpyDType, subject: string): ArrayBufferView {
  if (dtype === own) return data;
  if (dtype === 'float32') return Float32Array.from(data);
  if (dtype === 'float64') return Float64Array.from(data);
  if (dtype === 'float16') return Uint16Array.from(data, toFloat16);
  const [least, most] = ranges[dtype];
  const proven = (v: number, i: number) =>
    Number.isInteger(v) && v >= least && v <= most
      ? v
      : refuse(
          'ERR_VALUE',
          subject,
          `whole numbers from ${least} to ${most} for ${dtype}`,
          `${v} at ${placeOf(i, shape)}`,
        );
  if (dtype === 'int64') return BigInt64Array.from(Array.from(data, (v, i) => BigInt(proven(v, i))));
  return dtype === 'int32' ? Int32Array.from(data, proven) : Uint8Array.from(data, proven);
}

const ranges = {
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint8: [0, 255],
  bool: [0, 1],
} as const;
