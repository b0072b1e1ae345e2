import { quoted, refuse } from '../../errors';
import { ops } from '../../ops';
import type { Traced } from '../../ops/traced';
import type { InitializerSpec } from '../initializers';
import { type CellDefinition, defineCell } from './cell';

export interface SruConfig {
  units: number;
  /** Default `'glorotUniform'`. */
  kernelInitializer?: InitializerSpec;
  /** Of the weights `[2·units]` that the gates multiply the state by. Default: uniform from −0.05 to 0.05. */
  recurrentInitializer?: InitializerSpec;
}

/**
 * The simple recurrent unit (Lei et al., 2018, equations 1–4), whose products are of the input alone, so that all steps share one:
 * `f = σ(x W_f + v_f ⊙ c_{t−1} + b_f)`, `r = σ(x W_r + v_r ⊙ c_{t−1} + b_r)`, `c = f ⊙ c_{t−1} + (1 − f) ⊙ x W`, `h = r ⊙ c + (1 − r) ⊙ x`; where
 * the input has another width than the state, a fourth part of the kernel stands before the last x. Kernel `[features, 3 or 4 · units]`:
 * W, W_f, W_r; recurrentKernel and bias `[2·units]`: of f, of r.
 */
function sru(config: SruConfig): CellDefinition {
  const { units, kernelInitializer, recurrentInitializer, ...rest } = Object(config);
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined)
    refuse('ERR_VALUE', 'cells.sru', 'units, kernelInitializer or recurrentInitializer', quoted(unknown));
  if (!Number.isSafeInteger(units) || units < 1)
    refuse('ERR_VALUE', 'cells.sru: units', 'a positive integer', quoted(units));
  return {
    states: { c: units },
    weights: (features) => ({
      kernel: {
        shape: [features, (features === units ? 3 : 4) * units],
        ...(kernelInitializer ? { initializer: kernelInitializer } : {}),
      },
      recurrentKernel: {
        shape: [2 * units],
        initializer: recurrentInitializer ?? { type: 'randomUniform', minval: -0.05, maxval: 0.05 },
        decay: true,
      },
      bias: { shape: [2 * units] },
    }),
    step(x, states, w) {
      const c = states['c'] as Traced;
      const [recurrentKernel, bias] = [w['recurrentKernel'] as Traced, w['bias'] as Traced];
      const parts = x.width === units ? 3 : 4;
      const [candidate, xf, xr, skip = x] = ops.split(ops.matmul(x, w['kernel'] as Traced), parts) as [
        Traced,
        Traced,
        Traced,
        Traced?,
      ];
      const gate = (own: Traced, first: number) => {
        const part = (vector: Traced) => ops.slice(vector, first, units);
        return ops.sigmoid(ops.add(ops.add(own, ops.multiply(part(recurrentKernel), c)), part(bias)));
      };
      const [f, r] = [gate(xf, 0), gate(xr, units)];
      const next = ops.add(candidate, ops.multiply(f, ops.subtract(c, candidate)));
      const output = ops.add(skip, ops.multiply(r, ops.subtract(next, skip)));
      return { output, states: { c: next } };
    },
  };
}

export const sruCell = defineCell('sru', sru);
