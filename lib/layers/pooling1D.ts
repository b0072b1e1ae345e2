import { readConfig } from '../config';
import type { PoolKind } from '../plan/codes';
import { ABSENT, type ValueId } from '../plan/types';
import { type CallContext, Layer, type LayerConfig, type LayerValue, type SymbolicShape } from './layer';
import { commonOptions, subjectOf } from './options';
import { lengthOption, paddingOption, type WindowOptions, windowedShape, windowsOver } from './windows';

export interface Pooling1DConfig extends LayerConfig {
  /** Steps of a window. Default 2. */
  poolSize?: number | readonly number[];
  /** Steps from one window to the next. Default poolSize. */
  strides?: number | readonly number[];
  /** `'valid'` (default): windows lie in the sequence; `'same'`: one for every stride. Padding never counts. */
  padding?: 'valid' | 'same';
}

const typeOf = { max: 'maxPooling1D', average: 'averagePooling1D' } as const;

/** The largest or the mean of every feature over windows of steps: `[N, T, D]` → `[N, windows, D]`. What padding was is no longer known. */
export class Pooling1D extends Layer {
  readonly type: string;
  private readonly window: WindowOptions;

  constructor(
    private readonly kind: PoolKind,
    config: Pooling1DConfig = {},
  ) {
    const type = typeOf[kind];
    const subject = subjectOf(type, config);
    const o = readConfig(config, [...commonOptions, 'poolSize', 'strides', 'padding'], subject);
    super(type, o as LayerConfig);
    this.type = type;
    const size = lengthOption(o.poolSize ?? 2, `${subject}: poolSize`);
    this.window = {
      size,
      stride: lengthOption(o.strides ?? size, `${subject}: strides`),
      dilation: 1,
      padding: paddingOption(o.padding, ['valid', 'same'], `${subject}: padding`),
    };
  }

  override get streamObstacle(): string {
    return 'windows of several steps';
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    return windowedShape(input, this.window, undefined, this.subject);
  }

  override call({ builder }: CallContext, { id, shape }: LayerValue): LayerValue {
    const [T, D] = shape as [number, number];
    const { size, stride } = this.window;
    const attrs = { kind: this.kind, size, stride, ...windowsOver(T, this.window) };
    const [pooled] = builder.emit('pool', [id, ABSENT], attrs, this.subject) as [ValueId];
    return { id: pooled, dtype: 'real', shape: [attrs.windows, D], sequence: true };
  }

  override getConfig(): Record<string, unknown> {
    const { size, stride, padding } = this.window;
    return { ...super.getConfig(), poolSize: size, strides: stride, padding };
  }
}
