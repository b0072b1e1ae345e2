import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { ValueId } from '../plan/types';
import type { Shape } from '../tensors/tensor';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  shownInput,
} from './layer';
import { commonOptions, subjectOf } from './options';

/**
 * A layer that makes one value of several, in a model of symbolic tensors (`layers.add().apply([a, b])`). As in Keras, a step of the result
 * counts where it counts in any of the inputs: in all where one has no mask.
 */
export abstract class Merge extends Layer {
  /** Fewest inputs, and most. */
  protected readonly fewest: number = 2;
  protected readonly most: number = Number.POSITIVE_INFINITY;

  override arityObstacle(inputs: number): string | undefined {
    if (inputs >= this.fewest && inputs <= this.most) return undefined;
    return this.fewest === this.most ? `${this.fewest} inputs` : `${this.fewest} inputs or more`;
  }

  /** Of the proven inputs, which are as many as they may be. */
  protected abstract merged(inputs: readonly SymbolicShape[]): SymbolicShape;
  protected abstract emit(context: CallContext, inputs: readonly LayerValue[], shape: Shape): ValueId;

  override outputShapes(inputs: readonly SymbolicShape[]): readonly SymbolicShape[] {
    const wanted = this.arityObstacle(inputs.length);
    if (wanted !== undefined)
      refuse(
        'ERR_VALUE',
        this.subject,
        wanted,
        inputs.length,
        `Use it in a model: layers.${this.type}().apply([a, b]).`,
      );
    for (const [i, { dtype }] of inputs.entries())
      if (dtype !== 'real')
        refuse(
          'ERR_VALUE',
          `${this.subject}: inputs[${i}]`,
          'numbers',
          'ids',
          'Put an embedding layer below.',
        );
    return [this.merged(inputs)];
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    return this.outputShapes([input])[0] as SymbolicShape;
  }

  override buildOn(inputs: readonly SymbolicShape[]): void {
    this.outputShapes(inputs);
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    return this.callOn(context, [input])[0] as LayerValue;
  }

  override callOn(context: CallContext, inputs: readonly LayerValue[]): readonly LayerValue[] {
    const [{ shape, sequence }] = this.outputShapes(inputs) as [SymbolicShape];
    const id = this.emit(context, inputs, shape as Shape);
    return [
      {
        id,
        dtype: 'real',
        shape: shape as Shape,
        sequence,
        mask: sequence ? this.mergedMask(context, inputs) : undefined,
      },
    ];
  }

  /** Of a result that is a sequence. */
  protected mergedMask({ builder }: CallContext, inputs: readonly LayerValue[]): ValueId | undefined {
    const masks = new Set(inputs.map(({ mask }) => mask));
    if (masks.has(undefined)) return undefined;
    return ([...masks] as ValueId[]).reduce(
      (a, b) => builder.emit('eitherMask', [a, b], {}, this.subject)[0] as ValueId,
    );
  }

  protected shownShapes(inputs: readonly SymbolicShape[]): string {
    return inputs.map(shownInput).join(', ');
  }
}

/** Two shapes as one, an open length taken from the other; undefined where they differ. */
function unified(a: SymbolicShape, b: SymbolicShape, except?: number): SymbolicShape | undefined {
  if (a.shape.length !== b.shape.length || a.sequence !== b.sequence) return undefined;
  const shape = a.shape.map((n, i) => (i === except ? n : (n ?? b.shape[i] ?? null)));
  const fits = shape.every((n, i) => i === except || n === null || (b.shape[i] ?? n) === n);
  return fits ? { ...a, shape } : undefined;
}

export type ElementwiseKind = 'add' | 'subtract' | 'multiply' | 'average' | 'maximum' | 'minimum';

/**
 * Element by element of inputs of one shape: their sum, difference (of two), product, mean, the largest or the smallest. The output has
 * that shape. The `add` of a layer's input and output is a residual connection (He et al., 2016). Where several are the largest (or
 * smallest), the first of them takes the gradient, as in Keras on TensorFlow. A step that counts in some inputs alone is made of all: Keras
 * takes 1 in a product for those in which it does not count.
 */
export class ElementwiseMerge extends Merge {
  protected override readonly most: number;

  constructor(
    readonly type: ElementwiseKind,
    config: LayerConfig,
  ) {
    super(type, readConfig(config, commonOptions, subjectOf(type, config)) as LayerConfig);
    this.most = type === 'subtract' ? 2 : Number.POSITIVE_INFINITY;
  }

  protected override merged(inputs: readonly SymbolicShape[]): SymbolicShape {
    let shape = inputs[0] as SymbolicShape;
    for (const other of inputs.slice(1))
      shape =
        unified(shape, other) ??
        refuse('ERR_SHAPE', this.subject, 'inputs of one shape', this.shownShapes(inputs));
    return shape;
  }

  protected override emit({ builder }: CallContext, inputs: readonly LayerValue[]): ValueId {
    const two = (kind: 'add' | 'multiply', a: ValueId, b: ValueId) =>
      builder.emit(kind, [a, b], {}, this.subject)[0] as ValueId;
    const scaled = (id: ValueId, factor: number) =>
      builder.emit('scale', [id], { factor }, this.subject)[0] as ValueId;
    const ids = inputs.map(({ id }) => id);
    if (this.type === 'subtract') return two('add', ids[0] as ValueId, scaled(ids[1] as ValueId, -1));
    if (this.type === 'maximum' || this.type === 'minimum') {
      const attrs = { kind: this.type === 'maximum' ? 'max' : 'min' } as const;
      return ids.reduce((a, b) => builder.emit('extremum', [a, b], attrs, this.subject)[0] as ValueId);
    }
    const kind = this.type === 'multiply' ? 'multiply' : 'add';
    const whole = ids.reduce((a, b) => two(kind, a, b));
    return this.type === 'average' ? scaled(whole, 1 / ids.length) : whole;
  }
}

export interface ConcatenateConfig extends LayerConfig {
  /** Batch-free count is from 1, as the batch is axis 0; negative from the end. Only the last axis. Default −1. */
  axis?: number;
}

/** Inputs side by side along the last axis: `[N, …, a]` and `[N, …, b]` give `[N, …, a + b]`. */
export class Concatenate extends Merge {
  readonly type = 'concatenate';
  private readonly axis: number;

  constructor(config: ConcatenateConfig) {
    const subject = subjectOf('concatenate', config);
    const o = readConfig(config, [...commonOptions, 'axis'], subject);
    super('concatenate', o as LayerConfig);
    const axis = o.axis ?? -1;
    if (!Number.isInteger(axis) || axis === 0)
      refuse('ERR_VALUE', `${subject}: axis`, 'the last axis, -1 or its number', quoted(axis));
    this.axis = axis as number;
  }

  protected override merged(inputs: readonly SymbolicShape[]): SymbolicShape {
    const [first] = inputs as readonly [SymbolicShape];
    const last = first.shape.length - 1;
    if (this.axis !== -1 && this.axis !== last + 1)
      refuse('ERR_VALUE', `${this.subject}: axis`, `the last axis, -1 or ${last + 1}`, this.axis);
    let shape = first;
    let width = 0;
    for (const other of inputs) {
      const wanted = 'inputs that differ in the last axis alone';
      shape =
        unified(shape, other, last) ?? refuse('ERR_SHAPE', this.subject, wanted, this.shownShapes(inputs));
      const own =
        other.shape[last] ?? refuse('ERR_SHAPE', this.subject, 'known last axes', this.shownShapes(inputs));
      width += own;
    }
    return { ...shape, shape: [...shape.shape.slice(0, last), width] };
  }

  protected override emit({ builder }: CallContext, inputs: readonly LayerValue[]): ValueId {
    return builder.emit(
      'concat',
      inputs.map(({ id }) => id),
      {},
      this.subject,
    )[0] as ValueId;
  }

  override getConfig(): Record<string, unknown> {
    return { ...super.getConfig(), axis: this.axis };
  }
}
