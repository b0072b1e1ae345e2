import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { nearestName } from '../names';
import { Tensor } from '../tensors/tensor';

/** Columns by name: numbers as Float64Array, text as strings. */
export interface Table {
  readonly columns: Readonly<Record<string, Float64Array | string[]>>;
  readonly rows: number;
  /**
   * Columns of numbers beside each other: `[rows, names.length]`. Default: all columns of numbers, float64, so that times and large
   * counts are still told apart; a model takes either.
   * @throws ERR_VALUE for text, and for numbers that float32 does not hold where that is asked for
   */
  toTensor(names?: readonly string[], options?: { dtype?: 'float32' | 'float64' }): Tensor;
}

/** @param columns without a prototype, because a column may be called like one of its members */
export function makeTable(columns: Record<string, Float64Array | string[]>, rows: number): Table {
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
        (column as Float64Array).forEach((v, r) => {
          const where = () => `table.toTensor: column '${name}', row ${r}`;
          data[r * names.length + d] = dtype === 'float32' ? inFloat32(v, where) : v;
        });
      });
      return new Tensor(data, [rows, names.length]);
    },
  };
}

/** A number that float32 can hold, rounded or not. @throws ERR_VALUE for one that would become infinite */
export function inFloat32(value: number, where: () => string): number {
  if (Number.isFinite(value) && !Number.isFinite(Math.fround(value)))
    refuse('ERR_VALUE', where(), 'a number up to 3.4e38, which float32 holds', value);
  return value;
}

/** Refuses a column that is not there, with the nearest that is. */
export function refuseColumn(subject: string, given: unknown, names: readonly string[]): never {
  const nearest = typeof given === 'string' ? nearestName(given, names) : undefined;
  const shown = names.length > 50 ? `${names.slice(0, 50).join(', ')}, …` : names.join(', ');
  const wayOut = nearest === undefined ? undefined : `Did you mean '${nearest}'?`;
  return refuse(
    'ERR_VALUE',
    subject,
    names.length > 0 ? `one of ${shown}` : 'a table with columns',
    quoted(given),
    wayOut,
  );
}
