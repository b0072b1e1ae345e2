import type { Fail } from './manifest';
import type { KerasLayer } from './topology';

/** The layer that does what a recurrence over such a cell does. */
const layersOf: Readonly<Partial<Record<string, string>>> = {
  SimpleRNNCell: 'SimpleRNN',
  LSTMCell: 'LSTM',
  GRUCell: 'GRU',
};

/** What a recurrence has beside its cell; it writes the options of a single cell between its own. */
const ownOptions = [
  'name',
  'trainable',
  'dtype',
  'batch_input_shape',
  'return_sequences',
  'return_state',
  'go_backwards',
  'stateful',
  'unroll',
];

/** A layer that was one of several cells, and how the names of its arrays tell it from the others. */
export interface StackedCell {
  readonly layer: string;
  /** The recurrence, which is the name of the last layer. */
  readonly rnn: string;
  readonly marks: readonly string[];
}

/**
 * A recurrence over cells (`RNN` of one, or of `StackedRNNCells`) as layers on each other, which compute the same: the last has its name. Any other
 * layer is itself.
 */
export function layersOfCells(layer: KerasLayer, fail: Fail, stacked: StackedCell[]): KerasLayer[] {
  if (layer.class_name !== 'RNN') return [layer];
  const own = Object.fromEntries(
    ownOptions.flatMap((key) => (key in layer.config ? [[key, layer.config[key]]] : [])),
  );
  const name = String(own['name']);
  const cells = cellsOf(layer.config['cell'], name, fail, 0);
  if (cells.length > 1 && own['return_state'] === true)
    fail(`layer '${name}' gives the states of several cells, expected one cell with return_state`);
  const { batch_input_shape, ...rest } = own;
  return cells.map(({ class_name, config }, i) => {
    const isLast = i === cells.length - 1;
    const named = isLast ? name : `${name}_${i}`;
    if (cells.length > 1)
      stacked.push({ layer: named, rnn: name, marks: [`RNNCell_${i}`, String(config['name'])] });
    return {
      class_name: layersOf[class_name] as string,
      config: {
        ...config,
        ...(i === 0 ? own : { ...rest, go_backwards: false }),
        ...(isLast ? {} : { return_sequences: true }),
        name: named,
        ...(config['trainable'] === false ? { trainable: false } : {}),
      },
    };
  });
}

/** Stacks in stacks. */
const MOST_DEEP = 16;

function cellsOf(cell: unknown, rnn: string, fail: Fail, depth: number): KerasLayer[] {
  const { class_name, config } = Object(cell) as Partial<KerasLayer>;
  if (typeof class_name !== 'string' || typeof config !== 'object' || config === null)
    return fail(`layer '${rnn}' has a cell that is not { class_name, config }`);
  if (class_name !== 'StackedRNNCells') {
    if (!Object.hasOwn(layersOf, class_name))
      fail(
        `layer '${rnn}' has a cell of the class '${class_name.slice(0, 60)}', expected ${Object.keys(layersOf).join(', ')}`,
      );
    return [{ class_name, config }];
  }
  const { cells } = config;
  if (!Array.isArray(cells) || cells.length === 0 || depth > MOST_DEEP)
    return fail(`layer '${rnn}' has a stack that is no list of cells`);
  return (cells as unknown[]).flatMap((own) => cellsOf(own, rnn, fail, depth + 1));
}

/** The parts of a recurrence as entries of a functional model; each reads what the one before it gives at the same call. */
export function entriesOfCells(
  entry: Record<string, unknown>,
  layers: readonly KerasLayer[],
  fail: Fail,
): Record<string, unknown>[] {
  const calls = entry['inbound_nodes'];
  if (
    layers.length > 1 &&
    (!Array.isArray(calls) || calls.some((call) => !Array.isArray(call) || call.length !== 1))
  )
    fail(
      `layer '${String(layers.at(-1)?.config['name'])}' of several cells is given more than its input, expected no states`,
    );
  return layers.map((layer, i) => {
    const before = layers[i - 1]?.config['name'];
    return {
      ...entry,
      ...layer,
      name: layer.config['name'],
      inbound_nodes: i === 0 ? calls : (calls as unknown[]).map((_, call) => [[before, call, 0, {}]]),
    };
  });
}
