import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { Tensor } from '../tensors/tensor';
import { streamCsv } from './csv';
import { type ArrowTable, chosenColumns, openRows } from './readTable';
import { inFloat32, makeTable, refuseColumn, type Table } from './table';

/** A column of numbers by its name; of text with the words that it may hold, in the order of their classes. */
export type ColumnSpec = string | { readonly column: string; readonly vocabulary: readonly string[] };

export interface TableColumns {
  /** Columns of x: a number is one feature, text as many as its vocabulary has words (one of them 1). */
  readonly features: readonly ColumnSpec[];
  /** Column of y: numbers `[N, 1]`, or the classes of text, int32 `[N]`, for sparseCategoricalCrossentropy. Default: no y. */
  readonly target?: ColumnSpec;
}

export interface TableBatchesOptions extends TableColumns {
  /** Default 32. */
  readonly batchSize?: number;
}

interface Column {
  readonly name: string;
  /** The class of every word. */
  readonly classes: ReadonlyMap<string, number> | undefined;
}

/** The different words of a column of text, sorted: a vocabulary for `features` and `target`. */
export function vocabularyOf(table: Table, column: string): string[] {
  const values = table.columns[column];
  if (!Array.isArray(values)) {
    const text = Object.keys(table.columns).filter((name) => Array.isArray(table.columns[name]));
    refuse('ERR_VALUE', 'vocabularyOf: column', `a column of text (${text.join(', ')})`, quoted(column));
  }
  return [...new Set(values as string[])].sort();
}

/**
 * Columns of a table as `x` `[rows, features]`, float32, and `y`.
 * @throws ERR_VALUE for a word that no vocabulary has, and for text without a vocabulary
 */
export function tableTensors(
  table: Table,
  columns: TableColumns & { readonly target: unknown },
): { x: Tensor; y: Tensor };
export function tableTensors(table: Table, columns: TableColumns): { x: Tensor; y?: Tensor };
export function tableTensors(table: Table, columns: TableColumns): { x: Tensor; y?: Tensor } {
  const { features, target } = readColumns(columns, 'tableTensors', []);
  return tensorsOf(table, features, target, 0, 'tableTensors');
}

/**
 * Batches of a Parquet file, a CSV file or an Arrow table for `fit`, `evaluate` and `predict`, of which no more is in memory than is needed for
 * one: rows in their order, the last batch may be shorter. A function that begins anew whenever it is called.
 */
export function tableBatches(
  source: string | ArrowTable,
  options: TableBatchesOptions,
): () => AsyncGenerator<{ x: Tensor; y?: Tensor }> {
  const caller = 'tableBatches';
  const { features, target, rest } = readColumns(options, caller, ['batchSize']);
  const { batchSize = 32 } = rest;
  if (!Number.isSafeInteger(batchSize) || (batchSize as number) < 1)
    refuse('ERR_VALUE', `${caller}: batchSize`, 'a positive integer', quoted(batchSize));
  const size = batchSize as number;
  const names = [...new Set([...features, ...(target ? [target] : [])].map(({ name }) => name))];
  return async function* batches() {
    let at = 0;
    for await (const table of tables(
      source,
      names,
      size,
      [...features, ...(target ? [target] : [])],
      caller,
    )) {
      yield tensorsOf(table, features, target, at, caller);
      at += table.rows;
    }
  };
}

/** Rows read from a file of numbered rows at once. Its row groups are unpacked again for every reading. */
const ROWS_AT_ONCE = 2 ** 16;

async function* tables(
  source: string | ArrowTable,
  names: readonly string[],
  size: number,
  columns: readonly Column[],
  caller: string,
): AsyncGenerator<Table> {
  const rows = await openRows(source, caller);
  if (!rows) {
    const text = columns.filter(({ classes }) => classes).map(({ name }) => name);
    yield* streamCsv(source as string, { columns: names, text }, size, caller);
    return;
  }
  try {
    chosenColumns(rows, names, caller);
    const step = Math.max(size, Math.floor(ROWS_AT_ONCE / size) * size);
    for (let begin = 0; begin < rows.rows; begin += step) {
      const end = Math.min(begin + step, rows.rows);
      const block = makeTable(await rows.read(names, begin, end, 'refuse'), end - begin);
      for (let from = 0; from < block.rows; from += size)
        yield rowsOf(block, from, Math.min(from + size, block.rows));
    }
  } finally {
    await rows.close();
  }
}

function rowsOf(table: Table, begin: number, end: number): Table {
  // Without a prototype, as in makeTable.
  const columns: Record<string, Float64Array | string[]> = Object.create(null);
  for (const [name, values] of Object.entries(table.columns)) columns[name] = values.slice(begin, end);
  return makeTable(columns, end - begin);
}

function readColumns(options: unknown, caller: string, others: readonly string[]) {
  const { features, target, ...rest } = readConfig<string>(
    options,
    ['features', 'target', ...others],
    caller,
  );
  if (!Array.isArray(features) || features.length === 0)
    refuse('ERR_VALUE', `${caller}: features`, 'an array of columns', quoted(features));
  return {
    features: (features as unknown[]).map((spec, i) => readColumn(spec, `${caller}: features[${i}]`)),
    target: target === undefined ? undefined : readColumn(target, `${caller}: target`),
    rest: rest as Partial<Record<string, unknown>>,
  };
}

function readColumn(spec: unknown, subject: string): Column {
  if (typeof spec === 'string') return { name: spec, classes: undefined };
  const o = readConfig(spec, ['column', 'vocabulary'], subject);
  const { column, vocabulary } = o;
  if (typeof column !== 'string')
    refuse('ERR_VALUE', `${subject}: column`, 'the name of a column', quoted(column));
  if (
    !Array.isArray(vocabulary) ||
    vocabulary.length === 0 ||
    !vocabulary.every((word) => typeof word === 'string')
  )
    refuse('ERR_VALUE', `${subject}: vocabulary`, 'an array of words', quoted(vocabulary));
  const classes = new Map((vocabulary as string[]).map((word, i) => [word, i]));
  if (classes.size !== (vocabulary as string[]).length)
    refuse('ERR_VALUE', `${subject}: vocabulary`, 'every word once', 'one twice');
  return { name: column as string, classes };
}

/** @param first number of the table's first row, for messages */
function tensorsOf(
  table: Table,
  features: readonly Column[],
  target: Column | undefined,
  first: number,
  caller: string,
) {
  const { rows } = table;
  const widths = features.map(({ classes }) => classes?.size ?? 1);
  const width = widths.reduce((a, b) => a + b, 0);
  const data = new Float32Array(rows * width);
  let at = 0;
  for (const [i, column] of features.entries()) {
    const values = valuesOf(table, column, first, caller);
    for (let row = 0; row < rows; row++) {
      const place = row * width + at;
      const value = values[row] as number;
      if (column.classes) data[place + value] = 1;
      else data[place] = inFloat32(value, () => `${caller}: column '${column.name}', row ${first + row}`);
    }
    at += widths[i] as number;
  }
  const x = new Tensor(data, [rows, width]);
  if (!target) return { x };
  const values = valuesOf(table, target, first, caller);
  const y = target.classes
    ? new Tensor(Int32Array.from(values), [rows])
    : new Tensor(
        Float32Array.from(values, (value, row) =>
          inFloat32(value, () => `${caller}: column '${target.name}', row ${first + row}`),
        ),
        [rows, 1],
      );
  return { x, y };
}

/** Numbers, or the classes of words. */
function valuesOf(table: Table, { name, classes }: Column, first: number, caller: string): ArrayLike<number> {
  const values = table.columns[name];
  if (values === undefined) return refuseColumn(`${caller}: column`, name, Object.keys(table.columns));
  if (values instanceof Float64Array) {
    if (classes)
      refuse('ERR_VALUE', `${caller}: column '${name}'`, 'text, since it has a vocabulary', 'numbers');
    return values;
  }
  if (!classes)
    refuse(
      'ERR_VALUE',
      `${caller}: column '${name}'`,
      'a vocabulary for its text',
      'none',
      'vocabularyOf(table, column) gives one.',
    );
  return (values as string[]).map(
    (word, row) =>
      classes?.get(word) ??
      refuse(
        'ERR_VALUE',
        `${caller}: column '${name}', row ${first + row}`,
        'a word of its vocabulary',
        quoted(word.slice(0, 60)),
      ),
  );
}
