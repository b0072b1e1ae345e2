import { flagOption, readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { ActivationSpec } from '../ops/activations';
import { ABSENT, type ValueId } from '../plan/types';
import type { ConstraintSpec } from './constraints';
import { Embedding } from './embedding';
import type { InitializerSpec } from './initializers';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  type WeightSpec,
} from './layer';
import {
  emitActivation,
  type LayerActivation,
  layerActivationConfig,
  resolveLayerActivation,
  widthAfter,
} from './layerActivation';
import { commonOptions, countOption, subjectOf } from './options';
import { type Regularizer, type RegularizerSpec, resolveRegularizer } from './regularizers';
import {
  configs,
  readWeightOptions,
  type WeightOptions,
  weightConfigs,
  weightOptionNames,
} from './weightOptions';

export interface DenseConfig extends LayerConfig {
  units: number;
  /**
   * An embedding of the same model, or its name, whose table `[units, D]` is the kernel, transposed: `x·embeddingsᵀ + bias` (Press & Wolf,
   * 2017; Inan, Khosravi & Socher, 2017). The table is one weight, the embedding's, and its gradient the sum of those of both uses.
   */
  tiedTo?: string | Layer;
  /** Default linear. `'glu'` halves the units that are given out. */
  activation?: ActivationSpec;
  /** Default true. */
  useBias?: boolean;
  /** Default `'glorotUniform'`. */
  kernelInitializer?: InitializerSpec;
  /** Default `'zeros'`. */
  biasInitializer?: InitializerSpec;
  kernelRegularizer?: RegularizerSpec;
  biasRegularizer?: RegularizerSpec;
  /** On the output, divided by the batch size. */
  activityRegularizer?: RegularizerSpec;
  kernelConstraint?: ConstraintSpec;
  biasConstraint?: ConstraintSpec;
}

const denseOptions = [
  ...commonOptions,
  'units',
  'activation',
  'useBias',
  ...weightOptionNames('kernel', 'bias'),
  'activityRegularizer',
  'tiedTo',
] as const;

/**
 * `activation(x·kernel + bias)` on the last axis: `[N, D]` → `[N, units]`, `[N, T, D]` → `[N, T, units]`.
 * kernel `[D, units]`, bias `[units]`; with `tiedTo` the bias alone.
 */
export class Dense extends Layer {
  readonly type = 'dense';
  readonly units: number;
  private readonly activation: LayerActivation;
  /** Columns of the output. */
  private readonly width: number;
  private readonly useBias: boolean;
  private readonly of: Record<'kernel' | 'bias', WeightOptions>;
  private readonly activity: Regularizer | undefined;
  private readonly tiedTo: string | Embedding | undefined;
  /** What `tiedTo` is in the layer's model. */
  private table: Embedding | undefined;

  constructor(config: DenseConfig) {
    const subject = subjectOf('dense', config);
    const o = readConfig(config, denseOptions, subject);
    super('dense', o as LayerConfig);
    this.units = countOption(o.units, `${subject}: units`);
    this.activation = resolveLayerActivation(o.activation, `${subject}: activation`);
    this.width = widthAfter(this.activation, this.units, `${subject}: units`);
    this.useBias = flagOption(o.useBias, true, `${subject}: useBias`);
    this.tiedTo = Dense.readTied(o, subject);
    this.of = readWeightOptions(o, { kernel: 'glorotUniform', bias: 'zeros' }, subject);
    this.activity = resolveRegularizer(o.activityRegularizer, `${subject}: activityRegularizer`);
  }

  /** @throws ERR_VALUE unless it is not given, or an embedding or a name */
  private static readTied(
    o: Partial<Record<string, unknown>>,
    subject: string,
  ): string | Embedding | undefined {
    const { tiedTo } = o;
    if (tiedTo === undefined) return undefined;
    if (!(tiedTo instanceof Embedding) && !(typeof tiedTo === 'string' && tiedTo !== ''))
      refuse(
        'ERR_VALUE',
        `${subject}: tiedTo`,
        'an embedding or its name',
        tiedTo instanceof Layer ? tiedTo.subject : quoted(tiedTo),
      );
    for (const key of ['kernelInitializer', 'kernelRegularizer', 'kernelConstraint'])
      if (o[key] !== undefined)
        refuse(
          'ERR_VALUE',
          `${subject}: ${key}`,
          'nothing beside tiedTo, whose embedding has its own',
          quoted(o[key]),
        );
    return tiedTo as string | Embedding;
  }

  override tie(layers: readonly Layer[]): void {
    const { tiedTo } = this;
    if (tiedTo === undefined) return;
    const found = layers.find((layer) => layer === tiedTo || layer.name === tiedTo);
    if (found instanceof Embedding) {
      this.table = found;
      return;
    }
    const names = layers.filter((layer) => layer instanceof Embedding).map(({ name }) => `'${name}'`);
    const shown = typeof tiedTo === 'string' ? `'${tiedTo}'` : tiedTo.subject;
    const wayOut = names.length > 0 ? `It has ${names.join(', ')}.` : 'It has none.';
    refuse('ERR_VALUE', `${this.subject}: tiedTo`, 'an embedding of the same model', shown, wayOut);
  }

  private inputSize: number | undefined;

  override get rowwise(): boolean {
    return true;
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    const features = input.shape[input.shape.length - 1];
    if (input.dtype !== 'real' || input.shape.length < 1) {
      refuse(
        'ERR_SHAPE',
        this.subject,
        'features [N, D] or a sequence [N, T, D]',
        input.dtype === 'int32' ? 'ids' : '[N]',
        input.dtype === 'int32' ? 'Put an embedding layer below.' : undefined,
      );
    }
    if (typeof features !== 'number')
      refuse('ERR_SHAPE', this.subject, 'a known number of features', '[…, any]');
    if (this.inputSize !== undefined && this.inputSize !== features) {
      refuse('ERR_SHAPE', this.subject, `${this.inputSize} features`, `${features}`);
    }
    return { ...input, shape: [...input.shape.slice(0, -1), this.width] };
  }

  override build(input: SymbolicShape): void {
    this.outputShape(input);
    const features = input.shape[input.shape.length - 1] as number;
    if (this.tiedTo !== undefined) this.proveTable(features);
    this.inputSize = features;
    const weights: WeightSpec[] = [];
    if (this.tiedTo === undefined)
      weights.push({ name: 'kernel', shape: [features, this.units], ...this.of.kernel });
    if (this.useBias) weights.push({ name: 'bias', shape: [this.units], ...this.of.bias, decay: false });
    this.weights = weights;
  }

  private proveTable(features: number): void {
    const { table, units } = this;
    if (!table)
      refuse(
        'ERR_VALUE',
        `${this.subject}: tiedTo`,
        'a layer of a model, not one inside another layer',
        'one inside',
      );
    const { inputDim, outputDim, subject } = table as Embedding;
    if (inputDim !== units)
      refuse(
        'ERR_SHAPE',
        `${this.subject}: units`,
        `${inputDim}, the ids of ${subject}, which it is tied to`,
        units,
      );
    if (outputDim !== features)
      refuse(
        'ERR_SHAPE',
        this.subject,
        `${outputDim} features, as ${subject} has, which it is tied to`,
        `${features}`,
        'Put a dense layer of that many units between.',
      );
  }

  override unbuild(): void {
    super.unbuild();
    this.inputSize = undefined;
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    const { builder } = context;
    const bias = this.useBias ? context.weight(this, 'bias') : ABSENT;
    const { table } = this;
    const kernel = table ? context.weight(table, 'embeddings') : context.weight(this, 'kernel');
    const attrs = table ? { transposed: true } : {};
    let [id] = builder.emit('dense', [input.id, kernel, bias], attrs, this.subject) as [ValueId];
    if (this.activation === 'glu' || this.activation.kind !== 'linear')
      id = emitActivation(builder, this.activation, id, this.subject);
    const { activity } = this;
    if (activity) {
      const attrs = { l1: activity.l1, l2: activity.l2, scale: 1 / context.batch };
      context.addLoss(
        builder.emit('penalty', [id], attrs, `${this.subject}: activity regularizer`)[0] as ValueId,
      );
    }
    return { ...input, id, shape: [...input.shape.slice(0, -1), this.width] };
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...super.getConfig(),
      units: this.units,
      activation: layerActivationConfig(this.activation),
      useBias: this.useBias,
      ...(this.tiedTo === undefined
        ? weightConfigs(this.of)
        : {
            tiedTo: typeof this.tiedTo === 'string' ? this.tiedTo : this.tiedTo.name,
            ...weightConfigs({ bias: this.of.bias }),
          }),
      ...configs({ activityRegularizer: this.activity }),
    };
  }
}
