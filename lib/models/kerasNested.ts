import { quoted, refuse } from '../errors';
import { type History, historyOf, isKerasFunctional, MASKS_AROUND, readUse } from './kerasGraph';

/** A model as Keras writes it. */
export interface KerasModelSpec {
  readonly class_name: string;
  readonly config: object;
}

/** A layer as a file of Keras lists it, by its name there and by that here, or a model among the layers with those in it. */
export type KerasListed =
  | { readonly name: string; readonly here: string }
  | { readonly name: string; readonly className: string; readonly parts: readonly KerasListed[] };

/** Deeper than any model is made of models. */
const DEEPEST = 16;
/** Models that are used several times inside one another become many uses of layers. */
const MOST_USES = 20_000;

type Config = Readonly<Record<string, unknown>>;

interface Entry {
  readonly class_name: string;
  readonly config: Config;
  readonly name: string;
  readonly module: unknown;
  readonly inbound_nodes: readonly unknown[];
}

/** A model whose layers are all its own. */
interface Flat {
  readonly entries: Entry[];
  /** How many uses each of them has. */
  readonly counts: ReadonlyMap<string, number>;
  /** Places of its inputs, by {@link key}. */
  readonly inputs: ReadonlyMap<string, number>;
  readonly outputs: readonly History[];
  readonly listed: readonly KerasListed[];
  /** Names of its layers here, by those that its own configuration has for them. */
  readonly ends: (given: unknown) => unknown;
}

/**
 * What a layer is called here: inside a model that is used as a layer its name is behind that of the model and a dot; spaces and slashes, which names
 * here do not have, are underscores.
 */
export function nameHere(path: readonly string[]): string {
  return path.map((name) => name.replace(/[\s/]+/g, '_')).join('.');
}

const isModel = (class_name: unknown): class_name is string =>
  class_name === 'Sequential' || isKerasFunctional({ class_name });

/** Layers of a configuration that may be anything. */
function entriesOf(config: unknown): readonly unknown[] {
  const { layers } = Object(config) as { layers?: unknown };
  return Array.isArray(layers) ? layers : [];
}

function nameOf(entry: unknown): unknown {
  const { name, config } = Object(entry) as { name?: unknown; config?: unknown };
  return name ?? (Object(config) as { name?: unknown }).name;
}

/**
 * A model without models among its layers, whose names are such as layers have here; as it is where it is so already. Layers of models that are used
 * as layers take their place.
 * @throws ERR_VALUE, naming the layer, for what cannot be put so, and for names that become the same
 */
export function flattened<S extends KerasModelSpec>(
  given: S,
  subject: string,
): { readonly spec: S | KerasModelSpec; readonly listed: readonly KerasListed[] } {
  const entries = entriesOf(given.config);
  const asIs = (entry: unknown) => {
    const name = nameOf(entry);
    return (
      !isModel((Object(entry) as { class_name?: unknown }).class_name) &&
      !(typeof name === 'string' && nameHere([name]) !== name)
    );
  };
  if (entries.every(asIs))
    return { spec: given, listed: entries.map((entry) => listedAs(String(nameOf(entry) ?? ''), [])) };
  const budget = { uses: MOST_USES };
  const line = lineOf(given.class_name, given.config, [], subject, 0);
  if (line && given.class_name === 'Sequential') {
    refuseSameNames(line.entries, subject);
    return {
      spec: { ...given, config: { ...given.config, layers: line.entries } },
      listed: line.listed,
    };
  }
  const spec = given.class_name === 'Sequential' ? asFunctional(given.config, subject) : given.config;
  const { entries: layers, listed, ends } = flat(spec as Config, [], subject, budget, 0);
  refuseSameNames(layers, subject);
  const { input_layers, output_layers } = spec as Config;
  return {
    spec: {
      ...given,
      class_name: 'Functional',
      config: { ...spec, layers, input_layers: ends(input_layers), output_layers: ends(output_layers) },
    },
    listed,
  };
}

function listedAs(name: string, path: readonly string[]): KerasListed {
  return { name, here: nameHere([...path, name]) };
}

function refuseSameNames(entries: readonly { readonly name: string }[], subject: string): void {
  const seen = new Set<string>();
  for (const { name } of entries) {
    if (seen.has(name))
      refuse(
        'ERR_VALUE',
        `${subject}: layer '${name}'`,
        'a name of its own',
        'one that another layer has too',
        'Layers inside models are called model.layer here, spaces and slashes in names are underscores.',
      );
    seen.add(name);
  }
}

function read(given: unknown, subject: string): Entry {
  const { class_name, config, module, inbound_nodes = [] } = Object(given) as Record<string, unknown>;
  const name = nameOf(given);
  if (typeof class_name !== 'string' || typeof config !== 'object' || config === null)
    refuse('ERR_VALUE', subject, '{ class_name, config }', quoted(given));
  if (typeof name !== 'string' || name === '')
    refuse('ERR_VALUE', `${subject}: name`, 'a name', quoted(name));
  if (!Array.isArray(inbound_nodes))
    refuse('ERR_VALUE', `${subject}: inbound_nodes`, 'an array', quoted(inbound_nodes));
  return { class_name, config, module, name, inbound_nodes } as Entry;
}

function readAll(config: unknown, subject: string, depth: number): Entry[] {
  if (depth > DEEPEST) refuse('ERR_VALUE', subject, `models in at most ${DEEPEST} models`, 'more');
  return entriesOf(config).map((entry, i) => read(entry, `${subject}: layers[${i}]`));
}

const isInput = ({ class_name }: Entry) => /^input(layer)?$/i.test(class_name);

/** A layer with its name here, frozen where its model is. */
function renamed(entry: Entry, path: readonly string[], frozen: boolean): Entry {
  const name = nameHere([...path, entry.name]);
  return { ...entry, name, config: { ...entry.config, name, ...(frozen ? { trainable: false } : {}) } };
}

interface Line {
  readonly entries: Entry[];
  readonly listed: KerasListed[];
}

/** The layers of a model that are one line, the models in it put in their places; undefined where one is none. */
function lineOf(
  className: string,
  config: unknown,
  path: readonly string[],
  subject: string,
  depth: number,
  frozen = false,
): Line | undefined {
  const all = readAll(config, subject, depth);
  const own = className === 'Sequential' ? all : inLine(all, config as Config);
  if (!own) return undefined;
  const entries: Entry[] = [];
  const places = new Map<Entry, KerasListed>();
  for (const entry of own) {
    // What the layers of a model inside read is said by those below.
    const first = entries.length === 0;
    if (!isModel(entry.class_name)) {
      if (isInput(entry) && !first) continue;
      entries.push(renamed(entry, path, frozen));
      places.set(entry, listedAs(entry.name, path));
      continue;
    }
    const within = frozen || entry.config['trainable'] === false;
    const line = lineOf(entry.class_name, entry.config, [...path, entry.name], subject, depth + 1, within);
    if (!line) return undefined;
    entries.push(...line.entries.filter((own) => first || !isInput(own)));
    places.set(entry, { name: entry.name, className: entry.class_name, parts: line.listed });
  }
  // In the order of the configuration, which is that of files.
  return { entries, listed: all.flatMap((entry) => places.get(entry) ?? []) };
}

/** The layers of a functional model from its input to its output, where that is one line through all of them. */
function inLine(all: readonly Entry[], config: Config): Entry[] | undefined {
  const byName = new Map(all.map((entry) => [entry.name, entry]));
  const one = (given: unknown) => {
    const ends = historyOf(given) ? [given] : Object.values(Object(given) as object);
    return ends.length === 1 ? historyOf(ends[0]) : undefined;
  };
  const [first, last] = [one(config['input_layers']), one(config['output_layers'])];
  const line: Entry[] = [];
  for (let at = last; at !== undefined; ) {
    const entry = byName.get(at.layer);
    if (!entry || at.node !== 0 || at.output !== 0 || line.length > all.length) return undefined;
    line.push(entry);
    if (at.layer === first?.layer) break;
    if (entry.inbound_nodes.length !== 1) return undefined;
    const { inputs, masks } = readUse(entry.inbound_nodes[0], `layer '${entry.name}'`);
    if (inputs.length !== 1 || masks.length > 0) return undefined;
    [at] = inputs;
  }
  return line.length === all.length ? line.reverse() : undefined;
}

/** The configuration of a sequential model as that of a functional one. */
function asFunctional(config: unknown, subject: string): Config {
  const { layers: _, build_input_shape, ...rest } = Object(config) as Record<string, unknown>;
  const given = readAll(config, subject, 0);
  const [first] = given;
  let name = 'input';
  while (given.some((entry) => entry.name === name)) name += '_';
  const start: Entry =
    first && isInput(first)
      ? first
      : {
          class_name: 'InputLayer',
          config: { name, batch_shape: build_input_shape },
          name,
          module: undefined,
          inbound_nodes: [],
        };
  const above = first === start ? given.slice(1) : given;
  const layers = [
    start,
    ...above.map((entry, i) => {
      const below = tensorOf({ layer: above[i - 1]?.name ?? start.name, node: 0, output: 0 });
      return { ...entry, inbound_nodes: [{ args: [below], kwargs: {} }] };
    }),
  ];
  return {
    ...rest,
    layers,
    input_layers: [[start.name, 0, 0]],
    output_layers: [[layers.at(-1)?.name, 0, 0]],
  };
}

/** A use of a model: what it reads, and the masks that come with that. */
interface ModelUse {
  readonly inputs: readonly History[];
  readonly masks: readonly History[];
}

interface Nested {
  readonly model: Flat;
  readonly uses: readonly ModelUse[];
  readonly subject: string;
}

/** A functional model with the layers of models in their places. @param path names of the models around it */
function flat(
  config: Config,
  path: readonly string[],
  subject: string,
  budget: { uses: number },
  depth: number,
  frozen = false,
): Flat {
  const all = readAll(config, subject, depth);
  const nested = new Map<string, Nested>();
  const listed: KerasListed[] = [];
  for (const entry of all) {
    if (!isModel(entry.class_name)) {
      listed.push(listedAs(entry.name, path));
      continue;
    }
    const inside = [...path, entry.name];
    const within = entry.class_name === 'Sequential' ? asFunctional(entry.config, subject) : entry.config;
    const isFrozen = frozen || entry.config['trainable'] === false;
    const model = flat(within, inside, subject, budget, depth + 1, isFrozen);
    const called = `layer '${nameHere(inside)}'`;
    const uses = entry.inbound_nodes.map((node) => readUse(node, called));
    for (const { inputs } of uses)
      if (inputs.length !== model.inputs.size)
        refuse('ERR_VALUE', called, `${model.inputs.size} inputs`, inputs.length);
    nested.set(entry.name, { model, uses, subject: called });
    listed.push({ name: entry.name, className: entry.class_name, parts: model.listed });
  }

  const used = [...nested.values()].reduce((sum, { uses }) => sum + uses.length, 0);
  /** A value of the configuration as one of the layers that stay. */
  const resolved = (given: History): History => {
    let at = given;
    // A model may hand on what it reads: then it is that of a layer further below.
    for (let steps = 0; ; steps++) {
      const inner = nested.get(at.layer);
      if (!inner) return { ...at, layer: nameHere([...path, at.layer]) };
      const { model, uses, subject: called } = inner;
      const use = uses[at.node] ?? refuse('ERR_VALUE', called, 'uses that are there', `use ${at.node}`);
      const out =
        model.outputs[at.output] ??
        refuse('ERR_VALUE', called, 'outputs that are there', `output ${at.output}`);
      const input = model.inputs.get(key(out));
      if (input === undefined) return usedBy(out, model, at.node);
      if (steps > used) refuse('ERR_VALUE', called, 'connections without a loop', 'one');
      at = use.inputs[input] as History;
    }
  };

  const entries = all.flatMap((entry): Entry[] => {
    const inner = nested.get(entry.name);
    if (!inner) {
      budget.uses -= entry.inbound_nodes.length;
      const nodes = entry.inbound_nodes.map((node) => rewritten(node, resolved, Array.isArray(node), 0));
      return [{ ...renamed(entry, path, frozen), inbound_nodes: nodes }];
    }
    const { model, uses, subject: called } = inner;
    budget.uses -= uses.length * model.entries.reduce((sum, own) => sum + own.inbound_nodes.length, 0);
    if (budget.uses < 0) refuse('ERR_VALUE', called, `at most ${MOST_USES} uses of layers in all`, 'more');
    const starts = new Set([...model.inputs.keys()].map((own) => own.slice(0, own.indexOf(' '))));
    return model.entries
      .filter(({ name }) => !starts.has(name))
      .map((own) => ({
        ...own,
        inbound_nodes: uses.flatMap((use, k) =>
          own.inbound_nodes.map((node) => useOf(node, model, use, k, resolved)),
        ),
      }));
  });
  const list = (given: unknown) =>
    (historyOf(given) ? [given] : Object.values(Object(given) as object)).map(
      (end) => historyOf(end) ?? refuse('ERR_VALUE', subject, '[layer, use, output]', quoted(end)),
    );
  const firsts = new Set(list(config['output_layers']).flatMap((end) => (end.node === 0 ? end.layer : [])));
  const counted = new Set(
    all.flatMap(({ class_name, name }) =>
      isKerasFunctional({ class_name }) && !firsts.has(name) ? name : [],
    ),
  );
  /** Keras counts the making of a functional model as its first use, where outputs of another are told. */
  const resolvedEnd = (end: History) =>
    resolved(counted.has(end.layer) ? { ...end, node: end.node - 1 } : end);
  const ends = (given: unknown) => rewritten(given, resolvedEnd, true, 0);
  const [inputs, outputs] = ['input_layers', 'output_layers'].map((key) =>
    list(config[key]).map(resolvedEnd),
  ) as [History[], History[]];
  return {
    entries,
    counts: new Map(entries.map(({ name, inbound_nodes }) => [name, inbound_nodes.length])),
    inputs: new Map(inputs.map((at, i) => [key(at), i])),
    outputs,
    listed,
    ends,
  };
}

/** Names here have no spaces. */
const key = ({ layer, node, output }: History) => `${layer} ${node} ${output}`;

/** A value of a model as one of its use `k`. */
function usedBy(at: History, { counts }: Flat, k: number): History {
  return { ...at, node: k * (counts.get(at.layer) ?? 0) + at.node };
}

/** Use `k` of a model: what one use of a layer in it becomes. */
function useOf(
  node: unknown,
  model: Flat,
  { inputs, masks }: ModelUse,
  k: number,
  resolved: (at: History) => History,
): unknown {
  let readsInput = false;
  const moved = rewritten(
    node,
    (at) => {
      const input = model.inputs.get(key(at));
      if (input === undefined) return usedBy(at, model, k);
      readsInput = true;
      return resolved(inputs[input] as History);
    },
    Array.isArray(node),
    0,
  );
  // A call that Keras hands no mask on to has none here either.
  if (masks.length === 0 || !readsInput || readUse(moved, 'a layer').dropsMask) return moved;
  // They come with what is read: what reads it has them.
  const { kwargs, ...rest } = Object(moved) as { kwargs?: Record<string, unknown> };
  const around = [kwargs?.[MASKS_AROUND], ...masks.map(resolved).map(tensorOf)];
  return { ...rest, kwargs: { ...kwargs, [MASKS_AROUND]: around } };
}

function tensorOf({ layer, node, output }: History): object {
  return { class_name: '__keras_tensor__', config: { keras_history: [layer, node, output] } };
}

/** Further than the arguments of any layer are. */
const DEEPEST_VALUE = 32;

/** A JSON value with other places in it. @param bare whether lists of a name and two numbers are places, as in Keras 2 */
function rewritten(given: unknown, to: (at: History) => History, bare: boolean, depth: number): unknown {
  if (typeof given !== 'object' || given === null) return given;
  if (depth > DEEPEST_VALUE)
    refuse('ERR_VALUE', 'inbound_nodes', 'arguments that are tensors', 'lists in lists');
  const inside = (part: unknown) => rewritten(part, to, bare, depth + 1);
  if (Array.isArray(given)) {
    const at = bare ? historyOf(given) : undefined;
    if (!at) return given.map(inside);
    const { layer, node, output } = to(at);
    return [layer, node, output, ...given.slice(3).map(inside)];
  }
  const { class_name, config } = given as { class_name?: unknown; config?: unknown };
  if (class_name !== '__keras_tensor__')
    return Object.fromEntries(Object.entries(given).map(([key, part]) => [key, inside(part)]));
  const { keras_history, ...rest } = Object(config) as Record<string, unknown>;
  const at = historyOf(keras_history);
  if (!at) return given;
  const { layer, node, output } = to(at);
  return { class_name, config: { ...rest, keras_history: [layer, node, output] } };
}
