import { quoted, refuse } from '../errors';

/** Columns by name: numbers, or text. */
export type Columns = Record<string, Float64Array | string[]>;

/** What a missing number becomes. */
export type Missing = 'nan' | 'refuse';

/**
 * Values of a column as numbers (booleans as 0 and 1, dates as milliseconds since 1970) or as text, missing text being empty.
 * @param isText whether it holds text; where that is not known it does if its first value that is there is text
 * @param where what messages call a row
 * @throws ERR_VALUE for other values, for whole numbers that float64 does not hold exactly, and for missing numbers unless they may become NaN
 */
export function columnOf(
  values: ArrayLike<unknown>,
  isText: boolean | undefined,
  missing: Missing,
  where: (row: number) => string,
): Float64Array | string[] {
  const list = Array.from(values);
  if (isText ?? typeof list.find((v) => v !== null && v !== undefined) === 'string')
    return list.map((v, row) =>
      typeof v === 'string'
        ? v
        : v === null || v === undefined
          ? ''
          : refuse('ERR_VALUE', where(row), 'text', quoted(v)),
    );
  return Float64Array.from(list, (v, row) => {
    const number = numberOf(v);
    if (number === undefined) refuseValue(v, where(row));
    if (Number.isNaN(number) && missing === 'refuse')
      refuse('ERR_VALUE', where(row), 'a number', 'nothing', "missing: 'nan' makes it NaN.");
    return number as number;
  });
}

function refuseValue(value: unknown, where: string): never {
  if (typeof value === 'bigint' || typeof value === 'number')
    return refuse('ERR_VALUE', where, 'a whole number up to 2^53', value, 'Larger ones can be read as text.');
  return refuse('ERR_VALUE', where, 'a number', quoted(value), 'columns tells which ones to read.');
}

/** NaN for what is missing; undefined for what is no number, or none that float64 holds. */
function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  if (value === null || value === undefined) return Number.NaN;
  if (typeof value === 'boolean') return Number(value);
  if (value instanceof Date) return value.getTime();
  if (typeof value === 'bigint' && Number.isSafeInteger(Number(value))) return Number(value);
  return undefined;
}

/**
 * The number of float64 nearest to a decimal, `unscaled / 10^scale`; the digits themselves, which are refused as a whole number, where there are
 * more of them than float64 can tell apart.
 */
export function decimalOf(unscaled: bigint, scale: number): number | bigint {
  return Number.isSafeInteger(Number(unscaled)) ? Number(`${unscaled}e${-scale}`) : unscaled;
}
