import type { WeightValues } from '../callbacks/callback';
import { quoted, refuse } from '../errors';
import type { WeightSpec } from '../layers/layer';
import { namedTensor, sameShape, Tensor, type TensorData, type TensorLike } from '../tensors/tensor';

/** Weights by `layer/weight`, as `setWeights` takes them. */
export type NamedWeights =
  | ReadonlyMap<string, TensorLike | WeightValues>
  | Readonly<Record<string, TensorLike | WeightValues>>;

/** Proves given weights against those that a model has. @throws ERR_VALUE for an unknown name, ERR_SHAPE for a wrong shape */
export function readWeights(
  specs: ReadonlyMap<string, WeightSpec>,
  weights: NamedWeights,
): (readonly [name: string, data: TensorData])[] {
  const names = [...specs.keys()].join(', ');
  const wanted = `an object or Map by name (${names})`;
  if (typeof weights !== 'object' || weights === null || Array.isArray(weights))
    refuse('ERR_VALUE', 'setWeights', wanted, quoted(weights));
  if (weights instanceof Promise) refuse('ERR_VALUE', 'setWeights', wanted, 'a promise', 'Await it first.');
  const given = weights instanceof Map ? [...weights] : Object.entries(weights);
  if (given.length === 0 && specs.size > 0) refuse('ERR_VALUE', 'setWeights', wanted, 'an empty one');
  return given.map(([name, values]) => {
    const spec = specs.get(name);
    if (!spec) refuse('ERR_VALUE', 'setWeights', `one of ${names}`, `'${name}'`);
    const found = isWeightValues(values)
      ? new Tensor(values.data, values.shape)
      : namedTensor(`setWeights: '${name}'`, values);
    if (!sameShape(found.shape, spec.shape)) {
      const wanted = `shape [${spec.shape.join(', ')}]`;
      refuse('ERR_SHAPE', `setWeights: '${name}'`, wanted, `[${found.shape.join(', ')}]`);
    }
    return [name, found.data] as const;
  });
}

export function isWeightValues(values: TensorLike | WeightValues): values is WeightValues {
  return typeof values === 'object' && values !== null && 'shape' in values && 'data' in values;
}
