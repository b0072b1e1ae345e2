import type { WeightPenalty } from '../../plan/types';
import type { Kernel, Real } from './operands';

/** scale · Σ (l1 |x| + l2 x²). */
export const penalty: Kernel<'penalty', [x: Real], [value: Real]> = ({ l1, l2, scale }, [x], [value]) => {
  let sum = 0;
  for (const v of x.data) sum += l1 * Math.abs(v) + l2 * v * v;
  value.data[0] = scale * sum;
};

/** The derivative of l1 |v| + l2 v², 0 at 0. */
export function penaltySlope({ l1, l2 }: WeightPenalty, v: number): number {
  return l1 * Math.sign(v) + 2 * l2 * v;
}

/** scale · (l1 sign(x) + 2 l2 x). */
export const penaltyGrad: Kernel<'penaltyGrad', [x: Real], [dx: Real]> = (attrs, [x], [dx]) => {
  for (let i = 0; i < dx.data.length; i++) dx.data[i] = attrs.scale * penaltySlope(attrs, x.data[i]!);
};
