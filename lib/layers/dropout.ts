import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { DropoutMode, ValueId } from '../plan/types';
import { type CallContext, Layer, type LayerConfig, type LayerValue, type SymbolicShape } from './layer';
import { commonOptions, rateOption, seedOption, subjectOf } from './options';

export interface DropoutConfig extends LayerConfig {
  /** Share of the inputs set to 0 while training; the others are scaled by 1 / (1 − rate). */
  rate: number;
  /** `[null, 1, null]` shares one mask over all time steps (Gal & Ghahramani, 2016). Default: every element has its own. */
  noiseShape?: readonly (number | null)[] | null;
  /** Default: the model's seed. */
  seed?: number;
}

/** Dropout (Srivastava et al., 2014). Does nothing outside training. */
export class Dropout extends Layer {
  readonly type: string;
  readonly rate: number;
  private readonly mode: DropoutMode;
  private readonly seed: number | undefined;

  constructor(config: DropoutConfig, type = 'dropout') {
    const subject = subjectOf(type, config);
    const o = readConfig(config, [...commonOptions, 'rate', 'noiseShape', 'seed'], subject);
    super(type, o as LayerConfig);
    this.type = type;
    if (o.rate === undefined) refuse('ERR_VALUE', `${subject}: rate`, 'a rate from 0 to below 1', 'nothing');
    this.rate = rateOption(o.rate, `${subject}: rate`);
    const shape = o.noiseShape ?? null;
    if (
      shape !== null &&
      !(
        Array.isArray(shape) &&
        shape.length === 3 &&
        shape[0] === null &&
        shape[1] === 1 &&
        shape[2] === null
      )
    ) {
      refuse('ERR_VALUE', `${subject}: noiseShape`, '[null, 1, null]', quoted(shape));
    }
    this.mode = shape === null ? 'element' : 'sharedOverTime';
    this.seed = seedOption(o.seed, `${subject}: seed`);
  }

  override get rowwise(): boolean {
    return this.mode === 'element';
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    if (input.dtype !== 'real') refuse('ERR_SHAPE', this.subject, 'numbers', 'ids');
    if (this.mode === 'sharedOverTime' && !(input.sequence && input.shape.length === 2)) {
      refuse(
        'ERR_SHAPE',
        this.subject,
        'a sequence [N, T, D] to share a mask over time',
        `[N, ${input.shape.join(', ')}]`,
      );
    }
    return input;
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    if (!context.training || this.rate === 0) return input;
    const attrs = {
      mode: this.mode,
      seed: this.seed ?? context.seed,
      stream: context.stream(this, 'dropout'),
      rate: this.rate,
    };
    const [id] = context.builder.emit('dropout', [input.id, context.step()], attrs, this.subject) as [
      ValueId,
    ];
    return { ...input, id };
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...super.getConfig(),
      rate: this.rate,
      ...(this.mode === 'sharedOverTime' ? { noiseShape: [null, 1, null] } : {}),
      ...(this.seed === undefined ? {} : { seed: this.seed }),
    };
  }
}
