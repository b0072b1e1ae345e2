import { Philox } from '../../../lib/tensors/random';

/** The seed of this run's random inputs; set DEEPRNN_TEST_SEED to repeat a run that failed. */
export const testSeed = Number(process.env['DEEPRNN_TEST_SEED']) || Date.now();

/** Normally distributed test values. Each use gives other ones. */
export class Draws {
  private readonly philox: Philox;

  constructor(seed = testSeed) {
    this.philox = new Philox(seed);
  }

  normals(count: number, scale = 1): Float64Array {
    return Float64Array.from({ length: count }, () => scale * this.philox.nextNormal());
  }

  /** Uniform in [low, high). */
  uniforms(count: number, low: number, high: number): Float64Array {
    return Float64Array.from({ length: count }, () => low + (high - low) * this.philox.nextFloat());
  }

  /** 0 … bound−1. */
  integers(count: number, bound: number): Int32Array {
    return Int32Array.from({ length: count }, () => this.philox.nextInt(bound));
  }
}

/**
 * Step sizes of the central differences, of which one has to agree: a smaller one steps over a kink (relu, clipping) that
 * lies inside a larger one, and sees less of how fast a slope changes. A wrong derivative agrees with none.
 */
const STEPS = [1e-5, 1e-6, 1e-7, 1e-8];

/** Rounding of one value of f: what a difference of two, divided by the step, cannot tell from zero. */
const ROUNDING = 4 * 2 ** -52;

/** Agreement asked for, relative to the entry, or to a hundredth of the largest entry where it is smaller than that. */
const TOLERANCE = 1e-6;

/**
 * Proves that `gradient` is the gradient of `f` with respect to `x`, which `f` reads, by central differences.
 * @param cancelled what rounding inside f, where large values leave a small one, adds to the error of its value
 * @throws with the seed and up to ten of the entries that are off
 */
export function expectGradient(
  name: string,
  gradient: ArrayLike<number>,
  x: Float64Array,
  f: () => number,
  cancelled = 0,
): void {
  if (gradient.length !== x.length)
    throw new Error(`${name}: ${gradient.length} entries for ${x.length} inputs`);
  const largest = Array.from(gradient).reduce(
    (max, v) => (Number.isFinite(v) ? Math.max(max, Math.abs(v)) : max),
    0,
  );
  const faults: string[] = [];
  for (let i = 0; i < x.length; i++) {
    const g = gradient[i] as number;
    const numeric: number[] = [];
    const agrees = STEPS.some((h) => {
      const { value: n, size } = centralDifference(x, i, h, f);
      numeric.push(n);
      if (!Number.isFinite(g) || !Number.isFinite(n)) return false;
      const noise = (ROUNDING * size + cancelled) / h;
      return Math.abs(g - n) <= noise + TOLERANCE * Math.max(Math.abs(g), Math.abs(n), largest / 100);
    });
    if (!agrees) faults.push(`[${i}] gradient ${g}, central differences ${numeric.join(' / ')}`);
  }
  if (faults.length === 0) return;
  const list = faults.slice(0, 10).join('\n  ');
  throw new Error(
    `${name}: ${faults.length} of ${x.length} entries off (DEEPRNN_TEST_SEED=${testSeed}):\n  ${list}`,
  );
}

/** The difference quotient, and the size of the values that it was taken of. */
function centralDifference(
  x: Float64Array,
  i: number,
  h: number,
  f: () => number,
): { value: number; size: number } {
  const held = x[i] as number;
  const above = held + h;
  const below = held - h;
  x[i] = above;
  const high = f();
  x[i] = below;
  const low = f();
  x[i] = held;
  // `above − below` and not 2h: what was really added after rounding.
  return { value: (high - low) / (above - below), size: Math.max(Math.abs(high), Math.abs(low)) };
}

/** Σ a ⊙ b over pairs of arrays; pairs with a part missing count nothing. */
export function contract(
  as: readonly (ArrayLike<number> | undefined)[],
  bs: readonly (ArrayLike<number> | undefined)[],
): number {
  let sum = 0;
  as.forEach((a, k) => {
    const b = bs[k];
    if (!a || !b) return;
    for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  });
  return sum;
}
