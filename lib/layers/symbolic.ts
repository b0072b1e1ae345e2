import { quoted, refuse } from '../errors';
import type { Layer, SymbolicShape } from './layer';

/** What a model reads: made by `input`. */
export interface SymbolicInput {
  /** Empty until a model gives one without a name one of its own. */
  readonly name: string;
  readonly batchSize: number | undefined;
}

/** One use of a layer in a graph. */
export interface LayerCall {
  readonly layer: Layer;
  readonly inputs: readonly SymbolicTensor[];
}

/**
 * A value that a model will work out: an input, or an output of a layer that was applied to others. It holds no numbers. From such
 * values `model({ inputs, outputs })` takes how its layers are connected.
 */
export class SymbolicTensor {
  /** @internal */
  constructor(
    /** @internal */ readonly symbol: SymbolicShape,
    /** @internal */ readonly source: SymbolicInput | LayerCall,
    /** @internal Which of the outputs of its layer. */ readonly index = 0,
  ) {}

  /** Batch-free; null stands for a length that varies. */
  get shape(): readonly (number | null)[] {
    return this.symbol.shape;
  }

  get dtype(): 'float32' | 'int32' {
    return this.symbol.dtype === 'int32' ? 'int32' : 'float32';
  }

  toString(): string {
    const shown = this.shape.map((n) => `, ${n ?? 'any'}`).join('');
    return `SymbolicTensor(${this.dtype} [N${shown}])`;
  }
}

/** One or several symbolic tensors as a list. @throws ERR_VALUE for anything else */
export function symbolicList(given: unknown, subject: string): readonly SymbolicTensor[] {
  const list = Array.isArray(given) ? (given as readonly unknown[]) : [given];
  const wrong = list.findIndex((value) => !(value instanceof SymbolicTensor));
  if (list.length === 0 || wrong >= 0) {
    const wanted = "what input({ shape }) or a layer's apply gives, one or an array of them";
    refuse('ERR_VALUE', subject, wanted, list.length === 0 ? 'an empty array' : quoted(list[wrong]));
  }
  return list as readonly SymbolicTensor[];
}
