import { quoted, refuse } from '../../errors';
import { ops } from '../../ops';
import type { Traced } from '../../ops/traced';
import type { InitializerSpec } from '../initializers';
import { type CellDefinition, defineCell } from './cell';

export interface IndRnnConfig {
  units: number;
  /** Default `'relu'`. */
  activation?: string;
  /** Default `'glorotUniform'`. */
  kernelInitializer?: InitializerSpec;
  /** Of the weights `[units]` that the state is multiplied by. Default: uniform from 0 to 1. */
  recurrentInitializer?: InitializerSpec;
}

/** Each unit sees itself alone (Li et al., 2018): `h_t = activation(x_t W + u ⊙ h_{t−1} + b)`. */
function indRnn(config: IndRnnConfig): CellDefinition {
  const { units, activation = 'relu', kernelInitializer, recurrentInitializer, ...rest } = Object(config);
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined)
    refuse(
      'ERR_VALUE',
      'cells.indRNN',
      'units, activation, kernelInitializer or recurrentInitializer',
      quoted(unknown),
    );
  if (!Number.isSafeInteger(units) || units < 1)
    refuse('ERR_VALUE', 'cells.indRNN: units', 'a positive integer', quoted(units));
  return {
    states: { h: units },
    weights: (features) => ({
      kernel: { shape: [features, units], ...(kernelInitializer ? { initializer: kernelInitializer } : {}) },
      recurrentKernel: {
        shape: [units],
        initializer: recurrentInitializer ?? { type: 'randomUniform', minval: 0, maxval: 1 },
        decay: true,
      },
      bias: { shape: [units] },
    }),
    step(x, { h }, w) {
      const sum = ops.add(
        ops.matmul(x, w['kernel'] as Traced),
        ops.multiply(h as Traced, w['recurrentKernel'] as Traced),
      );
      const next = ops.activation(ops.add(sum, w['bias'] as Traced), activation);
      return { output: next, states: { h: next } };
    },
  };
}

export const indRNN = defineCell('indRNN', indRnn);
