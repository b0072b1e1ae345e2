import { flagOption } from '../config';
import { refuse } from '../errors';
import type { DropoutMode, ValueId } from '../plan/types';
import type { CellDefinition } from './cells/cell';
import { initializers } from './initializers';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  shownInput,
  type WeightSpec,
} from './layer';
import { rateOption, seedOption, subjectOf } from './options';
import { type Regularizer, type RegularizerSpec, resolveRegularizer } from './regularizers';

export interface RecurrentLayerConfig extends LayerConfig {
  /** On the output, divided by the batch size. */
  activityRegularizer?: RegularizerSpec;
  /** Rate at which inputs are dropped, one mask per sequence shared over time (Gal & Ghahramani, 2016). Default 0. */
  dropout?: number;
  /** The whole output sequence `[N, T, units]` instead of the last step `[N, units]`. Default false. */
  returnSequences?: boolean;
  /**
   * In a model of symbolic tensors: also give the states after the last step, each `[N, units]`: `const [y, h, c] = lstm.applyAll(x)`. A
   * layer takes such states as further inputs, to begin from: `decoder.apply([x, h, c])`. Default false.
   */
  returnState?: boolean;
  /** With returnSequences: outputs of steps that a mask leaves out are zeros, not those of the step before. Default false. */
  zeroOutputForMask?: boolean;
  /**
   * Whether steps that a mask leaves out are passed over also where the layer is called with states to begin from. Default true. `false`: it reads all
   * steps there, as Keras 3 does where the call names no mask; the mask goes on to the layers above.
   */
  maskWithStates?: boolean;
  /** Read the sequence from its end; the output is in the order of reading. Default false. */
  goBackwards?: boolean;
  /** Carry the state from batch to batch; needs a batchInputShape. `model.resetStates()` clears it. Default false. */
  stateful?: boolean;
  /** `'zeros'` (default), or `'learned'`: trainable weights of shape `[units]`, the same for every sequence. */
  initialState?: 'zeros' | 'learned';
  /** Seed of the layer's dropout masks. Default: the model's. */
  seed?: number;
}

export const recurrentLayerOptions = [
  'activityRegularizer',
  'dropout',
  'returnSequences',
  'returnState',
  'zeroOutputForMask',
  'maskWithStates',
  'goBackwards',
  'stateful',
  'initialState',
  'seed',
] as const;

/** The output `[…, outputSize]` of a recurrence, and its states after the last step. */
export interface Recurrence {
  /** `[T, N, outputSize]`, or `[N, outputSize]` of the last step. */
  readonly y: ValueId;
  /** Each `[N, size]`, in the order of the layer's states; there where they were wanted. */
  readonly ends: readonly ValueId[];
}

/** What a recurrence reads. */
export interface RecurrenceInputs {
  readonly input: LayerValue;
  /** The states that it begins with; undefined for zeros. */
  readonly starts: readonly (ValueId | undefined)[];
  readonly wantsEnds: boolean;
}

/** What all recurrent layers share: how they read a sequence, what they begin with and what they give. The kinds say what a step is. */
export abstract class RecurrentLayer extends Layer {
  /** Columns of the output. */
  abstract get outputSize(): number;
  readonly returnSequences: boolean;
  readonly returnState: boolean;
  readonly stateful: boolean;
  readonly goBackwards: boolean;
  /** Set also by what reads files in which calls say so. */
  maskWithStates: boolean;
  protected readonly dropout: number;
  protected readonly seed: number | undefined;
  private readonly zeroOutputForMask: boolean;
  private readonly initialState: 'zeros' | 'learned';
  private readonly activityRegularizer: Regularizer | undefined;
  /** Set by `build`. */
  private inputSize: number | undefined;

  /** @param o the options, of which those of the kind have been read */
  protected constructor(type: string, o: Partial<Record<string, unknown>>) {
    const subject = subjectOf(type, o);
    super(type, o as LayerConfig);
    this.returnSequences = flagOption(o['returnSequences'], false, `${subject}: returnSequences`);
    this.returnState = flagOption(o['returnState'], false, `${subject}: returnState`);
    this.zeroOutputForMask = flagOption(o['zeroOutputForMask'], false, `${subject}: zeroOutputForMask`);
    if (this.zeroOutputForMask && !this.returnSequences)
      refuse('ERR_VALUE', `${subject}: zeroOutputForMask`, 'false without returnSequences', true);
    this.maskWithStates = flagOption(o['maskWithStates'], true, `${subject}: maskWithStates`);
    this.goBackwards = flagOption(o['goBackwards'], false, `${subject}: goBackwards`);
    this.stateful = flagOption(o['stateful'], false, `${subject}: stateful`);
    this.dropout = rateOption(o['dropout'], `${subject}: dropout`);
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
    this.activityRegularizer = resolveRegularizer(
      o['activityRegularizer'],
      `${subject}: activityRegularizer`,
    );
  }

  /** @internal The step, and its weights in the shapes in which it reads them. */
  abstract asCell(): CellDefinition;

  /** Emits the recurrence. */
  protected abstract recur(context: CallContext, inputs: RecurrenceInputs): Recurrence;

  /** The weights of a step on so many features. */
  protected abstract stepWeights(features: number): WeightSpec[];

  override get carriesState(): boolean {
    return this.stateful;
  }

  override get givesSeveral(): string | undefined {
    return this.returnState ? 'returnState: true' : undefined;
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
    return this.initialState === 'learned'
      ? `initial${state.charAt(0).toUpperCase()}${state.slice(1)}`
      : undefined;
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
      ? { dtype: 'real', shape: [steps, this.outputSize], sequence: true }
      : { dtype: 'real', shape: [this.outputSize], sequence: false };
  }

  override outputShapes(inputs: readonly SymbolicShape[]): readonly SymbolicShape[] {
    const [x, ...begins] = inputs as readonly [SymbolicShape, ...SymbolicShape[]];
    const wanted = this.arityObstacle(inputs.length);
    if (wanted !== undefined) refuse('ERR_VALUE', this.subject, wanted, inputs.length);
    if (begins.length > 0 && (this.stateful || this.initialState === 'learned')) {
      const own = this.stateful ? 'a stateful layer, which carries them' : "initialState: 'learned'";
      refuse('ERR_VALUE', this.subject, `no initial states beside ${own}`, 'some');
    }
    const stateOf = (size: number) => ({ dtype: 'real', shape: [size], sequence: false }) as const;
    for (const [i, { name, size }] of this.states.entries()) {
      const begin = begins[i];
      if (begin && (begin.dtype !== 'real' || begin.shape.length !== 1 || begin.shape[0] !== size))
        refuse('ERR_SHAPE', `${this.subject}: initial state ${name}`, `[N, ${size}]`, shownInput(begin));
    }
    return [this.outputShape(x), ...(this.returnState ? this.states.map(({ size }) => stateOf(size)) : [])];
  }

  override buildOn(inputs: readonly SymbolicShape[]): void {
    this.outputShapes(inputs);
    this.build(inputs[0] as SymbolicShape);
  }

  override build(input: SymbolicShape): void {
    this.outputShape(input);
    const features = input.shape[1] as number;
    this.inputSize = features;
    const weights = this.stepWeights(features);
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
    const { builder, batch } = context;
    const [steps] = input.shape as [number, number];
    const starts = this.states.map(
      ({ name, size }, i) => begins[i]?.id ?? this.startState(context, name, [batch, size]),
    );
    const carries = this.stateful || context.givesStates;
    const masks = begins.length === 0 || this.maskWithStates;
    const read = masks ? input : { ...input, mask: undefined };
    const { y, ends } = this.recur(context, { input: read, starts, wantsEnds: carries || this.returnState });
    if (carries) {
      this.states.forEach(({ name }, i) => {
        context.carry(this, name, ends[i] as ValueId);
      });
    }
    const mask = this.returnSequences ? this.maskAbove(context, input) : undefined;
    let id = y;
    if (this.zeroOutputForMask && masks && mask !== undefined)
      id = builder.emit('maskRows', [id, mask], {}, this.subject)[0] as ValueId;
    this.penalizeActivity(context, id);
    const output: LayerValue = {
      id,
      dtype: 'real',
      shape: this.returnSequences ? [steps, this.outputSize] : [this.outputSize],
      sequence: this.returnSequences,
      mask,
    };
    if (!this.returnState) return [output];
    const after = this.states.map(({ size }, i): LayerValue => {
      return { id: ends[i] as ValueId, dtype: 'real', shape: [size], sequence: false };
    });
    return [output, ...after];
  }

  /** The mask in the order of the outputs. */
  protected maskAbove(context: CallContext, { mask }: LayerValue): ValueId | undefined {
    if (mask === undefined || !this.goBackwards) return mask;
    return context.builder.emitOnce('reverseTime', [mask], {}, this.subject);
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

  /** The input with features dropped, unless it says else by one mask for each sequence, where the layer trains so. */
  protected dropInputs(
    context: CallContext,
    input: LayerValue,
    mode: DropoutMode = 'sharedOverTime',
  ): LayerValue {
    if (!context.training || this.dropout === 0) return input;
    const attrs = {
      mode,
      seed: this.seed ?? context.seed,
      stream: context.stream(this, 'inputDropout'),
      rate: this.dropout,
    } as const;
    const [id] = context.builder.emit('dropout', [input.id, context.step()], attrs, this.subject);
    return { ...input, id: id as ValueId };
  }

  private penalizeActivity(context: CallContext, id: ValueId): void {
    const activity = this.activityRegularizer;
    if (!activity) return;
    const attrs = { l1: activity.l1, l2: activity.l2, scale: 1 / context.batch };
    context.addLoss(
      context.builder.emit('penalty', [id], attrs, `${this.subject}: activity regularizer`)[0] as ValueId,
    );
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...super.getConfig(),
      ...(this.activityRegularizer ? { activityRegularizer: this.activityRegularizer.getConfig() } : {}),
      dropout: this.dropout,
      returnSequences: this.returnSequences,
      ...(this.returnState ? { returnState: true } : {}),
      zeroOutputForMask: this.zeroOutputForMask,
      ...(this.maskWithStates ? {} : { maskWithStates: false }),
      goBackwards: this.goBackwards,
      stateful: this.stateful,
      initialState: this.initialState,
      ...(this.seed === undefined ? {} : { seed: this.seed }),
    };
  }
}
