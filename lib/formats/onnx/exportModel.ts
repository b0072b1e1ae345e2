import { flagOption, readConfig } from '../../config';
import { DeepRnnError, quoted, refuse } from '../../errors';
import { atomicWrite } from '../../io/atomicWrite';
import type { Layer, SymbolicShape } from '../../layers/layer';
import { type Graph, outputKeys, sharedLayers, walk } from '../../models/graph';
import { weightName } from '../../models/lower';
import type { Model } from '../../models/model';
import type { Tensor } from '../../tensors/tensor';
import type { OnnxExportOptions } from '../onnx';
import { type ExportContext, ExportValue } from './exportContext';
import { type Dim, GraphWriter } from './graphWriter';
import { writeLayer } from './layerNodes';
import { encode } from './wire';

/** Operator set of the graphs, and the version of the format that goes with it. LayerNormalization is new in it. */
const OPSET = 17;
const IR_VERSION = 8;
/** A protobuf message has at most 2 GiB. */
const MOST_BYTES = 2 ** 31 - 2 ** 20;
const LARGEST_INT32 = 2 ** 31 - 1;
/** Stands for open lengths; no layer makes it of another by chance, as it would of a small one. */
const TRIAL_LENGTH = 1_000_003;

/** Writes a model into a graph: which layer writes what, layerNodes.ts says. */
class ModelExport implements ExportContext {
  readonly graph = new GraphWriter();
  private readonly dims = new Map<string, Dim>();
  private readonly lengths = new Map<string, string>();
  private readonly ends: { readonly name: string; readonly size: number; readonly value: string }[] = [];
  private readonly shared: ReadonlySet<Layer>;
  private open = 0;
  private count = '';
  private weights: ReadonlyMap<string, Tensor> = new Map();

  constructor(
    private readonly source: Graph,
    private readonly options: { readonly states: boolean; readonly lengths: boolean },
  ) {
    this.shared = sharedLayers(source);
  }

  get wantsStates(): boolean {
    return this.options.states;
  }

  get batch(): string {
    return this.count;
  }

  /** A name for a length that is known only when data come. */
  private freshDim(): string {
    this.open += 1;
    return `T${this.open}`;
  }

  weight(layer: Layer, name: string): string {
    const shape = layer.weights.find((spec) => spec.name === name)?.shape as readonly number[];
    return this.derived(weightName(layer.name, name), shape, layer, (weight) => weight(name).data);
  }

  derived(
    name: string,
    dims: readonly number[],
    layer: Layer,
    make: (weight: (name: string) => Tensor) => ArrayLike<number>,
  ): string {
    const read = (own: string) => this.weights.get(weightName(layer.name, own)) as Tensor;
    return this.graph.weight(name, dims, () => make(read));
  }

  lengthsOf(mask: string): string {
    const known = this.lengths.get(mask);
    if (known !== undefined) return known;
    const { graph } = this;
    const at = (n: number) => graph.constant([n], 'int64');
    const counted = graph.node('Cast', [mask], { to: 6 });
    const count = graph.node('ReduceSum', [counted, at(1)], { keepdims: 0 });
    // The place of the last step that counts, from 1.
    const steps = graph.node('Squeeze', [graph.length(mask, 1), at(0)]);
    const zero = graph.constant([0], 'int64', []);
    const places = graph.node('Range', [zero, steps, graph.constant([1], 'int64', [])]);
    const from1 = graph.node('Cast', [graph.node('Add', [places, graph.constant([1], 'int64', [])])], {
      to: 6,
    });
    const last = graph.node('ReduceMax', [graph.node('Mul', [counted, from1])], { axes: [1], keepdims: 0 });
    const refused = graph.constant([-1], 'int32', []);
    const lengths = graph.node('Where', [graph.node('Equal', [count, last]), count, refused]);
    this.lengths.set(mask, lengths);
    return lengths;
  }

  givenState(layer: Layer, name: string, size: number, learned: string | undefined): string | undefined {
    if (!this.wantsStates) return undefined;
    if (this.shared.has(layer))
      refuse(
        'ERR_VALUE',
        `exportOnnx: states: ${layer.subject}`,
        'a layer that is used once',
        'several uses',
      );
    const { graph } = this;
    const key = `${layer.name}/${name}`;
    const preset =
      learned === undefined ? () => new Float32Array(size) : () => (this.weights.get(learned) as Tensor).data;
    const dims = { dims: [1, size], data: preset };
    const given = graph.optionalInput(key, 'float32', [`N or 1 of ${key}`, size], dims);
    const shape = graph.node('Concat', [this.batch, graph.constant([size], 'int64')], { axis: 0 });
    return graph.node('Expand', [given, shape]);
  }

  endState(layer: Layer, name: string, size: number, value: string): void {
    if (this.wantsStates) this.ends.push({ name: `${layer.name}/${name}`, size, value });
  }

  /**
   * Batch-free shapes of what a layer gives, with a name for every length that is open: that of an input's if the layer hands the length on.
   * Whether it does is seen with a number for each name.
   */
  private dimsOf(layer: Layer, inputs: readonly SymbolicShape[], values: readonly ExportValue[]): Dim[][] {
    const names = [...new Set(values.flatMap(({ dims }) => dims.filter((n) => typeof n === 'string')))];
    const numberOf = (name: string) => TRIAL_LENGTH + 2 * names.indexOf(name);
    const tried = inputs.map((input, i): SymbolicShape => {
      const { dims } = values[i] as ExportValue;
      return { ...input, shape: dims.map((n) => (typeof n === 'number' ? n : numberOf(n))) };
    });
    const shapes = layer.outputShapes(inputs);
    let lengths: readonly SymbolicShape[] = shapes;
    try {
      lengths = layer.outputShapes(tried);
    } catch (error) {
      // Inputs whose lengths have two names, and lengths that a layer does not take: what comes out is another one.
      if (!(error instanceof DeepRnnError)) throw error;
    }
    return shapes.map(({ shape }, i) =>
      shape.map((n, axis): Dim => {
        const tried = lengths[i]?.shape[axis];
        return n ?? names.find((name) => numberOf(name) === tried) ?? this.freshDim();
      }),
    );
  }

  private readInputs(): ExportValue[] {
    const { graph } = this;
    const values = this.source.inputs.map(({ name, symbol, batchSize }) => {
      const dims = symbol.shape.map(
        (n, axis): Dim => n ?? (axis === 0 ? this.firstDim(name) : this.freshDim()),
      );
      const type = symbol.dtype === 'int32' ? 'int32' : 'float32';
      const batch = graph.input(name, type, [batchSize ?? 'N', ...dims]);
      return { batch, dims, sequence: symbol.sequence };
    });
    graph.scope = 'inputs';
    this.count = graph.length(values[0]?.batch as string, 0);
    const mask = this.options.lengths ? this.lengthMask(values.find(({ sequence }) => sequence)) : undefined;
    return values.map(
      ({ batch, dims, sequence }) =>
        new ExportValue(graph, { batch }, dims, sequence, sequence ? mask : undefined),
    );
  }

  /** One name for the steps of all inputs where lengths count for all of them. */
  private firstDim(name: string): Dim {
    const key = this.options.lengths ? '' : name;
    const known = this.dims.get(key);
    if (known !== undefined) return known;
    const made = this.dims.size === 0 ? 'T' : `T of ${name}`;
    this.dims.set(key, made);
    return made;
  }

  private lengthMask(sequence: { readonly batch: string } | undefined): string {
    if (!sequence)
      return refuse('ERR_VALUE', 'exportOnnx: lengths', 'a model that reads sequences', 'one that does not');
    const { graph } = this;
    const given = graph.optionalInput('lengths', 'int32', ['N or 1 of lengths'], {
      dims: [1],
      data: () => [LARGEST_INT32],
    });
    const zero = graph.constant([0], 'int64', []);
    const steps = graph.node('Squeeze', [graph.length(sequence.batch, 1), graph.constant([0], 'int64')]);
    const places = graph.node('Range', [zero, steps, graph.constant([1], 'int64', [])]);
    const rows = graph.node('Unsqueeze', [
      graph.node('Expand', [given, this.batch]),
      graph.constant([1], 'int64'),
    ]);
    return graph.node('Less', [graph.node('Cast', [places], { to: 6 }), rows]);
  }

  /** Writes all layers down. No weight is read yet. */
  write(): void {
    const { graph, source } = this;
    const outputs = walk(source, this.readInputs(), ({ layer }, inputs, i) => {
      graph.scope = layer.name;
      const symbols = inputs.map((value, k): SymbolicShape => {
        const dtype = this.symbolOf(source, i, k);
        return {
          dtype,
          shape: value.dims.map((n) => (typeof n === 'number' ? n : null)),
          sequence: value.sequence,
        };
      });
      return writeLayer(this, layer, inputs, this.dimsOf(layer, symbols, inputs));
    });
    graph.scope = 'outputs';
    for (const [i, { name }] of outputKeys(source).entries()) {
      const value = outputs[i] as ExportValue;
      graph.output(name, value.batchMajor, ['N', ...value.dims]);
    }
    for (const { name, size, value } of this.ends) graph.output(`${name}/next`, value, ['N', size]);
  }

  /** Inputs of the model alone may be ids. */
  private symbolOf(source: Graph, node: number, input: number): 'real' | 'int32' {
    const from = source.nodes[node]?.inputs[input]?.from as number;
    const reads = source.inputs[from];
    if (reads) return reads.symbol.dtype;
    const layer = source.nodes[from - source.inputs.length]?.layer;
    return layer?.type === 'input' ? layer.inputDType : 'real';
  }

  encode(name: string, weights: ReadonlyMap<string, Tensor>): Uint8Array {
    this.weights = weights;
    const model = {
      irVersion: IR_VERSION,
      producerName: 'deeprnn',
      graph: this.graph.finish(name),
      opsetImport: [{ domain: '', version: OPSET }],
    };
    return encode(model, 'Model');
  }
}

/** Writes a model as an ONNX file, atomically. */
export async function exportModel(model: Model, path: string, given: OnnxExportOptions): Promise<void> {
  const o = readConfig(given, ['states', 'lengths'], 'exportOnnx');
  const written = new ModelExport(model.requireBuilt('exportOnnx'), {
    states: flagOption(o.states, false, 'exportOnnx: states'),
    lengths: flagOption(o.lengths, false, 'exportOnnx: lengths'),
  });
  written.write();
  if (written.graph.bytes > MOST_BYTES)
    throw new DeepRnnError(
      'ERR_VALUE',
      `exportOnnx: ${quoted(path)} would have more than 2 GiB of weights, which one ONNX file cannot hold.`,
    );
  const weights = await model.getWeights();
  await atomicWrite(path, [written.encode(model.name, weights)]);
}
