import { flagOption, readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { ops } from '../ops';
import { type ActivationSpec, activationConfig, resolveActivation } from '../ops/activations';
import type { Traced } from '../ops/traced';
import { type CellKind, gatesOf, rowActivations } from '../plan/codes';
import { stackLayout } from '../plan/ops/rnnStack';
import {
  ABSENT,
  type ActivationAttrs,
  type DropoutMode,
  type RnnLayerAttrs,
  type ValueId,
} from '../plan/types';
import type { CellDefinition, CellWeight } from './cells/cell';
import { lowerCell } from './cells/lowerCell';
import type { StepOptions } from './cells/steps';
import type { ConstraintSpec } from './constraints';
import { type InitializerSpec, initializers } from './initializers';
import type { CallContext, WeightSpec } from './layer';
import { commonOptions, countOption, rateOption, stddevOption, subjectOf } from './options';
import {
  type Recurrence,
  type RecurrenceInputs,
  RecurrentLayer,
  type RecurrentLayerConfig,
  recurrentLayerOptions,
} from './recurrentLayer';
import { type Regularizer, type RegularizerSpec, regularizers, resolveRegularizer } from './regularizers';
import { penalizeChanges } from './temporalActivation';
import {
  configs,
  readWeightOptions,
  type WeightOptions,
  weightConfigs,
  weightOptionNames,
} from './weightOptions';

export interface RecurrentConfig extends RecurrentLayerConfig {
  /** Width of the state and of the output. */
  units: number;
  /** Of the candidate state. Default `'tanh'`. */
  activation?: ActivationSpec;
  /** Default true. */
  useBias?: boolean;
  /** Default `'glorotUniform'`. */
  kernelInitializer?: InitializerSpec;
  /** Default `'orthogonal'`. */
  recurrentInitializer?: InitializerSpec;
  /** Default `'zeros'`. */
  biasInitializer?: InitializerSpec;
  kernelRegularizer?: RegularizerSpec;
  recurrentRegularizer?: RegularizerSpec;
  biasRegularizer?: RegularizerSpec;
  /**
   * Temporal activation regularization (Merity, McCann & Socher, 2017): on the change of h from step to step. A number β adds
   * `β/N · Σ (h_t − h_{t−1})²` to the loss, over units and over neighbouring steps that both count; so does `l2(β)`.
   */
  temporalActivationRegularizer?: number | RegularizerSpec;
  kernelConstraint?: ConstraintSpec;
  recurrentConstraint?: ConstraintSpec;
  biasConstraint?: ConstraintSpec;
  /**
   * Normalizes both products of a step, of the input and of the state, and of an LSTM the cell state where it is shown (Ba, Kiros & Hinton,
   * 2016; as Haste does): `LN(x W)·kernelGamma + LN(h R)·recurrentGamma + bias`, over all gates of a row. Weights `kernelGamma` and
   * `recurrentGamma` `[gates·units]`, of an LSTM `cellGamma` and `cellBeta` `[units]`. `true` has epsilon 1e-5. Default false.
   */
  layerNormalization?: boolean | { epsilon?: number };
  /**
   * `'sharedOverTime'` (default): one mask for all steps of a sequence, `[N, D]` (Gal & Ghahramani, 2016). `'perStep'`: every step has a mask
   * of its own, `[T, N, D]`, as a dropout layer below would draw it.
   */
  dropoutMode?: DropoutModeSpec;
  /** Rate at which the state is dropped, while training, where it enters the recurrent product. Default 0. */
  recurrentDropout?: number;
  /** As dropoutMode, of the state: one mask `[N, units]`, or `[T, N, units]`, a mask for every step in the order of reading. */
  recurrentDropoutMode?: DropoutModeSpec;
  /**
   * Zoneout (Krueger et al., 2017): while training every unit keeps its h of the step before with this probability, one draw for each step,
   * sequence and unit; otherwise h is what that gives on average, `zoneout ⊙ h_{t−1} + (1 − zoneout) ⊙ h_t`. Nothing is scaled. Default 0.
   */
  zoneout?: number;
  /**
   * Rate at which the recurrent kernel's own numbers are dropped while training, one mask a batch, the same for every sequence and step
   * (DropConnect, Wan et al., 2013; the weight-dropped LSTM of Merity, Keskar & Socher, 2018): the mask has the kernel's shape
   * `[units, G·units]`, and what is kept is scaled by 1 / (1 − rate). Default 0.
   */
  recurrentWeightDropout?: number;
  /**
   * Standard deviation of the normal noise that is added to kernel and recurrentKernel while training, drawn once a batch (Graves, 2011,
   * "Practical variational inference for neural networks"; Graves, Mohamed & Hinton, 2013). It comes before recurrentWeightDropout.
   * Default 0.
   */
  weightNoise?: number;
}

/** How long a recurrent layer keeps a mask of dropout. */
export type DropoutModeSpec = 'sharedOverTime' | 'perStep';

export interface GatedConfig extends RecurrentConfig {
  /** Of the gates. Default `'sigmoid'`. */
  recurrentActivation?: ActivationSpec;
}

const recurrentOptions = [
  ...commonOptions,
  'units',
  'activation',
  'useBias',
  ...weightOptionNames('kernel', 'recurrent', 'bias'),
  'temporalActivationRegularizer',
  'dropoutMode',
  'recurrentDropout',
  'recurrentDropoutMode',
  'zoneout',
  'recurrentWeightDropout',
  'weightNoise',
  'layerNormalization',
  ...recurrentLayerOptions,
] as const;

/** What an LSTM may have beside the usual equations. */
export type LstmVariants = Pick<RnnLayerAttrs, 'cellClip' | 'peepholes' | 'coupledGates'>;

/** What SimpleRNN, LSTM and GRU share: a recurrent layer with kernel, recurrentKernel and bias over G gates. */
export abstract class Recurrent extends RecurrentLayer {
  readonly units: number;
  protected readonly activation: ActivationAttrs;
  protected readonly recurrentActivation: ActivationAttrs;
  protected readonly useBias: boolean;
  private readonly dropoutMode: DropoutModeSpec;
  private readonly recurrentDropout: number;
  private readonly recurrentDropoutMode: DropoutModeSpec;
  private readonly zoneout: number;
  private readonly recurrentWeightDropout: number;
  private readonly weightNoise: number;
  /** Of the layer normalization; undefined: there is none. */
  protected readonly epsilon: number | undefined;
  private readonly of: Record<'kernel' | 'recurrent' | 'bias', WeightOptions>;
  private readonly temporal: Regularizer | undefined;
  /** The options that only this kind of layer has. */
  protected readonly own: Partial<Record<string, unknown>>;

  protected constructor(
    readonly cell: CellKind,
    type: string,
    config: RecurrentConfig,
    ownOptions: readonly string[],
  ) {
    const subject = subjectOf(type, config);
    const o = readConfig<string>(config, [...recurrentOptions, ...ownOptions], subject);
    super(type, o);
    this.own = o;
    this.units = countOption(o['units'], `${subject}: units`);
    this.activation = this.elementwise(
      o['activation'] === undefined ? 'tanh' : o['activation'],
      `${subject}: activation`,
    );
    const gates = o['recurrentActivation'] === undefined ? 'sigmoid' : o['recurrentActivation'];
    this.recurrentActivation = this.elementwise(gates, `${subject}: recurrentActivation`);
    this.useBias = flagOption(o['useBias'], true, `${subject}: useBias`);
    this.dropoutMode = modeOption(o['dropoutMode'], `${subject}: dropoutMode`);
    this.recurrentDropout = rateOption(o['recurrentDropout'], `${subject}: recurrentDropout`);
    this.recurrentDropoutMode = modeOption(o['recurrentDropoutMode'], `${subject}: recurrentDropoutMode`);
    this.zoneout = rateOption(o['zoneout'], `${subject}: zoneout`);
    this.recurrentWeightDropout = rateOption(
      o['recurrentWeightDropout'],
      `${subject}: recurrentWeightDropout`,
    );
    this.weightNoise = stddevOption(o['weightNoise'] ?? 0, `${subject}: weightNoise`);
    this.epsilon = epsilonOption(o['layerNormalization'], `${subject}: layerNormalization`);
    this.of = readWeightOptions(
      o,
      { kernel: 'glorotUniform', recurrent: 'orthogonal', bias: 'zeros' },
      subject,
    );
    const temporal = o['temporalActivationRegularizer'];
    this.temporal =
      typeof temporal === 'number'
        ? regularizers.l2(temporal)
        : resolveRegularizer(temporal, `${subject}: temporalActivationRegularizer`);
  }

  private elementwise(spec: unknown, subject: string): ActivationAttrs {
    const activation = resolveActivation(spec, subject);
    if (rowActivations.has(activation.kind)) {
      refuse(
        'ERR_VALUE',
        subject,
        'an elementwise activation',
        `'${activation.kind}'`,
        'Put a dense layer with it on top.',
      );
    }
    return activation;
  }

  /** Whether the GRU's reset gate works after the recurrent product. */
  protected get resetAfter(): boolean {
    return false;
  }

  /** Rate at which units keep c, where a layer has it. */
  protected get cellZoneout(): number {
    return 0;
  }

  /** What an LSTM has beside the usual equations, as the op has it. */
  protected get variants(): LstmVariants {
    return {};
  }

  /** Columns of the kernels: gates times units. */
  private get width(): number {
    return gatesOf({ cell: this.cell, ...this.variants }) * this.units;
  }

  /** Weights that only this kind of layer has. */
  protected ownWeights(): WeightSpec[] {
    return [];
  }

  /** Shape of the bias. */
  protected get biasShape(): number[] {
    return [this.width];
  }

  /** First values of the bias, from what the bias initializer gave. */
  protected shapeBias(bias: Float64Array): Float64Array {
    return bias;
  }

  override get states(): readonly { readonly name: string; readonly size: number }[] {
    return [{ name: 'h', size: this.units }];
  }

  protected override stepWeights(features: number): WeightSpec[] {
    const { width } = this;
    const weights: WeightSpec[] = [
      {
        name: 'kernel',
        shape: [features, width],
        ...this.of.kernel,
      },
      {
        name: 'recurrentKernel',
        shape: [this.outputSize, width],
        ...this.of.recurrent,
      },
    ];
    if (this.useBias) {
      const { initializer } = this.of.bias;
      weights.push({
        name: 'bias',
        shape: this.biasShape,
        initializer: {
          ...initializer,
          sample: (shape, random) => this.shapeBias(initializer.sample(shape, random)),
        },
        regularizer: this.of.bias.regularizer,
        constraint: this.of.bias.constraint,
        decay: false,
      });
    }
    return [...weights, ...this.ownWeights(), ...this.normalizationWeights()];
  }

  /** Weights of the layer normalization, by name their sizes. */
  protected get normalized(): Readonly<Record<string, number>> {
    return { kernelGamma: this.width, recurrentGamma: this.width };
  }

  private normalizationWeights(): WeightSpec[] {
    if (this.epsilon === undefined) return [];
    return Object.entries(this.normalized).map(([name, size]) => {
      const initializer = /Gamma$/.test(name) ? initializers.ones() : initializers.zeros();
      return { name, shape: [size], initializer, decay: false };
    });
  }

  /** Writes a step down. */
  protected abstract readonly step: CellDefinition['step'];

  protected get stepOptions(): StepOptions {
    const { units, activation, recurrentActivation, recurrentDropout, epsilon } = this;
    const sharedOverTime = this.recurrentDropoutMode === 'sharedOverTime';
    return { units, activation, recurrentActivation, recurrentDropout, sharedOverTime, epsilon };
  }

  override get outputSize(): number {
    return this.units;
  }

  /** Whether the step is another than that of the fused stack. */
  protected get isTraced(): boolean {
    return this.epsilon !== undefined;
  }

  /** @internal The step as a cell, for `layers.rnn` too. */
  override asCell(): CellDefinition {
    return {
      states: Object.fromEntries(this.states.map(({ name, size }) => [name, size])),
      outputSize: this.outputSize,
      weights: (features) =>
        Object.fromEntries(
          this.stepWeights(features).map(({ name, shape, ...rest }) => [
            name,
            { shape: readAs(name, shape), ...rest } as CellWeight,
          ]),
        ),
      step: this.zonedStep,
    };
  }

  /** The step with zoneout, of what it gives: `s_{t−1} + k ⊙ (s_t − s_{t−1})`, k the share that is made anew. */
  private readonly zonedStep: CellDefinition['step'] = (x, states, weights, context) => {
    const made = this.step(x, states, weights, context);
    const rates: Readonly<Record<string, number>> = { h: this.zoneout, c: this.cellZoneout };
    const next = Object.entries(made.states).map(([name, fresh]) => {
      const rate = rates[name] ?? 0;
      const before = states[name] as Traced;
      // The mask makes what it keeps larger, which is not wanted here.
      const change = context.dropout(ops.subtract(fresh, before), rate);
      return [name, rate > 0 ? ops.add(before, ops.multiply(change, 1 - rate)) : fresh] as const;
    });
    const after = Object.fromEntries(next);
    return { output: after['h'] as Traced, states: after };
  };

  private recurByProgram(
    context: CallContext,
    inputs: RecurrenceInputs,
    returnSequences: boolean,
  ): Recurrence {
    const { goBackwards, states, outputSize } = this;
    const weights = new Map(this.weights.map(({ name, shape }) => [name, readAs(name, shape)]));
    const run = {
      layer: this,
      weights,
      states,
      outputSize,
      returnSequences,
      goBackwards,
      step: this.zonedStep,
    };
    const weight = (name: string) =>
      name === 'kernel' || name === 'recurrentKernel'
        ? this.weightRead(context, name)
        : context.weight(this, name);
    const input = this.dropInputs(context, inputs.input, planMode(this.dropoutMode));
    return lowerCell({ ...run, weight, seed: this.seed ?? context.seed }, context, { ...inputs, input });
  }

  protected override recur(context: CallContext, inputs: RecurrenceInputs): Recurrence {
    const { temporal } = this;
    // Where the states of all steps are penalized, the last of them alone is what the layer gives.
    const lastOnly = temporal !== undefined && !this.returnSequences;
    const all = this.returnSequences || lastOnly;
    const read = { ...inputs, wantsEnds: inputs.wantsEnds || lastOnly };
    const made = this.isTraced
      ? this.recurByProgram(context, read, all)
      : this.recurInStack(context, read, all);
    if (!temporal) return made;
    const [steps] = inputs.input.shape as [number];
    const mask = this.maskAbove(context, inputs.input);
    penalizeChanges(context, this.subject, temporal, { id: made.y, steps, mask });
    return lastOnly ? { ...made, y: made.ends[0] as ValueId } : made;
  }

  private recurInStack(
    context: CallContext,
    { input, starts, wantsEnds }: RecurrenceInputs,
    returnSequences: boolean,
  ): Recurrence {
    const { builder, batch, training } = context;
    const [steps, features] = input.shape as [number, number];
    const attrs = {
      steps,
      batch,
      inputSize: features,
      returnSequences,
      goBackwards: this.goBackwards,
      seed: this.seed ?? context.seed,
      layers: [
        {
          name: this.name,
          cell: this.cell,
          units: this.units,
          activation: this.activation,
          recurrentActivation: this.recurrentActivation,
          resetAfter: this.resetAfter,
          ...this.variants,
          useBias: this.useBias,
          inputDropout: {
            mode: planMode(this.dropoutMode),
            rate: training ? this.dropout : 0,
            stream: context.stream(this, 'inputDropout'),
          },
          recurrentDropout: {
            mode: planMode(this.recurrentDropoutMode),
            rate: training ? this.recurrentDropout : 0,
            stream: context.stream(this, 'recurrentDropout'),
          },
          ...this.zoneouts(context),
        },
      ],
    } as const;
    const weights = [this.weightRead(context, 'kernel'), this.weightRead(context, 'recurrentKernel')];
    const bias = this.useBias ? context.weight(this, 'bias') : ABSENT;
    const states = [starts[0] ?? ABSENT, starts[1] ?? ABSENT];
    const peephole = attrs.layers[0].peepholes ? context.weight(this, 'peephole') : ABSENT;
    const want = [false, true, wantsEnds, wantsEnds && this.states.length > 1];
    const outputs = builder.emit(
      'rnnStack',
      [context.step(), input.id, input.mask ?? ABSENT, ...weights, bias, ...states, peephole],
      attrs,
      this.subject,
      want,
    );
    const [y, ...ends] = outputs.slice(stackLayout.forwardOutput(0)) as [ValueId, ...ValueId[]];
    return { y, ends };
  }

  /** Zoneout as the op has it, where there is any. */
  private zoneouts(context: CallContext): Pick<RnnLayerAttrs, 'zoneout' | 'cellZoneout' | 'zoneoutExpected'> {
    const { zoneout, cellZoneout } = this;
    if (zoneout === 0 && cellZoneout === 0) return {};
    return {
      zoneoutExpected: !context.training,
      ...(zoneout > 0 ? { zoneout: { rate: zoneout, stream: context.stream(this, 'zoneout') } } : {}),
      ...(cellZoneout > 0
        ? { cellZoneout: { rate: cellZoneout, stream: context.stream(this, 'cellZoneout') } }
        : {}),
    };
  }

  /** A weight as this run's products read it: while training with its noise, then its mask. */
  private weightRead(context: CallContext, weight: 'kernel' | 'recurrentKernel'): ValueId {
    const { builder } = context;
    const label = `${this.subject}: ${weight}`;
    const seed = this.seed ?? context.seed;
    let id = context.weight(this, weight);
    if (!context.training) return id;
    if (this.weightNoise > 0) {
      const stream = context.stream(this, weight === 'kernel' ? 'kernelNoise' : 'recurrentKernelNoise');
      const attrs = { stddev: this.weightNoise, seed, stream };
      [id] = builder.emit('noise', [id, context.step()], attrs, label) as [ValueId];
    }
    const rate = this.recurrentWeightDropout;
    if (weight === 'recurrentKernel' && rate > 0) {
      const attrs = {
        mode: 'element',
        rate,
        seed,
        stream: context.stream(this, 'recurrentWeightDropout'),
      } as const;
      [id] = builder.emit('dropout', [id, context.step()], attrs, label) as [ValueId];
    }
    return id;
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...super.getConfig(),
      units: this.units,
      activation: activationConfig(this.activation),
      useBias: this.useBias,
      ...weightConfigs(this.of),
      ...configs({ temporalActivationRegularizer: this.temporal }),
      ...(this.dropoutMode === 'perStep' ? { dropoutMode: 'perStep' } : {}),
      recurrentDropout: this.recurrentDropout,
      ...(this.recurrentDropoutMode === 'perStep' ? { recurrentDropoutMode: 'perStep' } : {}),
      ...(this.zoneout > 0 ? { zoneout: this.zoneout } : {}),
      ...(this.cellZoneout > 0 ? { cellZoneout: this.cellZoneout } : {}),
      ...(this.recurrentWeightDropout > 0 ? { recurrentWeightDropout: this.recurrentWeightDropout } : {}),
      ...(this.weightNoise > 0 ? { weightNoise: this.weightNoise } : {}),
      ...(this.epsilon === undefined ? {} : { layerNormalization: { epsilon: this.epsilon } }),
    };
  }
}

/** The shape in which a step reads a weight: rows of vectors (biases, peepholes) one after another. */
function readAs(name: string, shape: readonly number[]): readonly number[] {
  return /^(bias|peephole)$/.test(name) ? [shape.reduce((size, n) => size * n, 1)] : shape;
}

/** @throws ERR_VALUE unless it is a flag or has a positive epsilon */
function epsilonOption(value: unknown, subject: string): number | undefined {
  if (value === undefined || value === false) return undefined;
  if (value === true) return 1e-5;
  const { epsilon = 1e-5 } = readConfig(value as { epsilon?: number }, ['epsilon'], subject);
  if (typeof epsilon !== 'number' || !(epsilon > 0 && Number.isFinite(epsilon)))
    refuse('ERR_VALUE', `${subject}: epsilon`, 'a positive number', quoted(epsilon));
  return epsilon;
}

/** @throws ERR_VALUE for anything else */
function modeOption(value: unknown, subject: string): DropoutModeSpec {
  const mode = value ?? 'sharedOverTime';
  if (mode !== 'sharedOverTime' && mode !== 'perStep')
    refuse('ERR_VALUE', subject, "'sharedOverTime' or 'perStep'", quoted(mode));
  return mode as DropoutModeSpec;
}

function planMode(mode: DropoutModeSpec): DropoutMode {
  return mode === 'perStep' ? 'element' : 'sharedOverTime';
}
