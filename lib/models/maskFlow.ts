import type { SymbolicShape } from '../layers/layer';
import { type Graph, type GraphNode, type ValueRef, walk } from './graph';

/** The mask of a value of a model: which steps count. Masks of one key are the same one. */
export interface MaskOrigin {
  readonly key: string;
  /** The node that makes it of what it reads; undefined where it is one of several masks. */
  readonly maker: GraphNode | undefined;
  /** What it is made of, by {@link maskSource}. */
  readonly sources: ReadonlySet<string>;
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

/** A mask of the steps that are not `value`, of an output of a layer or of an input of the model. */
export function maskSource(value: number, name: string, output: number): string {
  return `${value} ${name} ${output}`;
}

const keyOf = ({ from, output }: ValueRef) => `${from}/${output}`;

/** Follows the masks that layers make, `visit` seeing what every node reads and gives. Those given beside data (`lengths`) are none of the model. */
export function walkMasks(
  graph: Graph,
  visit: (node: GraphNode, inputs: readonly MaskedValue[], outputs: readonly MaskedValue[]) => void,
): void {
  const inputs = graph.inputs.map(({ symbol }): MaskedValue => ({ symbol, mask: undefined }));
  walk<MaskedValue>(graph, inputs, (node, read) => {
    const mask = maskAbove(graph, node, read);
    const outputs = node.layer
      .outputShapes(read.map(({ symbol }) => symbol))
      .map((symbol) => ({ symbol, mask: symbol.sequence ? mask : undefined }));
    visit(node, read, outputs);
    return outputs;
  });
}

function maskAbove(
  { inputs: ends, nodes }: Graph,
  node: GraphNode,
  read: readonly MaskedValue[],
): MaskOrigin | undefined {
  const { layer, inputs } = node;
  if (layer.masks) {
    const value = (layer.getConfig()['maskValue'] ?? 0) as number;
    const [of] = inputs as [ValueRef];
    const name = (ends[of.from] ?? nodes[of.from - ends.length]?.layer)?.name as string;
    const sources = new Set([maskSource(value, name, of.output)]);
    return { key: `${layer.type} ${value} ${keyOf(of)}`, maker: node, sources };
  }
  if (!mergesInputs(node)) return withoutMask.test(layer.type) ? undefined : read[0]?.mask;
  const masks = new Map(read.map(({ mask }) => [mask?.key, mask]));
  if (masks.has(undefined)) return undefined;
  if (masks.size === 1) return read[0]?.mask;
  const sources = new Set([...masks.values()].flatMap((mask) => [...(mask as MaskOrigin).sources]));
  return { key: [...masks.keys()].sort().join(' | '), maker: undefined, sources };
}
