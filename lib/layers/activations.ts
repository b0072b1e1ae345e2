import { readConfig } from '../config';
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
  | null;

const kinds = Object.keys(activationCodes) as ActivationKind[];
/** Names that Keras or others use for the same function. */
const aliases: Readonly<Record<string, ActivationKind>> = { swish: 'silu', hardSwish: 'hardSilu' };
/** Keras's defaults: `elu(alpha=1.0)`, `leaky_relu(negative_slope=0.2)`. */
const defaultAlpha: Readonly<Partial<Record<ActivationKind, number>>> = { elu: 1, leakyRelu: 0.2 };

/** An activation from what the user gave. @throws ERR_VALUE with the nearest known name */
export function resolveActivation(spec: unknown, subject: string): ActivationAttrs {
  if (spec === null || spec === undefined) return { kind: 'linear', alpha: 0 };
  const isObject = typeof spec === 'object';
  const config = isObject ? readConfig(spec, ['type', 'alpha'], subject) : { type: spec };
  const name = resolveName(config.type, [...kinds, ...Object.keys(aliases)], subject);
  const kind = aliases[name] ?? (name as ActivationKind);
  const alpha = (config as { alpha?: unknown }).alpha ?? defaultAlpha[kind] ?? 0;
  if (typeof alpha !== 'number' || !Number.isFinite(alpha) || (kind === 'leakyRelu' && alpha <= 0)) {
    refuse(
      'ERR_VALUE',
      `${subject}: alpha`,
      kind === 'leakyRelu' ? 'a finite number above 0' : 'a finite number',
      alpha,
    );
  }
  return { kind, alpha: alpha as number };
}

/** The reverse, for configurations: just the name where the parameter is the default. */
export function activationConfig({ kind, alpha }: ActivationAttrs): string | { type: string; alpha: number } {
  return alpha === (defaultAlpha[kind] ?? 0) ? kind : { type: kind, alpha };
}
