/** What kind of failure a {@link DeepRnnError} reports. */
export type ErrorCode = 'ERR_SHAPE' | 'ERR_VALUE' | 'ERR_STATE' | 'ERR_DEVICE' | 'ERR_FILE' | 'ERR_ABORTED';

/** The one error type of the library. `message` names the layer or argument, what was expected and what came. */
export class DeepRnnError extends Error {
  override readonly name = 'DeepRnnError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The sentence all refusals share: `<subject>: expected <wanted>, got <got>. <wayOut>` */
export function refuse(
  code: ErrorCode,
  subject: string,
  wanted: string,
  got: unknown,
  wayOut?: string,
): never {
  throw new DeepRnnError(
    code,
    `${subject}: expected ${wanted}, got ${show(got)}.${wayOut ? ` ${wayOut}` : ''}`,
  );
}

/** A short, bounded rendering of any value for error messages; a string passes through unquoted, inside an array it is quoted. */
export function show(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) {
    const head = value
      .slice(0, 8)
      .map((v) => show(quoted(v)))
      .join(', ');
    return `[${head}${value.length > 8 ? ', …' : ''}]`;
  }
  if (ArrayBuffer.isView(value)) return `${value.constructor.name}(${(value as Uint8Array).length})`;
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return `function ${value.name || '(anonymous)'}`;
  if (typeof value === 'object')
    return value.constructor?.name === 'Object' ? 'an object' : `a ${value.constructor?.name}`;
  return String(value);
}

/** A value that a caller gave, for `refuse`: a string is quoted, so that '3' is told from 3. */
export function quoted(value: unknown): unknown {
  return typeof value === 'string' ? `'${value}'` : value;
}

/** `'a', 'b' or 'c'`, for what `refuse` expects. */
export function oneOf(names: readonly string[]): string {
  const shown = names.map((name) => `'${name}'`);
  return shown.length < 2 ? shown.join() : `${shown.slice(0, -1).join(', ')} or ${shown.at(-1)}`;
}

/** The message of whatever was thrown. No `instanceof`: errors of the system may come from another realm. */
export function reasonOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'message' in error
    ? String(error.message)
    : String(error);
}
