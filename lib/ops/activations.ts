import { readConfig, readSpec } from '../config';
import { refuse } from '../errors';
import { resolveName } from '../names';
import { type ActivationKind, activationCodes } from '../plan/codes';
import type { ActivationAttrs } from '../plan/types';

/** A name, or a name with its parameter. Nothing (null, undefined) stands for linear. */
export type ActivationSpec =
  | ActivationKind
  | 'swish'
  | (string & {})
  | { type: string; alpha?: number; negativeSlope?: number; b?: number; threshold?: number }
  | ({ class_name: string } & Record<string, unknown>)
  | null;

const kinds = Object.keys(activationCodes) as ActivationKind[];
/** Names that Keras or others use for the same function. */
const aliases: Readonly<Record<string, ActivationKind>> = { swish: 'silu', hardSwish: 'hardSilu' };
/** The parameter of an activation, as attributes have it: `alpha`. */
interface Parameter {
  /** Keras's name of it, which is understood beside `alpha`. */
  readonly name: string;
  /** Keras's default; without one it has to be given. */
  readonly usual?: number;
  readonly wanted: string;
  fits(value: number): boolean;
}

// Derivatives of elu and leakyRelu are computed from the output, whose sign tells the branch only with such a parameter.
const notNegative = { wanted: 'a finite number, 0 or more', fits: (v: number) => v >= 0 };
const positive = { wanted: 'a finite number above 0', fits: (v: number) => v > 0 };
const parameters: Readonly<Partial<Record<ActivationKind, Parameter>>> = {
  elu: { name: 'alpha', usual: 1, ...notNegative },
  leakyRelu: { name: 'negativeSlope', usual: 0.2, ...positive },
  celu: { name: 'alpha', usual: 1, ...positive },
  squareplus: { name: 'b', usual: 4, ...positive },
  softShrink: { name: 'threshold', usual: 0.5, ...notNegative },
  hardShrink: { name: 'threshold', usual: 0.5, ...notNegative },
  threshold: { name: 'threshold', wanted: 'a finite number', fits: () => true },
};

/** An activation from what the user gave. @throws ERR_VALUE with the nearest known name */
export function resolveActivation(spec: unknown, subject: string): ActivationAttrs {
  if (spec === null || spec === undefined) return { kind: 'linear', alpha: 0 };
  const { type, options } = readSpec(spec, subject);
  const name = resolveName(type, [...kinds, ...Object.keys(aliases)], subject);
  const kind = aliases[name] ?? (name as ActivationKind);
  const parameter = parameters[kind];
  const own = parameter?.name ?? 'alpha';
  const read = readConfig<string>(options, own === 'alpha' ? ['alpha'] : ['alpha', own], subject);
  if (read['alpha'] !== undefined && own !== 'alpha' && read[own] !== undefined)
    refuse('ERR_VALUE', subject, `'alpha' or '${own}'`, 'both');
  const given = read['alpha'] ?? read[own];
  if (parameter === undefined) {
    if ((given ?? 0) !== 0) refuse('ERR_VALUE', subject, `no alpha for '${kind}'`, given);
    return { kind, alpha: 0 };
  }
  const alpha = given ?? parameter.usual;
  if (typeof alpha !== 'number' || !Number.isFinite(alpha) || !parameter.fits(alpha)) {
    const what = read['alpha'] === undefined ? own : 'alpha';
    refuse('ERR_VALUE', `${subject}: ${what}`, parameter.wanted, alpha ?? 'nothing');
  }
  return { kind, alpha: alpha as number };
}

/** The reverse, for configurations: just the name where the parameter is the default. */
export function activationConfig({ kind, alpha }: ActivationAttrs): string | { type: string; alpha: number } {
  const usual = parameters[kind] ? parameters[kind]?.usual : 0;
  return alpha === usual ? kind : { type: kind, alpha };
}
