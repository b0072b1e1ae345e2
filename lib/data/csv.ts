import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { flagOption, readConfig } from '../config';
import { DeepRnnError, oneOf, quoted, reasonOf, refuse } from '../errors';
import { makeTable, refuseColumn, type Table } from './table';

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
 * Reads a CSV file, or a stream of CSV text, column by column (through csv-parse): UTF-8, or UTF-16 that says so. Empty lines are no rows.
 * @throws ERR_FILE when it cannot be read or is no CSV; ERR_VALUE, with line and column, for what is not a number, and for numbers that
 *   float64 does not hold: whole ones beyond 2^53, others beyond 1.8e308
 */
export async function readCsv(source: string | Readable, options: CsvOptions = {}): Promise<Table> {
  return wholeCsv(source, options, 'readCsv');
}

export async function wholeCsv(
  source: string | Readable,
  options: CsvOptions,
  caller: string,
): Promise<Table> {
  let whole: Table | undefined;
  for await (const table of streamCsv(source, options, Number.POSITIVE_INFINITY, caller)) whole = table;
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
  const header = proveOptions(o, caller);
  const where = typeof source === 'string' ? `'${source}'` : 'the stream';
  // Loaded by those who read such files.
  const { parse } = require('csv-parse') as typeof import('csv-parse');
  const parser = parse({
    delimiter: o.delimiter ?? ',',
    bom: true,
    trim: true,
    skip_empty_lines: true,
    info: true,
    max_record_size: MOST_LINE,
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

/** A quotation mark that is never closed makes one cell of all that follows. */
const MOST_LINE = 2 ** 24;

/** @returns whether there is a header */
function proveOptions(o: CsvOptions, caller: string): boolean {
  const { delimiter = ',', missing = 'refuse' } = o;
  if (typeof delimiter !== 'string' || delimiter === '' || /["\r\n]/.test(delimiter))
    refuse('ERR_VALUE', `${caller}: delimiter`, 'what stands between cells', quoted(delimiter));
  if (missing !== 'nan' && missing !== 'refuse')
    refuse('ERR_VALUE', `${caller}: missing`, oneOf(['nan', 'refuse']), quoted(missing));
  for (const key of ['columns', 'text'] as const) {
    const names: unknown = o[key];
    if (
      names !== undefined &&
      !(Array.isArray(names) && names.every((n) => ['string', 'number'].includes(typeof n)))
    )
      refuse('ERR_VALUE', `${caller}: ${key}`, 'an array of names, or of positions', quoted(names));
  }
  return flagOption(o.header, true, `${caller}: header`);
}

/** Decimal numbers only: `Number` would also read 0x10, and an empty cell as 0. */
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
/** Whole numbers, which are names of things more often than quantities: rounding would make them those of others. */
const WHOLE = /^[+-]?\d+(?:\.0*)?$/;
const shown = (cell: string) => `'${cell.slice(0, 40)}'`;
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
    // By name, because there may be thousands.
    const places = new Map<string, number>();
    const repeated = new Set<string>();
    for (const [i, name] of names.entries()) {
      if (places.has(name)) repeated.add(name);
      else places.set(name, i);
    }
    const text = options.text && new Set(options.text.map(String));
    for (const name of text ?? [])
      if (!places.has(name)) refuseColumn(`${caller}: text: columns of ${where}`, name, names);
    const chosen = new Set<string>();
    this.chosen = wanted.map((name) => {
      const place = places.get(name);
      if (place === undefined) return refuseColumn(subject, name, names);
      if (repeated.has(name) || chosen.has(name)) {
        const wayOut = 'With header: false columns go by their positions.';
        refuse('ERR_VALUE', subject, 'a name of its own for each', `'${name}' twice`, wayOut);
      }
      chosen.add(name);
      return { name, place, isText: text?.has(name), numbers: [], text: [], missing: undefined };
    });
  }

  add(record: readonly string[], line: number): void {
    for (const column of this.chosen) this.addCell(column, record[column.place] ?? '', line);
    this.rows++;
  }

  private addCell(column: Column, cell: string, line: number): void {
    // What the decoder makes of bytes that are no UTF-8.
    if (cell.includes('\ufffd')) refuse('ERR_VALUE', this.cellOf(column, line), 'text in UTF-8', shown(cell));
    const missing = isMissing(cell);
    if (!missing) column.isText ??= !NUMBER.test(cell);
    if (column.isText !== false) column.text.push(cell);
    if (column.isText) return;
    if (missing) column.missing ??= { line, cell };
    else if (!NUMBER.test(cell)) this.refuseCell(column, line, cell);
    column.numbers.push(missing ? Number.NaN : this.numberOf(column, cell, line));
    if (column.isText === false) this.proveMissing(column);
  }

  private numberOf(column: Column, cell: string, line: number): number {
    const value = Number(cell);
    const isTooLarge = WHOLE.test(cell) && !Number.isSafeInteger(value);
    if (Number.isFinite(value) && !isTooLarge) return value;
    const subject = this.cellOf(column, line);
    const wanted = isTooLarge ? 'a whole number up to 2^53' : 'a number up to 1.8e308';
    return refuse(
      'ERR_VALUE',
      subject,
      wanted,
      shown(cell),
      `readCsv keeps it as it is with text: ['${column.name}'].`,
    );
  }

  private proveMissing(column: Column): void {
    if (column.missing && this.options.missing !== 'nan')
      this.refuseCell(column, column.missing.line, column.missing.cell);
  }

  private refuseCell(column: Column, line: number, cell: string): never {
    return refuse('ERR_VALUE', this.cellOf(column, line), 'a number', cell === '' ? 'nothing' : shown(cell));
  }

  private cellOf(column: Column, line: number): string {
    return `${this.caller}: ${this.where}, line ${line}, column '${column.name}'`;
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
