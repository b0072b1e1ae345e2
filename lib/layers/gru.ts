import { flagOption } from '../config';
import { activationConfig } from '../ops/activations';
import type { CellDefinition } from './cells/cell';
import { gruStep } from './cells/steps';
import { subjectOf } from './options';
import { type GatedConfig, Recurrent } from './recurrent';

export interface GruConfig extends GatedConfig {
  /**
   * Where the reset gate works: on the recurrent product (true: cuDNN, PyTorch, Keras's default) or on the state before it
   * (false: Cho et al., 2014). Default true.
   */
  resetAfter?: boolean;
}

/**
 * The gated recurrent unit (Cho et al., 2014), gates in the order r, z, n: `h_t = z ⊙ h_{t−1} + (1 − z) ⊙ n`.
 * Input `[N, T, D]`; kernel `[D, 3·units]`, recurrentKernel `[units, 3·units]`, bias `[2, 3·units]` with resetAfter (first row
 * with the input, second with the state), else `[3·units]`.
 */
export class Gru extends Recurrent {
  readonly type = 'gru';
  private readonly isResetAfter: boolean;

  constructor(config: GruConfig) {
    super('gru', 'gru', config, ['recurrentActivation', 'resetAfter']);
    this.isResetAfter = flagOption(this.own['resetAfter'], true, `${subjectOf('gru', config)}: resetAfter`);
  }

  protected override get resetAfter(): boolean {
    return this.isResetAfter;
  }

  protected override readonly step: CellDefinition['step'] = (x, states, weights, context) =>
    gruStep({ ...this.stepOptions, resetAfter: this.resetAfter }, x, states, weights, context);

  protected override get biasShape(): number[] {
    const width = 3 * this.units;
    return this.isResetAfter ? [2, width] : [width];
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...super.getConfig(),
      recurrentActivation: activationConfig(this.recurrentActivation),
      resetAfter: this.isResetAfter,
    };
  }
}
