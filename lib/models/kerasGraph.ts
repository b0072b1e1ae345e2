import { quoted, refuse } from '../errors';
import { layerFromConfig } from '../layers';
import type { InputConfig } from '../layers/input';
import type { Layer } from '../layers/layer';
import type { FunctionalConfig } from './functional';
import type { Graph, GraphNode } from './graph';
import { maskSource } from './maskFlow';

/** A functional model as Keras writes it: `model.to_json()`, parsed, of Keras 3 or 2. */
export interface KerasFunctionalConfig {
  readonly class_name: string;
  readonly config: object;
}

/** One layer with its uses. */
interface Entry {
  readonly name: string;
  readonly type: string;
  readonly module: unknown;
  readonly config: Record<string, unknown>;
  readonly nodes: readonly unknown[];
}

/** Output `output` of use `node` of a layer. */
export interface History {
  readonly layer: string;
  readonly node: number;
  readonly output: number;
}

export interface Use {
  readonly inputs: readonly History[];
  /** Masks that Keras hands on by itself, which this library does too. */
  readonly masks: readonly History[];
  /** Of a use inside a model: masks of what that model reads, some of which the layer has. */
  readonly masksAround: readonly History[];
  /** Whether Keras 3 says it, and not Keras 2 or TensorFlow.js. */
  readonly isKeras3: boolean;
  /**
   * Whether Keras runs the layer without the mask of what it reads: Keras 3 hands none on to a call with several arguments that are tensors, as a
   * sequence and its `initial_state` are. Keras 2 does, and TensorFlow.js.
   */
  readonly dropsMask: boolean;
}

/** What a use of a layer says of masks. */
export interface UseOfMask extends Pick<Use, 'isKeras3' | 'dropsMask'> {
  /** The mask that it names: what that is made of, by {@link maskSource}. */
  readonly named: ReadonlySet<string> | undefined;
}

/** What the uses of layers say, by the nodes of the graph that was made of them. */
export type UsesOfMasks = ReadonlyMap<GraphNode, UseOfMask>;

/** The argument under which a use inside a model has {@link Use.masksAround}. */
export const MASKS_AROUND = 'masks around';

/** More than any model has; what is deeper is made to be. */
const DEEPEST = 8;

/** Whether a configuration is that of a functional model of Keras. */
export function isKerasFunctional(config: unknown): config is KerasFunctionalConfig {
  const { class_name } = Object(config) as { class_name?: unknown };
  return class_name === 'Functional' || class_name === 'Model';
}

/**
 * What Keras says of a functional model, in the terms of this library, with the layers made.
 * @param subject how messages call the configuration
 * @throws ERR_VALUE, naming the layer, for what is not known here and for connections that are no graph
 */
export function readKerasGraph(
  given: KerasFunctionalConfig,
  subject: string,
): { config: FunctionalConfig; made: Layer[]; usesIn: (graph: Graph) => UsesOfMasks } {
  const { config } = given as { config: Record<string, unknown> };
  const list = (value: unknown, what: string): readonly unknown[] =>
    Array.isArray(value) ? value : refuse('ERR_VALUE', `${subject}: ${what}`, 'an array', quoted(value));
  const entries = new Map<string, Entry>();
  for (const [i, one] of list(config?.['layers'], 'layers').entries()) {
    const entry = entryOf(one, `${subject}: layers[${i}]`);
    if (entries.has(entry.name))
      refuse('ERR_VALUE', `${subject}: layers[${i}]`, 'a name of its own', quoted(entry.name));
    entries.set(entry.name, entry);
  }
  const inputs = endsOf(config['input_layers'], `${subject}: input_layers`);
  const outputs = endsOf(config['output_layers'], `${subject}: output_layers`);
  const uses = new Map<string, Use>();
  const key = ({ layer, node }: History) => `${layer}/${node}`;
  const places = new Map<string, number>();
  const inputConfigs = inputs.list.map((history, i) => {
    const entry = entries.get(history.layer);
    if (!entry || !/^input(layer)?$/i.test(entry.type))
      refuse('ERR_VALUE', `${subject}: input_layers[${i}]`, 'an input layer', quoted(history.layer));
    places.set(key(history), i);
    return inputConfig(entry as Entry, readsIds(entries, (entry as Entry).name));
  });
  const layers: Entry[] = [];
  const layerPlaces = new Map<string, number>();
  const calls: { layer: number; inputs: (readonly [number, number])[] }[] = [];
  const usesInOrder: Use[] = [];
  const useOf = (history: History): Use => {
    const known = uses.get(key(history));
    if (known) return known;
    const entry = entries.get(history.layer) as Entry;
    const use = readUse(entry.nodes[history.node], `layer '${entry.name}'`);
    uses.set(key(history), use);
    return use;
  };
  const prove = (history: History, by: string): History => {
    const entry = entries.get(history.layer);
    if (!entry || (history.node >= entry.nodes.length && !places.has(key(history))))
      refuse('ERR_VALUE', `${subject}: ${by}`, 'outputs of layers that are there', quoted(history.layer));
    return history;
  };
  // Without recursion: a graph may be as deep as a file makes it.
  const open = new Set<string>();
  for (const end of outputs.list) {
    const stack = [prove(end, 'output_layers')];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const id = key(top);
      if (places.has(id)) {
        stack.pop();
        continue;
      }
      const entry = entries.get(top.layer) as Entry;
      const subjectHere = `layer '${entry.name}'`;
      const use = useOf(top);
      const { inputs: read, masks, masksAround } = use;
      const missing = read.filter((from) => !places.has(key(prove(from, subjectHere))));
      if (missing.length > 0) {
        if (open.has(id)) refuse('ERR_VALUE', subjectHere, 'connections without a loop', 'one');
        open.add(id);
        stack.push(...missing.reverse());
        continue;
      }
      for (const mask of [...masks, ...masksAround]) proveMask(entries, mask, subjectHere);
      let place = layerPlaces.get(entry.name);
      if (place === undefined) {
        place = layers.length;
        layerPlaces.set(entry.name, place);
        layers.push(entry);
      }
      places.set(id, inputs.list.length + calls.length);
      calls.push({
        layer: place,
        inputs: read.map((from) => [places.get(key(from)) as number, from.output]),
      });
      usesInOrder.push(use);
      stack.pop();
    }
  }
  const made = layers.map(({ name, type, config: own }) => makeLayer(type, { ...own, name }));
  const usesOfMasks = usesInOrder.map(({ masks, masksAround, isKeras3, dropsMask }): UseOfMask => {
    const isOwn = masks.length > 0 && masksAround.length === 0;
    return { isKeras3, dropsMask, named: isOwn ? sourcesOf(entries, masks) : undefined };
  });
  return {
    made,
    usesIn: (graph) => {
      const places = callsOf(graph, calls, made);
      return new Map(graph.nodes.map((node, i) => [node, usesOfMasks[places[i] as number] as UseOfMask]));
    },
    config: {
      type: 'functional',
      name: (config['name'] as string | undefined) ?? 'model',
      // Not given: the model draws one.
      seed: undefined as unknown as number,
      inputs: inputConfigs,
      layers: [],
      calls,
      outputs: outputs.list.map((end) => [places.get(key(end)) as number, end.output]),
      namesOutputs: outputs.list.length > 1 || outputs.isList,
    },
  };
}

/** Which call each node of a graph is, whose order may be another. */
function callsOf(
  { inputs, nodes }: Graph,
  calls: readonly { readonly layer: number; readonly inputs: readonly (readonly [number, number])[] }[],
  made: readonly Layer[],
): number[] {
  const numbers = new Map(made.map((layer, i) => [layer, i]));
  const keyed = (layer: Layer, read: readonly (readonly [number, number])[]) =>
    `${numbers.get(layer)}: ${read.map(([from, output]) => `${from} ${output}`).join(', ')}`;
  const left = new Map<string, number[]>();
  for (const [i, { layer, inputs: read }] of calls.entries()) {
    const key = keyed(made[layer] as Layer, read);
    left.set(key, [...(left.get(key) ?? []), i]);
  }
  /** By the numbers of the graph's values, those of the calls'. */
  const values = inputs.map((_, i) => i);
  return nodes.map(({ layer, inputs: read }) => {
    const key = keyed(
      layer,
      read.map(({ from, output }) => [values[from] as number, output]),
    );
    const call = left.get(key)?.shift() as number;
    values.push(inputs.length + call);
    return call;
  });
}

/** A layer of Keras. @throws ERR_VALUE, naming it, for one that is not known here */
export function makeLayer(type: string, config: Record<string, unknown>): Layer {
  const { name } = config;
  const subject = `layer ${typeof name === 'string' ? `'${name}'` : 'without a name'}`;
  if (type === 'Sequential' || isKerasFunctional({ class_name: type }))
    refuse(
      'ERR_VALUE',
      subject,
      'a layer',
      `a ${type} model inside the model`,
      'modelFromConfig puts its layers in its place, of a whole configuration { class_name, config }.',
    );
  if (type === 'Lambda')
    refuse('ERR_VALUE', subject, 'a layer that a file can say all of', 'a Lambda, which is a program');
  return layerFromConfig(type, config);
}

function entryOf(given: unknown, subject: string): Entry {
  const { class_name, config, name, module, inbound_nodes } = Object(given) as Record<string, unknown>;
  if (typeof class_name !== 'string' || typeof config !== 'object' || config === null)
    refuse('ERR_VALUE', subject, '{ class_name, config }', quoted(given));
  const own = name ?? (config as { name?: unknown }).name;
  if (typeof own !== 'string' || own === '') refuse('ERR_VALUE', `${subject}: name`, 'a name', quoted(own));
  const nodes = inbound_nodes ?? [];
  if (!Array.isArray(nodes)) refuse('ERR_VALUE', `${subject}: inbound_nodes`, 'an array', quoted(nodes));
  return {
    name: own as string,
    type: class_name as string,
    module,
    config: config as Record<string, unknown>,
    nodes: nodes as unknown[],
  };
}

/** `[name, node, output]`, of Keras 2 with options behind it. */
export function historyOf(given: unknown): History | undefined {
  if (!Array.isArray(given) || given.length < 3) return undefined;
  const [layer, node, output] = given as unknown[];
  const isPlace = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  return typeof layer === 'string' && isPlace(node) && isPlace(output) ? { layer, node, output } : undefined;
}

/** Inputs or outputs of a model: one alone, a list, or an object by name. */
function endsOf(given: unknown, subject: string): { list: History[]; isList: boolean } {
  const one = historyOf(given);
  if (one) return { list: [one], isList: false };
  const many = Array.isArray(given) ? given : Object.values(Object(given));
  const list = many.map(
    (end) => historyOf(end) ?? refuse('ERR_VALUE', subject, '[layer, use, output]', quoted(end)),
  );
  if (list.length === 0) refuse('ERR_VALUE', subject, 'at least one', 'none');
  // Keras 2 and the first releases of Keras 3 write a list around one, whatever it was. An object has names.
  return { list, isList: list.length > 1 || !Array.isArray(given) };
}

/** What a use of a layer reads: `{ args, kwargs }` of Keras 3, or a list of `[name, node, output, options]` of Keras 2. */
export function readUse(given: unknown, subject: string): Use {
  if (Array.isArray(given)) {
    const parts = historyOf(given) ? [given] : (given as unknown[]);
    const inputs: History[] = [];
    for (const part of parts) {
      inputs.push(historyOf(part) ?? refuse('ERR_VALUE', subject, '[layer, use, output]', quoted(part)));
      const options = (part as unknown[])[3];
      for (const [option, value] of Object.entries(Object(options) as object))
        if (option === 'initial_state') inputs.push(...listedHistories(value));
        else proveOption(option, value, subject);
    }
    return { inputs, masks: [], masksAround: [], isKeras3: false, dropsMask: false };
  }
  const { args, kwargs } = Object(given) as { args?: unknown; kwargs?: unknown };
  if (!Array.isArray(args))
    refuse('ERR_VALUE', `${subject}: inbound_nodes`, '{ args, kwargs }', quoted(given));
  const listed = (args as unknown[]).map((part) => tensorsIn(part, subject, 1));
  const inputs = listed.flat();
  let tensorArguments = listed.filter((part) => part.length > 0).length;
  const masks: History[] = [];
  const masksAround: History[] = [];
  for (const [option, value] of Object.entries(Object(kwargs) as object)) {
    if (option === 'mask') masks.push(...tensorsIn(value, subject, 0));
    else if (option === MASKS_AROUND) masksAround.push(...tensorsIn(value, subject, 0));
    else if (option === 'initial_state' || option === 'sequences' || option === 'inputs') {
      const own = tensorsIn(value, subject, 0);
      inputs.push(...own);
      tensorArguments += Number(own.length > 0);
    } else proveOption(option, value, subject);
  }
  return { inputs, masks, masksAround, isKeras3: true, dropsMask: tensorArguments > 1 && masks.length === 0 };
}

/** @throws ERR_VALUE for an option of a call that would change it */
function proveOption(option: string, value: unknown, subject: string): void {
  if (value !== null && value !== undefined && value !== false)
    refuse('ERR_VALUE', `${subject}: ${option}`, 'nothing given to a use of the layer', quoted(value));
}

/** States in Keras 2's form: `[[name, node, output], …]`, or one. */
function listedHistories(given: unknown): History[] {
  const one = historyOf(given);
  if (one) return [one];
  return (Array.isArray(given) ? given : []).flatMap((part) => historyOf(part) ?? []);
}

/** Tensors in the arguments of a call, in their order; constants are not inputs of layers. */
function tensorsIn(given: unknown, subject: string, depth: number): History[] {
  if (depth > DEEPEST) refuse('ERR_VALUE', subject, 'arguments that are tensors', 'lists in lists');
  if (given === null || given === undefined) return [];
  if (Array.isArray(given)) return given.flatMap((part) => tensorsIn(part, subject, depth + 1));
  const { class_name, config } = Object(given) as { class_name?: unknown; config?: unknown };
  if (class_name === '__keras_tensor__') {
    const history = historyOf((Object(config) as { keras_history?: unknown }).keras_history);
    return [history ?? refuse('ERR_VALUE', subject, 'keras_history: [layer, use, output]', 'none')];
  }
  return refuse('ERR_VALUE', subject, 'arguments that are tensors', quoted(given));
}

/** Operations that Keras makes masks of, from embeddings, `masking` and merges. */
const maskOperations =
  /^(NotEqual|Any|LogicalOr|All|Concatenate|BroadcastTo|Reshape|ExpandDims|OnesLike|ZerosLike|Squeeze)$/;
/** Those that read what is masked, and not a mask. */
const readingValues = /^(NotEqual|OnesLike|ZerosLike)$/;

/** @throws ERR_VALUE for a mask that is another value than those that layers hand on by themselves */
function proveMask(entries: ReadonlyMap<string, Entry>, mask: History, subject: string): void {
  const stack = [mask];
  const seen = new Set<string>();
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    const entry = entries.get(at.layer);
    if (seen.has(at.layer)) continue;
    seen.add(at.layer);
    // Where a file does not say what is a layer, what masks are made of shows it: a layer of that name would read other layers.
    const mayBe = entry && (isOperation(entry) || entry.module === undefined || entry.module === null);
    if (!mayBe || !maskOperations.test(entry.type))
      refuse('ERR_VALUE', `${subject}: mask`, 'the mask of the layers below', `one of '${at.layer}'`);
    else if (!readingValues.test(entry.type)) stack.push(...readOperation(entry, at.node));
  }
}

/** What proven masks are made of; undefined where it is all steps of a value, which counts as no mask here. */
function sourcesOf(entries: ReadonlyMap<string, Entry>, masks: readonly History[]): Set<string> | undefined {
  const sources = new Set<string>();
  const stack = [...masks];
  const seen = new Set<string>();
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    const entry = entries.get(at.layer) as Entry;
    if (entry.type === 'OnesLike') return undefined;
    if (entry.type === 'ZerosLike' || seen.has(entry.name)) continue;
    seen.add(entry.name);
    const read = readOperation(entry, at.node);
    if (entry.type !== 'NotEqual') stack.push(...read);
    else {
      const { args } = Object(entry.nodes[at.node]) as { args?: unknown[] };
      const value = args?.find((part) => typeof part === 'number') as number | undefined;
      for (const { layer, output } of read) sources.add(maskSource(value ?? Number.NaN, layer, output));
    }
  }
  return sources;
}

/** Whether an entry is no layer, but an operation on tensors. */
function isOperation({ module, type }: Entry): boolean {
  // HDF5 files do not say where a class is from.
  if (module === undefined || module === null)
    return /^(NotEqual|Any|LogicalOr|OnesLike|ZerosLike|ExpandDims)$/.test(type);
  return typeof module === 'string' && module.startsWith('keras.src.ops');
}

/** Tensors that an operation reads, constants beside them left out. */
function readOperation({ nodes, name }: Entry, node: number): History[] {
  const { args } = Object(nodes[node]) as { args?: unknown };
  const tensors = (Array.isArray(args) ? args.flat() : []).filter(
    (part) => (Object(part) as { class_name?: unknown }).class_name === '__keras_tensor__',
  );
  return tensorsIn(tensors, `layer '${name}'`, 0);
}

/** Whether embeddings alone read an input: Keras's says float32 there too. Masks are made by embeddings. */
function readsIds(entries: ReadonlyMap<string, Entry>, input: string): boolean {
  const readers = [...entries.values()].filter(
    (entry) =>
      !isOperation(entry) &&
      entry.nodes.some((node) =>
        readUse(node, `layer '${entry.name}'`).inputs.some(({ layer }) => layer === input),
      ),
  );
  return readers.length > 0 && readers.every(({ type }) => /^embedding$/i.test(type));
}

function inputConfig({ config, name }: Entry, ids: boolean): InputConfig {
  const { batch_shape, batch_input_shape = batch_shape, dtype } = config as Record<string, unknown>;
  const subject = `input '${name}'`;
  if (!Array.isArray(batch_input_shape))
    refuse('ERR_VALUE', `${subject}: batch_shape`, 'an array', quoted(batch_input_shape));
  const [batch, ...shape] = batch_input_shape as (number | null)[];
  if (config['sparse'] === true || config['ragged'] === true)
    refuse('ERR_VALUE', subject, 'a dense input', 'a sparse or ragged one');
  const kind = ids || dtype === 'int32' || dtype === 'int64' ? 'int32' : 'float32';
  if (kind === 'float32' && dtype !== undefined && dtype !== null && dtype !== 'float32')
    refuse('ERR_VALUE', `${subject}: dtype`, "'float32' or 'int32'", quoted(dtype));
  return { name, shape, dtype: kind, ...(batch == null ? {} : { batchSize: batch }) };
}
