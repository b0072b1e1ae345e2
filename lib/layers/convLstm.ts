import { flagOption, readConfig } from '../config';
import { refuse } from '../errors';
import { ops } from '../ops';
import { type ActivationSpec, activationConfig, resolveActivation } from '../ops/activations';
import { activated, made, type Traced } from '../ops/traced';
import { rowActivations } from '../plan/codes';
import type { ActivationAttrs, ValueId } from '../plan/types';
import { sizeOf } from '../tensors/tensor';
import type { CellDefinition } from './cells/cell';
import { convolve, type Grid, gridOf, partsOfPlaces } from './cells/convolution';
import { lowerCell } from './cells/lowerCell';
import type { ConstraintSpec } from './constraints';
import type { Initializer, InitializerSpec } from './initializers';
import { type CallContext, type LayerValue, type SymbolicShape, shownInput, type WeightSpec } from './layer';
import { commonOptions, countOption, rateOption, subjectOf } from './options';
import {
  type Recurrence,
  type RecurrenceInputs,
  RecurrentLayer,
  type RecurrentLayerConfig,
  recurrentLayerOptions,
} from './recurrentLayer';
import type { RegularizerSpec } from './regularizers';
import { reshaped } from './reshape';
import { readWeightOptions, type WeightOptions, weightConfigs, weightOptionNames } from './weightOptions';
import { lengthOption, paddingOption, type WindowOptions } from './windows';

export interface ConvLstmConfig extends RecurrentLayerConfig {
  /** Channels of the state and of the output. */
  filters: number;
  /** Places that a filter reads along each axis; one number for all. */
  kernelSize: number | readonly number[];
  /** From one output to the next, in the convolution of the input. Default 1. */
  strides?: number | readonly number[];
  /** Of the convolution of the input: `'valid'` (default), or `'same'`. That of the state always keeps its size. */
  padding?: 'valid' | 'same';
  /** Distance of the places that a filter of the input reads. Default 1. */
  dilationRate?: number | readonly number[];
  /** Of the candidate state. Default `'tanh'`. */
  activation?: ActivationSpec;
  /** Of the gates. Default `'sigmoid'`. */
  recurrentActivation?: ActivationSpec;
  /** Default true. */
  useBias?: boolean;
  /** Start the forget gate's bias at 1. Default true. */
  unitForgetBias?: boolean;
  /** Default `'glorotUniform'`. */
  kernelInitializer?: InitializerSpec;
  /** Default `'orthogonal'`. */
  recurrentInitializer?: InitializerSpec;
  /** Default `'zeros'`. */
  biasInitializer?: InitializerSpec;
  kernelRegularizer?: RegularizerSpec;
  recurrentRegularizer?: RegularizerSpec;
  biasRegularizer?: RegularizerSpec;
  kernelConstraint?: ConstraintSpec;
  recurrentConstraint?: ConstraintSpec;
  biasConstraint?: ConstraintSpec;
  /** Rate at which numbers of the state are dropped where it enters its convolution, one mask per sequence. Default 0. */
  recurrentDropout?: number;
}

const options = [
  ...commonOptions,
  'filters',
  'kernelSize',
  'strides',
  'padding',
  'dilationRate',
  'activation',
  'recurrentActivation',
  'useBias',
  'unitForgetBias',
  ...weightOptionNames('kernel', 'recurrent', 'bias'),
  'recurrentDropout',
  ...recurrentLayerOptions,
] as const;

type Kind = 'kernel' | 'recurrent' | 'bias';

/** How the layer lies on an input: known when that is. */
interface Geometry {
  readonly space: readonly number[];
  readonly channels: number;
  readonly ofInput: Grid;
  readonly ofState: Grid;
}

/**
 * An LSTM whose products are convolutions (Shi et al., 2015), for frames of one or two axes with channels last:
 * `[N, T, …space, channels]` → `[N, T, …places, filters]` with returnSequences, else `[N, …places, filters]`. Gates i, f, g, o; kernel
 * `[…kernelSize, channels, 4·filters]`, recurrentKernel `[…kernelSize, filters, 4·filters]`, bias `[4·filters]`. Where a caller hands
 * states in or asks for them they are `[N, places·filters]`. The last frame's first axis is a sequence to layers above, as that of `reshape`.
 */
export class ConvLstm extends RecurrentLayer {
  readonly filters: number;
  private readonly window: readonly WindowOptions[];
  private readonly activation: ActivationAttrs;
  private readonly recurrentActivation: ActivationAttrs;
  private readonly useBias: boolean;
  private readonly unitForgetBias: boolean;
  private readonly recurrentDropout: number;
  private readonly of: Record<Kind, WeightOptions>;
  private geometry: Geometry | undefined;

  constructor(
    readonly type: 'convLSTM1D' | 'convLSTM2D',
    config: ConvLstmConfig,
  ) {
    const subject = subjectOf(type, config);
    const o = readConfig<string>(config, options, subject);
    super(type, o);
    this.filters = countOption(o['filters'], `${subject}: filters`);
    const axes = type === 'convLSTM1D' ? 1 : 2;
    const along = (key: string, fallback?: number) =>
      lengthsOption(o[key] ?? fallback, axes, `${subject}: ${key}`);
    const [sizes, strides, dilations] = [along('kernelSize'), along('strides', 1), along('dilationRate', 1)];
    const padding = paddingOption(o['padding'], ['valid', 'same'], `${subject}: padding`);
    this.window = sizes.map((size, axis) => {
      const [stride, dilation] = [strides[axis] as number, dilations[axis] as number];
      if (stride > 1 && dilation > 1)
        refuse('ERR_VALUE', `${subject}: dilationRate`, `1 with strides ${stride}`, dilation);
      return { size, stride, dilation, padding };
    });
    const activation = (key: string, fallback: string) => {
      const given = resolveActivation(o[key] === undefined ? fallback : o[key], `${subject}: ${key}`);
      if (rowActivations.has(given.kind))
        refuse('ERR_VALUE', `${subject}: ${key}`, 'an elementwise activation', `'${given.kind}'`);
      return given;
    };
    this.activation = activation('activation', 'tanh');
    this.recurrentActivation = activation('recurrentActivation', 'sigmoid');
    this.useBias = flagOption(o['useBias'], true, `${subject}: useBias`);
    this.unitForgetBias = flagOption(o['unitForgetBias'], true, `${subject}: unitForgetBias`);
    this.recurrentDropout = rateOption(o['recurrentDropout'], `${subject}: recurrentDropout`);
    this.of = readWeightOptions(
      o,
      { kernel: 'glorotUniform', recurrent: 'orthogonal', bias: 'zeros' },
      subject,
    );
  }

  override get outputSize(): number {
    return sizeOf(this.geometry?.ofInput.places ?? []) * this.filters;
  }

  override get states(): readonly { readonly name: string; readonly size: number }[] {
    return ['h', 'c'].map((name) => ({ name, size: this.outputSize }));
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    const [steps] = input.shape;
    const { ofInput } = this.geometryOn(input);
    const frame = [...ofInput.places, this.filters];
    return this.returnSequences
      ? { dtype: 'real', shape: [steps as number | null, ...frame], sequence: true }
      : { dtype: 'real', shape: frame, sequence: true };
  }

  override outputShapes(inputs: readonly SymbolicShape[]): readonly SymbolicShape[] {
    const [x, ...begins] = inputs as readonly [SymbolicShape, ...SymbolicShape[]];
    const frame = [...this.geometryOn(x).ofInput.places, this.filters];
    const flat = begins.map((begin) => {
      const fits = begin.dtype === 'real' && begin.shape.join() === frame.join();
      if (!fits)
        refuse('ERR_SHAPE', `${this.subject}: initial state`, `[N, ${frame.join(', ')}]`, shownInput(begin));
      return { ...begin, shape: [sizeOf(frame)], sequence: false };
    });
    this.geometry ??= this.geometryOn(x);
    const [output, ...states] = super.outputShapes([x, ...flat]) as [SymbolicShape, ...SymbolicShape[]];
    return [output, ...states.map((state) => ({ ...state, shape: frame, sequence: true }))];
  }

  override build(input: SymbolicShape): void {
    this.geometry = this.geometryOn(input);
    super.build(input);
  }

  override unbuild(): void {
    super.unbuild();
    this.geometry = undefined;
  }

  private geometryOn(input: SymbolicShape): Geometry {
    const axes = this.window.length;
    const wanted = axes === 1 ? 'frames [N, T, length, channels]' : 'frames [N, T, rows, columns, channels]';
    const { shape } = input;
    if (input.dtype !== 'real' || shape.length !== axes + 2)
      refuse('ERR_SHAPE', this.subject, wanted, shownInput(input));
    const frame = shape.slice(1);
    if (frame.includes(null))
      refuse('ERR_SHAPE', this.subject, `${wanted} of known sizes`, shownInput(input));
    const space = frame.slice(0, -1) as number[];
    const channels = frame[axes] as number;
    const known = this.geometry;
    if (known && known.channels !== channels)
      refuse('ERR_SHAPE', this.subject, `${known.channels} channels`, shownInput(input));
    if (known?.space.join() === space.join()) return known;
    if (known) refuse('ERR_SHAPE', this.subject, `frames of [${known.space.join(', ')}]`, shownInput(input));
    const ofInput = gridOf(space, this.window);
    if (ofInput.places.some((n) => n < 1))
      refuse('ERR_SHAPE', this.subject, 'frames with room for a filter', shownInput(input));
    const kept = this.window.map(({ size }) => ({ size, stride: 1, dilation: 1, padding: 'same' }) as const);
    return { space, channels, ofInput, ofState: gridOf(ofInput.places, kept) };
  }

  protected override stepWeights(): WeightSpec[] {
    const { channels } = this.geometry as Geometry;
    const { filters } = this;
    const sizes = this.window.map(({ size }) => size);
    const spec = (name: string, kind: Kind, shape: number[]): WeightSpec => ({
      name,
      shape,
      ...this.of[kind],
    });
    const weights = [
      spec('kernel', 'kernel', [...sizes, channels, 4 * filters]),
      spec('recurrentKernel', 'recurrent', [...sizes, filters, 4 * filters]),
    ];
    if (!this.useBias) return weights;
    const bias = spec('bias', 'bias', [4 * filters]);
    const { initializer } = bias;
    const sample: Initializer['sample'] = (shape, random) => {
      const drawn = initializer.sample(shape, random);
      return this.unitForgetBias ? drawn.fill(1, filters, 2 * filters) : drawn;
    };
    return [...weights, { ...bias, initializer: { ...initializer, sample }, decay: false }];
  }

  /** Frames are rows of a cell, and rows become frames again. */
  override callOn(context: CallContext, inputs: readonly LayerValue[]): readonly LayerValue[] {
    const frame = [...(this.geometry as Geometry).ofInput.places, this.filters];
    const [input, ...begins] = inputs as readonly [LayerValue, ...LayerValue[]];
    const [steps, ...read] = input.shape as [number, ...number[]];
    const inRows = (value: LayerValue, own: readonly number[], stored: readonly number[]): LayerValue => {
      const [id] = context.builder.emit(
        'reshape',
        [value.id],
        { shape: [steps, context.batch, ...stored] },
        this.subject,
      );
      return { ...value, id: id as ValueId, shape: [steps, ...own] };
    };
    const flat = inRows(input, [sizeOf(read)], [sizeOf(read)]);
    const states = begins.map((begin) => reshaped(context, begin, [sizeOf(frame)], this.subject));
    return super
      .callOn(context, [flat, ...states])
      .map((value) =>
        value.sequence ? inRows(value, frame, frame) : reshaped(context, value, frame, this.subject),
      );
  }

  /** @internal A filter is a matrix in it: what it reads by what it gives. */
  override asCell(): CellDefinition {
    const matrices = this.stepWeights().map(({ name, shape }) => {
      const width = shape[shape.length - 1] as number;
      return [name, { shape: shape.length > 1 ? [sizeOf(shape) / width, width] : shape }] as const;
    });
    return {
      states: Object.fromEntries(this.states.map(({ name, size }) => [name, size])),
      outputSize: this.outputSize,
      weights: () => Object.fromEntries(matrices),
      step: this.step,
    };
  }

  protected override recur(context: CallContext, inputs: RecurrenceInputs): Recurrence {
    const { returnSequences, goBackwards, states, outputSize, step } = this;
    const weights = Object.entries(this.asCell().weights(inputs.input.shape[1] as number));
    const run = {
      layer: this,
      weights: new Map(weights.map(([name, { shape }]) => [name, shape])),
      states,
      outputSize,
      returnSequences,
      goBackwards,
      step,
    };
    const input = this.dropInputs(context, inputs.input);
    return lowerCell({ ...run, seed: this.seed ?? context.seed }, context, { ...inputs, input });
  }

  private readonly step: CellDefinition['step'] = (
    x,
    { h, c },
    { kernel, recurrentKernel, bias },
    context,
  ) => {
    const { channels, ofInput, ofState } = this.geometry as Geometry;
    const dropped = context.dropout(h as Traced, this.recurrentDropout, { sharedOverTime: true });
    const ofX = convolve(x, kernel as Traced, ofInput, channels);
    const ofH = convolve(dropped, recurrentKernel as Traced, ofState, this.filters);
    const sum = ops.add(ofX, ofH);
    // One bias for all places.
    const gates = bias === undefined ? sum : made('bias', 'add', [sum, bias], sum.width);
    const [i, f, g, o] = partsOfPlaces(gates, sizeOf(ofInput.places), 4) as [Traced, Traced, Traced, Traced];
    const gate = (value: Traced) => activated(this.recurrentActivation, value);
    const cell = ops.add(
      ops.multiply(gate(f), c as Traced),
      ops.multiply(gate(i), activated(this.activation, g)),
    );
    const output = ops.multiply(gate(o), activated(this.activation, cell));
    return { output, states: { h: output, c: cell } };
  };

  override getConfig(): Record<string, unknown> {
    const along = (key: 'size' | 'stride' | 'dilation') => this.window.map((window) => window[key]);
    return {
      ...super.getConfig(),
      filters: this.filters,
      kernelSize: along('size'),
      strides: along('stride'),
      padding: this.window[0]?.padding,
      dilationRate: along('dilation'),
      activation: activationConfig(this.activation),
      recurrentActivation: activationConfig(this.recurrentActivation),
      useBias: this.useBias,
      unitForgetBias: this.unitForgetBias,
      ...weightConfigs(this.of),
      recurrentDropout: this.recurrentDropout,
    };
  }
}

/** A length along each axis; one number stands for all. */
function lengthsOption(value: unknown, axes: number, subject: string): number[] {
  const list = Array.isArray(value) ? value : Array.from({ length: axes }, () => value);
  if (list.length !== axes) refuse('ERR_VALUE', subject, `${axes} numbers, or one`, list.length);
  return list.map((length) => lengthOption(length, subject));
}
