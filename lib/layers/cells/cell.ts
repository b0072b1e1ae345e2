import { readConfig } from '../../config';
import { quoted, refuse } from '../../errors';
import { nearestName, requireNewName } from '../../names';
import type { Traced } from '../../ops/traced';
import type { ConstraintSpec } from '../constraints';
import type { InitializerSpec } from '../initializers';
import { Layer } from '../layer';
import type { RegularizerSpec } from '../regularizers';

/** A weight of a cell. */
export interface CellWeight {
  /** `[K, M]` of a matrix that `ops.matmul` takes, `[width]` of a vector. */
  readonly shape: readonly number[];
  /** Default `'glorotUniform'` for a matrix, `'zeros'` for a vector. */
  readonly initializer?: InitializerSpec;
  readonly regularizer?: RegularizerSpec;
  readonly constraint?: ConstraintSpec;
  /** False for what weight decay leaves alone. Default: true for a matrix, false for a vector. */
  readonly decay?: boolean;
}

/** What a step may ask for beside its values. */
export interface CellContext {
  /** Whether the step is being trained. */
  readonly training: boolean;
  /**
   * x with columns dropped at this rate in training and the others made larger (Srivastava et al., 2014), drawn anew at every step, or with
   * `sharedOverTime` once for each sequence.
   */
  dropout(x: Traced, rate: number, options?: { readonly sharedOverTime?: boolean }): Traced;
}

/** What a step gives. */
export interface CellStep {
  /** `[N, outputSize]`. */
  readonly output: Traced;
  /** Every state as it is after the step, by name. */
  readonly states: Readonly<Record<string, Traced>>;
}

/** A step of a recurrent layer, written with `ops`. */
export interface CellDefinition {
  /** Width of each state, by name. */
  readonly states: Readonly<Record<string, number>>;
  /** Columns of the output. Default: those of the first state. */
  readonly outputSize?: number;
  /** The weights for inputs of so many features, by name. */
  weights(features: number): Readonly<Record<string, CellWeight>>;
  /**
   * Writes one step down: called when a plan is made, not at every step.
   * @param x the input of the step, `[N, features]`
   * @param states as they were after the step before
   */
  step(
    x: Traced,
    states: Readonly<Record<string, Traced>>,
    weights: Readonly<Record<string, Traced>>,
    context: CellContext,
  ): CellStep;
}

const weightOptions = ['shape', 'initializer', 'regularizer', 'constraint', 'decay'] as const;

/**
 * A cell's weights for inputs of so many features. What a cell of one's own gives is proved.
 * @throws ERR_VALUE, naming the weight, for what is none or has unknown options; ERR_SHAPE for no shape
 */
export function weightsOf(
  definition: CellDefinition,
  features: number,
  subject: string,
): Readonly<Record<string, CellWeight>> {
  const given: unknown = definition.weights(features);
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    refuse('ERR_VALUE', `${subject}: weights`, '{ shape, … } of each weight, by name', quoted(given));
  return Object.fromEntries(
    Object.entries(given as object).map(([name, weight]) => {
      const own = `${subject}: weight '${name}'`;
      if (!/^\w+$/.test(name)) refuse('ERR_VALUE', own, 'a name of letters and digits', quoted(name));
      if (typeof weight !== 'object' || weight === null)
        refuse('ERR_VALUE', own, '{ shape, … }', quoted(weight));
      const { shape, decay, ...rest } = readConfig(weight, weightOptions, own);
      const fits =
        Array.isArray(shape) &&
        (shape.length === 1 || shape.length === 2) &&
        shape.every((n) => Number.isSafeInteger(n) && n > 0);
      if (!fits) refuse('ERR_SHAPE', `${own}: shape`, 'a vector [width] or a matrix [K, M]', quoted(shape));
      if (decay !== undefined && typeof decay !== 'boolean')
        refuse('ERR_VALUE', `${own}: decay`, 'true or false', quoted(decay));
      return [name, { ...rest, shape, ...(decay === undefined ? {} : { decay }) } as CellWeight] as const;
    }),
  );
}

/** A cell that `layers.rnn` runs over sequences. */
export class Cell {
  /** @internal */
  constructor(
    readonly type: string,
    /** JSON values only: models are saved with it. */
    readonly config: unknown,
    /** @internal */ readonly definition: CellDefinition,
  ) {}
}

type Maker = (config: unknown) => CellDefinition;
const makers = new Map<string, Maker>();

/**
 * Makes a kind of cell known by a name, under which models with it are saved: a program that loads such a model calls this first.
 * @param type the name, unique in a program
 * @param make a cell's definition from its configuration, JSON values
 * @returns the maker of such cells, for `layers.rnn({ cell })`
 * @throws ERR_VALUE for a name that is taken
 */
export function defineCell<C>(type: string, make: (config: C) => CellDefinition): (config: C) => Cell {
  requireNewName(type, 'defineCell: type', makers);
  if (typeof make !== 'function') refuse('ERR_VALUE', 'defineCell: make', 'a function', quoted(make));
  makers.set(type, make as Maker);
  return (config: C) => cellOf(type, config);
}

function cellOf(type: string, given: unknown): Cell {
  const subject = `cell '${type}'`;
  const config = copyOf(given, `${subject}: config`);
  const definition = (makers.get(type) as Maker)(config);
  const { states, outputSize, weights, step } = Object(definition) as Partial<CellDefinition>;
  const sized = Object.values(Object(states) as Record<string, unknown>);
  if (sized.length === 0 || !sized.every((size) => Number.isSafeInteger(size) && (size as number) > 0))
    refuse('ERR_VALUE', `${subject}: states`, 'the width of at least one state, by name', quoted(states));
  const odd = Object.keys(states as object).find((name) => !/^\w+$/.test(name));
  if (odd !== undefined)
    refuse('ERR_VALUE', `${subject}: states`, 'names of letters and digits', quoted(odd));
  if (outputSize !== undefined && !(Number.isSafeInteger(outputSize) && outputSize > 0))
    refuse('ERR_VALUE', `${subject}: outputSize`, 'a positive integer', quoted(outputSize));
  for (const [name, member] of Object.entries({ weights, step }))
    if (typeof member !== 'function')
      refuse('ERR_VALUE', `${subject}: ${name}`, 'a function', quoted(member));
  return new Cell(type, config, definition);
}

/**
 * A copy, as files hold it: nobody can change what a model is saved with. Initializers and the like become their configurations.
 * @throws ERR_VALUE, with the path of what is no JSON value
 */
function copyOf(value: unknown, path: string): unknown {
  if (value === undefined || value === null || typeof value === 'string' || typeof value === 'boolean')
    return value;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  if (Array.isArray(value)) return value.map((entry, i) => copyOf(entry, `${path}[${i}]`));
  if (value instanceof Cell) return { type: value.type, config: value.config };
  if (typeof value === 'object') {
    const { getConfig } = value as { getConfig?: () => unknown };
    if (typeof getConfig === 'function') return copyOf(getConfig.call(value), path);
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype === null || Object.getPrototypeOf(prototype as object) === null)
      return Object.fromEntries(
        Object.entries(value)
          .filter(([, entry]) => entry !== undefined)
          .map(([key, entry]) => [key, copyOf(entry, `${path}.${key}`)]),
      );
  }
  return refuse('ERR_VALUE', path, 'a JSON value, with which the model can be saved', quoted(value));
}

/** A cell, or its name and configuration as files have them. */
export function resolveCell(given: unknown, subject: string): Cell {
  if (given instanceof Cell) return given;
  if (given instanceof Layer)
    refuse('ERR_VALUE', subject, 'a cell, e.g. of defineCell or cells.lstm', given.subject);
  // Keras's way to write stacked cells.
  if (Array.isArray(given) && makers.has('stacked')) return cellOf('stacked', { cells: given });
  const { type, config } = Object(given) as { type?: unknown; config?: unknown };
  if (typeof type !== 'string')
    refuse('ERR_VALUE', subject, 'a cell, e.g. of defineCell or cells.lstm', quoted(given));
  if (makers.has(type as string)) return cellOf(type as string, config);
  const known = [...makers.keys()];
  const nearest = nearestName(type as string, known);
  return refuse(
    'ERR_VALUE',
    subject,
    `a cell that defineCell has made known (${known.join(', ')})`,
    quoted(type),
    nearest === undefined ? undefined : `Did you mean '${nearest}'?`,
  );
}
