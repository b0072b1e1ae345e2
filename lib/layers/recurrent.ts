import { flagOption, readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { type CellKind, gatesOf } from '../plan/codes';
import { stackLayout } from '../plan/ops/rnnStack';
import {
  ABSENT,
  type ActivationAttrs,
  type DropoutMode,
  type RnnLayerAttrs,
  type ValueId,
} from '../plan/types';
import { type ActivationSpec, activationConfig, resolveActivation } from './activations';
import { type Constraint, type ConstraintSpec, resolveConstraint } from './constraints';
import { type Initializer, type InitializerSpec, initializers, resolveInitializer } from './initializers';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  shownInput,
  type WeightSpec,
} from './layer';
import { commonOptions, countOption, rateOption, seedOption, stddevOption, subjectOf } from './options';
import { type Regularizer, type RegularizerSpec, regularizers, resolveRegularizer } from './regularizers';
import { penalizeChanges } from './temporalActivation';

export interface RecurrentConfig extends LayerConfig {
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
  /** On the output, divided by the batch size. */
  activityRegularizer?: RegularizerSpec;
  /**
   * Temporal activation regularization (Merity, McCann & Socher, 2017): on the change of h from step to step. A number β adds
   * `β/N · Σ (h_t − h_{t−1})²` to the loss, over units and over neighbouring steps that both count; so does `l2(β)`.
   */
  temporalActivationRegularizer?: number | RegularizerSpec;
  kernelConstraint?: ConstraintSpec;
  recurrentConstraint?: ConstraintSpec;
  biasConstraint?: ConstraintSpec;
  /** Rate at which inputs are dropped while training. Default 0. */
  dropout?: number;
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
  /** The whole output sequence `[N, T, units]` instead of the last step `[N, units]`. Default false. */
  returnSequences?: boolean;
  /**
   * In a model of symbolic tensors: also give the states after the last step, each `[N, units]`: `const [y, h, c] = lstm.applyAll(x)`. A
   * layer takes such states as further inputs, to begin from: `decoder.apply([x, h, c])`. Default false.
   */
  returnState?: boolean;
  /** With returnSequences: outputs of steps that a mask leaves out are zeros, not those of the step before. Default false. */
  zeroOutputForMask?: boolean;
  /** Read the sequence from its end; the output is in the order of reading. Default false. */
  goBackwards?: boolean;
  /** Carry the state from batch to batch; needs a batchInputShape. `model.resetStates()` clears it. Default false. */
  stateful?: boolean;
  /** `'zeros'` (default), or `'learned'`: trainable weights of shape `[units]`, the same for every sequence. */
  initialState?: 'zeros' | 'learned';
  /** Seed of the layer's dropout masks. Default: the model's. */
  seed?: number;
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
  'kernelInitializer',
  'recurrentInitializer',
  'biasInitializer',
  'kernelRegularizer',
  'recurrentRegularizer',
  'biasRegularizer',
  'activityRegularizer',
  'temporalActivationRegularizer',
  'kernelConstraint',
  'recurrentConstraint',
  'biasConstraint',
  'dropout',
  'dropoutMode',
  'recurrentDropout',
  'recurrentDropoutMode',
  'zoneout',
  'recurrentWeightDropout',
  'weightNoise',
  'returnSequences',
  'returnState',
  'zeroOutputForMask',
  'goBackwards',
  'stateful',
  'initialState',
  'seed',
] as const;

/** What an LSTM may have beside the usual equations. */
export type LstmVariants = Pick<RnnLayerAttrs, 'cellClip' | 'peepholes' | 'coupledGates'>;

/** What SimpleRNN, LSTM and GRU share: a recurrent layer with kernel, recurrentKernel and bias over G gates. */
export abstract class Recurrent extends Layer {
  readonly units: number;
  readonly returnSequences: boolean;
  readonly returnState: boolean;
  readonly stateful: boolean;
  protected readonly activation: ActivationAttrs;
  protected readonly recurrentActivation: ActivationAttrs;
  protected readonly useBias: boolean;
  readonly goBackwards: boolean;
  private readonly zeroOutputForMask: boolean;
  private readonly dropout: number;
  private readonly dropoutMode: DropoutModeSpec;
  private readonly recurrentDropout: number;
  private readonly recurrentDropoutMode: DropoutModeSpec;
  private readonly zoneout: number;
  private readonly recurrentWeightDropout: number;
  private readonly weightNoise: number;
  private readonly initialState: 'zeros' | 'learned';
  private readonly seed: number | undefined;
  private readonly initializers: Record<'kernel' | 'recurrent' | 'bias', Initializer>;
  private readonly regularizers: Record<
    'kernel' | 'recurrent' | 'bias' | 'activity' | 'temporal',
    Regularizer | undefined
  >;
  private readonly constraints: Record<'kernel' | 'recurrent' | 'bias', Constraint | undefined>;
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
    super(type, o as LayerConfig);
    this.own = o;
    this.units = countOption(o['units'], `${subject}: units`);
    this.activation = this.elementwise(
      o['activation'] === undefined ? 'tanh' : o['activation'],
      `${subject}: activation`,
    );
    const gates = o['recurrentActivation'] === undefined ? 'sigmoid' : o['recurrentActivation'];
    this.recurrentActivation = this.elementwise(gates, `${subject}: recurrentActivation`);
    this.useBias = flagOption(o['useBias'], true, `${subject}: useBias`);
    this.returnSequences = flagOption(o['returnSequences'], false, `${subject}: returnSequences`);
    this.returnState = flagOption(o['returnState'], false, `${subject}: returnState`);
    this.zeroOutputForMask = flagOption(o['zeroOutputForMask'], false, `${subject}: zeroOutputForMask`);
    if (this.zeroOutputForMask && !this.returnSequences)
      refuse('ERR_VALUE', `${subject}: zeroOutputForMask`, 'false without returnSequences', true);
    this.goBackwards = flagOption(o['goBackwards'], false, `${subject}: goBackwards`);
    this.stateful = flagOption(o['stateful'], false, `${subject}: stateful`);
    this.dropout = rateOption(o['dropout'], `${subject}: dropout`);
    this.dropoutMode = modeOption(o['dropoutMode'], `${subject}: dropoutMode`);
    this.recurrentDropout = rateOption(o['recurrentDropout'], `${subject}: recurrentDropout`);
    this.recurrentDropoutMode = modeOption(o['recurrentDropoutMode'], `${subject}: recurrentDropoutMode`);
    this.zoneout = rateOption(o['zoneout'], `${subject}: zoneout`);
    this.recurrentWeightDropout = rateOption(
      o['recurrentWeightDropout'],
      `${subject}: recurrentWeightDropout`,
    );
    this.weightNoise = stddevOption(o['weightNoise'] ?? 0, `${subject}: weightNoise`);
    const initialState = o['initialState'] ?? 'zeros';
    if (initialState !== 'zeros' && initialState !== 'learned') {
      refuse('ERR_VALUE', `${subject}: initialState`, "'zeros' or 'learned'", initialState);
    }
    if (this.stateful && initialState === 'learned') {
      refuse(
        'ERR_VALUE',
        `${subject}: initialState`,
        "'zeros' for a stateful layer, which carries its state",
        "'learned'",
      );
    }
    this.initialState = initialState as 'zeros' | 'learned';
    this.seed = seedOption(o['seed'], `${subject}: seed`);
    const initializer = (key: string, fallback: string) =>
      resolveInitializer(o[key] ?? fallback, `${subject}: ${key}`);
    this.initializers = {
      kernel: initializer('kernelInitializer', 'glorotUniform'),
      recurrent: initializer('recurrentInitializer', 'orthogonal'),
      bias: initializer('biasInitializer', 'zeros'),
    };
    const regularizer = (key: string) => resolveRegularizer(o[key], `${subject}: ${key}`);
    const temporal = o['temporalActivationRegularizer'];
    this.regularizers = {
      kernel: regularizer('kernelRegularizer'),
      recurrent: regularizer('recurrentRegularizer'),
      bias: regularizer('biasRegularizer'),
      activity: regularizer('activityRegularizer'),
      temporal:
        typeof temporal === 'number'
          ? regularizers.l2(temporal)
          : regularizer('temporalActivationRegularizer'),
    };
    const constraint = (key: string) => resolveConstraint(o[key], `${subject}: ${key}`);
    this.constraints = {
      kernel: constraint('kernelConstraint'),
      recurrent: constraint('recurrentConstraint'),
      bias: constraint('biasConstraint'),
    };
  }

  private elementwise(spec: unknown, subject: string): ActivationAttrs {
    const activation = resolveActivation(spec, subject);
    if (activation.kind === 'softmax' || activation.kind === 'logSoftmax') {
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

  override get carriesState(): boolean {
    return this.stateful;
  }

  override get givesSeveral(): boolean {
    return this.returnState;
  }

  override arityObstacle(inputs: number): string | undefined {
    const { length } = this.states;
    if (inputs === 1 || inputs === 1 + length) return undefined;
    return `one input, or with ${length === 1 ? 'its initial state two' : `its ${length} initial states ${1 + length}`}`;
  }

  override get backwards(): readonly string[] {
    return this.goBackwards ? [this.name] : [];
  }

  override get streamObstacle(): string | undefined {
    return this.goBackwards ? 'goBackwards: true, which begins at the end of the sequence' : undefined;
  }

  override initialWeight(state: string): string | undefined {
    return this.initialState === 'learned' ? `initial${state.toUpperCase()}` : undefined;
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

  override outputShape(input: SymbolicShape): SymbolicShape {
    const { shape } = input;
    if (input.dtype !== 'real' || shape.length !== 2) {
      const flat = input.dtype === 'real' && shape.length === 1;
      const got =
        input.dtype === 'int32'
          ? `ids [N, ${shape.map((n) => n ?? 'T').join(', ')}]`
          : `[N${shape.map((n) => `, ${n ?? 'any'}`).join('')}]`;
      const hint =
        input.dtype === 'int32'
          ? 'Put an embedding layer below.'
          : flat
            ? 'When a recurrent layer is below, give it returnSequences: true.'
            : undefined;
      refuse('ERR_SHAPE', this.subject, 'a sequence [N, T, features]', got, hint);
    }
    const [steps, features] = shape as [number | null, number | null];
    if (features === null) refuse('ERR_SHAPE', this.subject, 'a known number of features', '[N, T, any]');
    if (this.inputSize !== undefined && this.inputSize !== features) {
      refuse('ERR_SHAPE', this.subject, `${this.inputSize} features`, `${features}`);
    }
    return this.returnSequences
      ? { dtype: 'real', shape: [steps, this.units], sequence: true }
      : { dtype: 'real', shape: [this.units], sequence: false };
  }

  override outputShapes(inputs: readonly SymbolicShape[]): readonly SymbolicShape[] {
    const [x, ...begins] = inputs as readonly [SymbolicShape, ...SymbolicShape[]];
    const wanted = this.arityObstacle(inputs.length);
    if (wanted !== undefined) refuse('ERR_VALUE', this.subject, wanted, inputs.length);
    if (begins.length > 0 && (this.stateful || this.initialState === 'learned')) {
      const own = this.stateful ? 'a stateful layer, which carries them' : "initialState: 'learned'";
      refuse('ERR_VALUE', this.subject, `no initial states beside ${own}`, 'some');
    }
    const state = { dtype: 'real', shape: [this.units], sequence: false } as const;
    for (const [i, { name }] of this.states.entries()) {
      const begin = begins[i];
      if (begin && (begin.dtype !== 'real' || begin.shape.length !== 1 || begin.shape[0] !== this.units))
        refuse(
          'ERR_SHAPE',
          `${this.subject}: initial state ${name}`,
          `[N, ${this.units}]`,
          shownInput(begin),
        );
    }
    return [this.outputShape(x), ...(this.returnState ? this.states.map(() => state) : [])];
  }

  override buildOn(inputs: readonly SymbolicShape[]): void {
    this.outputShapes(inputs);
    this.build(inputs[0] as SymbolicShape);
  }

  /** Set by `build`. */
  private inputSize: number | undefined;

  override build(input: SymbolicShape): void {
    this.outputShape(input);
    const features = input.shape[1] as number;
    this.inputSize = features;
    const { width } = this;
    const weights: WeightSpec[] = [
      {
        name: 'kernel',
        shape: [features, width],
        initializer: this.initializers.kernel,
        regularizer: this.regularizers.kernel,
        constraint: this.constraints.kernel,
      },
      {
        name: 'recurrentKernel',
        shape: [this.units, width],
        initializer: this.initializers.recurrent,
        regularizer: this.regularizers.recurrent,
        constraint: this.constraints.recurrent,
      },
    ];
    if (this.useBias) {
      const initializer = this.initializers.bias;
      weights.push({
        name: 'bias',
        shape: this.biasShape,
        initializer: {
          ...initializer,
          sample: (shape, random) => this.shapeBias(initializer.sample(shape, random)),
        },
        regularizer: this.regularizers.bias,
        constraint: this.constraints.bias,
        decay: false,
      });
    }
    weights.push(...this.ownWeights());
    for (const { name, size } of this.states) {
      const learned = this.initialWeight(name);
      if (learned === undefined) continue;
      weights.push({ name: learned, shape: [size], initializer: initializers.zeros(), decay: false });
    }
    this.weights = weights;
  }

  override unbuild(): void {
    super.unbuild();
    this.inputSize = undefined;
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    return this.callOn(context, [input])[0] as LayerValue;
  }

  /** @param inputs the sequence, and states to begin from */
  override callOn(context: CallContext, inputs: readonly LayerValue[]): readonly LayerValue[] {
    const [input, ...begins] = inputs as readonly [LayerValue, ...LayerValue[]];
    const { builder, batch, training } = context;
    const [steps, features] = input.shape as [number, number];
    const names = this.states.map(({ name }) => name);
    const starts = this.states.map(
      ({ name, size }, i) => begins[i]?.id ?? this.startState(context, name, [batch, size]),
    );
    const { temporal } = this.regularizers;
    const attrs = {
      steps,
      batch,
      inputSize: features,
      // Where the states of all steps are penalized, the last of them alone is what the layer gives.
      returnSequences: this.returnSequences || temporal !== undefined,
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
    const carries = this.stateful || context.givesStates;
    const ends = carries || this.returnState;
    const lastOnly = attrs.returnSequences && !this.returnSequences;
    const want = [false, true, ends || lastOnly, ends && names.includes('c')];
    const outputs = builder.emit(
      'rnnStack',
      [context.step(), input.id, input.mask ?? ABSENT, ...weights, bias, ...states, peephole],
      attrs,
      this.subject,
      want,
    );
    const first = stackLayout.forwardOutput(0);
    if (carries) {
      names.forEach((name, i) => {
        context.carry(this, name, outputs[first + 1 + i] as ValueId);
      });
    }
    const readMask = attrs.returnSequences ? this.maskAbove(context, input) : undefined;
    const mask = this.returnSequences ? readMask : undefined;
    if (temporal) {
      const states = { id: outputs[first] as ValueId, steps, mask: readMask };
      penalizeChanges(context, this.subject, temporal, states);
    }
    let id = outputs[lastOnly ? first + 1 : first] as ValueId;
    if (this.zeroOutputForMask && mask !== undefined)
      id = builder.emit('maskRows', [id, mask], {}, this.subject)[0] as ValueId;
    this.penalizeActivity(context, id);
    const output: LayerValue = {
      id,
      dtype: 'real',
      shape: this.returnSequences ? [steps, this.units] : [this.units],
      sequence: this.returnSequences,
      mask,
    };
    if (!this.returnState) return [output];
    const after = names.map((_, i): LayerValue => {
      const state = outputs[first + 1 + i] as ValueId;
      return { id: state, dtype: 'real', shape: [this.units], sequence: false };
    });
    return [output, ...after];
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

  /** The mask in the order of the outputs. */
  private maskAbove(context: CallContext, { mask }: LayerValue): ValueId | undefined {
    if (mask === undefined || !this.goBackwards) return mask;
    return context.builder.emit('reverseTime', [mask], {}, this.subject)[0] as ValueId;
  }

  /** A state handed in for this run, the carried one, the learned one, or none (zeros). */
  private startState(context: CallContext, name: string, shape: [number, number]): ValueId | undefined {
    const given = context.initialState(this, name, shape);
    if (given !== undefined) return given;
    if (this.stateful) return context.state(this, name, shape);
    const learned = this.initialWeight(name);
    if (learned === undefined) return undefined;
    const vector = context.weight(this, learned);
    return context.builder.emit(
      'broadcastRows',
      [vector],
      { rows: context.batch },
      this.subject,
    )[0] as ValueId;
  }

  private penalizeActivity(context: CallContext, id: ValueId): void {
    const { activity } = this.regularizers;
    if (!activity) return;
    const attrs = { l1: activity.l1, l2: activity.l2, scale: 1 / context.batch };
    context.addLoss(
      context.builder.emit('penalty', [id], attrs, `${this.subject}: activity regularizer`)[0] as ValueId,
    );
  }

  override getConfig(): Record<string, unknown> {
    const { kernel, recurrent, bias } = this.initializers;
    return {
      ...super.getConfig(),
      units: this.units,
      activation: activationConfig(this.activation),
      useBias: this.useBias,
      kernelInitializer: kernel.getConfig(),
      recurrentInitializer: recurrent.getConfig(),
      biasInitializer: bias.getConfig(),
      ...configs({
        kernelRegularizer: this.regularizers.kernel,
        recurrentRegularizer: this.regularizers.recurrent,
        biasRegularizer: this.regularizers.bias,
        activityRegularizer: this.regularizers.activity,
        temporalActivationRegularizer: this.regularizers.temporal,
        kernelConstraint: this.constraints.kernel,
        recurrentConstraint: this.constraints.recurrent,
        biasConstraint: this.constraints.bias,
      }),
      dropout: this.dropout,
      ...(this.dropoutMode === 'perStep' ? { dropoutMode: 'perStep' } : {}),
      recurrentDropout: this.recurrentDropout,
      ...(this.recurrentDropoutMode === 'perStep' ? { recurrentDropoutMode: 'perStep' } : {}),
      ...(this.zoneout > 0 ? { zoneout: this.zoneout } : {}),
      ...(this.cellZoneout > 0 ? { cellZoneout: this.cellZoneout } : {}),
      ...(this.recurrentWeightDropout > 0 ? { recurrentWeightDropout: this.recurrentWeightDropout } : {}),
      ...(this.weightNoise > 0 ? { weightNoise: this.weightNoise } : {}),
      returnSequences: this.returnSequences,
      ...(this.returnState ? { returnState: true } : {}),
      zeroOutputForMask: this.zeroOutputForMask,
      goBackwards: this.goBackwards,
      stateful: this.stateful,
      initialState: this.initialState,
      ...(this.seed === undefined ? {} : { seed: this.seed }),
    };
  }
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

/** The configurations of those parts that are there. */
export function configs(
  parts: Record<string, { getConfig(): Record<string, unknown> } | undefined>,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(parts).flatMap(([key, part]) => (part ? [[key, part.getConfig()]] : [])),
  );
}
