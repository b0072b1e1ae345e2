import { DeepRnnError, reasonOf } from '../../errors';
import { proveTensor } from './constants';
import {
  type AttributeMessage,
  attributeTypes,
  elementName,
  elementTypes,
  type GraphMessage,
  type ModelMessage,
  type NodeMessage,
  type TensorMessage,
} from './messages';
import { decode } from './wire';

/** A node that has been proven: its operator is known, its attributes are of the types that they have there. */
export interface GraphNode {
  /** For messages. */
  readonly subject: string;
  readonly op: string;
  readonly opset: number;
  /** Empty: left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, AttributeMessage>;
  /** The graph that the node runs. What that reads of the graph around it stands behind the node's own inputs. */
  readonly body?: GraphBody;
}

export interface GraphBody {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly nodes: readonly GraphNode[];
  /** What the node's inputs behind those of the body are called in it. */
  readonly captured: readonly string[];
}

/** An input or output of the graph; undefined lengths are open, named ones equal wherever the name is. */
export interface GraphValue {
  readonly name: string;
  readonly type: 'float32' | 'int32' | 'int64' | 'bool';
  readonly dims: readonly (number | string | undefined)[] | undefined;
}

export interface OnnxGraph {
  readonly name: string;
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
  /** In an order in which they can run. */
  readonly nodes: readonly GraphNode[];
  readonly initializers: ReadonlyMap<string, TensorMessage>;
}

export type AttributeType = keyof typeof attributeTypes;

/** What is known of an operator before anything is worked out. */
export interface OperatorSpec {
  readonly inputs: readonly [least: number, most: number];
  readonly outputs: number;
  readonly attributes?: Readonly<Record<string, AttributeType>>;
  /** Places of inputs that have to be known when a plan is made: shapes, and weights that plans hold in forms of their own. */
  readonly known?: readonly number[];
  /** First version of the operator set in which the operator means what it does here. Default 1. */
  readonly since?: number;
  /** Operators of the graph that a node has in its attribute `body`. */
  readonly body?: (op: string) => OperatorSpec | undefined;
  /** Why a node cannot be run, where that shows in its attributes: what is expected, and what came. */
  readonly obstacle?: (node: GraphNode) => readonly [wanted: string, got: string] | undefined;
}

/** The newest operator set whose operators are known here. */
const NEWEST_OPSET = 28;
const valueTypes = ['float32', 'int32', 'int64', 'bool'] as const;

/**
 * More than any exporter writes, recurrences unrolled over a thousand steps included. Time and memory grow with the number: a plan of so many
 * takes some seconds and half a gigabyte to make.
 */
const MOST_NODES = 50_000;

/** Reads a model's structure. No weight is read. @throws ERR_FILE, naming node, operator and reason */
export function readGraph(
  bytes: Uint8Array,
  path: string,
  specOf: (op: string) => OperatorSpec | undefined,
): OnnxGraph {
  const fail = (reason: string, cause?: unknown): never => {
    throw new DeepRnnError('ERR_FILE', `'${path}': ${reason}.`, { cause });
  };
  let model: ModelMessage;
  try {
    model = decode<ModelMessage>(bytes, 'Model');
  } catch (error) {
    return fail(`it is no readable ONNX model: ${reasonOf(error)}`, error);
  }
  const { graph } = model;
  if (!graph) return fail('it is no ONNX model: it has no graph');
  const opset = (model.opsetImport ?? []).find(
    ({ domain = '' }) => domain === '' || domain === 'ai.onnx',
  )?.version;
  if (opset === undefined || opset < 7 || opset > NEWEST_OPSET)
    return fail(`expected an operator set of version 7 to ${NEWEST_OPSET}, got ${opset ?? 'none'}`);
  const initializers = readInitializers(graph, fail);

  const valuesOf = (list: typeof graph.input, what: string): GraphValue[] =>
    (list ?? []).map(({ name = '', type }) => {
      const tensor = type?.tensorType;
      const found = valueTypes.find((known) => elementTypes[known] === tensor?.elemType);
      if (name === '') return fail(`an ${what} has no name`);
      if (!tensor || !found)
        return fail(
          `${what} '${name}': expected a tensor of ${valueTypes.join(', ')}, got ${tensor ? elementName(tensor.elemType) : 'no tensor'}`,
        );
      const dims = tensor.shape ? (tensor.shape.dim ?? []) : undefined;
      if (dims && dims.length > 16) return fail(`${what} '${name}': it has ${dims.length} axes`);
      return {
        name,
        type: found,
        dims: dims?.map(({ dimValue, dimParam }) => (dimParam ? dimParam : dimValue)),
      };
    });
  const inputs = valuesOf(graph.input, 'input');
  const outputs = valuesOf(graph.output, 'output');
  if (outputs.length === 0) return fail('it has no outputs');

  const made = new Set(initializers.keys());
  for (const { name } of inputs) made.add(name);
  if (new Set(inputs.map(({ name }) => name)).size < inputs.length) return fail('two inputs have one name');
  const count = countNodes(graph);
  if (count > MOST_NODES) return fail(`its graph has ${count} nodes, expected at most ${MOST_NODES}`);
  const nodes = (graph.node ?? []).map((node, i) => {
    const { node: read, held } = readNode(node, i, opset, specOf, fail);
    for (const [name, tensor] of held) {
      if (made.has(name)) return fail(`two values are called '${name}'`);
      initializers.set(name, tensor);
      made.add(name);
    }
    return read;
  });
  return {
    name: graph.name || 'onnx',
    inputs,
    outputs,
    nodes: inOrder(nodes, made, outputs, fail),
    initializers,
  };
}

type Fail = (reason: string, cause?: unknown) => never;
type SpecOf = (op: string) => OperatorSpec | undefined;

/** Nodes of a graph and of the graphs that they run. */
function countNodes({ node = [] }: GraphMessage): number {
  return node.reduce(
    (count, { attribute = [] }) => attribute.reduce((sum, { g }) => sum + (g ? countNodes(g) : 0), count),
    node.length,
  );
}

/** Constants by their names. */
function readInitializers(
  { initializer, sparseInitializer }: GraphMessage,
  fail: Fail,
): Map<string, TensorMessage> {
  if ((sparseInitializer ?? []).length > 0) return fail('it has sparse initializers, which are not read');
  const initializers = new Map<string, TensorMessage>();
  for (const tensor of initializer ?? []) {
    const name = tensor.name ?? '';
    if (name === '' || initializers.has(name)) return fail(`two initializers are called '${name}'`);
    try {
      proveTensor(tensor);
    } catch (error) {
      return fail(`initializer '${name}': ${reasonOf(error)}`, error);
    }
    initializers.set(name, tensor);
  }
  return initializers;
}

/**
 * @param inside where the node is, if not in the graph itself
 * @returns the node, and the constants of its body by the names that the graph has for them
 */
function readNode(
  node: NodeMessage,
  i: number,
  opset: number,
  specOf: SpecOf,
  fail: Fail,
  inside = '',
): { node: GraphNode; held: ReadonlyMap<string, TensorMessage> } {
  const { opType = '', domain = '', input = [], output = [] } = node;
  const subject = `node '${node.name || `#${i}`}' (${domain ? `${domain}.` : ''}${opType})${inside}`;
  const spec = domain === '' || domain === 'ai.onnx' ? specOf(opType) : undefined;
  if (!spec) return fail(`${subject}: this operator is not known here`);
  if (opset < (spec.since ?? 1))
    return fail(`${subject}: it needs operator set ${spec.since}, the model has ${opset}`);
  const first = input.slice(0, spec.inputs[0]).filter((name) => name !== '').length;
  const [least, most] = spec.inputs;
  if (first < least || input.length > most)
    return fail(
      `${subject}: expected ${least === most ? least : `${least} to ${most}`} inputs, got ${input.length}`,
    );
  if (output.length > spec.outputs)
    return fail(`${subject}: expected at most ${spec.outputs} outputs, got ${output.length}`);
  const attributes = new Map<string, AttributeMessage>();
  for (const attribute of node.attribute ?? []) {
    const { name = '', type, refAttrName } = attribute;
    const wanted =
      spec.attributes && Object.hasOwn(spec.attributes, name) ? spec.attributes[name] : undefined;
    if (wanted === undefined) return fail(`${subject}: attribute '${name}' is not known here`);
    if (attributeTypes[wanted] !== type || refAttrName)
      return fail(`${subject}: attribute '${name}' is not written as ${wanted}`);
    attributes.set(name, attribute);
  }
  for (const [, { t }] of attributes)
    if (t) {
      try {
        proveTensor(t);
      } catch (error) {
        return fail(`${subject}: its tensor: ${reasonOf(error)}`, error);
      }
    }
  const own = { subject, op: opType, opset, outputs: output, attributes };
  const body = spec.body && readBody(subject, attributes.get('body')?.g, opset, spec.body, fail);
  if (body && input.length !== body.graph.inputs.length)
    return fail(
      `${subject}: expected ${body.graph.inputs.length} inputs, as its body has, got ${input.length}`,
    );
  const held = new Map<string, TensorMessage>();
  const captured = (body?.graph.captured ?? []).map((name) => {
    const tensor = body?.initializers.get(name);
    if (!tensor) return name;
    // Nodes of one name are told apart by their place.
    const own = `${name} in the body of node #${i} (${opType})`;
    held.set(own, { ...tensor, name: own });
    return own;
  });
  const inputs = [...input, ...captured];
  const read: GraphNode = { ...own, inputs, ...(body ? { body: body.graph } : {}) };
  const obstacle = spec.obstacle?.(read);
  if (obstacle) return fail(`${subject}: expected ${obstacle[0]}, got ${obstacle[1]}`);
  return { node: read, held };
}

/** A graph that a node runs, with what it reads of the graph around it, and its own constants, which it reads likewise. */
function readBody(
  subject: string,
  message: GraphMessage | undefined,
  opset: number,
  specOf: SpecOf,
  fail: Fail,
): { graph: GraphBody; initializers: ReadonlyMap<string, TensorMessage> } {
  const wrong = (reason: string, cause?: unknown) => fail(`${subject}: its body: ${reason}`, cause);
  if (!message) return wrong('it has none');
  const initializers = readInitializers(message, wrong);
  const inside = ` in the body of ${subject}`;
  const nodes = (message.node ?? []).map((node, i) => readNode(node, i, opset, specOf, fail, inside).node);
  const inputs = (message.input ?? []).map(({ name = '' }) => name);
  const outputs = (message.output ?? []).map(({ name = '' }) => name);
  if (inputs.includes('') || outputs.includes('')) return wrong('an input or output has no name');
  if (new Set(inputs).size < inputs.length) return wrong('two inputs have one name');
  const twice = inputs.find((name) => initializers.has(name));
  if (twice !== undefined) return wrong(`its input '${twice}' is an initializer too`);
  const makers = new Set(nodes.flatMap(({ outputs: own }) => own));
  const made = new Set(inputs);
  const captured = new Set<string>();
  const read = (reader: string, name: string) => {
    if (name === '' || made.has(name)) return;
    if (makers.has(name)) wrong(`${reader}: '${name}' is made behind it, in a cycle or out of order`);
    captured.add(name);
  };
  for (const { subject: own, inputs: names, outputs: given } of nodes) {
    for (const name of names) read(own, name);
    for (const name of given) {
      if (name !== '' && (made.has(name) || initializers.has(name)))
        wrong(`${own}: its output '${name}' is made twice`);
      made.add(name);
    }
  }
  for (const name of outputs) read('its outputs', name);
  return { graph: { inputs, outputs, nodes, captured: [...captured] }, initializers };
}

/** Nodes as ONNX wants them to stand: each behind those that make its inputs, each value made once. */
function inOrder(
  nodes: readonly GraphNode[],
  made: Set<string>,
  outputs: readonly GraphValue[],
  fail: (reason: string) => never,
): readonly GraphNode[] {
  const makers = new Set(nodes.flatMap(({ outputs: own }) => own));
  for (const { subject, inputs, outputs: own } of nodes) {
    for (const name of inputs)
      if (name !== '' && !made.has(name))
        fail(
          makers.has(name)
            ? `${subject}: its input '${name}' is made behind it, in a cycle or out of order`
            : `${subject}: nothing makes its input '${name}'`,
        );
    for (const name of own) {
      if (name === '') continue;
      if (made.has(name)) fail(`${subject}: its output '${name}' is made twice`);
      made.add(name);
    }
  }
  for (const { name } of outputs) if (!made.has(name)) fail(`nothing makes the output '${name}'`);
  return nodes;
}
