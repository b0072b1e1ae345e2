import { oneOf, quoted, refuse, show } from '../errors';
import { isBinary, isCategorical, type Loss, nameOf } from '../losses/loss';
import { Philox } from '../tensors/random';
import {
  namedTensor,
  placeOf,
  type Shape,
  sameShape,
  sizeOf,
  Tensor,
  type TensorData,
  type TensorLike,
  tensor,
} from '../tensors/tensor';
import type { OutputKeys } from './graph';

/** First random stream of the shuffles; lower ones belong to weight initializers. */
const SHUFFLE_STREAM = 0x80000000;

/** Per-class factors on the loss and on weighted metrics, by class index. */
export type ClassWeight = Readonly<Record<number, number>> | ReadonlyMap<number, number>;

/** Initial states by layer, then by state: `{ lstm: { h: [N, units], c: [N, units] } }`. */
export type InitialStates = Readonly<Record<string, Readonly<Record<string, TensorLike>>>>;

/**
 * One array `[N, …]`; of a model with several inputs (for targets and sample weights: outputs) an array of them in order, or an object of
 * them by name.
 */
export type Inputs = TensorLike | readonly TensorLike[] | Readonly<Record<string, TensorLike>>;

/**
 * Examples with what they are to be scored against: inputs `[N, …]`, targets `[N, …]` and weights `[N]` or `[N, T]` by the names of the plan's inputs, initial states
 * `[N, units]` by `layer/state`, and lengths `[N]`.
 */
export interface Examples {
  readonly count: number;
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly targets: ReadonlyMap<string, Tensor>;
  readonly weights: ReadonlyMap<string, Tensor>;
  readonly initialStates: ReadonlyMap<string, Tensor>;
  /** int32 `[N]`: how many steps of each sequence count, from its first. */
  readonly lengths: Tensor | undefined;
  /** int32 `[N]`: how many of the last steps are scored, where the first ones are only to be read. */
  readonly scored?: Tensor;
}

/** A batch of a generator. */
export type GeneratedBatch =
  | readonly [x: Inputs, y?: Inputs, sampleWeight?: Inputs]
  | {
      readonly x: Inputs;
      readonly y?: Inputs;
      readonly sampleWeight?: Inputs;
      readonly lengths?: TensorLike;
    };

export type BatchIterable = Iterable<GeneratedBatch> | AsyncIterable<GeneratedBatch>;
/** Batches: an (async) iterable, or a function that starts a new one (or promises one) for every epoch. */
export type BatchGenerator = BatchIterable | (() => BatchIterable | Promise<BatchIterable>);

/** What one input must look like. */
export interface InputContract {
  /** Its name in the model, and that of the plan's input. */
  readonly name: string;
  readonly key: string;
  /** How messages call it. */
  readonly subject: string;
  /** Batch-free; null matches any length. */
  readonly shape: readonly (number | null)[];
  readonly dtype: 'real' | 'int32';
  readonly sequence: boolean;
}

/** What the data must look like. */
export interface DataContract {
  /** How messages call the reader, e.g. `fit`. */
  readonly caller: string;
  readonly inputs: readonly InputContract[];
  /** Batch-free output shapes for batch-free input shapes. */
  outputShapes(inputShapes: readonly Shape[]): readonly Shape[];
  readonly outputs: readonly OutputKeys[];
  /** Of each output; undefined where nothing is scored. */
  readonly losses: readonly Loss[] | undefined;
  /** The only batch size that stateful layers take. */
  readonly fixedBatch: number | undefined;
  /** `layer/state` → units, of every recurrent layer. */
  readonly states: ReadonlyMap<string, number>;
  /** Those of layers that are not given states by others, which `initialStates` may name. */
  readonly openStates: ReadonlyMap<string, number>;
}

export interface ExampleOptions {
  readonly sampleWeight?: Inputs | undefined;
  /** Of a model with one output. */
  readonly classWeight?: ClassWeight | undefined;
  readonly initialStates?: InitialStates | undefined;
  /**
   * `[N]`: how many steps of each sequence count. The rest is padding: recurrent layers pass over it, losses and metrics on every step
   * leave it out. A layer that finds padding by its value (`masking`, `maskZero`) takes the place of this.
   */
  readonly lengths?: TensorLike | undefined;
}

/** Rows `indices` of some examples. */
export interface Batch {
  readonly examples: Examples;
  readonly indices: Uint32Array;
  /** The batch to come, for which all can be made ready while this one runs. Nobody knows it for batches of a generator. */
  readonly next?: Batch | undefined;
  /** Where a number of a plan's input stands in the caller's array. Default: in row `indices[row]`. */
  readonly placed?: (place: readonly number[]) => number[];
  /** Of which step the states are wanted, counted from 1. Default: of the last. */
  readonly statesAfter?: number | undefined;
}

export function isGenerator(data: unknown): data is BatchGenerator {
  if (typeof data === 'function') return true;
  if (typeof data !== 'object' || data === null || Array.isArray(data) || ArrayBuffer.isView(data))
    return false;
  return Symbol.iterator in data || Symbol.asyncIterator in data;
}

/** Proves that data fit the model, and gives them as tensors. */
export function readExamples(
  contract: DataContract,
  x: Inputs,
  y: Inputs | undefined,
  options: ExampleOptions = {},
): Examples {
  const { caller } = contract;
  const subjects = subjectsOf(`${caller}: x`, contract.inputs);
  const tensors = listOf(`${caller}: x`, contract.inputs, x).map((values, i) =>
    readInput(subjects[i] as string, contract.inputs[i] as InputContract, values as TensorLike),
  );
  const count = tensors[0]?.shape[0] as number;
  const odd = tensors.findIndex(({ shape }) => shape[0] !== count);
  if (odd >= 0) {
    const wanted = `${count} examples, as many as of ${subjects[0]}`;
    refuse('ERR_SHAPE', subjects[odd] as string, wanted, tensors[odd]?.shape[0]);
  }
  const inputs = new Map(contract.inputs.map(({ key }, i) => [key, tensors[i] as Tensor]));
  const initialStates = readInitialStates(caller, contract, count, options.initialStates);
  const lengths = readLengths(contract, tensors, options.lengths ?? undefined);
  const examples = { count, inputs, targets: new Map(), weights: new Map(), initialStates, lengths };
  if (y === undefined) {
    if (contract.losses) refuse('ERR_VALUE', `${caller}: y`, 'targets', 'nothing');
    return examples;
  }
  const shapes = contract
    .outputShapes(tensors.map(({ shape }) => shape.slice(1)))
    .map((shape) => [count, ...shape]);
  return { ...examples, ...readScored(contract, y, shapes, options) };
}

/** Targets and weights of all outputs, whose whole shapes are given. */
function readScored(
  contract: DataContract,
  y: Inputs,
  shapes: readonly Shape[],
  options: ExampleOptions,
): Pick<Examples, 'targets' | 'weights'> {
  const { caller, outputs } = contract;
  // null: a batch or validation data may have it in the place of weights.
  const sampleWeight = options.sampleWeight ?? undefined;
  const classWeight = options.classWeight ?? undefined;
  if (classWeight !== undefined && outputs.length > 1) {
    const wayOut = 'Give each output its sampleWeight.';
    const got = `${outputs.length} outputs`;
    refuse('ERR_VALUE', `${caller}: classWeight`, 'a model with one output', got, wayOut);
  }
  const given = listOf(`${caller}: y`, outputs, y);
  const weighing =
    sampleWeight === undefined ? [] : listOf(`${caller}: sampleWeight`, outputs, sampleWeight, true);
  const subjects = subjectsOf(`${caller}: y`, outputs);
  const weightSubjects = subjectsOf(`${caller}: sampleWeight`, outputs);
  const targets = new Map<string, Tensor>();
  const weights = new Map<string, Tensor>();
  for (const [i, keys] of outputs.entries()) {
    const [loss, shape] = [contract.losses?.[i] as Loss, shapes[i] as Shape];
    const rows = shape.slice(0, -1);
    const read = readTargets(subjects[i] as string, loss, given[i] as TensorLike, shape);
    targets.set(keys.targets, read);
    let factors = readWeights(weightSubjects[i] as string, shape, weighing[i]);
    if (classWeight !== undefined) {
      factors ??= new Float32Array(sizeOf(rows)).fill(1);
      applyClassWeight(contract, loss, read, shape, classWeight, factors);
    }
    if (factors) weights.set(keys.weights, tensor(factors, rows));
  }
  return { targets, weights };
}

type Named = readonly { readonly name: string }[];

/** How messages call the arrays of inputs or outputs: `fit: x`, or `fit: x.left` where there are several. */
function subjectsOf(subject: string, ends: Named): string[] {
  return ends.map(({ name }) => (ends.length > 1 ? `${subject}.${name}` : subject));
}

/**
 * What is given for each input or output, in their order.
 * @param partial whether some may be left out by an object
 * @throws ERR_VALUE for another number of them or other names
 */
function listOf(subject: string, ends: Named, x: Inputs, partial = false): (TensorLike | undefined)[] {
  const names = ends.map(({ name }) => name);
  const [only] = names;
  if (names.length === 1 && !(isByName(x) && Object.keys(x).join() === only)) {
    // A list of one, as Keras takes it; nested arrays and typed arrays in an array are one array themselves.
    const [first] = Array.isArray(x) && x.length === 1 ? (x as unknown[]) : [];
    return [first instanceof Tensor ? first : (x as TensorLike)];
  }
  if (isByName(x)) {
    const stranger = Object.keys(x).find((name) => !names.includes(name));
    if (stranger !== undefined)
      refuse('ERR_VALUE', subject, `arrays called ${oneOf(names)}`, quoted(stranger));
    return names.map(
      (name) => x[name] ?? (partial ? undefined : refuse('ERR_VALUE', subject, `an array '${name}'`, 'none')),
    );
  }
  if (!Array.isArray(x) || x.length !== names.length) {
    const wanted = `an array of ${names.length} arrays, or an object with ${oneOf(names).replace(' or ', ' and ')}`;
    refuse('ERR_VALUE', subject, wanted, Array.isArray(x) ? `an array of ${x.length}` : quoted(x));
  }
  return x as TensorLike[];
}

/** Whether arrays are given by name: by an object that is no data itself. */
function isByName(x: unknown): x is Readonly<Record<string, TensorLike>> {
  if (typeof x !== 'object' || x === null || Array.isArray(x) || ArrayBuffer.isView(x)) return false;
  if (x instanceof Tensor) return false;
  const prototype: unknown = Object.getPrototypeOf(x);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function readInput(subject: string, contract: InputContract, values: TensorLike): Tensor {
  const read = namedTensor(subject, values, undefined, contract.dtype === 'int32' ? 'int32' : undefined);
  const wanted = ['N', ...contract.shape.map((n) => n ?? 'any')];
  const fits =
    read.rank === wanted.length && contract.shape.every((n, i) => n === null || n === read.shape[i + 1]);
  if (!fits) {
    const shape = `shape [${wanted.join(', ')}] (${contract.subject})`;
    refuse('ERR_SHAPE', subject, shape, `[${read.shape.join(', ')}]`);
  }
  refuseEmpty(subject, read);
  return read;
}

/** Lengths of the sequences of all inputs, which must have equally many steps. */
function readLengths(
  { caller, inputs }: DataContract,
  tensors: readonly Tensor[],
  given: TensorLike | undefined,
): Tensor | undefined {
  if (given === undefined) return undefined;
  const subject = `${caller}: lengths`;
  const [first, ...rest] = tensors.filter((_, i) => inputs[i]?.sequence);
  if (!first) {
    const shapes = inputs.map(({ shape }) => `inputs [N, ${shape.join(', ')}]`);
    refuse('ERR_VALUE', subject, 'a model that reads sequences', shapes.join(', '));
  }
  const [count, steps] = first.shape as [number, number];
  const other = rest.find(({ shape }) => shape[1] !== steps);
  if (other)
    refuse(
      'ERR_SHAPE',
      subject,
      'sequences of equally many steps in all inputs',
      `${steps} and ${other.shape[1]}`,
    );
  const lengths = namedTensor(subject, given, undefined, 'int32');
  if (lengths.shape.join() !== String(count))
    refuse('ERR_SHAPE', subject, `shape [${count}]`, `[${lengths.shape.join(', ')}]`);
  const at = lengths.data.findIndex((n) => n < 0 || n > (steps as number));
  if (at >= 0)
    refuse('ERR_VALUE', subject, `numbers of steps from 0 to ${steps}`, `${lengths.data[at]} at [${at}]`);
  return lengths;
}

export function refuseEmpty(subject: string, inputs: Tensor): void {
  if (inputs.size > 0) return;
  const got = `shape [${inputs.shape.join(', ')}]`;
  refuse('ERR_SHAPE', subject, 'at least one example and no empty axis', got);
}

/** States by layer and name, proven, as states `[count, units]` by `layer/state`. `states`: `layer/state` → units. */
export function readInitialStates(
  caller: string,
  known: Pick<DataContract, 'openStates'>,
  count: number,
  given: InitialStates | undefined,
): Map<string, Tensor> {
  const states = new Map<string, Tensor>();
  if (given === undefined) return states;
  const subject = `${caller}: initialStates`;
  const checked = (value: unknown, where: string): object => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      refuse('ERR_VALUE', where, 'an object of states by layer and name, { lstm: { h, c } }', quoted(value));
    return value as object;
  };
  for (const [layer, byName] of Object.entries(checked(given, subject))) {
    for (const [name, values] of Object.entries(checked(byName, `${subject}: ${layer}`))) {
      const key = `${layer}/${name}`;
      states.set(key, readState(subject, known.openStates, count, key, values));
    }
  }
  return states;
}

/** One state, called `layer/state`. */
export function readState(
  subject: string,
  known: DataContract['states'],
  count: number,
  key: string,
  values: TensorLike,
): Tensor {
  const units = known.get(key);
  if (units === undefined)
    refuse('ERR_VALUE', subject, `one of ${[...known.keys()].join(', ') || 'no states'}`, key);
  const state = namedTensor(`${subject}: ${key}`, values);
  if (state.shape.join() !== [count, units].join()) {
    const wanted = `shape [${count}, ${units}]`;
    refuse('ERR_SHAPE', `${subject}: ${key}`, wanted, `[${state.shape.join(', ')}]`);
  }
  const at = state.data.findIndex((v) => !Number.isFinite(v));
  if (at >= 0) {
    const place = placeOf(at, state.shape);
    refuse('ERR_VALUE', `${subject}: ${key}`, 'finite numbers', `${state.data[at]} at ${place}`);
  }
  return state;
}

/** Targets as the loss wants them; a trailing axis of 1 may be left out or be there too many. */
function readTargets(subject: string, loss: Loss, y: TensorLike, output: Shape): Tensor {
  const targets = namedTensor(subject, y, undefined, loss.sparse ? 'int32' : undefined);
  const wanted = loss.sparse ? output.slice(0, -1) : output;
  const trimmed = (shape: Shape) =>
    shape.length > 1 && shape[shape.length - 1] === 1 ? shape.slice(0, -1) : shape;
  if (!sameShape(trimmed(targets.shape), trimmed(wanted))) {
    const hint =
      !loss.sparse && loss.type !== 'value' && targets.shape.join() === output.slice(0, -1).join()
        ? 'For class indices use sparseCategoricalCrossentropy, or toCategorical(y).'
        : loss.sparse && targets.shape.join() === output.join()
          ? 'For one-hot targets use categoricalCrossentropy.'
          : sizeOf(targets.shape) === sizeOf(wanted)
            ? `As many values: give them that shape, e.g. tensor(y).reshape([${wanted.join(', ')}]).`
            : undefined;
    refuse(
      'ERR_SHAPE',
      subject,
      `shape [${wanted.join(', ')}] for ${nameOf(loss)}`,
      `[${targets.shape.join(', ')}]`,
      hint,
    );
  }
  if (isBinary(loss) || (isCategorical(loss) && !loss.sparse)) {
    const at = targets.data.findIndex((p) => p < 0 || p > 1);
    if (at >= 0)
      refuse(
        'ERR_VALUE',
        subject,
        `targets from 0 to 1 for ${nameOf(loss)}`,
        `${targets.data[at]} at ${placeOf(at, targets.shape)}`,
      );
  }
  return sameShape(targets.shape, wanted) ? targets : targets.reshape(wanted);
}

/** Sample weights per scored row of an output. */
function readWeights(
  subject: string,
  output: Shape,
  sampleWeight: TensorLike | undefined,
): Float32Array | undefined {
  if (sampleWeight === undefined) return undefined;
  const rowShape = output.slice(0, -1);
  const rows = sizeOf(rowShape);
  const weights = new Float32Array(rows);
  const given = namedTensor(subject, sampleWeight);
  // One for an example, for each of its steps, or for each row of those.
  const wanted = rowShape.map((_, axis) => rowShape.slice(0, axis + 1));
  if (!wanted.some((shape) => sameShape(shape, given.shape))) {
    const shapes = wanted.map((shape) => `[${shape.join(', ')}]`).join(' or ');
    refuse('ERR_SHAPE', subject, `shape ${shapes}`, `[${given.shape.join(', ')}]`);
  }
  const repeat = rows / given.size;
  for (let r = 0; r < rows; r++) {
    const w = given.data[Math.floor(r / repeat)] as number;
    if (!(Number.isFinite(w) && w >= 0)) {
      const place = placeOf(Math.floor(r / repeat), given.shape);
      refuse('ERR_VALUE', subject, 'finite weights, 0 or more', `${w} at ${place}`);
    }
    weights[r] = w;
  }
  return weights;
}

function applyClassWeight(
  contract: DataContract,
  loss: Loss,
  targets: Tensor,
  output: Shape,
  classWeight: ClassWeight,
  weights: Float32Array,
): void {
  const subject = `${contract.caller}: classWeight`;
  const classes = output[output.length - 1] as number;
  const entries =
    classWeight instanceof Map
      ? [...classWeight]
      : Object.entries(classWeight).map(([k, v]) => [Number(k), v] as const);
  const count = Math.max(classes, 2);
  const factor = new Float64Array(count).fill(1);
  for (const [label, w] of entries) {
    if (!(Number.isInteger(label) && label >= 0 && label < count))
      refuse('ERR_VALUE', subject, `class indices 0 to ${count - 1}`, label);
    if (!(typeof w === 'number' && Number.isFinite(w) && w >= 0))
      refuse('ERR_VALUE', subject, 'finite weights, 0 or more', show(w));
    factor[label] = w;
  }
  const { data } = targets;
  for (let r = 0; r < weights.length; r++) {
    let label = data[r] as number;
    if (!loss.sparse && classes === 1) label = Number((data[r] as number) > 0.5);
    else if (!loss.sparse) {
      label = 0;
      for (let c = 1; c < classes; c++)
        if ((data[r * classes + c] as number) > (data[r * classes + label] as number)) label = c;
    }
    // A label outside the classes is refused by the plan's own check, with its place in the data.
    weights[r] = (weights[r] as number) * (factor[label] ?? 1);
  }
}

/** 0, 1, … A loop: `Uint32Array.from` asks an iterator for every number. */
function inOrder(count: number): Uint32Array {
  const indices = new Uint32Array(count);
  for (let i = 0; i < count; i++) indices[i] = i;
  return indices;
}

/** All examples as one batch. */
export function wholeBatch(examples: Examples): Batch {
  return { examples, indices: inOrder(examples.count) };
}

/** @throws ERR_SHAPE when the model carries states for another number of sequences. */
export function checkFixedBatch({ caller, fixedBatch }: DataContract, rows: number): void {
  if (fixedBatch !== undefined && rows !== fixedBatch) {
    refuse(
      'ERR_SHAPE',
      `${caller}: x`,
      `batches of exactly ${fixedBatch} examples (a stateful model)`,
      rows,
      'Set batchSize and drop or pad the rest.',
    );
  }
}

/** The same before the first of all batches is run, so that a remainder does not stop a run that has begun. */
export function checkFixedBatches(
  contract: DataContract,
  examples: Examples,
  batchSize: number,
  steps: number | null = null,
): void {
  const { count } = examples;
  checkFixedBatch(contract, Math.min(count, batchSize));
  const rest = count % batchSize;
  if (rest > 0 && (steps === null || steps * batchSize > count)) checkFixedBatch(contract, rest);
}

/** A part of an order of examples. */
class OrderedBatch implements Batch {
  readonly indices: Uint32Array;
  private following: OrderedBatch | undefined;

  constructor(
    readonly examples: Examples,
    private readonly order: Uint32Array,
    private readonly begin: number,
    private readonly size: number,
  ) {
    this.indices = order.subarray(begin, begin + size);
  }

  get next(): OrderedBatch | undefined {
    const { examples, order, begin, size } = this;
    if (begin + size < order.length) this.following ??= new OrderedBatch(examples, order, begin + size, size);
    return this.following;
  }
}

/** The batches of one epoch over examples in memory, in order or shuffled by (seed, epoch). */
export function* batchesOf(
  examples: Examples,
  batchSize: number,
  shuffle?: { readonly seed: number; readonly epoch: number },
  firstBatch = 0,
): Generator<Batch> {
  const { count } = examples;
  const order = shuffle
    ? new Philox(shuffle.seed, SHUFFLE_STREAM + shuffle.epoch).permutation(count)
    : inOrder(count);
  if (firstBatch * batchSize >= count) return;
  let batch: Batch | undefined = new OrderedBatch(examples, order, firstBatch * batchSize, batchSize);
  for (; batch; batch = batch.next) yield batch;
}

/** @throws ERR_STATE when the memory of a tensor is gone */
export function requireValues({ data, shape }: Tensor): void {
  if (data.length === sizeOf(shape)) return;
  const got = `memory of ${data.length} values, because its buffer was transferred or resized while in use`;
  refuse('ERR_STATE', `a tensor of shape [${shape.join(', ')}]`, 'its values', got);
}

/** Copies rows of an array into a plan input; rows that follow each other in both go in one piece. */
export function copyRows(source: Tensor, indices: Uint32Array, target: TensorData): void {
  const { data } = source;
  requireValues(source);
  const width = source.size / (source.shape[0] as number);
  for (let begin = 0, end = 0; begin < indices.length; begin = end) {
    const from = indices[begin] as number;
    do end++;
    while (end < indices.length && indices[end] === from + end - begin);
    target.set(data.subarray(from * width, (from + end - begin) * width), begin * width);
  }
}

/** Splits the last `fraction` of the examples off, before any shuffling, as Keras does. */
export function splitValidation(
  examples: Examples,
  fraction: number,
): [train: Examples, validation: Examples] {
  const { count } = examples;
  const kept = Math.floor(count * (1 - fraction));
  if (!(fraction > 0 && fraction < 1))
    refuse('ERR_VALUE', 'fit: validationSplit', 'a number above 0 and below 1', quoted(fraction));
  if (kept === 0 || kept === count) {
    refuse(
      'ERR_VALUE',
      'fit: validationSplit',
      'a fraction that leaves examples on both sides',
      `${fraction} of ${count} examples`,
    );
  }
  const part = (begin: number, end: number): Examples => ({
    count: end - begin,
    inputs: new Map([...examples.inputs].map(([key, x]) => [key, x.rows(begin, end)])),
    targets: new Map([...examples.targets].map(([key, y]) => [key, y.rows(begin, end)])),
    weights: new Map([...examples.weights].map(([key, w]) => [key, w.rows(begin, end)])),
    initialStates: new Map([...examples.initialStates].map(([key, state]) => [key, state.rows(begin, end)])),
    lengths: examples.lengths?.rows(begin, end),
  });
  return [part(0, kept), part(kept, count)];
}
