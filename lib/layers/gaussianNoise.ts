import { readConfig } from '../config';
import { refuse } from '../errors';
import type { ValueId } from '../plan/types';
import { type CallContext, Layer, type LayerConfig, type LayerValue, type SymbolicShape } from './layer';
import { commonOptions, seedOption, stddevOption, subjectOf } from './options';

export interface GaussianNoiseConfig extends LayerConfig {
  /** Standard deviation of what is added while training. */
  stddev: number;
  /** Default: the model's seed. */
  seed?: number;
}

/** Adds normal noise with mean 0 to every number. Does nothing outside training. */
export class GaussianNoise extends Layer {
  readonly type = 'gaussianNoise';
  readonly stddev: number;
  private readonly seed: number | undefined;

  constructor(config: GaussianNoiseConfig) {
    const subject = subjectOf('gaussianNoise', config);
    const o = readConfig(config, [...commonOptions, 'stddev', 'seed'], subject);
    super('gaussianNoise', o as LayerConfig);
    this.stddev = stddevOption(o.stddev, `${subject}: stddev`);
    this.seed = seedOption(o.seed, `${subject}: seed`);
  }

  override get rowwise(): boolean {
    return true;
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    if (input.dtype !== 'real') refuse('ERR_SHAPE', this.subject, 'numbers', 'ids');
    return input;
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    if (!context.training || this.stddev === 0) return input;
    const attrs = {
      seed: this.seed ?? context.seed,
      stream: context.stream(this, 'noise'),
      stddev: this.stddev,
    };
    const [id] = context.builder.emit('noise', [input.id, context.step()], attrs, this.subject) as [ValueId];
    return { ...input, id };
  }

  override getConfig(): Record<string, unknown> {
    return {
      ...super.getConfig(),
      stddev: this.stddev,
      ...(this.seed === undefined ? {} : { seed: this.seed }),
    };
  }
}
