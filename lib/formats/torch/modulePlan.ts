import { quoted, refuse } from '../../errors';
import { countOption } from '../../layers/options';
import type { Shape, Tensor } from '../../tensors/tensor';

/** The shape of a module's array by its name without the prefix, where the state dict has it. */
export type ShapeOf = (key: string) => Shape | undefined;

/** One of our layers, and its weights from a module's arrays. */
export interface LayerPlan {
  readonly type: string;
  readonly config: Record<string, unknown>;
  readonly weights: (get: (key: string) => Tensor) => Record<string, Tensor>;
}

/** What a module is: the arrays it must have, and the layers that are made of it. */
export interface ModulePlan {
  readonly arrays: ReadonlyMap<string, Shape>;
  /** Names of arrays that may be there and mean nothing here. */
  readonly ignored?: readonly string[];
  readonly layers: readonly LayerPlan[];
  /** Features that it reads, where it says. */
  readonly inputWidth?: number;
  /** `'features'`: the last axis, whatever is before it. */
  readonly reads: 'ids' | 'sequence' | 'features';
  /** Features that it gives for those it reads; undefined where the shape says. */
  readonly widthAfter: (width: number | undefined) => number | undefined;
  /** The axis that it works over, counted from the batch's, where it says or should; only the last one will do. */
  readonly axis?: number | 'unsaid';
  /** Its options, all of them. */
  readonly resolved: Readonly<Record<string, unknown>>;
}

/**
 * A size that the description gives, or else the one of the arrays.
 * @throws ERR_VALUE where neither has one: that of a module whose arrays are missing is then anything, and they are named
 */
export function countOf(given: unknown, found: number | undefined, subject: string): number {
  if (given !== undefined) return countOption(given, subject);
  return found === undefined || found < 1 ? 1 : found;
}

/** A finite number, above 0. */
export function positiveOption(value: unknown, usual: number, subject: string): number {
  const v = value ?? usual;
  if (typeof v !== 'number' || !(v > 0 && Number.isFinite(v)))
    refuse('ERR_VALUE', subject, 'a finite number above 0', quoted(v));
  return v as number;
}
