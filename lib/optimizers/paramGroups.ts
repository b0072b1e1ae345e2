import { readConfig } from '../config';
import { DeepRnnError, quoted, refuse } from '../errors';
import { number } from './options';

/** Weights that are trained in another way than the others. */
export interface ParamGroup {
  /**
   * Which weights, by their names `<layer>/<weight>`: a pattern in which `*` stands for any characters, `'encoder/*'`, or one
   * without a slash for all weights of the layers it fits, `'embedding'`; a regular expression, also as text between slashes; or a
   * list of these. A weight that several groups match belongs to the first.
   */
  match: string | RegExp | readonly (string | RegExp)[];
  /** What the learning rate is multiplied by: 0 leaves the weights as they are. Default 1. */
  learningRateFactor?: number;
  /** In place of the optimizer's, of all weights of the group: what names a bias means it. */
  weightDecay?: number;
}

/** A group as the optimizer keeps it. */
export interface Group {
  /** As the configuration has it: text. */
  readonly patterns: readonly string[];
  readonly learningRateFactor: number;
  readonly weightDecay: number | undefined;
  matches(name: string): boolean;
}

/** @throws ERR_VALUE for anything that is no group */
export function readParamGroups(given: unknown, type: string): readonly Group[] {
  if (given === undefined) return [];
  const subject = `optimizers.${type}: paramGroups`;
  if (!Array.isArray(given)) refuse('ERR_VALUE', subject, 'an array of groups', quoted(given));
  return (given as unknown[]).map((group, i) =>
    readGroup(group, `${subject}[${i}]`, `${type}: paramGroups[${i}]`),
  );
}

function readGroup(given: unknown, subject: string, type: string): Group {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    refuse('ERR_VALUE', subject, '{ match, learningRateFactor, weightDecay }', quoted(given));
  const o = readConfig(given, ['match', 'learningRateFactor', 'weightDecay'], subject);
  const patterns = (Array.isArray(o.match) ? (o.match as unknown[]) : [o.match]).map((pattern) => {
    if (pattern instanceof RegExp) return String(pattern);
    if (typeof pattern !== 'string' || pattern === '')
      refuse('ERR_VALUE', `${subject}: match`, 'a pattern of names, or a list of patterns', quoted(pattern));
    return pattern as string;
  });
  if (patterns.length === 0)
    refuse('ERR_VALUE', `${subject}: match`, 'a pattern of names, or a list of patterns', '[]');
  const wanted = 'a finite number, 0 or more';
  const fits = (v: number) => v >= 0;
  const tests = patterns.map((pattern) => testOf(pattern, `${subject}: match`));
  return {
    patterns,
    learningRateFactor: number(o, 'learningRateFactor', 1, type, wanted, fits),
    weightDecay: o.weightDecay === undefined ? undefined : number(o, 'weightDecay', 0, type, wanted, fits),
    matches: (name) => tests.some((test) => test.test(name)),
  };
}

/** `/source/flags` is a regular expression; in other patterns `*` stands for any characters. */
function testOf(pattern: string, subject: string): RegExp {
  const [, source, flags] = /^\/(.*)\/([a-z]*)$/.exec(pattern) ?? [];
  if (source !== undefined) {
    try {
      // Of a global or sticky one `test` would depend on what was tested before.
      return new RegExp(source, flags?.replace(/[gy]/g, ''));
    } catch {
      return refuse('ERR_VALUE', subject, 'a regular expression', `'${pattern}'`);
    }
  }
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '.*');
  return new RegExp(`^${pattern.includes('/') ? escaped : `${escaped}/.*`}$`);
}

/** The groups as options make them again: JSON values only. */
export function groupConfigs(groups: readonly Group[]): Record<string, unknown>[] {
  return groups.map(({ patterns, learningRateFactor, weightDecay }) => ({
    match: patterns.length === 1 ? patterns[0] : [...patterns],
    ...(learningRateFactor === 1 ? {} : { learningRateFactor }),
    ...(weightDecay === undefined ? {} : { weightDecay }),
  }));
}

/** @throws ERR_VALUE for a group that none of the weights is in, which a misspelt name makes */
export function checkParamGroups(groups: readonly Group[], type: string, names: readonly string[]): void {
  groups.forEach((group, i) => {
    if (names.some((name) => group.matches(name))) return;
    throw new DeepRnnError(
      'ERR_VALUE',
      `optimizers.${type}: paramGroups[${i}]: match: expected the name of a weight, got ${group.patterns.map((p) => `'${p}'`).join(', ')}. ` +
        `The model has ${names.join(', ')}.`,
    );
  });
}
