import { DeepRnnError, refuse } from '../errors';
import { sizeOf, Tensor, type TensorData, type TensorDType } from '../tensors/tensor';
import { fromFloat16, integersFrom } from './numbers';

/*
 * safetensors: an 8-byte little-endian length, a JSON header { name: { dtype, shape, data_offsets }, __metadata__ }, then the arrays one
 * after another, little-endian, without gaps. Written and read here, because no kept npm package writes it.
 */

/** Arrays by name, and strings about them. */
export interface TensorFile {
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

const METADATA = '__metadata__';
const ALIGNMENT = 8;
/** The format's own limit on the header. */
const MAX_HEADER = 100_000_000;

const codes: Readonly<Record<TensorDType, string>> = { float32: 'F32', float64: 'F64', int32: 'I32' };
const bytesOf: Readonly<Record<string, number>> = {
  ...{ F64: 8, F32: 4, F16: 2, BF16: 2 },
  ...{ I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1, BOOL: 1 },
};

/**
 * The file as pieces to be written one after another: header first, then the arrays by rising name.
 * @throws ERR_VALUE for a header that `decodeTensors` would not read
 */
export function encodeTensors({ tensors, metadata }: TensorFile): Uint8Array[] {
  const names = [...tensors.keys()].sort();
  const header: Record<string, unknown> = { [METADATA]: metadata };
  let offset = 0;
  for (const name of names) {
    if (name === METADATA)
      throw new DeepRnnError('ERR_VALUE', `safetensors: '${METADATA}' cannot be the name of an array.`);
    const { dtype, shape, data } = tensors.get(name) as Tensor;
    header[name] = { dtype: codes[dtype], shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const json = Buffer.from(JSON.stringify(header), 'utf8');
  const length = Math.ceil(json.length / ALIGNMENT) * ALIGNMENT;
  if (length > MAX_HEADER)
    refuse(
      'ERR_VALUE',
      'safetensors',
      `a header (metadata, names and shapes) of at most ${MAX_HEADER} bytes`,
      `${length} bytes, of which the metadata are ${JSON.stringify(metadata).length}`,
    );
  const head = Buffer.alloc(8 + length, ' ');
  head.writeBigUInt64LE(BigInt(length), 0);
  json.copy(head, 8);
  return [head, ...names.map((name) => bytesOfArray((tensors.get(name) as Tensor).data))];
}

/** The array's bytes; a view, not a copy. All machines that Node 20 runs on with our addon are little-endian. */
export function bytesOfArray(data: TensorData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/**
 * Reads a whole file. Nothing in it is trusted: sizes are proven against the file before anything is allocated. The arrays may be
 * views on `bytes`.
 * @param path for messages
 * @throws ERR_FILE
 */
export function decodeTensors(bytes: Uint8Array, path: string): TensorFile {
  const fail = (reason: string): never => {
    throw new DeepRnnError('ERR_FILE', `'${path}' is not a usable safetensors file: ${reason}.`);
  };
  if (bytes.byteLength < 8) fail(`expected at least 8 bytes, got ${bytes.byteLength}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const announced = view.getBigUint64(0, true);
  if (announced > BigInt(Math.min(MAX_HEADER, bytes.byteLength - 8))) {
    fail(`its header says it is ${announced} bytes long, the file has ${bytes.byteLength - 8} after it`);
  }
  const length = Number(announced);
  const header = parseHeader(bytes.subarray(8, 8 + length), fail);
  const body = bytes.subarray(8 + length);

  const tensors = new Map<string, Tensor>();
  const spans: [begin: number, end: number, name: string][] = [];
  let metadata: Record<string, string> = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === METADATA) {
      metadata = readMetadata(entry, fail);
      continue;
    }
    const { dtype, shape, begin, end } = readEntry(name, entry, body.byteLength, fail);
    spans.push([begin, end, name]);
    const beyond = (place: number, value: number | bigint) =>
      fail(`array '${name}' holds ${value} at place ${place}, expected whole numbers up to 2^53`);
    tensors.set(name, new Tensor(readArray(dtype, body.subarray(begin, end), beyond), shape));
  }
  spans.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let at = 0;
  for (const [begin, end, name] of spans) {
    if (begin !== at) fail(`array '${name}' starts at byte ${begin}, expected ${at}`);
    at = end;
  }
  if (at !== body.byteLength) fail(`its arrays end at byte ${at}, the data at ${body.byteLength}`);
  return { tensors, metadata };
}

type Fail = (reason: string) => never;

function parseHeader(bytes: Uint8Array, fail: Fail): Record<string, unknown> {
  let text = '';
  let header: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    header = JSON.parse(text);
  } catch {
    fail('its header is not JSON');
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header))
    fail('its header is not a JSON object');
  return header as Record<string, unknown>;
}

function readMetadata(entry: unknown, fail: Fail): Record<string, string> {
  const isRecord = typeof entry === 'object' && entry !== null && !Array.isArray(entry);
  if (!isRecord || !Object.values(entry as object).every((v) => typeof v === 'string'))
    fail('its metadata are not strings');
  return { ...(entry as Record<string, string>) };
}

function readEntry(name: string, entry: unknown, size: number, fail: Fail) {
  const { dtype, shape, data_offsets } = (typeof entry === 'object' && entry !== null ? entry : {}) as Record<
    string,
    unknown
  >;
  const width =
    typeof dtype === 'string' && Object.hasOwn(bytesOf, dtype) ? (bytesOf[dtype] as number) : undefined;
  if (width === undefined)
    fail(
      `array '${name}' has dtype ${String(dtype).slice(0, 40)}, expected one of ${Object.keys(bytesOf).join(', ')}`,
    );
  const isShape =
    Array.isArray(shape) && shape.length <= 32 && shape.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!isShape || !Number.isSafeInteger(sizeOf(shape as number[])))
    fail(`array '${name}' has no possible shape`);
  const [begin, end] = Array.isArray(data_offsets) && data_offsets.length === 2 ? data_offsets : [];
  const inside =
    Number.isSafeInteger(begin) && Number.isSafeInteger(end) && begin >= 0 && begin <= end && end <= size;
  if (!inside) fail(`array '${name}' lies outside the file's data of ${size} bytes`);
  const wanted = sizeOf(shape as number[]) * (width as number);
  if (end - begin !== wanted) fail(`array '${name}' has ${end - begin} bytes, its shape needs ${wanted}`);
  return { dtype: dtype as string, shape: shape as number[], begin: begin as number, end: end as number };
}

const integerArrays = {
  ...{ I64: BigInt64Array, I16: Int16Array, I8: Int8Array },
  ...{ U64: BigUint64Array, U32: Uint32Array, U16: Uint16Array, U8: Uint8Array, BOOL: Uint8Array },
} as const;

/**
 * A view on the file's bytes, or a copy where they are not aligned. Half precision becomes float32; whole numbers become int32, or float64
 * where one does not fit.
 */
function readArray(
  dtype: string,
  bytes: Uint8Array,
  beyond: (place: number, value: number | bigint) => never,
): TensorData {
  const width = bytesOf[dtype] as number;
  const { buffer, byteOffset } = bytes.byteOffset % width === 0 ? bytes : bytes.slice();
  const count = bytes.byteLength / width;
  if (dtype === 'F64') return new Float64Array(buffer, byteOffset, count);
  if (dtype === 'F32') return new Float32Array(buffer, byteOffset, count);
  if (dtype === 'I32') return new Int32Array(buffer, byteOffset, count);
  if (dtype in integerArrays) {
    const Integers = integerArrays[dtype as keyof typeof integerArrays];
    return integersFrom(new Integers(buffer as ArrayBuffer, byteOffset, count), beyond);
  }
  const halves = new Uint16Array(buffer, byteOffset, count);
  return dtype === 'BF16' ? fromBfloat16(halves) : Float32Array.from(halves, fromFloat16);
}

/** bfloat16 is the upper half of a float32. */
function fromBfloat16(halves: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(halves, (h) => h << 16).buffer);
}
