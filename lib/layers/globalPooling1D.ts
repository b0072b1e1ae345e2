import { readConfig } from '../config';
import { refuse } from '../errors';
import type { PoolKind } from '../plan/codes';
import { ABSENT, type ValueId } from '../plan/types';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  shownInput,
} from './layer';
import { commonOptions, subjectOf } from './options';

const typeOf = { max: 'globalMaxPooling1D', average: 'globalAveragePooling1D' } as const;

/**
 * The largest or the mean of every feature over all steps: `[N, T, D]` → `[N, D]`. As in Keras, steps that a mask leaves out do not
 * count in a mean, but do in a maximum. The mean of a sequence that is all padding is 0.
 */
export class GlobalPooling1D extends Layer {
  readonly type: string;

  constructor(
    private readonly kind: PoolKind,
    config: LayerConfig = {},
  ) {
    const type = typeOf[kind];
    super(type, readConfig(config, commonOptions, subjectOf(type, config)) as LayerConfig);
    this.type = type;
  }

  override get streamObstacle(): string {
    return 'all steps at once';
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    if (input.dtype !== 'real' || input.shape.length !== 2)
      refuse('ERR_SHAPE', this.subject, 'a sequence [N, T, D]', shownInput(input));
    return { dtype: 'real', shape: input.shape.slice(1), sequence: false };
  }

  override call({ builder, batch }: CallContext, { id, shape, mask }: LayerValue): LayerValue {
    const [T, D] = shape as [number, number];
    const attrs = { kind: this.kind, size: T, stride: 1, before: 0, windows: 1 };
    const valid = this.kind === 'average' ? (mask ?? ABSENT) : ABSENT;
    const [pooled] = builder.emit('pool', [id, valid], attrs, this.subject) as [ValueId];
    const [row] = builder.emit('reshape', [pooled], { shape: [batch, D] }, this.subject) as [ValueId];
    return { id: row, dtype: 'real', shape: [D], sequence: false };
  }
}
