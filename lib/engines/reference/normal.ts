/** φ(x) = e^(−x²/2) / √(2π), the density of the standard normal distribution. */
export function normalDensity(x: number): number {
  return Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
}

/** Φ(x) = ½ erfc(−x/√2), its distribution function, to float64 precision relative to Φ on both sides. */
export function normalDistribution(x: number): number {
  return erfc(-x / Math.SQRT2) / 2;
}

function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x);
  if (Number.isNaN(x)) return Number.NaN;
  return x < 1 ? 1 - erfSeries(x) : erfcFraction(x);
}

/** erf x = 2/√π e^(−x²) Σ_n 2ⁿ x^(2n+1) / (1·3·…·(2n+1)), Abramowitz & Stegun 7.1.6: all terms have one sign. */
function erfSeries(x: number): number {
  let term = x;
  let sum = 0;
  for (let n = 1; sum + term !== sum; n++) {
    sum += term;
    term *= (2 * x * x) / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/**
 * √π e^(x²) erfc x = 1/(x + ½/(x + 1/(x + 3⁄2/(x + 2/(x + …))))), Abramowitz & Stegun 7.1.14, evaluated from the far end.
 * 160 levels leave no error that float64 shows at x = 1, where the fraction converges slowest.
 */
function erfcFraction(x: number): number {
  let tail = x;
  for (let k = 160; k >= 1; k--) tail = x + k / 2 / tail;
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * tail);
}
