/*
 * LZ4, which Feather and Arrow files are compressed with by default, and some Parquet files. The packages on npm for it are native, or read blocks that
 * lean on the ones before them wrongly, or trust what they read.
 * Formats: https://github.com/lz4/lz4/tree/dev/doc (block format 1.5, frame format 1.6).
 */

const FRAME = 0x184d2204;
/** The shortest match. */
const SHORTEST = 4;

const fail = (reason: string): never => {
  throw new Error(`it is not LZ4: ${reason}`);
};

/** Bytes that are written one after another, no more than a bound. */
class Output {
  bytes: Uint8Array;
  at = 0;

  constructor(
    size: number,
    private readonly most: number,
  ) {
    this.bytes = new Uint8Array(Math.min(size, most));
  }

  /** Makes room for so many more. */
  reserve(count: number): void {
    const end = this.at + count;
    if (end > this.most) fail(`it unpacks to more than ${this.most} bytes`);
    if (end <= this.bytes.length) return;
    const larger = new Uint8Array(Math.min(this.most, Math.max(end, 2 * this.bytes.length)));
    larger.set(this.bytes.subarray(0, this.at));
    this.bytes = larger;
  }

  append(piece: Uint8Array): void {
    this.reserve(piece.length);
    this.bytes.set(piece, this.at);
    this.at += piece.length;
  }

  /** Appends bytes from so far back, which may reach into those that it appends. */
  repeat(back: number, count: number): void {
    if (back === 0 || back > this.at) fail('it repeats what comes before its beginning');
    this.reserve(count);
    const { bytes, at } = this;
    if (back >= count) bytes.copyWithin(at, at - back, at - back + count);
    else for (let i = 0; i < count; i++) bytes[at + i] = bytes[at + i - back] as number;
    this.at += count;
  }

  whole(): Uint8Array {
    return this.bytes.subarray(0, this.at);
  }
}

/** Sequences of literal bytes and repeats of what came before; the last one has literals only. */
function appendBlock(block: Uint8Array, output: Output): void {
  let at = 0;
  const next = (): number => (at < block.length ? (block[at++] as number) : fail('it ends too early'));
  const lengthFrom = (nibble: number): number => {
    let length = nibble;
    if (nibble < 15) return length;
    for (let byte = 255; byte === 255; length += byte) byte = next();
    return length;
  };
  while (at < block.length) {
    const token = next();
    const literals = lengthFrom(token >> 4);
    if (at + literals > block.length) fail('it ends too early');
    output.append(block.subarray(at, at + literals));
    at += literals;
    if (at === block.length) return;
    const back = next() | (next() << 8);
    output.repeat(back, lengthFrom(token & 15) + SHORTEST);
  }
}

/** A block by itself, of a length that is known. @throws for what is none, or has another length */
export function unpackLz4Block(block: Uint8Array, length: number): Uint8Array {
  const output = new Output(length, length);
  appendBlock(block, output);
  if (output.at !== length) fail(`it unpacks to ${output.at} bytes, expected ${length}`);
  return output.bytes;
}

/** Blocks, each behind two 32-bit numbers of the other byte order: its length unpacked and packed. Hadoop writes them so. */
function unpackHadoop(bytes: Uint8Array, length: number): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const output = new Output(length, length);
  for (let at = 0; at < bytes.length; ) {
    if (at + 8 > bytes.length) fail('it ends too early');
    const [wanted, packed] = [view.getUint32(at), view.getUint32(at + 4)];
    at += 8;
    if (at + packed > bytes.length || wanted > length - output.at) fail('a block is longer than it says');
    output.append(unpackLz4Block(bytes.subarray(at, at + packed), wanted));
    at += packed;
  }
  if (output.at !== length) fail(`it unpacks to ${output.at} bytes, expected ${length}`);
  return output.bytes;
}

/** What Parquet calls LZ4: framed as Hadoop does, or by some writers one block without a frame. */
export function unpackParquetLz4(bytes: Uint8Array, length: number): Uint8Array {
  try {
    return unpackHadoop(bytes, length);
  } catch {
    return unpackLz4Block(bytes, length);
  }
}

/** A frame of blocks. Its checksums are not looked at. @param most bytes that it may unpack to */
export function unpackLz4Frame(bytes: Uint8Array, most: number): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 11 || view.getUint32(0, true) !== FRAME) fail('it does not begin as a frame does');
  const flags = bytes[4] as number;
  if (flags >> 6 !== 1) fail(`its frame has version ${flags >> 6}, expected 1`);
  if (flags & 1) fail('it needs a dictionary');
  const [hasChecksums, hasSize] = [(flags & 0x10) !== 0, (flags & 8) !== 0];
  // Blocks may lean on those before them, so that all are written to one place.
  const output = new Output(4 * bytes.length, most);
  for (let at = 7 + (hasSize ? 8 : 0); ; ) {
    if (at + 4 > bytes.length) fail('it ends too early');
    const size = view.getUint32(at, true);
    at += 4;
    if (size === 0) return output.whole();
    const length = size & 0x7fffffff;
    if (at + length > bytes.length) fail('it ends too early');
    const block = bytes.subarray(at, at + length);
    if (size >>> 31) output.append(block);
    else appendBlock(block, output);
    at += length + (hasChecksums ? 4 : 0);
  }
}
