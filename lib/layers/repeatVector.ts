import { readConfig } from '../config';
import { refuse } from '../errors';
import type { ValueId } from '../plan/types';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  shownInput,
} from './layer';
import { commonOptions, countOption, MOST, subjectOf } from './options';

export interface RepeatVectorConfig extends LayerConfig {
  /** Number of steps. */
  n: number;
}

/** A sequence that has the same features in each of its n steps: `[N, D]` → `[N, n, D]`. */
export class RepeatVector extends Layer {
  readonly type = 'repeatVector';
  readonly n: number;

  constructor(config: RepeatVectorConfig) {
    const subject = subjectOf('repeatVector', config);
    const o = readConfig(config, [...commonOptions, 'n'], subject);
    super('repeatVector', o as LayerConfig);
    this.n = countOption(o.n, `${subject}: n`);
    if (this.n > MOST) refuse('ERR_VALUE', `${subject}: n`, `at most ${MOST}`, this.n);
  }

  override get streamObstacle(): string {
    return 'a sequence of its own';
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    if (input.dtype !== 'real' || input.shape.length !== 1)
      refuse('ERR_SHAPE', this.subject, 'features [N, D]', shownInput(input));
    return { dtype: 'real', shape: [this.n, ...input.shape], sequence: true };
  }

  override call({ builder, batch }: CallContext, { id, shape }: LayerValue): LayerValue {
    const [D] = shape as [number];
    const reshape = (from: ValueId, to: number[]) =>
      builder.emit('reshape', [from], { shape: to }, this.subject)[0] as ValueId;
    const row = reshape(id, [batch * D]);
    const [rows] = builder.emit('broadcastRows', [row], { rows: this.n }, this.subject) as [ValueId];
    return { id: reshape(rows, [this.n, batch, D]), dtype: 'real', shape: [this.n, D], sequence: true };
  }

  override getConfig(): Record<string, unknown> {
    return { ...super.getConfig(), n: this.n };
  }
}
