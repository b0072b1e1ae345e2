import { quoted, refuse } from '../errors';
import type { Logs } from './callback';

/** `{name}`, `{name:4}` (decimals), and the forms that Python writes: `{epoch:02d}`, `{val_loss:.4f}`, `{val_loss:07.3f}`. */
const FIELD = /\{(\w+)(?::(?:(?<decimals>\d+)|(?<width>\d*)(?:\.(?<places>\d+))?(?<kind>[df])))?\}/g;

const FORMS = '{name}, {name:4}, {name:02d} or {name:.4f}';

/** @throws ERR_VALUE for braces that would stay in the file's name, one file for all epochs */
export function checkTemplate(subject: string, path: unknown): void {
  if (typeof path !== 'string' || path === '') refuse('ERR_VALUE', subject, 'a file name', quoted(path));
  const left = /\{[^}]*\}?|\}/.exec((path as string).replace(FIELD, ''));
  if (left) refuse('ERR_VALUE', subject, `numbers written as ${FORMS}`, quoted(left[0]));
}

/** The template with its numbers filled in. @throws ERR_VALUE for a name that there is no number for */
export function fillIn(subject: string, template: string, values: Logs): string {
  return template.replace(FIELD, (field: string, name: string, ...rest: unknown[]) => {
    const value = values[name];
    if (value === undefined)
      return refuse('ERR_VALUE', subject, `names among ${Object.keys(values).join(', ')}`, field);
    const { decimals, width, places, kind } = rest[rest.length - 1] as Record<string, string | undefined>;
    if (kind === 'd' && !Number.isInteger(value))
      return refuse('ERR_VALUE', subject, `a whole number for ${field}`, value);
    // Six places are what Python's f writes where it is not told.
    const digits = decimals ?? (kind === 'f' ? (places ?? '6') : undefined);
    const written = digits === undefined ? String(value) : value.toFixed(Number(digits));
    return written.padStart(Number(width ?? 0), width?.startsWith('0') ? '0' : ' ');
  });
}
