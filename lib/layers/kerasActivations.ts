import { ANY, type Harmless, readConfig, withoutHarmless } from '../config';
import { quoted, refuse } from '../errors';
import { toCamelCase } from '../names';

/** Options of every layer of Keras, which say nothing of an activation. */
const harmless: Harmless = { name: ANY, trainable: ANY, dtype: ['float32'], autocast: ANY };

type Reader = (options: Record<string, unknown>, subject: string, depth: number) => unknown;

/** More than anybody puts into one another. */
const DEEPEST = 8;

/** Layers of Keras that are functions, by their names in lower case, as activations here. */
const readers: Readonly<Record<string, Reader>> = {
  leakyrelu: (options, subject) => {
    // Keras 2 calls it alpha.
    const { alpha, negativeSlope = alpha ?? 0.3 } = readConfig(options, ['negativeSlope', 'alpha'], subject);
    return slope(negativeSlope);
  },
  elu: (options, subject) => {
    const { alpha = 1 } = readConfig(options, ['alpha'], subject);
    return { type: 'elu', alpha };
  },
  relu: (options, subject) => {
    const {
      maxValue,
      negativeSlope = 0,
      threshold = 0,
    } = readConfig(options, ['maxValue', 'negativeSlope', 'threshold'], subject);
    const wayOut = 'layers.relu has them all.';
    if (threshold !== 0 && (negativeSlope !== 0 || maxValue !== undefined))
      refuse('ERR_VALUE', subject, 'a ReLU with a threshold and nothing else', shown(options), wayOut);
    if (threshold !== 0) return { type: 'threshold', threshold };
    if (maxValue === undefined) return slope(negativeSlope);
    if (maxValue !== 6 || negativeSlope !== 0)
      refuse('ERR_VALUE', subject, 'a ReLU up to 6 and nothing else', shown(options), wayOut);
    return 'relu6';
  },
  softmax: (options, subject) => {
    const { axis = -1 } = readConfig(options, ['axis'], subject);
    if (axis !== -1) refuse('ERR_VALUE', `${subject}: axis`, '-1', quoted(axis));
    return 'softmax';
  },
  activation: (options, subject, depth) => {
    if (depth > DEEPEST) refuse('ERR_VALUE', subject, 'an activation', 'activations in activations');
    return activationOf(readConfig(options, ['activation'], subject).activation, subject, depth + 1);
  },
  prelu: (_, subject) =>
    refuse(
      'ERR_VALUE',
      subject,
      'a function without weights of its own',
      'a PReLU',
      'layers.prelu is a layer above.',
    ),
};

function slope(alpha: unknown): unknown {
  return alpha === 0 ? 'relu' : { type: 'leakyRelu', alpha };
}

function shown(options: Record<string, unknown>): string {
  return Object.entries(options)
    .map(([key, value]) => `${key}: ${String(quoted(value))}`)
    .join(', ');
}

/**
 * An activation that is a layer, as Keras writes it (`Dense(4, activation=LeakyReLU(0.1))`), in the terms of this library; anything else as it is.
 * @throws ERR_VALUE for one that is no activation here
 */
export function activationOf(given: unknown, subject: string, depth = 0): unknown {
  const { class_name, config } = Object(given) as { class_name?: unknown; config?: unknown };
  if (typeof class_name !== 'string' || typeof config !== 'object' || config === null) return given;
  const name = toCamelCase(class_name).toLowerCase();
  const read = Object.hasOwn(readers, name) ? readers[name] : undefined;
  if (!read) return given;
  return read(
    withoutHarmless(config as Record<string, unknown>, harmless, subject),
    `${subject}: ${class_name}`,
    depth,
  );
}
