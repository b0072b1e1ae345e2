import { quoted, refuse } from '../errors';
import { splitSeed } from '../tensors/random';

/** The largest number in a plan. */
export const MOST = 2 ** 31 - 1;

/** Reads a count such as `units`. @throws ERR_VALUE unless it is a positive integer */
export function countOption(value: unknown, subject: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 1)
    refuse('ERR_VALUE', subject, 'a positive integer', quoted(value));
  return value as number;
}

/** Reads a dropout rate. @throws ERR_VALUE unless it is in [0, 1) */
export function rateOption(value: unknown, subject: string): number {
  const rate = value ?? 0;
  if (typeof rate !== 'number' || !(rate >= 0 && rate < 1))
    refuse('ERR_VALUE', subject, 'a rate from 0 to below 1', quoted(rate));
  return rate as number;
}

/** Reads a standard deviation. @throws ERR_VALUE unless it is finite and at least 0 */
export function stddevOption(value: unknown, subject: string): number {
  if (typeof value !== 'number' || !(value >= 0 && Number.isFinite(value)))
    refuse('ERR_VALUE', subject, 'a finite number, 0 or more', quoted(value));
  return value as number;
}

/**
 * Reads a seed; null, which Keras writes, stands for none.
 * @throws ERR_VALUE unless it is an integer in 0 … 2^53−1
 */
export function seedOption(value: unknown, subject: string): number | undefined {
  if (value === undefined || value === null) return undefined;
  splitSeed(value as number, subject);
  return value as number;
}

/** Options that every layer takes. */
export const commonOptions = ['name', 'trainable', 'inputShape', 'batchInputShape'] as const;

/** How messages call a layer while its options are read. */
export function subjectOf(type: string, options: { name?: unknown } | undefined): string {
  return typeof options?.name === 'string' ? `layer '${options.name}'` : `layers.${type}`;
}
