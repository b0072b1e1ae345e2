import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { parse } from 'csv-parse';
import { readConfig } from '../config';
import { DeepRnnError, quoted, reasonOf, refuse } from '../errors';
import { Tensor } from '../tensors/tensor';

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

/** Columns by name: numbers as Float64Array, text as strings. */
export interface Table {
  readonly columns: Readonly<Record<string, Float64Array | string[]>>;
  readonly rows: number;
  /**
   * Columns of numbers beside each other: `[rows, names.length]`. Default: all columns of numbers, float64, so that times and large
   * counts are still told apart; a model takes either.
   */
  toTensor(names?: readonly string[], options?: { dtype?: 'float32' | 'float64' }): Tensor;
}

/**
 * Reads a CSV file, or a stream of CSV text, column by column (through csv-parse).
 * @throws ERR_FILE when it cannot be read or is no CSV; ERR_VALUE, with line and column, for what is not a number
 */
export async function readCsv(source: string | Readable, options: CsvOptions = {}): Promise<Table> {
  const o = readConfig(
    options,
    ['columns', 'header', 'delimiter', 'text', 'missing'],
    'readCsv',
  ) as CsvOptions;
  const where = typeof source === 'string' ? `'${source}'` : 'the stream';
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
  try {
    for await (const { record, info } of parser as AsyncIterable<{
      record: string[];
      info: { lines: number };
    }>) {
      if (!reader) {
        const header = o.header ?? true;
        reader = new ColumnReader(where, header ? record : record.map((_, i) => String(i)), o);
        if (header) continue;
      }
      reader.add(record, info.lines);
    }
  } catch (error) {
    if (error instanceof DeepRnnError) throw error;
    const reason = reasonOf(error);
    throw new DeepRnnError('ERR_FILE', `readCsv: ${where} could not be read: ${reason}.`, { cause: error });
  }
  if (!reader) throw new DeepRnnError('ERR_FILE', `readCsv: ${where} is empty.`);
  return reader.table();
}

/** Decimal numbers only: `Number` would also read 0x10, and an empty cell as 0. */
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const isMissing = (cell: string) => cell === '' || /^nan$/i.test(cell);

/** One column while it is read. Whether it holds text or numbers is settled by its first cell that is not missing. */
interface Column {
  readonly name: string;
  readonly place: number;
  isText: boolean | undefined;
  readonly numbers: number[];
  readonly text: string[];
  /** The line of the first missing cell. */
  missing: { readonly line: number; readonly cell: string } | undefined;
}

class ColumnReader {
  private readonly chosen: Column[];
  private rows = 0;

  constructor(
    private readonly where: string,
    names: readonly string[],
    private readonly options: CsvOptions,
  ) {
    const wanted = options.columns?.map(String) ?? [...names];
    const subject = `readCsv: columns of ${where}`;
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
    const subject = `readCsv: ${this.where}, line ${line}, column '${column.name}'`;
    return refuse('ERR_VALUE', subject, 'a number', cell === '' ? 'nothing' : `'${cell.slice(0, 40)}'`);
  }

  table(): Table {
    // Without a prototype, because a column may be called like one of its members.
    const columns: Record<string, Float64Array | string[]> = Object.create(null);
    for (const column of this.chosen) {
      if (!column.isText) this.proveMissing(column);
      columns[column.name] = column.isText ? column.text : Float64Array.from(column.numbers);
    }
    const { rows } = this;
    const numeric = Object.keys(columns).filter((name) => columns[name] instanceof Float64Array);
    return {
      columns,
      rows,
      toTensor(names = numeric, options = {}) {
        const { dtype = 'float64' } = readConfig(options, ['dtype'], 'table.toTensor');
        if (dtype !== 'float32' && dtype !== 'float64')
          refuse('ERR_VALUE', 'table.toTensor: dtype', "'float32' or 'float64'", quoted(dtype));
        const size = rows * names.length;
        const data = dtype === 'float32' ? new Float32Array(size) : new Float64Array(size);
        names.forEach((name, d) => {
          const column = columns[name];
          if (!(column instanceof Float64Array))
            refuse('ERR_VALUE', 'table.toTensor', `columns of numbers (${numeric.join(', ')})`, `'${name}'`);
          column.forEach((v, r) => {
            data[r * names.length + d] = v;
          });
        });
        return new Tensor(data, [rows, names.length]);
      },
    };
  }
}
