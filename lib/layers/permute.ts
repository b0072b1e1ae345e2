import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { ValueId } from '../plan/types';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  shownInput,
} from './layer';
import { commonOptions, subjectOf } from './options';

export interface PermuteConfig extends LayerConfig {
  /** The axes of the input in the order of the output, counted from 1, the batch axis left out: `[2, 1]` swaps time and features. */
  dims: readonly number[];
}

/** Other order of axes: `[N, T, D]` → `[N, D, T]` with dims `[2, 1]`. What padding was is no longer known. */
export class Permute extends Layer {
  readonly type = 'permute';
  readonly dims: readonly number[];

  constructor(config: PermuteConfig) {
    const subject = subjectOf('permute', config);
    const o = readConfig(config, [...commonOptions, 'dims'], subject);
    super('permute', o as LayerConfig);
    const { dims } = o;
    if (!(Array.isArray(dims) && dims.length > 0 && dims.every((_, i) => dims.includes(i + 1))))
      refuse('ERR_VALUE', `${subject}: dims`, 'the numbers 1, 2, … in some order, each once', quoted(dims));
    this.dims = [...(dims as number[])];
  }

  override get streamObstacle(): string {
    return 'an order of axes for whole sequences';
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    const { dims } = this;
    if (input.dtype !== 'real' || input.shape.length !== dims.length) {
      const wanted = `${dims.length} axes beside the batch for dims [${dims.join(', ')}]`;
      refuse('ERR_SHAPE', this.subject, wanted, shownInput(input));
    }
    return { ...input, shape: dims.map((d) => input.shape[d - 1] as number | null) };
  }

  override call({ builder }: CallContext, { id, dtype, shape, sequence }: LayerValue): LayerValue {
    // Stored [T, N, …]: the first axis comes before that of the batch, the others behind.
    const [first, ...others] = this.dims.map((d) => (d === 1 ? 0 : d)) as [number, ...number[]];
    const axes = sequence ? [first, 1, ...others] : [0, 1];
    const [turned] = builder.emit('transpose', [id], { axes }, this.subject) as [ValueId];
    return { id: turned, dtype, shape: this.dims.map((d) => shape[d - 1] as number), sequence };
  }

  override getConfig(): Record<string, unknown> {
    return { ...super.getConfig(), dims: [...this.dims] };
  }
}
