import type { CellDefinition } from './cells/cell';
import { simpleRnnStep } from './cells/steps';
import { Recurrent, type RecurrentConfig } from './recurrent';

export type SimpleRnnConfig = RecurrentConfig;

/**
 * Elman's recurrent network (1990): `h_t = activation(x_t·kernel + h_{t−1}·recurrentKernel + bias)`.
 * Input `[N, T, D]`; kernel `[D, units]`, recurrentKernel `[units, units]`, bias `[units]`.
 */
export class SimpleRnn extends Recurrent {
  readonly type = 'simpleRNN';

  constructor(config: SimpleRnnConfig) {
    super('simpleRnn', 'simpleRNN', config, []);
  }

  protected override readonly step: CellDefinition['step'] = (x, states, weights, context) =>
    simpleRnnStep(this.stepOptions, x, states, weights, context);
}
