import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { readConfig } from '../config';
import { DeepRnnError, reasonOf, refuse } from '../errors';
import { makeTable, type Table } from './table';

export interface CsvOptions {
  /** Columns to read, by name (or by position from 0 without a header). Default: all. */
  columns?: readonly (string | number)[];
  /** Whether the first line names the columns. Default true. */
  header?: boolean;
  /** Default `','`. */
  delimiter?: string;
  /** Columns that stay text. Default: those whose first cell that is not missing is text. */
  text?: readonly (string | number)[];
  /** What a missing number (an empty cell, or NaN) becomes: NaN to go on, or an error. Default `'refuse'`. */
  missing?: 'nan' | 'refuse';
}

/**
 * Reads a CSV file, or a stream of CSV text, column by column (through csv-parse).
 * @throws ERR_FILE when it cannot be read or is no CSV; ERR_VALUE, with line and column, for what is not a number
 */
export async function readCsv(source: string | Readable, options: CsvOptions = {}): Promise<Table> {
  let whole: Table | undefined;
  for await (const table of streamCsv(source, options, Number.POSITIVE_INFINITY, 'readCsv')) whole = table;
  return whole as Table;
}

/** The same, `rowsEach` rows at a time; of a file without rows one table of none. */
export async function* streamCsv(
  source: string | Readable,
  options: CsvOptions,
  rowsEach: number,
  caller: string,
): AsyncGenerator<Table> {
  const o = readConfig(options, ['columns', 'header', 'delimiter', 'text', 'missing'], caller) as CsvOptions;
  const where = typeof source === 'string' ? `'${source}'` : 'the stream';
  // Loaded by those who read such files.
  const { parse } = require('csv-parse') as typeof import('csv-parse');
  const parser = parse({
    delimiter: o.delimiter ?? ',',
    bom: true,
    trim: true,
    skip_empty_lines: true,
    info: true,
  });
  const stream: Readable = typeof source === 'string' ? createReadStream(source) : source;
  stream.on('error', (error: Error) => parser.destroy(error));
  stream.pipe(parser);
  let reader: ColumnReader | undefined;
  let isGiven = false;
  try {
    for await (const { record, info } of parser as AsyncIterable<{
      record: string[];
      info: { lines: number };
    }>) {
      if (!reader) {
        const header = o.header ?? true;
        reader = new ColumnReader(where, header ? record : record.map((_, i) => String(i)), o, caller);
        if (header) continue;
      }
      reader.add(record, info.lines);
      if (reader.rows < rowsEach) continue;
      yield reader.take();
      isGiven = true;
    }
  } catch (error) {
    if (error instanceof DeepRnnError) throw error;
    const reason = reasonOf(error);
    throw new DeepRnnError('ERR_FILE', `${caller}: ${where} could not be read: ${reason}.`, { cause: error });
  } finally {
    // Whoever reads may have enough before the end.
    stream.destroy();
  }
  if (!reader) throw new DeepRnnError('ERR_FILE', `${caller}: ${where} is empty.`);
  if (reader.rows > 0 || !isGiven) yield reader.take();
}

/** Decimal numbers only: `Number` would also read 0x10, and an empty cell as 0. */
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const isMissing = (cell: string) => cell === '' || /^nan$/i.test(cell);

/** One column while it is read. Whether it holds text or numbers is settled by its first cell that is not missing. */
interface Column {
  readonly name: string;
  readonly place: number;
  isText: boolean | undefined;
  numbers: number[];
  text: string[];
  /** The line of the first missing cell. */
  missing: { readonly line: number; readonly cell: string } | undefined;
}

class ColumnReader {
  private readonly chosen: Column[];
  rows = 0;

  constructor(
    private readonly where: string,
    names: readonly string[],
    private readonly options: CsvOptions,
    private readonly caller: string,
  ) {
    const wanted = options.columns?.map(String) ?? [...names];
    const subject = `${caller}: columns of ${where}`;
    const text = options.text?.map(String);
    this.chosen = wanted.map((name, i) => {
      const place = names.indexOf(name);
      if (place < 0) refuse('ERR_VALUE', subject, `one of ${names.join(', ')}`, `'${name}'`);
      if (names.indexOf(name, place + 1) >= 0 || wanted.indexOf(name) < i) {
        const wayOut = 'With header: false columns go by their positions.';
        refuse('ERR_VALUE', subject, 'a name of its own for each', `'${name}' twice`, wayOut);
      }
      return { name, place, isText: text?.includes(name), numbers: [], text: [], missing: undefined };
    });
  }

  add(record: readonly string[], line: number): void {
    for (const column of this.chosen) this.addCell(column, record[column.place] ?? '', line);
    this.rows++;
  }

  private addCell(column: Column, cell: string, line: number): void {
    const missing = isMissing(cell);
    if (!missing) column.isText ??= !NUMBER.test(cell);
    if (column.isText !== false) column.text.push(cell);
    if (column.isText) return;
    if (missing) column.missing ??= { line, cell };
    else if (!NUMBER.test(cell)) this.refuseCell(column, line, cell);
    column.numbers.push(missing ? Number.NaN : Number(cell));
    if (column.isText === false) this.proveMissing(column);
  }

  private proveMissing(column: Column): void {
    if (column.missing && this.options.missing !== 'nan')
      this.refuseCell(column, column.missing.line, column.missing.cell);
  }

  private refuseCell(column: Column, line: number, cell: string): never {
    const subject = `${this.caller}: ${this.where}, line ${line}, column '${column.name}'`;
    return refuse('ERR_VALUE', subject, 'a number', cell === '' ? 'nothing' : `'${cell.slice(0, 40)}'`);
  }

  /** The rows since the last time. */
  take(): Table {
    // Without a prototype, because a column may be called like one of its members.
    const columns: Record<string, Float64Array | string[]> = Object.create(null);
    for (const column of this.chosen) {
      if (!column.isText) this.proveMissing(column);
      columns[column.name] = column.isText ? column.text : Float64Array.from(column.numbers);
      column.numbers = [];
      column.text = [];
    }
    const { rows } = this;
    this.rows = 0;
    return makeTable(columns, rows);
  }
}
