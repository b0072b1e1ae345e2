import { readConfig } from '../config';
import { DeepRnnError, oneOf, quoted, reasonOf, refuse } from '../errors';
import { readHead } from '../io/modelFile';
import { readCsv } from './csv';
import { makeTable, type Table } from './table';

// Loaded when there is such a file.
const parquet = () => require('../io/parquet') as typeof import('../io/parquet');

/** Of a table of Apache Arrow (`tableFromIPC`, `tableFromArrays`) what is read here. */
export interface ArrowTable {
  readonly numRows: number;
  readonly schema: { readonly fields: readonly { readonly name: string }[] };
  getChild(name: string): { get(row: number): unknown } | null;
}

export interface TableOptions {
  /** Columns to read. Default: all. */
  readonly columns?: readonly string[];
  /** What a missing number becomes: NaN to go on, or an error. Default `'refuse'`. */
  readonly missing?: 'nan' | 'refuse';
}

/** Rows of some columns at a time, whatever they come from. */
export interface RowSource {
  readonly names: readonly string[];
  readonly rows: number;
  /** Values by column, of rows `begin` to `end`. */
  readonly read: (
    names: readonly string[],
    begin: number,
    end: number,
  ) => Promise<Record<string, ArrayLike<unknown>>>;
  /** For messages. */
  readonly where: string;
}

/**
 * A table from a Parquet file (`npm install hyparquet`), from a CSV file, or from a table of Apache Arrow. Columns of numbers, booleans (0 and 1) and
 * dates (milliseconds since 1970) become numbers, all others that hold strings text.
 * @throws ERR_FILE for what cannot be read; ERR_VALUE, with column and row, for other values and for missing numbers
 */
export async function readTable(source: string | ArrowTable, options: TableOptions = {}): Promise<Table> {
  const o = readConfig(options, ['columns', 'missing'], 'readTable') as TableOptions;
  const { missing = 'refuse' } = o;
  if (missing !== 'nan' && missing !== 'refuse')
    refuse('ERR_VALUE', 'readTable: missing', oneOf(['nan', 'refuse']), quoted(missing));
  const rows = await openRows(source, 'readTable');
  if (!rows) return readCsv(source as string, o);
  return tableOf(rows, chosenColumns(rows, o.columns, 'readTable'), 0, rows.rows, missing, 'readTable');
}

/** What gives rows by number; undefined for a CSV file, which is read from its beginning. */
export async function openRows(source: unknown, caller: string): Promise<RowSource | undefined> {
  if (typeof source !== 'string' || source === '') return arrowRows(source, caller);
  const head = Buffer.from(await readHead(source, 8)).toString('latin1');
  if (head.startsWith('ARROW1'))
    throw new DeepRnnError(
      'ERR_FILE',
      `${caller}: '${source}' is an Arrow file. Read it by tableFromIPC of apache-arrow, and give the table.`,
    );
  return head.startsWith('PAR1') ? parquet().openParquet(source, caller) : undefined;
}

function arrowRows(source: unknown, caller: string): RowSource {
  const { numRows, schema, getChild } = Object(source) as Partial<ArrowTable>;
  if (!Number.isSafeInteger(numRows) || !Array.isArray(schema?.fields) || typeof getChild !== 'function')
    refuse('ERR_VALUE', `${caller}: source`, 'a file name or a table of Apache Arrow', quoted(source));
  const table = source as ArrowTable;
  return {
    names: table.schema.fields.map(({ name }) => String(name)),
    rows: table.numRows,
    where: 'the Arrow table',
    read: async (names, begin, end) =>
      Object.fromEntries(
        names.map((name) => {
          const column = table.getChild(name);
          return [name, Array.from({ length: end - begin }, (_, i) => column?.get(begin + i))];
        }),
      ),
  };
}

export function chosenColumns(
  { names, where }: RowSource,
  given: readonly string[] | undefined,
  caller: string,
): readonly string[] {
  const chosen = given ?? names;
  const odd = chosen.find((name) => !names.includes(name));
  if (odd !== undefined)
    refuse(
      'ERR_VALUE',
      `${caller}: columns of ${where}`,
      `one of ${names.slice(0, 50).join(', ')}`,
      quoted(odd),
    );
  const twice = chosen.find(
    (name, i) => chosen.indexOf(name) < i || names.indexOf(name) !== names.lastIndexOf(name),
  );
  if (twice !== undefined)
    refuse('ERR_VALUE', `${caller}: columns of ${where}`, 'a name of its own for each', `'${twice}' twice`);
  return chosen;
}

/** Rows of a source as a table. */
export async function tableOf(
  source: RowSource,
  names: readonly string[],
  begin: number,
  end: number,
  missing: 'nan' | 'refuse',
  caller: string,
): Promise<Table> {
  let values: Record<string, ArrayLike<unknown>>;
  try {
    values = await source.read(names, begin, end);
  } catch (error) {
    if (error instanceof DeepRnnError) throw error;
    const reason = reasonOf(error);
    throw new DeepRnnError('ERR_FILE', `${caller}: ${source.where} could not be read: ${reason}.`, {
      cause: error,
    });
  }
  const columns: Record<string, Float64Array | string[]> = Object.create(null);
  for (const name of names)
    columns[name] = columnOf(
      values[name] as ArrayLike<unknown>,
      missing,
      (row) => `${caller}: ${source.where}, row ${begin + row}, column '${name}'`,
    );
  return makeTable(columns, end - begin);
}

/** Text where the first value that is there is text; missing text is empty. */
function columnOf(
  values: ArrayLike<unknown>,
  missing: 'nan' | 'refuse',
  where: (row: number) => string,
): Float64Array | string[] {
  const list = Array.from(values);
  const first = list.find((v) => v !== null && v !== undefined);
  if (typeof first === 'string')
    return list.map((v, row) =>
      typeof v === 'string'
        ? v
        : v === null || v === undefined
          ? ''
          : refuse('ERR_VALUE', where(row), 'text', quoted(v)),
    );
  return Float64Array.from(list, (v, row) => {
    const number = numberOf(v);
    if (number === undefined) refuse('ERR_VALUE', where(row), 'a number', quoted(v));
    if (Number.isNaN(number) && missing === 'refuse') refuse('ERR_VALUE', where(row), 'a number', 'nothing');
    return number as number;
  });
}

/** NaN for what is missing; undefined for what is no number. */
function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  if (value === null || value === undefined) return Number.NaN;
  if (typeof value === 'boolean') return Number(value);
  if (value instanceof Date) return value.getTime();
  if (typeof value === 'bigint' && Number.isSafeInteger(Number(value))) return Number(value);
  return undefined;
}
