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
