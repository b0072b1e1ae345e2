import { refuse } from '../errors';
import type { Layer } from '../layers/layer';
import type { Loss } from '../losses/loss';
import { type Shape, sameShape } from '../tensors/tensor';
import type { DataContract } from './batches';
import { type Graph, inputKey, layersOf, outputKeys, outputShapes, sharedLayers } from './graph';

/** What data must look like for a model of these layers. */
class GraphContract implements DataContract {
  readonly inputs: DataContract['inputs'];
  readonly outputs: DataContract['outputs'];
  /** Batches of one size follow each other. */
  private lastShapes: { inputs: readonly Shape[]; outputs: readonly Shape[] } | undefined;

  constructor(
    readonly caller: string,
    readonly graph: Graph,
    readonly fixedBatch: number | undefined,
    readonly losses: readonly Loss[] | undefined,
  ) {
    this.inputs = graph.inputs.map(({ name, subject, symbol }, i) => ({
      name,
      key: inputKey(graph, i),
      subject,
      shape: symbol.shape,
      dtype: symbol.dtype,
      sequence: symbol.sequence,
    }));
    this.outputs = outputKeys(graph);
  }

  outputShapes(shapes: readonly Shape[]): readonly Shape[] {
    const known = this.lastShapes;
    if (known?.inputs.every((shape, i) => sameShape(shape, shapes[i] as Shape))) return known.outputs;
    const symbols = this.graph.inputs.map(({ symbol }, i) => ({ ...symbol, shape: shapes[i] as Shape }));
    const outputs = outputShapes(this.graph, symbols).map(({ shape }) => shape as Shape);
    this.lastShapes = { inputs: shapes, outputs };
    return outputs;
  }

  // On demand: most calls bring no states. Of the class and not of an object literal, in which V8 makes an accessor anew, with a hidden
  // class of its own, every time: some 20 µs of each training step.
  get states(): ReadonlyMap<string, number> {
    return stateSizes(this.graph);
  }

  get openStates(): ReadonlyMap<string, number> {
    const given = new Set(
      this.graph.nodes.flatMap(({ layer, inputs }) => (inputs.length > 1 ? [layer.name] : [])),
    );
    return new Map([...this.states].filter(([key]) => !given.has(key.slice(0, key.indexOf('/')))));
  }
}

/**
 * The contract of a call of `caller`.
 * @param last that of the call before, which is given again where all is as it was
 * @throws ERR_STATE for a stateful layer without a batch size
 */
export function dataContract(
  caller: string,
  graph: Graph,
  layers: readonly Layer[],
  losses: readonly Loss[] | undefined,
  last?: DataContract,
): DataContract {
  const same = last instanceof GraphContract && last.graph === graph && last.losses === losses;
  if (same && last.caller === caller) return last;
  const fixedBatch = graph.inputs.find(({ batchSize }) => batchSize !== undefined)?.batchSize;
  const stateful = layers.find((layer) => layer.carriesState);
  if (stateful && fixedBatch === undefined) {
    const wanted = 'a batchInputShape on the first layer, because it is stateful';
    refuse('ERR_STATE', stateful.subject, wanted, 'none');
  }
  return new GraphContract(caller, graph, stateful ? fixedBatch : undefined, losses);
}

/** `layer/state` → units, of every recurrent layer that is used once: of others it would be a guess of which use. */
export function stateSizes(graph: Graph): Map<string, number> {
  const shared = sharedLayers(graph);
  const layers = layersOf(graph).filter((layer) => !shared.has(layer));
  return new Map(
    layers.flatMap((layer) => layer.states.map(({ name, size }) => [`${layer.name}/${name}`, size] as const)),
  );
}
