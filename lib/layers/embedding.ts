import { flagOption, readConfig } from '../config';
import { refuse } from '../errors';
import type { ValueId } from '../plan/types';
import type { ConstraintSpec } from './constraints';
import type { InitializerSpec } from './initializers';
import { type CallContext, Layer, type LayerConfig, type LayerValue, type SymbolicShape } from './layer';
import { commonOptions, countOption, subjectOf } from './options';
import type { RegularizerSpec } from './regularizers';
import { readWeightOptions, type WeightOptions, weightConfigs, weightOptionNames } from './weightOptions';

export interface EmbeddingConfig extends LayerConfig {
  /** Number of ids: they run from 0 to inputDim − 1. */
  inputDim: number;
  /** Length of each id's vector. */
  outputDim: number;
  /** Default uniform in ±0.05. */
  embeddingsInitializer?: InitializerSpec;
  embeddingsRegularizer?: RegularizerSpec;
  embeddingsConstraint?: ConstraintSpec;
  /** Steps whose id is 0 are padding, which recurrent layers above pass over and losses and metrics leave out. Default false. */
  maskZero?: boolean;
}

const embeddingOptions = [
  ...commonOptions,
  'inputDim',
  'outputDim',
  ...weightOptionNames('embeddings'),
  'maskZero',
] as const;

/** A trainable vector per id: int32 `[N, T]` → `[N, T, outputDim]`. embeddings `[inputDim, outputDim]`. */
export class Embedding extends Layer {
  readonly type = 'embedding';
  readonly inputDim: number;
  readonly outputDim: number;
  private readonly maskZero: boolean;
  private readonly of: Record<'embeddings', WeightOptions>;

  constructor(config: EmbeddingConfig) {
    const subject = subjectOf('embedding', config);
    const o = readConfig(config, embeddingOptions, subject);
    // Keras writes inputShape [] or none for ids; a sequence of unknown length is what that means here.
    super('embedding', (o.batchInputShape ? o : { inputShape: [null], ...o }) as LayerConfig);
    this.inputDim = countOption(o.inputDim, `${subject}: inputDim`);
    this.outputDim = countOption(o.outputDim, `${subject}: outputDim`);
    this.maskZero = flagOption(o.maskZero, false, `${subject}: maskZero`);
    this.of = readWeightOptions(o, { embeddings: 'randomUniform' }, subject);
  }

  override get inputDType(): 'int32' {
    return 'int32';
  }

  override get masks(): boolean {
    return this.maskZero;
  }

  override get idLimit(): number {
    return this.inputDim;
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    if (input.dtype !== 'int32' || input.shape.length !== 1) {
      const got = `${input.dtype === 'real' ? 'numbers' : 'ids'} [N, ${input.shape.map((n) => n ?? 'any').join(', ')}]`;
      refuse('ERR_SHAPE', this.subject, 'ids [N, T]', got, 'An embedding is the first layer of a model.');
    }
    return { dtype: 'real', shape: [...input.shape, this.outputDim], sequence: true };
  }

  override build(): void {
    this.weights = [{ name: 'embeddings', shape: [this.inputDim, this.outputDim], ...this.of.embeddings }];
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    const table = context.weight(this, 'embeddings');
    const [id] = context.builder.emit('embedding', [input.id, table], {}, this.subject) as [ValueId];
    const mask = this.maskZero
      ? context.builder.emitOnce('stepMask', [input.id], { value: 0 }, this.subject)
      : input.mask;
    return { id, dtype: 'real', shape: [...input.shape, this.outputDim], sequence: true, mask };
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...super.getConfig(),
      inputDim: this.inputDim,
      outputDim: this.outputDim,
      maskZero: this.maskZero,
      ...weightConfigs(this.of),
    };
  }
}
