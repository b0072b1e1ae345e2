import { stat } from 'node:fs/promises';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { DeepRnnError, reasonOf } from '../errors';
import { libraryFolder } from '../place';
import type { ParquetRequest, ParquetRows } from './parquetWorker';

/** The most a thread's objects may take, MiB. */
const MOST_HEAP = 4096;

/** @throws ERR_STATE where hyparquet is not installed, ERR_FILE for a file that it cannot read */
export async function openParquet(file: string, caller: string): Promise<ParquetRows> {
  const ask = (request: Pick<ParquetRequest, 'columns' | 'begin' | 'end'>) =>
    inThread({ file, caller, ...request });
  const { names, rows } = (await ask({ begin: 0, end: 0 })) as Pick<ParquetRows, 'names' | 'rows'>;
  return {
    ...{ names, rows, where: `'${file}'` },
    read: async (columns, begin, end) => (await ask({ columns, begin, end })) as Record<string, unknown[]>,
  };
}

/** Asks a thread that lives for this request, and no longer than a file of such a size may want. */
async function inThread(request: ParquetRequest): Promise<unknown> {
  const { file, caller } = request;
  const refused = (reason: string, code: unknown = 'ERR_FILE') =>
    code === 'ERR_STATE'
      ? new DeepRnnError('ERR_STATE', reason)
      : new DeepRnnError('ERR_FILE', `${caller}: '${file}' could not be read: ${reason}.`);
  const { size } = await stat(file);
  const limit = 10_000 + size / 1024;
  const worker = new Worker(path.join(libraryFolder, 'io/parquetWorker.js'), {
    workerData: request,
    resourceLimits: { maxOldGenerationSizeMb: MOST_HEAP },
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise((resolve, reject) => {
      timer = setTimeout(() => reject(refused(`it took more than ${Math.round(limit / 1000)} s`)), limit);
      worker.on('message', (answer: { found?: unknown; code?: unknown; reason?: string }) => {
        if (answer.reason === undefined) resolve(answer.found);
        else
          reject(
            answer.code === 'ERR_FILE'
              ? new DeepRnnError('ERR_FILE', answer.reason)
              : refused(answer.reason, answer.code),
          );
      });
      worker.on('error', (error) => reject(refused(reasonOf(error))));
      worker.on('exit', () => reject(refused('its thread ended')));
    });
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}
