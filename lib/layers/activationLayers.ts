import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { ActivationAttrs, ValueId } from '../plan/types';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  shownInput,
} from './layer';
import { commonOptions, subjectOf } from './options';

export interface LeakyReluConfig extends LayerConfig {
  /** Slope of the negative side, 0 or more. Default 0.3. */
  negativeSlope?: number;
}
export interface EluConfig extends LayerConfig {
  /** Default 1. */
  alpha?: number;
}
export interface SoftmaxConfig extends LayerConfig {
  /** The axis whose numbers sum to 1, which has to be the last. Default −1. */
  axis?: number;
}
export interface ReluConfig extends LayerConfig {
  /** Larger outputs are cut to it. Default: none. */
  maxValue?: number;
  /** Slope below the threshold, 0 or more. Default 0. */
  negativeSlope?: number;
  /** Up to where inputs give 0, 0 or more. Default 0; another one without negativeSlope. */
  threshold?: number;
}

/** An option that is a number. @throws ERR_VALUE unless it is finite and `least` or more, or above it */
function numberOption(value: unknown, usual: number, subject: string, above = false): number {
  const v = value ?? usual;
  if (typeof v !== 'number' || !Number.isFinite(v) || (above ? v <= 0 : v < 0))
    refuse('ERR_VALUE', subject, above ? 'a finite number above 0' : 'a finite number, 0 or more', quoted(v));
  return v as number;
}

/** A layer that is a function of each number, or of each row: the output has the shape of the input. */
abstract class FunctionLayer extends Layer {
  override get rowwise(): boolean {
    return true;
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    if (input.dtype !== 'real') refuse('ERR_SHAPE', this.subject, 'numbers', 'ids');
    return input;
  }

  protected activated({ builder }: CallContext, id: ValueId, attrs: ActivationAttrs): ValueId {
    return builder.emit('activation', [id], attrs, this.subject)[0] as ValueId;
  }

  protected scaled({ builder }: CallContext, id: ValueId, factor: number): ValueId {
    return factor === 1 ? id : (builder.emit('scale', [id], { factor }, this.subject)[0] as ValueId);
  }
}

/** `x` where it is above 0, else `negativeSlope·x` (Maas et al., 2013). */
export class LeakyRelu extends FunctionLayer {
  readonly type = 'leakyReLU';
  private readonly negativeSlope: number;

  constructor(config: LeakyReluConfig = {}) {
    const subject = subjectOf('leakyReLU', config);
    // Keras 2 and TensorFlow.js call it alpha.
    const o = readConfig(config, [...commonOptions, 'negativeSlope', 'alpha'], subject);
    super('leakyReLU', o as LayerConfig);
    if (o.alpha !== undefined && o.negativeSlope !== undefined)
      refuse('ERR_VALUE', subject, "'negativeSlope' or 'alpha'", 'both');
    this.negativeSlope = numberOption(o.negativeSlope ?? o.alpha, 0.3, `${subject}: negativeSlope`);
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    const { negativeSlope: alpha } = this;
    const attrs = alpha === 0 ? ({ kind: 'relu', alpha } as const) : ({ kind: 'leakyRelu', alpha } as const);
    return { ...input, id: this.activated(context, input.id, attrs) };
  }

  override getConfig(): Record<string, unknown> {
    return { ...super.getConfig(), negativeSlope: this.negativeSlope };
  }
}

/** `x` where it is above 0, else `alpha·(e^x − 1)` (Clevert et al., 2016). */
export class Elu extends FunctionLayer {
  readonly type = 'elu';
  private readonly alpha: number;

  constructor(config: EluConfig = {}) {
    const subject = subjectOf('elu', config);
    const o = readConfig(config, [...commonOptions, 'alpha'], subject);
    super('elu', o as LayerConfig);
    this.alpha = numberOption(o.alpha, 1, `${subject}: alpha`);
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    return { ...input, id: this.activated(context, input.id, { kind: 'elu', alpha: this.alpha }) };
  }

  override getConfig(): Record<string, unknown> {
    return { ...super.getConfig(), alpha: this.alpha };
  }
}

/** `e^x / Σ e^x` over the last axis. */
export class Softmax extends FunctionLayer {
  readonly type = 'softmax';
  private readonly axis: number;

  constructor(config: SoftmaxConfig = {}) {
    const subject = subjectOf('softmax', config);
    const o = readConfig(config, [...commonOptions, 'axis'], subject);
    super('softmax', o as LayerConfig);
    const axis = o.axis ?? -1;
    if (!Number.isSafeInteger(axis) || !(axis === -1 || (axis as number) > 0))
      refuse('ERR_VALUE', `${subject}: axis`, '-1 or the number of the last axis', quoted(axis));
    this.axis = axis as number;
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    if (this.axis !== -1 && this.axis !== input.shape.length) {
      const got = `axis ${this.axis} of ${shownInput(input)}`;
      refuse('ERR_SHAPE', this.subject, `the last axis, ${input.shape.length} or -1`, got);
    }
    return super.outputShape(input);
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    return { ...input, id: this.activated(context, input.id, { kind: 'softmax', alpha: 0 }) };
  }

  override getConfig(): Record<string, unknown> {
    return { ...super.getConfig(), axis: this.axis };
  }
}

/** `x` above the threshold, at most maxValue; below it `negativeSlope·x`. */
export class Relu extends FunctionLayer {
  readonly type = 'relu';
  private readonly maxValue: number | undefined;
  private readonly negativeSlope: number;
  private readonly threshold: number;

  constructor(config: ReluConfig = {}) {
    const subject = subjectOf('relu', config);
    const o = readConfig(config, [...commonOptions, 'maxValue', 'negativeSlope', 'threshold'], subject);
    super('relu', o as LayerConfig);
    this.maxValue =
      o.maxValue === undefined ? undefined : numberOption(o.maxValue, 0, `${subject}: maxValue`, true);
    this.negativeSlope = numberOption(o.negativeSlope, 0, `${subject}: negativeSlope`);
    this.threshold = numberOption(o.threshold, 0, `${subject}: threshold`);
    if (this.threshold > 0 && this.negativeSlope > 0)
      refuse('ERR_VALUE', `${subject}: threshold`, '0 beside a negativeSlope', this.threshold);
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    const { maxValue: most, negativeSlope: slope, threshold } = this;
    const { builder } = context;
    let id = input.id;
    if (threshold > 0) id = this.activated(context, id, { kind: 'threshold', alpha: threshold });
    if (most === undefined) {
      if (threshold === 0) id = this.activated(context, id, { kind: 'relu', alpha: 0 });
    } else {
      const six = this.scaled(context, id, 6 / most);
      id = this.scaled(context, this.activated(context, six, { kind: 'relu6', alpha: 0 }), most / 6);
    }
    if (slope > 0) {
      const below = this.activated(context, this.scaled(context, input.id, -1), { kind: 'relu', alpha: 0 });
      [id] = builder.emit('add', [id, this.scaled(context, below, -slope)], {}, this.subject) as [ValueId];
    }
    return { ...input, id };
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...super.getConfig(),
      ...(this.maxValue === undefined ? {} : { maxValue: this.maxValue }),
      negativeSlope: this.negativeSlope,
      threshold: this.threshold,
    };
  }
}
