import { flagOption } from '../config';
import { quoted, refuse } from '../errors';
import type { RnnLayerAttrs } from '../plan/types';
import { activationConfig } from './activations';
import { subjectOf } from './options';
import { type GatedConfig, Recurrent } from './recurrent';

export interface LstmConfig extends GatedConfig {
  /** Start the forget gate's bias at 1 more (Jozefowicz et al., 2015), so that the cell remembers at first. Default true. */
  unitForgetBias?: boolean;
  /**
   * Cuts the cell state to −cellClip … cellClip after every step's update (Sak, Senior & Beaufays, 2014; `cell_clip` of TensorFlow's
   * LSTMCell). Where it stands at a bound no gradient goes through it. Default: none.
   */
  cellClip?: number;
}

/**
 * Long short-term memory (Hochreiter & Schmidhuber, 1997; forget gate of Gers et al., 2000), gates in the order i, f, g, o:
 * `c_t = f ⊙ c_{t−1} + i ⊙ g`, `h_t = o ⊙ activation(c_t)`.
 * Input `[N, T, D]`; kernel `[D, 4·units]`, recurrentKernel `[units, 4·units]`, bias `[4·units]`.
 */
export class Lstm extends Recurrent {
  readonly type = 'lstm';
  private readonly unitForgetBias: boolean;
  private readonly cellClip: number | undefined;

  constructor(config: LstmConfig) {
    super('lstm', 'lstm', config, ['recurrentActivation', 'unitForgetBias', 'cellClip']);
    this.unitForgetBias = flagOption(
      this.own['unitForgetBias'],
      true,
      `${subjectOf('lstm', config)}: unitForgetBias`,
    );
    this.cellClip = clipOption(this.own['cellClip'], `${subjectOf('lstm', config)}: cellClip`);
  }

  protected override get variants(): Pick<RnnLayerAttrs, 'cellClip'> {
    return this.cellClip === undefined ? {} : { cellClip: this.cellClip };
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
      ...this.variants,
    };
  }
}

/** @throws ERR_VALUE unless it is not given, or a positive number that float32 has too */
function clipOption(value: unknown, subject: string): number | undefined {
  if (value === undefined) return undefined;
  const [least, most] = [2 ** -126, (2 - 2 ** -23) * 2 ** 127];
  if (typeof value !== 'number' || !(value >= least && value <= most))
    refuse('ERR_VALUE', subject, "a positive number in float32's range", quoted(value));
  return value as number;
}
