import { parentPort, workerData } from 'node:worker_threads';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { DeepRnnError, reasonOf } from '../errors';
import { optional } from './optional';

/*
 * The thread in which a Parquet file is read, through hyparquet, which reads columns and rows that are asked for only. A damaged file can make it
 * decode without end, or fail where nobody waits: neither must stop the process.
 */

/** What is asked of the thread: without columns, what the file holds. */
export interface ParquetRequest {
  readonly file: string;
  readonly caller: string;
  readonly columns?: readonly string[];
  readonly begin: number;
  readonly end: number;
}

export interface ParquetRows {
  readonly names: readonly string[];
  readonly rows: number;
  readonly where: string;
  readonly read: (names: readonly string[], begin: number, end: number) => Promise<Record<string, unknown[]>>;
}

/** A page has no more bytes. */
const MOST_PAGE = 2 ** 30;
/** So many rows in one file are an absurd claim. */
const MOST_ROWS = 2 ** 40;

/** @throws ERR_STATE where hyparquet is not installed, ERR_FILE for a file that it cannot read */
async function open(file: string, caller: string): Promise<ParquetRows> {
  const { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } = await optional(
    'hyparquet',
    () => import('hyparquet'),
    caller,
  );
  const fail = (error: unknown): never => {
    throw new DeepRnnError('ERR_FILE', `${caller}: '${file}' could not be read: ${reasonOf(error)}.`, {
      cause: error,
    });
  };
  // Snappy comes with it.
  const unpack =
    (work: (bytes: Uint8Array, options: { maxOutputLength: number }) => Uint8Array) =>
    (bytes: Uint8Array, length: number) => {
      if (length > MOST_PAGE) throw new Error(`a page says it unpacks to ${length} bytes`);
      return work(bytes, { maxOutputLength: Math.max(length, 1) });
    };
  const compressors = { GZIP: unpack(gunzipSync), BROTLI: unpack(brotliDecompressSync) };
  try {
    const buffer = await asyncBufferFromFile(file);
    const metadata = await parquetMetadataAsync(buffer);
    const rows = Number(metadata.num_rows);
    const inGroups = metadata.row_groups.reduce((sum, group) => sum + Number(group.num_rows), 0);
    if (!(rows >= 0 && rows <= MOST_ROWS) || rows !== inGroups)
      throw new Error('its row groups have other rows than it says');
    const names = parquetSchema(metadata).children.map(({ element }) => element.name);
    return {
      ...{ names, rows, where: `'${file}'` },
      read: async (columns, begin, end) => {
        const found: Record<string, unknown[]> = {};
        for (const name of columns) {
          const values: unknown[] = [];
          let first = 0;
          // One column of one row group a call: of several that are damaged only the first failure would be waited for.
          for (const group of metadata.row_groups) {
            const rowStart = Math.max(begin, first);
            first += Number(group.num_rows);
            const rowEnd = Math.min(end, first);
            if (rowStart >= rowEnd) continue;
            const options = { file: buffer, metadata, columns: [name], rowStart, rowEnd, compressors };
            for (const row of await parquetReadObjects(options)) values.push(row[name]);
          }
          if (values.length !== end - begin) throw new Error('it ends before its last row');
          found[name] = values;
        }
        return found;
      },
    };
  } catch (error) {
    return fail(error);
  }
}

async function answer({ file, caller, columns, begin, end }: ParquetRequest): Promise<unknown> {
  const { names, rows, read } = await open(file, caller);
  return columns ? read(columns, begin, end) : { names, rows };
}

answer(workerData as ParquetRequest).then(
  (found) => parentPort?.postMessage({ found }),
  (error: unknown) =>
    parentPort?.postMessage({ code: (error as { code?: unknown }).code, reason: reasonOf(error) }),
);
