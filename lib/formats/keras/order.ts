import type { Layer } from '../../layers/layer';
import type { Graph } from '../../models/graph';

/** A layer of a model, or one of its inputs by its place. */
export type Operation = Layer | number;

/**
 * The layers of a functional model in the order that Keras works out when it opens the model, by which its files name them: by depth, that is the
 * number of uses between a layer and the outputs, those of one depth as a search from the outputs first meets them.
 * @param maskDepth further operations that Keras puts below a `masking` layer, to make its mask
 */
export function kerasOrder(graph: Graph, maskDepth: number): Operation[] {
  const { inputs, nodes, outputs } = graph;
  const operationOf = (value: number): Operation =>
    value < inputs.length ? value : (nodes[value - inputs.length]?.layer as Layer);
  const parentsOf = (value: number) =>
    value < inputs.length ? [] : (nodes[value - inputs.length]?.inputs.map(({ from }) => from) as number[]);
  const met: Operation[] = [];
  const finished = new Set<number>();
  const inOrder: number[] = [];
  for (const { from: root } of outputs) {
    // What is open holds its parents that are still to come, the next one last. Without recursion: graphs may be deep.
    const open: { value: number; left: number[] }[] = [];
    const enter = (value: number) => {
      if (finished.has(value)) return;
      const operation = operationOf(value);
      if (!met.includes(operation)) met.push(operation);
      open.push({ value, left: parentsOf(value).reverse() });
    };
    enter(root);
    for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
      const next = top.left.pop();
      if (next !== undefined) enter(next);
      else {
        open.pop();
        finished.add(top.value);
        inOrder.push(top.value);
      }
    }
  }
  const depths = new Map<number, number>();
  const operationDepths = new Map<Operation, number>();
  for (const value of inOrder.reverse()) {
    const operation = operationOf(value);
    const depth = Math.max(depths.get(value) ?? 0, operationDepths.get(operation) ?? 0);
    operationDepths.set(operation, depth);
    const isMask = typeof operation !== 'number' && operation.type === 'masking';
    for (const parent of parentsOf(value))
      depths.set(parent, Math.max(depth + 1 + (isMask ? maskDepth : 0), depths.get(parent) ?? 0));
  }
  const place = new Map(met.map((operation, i) => [operation, i]));
  return [...operationDepths]
    .sort(
      ([a, depthA], [b, depthB]) => depthB - depthA || (place.get(a) as number) - (place.get(b) as number),
    )
    .map(([operation]) => operation);
}
