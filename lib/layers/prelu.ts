import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { ActivationAttrs, ValueId } from '../plan/types';
import type { ConstraintSpec } from './constraints';
import type { InitializerSpec } from './initializers';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  shownInput,
} from './layer';
import { commonOptions, subjectOf } from './options';
import type { RegularizerSpec } from './regularizers';
import { readWeightOptions, type WeightOptions, weightConfigs, weightOptionNames } from './weightOptions';

export interface PreluConfig extends LayerConfig {
  /** Default `'zeros'`. */
  alphaInitializer?: InitializerSpec;
  alphaRegularizer?: RegularizerSpec;
  alphaConstraint?: ConstraintSpec;
  /** `[1]`: the same slopes for all steps of a sequence. Default: slopes of their own for each step. */
  sharedAxes?: readonly number[];
}

const options = [...commonOptions, ...weightOptionNames('alpha'), 'sharedAxes'] as const;
const relu: ActivationAttrs = { kind: 'relu', alpha: 0 };

/**
 * `x` where it is above 0, else `alpha·x`, alpha learned (He et al., 2015). `[N, D]` with alpha `[D]`, or `[N, T, D]` with alpha `[T, D]`, and
 * with sharedAxes `[1]` `[1, D]`.
 */
export class Prelu extends Layer {
  readonly type = 'prelu';
  private readonly shared: boolean;
  private readonly of: Record<'alpha', WeightOptions>;

  constructor(config: PreluConfig = {}) {
    const subject = subjectOf('prelu', config);
    const o = readConfig(config, options, subject);
    super('prelu', o as LayerConfig);
    this.of = readWeightOptions(o, { alpha: 'zeros' }, subject);
    const axes = o.sharedAxes ?? [];
    if (!Array.isArray(axes) || axes.length > 1 || axes.some((axis) => axis !== 1))
      refuse('ERR_VALUE', `${subject}: sharedAxes`, '[1], or none', quoted(axes));
    this.shared = (axes as number[]).length > 0;
  }

  override get streamObstacle(): string | undefined {
    const [alpha] = this.weights;
    return alpha && alpha.shape.length > 1 && !this.shared ? 'slopes for each step' : undefined;
  }

  /** Shape of the slopes. */
  private slopes(input: SymbolicShape): readonly number[] {
    const { shape } = input;
    const own = this.shared ? [1, ...shape.slice(1)] : shape;
    if (
      input.dtype !== 'real' ||
      own.length < (this.shared ? 2 : 1) ||
      own.length > 2 ||
      own.some((n) => n === null)
    ) {
      const wanted = this.shared ? 'a sequence [N, T, D]' : '[N, D] or [N, T, D] of known lengths';
      const hint = own.includes(null)
        ? 'sharedAxes: [1] gives all steps of a sequence the same slopes.'
        : undefined;
      refuse('ERR_SHAPE', this.subject, wanted, shownInput(input), hint);
    }
    return own as number[];
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    const slopes = this.slopes(input);
    const [alpha] = this.weights;
    if (alpha && alpha.shape.join() !== slopes.join())
      refuse('ERR_SHAPE', this.subject, `inputs for slopes [${alpha.shape.join(', ')}]`, shownInput(input));
    return input;
  }

  override build(input: SymbolicShape): void {
    this.outputShape(input);
    this.weights = [{ name: 'alpha', shape: this.slopes(input), ...this.of.alpha, decay: false }];
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    const { builder } = context;
    const emit = (kind: 'add' | 'multiply', a: ValueId, b: ValueId) =>
      builder.emit(kind, [a, b], {}, this.subject)[0] as ValueId;
    const minus = (id: ValueId) => builder.emit('scale', [id], { factor: -1 }, this.subject)[0] as ValueId;
    const positive = builder.emit('activation', [input.id], relu, this.subject)[0] as ValueId;
    const negative = minus(builder.emit('activation', [minus(input.id)], relu, this.subject)[0] as ValueId);
    const slopes = this.spread(context, input);
    return { ...input, id: emit('add', positive, emit('multiply', slopes, negative)) };
  }

  /** The slopes of every number of the input, as it is stored. */
  private spread(context: CallContext, input: LayerValue): ValueId {
    const { builder, batch } = context;
    const label = this.subject;
    const [steps, features] = (input.sequence ? input.shape : [1, ...input.shape]) as [number, number];
    const reshape = (id: ValueId, shape: number[]) =>
      builder.emit('reshape', [id], { shape }, label)[0] as ValueId;
    const copies = (id: ValueId, rows: number) =>
      builder.emit('broadcastRows', [id], { rows }, label)[0] as ValueId;
    const alpha = context.weight(this, 'alpha');
    if (!input.sequence) return copies(alpha, batch);
    if (this.shared)
      return reshape(copies(reshape(alpha, [features]), steps * batch), [steps, batch, features]);
    const each = copies(reshape(alpha, [steps * features]), batch);
    return builder.emit('batchToTime', [reshape(each, [batch, steps, features])], {}, label)[0] as ValueId;
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...super.getConfig(),
      ...weightConfigs(this.of),
      ...(this.shared ? { sharedAxes: [1] } : {}),
    };
  }
}
