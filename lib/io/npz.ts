import crc32 from 'buffer-crc32';
import { flagOption, readConfig, requirePath } from '../config';
import { DeepRnnError, quoted, reasonOf, refuse } from '../errors';
import { namedTensor, type Tensor, type TensorLike } from '../tensors/tensor';
import { atomicWrite } from './atomicWrite';
import { readBytes } from './modelFile';
import { decodeNpy, encodeNpy } from './npy';

export interface ReadNpzOptions {
  /** The most bytes that all arrays together may unpack to. Default 2 GiB. */
  readonly maxBytes?: number;
}
export interface WriteNpzOptions {
  /** Default true, as `numpy.savez_compressed` does; false as `numpy.savez`. */
  readonly compress?: boolean;
}

const ENDING = '.npy';
/** Deflate makes at most 258 bytes of 2 bits. */
const MOST_DEFLATED = 1032;

/**
 * Arrays by name from a file of `numpy.savez` or `savez_compressed`; each as `readNpy` reads it.
 * @throws ERR_FILE for what is no such file, and for one that unpacks to more than `maxBytes`
 */
export async function readNpz(path: string, options: ReadNpzOptions = {}): Promise<Record<string, Tensor>> {
  requirePath(path, 'readNpz: path');
  const { maxBytes = 2 ** 31 } = readConfig(options, ['maxBytes'], 'readNpz');
  if (!Number.isSafeInteger(maxBytes) || (maxBytes as number) < 1)
    refuse('ERR_VALUE', 'readNpz: maxBytes', 'a positive integer', quoted(maxBytes));
  const fail = (reason: string, cause?: unknown): never => {
    throw new DeepRnnError('ERR_FILE', `'${path}' is not a usable .npz file: ${reason}.`, { cause });
  };
  const bytes = await readBytes(path);
  const { unzipSync } = await import('fflate');
  let left = maxBytes as number;
  let files: Record<string, Uint8Array> = {};
  const seen = new Set<string>();
  try {
    files = unzipSync(bytes, {
      filter: ({ name, size, originalSize, compression }) => {
        if (!name.endsWith(ENDING)) fail(`it holds '${name.slice(0, 60)}', expected arrays (${ENDING})`);
        if (seen.has(name)) fail(`it holds '${name.slice(0, 60)}' twice`);
        seen.add(name);
        left -= originalSize;
        if (left < 0)
          fail(`its arrays unpack to more than ${maxBytes} bytes. Give a larger maxBytes for one that may`);
        // What is announced is allocated.
        if (originalSize > (compression === 0 ? size : size * MOST_DEFLATED))
          fail(`'${name.slice(0, 60)}' says it unpacks to ${originalSize} bytes, which ${size} bytes cannot`);
        if (size > bytes.length) fail(`'${name.slice(0, 60)}' is longer than the file`);
        return true;
      },
    });
  } catch (error) {
    if (error instanceof DeepRnnError) throw error;
    fail(reasonOf(error), error);
  }
  for (const [name, wanted] of await checksums(bytes, fail))
    if (checksumOf(files[name] as Uint8Array) !== wanted)
      fail(`the checksum of '${name.slice(0, 60)}' does not fit: it was altered`);
  return Object.fromEntries(
    Object.entries(files).map(([name, file]) => [
      name.slice(0, -ENDING.length),
      decodeNpy(file, `'${name.slice(0, 60)}' in '${path}'`),
    ]),
  );
}

function checksumOf({ buffer, byteOffset, byteLength }: Uint8Array): number {
  return crc32(Buffer.from(buffer, byteOffset, byteLength)).readUInt32BE();
}

/** CRC-32 of each member, as the archive's directory has it. */
async function checksums(
  bytes: Uint8Array,
  fail: (reason: string, cause?: unknown) => never,
): Promise<ReadonlyMap<string, number>> {
  const { fromBuffer } = await import('yauzl');
  return new Promise<ReadonlyMap<string, number>>((resolve, reject) => {
    fromBuffer(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), (error, archive) => {
      if (error) return reject(error);
      const found = new Map<string, number>();
      archive.on('entry', ({ fileName, crc32: checksum }) => found.set(fileName, checksum));
      archive.on('error', reject);
      archive.on('end', () => resolve(found));
    });
  }).catch((error: unknown) => fail(reasonOf(error), error));
}

/** Writes arrays by name to one file, which `numpy.load` reads, atomically. */
export async function writeNpz(
  path: string,
  arrays: Readonly<Record<string, TensorLike>> | ReadonlyMap<string, TensorLike>,
  options: WriteNpzOptions = {},
): Promise<void> {
  requirePath(path, 'writeNpz: path');
  const o = readConfig(options, ['compress'], 'writeNpz');
  const compress = flagOption(o.compress, true, 'writeNpz: compress');
  if (typeof arrays !== 'object' || arrays === null || Array.isArray(arrays))
    refuse('ERR_VALUE', 'writeNpz: arrays', 'an object or Map of arrays by name', quoted(arrays));
  const entries = arrays instanceof Map ? [...arrays] : Object.entries(arrays);
  const files = entries.map(([name, values]) => {
    if (name === '' || name.includes('\\') || name.startsWith('/') || name.split('/').includes('..'))
      refuse('ERR_VALUE', 'writeNpz: arrays', 'names that name a file', `'${name}'`);
    return [
      `${name}${ENDING}`,
      Buffer.concat(encodeNpy(namedTensor(`writeNpz: '${name}'`, values))),
    ] as const;
  });
  const { zipSync } = await import('fflate');
  // A fixed date: the same arrays give the same bytes.
  const mtime = new Date(1980, 0, 1);
  await atomicWrite(path, [zipSync(Object.fromEntries(files), { level: compress ? 6 : 0, mtime })]);
}
