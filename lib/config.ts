import { DeepRnnError, quoted, refuse } from './errors';
import { nearestName, toCamelCase } from './names';

/**
 * An options object with its keys in camelCase: Keras's snake_case names are understood, unknown ones refused.
 * @throws ERR_VALUE with the nearest known option, or when an option is given in both spellings
 */
export function readConfig<K extends string>(
  options: unknown,
  known: readonly K[],
  subject: string,
): Partial<Record<K, unknown>> {
  if (options === undefined) return {};
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    refuse('ERR_VALUE', subject, 'an object of options', quoted(options));
  }
  const read: Partial<Record<K, unknown>> = {};
  for (const [key, value] of Object.entries(options as object)) {
    const name =
      known.find((k) => k === key) ?? known.find((k) => k.toLowerCase() === toCamelCase(key).toLowerCase());
    if (name === undefined) {
      const nearest = nearestName(key, known);
      const takes = known.length > 0 ? known.join(', ') : 'no options';
      const hint = nearest === undefined ? `It takes ${takes}.` : `Did you mean '${nearest}'?`;
      throw new DeepRnnError('ERR_VALUE', `${subject}: unknown option '${key}'. ${hint}`);
    }
    if (name in read)
      throw new DeepRnnError('ERR_VALUE', `${subject}: option '${name}' is given twice, also as '${key}'.`);
    if (value !== undefined) read[name] = value;
  }
  return read;
}
