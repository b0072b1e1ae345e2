import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { DeepRnnError } from '../../errors';
import { libraryFolder } from '../../place';
import type { Shape } from '../../tensors/tensor';

/** An array of a file, without its numbers. */
export interface Hdf5Array {
  readonly shape: Shape;
  readonly kind: 'real' | 'integer' | 'other';
  /** Bytes of one number. */
  readonly size: number;
}

export type Hdf5Attributes = Readonly<Record<string, string | readonly string[]>>;

/** What is in a file, by paths without a slash in front; the root's path is empty. */
export interface Hdf5Contents {
  readonly groups: Readonly<Record<string, Hdf5Attributes>>;
  readonly arrays: Readonly<Record<string, Hdf5Array>>;
}

/** An array to be written. */
export interface Hdf5Entry {
  readonly path: string;
  readonly shape: Shape;
  readonly kind: 'real' | 'integer32' | 'integer64';
  readonly data: Float32Array | Int32Array | BigInt64Array;
}

/** Beside what a file and its arrays take. */
const SPARE_BYTES = 2 ** 27;
/** Milliseconds that a file may take, and more for each MiB of it. A file of a model takes a small part of that. */
const [LEAST_TIME, TIME_PER_MIB] = [10_000, 200];
/** JavaScript's memory of the thread, in MiB: lists of what is in a file. */
const HEAP_MIB = 512;

/** An HDF5 file that is read or written in a thread, whose end is the end of whatever the file makes the library do. */
export class Hdf5 {
  private readonly worker = new Worker(path.join(libraryFolder, 'formats/keras/hdf5Worker.js'), {
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
    // Nothing that the library prints about a broken file is anybody's business.
    stdout: true,
    stderr: true,
  });
  private bytes = 0;

  /**
   * @param subject names the file in messages
   * @param leastTime milliseconds that even a small file may take
   */
  constructor(
    private readonly subject: string,
    private readonly leastTime = LEAST_TIME,
  ) {}

  /** @throws ERR_FILE for what is no HDF5 file, or one that is broken */
  open(bytes: Uint8Array): Promise<Hdf5Contents> {
    this.bytes = bytes.length;
    const own = new Uint8Array(bytes);
    return this.ask('open', { bytes: own, limit: SPARE_BYTES + 2 * own.length }, [own.buffer]);
  }

  /** Numbers of arrays, by path. @param elements how many they are together, which the caller has proved */
  read(paths: readonly string[], elements: number): Promise<Readonly<Record<string, Float32Array>>> {
    return this.ask('read', { paths, limit: SPARE_BYTES + 2 * this.bytes + 24 * elements });
  }

  /** The bytes of a file. @param groups by path, each behind the one it is in */
  write(
    groups: readonly (readonly [path: string, attributes: Hdf5Attributes])[],
    arrays: readonly Hdf5Entry[],
  ): Promise<Uint8Array> {
    const bytes = arrays.reduce((sum, { data }) => sum + data.byteLength, 0);
    this.bytes = bytes;
    return this.ask('write', { groups, arrays, limit: SPARE_BYTES + 4 * bytes });
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }

  private ask<R>(task: string, input: object, transfer: ArrayBuffer[] = []): Promise<R> {
    const { worker } = this;
    const limit = this.leastTime + (TIME_PER_MIB * this.bytes) / 2 ** 20;
    return new Promise<R>((resolve, reject) => {
      const end = (reason?: string, result?: R) => {
        clearTimeout(timer);
        for (const [event, listener] of listeners) worker.off(event, listener);
        if (reason === undefined) return resolve(result as R);
        const text = `${this.subject} could not be ${task === 'write' ? 'written' : 'read'} as HDF5: ${reason}.`;
        reject(new DeepRnnError('ERR_FILE', text));
      };
      const stop = (reason: string) => {
        end(reason);
        // What a thread says of its own end comes later, and is known.
        worker.on('error', () => {});
        void worker.terminate();
      };
      const timer = setTimeout(() => stop(`it took longer than ${Math.round(limit) / 1000} s`), limit);
      const listeners = [
        ['message', (answer: { result?: R; reason?: string }) => end(answer.reason, answer.result)],
        ['error', (error: Error) => stop(error.message)],
        ['exit', () => stop('the library stopped')],
      ] as const;
      for (const [event, listener] of listeners) worker.on(event, listener);
      worker.postMessage({ task, ...input }, transfer);
    });
  }
}
