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

export interface ReshapeConfig extends LayerConfig {
  /** Batch-free; one length may be −1: what is left for it. */
  targetShape: readonly number[];
}

/** The numbers of each example, in their order, under another batch-free shape. What padding was is no longer known. */
export function reshaped(
  { builder, batch }: CallContext,
  { id, sequence }: LayerValue,
  shape: Shape,
  label: string,
): LayerValue {
  const emit = (kind: 'timeToBatch' | 'batchToTime', from: ValueId) =>
    builder.emit(kind, [from], {}, label)[0] as ValueId;
  const rows = sequence ? emit('timeToBatch', id) : id;
  const [given] = builder.emit('reshape', [rows], { shape: [batch, ...shape] }, label) as [ValueId];
  const becomes = shape.length > 1;
  return { id: becomes ? emit('batchToTime', given) : given, dtype: 'real', shape, sequence: becomes };
}

/** Another shape for each example: `[N, 12]` → `[N, 3, 4]` with targetShape `[3, 4]` or `[-1, 4]`. The first axis of two or more is time. */
export class Reshape extends Layer {
  readonly type = 'reshape';
  readonly targetShape: readonly number[];

  constructor(config: ReshapeConfig) {
    const subject = subjectOf('reshape', config);
    const o = readConfig(config, [...commonOptions, 'targetShape'], subject);
    super('reshape', o as LayerConfig);
    const shape = o.targetShape;
    const fits =
      Array.isArray(shape) &&
      shape.length > 0 &&
      shape.every((n) => Number.isSafeInteger(n) && (n > 0 || n === -1)) &&
      shape.filter((n) => n === -1).length <= 1;
    if (!fits)
      refuse(
        'ERR_VALUE',
        `${subject}: targetShape`,
        'positive integers, of which one may be -1',
        quoted(shape),
      );
    this.targetShape = [...(shape as number[])];
  }

  override get streamObstacle(): string {
    return 'a shape for whole sequences';
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    const known = this.targetShape.reduce((product, n) => (n === -1 ? product : product * n), 1);
    const free = this.targetShape.includes(-1);
    const size = input.shape.includes(null) ? null : (input.shape as Shape).reduce((a, b) => a * b, 1);
    if (input.dtype !== 'real' || (size !== null && (free ? size % known !== 0 : size !== known))) {
      const wanted = `${free ? 'a multiple of ' : ''}${known} numbers for targetShape [${this.targetShape.join(', ')}]`;
      refuse('ERR_SHAPE', this.subject, wanted, shownInput(input));
    }
    const shape = this.targetShape.map((n) => (n !== -1 ? n : size === null ? null : size / known));
    return { dtype: 'real', shape, sequence: shape.length > 1 };
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    return reshaped(context, input, this.outputShape(input).shape as Shape, this.subject);
  }

  override getConfig(): Record<string, unknown> {
    return { ...super.getConfig(), targetShape: [...this.targetShape] };
  }
}
