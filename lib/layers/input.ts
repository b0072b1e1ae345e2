import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { checkInputShape, Layer, type LayerConfig, type LayerValue, type SymbolicShape } from './layer';

export interface InputConfig {
  name?: string;
  /** Batch-free shape: `[T, D]` a sequence, `[D]` features, `[T]` with dtype int32 ids; null for a length that varies. */
  shape: readonly (number | null)[];
  /** The batch size, for stateful layers above. */
  batchSize?: number;
  /** Default `'float32'`. */
  dtype?: 'float32' | 'int32';
}

/** Says what a model reads; passes it on as it is. */
export class Input extends Layer {
  readonly type = 'input';
  private readonly dtype: 'float32' | 'int32';

  constructor(config: InputConfig) {
    const o = readConfig(
      config,
      ['name', 'shape', 'batchSize', 'dtype', 'trainable', 'inputShape', 'batchInputShape'],
      'layers.input',
    );
    const whole = o.batchInputShape;
    if (whole !== undefined) checkInputShape('layers.input: batchInputShape', whole);
    const [wholeBatch, ...wholeShape] = (whole ?? []) as readonly (number | null)[];
    const shape = o.shape ?? o.inputShape ?? (whole === undefined ? undefined : wholeShape);
    const batchSize = o.batchSize ?? wholeBatch ?? undefined;
    if (!Array.isArray(shape))
      refuse('ERR_SHAPE', 'layers.input: shape', 'an array of positive integers or null', shape);
    const named = o.name === undefined ? {} : { name: o.name as string };
    super('input', {
      ...named,
      ...(batchSize === undefined
        ? { inputShape: shape }
        : { batchInputShape: [batchSize as number, ...shape] }),
    } as LayerConfig);
    const dtype = o.dtype ?? 'float32';
    if (dtype !== 'float32' && dtype !== 'int32')
      refuse('ERR_VALUE', `${this.subject}: dtype`, "'float32' or 'int32'", quoted(dtype));
    this.dtype = dtype as 'float32' | 'int32';
  }

  override get inputDType(): 'real' | 'int32' {
    return this.dtype === 'int32' ? 'int32' : 'real';
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    return input;
  }

  override call(_context: unknown, input: LayerValue): LayerValue {
    return input;
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...(this.name ? { name: this.name } : {}),
      shape: [...(this.inputShape ?? [])],
      dtype: this.dtype,
      ...(this.batchSize === undefined ? {} : { batchSize: this.batchSize }),
    };
  }
}
