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
  | { type: string; alpha?: number }
  | ({ class_name: string } & Record<string, unknown>)
  | null;

const kinds = Object.keys(activationCodes) as ActivationKind[];
/** Names that Keras or others use for the same function. */
const aliases: Readonly<Record<string, ActivationKind>> = { swish: 'silu', hardSwish: 'hardSilu' };
/** Keras's defaults: `elu(alpha=1.0)`, `leaky_relu(negative_slope=0.2)`. */
const defaultAlpha: Readonly<Partial<Record<ActivationKind, number>>> = { elu: 1, leakyRelu: 0.2 };

/** An activation from what the user gave. @throws ERR_VALUE with the nearest known name */
export function resolveActivation(spec: unknown, subject: string): ActivationAttrs {
  if (spec === null || spec === undefined) return { kind: 'linear', alpha: 0 };
  const { type, options } = readSpec(spec, subject);
  const name = resolveName(type, [...kinds, ...Object.keys(aliases)], subject);
  const kind = aliases[name] ?? (name as ActivationKind);
  const { alpha: given } = readConfig(options, ['alpha'], subject);
  const usual = defaultAlpha[kind];
  if (usual === undefined) {
    if ((given ?? 0) !== 0) refuse('ERR_VALUE', subject, `no alpha for '${kind}'`, given);
    return { kind, alpha: 0 };
  }
  // Derivatives are computed from the output, whose sign tells the branch only with such an alpha.
  const alpha = given ?? usual;
  const leaky = kind === 'leakyRelu';
  if (typeof alpha !== 'number' || !Number.isFinite(alpha) || (leaky ? alpha <= 0 : alpha < 0)) {
    const wanted = leaky ? 'a finite number above 0' : 'a finite number, 0 or more';
    refuse('ERR_VALUE', `${subject}: alpha`, wanted, alpha);
  }
  return { kind, alpha: alpha as number };
}

/** The reverse, for configurations: just the name where the parameter is the default. */
export function activationConfig({ kind, alpha }: ActivationAttrs): string | { type: string; alpha: number } {
  return alpha === (defaultAlpha[kind] ?? 0) ? kind : { type: kind, alpha };
}
