import { type Constraint, resolveConstraint } from './constraints';
import { type Initializer, type InitializerSpec, resolveInitializer } from './initializers';
import { type Regularizer, resolveRegularizer } from './regularizers';

/** How a weight begins, and what holds it beside the loss of the data. */
export interface WeightOptions {
  readonly initializer: Initializer;
  readonly regularizer: Regularizer | undefined;
  readonly constraint: Constraint | undefined;
}

type OptionOf<N extends string> = `${N}${'Initializer' | 'Regularizer' | 'Constraint'}`;

/** What the options of weights are called: `kernelInitializer`, `kernelRegularizer`, `kernelConstraint`, … */
export function weightOptionNames<N extends string>(...weights: N[]): OptionOf<N>[] {
  return (['Initializer', 'Regularizer', 'Constraint'] as const).flatMap((kind) =>
    weights.map((name) => `${name}${kind}` as const),
  );
}

/**
 * Reads the options of weights.
 * @param fallbacks each weight's initializer where none is given
 * @throws ERR_VALUE, naming the option
 */
export function readWeightOptions<N extends string>(
  o: Partial<Record<string, unknown>>,
  fallbacks: Readonly<Record<N, InitializerSpec>>,
  subject: string,
): Record<N, WeightOptions> {
  const read = (name: N): WeightOptions => ({
    initializer: resolveInitializer(
      o[`${name}Initializer`] ?? fallbacks[name],
      `${subject}: ${name}Initializer`,
    ),
    regularizer: resolveRegularizer(o[`${name}Regularizer`], `${subject}: ${name}Regularizer`),
    constraint: resolveConstraint(o[`${name}Constraint`], `${subject}: ${name}Constraint`),
  });
  const names = Object.keys(fallbacks) as N[];
  return Object.fromEntries(names.map((name) => [name, read(name)])) as Record<N, WeightOptions>;
}

/** The same options for a configuration; those that hold nothing are left out. */
export function weightConfigs(weights: Readonly<Record<string, WeightOptions>>): Record<string, unknown> {
  return configs(
    Object.fromEntries(
      Object.entries(weights).flatMap(([name, { initializer, regularizer, constraint }]) => [
        [`${name}Initializer`, initializer],
        [`${name}Regularizer`, regularizer],
        [`${name}Constraint`, constraint],
      ]),
    ),
  );
}

/** Configurations of the parts that are there. */
export function configs(
  parts: Record<string, { getConfig(): Record<string, unknown> } | undefined>,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(parts).flatMap(([key, part]) => (part ? [[key, part.getConfig()]] : [])),
  );
}
