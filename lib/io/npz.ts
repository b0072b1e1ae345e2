import { flagOption, readConfig, requirePath } from '../config';
import { DeepRnnError, quoted, reasonOf, refuse } from '../errors';
import { namedTensor, type Tensor, type TensorLike } from '../tensors/tensor';
import { atomicWrite } from './atomicWrite';
import { readBytes } from './modelFile';
import { decodeNpy, encodeNpy } from './npy';

export interface ReadNpzOptions {
  /** The most bytes that all arrays together may unpack to. Default: 64 times the file's, but at least 256 MiB and at most 2 GiB. */
  readonly maxBytes?: number;
}
export interface WriteNpzOptions {
  /** Default true, as `numpy.savez_compressed` does; false as `numpy.savez`. */
  readonly compress?: boolean;
}

const ENDING = '.npy';

/**
 * Arrays by name from a file of `numpy.savez` or `savez_compressed`; each as `readNpy` reads it.
 * @throws ERR_FILE for what is no such file, and for one that unpacks to more than `maxBytes`
 */
export async function readNpz(path: string, options: ReadNpzOptions = {}): Promise<Record<string, Tensor>> {
  requirePath(path, 'readNpz: path');
  const { maxBytes } = readConfig(options, ['maxBytes'], 'readNpz');
  if (maxBytes !== undefined && (!Number.isSafeInteger(maxBytes) || (maxBytes as number) < 1))
    refuse('ERR_VALUE', 'readNpz: maxBytes', 'a positive integer', quoted(maxBytes));
  const fail = (reason: string, cause?: unknown): never => {
    throw new DeepRnnError('ERR_FILE', `'${path}' is not a usable .npz file: ${reason}.`, { cause });
  };
  const wanted = (name: string) => {
    if (!name.endsWith(ENDING))
      throw new Error(`it holds '${name.slice(0, 60)}', expected arrays (${ENDING})`);
    return true;
  };
  const bytes = await readBytes(path);
  const { readZip } = await import('./zip.js');
  const mostBytes = (maxBytes as number | undefined) ?? mostUnasked(bytes.length);
  const files = await readZip(bytes, { wanted, mostBytes }).catch((error: unknown) =>
    fail(
      maxBytes === undefined
        ? reasonOf(error).replace(/ bytes$/, ' bytes, more only with maxBytes')
        : reasonOf(error),
      error,
    ),
  );
  return Object.fromEntries(
    Array.from(files, ([name, file]) => [
      name.slice(0, -ENDING.length),
      decodeNpy(file, `'${name.slice(0, 60)}' in '${path}'`),
    ]),
  );
}

/** A small file of zeros may be an array of zeros, or be meant to fill the memory: whoever wants more says so by `maxBytes`. */
function mostUnasked(fileBytes: number): number {
  return Math.min(2 ** 31, Math.max(2 ** 28, 64 * fileBytes));
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
  const { writeZip } = await import('./zip.js');
  await atomicWrite(path, await writeZip(new Map(files), compress));
}
