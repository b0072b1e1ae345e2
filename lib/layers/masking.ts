import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { ValueId } from '../plan/types';
import { type CallContext, Layer, type LayerConfig, type LayerValue, type SymbolicShape } from './layer';
import { commonOptions, subjectOf } from './options';

export interface MaskingConfig extends LayerConfig {
  /** A step all of whose features have this value is padding. Default 0. */
  maskValue?: number;
}

/**
 * Marks the padded steps of a sequence `[N, T, D]`. Recurrent layers above pass over them, keeping their state; losses and metrics
 * on every step leave them out. What it passes on is zero there.
 */
export class Masking extends Layer {
  readonly type = 'masking';
  readonly maskValue: number;

  constructor(config: MaskingConfig = {}) {
    const subject = subjectOf('masking', config);
    const o = readConfig(config, [...commonOptions, 'maskValue'], subject);
    super('masking', o as LayerConfig);
    const value = o.maskValue ?? 0;
    // Data come as float32.
    if (typeof value !== 'number' || !Number.isFinite(Math.fround(value)))
      refuse('ERR_VALUE', `${subject}: maskValue`, 'a finite number that float32 holds', quoted(value));
    this.maskValue = value;
  }

  override get masks(): boolean {
    return true;
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    if (input.dtype !== 'real' || !input.sequence || input.shape.length !== 2) {
      const got = input.dtype === 'real' ? `[N, ${input.shape.map((n) => n ?? 'any').join(', ')}]` : 'ids';
      refuse('ERR_SHAPE', this.subject, 'a sequence [N, T, D]', got);
    }
    return input;
  }

  override call({ builder }: CallContext, input: LayerValue): LayerValue {
    const mask = builder.emitOnce('stepMask', [input.id], { value: this.maskValue }, this.subject);
    // Where padding is zero already there is nothing to blank out.
    const id =
      this.maskValue === 0
        ? input.id
        : (builder.emit('maskRows', [input.id, mask], {}, this.subject)[0] as ValueId);
    return { ...input, id, mask };
  }

  override getConfig(): Record<string, unknown> {
    return { ...super.getConfig(), maskValue: this.maskValue };
  }
}
