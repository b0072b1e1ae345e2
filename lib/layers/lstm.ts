import { flagOption } from '../config';
import { activationConfig } from './activations';
import { subjectOf } from './options';
import { type GatedConfig, Recurrent } from './recurrent';

export interface LstmConfig extends GatedConfig {
  /** Start the forget gate's bias at 1 more (Jozefowicz et al., 2015), so that the cell remembers at first. Default true. */
  unitForgetBias?: boolean;
}

/**
 * Long short-term memory (Hochreiter & Schmidhuber, 1997; forget gate of Gers et al., 2000), gates in the order i, f, g, o:
 * `c_t = f ⊙ c_{t−1} + i ⊙ g`, `h_t = o ⊙ activation(c_t)`.
 * Input `[N, T, D]`; kernel `[D, 4·units]`, recurrentKernel `[units, 4·units]`, bias `[4·units]`.
 */
export class Lstm extends Recurrent {
  readonly type = 'lstm';
  private readonly unitForgetBias: boolean;

  constructor(config: LstmConfig) {
    super('lstm', 'lstm', config, ['recurrentActivation', 'unitForgetBias']);
    this.unitForgetBias = flagOption(
      this.own['unitForgetBias'],
      true,
      `${subjectOf('lstm', config)}: unitForgetBias`,
    );
  }

  override get states(): readonly { readonly name: string; readonly size: number }[] {
    return [
      { name: 'h', size: this.units },
      { name: 'c', size: this.units },
    ];
  }

  /** As in Keras the forget gate's part becomes 1, whatever the bias initializer says. */
  protected override shapeBias(bias: Float64Array): Float64Array {
    return this.unitForgetBias ? bias.fill(1, this.units, 2 * this.units) : bias;
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...super.getConfig(),
      recurrentActivation: activationConfig(this.recurrentActivation),
      unitForgetBias: this.unitForgetBias,
    };
  }
}
