// Random data, always the same.

/** A deterministic mix of numbers in [-1, 1). */
export function numbers(size: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Class indices from 0 to `classes` − 1. */
export function labels(size: number, classes: number): Int32Array {
  return Int32Array.from(numbers(size), (v) => Math.min(classes - 1, Math.floor(((v + 1) / 2) * classes)));
}
