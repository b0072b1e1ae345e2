import { flagOption, readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { ValueId } from '../plan/types';
import type { Shape } from '../tensors/tensor';
import type { CallContext, LayerConfig, LayerValue, SymbolicShape } from './layer';
import { Merge } from './merge';
import { commonOptions, subjectOf } from './options';

export interface DotConfig extends LayerConfig {
  /** The axis of both inputs, or the axis of each, that is summed over; counted from 1, as the batch is axis 0, or negative from the end. */
  axes: number | readonly [number, number];
  /** Divide by the norms along that axis: the cosine of the angle. Default false. */
  normalize?: boolean;
}

/** What Keras divides by where a norm is smaller. */
const EPSILON = 1e-7;

/**
 * Products of two inputs, example by example, summed over one axis of each. The axes that are left follow one another: of `[N, T, D]` and
 * `[N, S, D]` with axes −1 come the scores `[N, T, S]` of an attention, of these and `[N, S, D]` with axes `[2, 1]` its context
 * `[N, T, D]`; of `[N, D]` and `[N, S, D]` with −1 `[N, S]`, of `[N, D]` and `[N, D]` `[N, 1]`. What padding was is no longer known.
 */
export class Dot extends Merge {
  readonly type = 'dot';
  protected override readonly most = 2;
  private readonly axes: number | readonly [number, number];
  private readonly normalize: boolean;

  constructor(config: DotConfig) {
    const subject = subjectOf('dot', config);
    const o = readConfig(config, [...commonOptions, 'axes', 'normalize'], subject);
    super('dot', o as LayerConfig);
    const axes = o.axes as DotConfig['axes'];
    const both = Array.isArray(axes) ? axes : [axes, axes];
    if (both.length !== 2 || !both.every((axis) => Number.isSafeInteger(axis) && axis !== 0))
      refuse(
        'ERR_VALUE',
        `${subject}: axes`,
        'the number of an axis that is not 0, or two of them',
        quoted(axes),
      );
    this.axes = axes;
    this.normalize = flagOption(o.normalize, false, `${subject}: normalize`);
  }

  override get streamObstacle(): string {
    return 'products of whole sequences';
  }

  /** The axis of input i that is summed over, the batch axis counted. */
  private axisOf(input: SymbolicShape, i: number): number {
    const rank = input.shape.length + 1;
    const given = typeof this.axes === 'number' ? this.axes : (this.axes[i] as number);
    const axis = given < 0 ? given + rank : given;
    if (rank > 3) refuse('ERR_SHAPE', this.subject, 'inputs [N, D] or [N, T, D]', this.shownShapes([input]));
    if (axis < 1 || axis >= rank)
      refuse(
        'ERR_VALUE',
        `${this.subject}: axes`,
        `an axis of ${this.shownShapes([input])} behind the first`,
        given,
      );
    return axis;
  }

  protected override merged(inputs: readonly SymbolicShape[]): SymbolicShape {
    const axes = inputs.map((input, i) => this.axisOf(input, i));
    const [a, b] = inputs.map(({ shape }, i) => shape[(axes[i] as number) - 1] as number | null);
    if (a !== null && b !== null && a !== b)
      refuse(
        'ERR_SHAPE',
        this.subject,
        `equally many numbers along axes ${axes.join(' and ')}`,
        this.shownShapes(inputs),
      );
    const left = inputs.flatMap(({ shape }, i) => shape.filter((_, k) => k + 1 !== axes[i]));
    return { dtype: 'real', shape: left.length > 0 ? left : [1], sequence: left.length === 2 };
  }

  protected override mergedMask(): undefined {
    return undefined;
  }

  protected override emit(
    { builder, batch }: CallContext,
    inputs: readonly LayerValue[],
    shape: Shape,
  ): ValueId {
    const reshape = (id: ValueId, to: Shape) =>
      builder.emit('reshape', [id], { shape: to }, this.subject)[0] as ValueId;
    // Three axes, the batch first; the one to sum over last, or before the last where `turned`.
    const [a, b] = inputs.map((input, i) => {
      const { id, shape: own, sequence } = input;
      let turned = own.length === 2 && this.axisOf(input, i) === 1;
      let whole = sequence ? (builder.emit('timeToBatch', [id], {}, this.subject)[0] as ValueId) : id;
      if (own.length === 1) whole = reshape(id, [batch, 1, ...own]);
      if (!this.normalize) return { id: whole, turned };
      if (turned) whole = builder.emit('transpose', [whole], { axes: [0, 2, 1] }, this.subject)[0] as ValueId;
      turned = false;
      const epsilon = { epsilon: EPSILON };
      return { id: builder.emit('normalizeRows', [whole], epsilon, this.subject)[0] as ValueId, turned };
    }) as [{ id: ValueId; turned: boolean }, { id: ValueId; turned: boolean }];
    const attrs = { transposeA: a.turned, transposeB: !b.turned };
    const [product] = builder.emit('matmul', [a.id, b.id], attrs, this.subject) as [ValueId];
    if (shape.length === 1) return reshape(product, [batch, ...shape]);
    return builder.emit('batchToTime', [product], {}, this.subject)[0] as ValueId;
  }

  override getConfig(): Record<string, unknown> {
    const axes = typeof this.axes === 'number' ? this.axes : [...this.axes];
    return { ...super.getConfig(), axes, ...(this.normalize ? { normalize: true } : {}) };
  }
}
