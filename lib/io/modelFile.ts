import { createHash } from 'node:crypto';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { DeepRnnError, reasonOf } from '../errors';
import type { Tensor } from '../tensors/tensor';
import { atomicWrite } from './atomicWrite';
import { bytesOfArray, decodeTensors, encodeTensors, type TensorFile } from './safetensors';

/** A model in a file: its configuration (JSON values) and its arrays by name. */
export interface ModelFile {
  readonly config: object;
  readonly tensors: ReadonlyMap<string, Tensor>;
}

/** Raised when older versions of this library could no longer read new files. */
const VERSION = 1;

/** Bytes hashed at a time: a few milliseconds, in which the event loop waits. */
const HASHED_AT_ONCE = 2 ** 21;

/** SHA-256 over the configuration and every array, so that a file that was altered is found out. */
async function fingerprint(config: string, tensors: ReadonlyMap<string, Tensor>): Promise<string> {
  const hash = createHash('sha256').update(config);
  for (const name of [...tensors.keys()].sort()) {
    const { dtype, shape, data } = tensors.get(name) as Tensor;
    hash.update(JSON.stringify([name, dtype, shape]));
    const bytes = bytesOfArray(data);
    for (let at = 0; at < bytes.length; at += HASHED_AT_ONCE) {
      hash.update(bytes.subarray(at, at + HASHED_AT_ONCE));
      if (at + HASHED_AT_ONCE < bytes.length) await setImmediate();
    }
  }
  return hash.digest('hex');
}

/**
 * Writes a safetensors file with the configuration in its metadata, atomically.
 * @throws ERR_FILE when the system refuses
 */
export async function writeModelFile(path: string, { config, tensors }: ModelFile): Promise<void> {
  const json = JSON.stringify(config);
  const metadata = {
    format: 'deeprnn',
    version: String(VERSION),
    config: json,
    sha256: await fingerprint(json, tensors),
  };
  await atomicWrite(path, encodeTensors({ tensors, metadata }));
}

/** Writes arrays alone. */
export async function writeSafetensors(path: string, file: TensorFile): Promise<void> {
  await atomicWrite(path, encodeTensors(file));
}

/** Arrays of any safetensors file. @throws ERR_FILE */
export async function readSafetensors(path: string): Promise<TensorFile> {
  return decodeTensors(await readBytes(path), path);
}

/**
 * Reads what `writeModelFile` wrote.
 * @throws ERR_FILE when the file is missing, truncated, altered, foreign, or of a newer version
 */
export async function readModelFile(path: string): Promise<ModelFile> {
  return proveModelFile(path, await readSafetensors(path));
}

/**
 * Arrays of numbers by name: of a file that `writeModelFile` wrote, or of any other safetensors file.
 * @throws ERR_FILE as `readModelFile` does, and for whole numbers, which no weights are
 */
export async function readArrays(path: string): Promise<ReadonlyMap<string, Tensor>> {
  const file = await readSafetensors(path);
  if (file.metadata['format'] === 'deeprnn') return (await proveModelFile(path, file)).tensors;
  for (const [name, { dtype }] of file.tensors)
    if (dtype === 'int32')
      throw new DeepRnnError('ERR_FILE', `'${path}': array '${name}' holds whole numbers, expected floats.`);
  return file.tensors;
}

async function proveModelFile(path: string, { tensors, metadata }: TensorFile): Promise<ModelFile> {
  const fail = (reason: string): never => {
    throw new DeepRnnError('ERR_FILE', `'${path}' ${reason}.`);
  };
  if (metadata['format'] !== 'deeprnn')
    fail('is a safetensors file, but not a model that deeprnn saved; it holds arrays only');
  const { version = '', config = '', sha256 = '' } = metadata;
  // The checksum does not cover it: it says how the rest is to be read.
  if (!/^[1-9]\d*$/.test(version)) fail('was altered after it was saved: it says no version');
  if (Number(version) > VERSION)
    fail(
      `was saved by a newer version of deeprnn (file version ${version.slice(0, 20)}, known up to ${VERSION})`,
    );
  if ((await fingerprint(config, tensors)) !== sha256)
    fail('was altered after it was saved: its checksum does not fit');
  let parsed: unknown;
  try {
    parsed = JSON.parse(config);
  } catch {
    fail('has no readable configuration');
  }
  if (typeof parsed !== 'object' || parsed === null) fail('has no readable configuration');
  return { config: parsed as object, tensors };
}

/** A whole file. @throws ERR_FILE */
export function readBytes(path: string): Promise<Uint8Array> {
  return readAtMost(path, Number.POSITIVE_INFINITY);
}

/** The first bytes of a file, all of one that has fewer. @throws ERR_FILE */
export function readHead(path: string, bytes: number): Promise<Uint8Array> {
  return readAtMost(path, bytes);
}

async function readAtMost(path: string, limit: number): Promise<Uint8Array> {
  try {
    // Before it is opened: to open a pipe is to wait for somebody who writes to it.
    if (!(await stat(path)).isFile()) throw new Error('it is not a file');
    const handle = await open(path, 'r');
    try {
      return await readBegin(handle, limit);
    } finally {
      await handle.close();
    }
  } catch (error) {
    const reason = reasonOf(error);
    throw new DeepRnnError('ERR_FILE', `'${path}' could not be read: ${reason}.`, { cause: error });
  }
}

/** In pieces: `readFile` gives up at 2 GiB. */
const MOST_AT_ONCE = 2 ** 26;

async function readBegin(handle: FileHandle, limit: number): Promise<Uint8Array> {
  const about = await handle.stat();
  if (!about.isFile()) throw new Error('it is not a file');
  const bytes = new Uint8Array(Math.min(about.size, limit));
  let at = 0;
  while (at < bytes.length) {
    const { bytesRead } = await handle.read(bytes, at, Math.min(MOST_AT_ONCE, bytes.length - at), at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes.subarray(0, at);
}
