import { philox4x32, splitSeed } from '../../tensors/random';
import type { Kernel, Real } from './operands';

/**
 * y = x + stddev·(1 + step)^−decay · z, z standard normal: Box & Muller (1958) on the draws u₀ … u₃ of each block of four elements, as docs/plan.md
 * says.
 */
export const noise: Kernel<'noise', [x: Real, step: Real], [y: Real]> = (
  { seed, stream, stddev, decay = 0 },
  [x, step],
  [y],
) => {
  const [seedLo, seedHi] = splitSeed(seed);
  const [stepLo, stepHi] = splitSeed(step.data[0]!, 'step');
  const deviation = stddev * (1 + step.data[0]!) ** -decay;
  const u = new Uint32Array(4);
  for (let e = 0; e < y.data.length; e++) {
    if (e % 4 === 0) philox4x32(Math.floor(e / 4), stream, stepLo, stepHi, seedLo, seedHi, u);
    const pair = e % 4 < 2 ? 0 : 2;
    const radius = Math.sqrt(-2 * Math.log((u[pair]! + 1) / 2 ** 32));
    const angle = (2 * Math.PI * u[pair + 1]!) / 2 ** 32;
    y.data[e] = x.data[e]! + deviation * radius * (e % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
  }
};
