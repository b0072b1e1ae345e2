import type { Layer } from '../../../lib';
import type { SymbolicShape } from '../../../lib/layers/layer';

export const sequence: SymbolicShape = { dtype: 'real', shape: [5, 7], sequence: true };
export const ids: SymbolicShape = { dtype: 'int32', shape: [5], sequence: true };

/** Names and shapes of the weights that a layer makes for an input. */
export function shapes(layer: Layer, input: SymbolicShape): Record<string, readonly number[]> {
  layer.build(input);
  return Object.fromEntries(layer.weights.map(({ name, shape }) => [name, shape]));
}
