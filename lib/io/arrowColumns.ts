import { decimalOf } from './columns';

/** Of a column of Apache Arrow what is read here. */
export interface ArrowColumn {
  get(row: number): unknown;
}

/** Of a type of Apache Arrow what is read here. */
export interface ArrowType {
  readonly typeId?: number;
  readonly scale?: number;
  /** What a dictionary holds. */
  readonly dictionary?: ArrowType;
}

/** Kinds of types, by the numbers that apache-arrow's `Type` gives them. */
const [UTF8, DECIMAL, LARGE_UTF8, UTF8_VIEW, DICTIONARY] = [5, 7, 20, 24, -1];

/** Whether a type is one of text; undefined for a table that says no types. */
export function isTextType(type: ArrowType | undefined): boolean | undefined {
  if (type?.typeId === undefined) return undefined;
  const { typeId } = type.typeId === DICTIONARY ? (type.dictionary ?? type) : type;
  return [UTF8, LARGE_UTF8, UTF8_VIEW].includes(typeId as number);
}

/** Rows of a column; decimals as the numbers nearest to them. */
export function arrowValues(
  column: ArrowColumn | null,
  type: ArrowType | undefined,
  begin: number,
  end: number,
): unknown[] {
  const { typeId, scale = 0 } = (type?.typeId === DICTIONARY ? type.dictionary : type) ?? {};
  return Array.from({ length: end - begin }, (_, i) => {
    const value = column?.get(begin + i);
    return typeId === DECIMAL && value instanceof Uint32Array ? decimalOf(unscaled(value), scale) : value;
  });
}

/** A whole number of any width, in two's complement, the lowest 32 bits first. */
function unscaled(words: Uint32Array): bigint {
  const value = words.reduceRight((sum, word) => (sum << 32n) | BigInt(word), 0n);
  return BigInt.asIntN(32 * words.length, value);
}
