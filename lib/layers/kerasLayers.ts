import { ANY, type Harmless, isGiven, withoutHarmless } from '../config';
import { toCamelCase } from '../names';
import { activationOf } from './kerasActivations';
import { subjectOf } from './options';

/** Layer options of Keras that change nothing here, with the values at which that is so. */
const harmless: Harmless = {
  dtype: ['float32'],
  autocast: ANY,
  // How Keras computes, not what.
  unroll: ANY,
  implementation: ANY,
  useCudnn: ANY,
  returnState: [false],
  timeMajor: [false],
  sparse: [false],
  ragged: [false],
  optional: [false],
  dataFormat: ['channels_last'],
  groups: [1],
  keepdims: [false],
  rmsScaling: [false],
  renorm: [false],
  // Of no meaning without it.
  renormClipping: ANY,
  renormMomentum: ANY,
  synchronized: [false],
  loraRank: [null],
  quantizationConfig: [null],
};

/** Cells of Keras, by its names, in lower case. */
const cellTypes: Readonly<Record<string, string>> = {
  simplernncell: 'simpleRNN',
  lstmcell: 'lstm',
  grucell: 'gru',
  stackedrnncells: 'stacked',
};

/** A cell as Keras writes it, in the terms of this library; anything else as it is. @param frozen whether its layer is, and it with that */
function cellOf(given: unknown, subject: string, frozen: boolean): unknown {
  const { class_name, config } = Object(given) as { class_name?: unknown; config?: unknown };
  if (typeof class_name !== 'string' || typeof config !== 'object' || config === null) return given;
  const type = cellTypes[toCamelCase(class_name).toLowerCase()] ?? class_name;
  if (type === 'stacked') {
    const { cells } = config as { cells?: unknown };
    const parts = Array.isArray(cells) ? cells.map((cell) => cellOf(cell, subject, frozen)) : cells;
    return { type, config: { cells: parts } };
  }
  const known: Harmless = frozen ? { ...harmlessForCell, trainable: ANY } : harmlessForCell;
  const { name: _, ...rest } = withoutHarmless(config as Record<string, unknown>, known, `${subject}: cell`);
  const options = Object.entries(rest)
    .filter(([key, value]) => isGiven(key, value))
    .map(([key, value]) => [
      key,
      isActivation(key) ? activationOf(value, `${subject}: cell: ${key}`) : value,
    ]);
  return { type, config: Object.fromEntries(options) };
}

/** Whether a wrapper is frozen because all that is inside is, which Keras says of each apart. */
function frozenInside(config: object): boolean {
  const parts = ['layer', 'backward_layer'].flatMap((key) => {
    const { class_name, config: own } = Object((config as Record<string, unknown>)[key]) as Record<
      string,
      unknown
    >;
    return class_name === undefined ? [] : [(Object(own) as { trainable?: unknown }).trainable === false];
  });
  return parts.length > 0 && parts.every((frozen) => frozen);
}

const isActivation = (option: string) => /^(recurrent)?activation$/i.test(toCamelCase(option));

/** What an input layer reads is more than a precision. */
const { dtype: _, ...harmlessForInput } = harmless;
/** Options of cells that are of layers here. */
const harmlessForCell: Harmless = { ...harmless, dropout: [0], trainable: [true], seed: ANY };
/** Recurrent layers can give their states. */
const { returnState: __, ...harmlessForRecurrent } = harmless;

/**
 * A layer's configuration as Keras writes it, in the terms of this library. Options at values that mean nothing here go; null, which
 * Keras writes for what was not given, stays only where it says something (no activation).
 * @throws ERR_VALUE, naming the option, for a value that cannot be honoured
 */
export function fromKeras<C extends object>(type: string, config: C): C {
  // Left for the layer to refuse.
  if (typeof config !== 'object' || config === null || Array.isArray(config)) return config;
  const isInput = /^input/i.test(type);
  const subject = subjectOf(toCamelCase(type), config);
  const isRecurrent = /^(simple_?rnn|lstm|gru|rnn|conv_?lstm[12]d)$/i.test(type);
  const known = isInput ? harmlessForInput : isRecurrent ? harmlessForRecurrent : harmless;
  const left = withoutHarmless(config, known, subject);
  const options: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(left)) {
    const camel = toCamelCase(key);
    if (!isGiven(key, value)) continue;
    options[camel === 'batchShape' ? 'batchInputShape' : key] =
      camel === 'cell'
        ? cellOf(value, subject, (config as { trainable?: unknown }).trainable === false)
        : isActivation(key)
          ? activationOf(value, `${subject}: ${key}`)
          : value;
  }
  if (/^(bidirectional|time_?distributed)$/i.test(type) && frozenInside(config)) options['trainable'] = false;
  // A fixed length, in Keras 2 an option of the embedding.
  const { input_length, inputLength = input_length, ...rest } = options;
  if (inputLength === undefined) return rest as C;
  const shaped = Object.keys(rest).some((key) => /^(batch)?inputshape$/i.test(toCamelCase(key)));
  return (shaped ? rest : { ...rest, inputShape: [inputLength] }) as C;
}
