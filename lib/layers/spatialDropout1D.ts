import { readConfig } from '../config';
import { Dropout } from './dropout';
import type { LayerConfig } from './layer';
import { commonOptions, subjectOf } from './options';

export interface SpatialDropout1DConfig extends LayerConfig {
  /** Share of the features set to 0 while training; the others are scaled by 1 / (1 − rate). */
  rate: number;
  /** Default: the model's seed. */
  seed?: number;
}

/** Dropout of whole features of a sequence `[N, T, D]`, in all its steps at once (Tompson et al., 2015). */
export class SpatialDropout1D extends Dropout {
  constructor(config: SpatialDropout1DConfig) {
    const type = 'spatialDropout1D';
    const o = readConfig(config, [...commonOptions, 'rate', 'seed'], subjectOf(type, config));
    super({ ...(o as SpatialDropout1DConfig), noiseShape: [null, 1, null] }, type);
  }

  override getConfig(): Record<string, unknown> {
    const { noiseShape: _, ...config } = super.getConfig();
    return config;
  }
}
