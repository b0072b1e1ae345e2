import type { TensorData } from '../tensors/tensor';

/** Where int32 begins and ends. */
const [LEAST, MOST] = [-(2 ** 31), 2 ** 31 - 1];

/**
 * Whole numbers of any kind as an array that tensors have: int32 where all of them fit, else float64, which holds whole numbers up to 2^53.
 * @param refuseAt called, to throw, with the place of the first number that float64 does not hold exactly
 */
export function integersFrom(
  values: ArrayLike<number | bigint>,
  refuseAt: (place: number, value: number | bigint) => never,
): TensorData {
  const numbers = new Float64Array(values.length);
  let fits = true;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number | bigint;
    const v = Number(value);
    if (!Number.isSafeInteger(v)) refuseAt(i, value);
    numbers[i] = v;
    if (v < LEAST || v > MOST) fits = false;
  }
  return fits ? Int32Array.from(numbers) : numbers;
}

/** IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits. */
export function fromFloat16(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The nearest binary16, ties to the even one; too large numbers become infinite. */
export function toFloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | roundToEven(size * 2 ** 24);
  let exponent = Math.floor(Math.log2(size));
  // The logarithm may be rounded up to the next whole number, or down.
  if (2 ** exponent > size) exponent--;
  else if (2 ** (exponent + 1) <= size) exponent++;
  // A fraction that is rounded up to 2 carries into the exponent.
  return sign | (((exponent + 15) << 10) + roundToEven(size * 2 ** (10 - exponent)) - 1024);
}

function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
