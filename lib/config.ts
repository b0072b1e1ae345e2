import { DeepRnnError, quoted, refuse, show } from './errors';
import { nearestName, toCamelCase } from './names';

/** Options that null sets to "none", which is not their default. */
const nullSaysNone = ['activation', 'recurrentActivation', 'classAggregation', 'mergeMode'];

/** Whether an option, in either spelling, is given: null says that it is not, as in Keras, but for those of {@link nullSaysNone}. */
export function isGiven(option: string, value: unknown): boolean {
  return value !== undefined && (value !== null || nullSaysNone.includes(toCamelCase(option)));
}

/**
 * An options object with its keys in camelCase: Keras's snake_case names are understood, unknown ones refused. Options that are not
 * {@link isGiven} are left out.
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
  const spelt = new Map<K, string>();
  for (const [key, value] of Object.entries(options as object)) {
    const name =
      known.find((k) => k === key) ?? known.find((k) => k.toLowerCase() === toCamelCase(key).toLowerCase());
    if (name === undefined) {
      const nearest = nearestName(key, known);
      const takes = known.length > 0 ? known.join(', ') : 'no options';
      const hint = nearest === undefined ? `It takes ${takes}.` : `Did you mean '${nearest}'?`;
      throw new DeepRnnError('ERR_VALUE', `${subject}: unknown option '${key}'. ${hint}`);
    }
    const before = spelt.get(name);
    if (before !== undefined) {
      const other = key === name ? before : key;
      throw new DeepRnnError('ERR_VALUE', `${subject}: option '${name}' is given twice, also as '${other}'.`);
    }
    if (!isGiven(name, value)) continue;
    spelt.set(name, key);
    read[name] = value;
  }
  return read;
}

/** Reads a switch. @throws ERR_VALUE unless it is true or false */
export function flagOption(value: unknown, fallback: boolean, subject: string): boolean {
  const flag = value ?? fallback;
  if (typeof flag !== 'boolean') refuse('ERR_VALUE', subject, 'true or false', quoted(flag));
  return flag as boolean;
}

/** Reads a share, 0 where none is given. @throws ERR_VALUE unless it is from 0 to below 1 */
export function shareOption(value: unknown, subject: string): number {
  const share = value ?? 0;
  if (typeof share !== 'number' || !(share >= 0 && share < 1))
    refuse('ERR_VALUE', subject, 'a number from 0 to below 1', quoted(share));
  return share as number;
}

/** Reads a number, 1 where none is given. @throws ERR_VALUE unless it is finite and above 0 */
export function positiveOption(value: unknown, subject: string): number {
  const number = value ?? 1;
  if (typeof number !== 'number' || !(number > 0) || !Number.isFinite(number))
    refuse('ERR_VALUE', subject, 'a finite number above 0', quoted(number));
  return number as number;
}

/** @throws ERR_VALUE for what is no file name */
export function requirePath(path: unknown, subject: string): void {
  if (typeof path !== 'string' || path === '') refuse('ERR_VALUE', subject, 'a file name', quoted(path));
}

/** Accepted with every value. */
export const ANY = 'any value';

/** Options of Keras, in camelCase, that change nothing here, each with the values at which that is so. */
export type Harmless = Readonly<Record<string, readonly unknown[] | typeof ANY>>;

/** Keras's name of a precision, also where it is written as a policy. */
function plainDType(value: unknown): unknown {
  const policy = (value as { config?: { name?: unknown } } | null)?.config?.name;
  return policy ?? value;
}

/** Keras's options without those that say nothing: null, and the harmless ones. @throws ERR_VALUE for a value that cannot be honoured */
export function withoutHarmless<O extends object>(options: O, harmless: Harmless, subject: string): O {
  // Left for readConfig to refuse.
  if (typeof options !== 'object' || options === null || Array.isArray(options)) return options;
  const left: Record<string, unknown> = {};
  for (const [key, given] of Object.entries(options)) {
    const name = toCamelCase(key);
    const accepted = Object.hasOwn(harmless, name) ? harmless[name] : undefined;
    const value = name === 'dtype' ? plainDType(given) : given;
    if (accepted === undefined) left[key] = given;
    else if (accepted !== ANY && value !== null && !accepted.includes(value))
      refuse(
        'ERR_VALUE',
        `${subject}: ${key}`,
        accepted.map((v) => show(quoted(v))).join(' or '),
        quoted(value),
      );
  }
  return left as O;
}

/** A part by name with its options: `{ type, …options }`, or Keras's `{ class_name, config }`. */
export type SpecConfig = ({ type: string } | { class_name: string }) & Record<string, unknown>;

/**
 * A part and its options, from a name, from `{ type, …options }`, or from Keras's `{ class_name, config }`, in which null stands for not
 * given.
 */
export function readSpec(
  spec: unknown,
  subject: string,
  harmless: Harmless = {},
): { type: unknown; options: Record<string, unknown> } {
  if (typeof spec !== 'object' || spec === null) return { type: spec, options: {} };
  const { className, class_name = className, config } = spec as Record<string, unknown>;
  if (class_name === undefined) {
    const { type, ...options } = spec as Record<string, unknown>;
    return { type: type ?? spec, options };
  }
  // Plain functions are written as { class_name: 'function', config: 'relu' }.
  if (typeof config === 'string') return { type: config, options: {} };
  const given = Object.entries((config ?? {}) as object).filter(([key, value]) => isGiven(key, value));
  return { type: class_name, options: withoutHarmless(Object.fromEntries(given), harmless, subject) };
}
