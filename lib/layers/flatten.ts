import { readConfig } from '../config';
import { refuse } from '../errors';
import { sizeOf } from '../tensors/tensor';
import {
  type CallContext,
  Layer,
  type LayerConfig,
  type LayerValue,
  type SymbolicShape,
  shownInput,
} from './layer';
import { commonOptions, subjectOf } from './options';
import { reshaped } from './reshape';

/** All numbers of an example in one row: `[N, T, D]` → `[N, T·D]`, step after step. */
export class Flatten extends Layer {
  readonly type = 'flatten';

  constructor(config: LayerConfig = {}) {
    super('flatten', readConfig(config, commonOptions, subjectOf('flatten', config)) as LayerConfig);
  }

  override get streamObstacle(): string {
    return 'a row of all steps';
  }

  override outputShape(input: SymbolicShape): SymbolicShape {
    if (input.dtype !== 'real' || input.shape.length === 0)
      refuse('ERR_SHAPE', this.subject, 'features [N, D] or a sequence [N, T, …]', shownInput(input));
    const { shape } = input;
    const size = shape.reduce<number | null>((a, b) => (a === null || b === null ? null : a * b), 1);
    return { dtype: 'real', shape: [size], sequence: false };
  }

  override call(context: CallContext, input: LayerValue): LayerValue {
    return input.sequence ? reshaped(context, input, [sizeOf(input.shape)], this.subject) : input;
  }
}
