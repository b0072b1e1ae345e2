import { sizeOf } from '../../tensors/tensor';
import {
  type AttributeMessage,
  attributeTypes,
  type BodyMessage,
  elementTypes,
  type GraphMessage,
  type NodeMessage,
  type ValueInfoMessage,
} from './messages';

/** An attribute: a whole number, `{ f }` or `{ fs }` for real ones, a word, lists, or a graph that the operator runs. */
export type AttributeValue =
  | number
  | string
  | readonly number[]
  | readonly string[]
  | { readonly f: number }
  | { readonly fs: readonly number[] }
  | { readonly graph: BodyMessage };

/** A length, or the name of one that varies. */
export type Dim = number | string;

/** Numbers of an initializer, made when the graph is complete. */
interface Initializer {
  readonly name: string;
  readonly dims: readonly number[];
  readonly type: 'float32' | 'int32' | 'int64';
  readonly data: () => ArrayLike<number>;
}

function attribute(name: string, value: AttributeValue): AttributeMessage {
  if (typeof value === 'number') return { name, i: value, type: attributeTypes.int };
  if (typeof value === 'string') return { name, s: value, type: attributeTypes.string };
  if ('f' in value) return { name, f: value.f, type: attributeTypes.float };
  if ('graph' in value) return { name, g: value.graph, type: attributeTypes.graph };
  if ('fs' in value) return { name, floats: [...value.fs], type: attributeTypes.floats };
  if (typeof value[0] === 'string')
    return { name, strings: [...(value as string[])], type: attributeTypes.strings };
  return { name, ints: [...(value as number[])], type: attributeTypes.ints };
}

/** @param dims undefined stands for a length of which nothing is said */
function valueInfo(
  name: string,
  type: 'float32' | 'int32' | 'bool',
  dims: readonly (Dim | undefined)[],
): ValueInfoMessage {
  const dim = dims.map((n) =>
    n === undefined ? {} : typeof n === 'number' ? { dimValue: n } : { dimParam: n },
  );
  return { name, type: { tensorType: { elemType: elementTypes[type], shape: { dim } } } };
}

/** Numbers as bytes, the least significant first. */
function bytesOf(values: ArrayLike<number>, type: Initializer['type']): Uint8Array {
  if (type === 'float32') return new Uint8Array(Float32Array.from(values).buffer);
  const size = { int32: 4, int64: 8 }[type];
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    if (type === 'int32') view.setInt32(4 * i, v, true);
    else view.setBigInt64(8 * i, BigInt(v), true);
  }
  return bytes;
}

/** Collects the nodes, constants, inputs and outputs of a graph. */
export class GraphWriter {
  private nodes: NodeMessage[] = [];
  private readonly initializers = new Map<string, Initializer>();
  private readonly inputs: ValueInfoMessage[] = [];
  private readonly outputs: ValueInfoMessage[] = [];
  private readonly taken = new Set<string>();
  private readonly counts = new Map<string, number>();
  /** What the names of nodes and values begin with: the layer at work. */
  scope = '';

  /** A name that no value has yet. */
  private fresh(base: string): string {
    let name = base;
    for (let i = this.counts.get(base) ?? 1; this.taken.has(name); i++) {
      name = `${base}_${i}`;
      this.counts.set(base, i + 1);
    }
    this.taken.add(name);
    return name;
  }

  input(name: string, type: 'float32' | 'int32', dims: readonly Dim[]): string {
    this.taken.add(name);
    this.inputs.push(valueInfo(name, type, dims));
    return name;
  }

  /**
   * An input that may be left out: its initializer is what it then is. ONNX knows no other way for inputs of a graph, and ONNX Runtime lets
   * those be given. The initializer has a single row, whatever the batch.
   */
  optionalInput(
    name: string,
    type: 'float32' | 'int32',
    dims: readonly Dim[],
    preset: Pick<Initializer, 'dims' | 'data'>,
  ): string {
    this.input(name, type, dims);
    this.initializers.set(name, { name, type, ...preset });
    return name;
  }

  /** Gives a value the name of an output. */
  output(name: string, from: string, dims: readonly Dim[]): void {
    this.taken.add(name);
    this.nodes.push({
      opType: 'Identity',
      name: this.fresh(`output ${name}`),
      input: [from],
      output: [name],
    });
    this.outputs.push(valueInfo(name, 'float32', dims));
  }

  /** A constant of the graph; asking again for a name gives the same one. */
  weight(name: string, dims: readonly number[], data: () => ArrayLike<number>): string {
    if (!this.initializers.has(name)) {
      this.taken.add(name);
      this.initializers.set(name, { name, dims, type: 'float32', data });
    }
    return name;
  }

  /** A small constant by what it is. */
  constant(
    values: readonly number[],
    type: 'float32' | 'int32' | 'int64' = 'float32',
    dims: readonly number[] = [values.length],
  ): string {
    const name = `constant ${type}[${dims.join(',')}] ${values.join(',')}`;
    if (!this.initializers.has(name)) {
      this.taken.add(name);
      this.initializers.set(name, { name, dims, type, data: () => values });
    }
    return name;
  }

  scalar(value: number): string {
    return this.constant([value], 'float32', []);
  }

  /** Adds a node; gives the names of its outputs. An empty input stands for one that is left out. */
  nodeAll(
    opType: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    outputs = 1,
  ): string[] {
    const name = this.fresh(`${this.scope}/${opType}`);
    const made = Array.from({ length: outputs }, (_, i) =>
      this.fresh(i === 0 ? `${name}:y` : `${name}:y${i}`),
    );
    const input = [...inputs];
    while (input.at(-1) === '') input.pop();
    const attributeList = Object.entries(attributes).map(([key, value]) => attribute(key, value));
    this.nodes.push({ opType, name, input, output: made, attribute: attributeList });
    return made;
  }

  node(
    opType: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
  ): string {
    return this.nodeAll(opType, inputs, attributes)[0] as string;
  }

  /**
   * The graph that an operator runs, made of the nodes that `write` adds. It reads what is there outside of it by name; constants lie outside.
   * @param inputs types and columns of what the operator hands in, each [N, columns]
   * @param write gives the outputs, with their columns
   */
  body(
    inputs: readonly { readonly type: 'float32' | 'bool'; readonly width: number }[],
    write: (names: readonly string[]) => readonly { readonly name: string; readonly width: number }[],
  ): BodyMessage {
    const outer = this.nodes;
    this.nodes = [];
    const name = this.fresh(`${this.scope}/body`);
    const names = inputs.map(() => this.fresh(`${name}:x`));
    const made = new Set<string>();
    const outputs = write(names).map(({ name: value, width }) => {
      // Each has a name of its own, and a node that makes it.
      const own = made.has(value) || !this.nodes.some(({ output }) => output?.includes(value));
      const output = own ? this.node('Identity', [value]) : value;
      made.add(output);
      return valueInfo(output, 'float32', [undefined, width]);
    });
    const { nodes } = this;
    this.nodes = outer;
    const input = inputs.map(({ type, width }, i) => valueInfo(names[i] as string, type, [undefined, width]));
    return { node: nodes, name, input, output: outputs };
  }

  transpose(x: string, perm: readonly number[]): string {
    return this.node('Transpose', [x], { perm });
  }

  /** The length of an axis, as int64 [1]. */
  length(x: string, axis: number): string {
    return this.node('Shape', [x], { start: axis, end: axis + 1 });
  }

  /** The bytes of all constants together. */
  get bytes(): number {
    let bytes = 0;
    for (const { dims } of this.initializers.values()) bytes += 4 * sizeOf(dims);
    return bytes;
  }

  finish(name: string): GraphMessage {
    const initializer = [...this.initializers.values()].map(({ name: own, dims, type, data }) => ({
      dims: [...dims],
      dataType: elementTypes[type],
      name: own,
      rawData: bytesOf(data(), type),
    }));
    return { node: this.nodes, name, initializer, input: this.inputs, output: this.outputs };
  }
}
