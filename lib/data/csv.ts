import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { parse } from 'csv-parse';
import { readConfig } from '../config';
import { DeepRnnError, reasonOf, refuse } from '../errors';
import { Tensor } from '../tensors/tensor';

export interface CsvOptions {
  /** Columns to read, by name (or by position from 0 without a header). Default: all. */
  columns?: readonly (string | number)[];
  /** Whether the first line names the columns. Default true. */
  header?: boolean;
  /** Default `','`. */
  delimiter?: string;
  /** Columns that stay text. Default: those that have text in their first row. */
  text?: readonly (string | number)[];
  /** What an empty number becomes: NaN to go on, or an error. Default `'refuse'`. */
  missing?: 'nan' | 'refuse';
}

/** Columns by name: numbers as Float64Array, text as strings. */
export interface Table {
  readonly columns: Readonly<Record<string, Float64Array | string[]>>;
  readonly rows: number;
  /** Columns of numbers beside each other: float32 `[rows, names.length]`. Default: all columns of numbers. */
  toTensor(names?: readonly string[]): Tensor;
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

class ColumnReader {
  private readonly places: number[];
  private readonly chosen: string[];
  private readonly values: (number[] | string[])[];
  private readonly isText: (boolean | undefined)[];
  private rows = 0;

  constructor(
    private readonly where: string,
    names: readonly string[],
    private readonly options: CsvOptions,
  ) {
    const wanted = options.columns?.map(String) ?? [...names];
    this.places = wanted.map((name) => {
      const place = names.indexOf(name);
      if (place < 0)
        refuse('ERR_VALUE', `readCsv: columns of ${where}`, `one of ${names.join(', ')}`, `'${name}'`);
      return place;
    });
    this.chosen = wanted;
    this.values = wanted.map(() => []);
    const text = options.text?.map(String);
    this.isText = wanted.map((name) => (text ? text.includes(name) : undefined));
  }

  add(record: readonly string[], line: number): void {
    this.places.forEach((place, i) => {
      const cell = record[place] ?? '';
      const number = cell === '' ? Number.NaN : Number(cell);
      this.isText[i] ??= cell !== '' && Number.isNaN(number);
      if (this.isText[i]) {
        (this.values[i] as string[]).push(cell);
        return;
      }
      const missing = cell === '' && this.options.missing === 'nan';
      if (Number.isNaN(number) && !missing) {
        refuse(
          'ERR_VALUE',
          `readCsv: ${this.where}, line ${line}, column '${this.chosen[i]}'`,
          'a number',
          cell === '' ? 'nothing' : `'${cell.slice(0, 40)}'`,
        );
      }
      (this.values[i] as number[]).push(number);
    });
    this.rows++;
  }

  table(): Table {
    const columns: Record<string, Float64Array | string[]> = {};
    this.chosen.forEach((name, i) => {
      columns[name] = this.isText[i]
        ? (this.values[i] as string[])
        : Float64Array.from(this.values[i] as number[]);
    });
    const { rows } = this;
    return {
      columns,
      rows,
      toTensor(names = Object.keys(columns).filter((name) => columns[name] instanceof Float64Array)) {
        const data = new Float32Array(rows * names.length);
        names.forEach((name, d) => {
          const column = columns[name];
          if (!(column instanceof Float64Array))
            refuse('ERR_VALUE', 'table.toTensor', 'columns of numbers', `'${name}'`);
          (column as Float64Array).forEach((v, r) => {
            data[r * names.length + d] = v;
          });
        });
        return new Tensor(data, [rows, names.length]);
      },
    };
  }
}
