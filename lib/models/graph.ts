import { quoted, refuse } from '../errors';
import type { Layer, SymbolicShape } from '../layers/layer';
import type { LayerCall, SymbolicTensor } from '../layers/symbolic';

export interface GraphInput {
  readonly name: string;
  /** How messages call what reads it. */
  readonly subject: string;
  readonly symbol: SymbolicShape;
  /** The only batch size it takes. */
  readonly batchSize: number | undefined;
}

/** A value of a graph: input `from`, or, counted on from the inputs, an output of node `from`. */
export interface ValueRef {
  readonly from: number;
  readonly output: number;
}

/** One use of a layer. */
export interface GraphNode {
  readonly layer: Layer;
  readonly inputs: readonly ValueRef[];
}

/** How the layers of a model are connected. Nodes are in an order in which they can be evaluated. */
export interface Graph {
  readonly inputs: readonly GraphInput[];
  readonly nodes: readonly GraphNode[];
  readonly outputs: readonly ValueRef[];
}

/** Follows values through a graph: `visit` makes a node's outputs of its inputs. Gives what `outputs` are. */
export function walk<V>(
  graph: Graph,
  inputs: readonly V[],
  visit: (node: GraphNode, inputs: readonly V[], index: number) => readonly V[],
): V[] {
  const values: (readonly V[])[] = inputs.map((value) => [value]);
  const at = ({ from, output }: ValueRef) => values[from]?.[output] as V;
  for (const [i, node] of graph.nodes.entries()) values.push(visit(node, node.inputs.map(at), i));
  return graph.outputs.map(at);
}

/** Batch-free shapes of all outputs, for those of the inputs. */
export function outputShapes(graph: Graph, inputs: readonly SymbolicShape[]): SymbolicShape[] {
  return walk(graph, inputs, ({ layer }, read) => layer.outputShapes(read));
}

/** The name of the plan's input for input `i`. */
export function inputKey({ inputs }: Graph, i: number): string {
  return inputs.length > 1 ? `x.${inputs[i]?.name}` : 'x';
}

/** What belongs to an output: its name in the model, and in plans those of its values, targets, weights and loss. */
export interface OutputKeys {
  readonly name: string;
  readonly y: string;
  readonly targets: string;
  readonly weights: string;
  readonly loss: string;
}

/** The names of all outputs: those of the layers that give them. */
export function outputKeys({ inputs, nodes, outputs }: Graph): OutputKeys[] {
  const taken = new Set<string>();
  return outputs.map(({ from }) => {
    const layer = nodes[from - inputs.length]?.layer.name ?? (inputs[from]?.name as string);
    let name = layer;
    for (let i = 1; taken.has(name); i++) name = `${layer}_${i}`;
    taken.add(name);
    const end = outputs.length > 1 ? `.${name}` : '';
    return { name, y: `y${end}`, targets: `targets${end}`, weights: `weights${end}`, loss: `loss${end}` };
  });
}

/** The one input of a graph that has one. */
export function inputOf({ inputs }: Graph): SymbolicShape {
  return (inputs[0] as GraphInput).symbol;
}

/** All outputs, lengths that vary as null. */
export function outputsOf(graph: Graph): SymbolicShape[] {
  return outputShapes(
    graph,
    graph.inputs.map(({ symbol }) => symbol),
  );
}

/** The one output of a graph that has one. */
export function outputOf(graph: Graph): SymbolicShape {
  return outputsOf(graph)[0] as SymbolicShape;
}

/** The layers, each once, in the order of their first use. */
export function layersOf({ nodes }: Graph): Layer[] {
  return [...new Set(nodes.map(({ layer }) => layer))];
}

/** Layers that are used several times. */
export function sharedLayers({ nodes }: Graph): Set<Layer> {
  const used = nodes.map(({ layer }) => layer);
  return new Set(used.filter((layer, i) => used.indexOf(layer) !== i));
}

/** Layers in a row. */
export function chain(symbol: SymbolicShape, layers: readonly Layer[]): Graph {
  const [first] = layers;
  const subject = `input of ${first?.subject}`;
  const batchSize = layers.find((layer) => layer.batchSize !== undefined)?.batchSize;
  return {
    inputs: [{ name: 'x', subject, symbol, batchSize }],
    nodes: layers.map((layer, i) => ({ layer, inputs: [{ from: i, output: 0 }] })),
    outputs: [{ from: layers.length, output: 0 }],
  };
}

function isCall(source: SymbolicTensor['source']): source is LayerCall {
  return 'layer' in source;
}

/**
 * The graph between symbolic inputs and outputs.
 * @throws ERR_VALUE for inputs that are not, for one given twice or not used, and for an output that needs an input not given
 */
export function graphBetween(
  subject: string,
  inputs: readonly SymbolicTensor[],
  outputs: readonly SymbolicTensor[],
): Graph {
  const places = new Map<SymbolicTensor['source'], number>();
  for (const [i, { source }] of inputs.entries()) {
    const what = `${subject}: inputs[${i}]`;
    if (isCall(source))
      refuse('ERR_VALUE', what, 'what input({ shape }) gave', `the output of ${source.layer.subject}`);
    if (places.has(source)) refuse('ERR_VALUE', what, 'another input than those before it', 'the same again');
    places.set(source, i);
  }
  const used = new Set<SymbolicTensor['source']>();
  const calls = new Set<LayerCall>();
  // Without recursion: a graph may be as deep as a program makes it.
  const visited = new Set<SymbolicTensor['source']>();
  for (const { source: root } of outputs) {
    const stack = [root];
    for (let source = stack.at(-1); source !== undefined; source = stack.at(-1)) {
      if (!isCall(source)) {
        if (!places.has(source))
          refuse(
            'ERR_VALUE',
            `${subject}: inputs`,
            'all inputs that the outputs are made from',
            `none of ${shown(source)}`,
          );
        used.add(source);
        stack.pop();
      } else if (visited.has(source)) {
        // Everything that it reads stands before it.
        calls.add(source);
        stack.pop();
      } else {
        visited.add(source);
        const below = source.inputs.map((value) => value.source);
        stack.push(...below.filter((from) => !visited.has(from)).reverse());
      }
    }
  }
  const idle = inputs.findIndex(({ source }) => !used.has(source));
  if (idle >= 0)
    refuse(
      'ERR_VALUE',
      `${subject}: inputs[${idle}]`,
      'an input that the outputs are made from',
      'one that is not used',
    );
  for (const call of calls) places.set(call, places.size);
  const ref = ({ source, index }: SymbolicTensor): ValueRef => ({
    from: places.get(source) as number,
    output: index,
  });
  const names = new Set<string>();
  return {
    inputs: inputs.map(({ symbol, source }) => {
      const { name: given, batchSize } = source as Exclude<typeof source, LayerCall>;
      const name = uniqueName(subject, given, names);
      return { name, subject: `input '${name}'`, symbol, batchSize };
    }),
    nodes: [...calls].map(({ layer, inputs: read }) => ({ layer, inputs: read.map(ref) })),
    outputs: outputs.map(ref),
  };
}

function shown(source: SymbolicTensor['source']): string {
  return 'layer' in source ? source.layer.subject : source.name ? `input '${source.name}'` : 'an unnamed one';
}

function uniqueName(subject: string, given: string, names: Set<string>): string {
  let name = given || 'input';
  if (given && names.has(given))
    refuse('ERR_VALUE', `${subject}: inputs`, 'names of their own', quoted(given));
  for (let i = 1; names.has(name); i++) name = `input_${i}`;
  names.add(name);
  return name;
}
