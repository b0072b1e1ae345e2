import type { SymbolicShape } from '../layers/layer';
import { type Graph, type GraphNode, type ValueRef, walk } from './graph';

/** The mask of a value of a model: which steps count. Masks of one key are the same one. */
export interface MaskOrigin {
  readonly key: string;
  /** The node that makes it of what it reads; undefined where it is one of several masks. */
  readonly maker: GraphNode | undefined;
}

/** A value of a model and its mask, where it may have one. */
export interface MaskedValue {
  readonly symbol: SymbolicShape;
  readonly mask: MaskOrigin | undefined;
}

/** Layers that give sequences without the mask of what they read. */
const withoutMask = /^(conv1D|reshape|permute|repeatVector|(max|average)Pooling1D)$/;

/** Whether a layer reads a list of values alike, and not a sequence with states. */
export function mergesInputs({ layer }: Pick<GraphNode, 'layer'>): boolean {
  return layer.arityObstacle(1) !== undefined;
}

const keyOf = ({ from, output }: ValueRef) => `${from}/${output}`;

/** Follows the masks that layers make, `visit` seeing what every node reads and gives. Those given beside data (`lengths`) are none of the model. */
export function walkMasks(
  graph: Graph,
  visit: (node: GraphNode, inputs: readonly MaskedValue[], outputs: readonly MaskedValue[]) => void,
): void {
  const inputs = graph.inputs.map(({ symbol }): MaskedValue => ({ symbol, mask: undefined }));
  walk<MaskedValue>(graph, inputs, (node, read) => {
    const mask = maskAbove(node, read);
    const outputs = node.layer
      .outputShapes(read.map(({ symbol }) => symbol))
      .map((symbol) => ({ symbol, mask: symbol.sequence ? mask : undefined }));
    visit(node, read, outputs);
    return outputs;
  });
}

function maskAbove(node: GraphNode, read: readonly MaskedValue[]): MaskOrigin | undefined {
  const { layer, inputs } = node;
  if (layer.masks) {
    const value = layer.getConfig()['maskValue'] ?? 0;
    return { key: `${layer.type} ${value as number} ${keyOf(inputs[0] as ValueRef)}`, maker: node };
  }
  if (!mergesInputs(node)) return withoutMask.test(layer.type) ? undefined : read[0]?.mask;
  const masks = new Map(read.map(({ mask }) => [mask?.key, mask]));
  if (masks.has(undefined)) return undefined;
  if (masks.size === 1) return read[0]?.mask;
  return { key: [...masks.keys()].sort().join(' | '), maker: undefined };
}
