import type { Callback } from '../callbacks/callback';
import { DeepRnnError, quoted, refuse } from '../errors';
import { resolveName } from '../names';

/*
 * Options that fit, evaluate and predict share, read the same way in all of them.
 */

/** @throws ERR_ABORTED when the signal has fired. */
export function throwIfAborted(caller: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortion(caller, signal);
}

function abortion(caller: string, signal: AbortSignal): DeepRnnError {
  return new DeepRnnError('ERR_ABORTED', `${caller}: aborted by its signal; the model stays usable.`, {
    cause: signal.reason,
  });
}

/** What `promise` gives, or ERR_ABORTED as soon as the signal fires: a source that never answers must not hold the model. */
export async function unlessAborted<T>(
  caller: string,
  signal: AbortSignal | undefined,
  promise: PromiseLike<T> | T,
): Promise<T> {
  if (!signal) return promise;
  throwIfAborted(caller, signal);
  let onAbort: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(abortion(caller, signal));
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Reads a positive whole number option. */
export function positiveInteger(subject: string, value: unknown, fallback: number): number {
  if (value === undefined) return fallback;
  if (!Number.isSafeInteger(value) || (value as number) < 1)
    refuse('ERR_VALUE', subject, 'a positive integer', quoted(value));
  return value as number;
}

/** @throws ERR_VALUE for anything that could never abort. No `instanceof`: a signal may come from another realm. */
export function checkSignal(caller: string, signal: unknown): void {
  if (signal === undefined) return;
  const { aborted, addEventListener } = (signal ?? {}) as Partial<AbortSignal>;
  if (typeof aborted !== 'boolean' || typeof addEventListener !== 'function')
    refuse('ERR_VALUE', `${caller}: signal`, 'an AbortSignal', quoted(signal));
}

/** How much is shown: Keras's numbers, its `'auto'`, and true and false for 1 and 0. */
export type Verbosity = 0 | 1 | 2 | 'auto' | boolean;

export function readVerbosity(caller: string, value: unknown = 'auto'): 0 | 1 | 2 | 'auto' {
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (value !== 0 && value !== 1 && value !== 2 && value !== 'auto')
    refuse('ERR_VALUE', `${caller}: verbose`, "0, 1, 2, 'auto', true or false", quoted(value));
  return value as 0 | 1 | 2 | 'auto';
}

const HOOKS = [
  'onTrainBegin',
  'onTrainEnd',
  'onEpochBegin',
  'onEpochEnd',
  'onBatchBegin',
  'onBatchEnd',
  'onGradients',
  'onEvaluateBegin',
  'onEvaluateBatchEnd',
  'onEvaluateEnd',
] as const satisfies readonly (keyof Callback)[];

/** A hook under another name would silently never be called: Keras's `onTrainBatchEnd`, `on_epoch_end`. */
function checkHooks(caller: string, callback: Callback): void {
  for (const hook of HOOKS) {
    const given: unknown = callback[hook];
    if (given !== undefined && typeof given !== 'function')
      refuse('ERR_VALUE', `${caller}: callbacks: ${hook}`, 'a function', quoted(given));
  }
  for (const name of Object.keys(callback)) {
    if (!/^on[A-Z_]/.test(name) || (HOOKS as readonly string[]).includes(name)) continue;
    const subject = `${caller}: callbacks: hook`;
    const meant = resolveName(name.replace(/^onTrainBatch/, 'onBatch'), HOOKS, subject);
    refuse('ERR_VALUE', subject, `one of ${HOOKS.join(', ')}`, quoted(name), `Did you mean '${meant}'?`);
  }
}

/** @throws ERR_VALUE for what are no callbacks, and for hooks that would never be called */
export function readCallbacks(caller: string, callbacks: unknown = []): readonly Callback[] {
  const isCallback = (c: unknown) => typeof c === 'object' && c !== null && !Array.isArray(c);
  if (!Array.isArray(callbacks) || !callbacks.every(isCallback))
    refuse('ERR_VALUE', `${caller}: callbacks`, 'an array of callbacks', quoted(callbacks));
  for (const callback of callbacks as Callback[]) checkHooks(caller, callback);
  return callbacks as Callback[];
}
