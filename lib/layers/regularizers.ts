import { readConfig, readSpec, type SpecConfig } from '../config';
import { quoted, refuse } from '../errors';
import { resolveName } from '../names';

/** Adds `l1·Σ|w| + l2·Σw²` to the loss. */
export interface Regularizer {
  readonly l1: number;
  readonly l2: number;
  getConfig(): Record<string, unknown>;
}

function regularizer(type: string, l1: unknown, l2: unknown): Regularizer {
  for (const [key, value] of [
    ['l1', l1],
    ['l2', l2],
  ] as const) {
    if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
      refuse('ERR_VALUE', `regularizers.${type}: ${key}`, 'a finite number, 0 or more', quoted(value));
    }
  }
  const own = type === 'l1' ? { l1 } : type === 'l2' ? { l2 } : { l1, l2 };
  return { l1: l1 as number, l2: l2 as number, getConfig: () => ({ type, ...own }) };
}

/** The strength of a regularizer with one number: `l2(0.001)` is short for `l2({ l2: 0.001 })`. */
function strength(type: 'l1' | 'l2', given: unknown): unknown {
  if (typeof given === 'number') return given;
  return readConfig<string>(given, [type], `regularizers.${type}`)[type] ?? 0.01;
}

export const regularizers = {
  /** Sum of absolute values (Tibshirani, 1996) times a number, default 0.01: `l1(0.02)` or `l1({ l1: 0.02 })`. */
  l1: (config: number | { l1?: number } = {}): Regularizer => regularizer('l1', strength('l1', config), 0),
  /** Sum of squares (without the ½ of some texts, as in Keras) times a number, default 0.01: `l2(0.02)` or `l2({ l2: 0.02 })`. */
  l2: (config: number | { l2?: number } = {}): Regularizer => regularizer('l2', 0, strength('l2', config)),
  /** Both. Default 0, as in Keras. */
  l1l2: (config: { l1?: number; l2?: number } = {}): Regularizer => {
    const read = readConfig(config, ['l1', 'l2'], 'regularizers.l1l2');
    return regularizer('l1l2', read.l1 ?? 0, read.l2 ?? 0);
  },
};

export type RegularizerSpec = 'l1' | 'l2' | 'l1l2' | (string & {}) | Regularizer | SpecConfig | null;

/** A regularizer from its name, its configuration `{ type, … }` or Keras's, or itself; nothing for null or undefined. */
export function resolveRegularizer(spec: unknown, subject: string): Regularizer | undefined {
  if (spec === undefined || spec === null) return undefined;
  if (typeof spec === 'object' && typeof (spec as Regularizer).getConfig === 'function')
    return spec as Regularizer;
  const { type, options } = readSpec(spec, subject);
  const names = Object.keys(regularizers) as (keyof typeof regularizers)[];
  return regularizers[resolveName(type, names, subject)](options);
}
