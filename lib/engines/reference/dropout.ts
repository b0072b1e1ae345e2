import { philox4x32, splitSeed } from '../../tensors/random';
import type { Kernel, Real } from './operands';

export interface MaskSource {
  readonly seed: number;
  readonly stream: number;
  readonly step: number;
  readonly rate: number;
}

/**
 * `count` factors of a dropout mask, from number `first` on (Srivastava et al., 2014, scaled while training): 0 where the draw of
 * docs/plan.md is below rate · 2³², 1 / (1 − rate) elsewhere.
 */
export function dropoutMask(
  { seed, stream, step, rate }: MaskSource,
  count: number,
  first = 0,
): Float64Array {
  const mask = new Float64Array(count).fill(1);
  if (rate === 0) return mask;
  const [seedLo, seedHi] = splitSeed(seed);
  const [stepLo, stepHi] = splitSeed(step, 'step');
  const threshold = Math.floor(rate * 2 ** 32);
  const draws = new Uint32Array(4);
  for (let i = 0; i < count; i++) {
    const e = first + i;
    if (i === 0 || e % 4 === 0) philox4x32(Math.floor(e / 4), stream, stepLo, stepHi, seedLo, seedHi, draws);
    mask[i] = draws[e % 4]! < threshold ? 0 : 1 / (1 - rate);
  }
  return mask;
}

/** y = x ⊙ m; with mode `sharedOverTime` x is [T, N, D] and m is [N, D]. */
export const dropout: Kernel<'dropout', [x: Real, step: Real], [y: Real]> = (attrs, [x, step], [y]) => {
  const [T] = x.shape as [number];
  const count = attrs.mode === 'element' ? x.data.length : x.data.length / T;
  const m = dropoutMask({ ...attrs, step: step.data[0]! }, count);
  for (let i = 0; i < x.data.length; i++) y.data[i] = x.data[i]! * m[i % count]!;
};
