import { ANY, type Harmless, nullSaysNone, withoutHarmless } from '../config';
import { toCamelCase } from '../names';
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

/** What an input layer reads is more than a precision. */
const { dtype: _, ...harmlessForInput } = harmless;
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
    if (value === null && !nullSaysNone(camel)) continue;
    options[camel === 'batchShape' ? 'batchInputShape' : key] = value;
  }
  // A fixed length, in Keras 2 an option of the embedding.
  const { input_length, inputLength = input_length, ...rest } = options;
  if (inputLength === undefined) return rest as C;
  const shaped = Object.keys(rest).some((key) => /^(batch)?inputshape$/i.test(toCamelCase(key)));
  return (shaped ? rest : { ...rest, inputShape: [inputLength] }) as C;
}
