import { readConfig, readSpec, type SpecConfig } from '../config';
import { quoted, refuse } from '../errors';
import { resolveName } from '../names';
import type { ConstraintKind } from '../plan/codes';
import type { Shape } from '../tensors/tensor';

/** What a weight is brought back to after every optimizer step. */
export interface Constraint {
  readonly kind: ConstraintKind;
  /** The axis along which norms are taken: 0 of a kernel gives one norm per output unit. */
  readonly axis: number;
  readonly limit: number;
  getConfig(): Record<string, unknown>;
}

function axisOption(value: unknown, subject: string): number {
  if (value !== 0 && value !== 1) refuse('ERR_VALUE', `${subject}: axis`, '0 or 1', quoted(value));
  return value as number;
}

export const constraints = {
  /** Norms of at most `maxValue` (default 2) along `axis` (default 0). Srivastava et al. (2014). */
  maxNorm: (config: { maxValue?: number; axis?: number } = {}): Constraint => {
    const read = readConfig(config, ['maxValue', 'axis'], 'constraints.maxNorm');
    const limit = read.maxValue ?? 2;
    if (typeof limit !== 'number' || !(limit > 0) || !Number.isFinite(limit)) {
      refuse('ERR_VALUE', 'constraints.maxNorm: maxValue', 'a finite number above 0', quoted(limit));
    }
    const axis = axisOption(read.axis ?? 0, 'constraints.maxNorm');
    return {
      kind: 'maxNorm',
      axis,
      limit: limit as number,
      getConfig: () => ({ type: 'maxNorm', maxValue: limit, axis }),
    };
  },
  /** Norms of 1 along `axis` (default 0). */
  unitNorm: (config: { axis?: number } = {}): Constraint => {
    const axis = axisOption(
      readConfig(config, ['axis'], 'constraints.unitNorm').axis ?? 0,
      'constraints.unitNorm',
    );
    return { kind: 'unitNorm', axis, limit: 1, getConfig: () => ({ type: 'unitNorm', axis }) };
  },
  /** No negative values. */
  nonNeg: (config: object = {}): Constraint => {
    readConfig(config, [], 'constraints.nonNeg');
    return { kind: 'nonNeg', axis: 0, limit: 0, getConfig: () => ({ type: 'nonNeg' }) };
  },
};

/** @throws ERR_VALUE when a weight is to be constrained along an axis that it does not have */
export function proveConstraint(
  subject: string,
  weight: { name: string; shape: Shape; constraint?: Constraint | undefined },
): void {
  const { name, shape, constraint } = weight;
  const fits = shape.length > 2 ? constraint?.axis === 0 : (constraint?.axis ?? 0) < shape.length;
  if (!constraint || fits) return;
  const wanted = `a constraint along axis 0, the only one for its shape [${shape.join(', ')}]`;
  refuse('ERR_VALUE', `${subject}: ${name}`, wanted, `axis ${constraint.axis}`);
}

export type ConstraintSpec = ConstraintKind | (string & {}) | Constraint | SpecConfig | null;

/** A constraint from its name, its configuration `{ type, … }` or Keras's, or itself; nothing for null or undefined. */
export function resolveConstraint(spec: unknown, subject: string): Constraint | undefined {
  if (spec === undefined || spec === null) return undefined;
  if (typeof spec === 'object' && typeof (spec as Constraint).getConfig === 'function')
    return spec as Constraint;
  const { type, options } = readSpec(spec, subject);
  const names = Object.keys(constraints) as (keyof typeof constraints)[];
  return constraints[resolveName(type, names, subject)](options);
}
