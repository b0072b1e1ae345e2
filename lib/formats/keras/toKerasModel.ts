import { refuse } from '../../errors';
import type { Layer, SymbolicShape } from '../../layers/layer';
import { Functional } from '../../models/functional';
import { type Graph, type GraphNode, inputOf, type ValueRef, walk } from '../../models/graph';
import { ignoresMask, maskedWithStates, refuseMaskedMerges } from '../../models/kerasMasks';
import { mergesInputs, walkMasks } from '../../models/maskFlow';
import type { Model } from '../../models/model';
import { kerasOrder } from './order';
import { type KerasObject, kerasObject, toKerasLayer } from './toKerasLayers';

/** A shape as Keras writes it, with the batch in front. */
type BatchShape = readonly (number | null)[];

function batchShape({ shape }: Pick<SymbolicShape, 'shape'>, batch: number | undefined): BatchShape {
  return [batch ?? null, ...shape];
}

/** A built model as Keras writes it. @throws ERR_VALUE, naming the layer, for what Keras has no word for */
export function toKerasModel(model: Model): KerasObject {
  const graph = model.requireBuilt('save');
  refuseNamesOfMasks(model, graph);
  refuseMaskedMerges(graph, () => true);
  return model instanceof Functional ? functionalObject(model, graph) : sequentialObject(model, graph);
}

/**
 * Keras makes the mask behind a `Concatenate` of operations of its own when it reads a file, and calls the first one `concatenate`, whatever names
 * the file has.
 */
function refuseNamesOfMasks({ layers }: Model, graph: Graph): void {
  let joinsMasks = false;
  walkMasks(graph, ({ layer }, read) => {
    joinsMasks ||= layer.type === 'concatenate' && read.some(({ mask }) => mask);
  });
  if (!joinsMasks) return;
  const taken = layers.find(({ type, name }) => type === 'concatenate' && /^concatenate(_\d+)?$/.test(name));
  if (taken)
    refuse(
      'ERR_VALUE',
      `save: ${taken.subject}: name`,
      'another name beside masks, of which Keras makes operations that it calls so',
      `'${taken.name}'`,
    );
}

/** What every node of a graph reads. */
function shapesRead(graph: Graph): SymbolicShape[][] {
  const read: SymbolicShape[][] = [];
  const inputs = graph.inputs.map(({ symbol }) => symbol);
  walk(graph, inputs, ({ layer }, shapes) => {
    read.push([...shapes]);
    return layer.outputShapes(shapes);
  });
  return read;
}

function inputLayer(name: string, symbol: SymbolicShape, batch: number | undefined): KerasObject {
  return kerasObject('keras.layers', 'InputLayer', {
    batch_shape: batchShape(symbol, batch),
    dtype: symbol.dtype === 'int32' ? 'int32' : 'float32',
    sparse: false,
    name,
  });
}

function sequentialObject(model: Model, graph: Graph): KerasObject {
  const input = inputOf(graph);
  const batch = graph.inputs[0]?.batchSize;
  const [first] = model.layers;
  const layers = model.layers.filter((layer, i) => {
    if (layer.type === 'input' && i > 0)
      refuse('ERR_VALUE', `save: ${layer.subject}`, 'an input below all other layers', 'one in their middle');
    return layer.type !== 'input';
  });
  const names = new Set(layers.map(({ name }) => name));
  let name = first?.type === 'input' ? first.name : 'input_layer';
  for (let i = 1; names.has(name); i++) name = `input_layer_${i}`;
  const read = new Map(graph.nodes.map(({ layer }, i) => [layer, shapesRead(graph)[i]]));
  const objects = layers.map((layer) => ({
    ...toKerasLayer(layer),
    build_config: { input_shape: batchShape(read.get(layer)?.[0] as SymbolicShape, batch) },
  }));
  const shape = batchShape(input, batch);
  return {
    ...kerasObject('keras', 'Sequential', {
      name: model.name,
      trainable: true,
      dtype: 'float32',
      layers: [inputLayer(name, input, batch), ...objects],
      build_input_shape: shape,
    }),
    build_config: { input_shape: shape },
  };
}

function functionalObject(model: Functional<unknown>, graph: Graph): KerasObject {
  const { inputs, nodes, outputs } = graph;
  const names = new Set(model.layers.map(({ name }) => name));
  for (const { name } of inputs)
    if (names.has(name))
      refuse('ERR_VALUE', `save: input '${name}'`, 'a name that no layer has, as in Keras', `'${name}'`);
  const read = shapesRead(graph);
  // Which use of its layer each node is.
  const uses = nodes.map(({ layer }, i) => nodes.slice(0, i).filter((other) => other.layer === layer).length);
  const history = ({ from, output }: ValueRef) =>
    from < inputs.length
      ? [inputs[from]?.name, 0, 0]
      : [nodes[from - inputs.length]?.layer.name, uses[from - inputs.length], output];
  const batch = inputs.find(({ batchSize }) => batchSize !== undefined)?.batchSize;
  const tensorOf = (ref: ValueRef, symbol: SymbolicShape) => ({
    class_name: '__keras_tensor__',
    config: {
      shape: batchShape(symbol, batch),
      dtype: symbol.dtype === 'int32' ? 'int32' : 'float32',
      keras_history: history(ref),
    },
  });
  const masks = masksOfCalls(graph, tensorOf);
  const useOf = (node: GraphNode, i: number) => {
    const tensors = node.inputs.map((ref, k) => tensorOf(ref, read[i]?.[k] as SymbolicShape));
    if (mergesInputs(node)) return { args: [tensors], kwargs: {} };
    const [sequence, ...states] = tensors;
    const mask = masks.ofNode.get(node);
    const initial_state = statesByCell(node.layer, states);
    const kwargs = states.length > 0 ? { initial_state, ...(mask ? { mask } : {}) } : {};
    return { args: [sequence], kwargs };
  };
  const layers = kerasOrder(graph, 0).map((operation) => {
    if (typeof operation === 'number') {
      const { name, symbol, batchSize } = inputs[operation] as Graph['inputs'][number];
      return { ...inputLayer(name, symbol, batchSize), name, inbound_nodes: [] };
    }
    if (operation.type === 'input')
      refuse('ERR_VALUE', `save: ${operation.subject}`, 'an input below all layers', 'one in their middle');
    const own = nodes.flatMap((node, i) => (node.layer === operation ? [{ node, i }] : []));
    const [{ node, i }] = own as [{ node: GraphNode; i: number }];
    const shapes = (read[i] as SymbolicShape[]).map((symbol) => batchShape(symbol, batch));
    const isBuilt = mergesInputs(node) || shapes.length === 1;
    return {
      ...toKerasLayer(operation),
      ...(isBuilt ? { build_config: { input_shape: mergesInputs(node) ? shapes : shapes[0] } } : {}),
      name: operation.name,
      inbound_nodes: own.map(({ node: use, i: place }) => useOf(use, place)),
    };
  });
  const ends = outputs.map(history);
  return {
    module: 'keras.src.models.functional',
    class_name: 'Functional',
    config: {
      name: model.name,
      trainable: true,
      layers: [...layers, ...masks.operations],
      input_layers: inputs.length > 1 ? inputs.map(({ name }) => [name, 0, 0]) : [inputs[0]?.name, 0, 0],
      output_layers: model.namesOutputs ? ends : ends[0],
    },
    registered_name: 'Functional',
    build_config: { input_shape: null },
  };
}

/** States to begin from as Keras takes them: of stacked cells those of each by themselves. */
function statesByCell(layer: Layer, states: readonly object[]): readonly unknown[] {
  const { cell } = layer.getConfig() as { cell?: { type?: unknown } };
  if (cell?.type !== 'stacked') return states;
  const cells = new Map<string, object[]>();
  for (const [i, { name }] of layer.states.entries()) {
    const number = /\d+$/.exec(name)?.[0] ?? '';
    cells.set(number, [...(cells.get(number) ?? []), states[i] as object]);
  }
  return [...cells.values()].map((own) => (own.length === 1 ? own[0] : own));
}

/**
 * Masks that calls with states name, as Keras 3 hands none on to them by itself, and the operations that make those masks of ids.
 * @throws ERR_VALUE, naming the layer, for masks that are not those of an embedding
 */
function masksOfCalls(
  graph: Graph,
  tensorOf: (ref: ValueRef, symbol: SymbolicShape) => object,
): { readonly operations: object[]; readonly ofNode: ReadonlyMap<GraphNode, object> } {
  const { inputs, nodes } = graph;
  const taken = new Set([...inputs, ...nodes.map(({ layer }) => layer)].map(({ name }) => name));
  const operations: object[] = [];
  const ofNode = new Map<GraphNode, object>();
  const named = new Map<string, string>();
  for (const { node, mask } of maskedWithStates(graph)) {
    if (ignoresMask(node)) continue;
    const { key, maker } = mask;
    const ids = maker?.inputs[0];
    const input = ids && inputs[ids.from];
    if (maker?.layer.type !== 'embedding' || !input)
      refuse(
        'ERR_VALUE',
        `save: ${node.layer.subject}`,
        "a sequence without a mask, or with an embedding's, beside states: to such calls Keras hands no other mask on",
        maker ? `that of ${maker.layer.subject}` : 'one of several masks',
        'With maskWithStates: false it reads all steps, here and there.',
      );
    let name = named.get(key);
    if (name === undefined) {
      // Not not_equal, as Keras calls the masks that it makes when it reads a file: names must differ.
      const base = `${maker.layer.name}_mask`;
      name = base;
      for (let i = 1; taken.has(name); i++) name = `${base}_${i}`;
      taken.add(name);
      named.set(key, name);
      operations.push({
        module: 'keras.src.ops.numpy',
        class_name: 'NotEqual',
        config: { name },
        registered_name: 'NotEqual',
        name,
        inbound_nodes: [{ args: [tensorOf(ids, input.symbol), 0], kwargs: {} }],
      });
    }
    const { config } = tensorOf(ids, input.symbol) as { config: object };
    ofNode.set(node, {
      class_name: '__keras_tensor__',
      config: { ...config, dtype: 'bool', keras_history: [name, 0, 0] },
    });
  }
  return { operations, ofNode };
}
