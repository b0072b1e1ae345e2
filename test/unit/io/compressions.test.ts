import { unpackLz4Block, unpackLz4Frame, unpackParquetLz4 } from '../../../lib/io/lz4';
import { zstdUnpacker } from '../../../lib/io/zstd';

const ascii = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');
const bytes = (...parts: (number | string)[]) =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.of(part))));

// "abab…": two literals and a repeat of two back, eight long, then "xyz" alone.
const block = bytes(0x24, 'ab', 2, 0, 0x30, 'xyz');
const text = 'abababababxyz';
const frame = (flags: number, ...blocks: Buffer[]) => {
  const sized = blocks.flatMap((b) => {
    const size = Buffer.alloc(4);
    size.writeUInt32LE(b.length);
    return [size, b];
  });
  return Buffer.concat([bytes(0x04, 0x22, 0x4d, 0x18, flags, 0x40, 0), ...sized, Buffer.alloc(4)]);
};

describe('LZ4', () => {
  test('a block, alone and as Hadoop frames it', () => {
    expect(ascii(unpackLz4Block(block, 13))).toBe(text);
    expect(ascii(unpackParquetLz4(block, 13))).toBe(text);
    const framed = Buffer.concat([Buffer.of(0, 0, 0, 13, 0, 0, 0, block.length), block]);
    expect(ascii(unpackParquetLz4(Buffer.concat([framed, framed]), 26))).toBe(text + text);
    expect(unpackLz4Block(Buffer.alloc(0), 0)).toHaveLength(0);
  });

  test('a length in several bytes', () => {
    const long = 'x'.repeat(15 + 255 + 3);
    expect(ascii(unpackLz4Block(bytes(0xf0, 255, 3, long), long.length))).toBe(long);
  });

  test('a frame, whose blocks may repeat what is in those before', () => {
    expect(ascii(unpackLz4Frame(frame(0x40, block, bytes(0x00, 13, 0, 0x10, '!')), 100))).toBe(
      `${text}abab!`,
    );
  });

  test.each<[string, () => Uint8Array, RegExp]>([
    [
      'a repeat from before the beginning',
      () => unpackLz4Block(bytes(0x14, 'a', 2, 0), 9),
      /before its beginning/,
    ],
    ['a repeat of itself', () => unpackLz4Block(bytes(0x14, 'a', 0, 0), 9), /before its beginning/],
    ['literals that are not there', () => unpackLz4Block(bytes(0xf0, 255), 9), /ends too early/],
    ['more than is wanted', () => unpackLz4Block(block, 12), /more than 12 bytes/],
    ['less than is wanted', () => unpackLz4Block(block, 14), /unpacks to 13 bytes, expected 14/],
    [
      'a frame of more than it may be',
      () => unpackLz4Frame(frame(0x40, block, block), 20),
      /more than 20 bytes/,
    ],
    [
      'a frame without its end',
      () => unpackLz4Frame(frame(0x40, block).subarray(0, -4), 20),
      /ends too early/,
    ],
    [
      'a block longer than its frame',
      () => unpackLz4Frame(frame(0x40, block).subarray(0, 14), 20),
      /ends too early/,
    ],
    ['a frame of another version', () => unpackLz4Frame(frame(0x80, block), 20), /version 2, expected 1/],
    ['a frame with a dictionary', () => unpackLz4Frame(frame(0x41, block), 20), /needs a dictionary/],
    ['no frame', () => unpackLz4Frame(Buffer.alloc(20), 20), /begin as a frame/],
  ])('refuses %s', (_, work, message) => {
    expect(work).toThrow(message);
  });
});

describe('Zstandard', () => {
  /** Without entropy coding: blocks that are stored, or of one byte repeated. */
  const magic = [0x28, 0xb5, 0x2f, 0xfd] as const;

  test('frames of a known size, and of none', async () => {
    const unpack = await zstdUnpacker('test');
    expect(ascii(unpack(bytes(...magic, 0x20, 3, 0x19, 0, 0, 'abc'), 3))).toBe('abc');
    expect(ascii(unpack(bytes(...magic, 0x00, 0x00, 0x19, 0, 0, 'abc'), 3))).toBe('abc');
  });

  test('refuses more than is wanted, said and unsaid, before it takes memory for it', async () => {
    const unpack = await zstdUnpacker('test');
    const size = bytes(0, 0, 0, 0, 0, 1, 0, 0).toString('latin1');
    const announced = Buffer.concat([
      bytes(...magic, 0xe0),
      Buffer.from(size, 'latin1'),
      bytes(0x19, 0, 0, 'abc'),
    ]);
    expect(() => unpack(announced, 3)).toThrow();
    // 100,000 times the same byte.
    expect(() => unpack(bytes(...magic, 0x00, 0x58, 0x03, 0x35, 0x0c, 'a'), 3)).toThrow();
    expect(() => unpack(bytes(...magic, 0x00, 0xff, 0x19, 0, 0, 'abc'), 3)).toThrow();
    expect(() => unpack(bytes(...magic, 0x20, 3, 0x19, 0), 3)).toThrow();
  });
});
