import { readConfig } from '../config';
import { DeepRnnError, oneOf, quoted, refuse } from '../errors';
import { type ArrowColumn, type ArrowType, arrowValues, isTextType } from '../io/arrowColumns';
import { type Columns, columnOf, type Missing } from '../io/columns';
import { readHead } from '../io/modelFile';
import type { TableFormat } from '../io/tableThread';
import { wholeCsv } from './csv';
import { makeTable, refuseColumn, type Table } from './table';

// Loaded when there is such a file.
const threads = () => require('../io/tableThread') as typeof import('../io/tableThread');

/** Of a table of Apache Arrow (`tableFromIPC`, `tableFromArrays`) what is read here. */
export interface ArrowTable {
  readonly numRows: number;
  readonly schema: { readonly fields: readonly { readonly name: string; readonly type?: ArrowType }[] };
  getChild(name: string): ArrowColumn | null;
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
  /** Columns by name, of rows `begin` to `end`. */
  readonly read: (names: readonly string[], begin: number, end: number, missing: Missing) => Promise<Columns>;
  /** To be called when no more is read. */
  readonly close: () => Promise<void>;
  /** For messages. */
  readonly where: string;
}

/**
 * A table from a Parquet file (`npm install hyparquet`), an Arrow or Feather file or stream (`npm install apache-arrow`), a CSV file, or from a table
 * of Apache Arrow. Columns of numbers, booleans (0 and 1), decimals (the nearest float64) and dates and timestamps (milliseconds since 1970)
 * become numbers, those that hold strings text.
 * @throws ERR_FILE for what cannot be read; ERR_VALUE, with column and row, for other values, for whole numbers beyond 2^53, and for missing numbers
 */
export async function readTable(source: string | ArrowTable, options: TableOptions = {}): Promise<Table> {
  const o = readConfig(options, ['columns', 'missing'], 'readTable') as TableOptions;
  const { missing = 'refuse' } = o;
  if (missing !== 'nan' && missing !== 'refuse')
    refuse('ERR_VALUE', 'readTable: missing', oneOf(['nan', 'refuse']), quoted(missing));
  proveNames(o.columns, 'readTable');
  const rows = await openRows(source, 'readTable');
  if (!rows) return wholeCsv(source as string, o, 'readTable');
  try {
    const names = chosenColumns(rows, o.columns, 'readTable');
    return makeTable(await rows.read(names, 0, rows.rows, missing), rows.rows);
  } finally {
    await rows.close();
  }
}

function proveNames(columns: unknown, caller: string): void {
  if (columns !== undefined && !(Array.isArray(columns) && columns.every((name) => typeof name === 'string')))
    refuse('ERR_VALUE', `${caller}: columns`, 'an array of names', quoted(columns));
}

/** How files of such formats begin. A stream of Arrow begins with the mark of its first message. */
const beginnings: readonly (readonly [string, TableFormat])[] = [
  ['PAR1', 'parquet'],
  ['ARROW1', 'arrow'],
  ['\xff\xff\xff\xff', 'arrow'],
];

/** What gives rows by number; undefined for a CSV file, which is read from its beginning. */
export async function openRows(source: unknown, caller: string): Promise<RowSource | undefined> {
  if (typeof source !== 'string' || source === '') return arrowRows(source, caller);
  const head = Buffer.from(await readHead(source, 8)).toString('latin1');
  if (head.startsWith('PARE'))
    throw new DeepRnnError('ERR_FILE', `${caller}: '${source}' is an encrypted Parquet file.`);
  if (head.startsWith('FEA1'))
    throw new DeepRnnError(
      'ERR_FILE',
      `${caller}: '${source}' is of the first version of Feather. Later ones are read, as are Parquet and CSV.`,
    );
  const format = beginnings.find(([mark]) => head.startsWith(mark))?.[1];
  if (format === undefined) return undefined;
  const { names, rows, read, close } = await threads().openInThread({ file: source, format, caller });
  return {
    ...{ names, rows, close, where: `'${source}'` },
    read: (chosen, begin, end, missing) => read({ names: chosen, begin, end, missing }),
  };
}

function arrowRows(source: unknown, caller: string): RowSource {
  const { numRows, schema, getChild } = Object(source) as Partial<ArrowTable>;
  if (!Number.isSafeInteger(numRows) || !Array.isArray(schema?.fields) || typeof getChild !== 'function')
    refuse('ERR_VALUE', `${caller}: source`, 'a file name or a table of Apache Arrow', quoted(source));
  const table = source as ArrowTable;
  const { fields } = table.schema;
  return {
    names: fields.map(({ name }) => String(name)),
    rows: table.numRows,
    where: 'the Arrow table',
    read: async (names, begin, end, missing) => {
      const columns: Columns = Object.create(null);
      for (const name of names) {
        const type = fields.find((field) => field.name === name)?.type;
        const values = arrowValues(table.getChild(name), type, begin, end);
        const where = (row: number) => `${caller}: the Arrow table, row ${begin + row}, column '${name}'`;
        columns[name] = columnOf(values, isTextType(type), missing, where);
      }
      return columns;
    },
    close: async () => {},
  };
}

export function chosenColumns(
  { names, where }: RowSource,
  given: readonly string[] | undefined,
  caller: string,
): readonly string[] {
  const chosen = given ?? names;
  const subject = `${caller}: columns of ${where}`;
  const odd = chosen.find((name) => !names.includes(name));
  if (odd !== undefined) refuseColumn(subject, odd, names);
  const twice = chosen.find(
    (name, i) => chosen.indexOf(name) < i || names.indexOf(name) !== names.lastIndexOf(name),
  );
  if (twice !== undefined) refuse('ERR_VALUE', subject, 'a name of its own for each', `'${twice}' twice`);
  return chosen;
}
