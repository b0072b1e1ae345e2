import { quoted, refuse, show } from './errors';

/** camelCase of a Keras spelling: `categorical_crossentropy` and `CategoricalCrossentropy` → `categoricalCrossentropy`. */
export function toCamelCase(name: string): string {
  const joined = name.replace(/[_-]+([a-zA-Z0-9])/g, (_, c: string) => c.toUpperCase());
  const lowered = joined.replace(/^[A-Z]+(?=[A-Z][a-z]|$)|^[A-Z]/, (head) => head.toLowerCase());
  return lowered;
}

/** The known name nearest to `given`, when it is near enough to be what was meant. */
export function nearestName(given: string, known: readonly string[]): string | undefined {
  const { distance } = require('fastest-levenshtein') as typeof import('fastest-levenshtein');
  const wanted = toCamelCase(given).toLowerCase();
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const name of known) {
    const d = distance(wanted, name.toLowerCase());
    if (d < least) {
      least = d;
      best = name;
    }
  }
  return best !== undefined && least <= Math.max(2, Math.ceil(best.length / 3)) ? best : undefined;
}

/**
 * The known name that is meant: itself, or its Keras spelling (snake_case, class name), in any case of letters.
 * @throws ERR_VALUE that lists the known names and suggests the nearest
 */
export function resolveName<T extends string>(given: unknown, known: readonly T[], subject: string): T {
  if (typeof given === 'string') {
    const wanted = toCamelCase(given).toLowerCase();
    const found = known.find((name) => name === given) ?? known.find((name) => name.toLowerCase() === wanted);
    if (found !== undefined) return found;
    const nearest = nearestName(given, known);
    refuse(
      'ERR_VALUE',
      subject,
      `one of ${known.join(', ')}`,
      `'${given}'`,
      nearest === undefined ? undefined : `Did you mean '${nearest}'?`,
    );
  }
  return refuse('ERR_VALUE', subject, `one of ${known.join(', ')}`, show(given));
}

/**
 * Proves the name of something that is defined anew.
 * @param defined names that were defined so before
 * @param known what the library has, by name; Keras's spelling of such a name is that name
 * @throws ERR_VALUE for a name that is none, or is taken
 */
export function requireNewName(
  name: unknown,
  subject: string,
  defined: ReadonlyMap<string, unknown>,
  known: readonly object[] = [],
): void {
  if (typeof name !== 'string' || !/^[\w.-]+$/.test(name))
    refuse('ERR_VALUE', subject, 'a name of letters and digits', quoted(name));
  const spellings = [name as string, toCamelCase(name as string)];
  if (defined.has(name as string) || known.some((names) => spellings.some((own) => own in names)))
    refuse('ERR_VALUE', subject, 'a name that is not taken', quoted(name));
}
