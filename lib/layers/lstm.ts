import { flagOption } from '../config';
import { quoted, refuse } from '../errors';
import { activationConfig } from '../ops/activations';
import type { CellDefinition } from './cells/cell';
import { lstmStep } from './cells/steps';
import { type Initializer, type InitializerSpec, resolveInitializer } from './initializers';
import type { WeightSpec } from './layer';
import { countOption, rateOption, subjectOf } from './options';
import { type GatedConfig, type LstmVariants, Recurrent } from './recurrent';
import { type Regularizer, type RegularizerSpec, resolveRegularizer } from './regularizers';
import { configs } from './weightOptions';

export interface LstmConfig extends GatedConfig {
  /** Start the forget gate's bias at 1 more (Jozefowicz et al., 2015), so that the cell remembers at first. Default true. */
  unitForgetBias?: boolean;
  /**
   * Cuts the cell state to −cellClip … cellClip after every step's update (Sak, Senior & Beaufays, 2014; `cell_clip` of TensorFlow's
   * LSTMCell). Where it stands at a bound no gradient goes through it. Default: none.
   */
  cellClip?: number;
  /**
   * Lets the gates see the cell state (Gers & Schmidhuber, 2000), each unit its own: `p_i ⊙ c_{t−1}` and `p_f ⊙ c_{t−1}` are added to what
   * the gates i and f are made of, `p_o ⊙ c_t` for o. The weights are `peephole` `[3, units]`, rows i, f, o. Default false.
   */
  peepholes?: boolean;
  /** With peepholes: the first weights. Default `'zeros'`, which begins as an LSTM without. */
  peepholeInitializer?: InitializerSpec;
  /** With peepholes. */
  peepholeRegularizer?: RegularizerSpec;
  /**
   * Couples the input gate to the forget gate, `i = 1 − f` (CIFG; Greff et al., 2017), with a quarter of the weights less: the gates are
   * f, g, o, the kernel `[D, 3·units]`, the recurrentKernel `[units, 3·units]`, the bias `[3·units]`, the peephole weights `[2, units]`, rows
   * f, o. Default false.
   */
  coupledGates?: boolean;
  /**
   * Projects the output before it goes back and up (LSTMP; Sak, Senior & Beaufays, 2014; `proj_size` of PyTorch): `h_t = (o ⊙ activation(c_t))·P`
   * with `projection` `[units, projectionUnits]`; the recurrentKernel is `[projectionUnits, 4·units]`, h and the output have
   * projectionUnits columns. Default: none.
   */
  projectionUnits?: number;
  /** With projectionUnits. Default `'glorotUniform'`. */
  projectionInitializer?: InitializerSpec;
  /** With projectionUnits. */
  projectionRegularizer?: RegularizerSpec;
  /** As zoneout, of the cell state c; h is made of c as it was before it. Default 0. */
  cellZoneout?: number;
}

const ownOptions = [
  'recurrentActivation',
  'unitForgetBias',
  'cellClip',
  'peepholes',
  'peepholeInitializer',
  'peepholeRegularizer',
  'coupledGates',
  'projectionUnits',
  'projectionInitializer',
  'projectionRegularizer',
  'cellZoneout',
] as const;

/**
 * Long short-term memory (Hochreiter & Schmidhuber, 1997; forget gate of Gers et al., 2000), gates in the order i, f, g, o:
 * `c_t = f ⊙ c_{t−1} + i ⊙ g`, `h_t = o ⊙ activation(c_t)`; variants by `cellClip`, `peepholes`,
 * `coupledGates`, `projectionUnits` and `layerNormalization`.
 * Input `[N, T, D]`; kernel `[D, 4·units]`, recurrentKernel `[units, 4·units]`, bias `[4·units]`.
 */
export class Lstm extends Recurrent {
  readonly type = 'lstm';
  private readonly unitForgetBias: boolean;
  private readonly cellClip: number | undefined;
  private readonly peepholes: boolean;
  private readonly coupledGates: boolean;
  private readonly projectionUnits: number | undefined;
  private readonly projectionInitializer: Initializer;
  private readonly projectionRegularizer: Regularizer | undefined;
  private readonly zoneoutOfC: number;
  private readonly peepholeInitializer: Initializer;
  private readonly peepholeRegularizer: Regularizer | undefined;

  constructor(config: LstmConfig) {
    super('lstm', 'lstm', config, ownOptions);
    const subject = subjectOf('lstm', config);
    const o = this.own;
    this.unitForgetBias = flagOption(o['unitForgetBias'], true, `${subject}: unitForgetBias`);
    this.cellClip = clipOption(o['cellClip'], `${subject}: cellClip`);
    this.peepholes = flagOption(o['peepholes'], false, `${subject}: peepholes`);
    this.coupledGates = flagOption(o['coupledGates'], false, `${subject}: coupledGates`);
    this.zoneoutOfC = rateOption(o['cellZoneout'], `${subject}: cellZoneout`);
    for (const option of ['peepholeInitializer', 'peepholeRegularizer'] as const) {
      if (o[option] !== undefined && !this.peepholes)
        refuse('ERR_VALUE', `${subject}: ${option}`, 'nothing without peepholes: true', quoted(o[option]));
    }
    const projected = o['projectionUnits'];
    this.projectionUnits =
      projected === undefined ? undefined : countOption(projected, `${subject}: projectionUnits`);
    for (const option of ['projectionInitializer', 'projectionRegularizer'] as const) {
      if (o[option] !== undefined && projected === undefined)
        refuse('ERR_VALUE', `${subject}: ${option}`, 'nothing without projectionUnits', quoted(o[option]));
    }
    this.projectionInitializer = resolveInitializer(
      o['projectionInitializer'] ?? 'glorotUniform',
      `${subject}: projectionInitializer`,
    );
    this.projectionRegularizer = resolveRegularizer(
      o['projectionRegularizer'],
      `${subject}: projectionRegularizer`,
    );
    this.peepholeInitializer = resolveInitializer(
      o['peepholeInitializer'] ?? 'zeros',
      `${subject}: peepholeInitializer`,
    );
    this.peepholeRegularizer = resolveRegularizer(
      o['peepholeRegularizer'],
      `${subject}: peepholeRegularizer`,
    );
  }

  protected override get variants(): LstmVariants {
    return {
      ...(this.cellClip === undefined ? {} : { cellClip: this.cellClip }),
      ...(this.peepholes ? { peepholes: true } : {}),
      ...(this.coupledGates ? { coupledGates: true } : {}),
    };
  }

  protected override get cellZoneout(): number {
    return this.zoneoutOfC;
  }

  protected override readonly step: CellDefinition['step'] = (x, states, weights, context) => {
    const { cellClip, coupledGates } = this;
    return lstmStep({ ...this.stepOptions, cellClip, coupledGates }, x, states, weights, context);
  };

  protected override get normalized(): Readonly<Record<string, number>> {
    return { ...super.normalized, cellGamma: this.units, cellBeta: this.units };
  }

  override get outputSize(): number {
    return this.projectionUnits ?? this.units;
  }

  protected override get isTraced(): boolean {
    return super.isTraced || this.projectionUnits !== undefined;
  }

  protected override ownWeights(): WeightSpec[] {
    const weights: WeightSpec[] = [];
    if (this.peepholes)
      weights.push({
        name: 'peephole',
        shape: [this.coupledGates ? 2 : 3, this.units],
        initializer: this.peepholeInitializer,
        regularizer: this.peepholeRegularizer,
      });
    if (this.projectionUnits !== undefined)
      weights.push({
        name: 'projection',
        shape: [this.units, this.projectionUnits],
        initializer: this.projectionInitializer,
        regularizer: this.projectionRegularizer,
      });
    return weights;
  }

  override get states(): readonly { readonly name: string; readonly size: number }[] {
    return [
      { name: 'h', size: this.outputSize },
      { name: 'c', size: this.units },
    ];
  }

  /** As in Keras the forget gate's part becomes 1, whatever the bias initializer says. */
  protected override shapeBias(bias: Float64Array): Float64Array {
    const first = this.coupledGates ? 0 : this.units;
    return this.unitForgetBias ? bias.fill(1, first, first + this.units) : bias;
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...super.getConfig(),
      recurrentActivation: activationConfig(this.recurrentActivation),
      unitForgetBias: this.unitForgetBias,
      ...this.variants,
      ...(this.peepholes ? { peepholeInitializer: this.peepholeInitializer.getConfig() } : {}),
      ...configs({ peepholeRegularizer: this.peepholeRegularizer }),
      ...(this.projectionUnits === undefined
        ? {}
        : {
            projectionUnits: this.projectionUnits,
            projectionInitializer: this.projectionInitializer.getConfig(),
            ...configs({ projectionRegularizer: this.projectionRegularizer }),
          }),
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
