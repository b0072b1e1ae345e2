import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { readConfig } from '../config';
import { DeepRnnError, reasonOf, refuse } from '../errors';
import type { Callback, Logs } from './callback';

export interface CsvLoggerOptions {
  path: string;
  /** Default `','`. */
  separator?: string;
  /** Go on with a file that is there instead of starting anew. Default false. */
  append?: boolean;
}

const SUBJECT = 'callbacks.csvLogger';

/** One line of numbers per epoch: `epoch`, then the logs in the order of the first epoch. */
export function csvLogger(options: CsvLoggerOptions): Callback {
  const {
    path,
    separator = ',',
    append = false,
  } = readConfig(options, ['path', 'separator', 'append'], SUBJECT) as unknown as CsvLoggerOptions;
  if (typeof path !== 'string' || path === '') refuse('ERR_VALUE', `${SUBJECT}: path`, 'a file name', path);
  if (typeof separator !== 'string' || separator.length !== 1)
    refuse('ERR_VALUE', `${SUBJECT}: separator`, 'one character', separator);
  let columns: string[] | undefined;
  const guarded = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      const reason = reasonOf(error);
      throw new DeepRnnError('ERR_FILE', `${SUBJECT}: '${path}' could not be written: ${reason}.`, {
        cause: error,
      });
    }
  };
  const header = async (logs: Logs): Promise<string[]> => {
    const own = ['epoch', ...Object.keys(logs)];
    if (append) {
      const before = await readFile(path, 'utf8').catch(() => '');
      const [first = ''] = before.split('\n');
      if (first) return first.split(separator);
    }
    await writeFile(path, `${own.join(separator)}\n`);
    return own;
  };
  return {
    onTrainBegin() {
      columns = undefined;
    },
    onEpochEnd: (epoch, logs) =>
      guarded(async () => {
        columns ??= await header(logs);
        const row: Logs = { epoch, ...logs };
        await appendFile(path, `${columns.map((name) => row[name] ?? '').join(separator)}\n`);
      }),
  };
}
