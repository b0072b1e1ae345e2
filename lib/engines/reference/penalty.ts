import type { Kernel, Real } from './operands';

/** scale · Σ (l1 |x| + l2 x²). */
export const penalty: Kernel<'penalty', [x: Real], [value: Real]> = ({ l1, l2, scale }, [x], [value]) => {
  let sum = 0;
  for (const v of x.data) sum += l1 * Math.abs(v) + l2 * v * v;
  value.data[0] = scale * sum;
};

/** scale · (l1 sign(x) + 2 l2 x), with sign(0) = 0. */
export const penaltyGrad: Kernel<'penaltyGrad', [x: Real], [dx: Real]> = ({ l1, l2, scale }, [x], [dx]) => {
  for (let i = 0; i < dx.data.length; i++) {
    const v = x.data[i]!;
    dx.data[i] = scale * (l1 * Math.sign(v) + 2 * l2 * v);
  }
};
