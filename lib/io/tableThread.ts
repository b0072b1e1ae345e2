import { stat } from 'node:fs/promises';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { DeepRnnError, type ErrorCode, reasonOf } from '../errors';
import { libraryFolder } from '../place';
import type { Columns, Missing } from './columns';

/** Formats of files whose columns and rows are read by number. */
export type TableFormat = 'parquet' | 'arrow';

/** What such a thread is started with. */
export interface ThreadStart {
  readonly file: string;
  readonly format: TableFormat;
  readonly caller: string;
}

/** Rows that are asked of it. */
export interface ThreadRequest {
  readonly names: readonly string[];
  readonly begin: number;
  readonly end: number;
  readonly missing: Missing;
}

/** What it answers: at first what the file holds, then columns; or why it cannot. */
export interface ThreadAnswer {
  readonly found?: unknown;
  readonly code?: ErrorCode;
  readonly reason?: string;
}

/** Columns of a file that a thread reads until it is closed. */
export interface ThreadRows {
  readonly names: readonly string[];
  readonly rows: number;
  readonly read: (request: ThreadRequest) => Promise<Columns>;
  readonly close: () => Promise<void>;
}

/** How long an answer may take, milliseconds: in any case, and for each byte of the file and each value. Several times what a slow machine needs. */
const LIMIT = { always: 10_000, byte: 1 / 1024, value: 0.002 };
/**
 * The most a thread's objects may take, MiB. More than any can make in the time that small files have: a thread that runs against its limit is ended
 * at its next small piece of memory, but where that piece is a large one, the whole process is.
 */
const MOST_HEAP = 4096;

/**
 * Opens a file in a thread of its own: a damaged one can make a library decode without end, or fail where nobody waits, and neither must stop the
 * process. An answer may take no longer than a file of such a size may want.
 * @throws ERR_STATE where the library is not installed, ERR_FILE for a file that it cannot read
 */
export async function openInThread(start: ThreadStart): Promise<ThreadRows> {
  const { file, caller } = start;
  const refused = (reason: string) =>
    new DeepRnnError('ERR_FILE', `${caller}: '${file}' could not be read: ${reason}.`);
  const { size } = await stat(file);
  const worker = new Worker(path.join(libraryFolder, 'io/tableWorker.js'), {
    workerData: start,
    resourceLimits: { maxOldGenerationSizeMb: MOST_HEAP },
  });
  // Of the one question that is open.
  let settle: ((answer: ThreadAnswer | Error) => void) | undefined;
  worker.on('message', (answer: ThreadAnswer) => settle?.(answer));
  worker.on('error', (error) => settle?.(refused(reasonOf(error))));
  worker.on('exit', () => settle?.(refused('its thread ended')));
  const close = async () => {
    await worker.terminate();
  };
  /** Its next answer, until which the process does not end. */
  const answer = async (values: number): Promise<unknown> => {
    const limit = LIMIT.always + LIMIT.byte * size + LIMIT.value * values;
    worker.ref();
    let timer: NodeJS.Timeout | undefined;
    try {
      const given = await new Promise<ThreadAnswer | Error>((resolve) => {
        settle = resolve;
        timer = setTimeout(() => resolve(refused(`it took more than ${Math.round(limit / 1000)} s`)), limit);
      });
      if (given instanceof Error) throw given;
      if (given.reason !== undefined) throw new DeepRnnError(given.code ?? 'ERR_FILE', given.reason);
      return given.found;
    } catch (error) {
      await close();
      throw error;
    } finally {
      settle = undefined;
      clearTimeout(timer);
      worker.unref();
    }
  };
  const { names, rows } = (await answer(0)) as Pick<ThreadRows, 'names' | 'rows'>;
  return {
    names,
    rows,
    read: async (request) => {
      const values = (request.end - request.begin) * request.names.length;
      worker.postMessage(request);
      // Without a prototype again, which messages give: a column may be called like one of its members.
      return Object.assign(Object.create(null), await answer(values)) as Columns;
    },
    close,
  };
}
