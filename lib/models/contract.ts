import { refuse } from '../errors';
import type { Layer, SymbolicShape } from '../layers/layer';
import type { Loss } from '../losses/loss';
import type { Shape } from '../tensors/tensor';
import type { DataContract } from './batches';

/**
 * What data must look like for a model of these layers.
 * @throws ERR_STATE for a stateful layer without a batch size
 */
export function dataContract(
  caller: string,
  layers: readonly Layer[],
  input: SymbolicShape,
  loss: Loss | undefined,
): DataContract {
  const fixedBatch = layers.find((layer) => layer.batchSize !== undefined)?.batchSize;
  const stateful = layers.find((layer) => layer.carriesState);
  if (stateful && fixedBatch === undefined) {
    const wanted = 'a batchInputShape on the first layer, because it is stateful';
    refuse('ERR_STATE', stateful.subject, wanted, 'none');
  }
  return {
    caller,
    inputShape: input.shape,
    inputDType: input.dtype,
    inputLayer: layers[0]?.subject as string,
    fixedBatch: stateful ? fixedBatch : undefined,
    outputShape: (shape) =>
      layers.reduce<SymbolicShape>((from, layer) => layer.outputShape(from), { ...input, shape })
        .shape as Shape,
    loss,
    // On demand: most calls bring no states, and every training step asks for a contract.
    get states() {
      return stateSizes(layers);
    },
  };
}

/** `layer/state` → units, of every recurrent layer. */
export function stateSizes(layers: readonly Layer[]): Map<string, number> {
  return new Map(
    layers.flatMap((layer) => layer.states.map(({ name, size }) => [`${layer.name}/${name}`, size] as const)),
  );
}
