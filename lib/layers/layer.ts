import { flagOption } from '../config';
import { quoted, refuse } from '../errors';
import type { PlanBuilder } from '../plan/builder';
import type { ValueId } from '../plan/types';
import type { Shape } from '../tensors/tensor';
import type { Constraint } from './constraints';
import type { Initializer } from './initializers';
import { subjectOf } from './options';
import type { Regularizer } from './regularizers';
import { SymbolicTensor, symbolicList } from './symbolic';

/**
 * What flows between layers while shapes are worked out. `shape` leaves the batch axis out; `null` is a length that is
 * known only when data come. `[D]` features · `[T, D]` a sequence of feature vectors · `[T]` with int32 a sequence of ids.
 */
export interface SymbolicShape {
  readonly dtype: 'real' | 'int32';
  readonly shape: readonly (number | null)[];
  /** Whether the first axis is time (stored `[T, N, …]` in plans). */
  readonly sequence: boolean;
}

/** A value in a plan being built, with the batch-free shape that users think in; all lengths are known here. */
export interface LayerValue {
  readonly id: ValueId;
  readonly dtype: 'real' | 'int32';
  readonly shape: Shape;
  readonly sequence: boolean;
  /** int32 `[T, N]`, 0 where a step of a sequence is padding; absent where every step counts. */
  readonly mask?: ValueId | undefined;
}

/** One array that a layer owns. Its variable in a session and in files is called `<layer name>/<weight name>`. */
export interface WeightSpec {
  readonly name: string;
  readonly shape: Shape;
  readonly initializer: Initializer;
  readonly regularizer?: Regularizer | undefined;
  readonly constraint?: Constraint | undefined;
  /** False for arrays that training never changes. Default true. */
  readonly trainable?: boolean;
  /** Biases and the like, which weight decay leaves alone. Default false. */
  readonly decay?: boolean;
}

/** How messages show an input: `[N, 5, any]`, or that it is ids. */
export function shownInput({ dtype, shape }: SymbolicShape): string {
  return dtype === 'int32' ? 'ids' : `[N${shape.map((n) => `, ${n ?? 'any'}`).join('')}]`;
}

/** The random numbers a layer may draw, at most 16; the place in this list is part of the number of their random stream. */
export const maskPurposes = [
  'dropout',
  'inputDropout',
  'recurrentDropout',
  'backwardInputDropout',
  'backwardRecurrentDropout',
  'noise',
  'recurrentWeightDropout',
  'backwardRecurrentWeightDropout',
  'kernelNoise',
  'recurrentKernelNoise',
  'backwardKernelNoise',
  'backwardRecurrentKernelNoise',
  'zoneout',
  'cellZoneout',
  'backwardZoneout',
  'backwardCellZoneout',
] as const;
export type MaskPurpose = (typeof maskPurposes)[number];

/** What a layer sees while it emits the ops of one plan. */
export interface CallContext {
  readonly builder: PlanBuilder;
  readonly training: boolean;
  /** Batch size N of this plan. */
  readonly batch: number;
  /** The seed of the model's dropout masks. */
  readonly seed: number;
  /** float64 `[1]`: the training step, which keys dropout masks. */
  step(): ValueId;
  /** The variable of one of the layer's weights. */
  weight(layer: Layer, name: string): ValueId;
  /**
   * Says what a weight that no gradient changes becomes in a training step: what `weight` gives from then on, and what the variable holds
   * after everything else in the plan has read it.
   */
  becomes(layer: Layer, name: string, value: ValueId): void;
  /** A variable that training does not touch and files do not hold: the carried state of a stateful layer, shape `[N, …]`. */
  state(layer: Layer, name: string, shape: Shape): ValueId;
  /** An initial state that the caller hands in for this run, or undefined: `[N, units]`. */
  initialState(layer: Layer, name: string, shape: Shape): ValueId | undefined;
  /** Whether the caller of the plan wants every state as it is after the last step. */
  readonly givesStates: boolean;
  /** Those that it wants are the ones after so many steps instead. Stacks are cut there once they are fused; other recurrences heed it. */
  readonly statesAfter: number | undefined;
  /**
   * Hands a state on: to the caller where the plan gives states, and of a stateful layer to the next run, through the state variable, after
   * everything else in the plan has read it.
   */
  carry(layer: Layer, name: string, from: ValueId): void;
  /** Adds a float64 `[1]` term (an activity penalty) to the loss. */
  addLoss(term: ValueId): void;
  /** A number for the random stream of one mask, unique per (layer, purpose) in a model and stable across plans. */
  stream(layer: Layer, purpose: MaskPurpose): number;
}

export interface LayerConfig {
  /** Unique in a model; default: the layer's type and a number. */
  name?: string;
  /** False freezes all weights. Default true. */
  trainable?: boolean;
  /** Batch-free shape of the input, where this is the first layer; `null` for a length that varies. */
  inputShape?: readonly (number | null)[];
  /** Whole input shape with the batch size in front, for a stateful first layer. */
  batchInputShape?: readonly (number | null)[];
}

/** @throws ERR_SHAPE unless every length is a positive integer, or null for one that varies */
export function checkInputShape(subject: string, shape: unknown): void {
  const fits =
    Array.isArray(shape) && shape.every((n) => n === null || (Number.isSafeInteger(n) && (n as number) > 0));
  if (!fits) refuse('ERR_SHAPE', subject, 'an array of positive integers or null', quoted(shape));
}

/** One step of a model: checks its configuration, declares its weights, emits ops. It computes nothing. */
export abstract class Layer {
  /** The type's name in files and default names, e.g. `simpleRnn`. */
  abstract readonly type: string;
  name: string;
  trainable: boolean;
  readonly inputShape: readonly (number | null)[] | undefined;
  readonly batchSize: number | undefined;
  /** Set by `build`. */
  weights: readonly WeightSpec[] = [];

  constructor(type: string, config: LayerConfig) {
    this.name = config.name ?? '';
    const subject = subjectOf(type, config);
    this.trainable = flagOption(config.trainable, true, `${subject}: trainable`);
    const { name } = config;
    if (name !== undefined && !(typeof name === 'string' && /^[^\s/]+$/.test(name))) {
      const shown = typeof name === 'string' ? `'${name}'` : name;
      refuse('ERR_VALUE', `layers.${type}: name`, 'a name without spaces or slashes', shown);
    }
    const { inputShape, batchInputShape } = config;
    if (inputShape !== undefined) checkInputShape(`${subject}: inputShape`, inputShape);
    if (batchInputShape !== undefined) checkInputShape(`${subject}: batchInputShape`, batchInputShape);
    if (inputShape && batchInputShape && inputShape.join() !== batchInputShape.slice(1).join()) {
      const shown = `[${inputShape.map(String).join(', ')}]`;
      refuse(
        'ERR_SHAPE',
        `${subject}: batchInputShape`,
        `a batch size before inputShape ${shown}`,
        batchInputShape,
      );
    }
    this.batchSize = batchInputShape?.[0] ?? undefined;
    this.inputShape = inputShape ?? batchInputShape?.slice(1);
  }

  /** What a summary calls its kind. */
  get shownType(): string {
    return this.type;
  }

  /** How messages call this layer. */
  get subject(): string {
    return this.name ? `layer '${this.name}'` : `layers.${this.type}`;
  }

  /** The kind of input a model that starts with this layer reads. */
  get inputDType(): 'real' | 'int32' {
    return 'real';
  }

  /** For a layer that looks ids up: every id must be below this. */
  get idLimit(): number | undefined {
    return undefined;
  }

  /** Whether the layer goes on from the state in which the last batch left it. */
  get carriesState(): boolean {
    return false;
  }

  /** Whether the layer may find steps that are padding. */
  get masks(): boolean {
    return false;
  }

  /** Names, in reports, of recurrences that read a sequence from its end. */
  get backwards(): readonly string[] {
    return [];
  }

  /** Why the layer cannot go on step by step, where it needs more of a sequence than the past: what it was given that asks for it. */
  get streamObstacle(): string | undefined {
    return undefined;
  }

  /** Whether the layer treats every row of the last axis alike and by itself, whatever axes are before it. */
  get rowwise(): boolean {
    return false;
  }

  /** The weight `[size]` from which a state starts, where that is learned; others start from zeros. */
  initialWeight(_state: string): string | undefined {
    return undefined;
  }

  /** Recurrent states of one sequence: what `initialState` and `state` are asked for, e.g. h and c of an LSTM. */
  get states(): readonly { readonly name: string; readonly size: number }[] {
    return [];
  }

  /** Batch-free output shape. @throws ERR_SHAPE, naming the layer, when the input does not fit. */
  abstract outputShape(input: SymbolicShape): SymbolicShape;

  /** Looks, in the model that the layer is now in, for a layer whose weights it reads. @throws ERR_VALUE where it is not there */
  tie(_layers: readonly Layer[]): void {}

  /** Sets `weights` from the input's shape. */
  build(_input: SymbolicShape): void {}

  /** Forgets what `build` learned, so that another input may be tried. */
  unbuild(): void {
    this.weights = [];
  }

  /** Emits this layer's ops. */
  abstract call(context: CallContext, input: LayerValue): LayerValue;

  /** Why the layer cannot read so many values, where it cannot. Most read one. */
  arityObstacle(inputs: number): string | undefined {
    return inputs === 1 ? undefined : 'one input';
  }

  /** Of layers that read several values or give several: what `outputShape` is of those that read one and give one. */
  outputShapes(inputs: readonly SymbolicShape[]): readonly SymbolicShape[] {
    return [this.outputShape(this.only(inputs))];
  }

  /** `build` of a layer that may read several values. */
  buildOn(inputs: readonly SymbolicShape[]): void {
    this.build(this.only(inputs));
  }

  /** `call` of a layer that may read or give several values. */
  callOn(context: CallContext, inputs: readonly LayerValue[]): readonly LayerValue[] {
    return [this.call(context, this.only(inputs))];
  }

  private only<V>(inputs: readonly V[]): V {
    const wanted = this.arityObstacle(inputs.length);
    if (wanted !== undefined) refuse('ERR_VALUE', this.subject, wanted, `${inputs.length}`);
    return inputs[0] as V;
  }

  /** The option by which the layer gives several values, which only a model of symbolic tensors has a use for. */
  get givesSeveral(): string | undefined {
    return undefined;
  }

  /**
   * Uses the layer on symbolic inputs, in a model that `model({ inputs, outputs })` makes of them. A layer that is applied several times
   * has one set of weights, which all its uses share.
   * @returns its output, of several the first
   * @throws ERR_SHAPE, naming the layer, when the inputs do not fit
   */
  apply(inputs: SymbolicTensor | readonly SymbolicTensor[]): SymbolicTensor {
    return this.applyAll(inputs)[0] as SymbolicTensor;
  }

  /** `apply`, with all outputs of a layer that gives several: `[output, h, c]` of an LSTM with `returnState: true`. */
  applyAll(inputs: SymbolicTensor | readonly SymbolicTensor[]): readonly SymbolicTensor[] {
    const read = symbolicList(inputs, `${this.subject}: apply`);
    const shapes = this.outputShapes(read.map(({ symbol }) => symbol));
    const call = { layer: this, inputs: read };
    return shapes.map((shape, i) => new SymbolicTensor(shape, call, i));
  }

  /** The configuration from which `layers.<type>` makes the same layer again; JSON values only. */
  getConfig(): Record<string, unknown> {
    const config: Record<string, unknown> = this.name ? { name: this.name } : {};
    if (!this.trainable) config['trainable'] = false;
    if (this.inputShape) config['inputShape'] = [...this.inputShape];
    if (this.batchSize !== undefined && this.inputShape)
      config['batchInputShape'] = [this.batchSize, ...this.inputShape];
    return config;
  }
}
