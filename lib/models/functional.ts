import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { Input, type InputConfig } from '../layers/input';
import type { Layer } from '../layers/layer';
import { SymbolicTensor, symbolicList } from '../layers/symbolic';
import type { Tensor } from '../tensors/tensor';
import { type Graph, graphBetween, layersOf, sharedLayers, type ValueRef } from './graph';
import { growGraph, releaseLayer, takeLayer } from './growth';
import { Model, type ModelOptions } from './model';

/** What `predict` gives: a tensor, or, of outputs given as an array, tensors by the names of the layers that give them. */
export type Outputs<O> = O extends SymbolicTensor ? Tensor : Readonly<Record<string, Tensor>>;

export interface FunctionalOptions<
  O extends SymbolicTensor | readonly SymbolicTensor[] = SymbolicTensor | readonly SymbolicTensor[],
> extends ModelOptions {
  /** What the model reads: what `input({ shape })` gave. */
  readonly inputs: SymbolicTensor | readonly SymbolicTensor[];
  /** What it gives: outputs of layers that were applied to the inputs, and so on. */
  readonly outputs: O;
}

/** A model whose layers are connected in any way without loops: side branches, residual connections, layers used several times. */
export class Functional<Y = Tensor> extends Model<Y> {
  readonly graph: Graph;
  override readonly namesOutputs: boolean;
  override readonly layers: readonly Layer[];

  /** @param draw @internal false where a file's weights replace those that would be drawn: zeros until then */
  constructor(options: FunctionalOptions, /** @internal */ draw = true) {
    if ((options as unknown) instanceof SymbolicTensor)
      refuse('ERR_VALUE', 'model', 'model({ inputs, outputs })', 'a SymbolicTensor');
    const o = readConfig(options, ['inputs', 'outputs', 'name', 'seed'], 'model');
    super('model', {
      ...(o.name === undefined ? {} : { name: o.name as string }),
      ...(o.seed === undefined ? {} : { seed: o.seed as number }),
    });
    const inputs = symbolicList(o.inputs, 'model: inputs');
    const outputs = symbolicList(o.outputs, 'model: outputs');
    this.namesOutputs = Array.isArray(o.outputs);
    this.graph = graphBetween('model', inputs, outputs);
    this.layers = Object.freeze(layersOf(this.graph));
    if (this.layers.length === 0)
      refuse('ERR_VALUE', 'model', 'at least one layer between inputs and outputs', 'none');
    for (const layer of sharedLayers(this.graph))
      if (layer.carriesState)
        refuse(
          'ERR_VALUE',
          layer.subject,
          'one use of a stateful layer',
          'several, which would share its state',
        );
    const taken: Layer[] = [];
    try {
      // Names that were chosen first: those made up give way to them.
      for (const layer of [...this.layers].sort((a, b) => Number(a.name === '') - Number(b.name === ''))) {
        takeLayer(layer, taken);
        taken.push(layer);
      }
      for (const layer of taken) layer.tie(taken);
      for (const { name, shape, values } of growGraph(this.graph, { seed: this.seed, firstStream: 0, draw }))
        this.variables.declare(name, shape, () => values);
    } catch (error) {
      // Nobody gets this model, so its layers are free again.
      for (const layer of taken) releaseLayer(layer);
      throw error;
    }
  }

  /** Does nothing: a model of symbolic tensors is built from the start. */
  override build(): this {
    this.requireAlive();
    return this;
  }

  override getConfig(): FunctionalConfig {
    this.requireAlive();
    const { inputs, nodes, outputs } = this.graph;
    const places = new Map(this.layers.map((layer, i) => [layer, i]));
    return {
      type: 'functional',
      name: this.name,
      seed: this.seed,
      inputs: inputs.map(({ name, symbol, batchSize }) => ({
        name,
        shape: [...symbol.shape],
        dtype: symbol.dtype === 'int32' ? 'int32' : 'float32',
        ...(batchSize === undefined ? {} : { batchSize }),
      })),
      layers: this.layers.map((layer) => ({ type: layer.type, config: layer.getConfig() })),
      calls: nodes.map((node) => ({
        layer: places.get(node.layer) as number,
        inputs: node.inputs.map(pair),
      })),
      outputs: outputs.map(pair),
      namesOutputs: this.namesOutputs,
    };
  }
}

type Pair = readonly [from: number, output: number];
const pair = ({ from, output }: ValueRef): Pair => [from, output];

/** What `getConfig` of a functional model gives. Values are numbered: inputs first, then calls; `[value, output]`. */
export interface FunctionalConfig {
  readonly type: 'functional';
  readonly name: string;
  readonly seed: number;
  readonly inputs: readonly InputConfig[];
  readonly layers: readonly { readonly type: string; readonly config: Record<string, unknown> }[];
  readonly calls: readonly { readonly layer: number; readonly inputs: readonly Pair[] }[];
  readonly outputs: readonly Pair[];
  /** Whether predictions are an object by the names of the outputs. */
  readonly namesOutputs: boolean;
}

/** The same model again, of layers made anew. @throws ERR_VALUE for a configuration that points at what is not there */
export function functionalFromConfig(
  config: FunctionalConfig,
  made: readonly Layer[],
  draw: boolean,
): Functional<unknown> {
  const subject = 'modelFromConfig';
  const list = (value: unknown, what: string): readonly unknown[] =>
    Array.isArray(value) ? value : refuse('ERR_VALUE', `${subject}: ${what}`, 'an array', quoted(value));
  const inputs = list(config.inputs, 'inputs').map((own) => input(own as InputConfig));
  const values: (readonly SymbolicTensor[])[] = inputs.map((value) => [value]);
  const value = (at: unknown, what: string): SymbolicTensor => {
    const [from, output] = list(at, what) as [number, number];
    return (
      values[from]?.[output] ??
      refuse('ERR_VALUE', `${subject}: ${what}`, '[value, output] of one before it', at)
    );
  };
  for (const [i, call] of list(config.calls, 'calls').entries()) {
    const what = `calls[${i}]`;
    const { layer, inputs: read } = Object(call) as FunctionalConfig['calls'][number];
    const own =
      made[layer] ?? refuse('ERR_VALUE', `${subject}: ${what}: layer`, 'the place of a layer', layer);
    values.push(own.applyAll(list(read, what).map((at) => value(at, what))));
  }
  const outputs = list(config.outputs, 'outputs').map((at) => value(at, 'outputs'));
  const { name, seed, namesOutputs } = config;
  const [only] = outputs as [SymbolicTensor];
  return new Functional({ inputs, outputs: namesOutputs ? outputs : only, name, seed }, draw);
}

/** A symbolic input, from which the layers of a `model({ inputs, outputs })` are applied. */
export function input(config: InputConfig): SymbolicTensor {
  const layer = new Input(config);
  const shape = layer.inputShape as readonly (number | null)[];
  const dtype = layer.inputDType;
  const sequence = dtype === 'int32' ? shape.length >= 1 : shape.length >= 2;
  return new SymbolicTensor({ dtype, shape, sequence }, { name: layer.name, batchSize: layer.batchSize });
}

/** Makes a model of what lies between symbolic inputs and outputs. */
export function model<O extends SymbolicTensor | readonly SymbolicTensor[]>(
  options: FunctionalOptions<O>,
): Functional<Outputs<O>> {
  return new Functional<Outputs<O>>(options);
}
