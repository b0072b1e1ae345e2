import { readConfig } from '../../config';
import { createEngine } from '../../engines/devices';
import type { EngineSession, Executable, SessionOptions } from '../../engines/engine';
import { DeepRnnError, quoted, refuse } from '../../errors';
import type { Layer } from '../../layers/layer';
import type { BatchGenerator, Inputs } from '../../models/batches';
import type { Prediction, PredictOptions, StatesOption } from '../../models/evaluate';
import type { Graph } from '../../models/graph';
import { Model } from '../../models/model';
import type { ModelStructure } from '../../models/modelStructure';
import { Queue } from '../../models/queue';
import { PlanBuilder } from '../../plan/builder';
import { type Plan, PlanCheckError } from '../../plan/types';
import { namedTensor, sizeOf, Tensor, type TensorData, type TensorLike } from '../../tensors/tensor';
import { type Constant, constantOf, isFloat, readTensor } from './constants';
import type { Operator } from './elementwise';
import type { GraphNode, GraphValue, OnnxGraph } from './graphFile';
import { ConstantStore, GraphLowering, hashOf, isConstant, type Value } from './lowering';
import { operators } from './operators';

/** Loaded plans kept at once; the least recently used goes first. */
const MOST_PLANS = 16;
/** Bytes of constants that shapes made, beside the weights in the forms that plans read; beyond them the session begins anew. */
const MOST_MADE_BYTES = 2 ** 28;

interface Loaded {
  readonly executable: Executable;
  /** Values of outputs that no plan is needed for, and the names under which the plan gives the others. */
  readonly outputs: readonly { readonly name: string; readonly value: Value }[];
  /** Inputs that are places along axes of a length and nothing else: negative ones count from the end. */
  readonly ids: ReadonlyMap<string, number>;
}

/** Arrays by the names of a graph's inputs. */
export type OnnxInputs = Readonly<Record<string, TensorLike>>;
export type OnnxOutputs = Record<string, Tensor>;

/**
 * A model of an ONNX graph. It predicts; it cannot be trained or saved. Its plans are made for the shapes of the inputs, and kept.
 */
export class OnnxModel<Y = Tensor> extends Model<Y> {
  override readonly layers: readonly Layer[] = [];
  override readonly graph: Graph | undefined = undefined;
  private readonly store = new ConstantStore();
  private readonly constants = new Map<string, Constant>();
  private readonly plans = new Map<string, Loaded>();
  private readonly waiting = new Queue();
  private session: EngineSession | undefined;
  private readonly declared = new Set<string>();
  /** Inputs that plans are made for by what they hold, because shapes or weights follow from them. */
  private readonly fixed: ReadonlySet<string>;
  private readonly idInputs: ReadonlySet<string>;
  private gone = false;

  /** @param device where it runs @internal */
  constructor(
    private readonly onnx: OnnxGraph,
    private readonly device: string | undefined,
    private readonly options: SessionOptions,
  ) {
    super('onnx', {});
    for (const [name, tensor] of onnx.initializers) this.constants.set(name, readTensor(tensor));
    this.foldConstants();
    this.fixed = knownInputs(onnx);
    this.idInputs = idInputs(onnx);
  }

  /** What follows from constants alone is worked out once. */
  private foldConstants(): void {
    const lowering = new GraphLowering(new PlanBuilder('constants'), this.store, 0);
    const open = new Set(this.onnx.inputs.map(({ name }) => name));
    for (const node of this.onnx.nodes) {
      if (node.inputs.some((name) => name !== '' && (open.has(name) || !this.constants.has(name)))) continue;
      const made = lowerNode(lowering, node, (name) => this.constants.get(name) as Constant);
      for (const [i, name] of node.outputs.entries()) {
        const value = made[i];
        if (value && isConstant(value)) this.constants.set(name, value);
      }
    }
  }

  /** Names, types and shapes of the inputs; null stands for a length that varies. Those with a default may be left out. */
  get inputs(): readonly {
    readonly name: string;
    readonly dtype: string;
    readonly shape: readonly (number | null)[] | null;
    readonly optional: boolean;
  }[] {
    return this.onnx.inputs.map(({ name, type, dims }) => ({
      name,
      dtype: type,
      shape: dims?.map((n) => (typeof n === 'number' && n > 0 ? n : null)) ?? null,
      optional: this.constants.has(name),
    }));
  }

  get outputs(): readonly string[] {
    return this.onnx.outputs.map(({ name }) => name);
  }

  /** Works the graph out for named inputs. @throws ERR_VALUE and ERR_SHAPE, naming input or node */
  async run(inputs: OnnxInputs): Promise<OnnxOutputs> {
    if (typeof inputs !== 'object' || inputs === null || Array.isArray(inputs) || inputs instanceof Tensor)
      refuse('ERR_VALUE', 'run: inputs', 'an object of arrays by the names of inputs', quoted(inputs));
    this.requireUsable('run');
    const given = this.readInputs(inputs as OnnxInputs);
    return this.waiting.run(() => this.runNow(given));
  }

  /**
   * `run` of the one input that has to be given, or of all by their names: the output, or a record of several by their names (`Y`). Options
   * of models of layers are refused.
   */
  override predict(
    x: Inputs | BatchGenerator,
    options: PredictOptions & StatesOption,
  ): Promise<Prediction<Y>>;
  override predict(x: Inputs | BatchGenerator | OnnxInputs, options?: PredictOptions): Promise<Y>;
  override async predict(x: unknown, options: object = {}): Promise<Y & Prediction<Y>> {
    readConfig(options, [], 'predict');
    const needed = this.onnx.inputs.filter(({ name }) => !this.constants.has(name));
    const [only] = needed;
    const isOne = typeof x !== 'object' || Array.isArray(x) || x instanceof Tensor || ArrayBuffer.isView(x);
    if (isOne && (needed.length !== 1 || !only))
      refuse(
        'ERR_VALUE',
        'predict: x',
        `arrays by name: ${needed.map(({ name }) => name).join(', ')}`,
        'one array',
      );
    const outputs = await this.run(isOne ? { [only?.name as string]: x as TensorLike } : (x as OnnxInputs));
    const names = Object.keys(outputs);
    // What Y is, the file says.
    return (names.length === 1 ? outputs[names[0] as string] : outputs) as unknown as Y & Prediction<Y>;
  }

  private readInputs(given: OnnxInputs): Map<string, Tensor> {
    const known = new Map(this.onnx.inputs.map((input) => [input.name, input]));
    for (const name of Object.keys(given))
      if (!known.has(name))
        refuse('ERR_VALUE', 'run: inputs', `names among ${[...known.keys()].join(', ')}`, quoted(name));
    const lengths = new Map<string, number>();
    const read = new Map<string, Tensor>();
    for (const [name, { type, dims }] of known) {
      const values = Object.hasOwn(given, name) ? given[name] : undefined;
      if (values === undefined) {
        if (!this.constants.has(name)) refuse('ERR_VALUE', `run: input '${name}'`, 'an array', 'nothing');
        continue;
      }
      const tensor = namedTensor(
        `run: input '${name}'`,
        values,
        undefined,
        type === 'float32' || type === 'bool' ? 'float32' : 'int32',
      );
      checkDims(name, tensor, dims, lengths);
      read.set(name, tensor);
    }
    return read;
  }

  private async runNow(inputs: ReadonlyMap<string, Tensor>): Promise<OnnxOutputs> {
    this.requireUsable('run');
    const loaded = this.planFor(inputs);
    const { executable, outputs } = loaded;
    const read = new Set(executable.plan.ops.flatMap(({ inputs: ids }) => ids));
    for (const { role, name, id } of executable.plan.values)
      if (role === 'input' && inputs.has(name) && read.has(id))
        executable.input(name).set(counted((inputs.get(name) as Tensor).data, loaded.ids.get(name)));
    try {
      await executable.run();
    } catch (error) {
      if (!(error instanceof PlanCheckError)) throw error;
      throw checkError(executable.plan, error);
    }
    return Object.fromEntries(outputs.map(({ name, value }) => [name, outputOf(executable, name, value)]));
  }

  private planFor(inputs: ReadonlyMap<string, Tensor>): Loaded {
    const key = JSON.stringify(
      [...inputs].map(([name, { shape, data }]) => [name, shape, this.fixed.has(name) ? hashOf(data) : '']),
    );
    const known = this.plans.get(key);
    const loaded = known ?? this.load(inputs);
    this.plans.delete(key);
    this.plans.set(key, loaded);
    for (const [oldest, { executable }] of this.plans) {
      if (this.plans.size <= MOST_PLANS) break;
      this.plans.delete(oldest);
      executable.dispose();
    }
    return loaded;
  }

  private load(inputs: ReadonlyMap<string, Tensor>): Loaded {
    const { plan, outputs, ids } = this.lower(inputs);
    this.session ??= createEngine(this.device).createSession(this.options);
    const { session } = this;
    for (const { role, name, shape, dtype } of plan.values) {
      if (role !== 'variable' || this.declared.has(name)) continue;
      session.declare(name, dtype, shape);
      session.write(name, this.store.take(name));
      this.declared.add(name);
    }
    return { executable: session.load(plan), outputs, ids };
  }

  /** The plan for inputs of these shapes. @internal */
  lower(inputs: ReadonlyMap<string, Tensor>): { plan: Plan } & Pick<Loaded, 'outputs' | 'ids'> {
    if (this.store.bytes > MOST_MADE_BYTES + 8 * this.countParams()) this.beginAnew();
    const given = [...inputs.values()].reduce((sum, { size }) => sum + size, this.countParams());
    const shapes = [...inputs.values()].map(String).join(' ');
    const lowering = new GraphLowering(new PlanBuilder(`run ${shapes}`), this.store, given);
    const values = new Map<string, Value>(this.constants);
    for (const { name, type } of this.onnx.inputs) {
      const tensor = inputs.get(name);
      if (!tensor) continue;
      // Arrays without numbers are known too.
      if (this.fixed.has(name) || tensor.size === 0) {
        values.set(name, constantOf(type, tensor.shape, tensor.data));
        continue;
      }
      const stored = tensor.shape.length === 0 ? [1] : tensor.shape;
      const isWhole = type === 'int32' || type === 'int64';
      const id = lowering.builder.input(name, isWhole ? 'int32' : 'real', stored);
      values.set(name, { id, dims: tensor.shape, type });
    }
    for (const node of this.onnx.nodes) {
      // What follows from constants alone has been worked out.
      if (node.outputs.every((name) => name === '' || this.constants.has(name))) continue;
      const made = lowerNode(lowering, node, (name) => values.get(name) as Value);
      for (const [i, name] of node.outputs.entries()) if (name !== '' && made[i]) values.set(name, made[i]);
    }
    lowering.subject = 'outputs';
    const outputs = this.onnx.outputs.map(({ name }) => {
      const value = values.get(name) as Value;
      if (isConstant(value)) return { name, value };
      if (lowering.isStoredInt(value))
        lowering.fail('an output that is worked out', `the whole input '${name}'`);
      const id = lowering.builder.emit(
        'scale',
        [lowering.form(value)],
        { factor: 1 },
        `output '${name}'`,
      )[0] as number;
      lowering.builder.output(name, id);
      return { name, value };
    });
    const ids = new Map<string, number>();
    for (const name of this.idInputs) {
      const value = values.get(name);
      const lengths = value && !isConstant(value) ? [...(lowering.idLengths.get(value.id) ?? [])] : [];
      if (lengths.length === 1) ids.set(name, lengths[0] as number);
    }
    return { plan: lowering.finish(), outputs, ids };
  }

  private beginAnew(): void {
    for (const { executable } of this.plans.values()) executable.dispose();
    this.plans.clear();
    this.session?.dispose();
    this.session = undefined;
    this.declared.clear();
    this.store.forget();
  }

  private requireUsable(caller: string): void {
    if (this.gone)
      throw new DeepRnnError('ERR_STATE', `${caller}: model '${this.name}': it has been disposed.`);
  }

  override get built(): boolean {
    return true;
  }

  override requireBuilt(caller: string): never {
    return refuse(
      'ERR_STATE',
      caller,
      'a model of layers',
      'one of an ONNX graph, which only runs',
      'It has run() and predict().',
    );
  }

  override contract(caller: string): never {
    return this.requireBuilt(caller);
  }

  override compile(): never {
    return refuse(
      'ERR_STATE',
      'compile',
      'a model of layers',
      'one of an ONNX graph, which cannot be trained',
      'loadModel(path, { device, threads }) says where it runs.',
    );
  }

  override build(): this {
    return this;
  }

  override getConfig(): ModelStructure {
    return this.requireBuilt('getConfig');
  }

  /** Numbers in initializers. */
  override countParams(): number {
    return [...this.onnx.initializers.values()].reduce((sum, { dims = [] }) => sum + sizeOf(dims), 0);
  }

  override summary(): string {
    const shape = ({ type, dims }: GraphValue) => `${type} [${dims?.map((n) => n ?? '?').join(', ') ?? '…'}]`;
    const list = (values: readonly GraphValue[]) => values.map((value) => `  ${value.name}: ${shape(value)}`);
    return [
      `Model: ${this.onnx.name} (ONNX)`,
      'inputs:',
      ...list(this.onnx.inputs),
      'outputs:',
      ...list(this.onnx.outputs),
      'nodes:',
      ...this.onnx.nodes.map(
        ({ op, inputs, outputs }) => `  ${outputs.join(', ')} = ${op}(${inputs.join(', ')})`,
      ),
      `parameters: ${this.countParams()}`,
    ].join('\n');
  }

  override dispose(): void {
    if (this.gone) return;
    this.gone = true;
    void this.waiting.run(() => this.beginAnew());
  }
}

/** Inputs from which something follows that has to be known when a plan is made. Shapes of inputs are known anyway. */
function knownInputs({ nodes, inputs }: OnnxGraph): Set<string> {
  const wanted = new Set<string>();
  for (const node of [...nodes].reverse()) {
    if (node.op === 'Shape' || node.op === 'Size') continue;
    const all = node.outputs.some((name) => wanted.has(name));
    const places = (operators[node.op] as Operator).known ?? [];
    for (const [i, name] of node.inputs.entries()) if (all || places.includes(i)) wanted.add(name);
  }
  return new Set(inputs.map(({ name }) => name).filter((name) => wanted.has(name)));
}

/** Inputs that are read as places of `Gather` alone. */
function idInputs({ nodes, inputs, outputs }: OnnxGraph): Set<string> {
  /** Names of an input, by all that it is called. */
  const roots = new Map(inputs.map(({ name }) => [name, name]));
  const others = new Set(outputs.map(({ name }) => name));
  for (const { op, inputs: read, outputs: made } of nodes) {
    const isAlias = op === 'Identity' || op === 'Cast';
    const [first = ''] = read;
    const root = roots.get(first);
    if (isAlias && root !== undefined) roots.set(made[0] as string, root);
    else if (op !== 'Shape' && op !== 'Size')
      for (const [i, name] of read.entries()) if (op !== 'Gather' || i !== 1) others.add(name);
  }
  const mixed = new Set([...others].map((name) => roots.get(name)));
  return new Set(inputs.map(({ name }) => name).filter((name) => !mixed.has(name)));
}

/** Places along an axis of so many, with the negative ones as what they are from its begin. */
function counted(data: TensorData, length: number | undefined): TensorData {
  if (length === undefined || data.every((n) => n >= 0)) return data;
  return Int32Array.from(data, (n) => (n < 0 && n >= -length ? n + length : n));
}

function lowerNode(
  lowering: GraphLowering,
  node: GraphNode,
  read: (name: string) => Value,
): readonly Value[] {
  lowering.subject = node.subject;
  const operator = operators[node.op] as Operator;
  return operator.lower(
    lowering,
    node,
    node.inputs.map((name) => (name === '' ? undefined : read(name))),
  );
}

/** @throws ERR_SHAPE unless a tensor has the lengths that an input says, named ones alike in all inputs */
function checkDims(
  name: string,
  tensor: Tensor,
  dims: GraphValue['dims'],
  lengths: Map<string, number>,
): void {
  const { shape } = tensor;
  const shownDims = dims?.map((n) => n ?? 'any').join(', ');
  const fits =
    !dims ||
    (dims.length === shape.length && dims.every((n, i) => typeof n !== 'number' || n <= 0 || n === shape[i]));
  if (!fits) refuse('ERR_SHAPE', `run: input '${name}'`, `[${shownDims}]`, `[${shape.join(', ')}]`);
  for (const [i, n] of (dims ?? []).entries()) {
    if (typeof n !== 'string') continue;
    const known = lengths.get(n) ?? (shape[i] as number);
    if (known !== shape[i])
      refuse('ERR_SHAPE', `run: input '${name}'`, `${known} for '${n}', as before`, `${shape[i]}`);
    lengths.set(n, known);
  }
}

function checkError(plan: Plan, failure: PlanCheckError): DeepRnnError {
  const op = plan.ops[failure.op];
  if (op?.kind !== 'check') return new DeepRnnError('ERR_STATE', failure.message, { cause: failure });
  const wanted =
    op.attrs.mode === 'index'
      ? `whole numbers from 0 to ${op.attrs.size - 1}`
      : 'the lengths of sequences that are padded behind';
  const got = op.attrs.mode === 'index' ? String(failure.value) : 'others';
  return new DeepRnnError('ERR_VALUE', `run: ${op.label}: expected ${wanted}, got ${got}.`, {
    cause: failure,
  });
}

/** A copy of an output as a tensor: int32 of whole numbers, else as the engine has it. */
function outputOf(executable: Executable, name: string, value: Value): Tensor {
  if (!isConstant(value) && isReal(value)) return new Tensor(executable.output(name).slice(), value.dims);
  const data = isConstant(value) ? value.data : executable.output(name);
  return new Tensor(isReal(value) ? Float32Array.from(data) : Int32Array.from(data), value.dims);
}

function isReal({ type }: Value): boolean {
  return isFloat(type) || type === 'bool';
}
