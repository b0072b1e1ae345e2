import { refuse } from '../errors';
import type { Layer } from '../layers/layer';
import type { Loss } from '../losses/loss';
import type { Shape } from '../tensors/tensor';
import type { DataContract } from './batches';
import { type Graph, inputKey, layersOf, outputKeys, outputShapes, sharedLayers } from './graph';

/**
 * What data must look like for a model of these layers.
 * @throws ERR_STATE for a stateful layer without a batch size
 */
export function dataContract(
  caller: string,
  graph: Graph,
  layers: readonly Layer[],
  losses: readonly Loss[] | undefined,
): DataContract {
  const fixedBatch = graph.inputs.find(({ batchSize }) => batchSize !== undefined)?.batchSize;
  const stateful = layers.find((layer) => layer.carriesState);
  if (stateful && fixedBatch === undefined) {
    const wanted = 'a batchInputShape on the first layer, because it is stateful';
    refuse('ERR_STATE', stateful.subject, wanted, 'none');
  }
  return {
    caller,
    inputs: graph.inputs.map(({ name, subject, symbol }, i) => ({
      name,
      key: inputKey(graph, i),
      subject,
      shape: symbol.shape,
      dtype: symbol.dtype,
      sequence: symbol.sequence,
    })),
    fixedBatch: stateful ? fixedBatch : undefined,
    outputShapes: (shapes) =>
      outputShapes(
        graph,
        graph.inputs.map(({ symbol }, i) => ({ ...symbol, shape: shapes[i] as Shape })),
      ).map(({ shape }) => shape as Shape),
    outputs: outputKeys(graph),
    losses,
    // On demand: most calls bring no states, and every training step asks for a contract.
    get states() {
      return stateSizes(graph);
    },
  };
}

/** `layer/state` → units, of every recurrent layer that is used once: of others it would be a guess of which use. */
export function stateSizes(graph: Graph): Map<string, number> {
  const shared = sharedLayers(graph);
  const layers = layersOf(graph).filter((layer) => !shared.has(layer));
  return new Map(
    layers.flatMap((layer) => layer.states.map(({ name, size }) => [`${layer.name}/${name}`, size] as const)),
  );
}
