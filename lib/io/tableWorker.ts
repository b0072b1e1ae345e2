import { stat } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { DeepRnnError, reasonOf } from '../errors';
import { type Columns, columnOf } from './columns';
import type { TableFormat, ThreadAnswer, ThreadRequest, ThreadStart } from './tableThread';

/* The thread in which files of columns are read. */

/** A file of columns, as a library has it. */
export interface OpenTable {
  readonly columns: readonly {
    readonly name: string;
    /** Whether it holds text; undefined where its values say so. */
    readonly isText: boolean | undefined;
  }[];
  readonly rows: number;
  /** Values of a column, by its place: numbers, bigints, booleans, text and null; anything else is refused by `columnOf`. */
  readonly values: (place: number, begin: number, end: number) => Promise<ArrayLike<unknown>>;
}

/** More rows than any file has, and than so many bytes of one hold: an absurd claim, for which no memory is taken. */
const MOST_ROWS = 2 ** 40;
const MOST_ROWS_A_BYTE = 512;
const FEW_ROWS = 2 ** 20;

const openers: Readonly<Record<TableFormat, (start: ThreadStart) => Promise<OpenTable>>> = {
  parquet: async (start) => (require('./parquetTable') as typeof import('./parquetTable')).openParquet(start),
  arrow: async (start) => (require('./arrowTable') as typeof import('./arrowTable')).openArrow(start),
};

const { file, format, caller } = workerData as ThreadStart;

/** @throws ERR_FILE for what fails inside a library */
async function within<R>(work: () => Promise<R>): Promise<R> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof DeepRnnError) throw error;
    throw new DeepRnnError('ERR_FILE', `${caller}: '${file}' could not be read: ${reasonOf(error)}.`);
  }
}

const opened = within(async () => {
  const table = await openers[format](workerData as ThreadStart);
  if (!table.columns.every(({ name }) => typeof name === 'string')) throw new Error('a column has no name');
  const { size } = await stat(file);
  const most = Math.min(MOST_ROWS, Math.max(FEW_ROWS, MOST_ROWS_A_BYTE * size));
  if (!(table.rows >= 0 && table.rows <= most))
    throw new Error(`it says that it has ${table.rows} rows in ${size} bytes`);
  return table;
});

async function read({ names, begin, end, missing }: ThreadRequest): Promise<Columns> {
  const { columns, values } = await opened;
  const found: Columns = Object.create(null);
  for (const name of names) {
    const place = columns.findIndex((column) => column.name === name);
    found[name] = await within(async () => {
      const list = await values(place, begin, end);
      if (list.length !== end - begin) throw new Error('it ends before its last row');
      const where = (row: number) => `${caller}: '${file}', row ${begin + row}, column '${name}'`;
      return columnOf(list, columns[place]?.isText, missing, where);
    });
  }
  return found;
}

function answer(work: Promise<unknown>): void {
  work.then(
    (found) => parentPort?.postMessage({ found } satisfies ThreadAnswer),
    (error: DeepRnnError) =>
      parentPort?.postMessage({ code: error.code, reason: error.message } satisfies ThreadAnswer),
  );
}

answer(opened.then(({ columns, rows }) => ({ names: columns.map(({ name }) => name), rows })));
parentPort?.on('message', (request: ThreadRequest) => answer(read(request)));
