import { readConfig, readSpec, type SpecConfig } from '../config';
import { quoted, refuse } from '../errors';
import { resolveName, toCamelCase } from '../names';
import { Philox } from '../tensors/random';
import { type Shape, sizeOf } from '../tensors/tensor';
import { seedOption } from './options';
import { orthonormalize, paddedRows } from './orthonormalize';

/** Makes the first values of a weight. */
export interface Initializer {
  readonly type: string;
  /** Values for an array of this shape, drawn from `random`, or from the initializer's own seed where it has one. */
  sample(shape: Shape, random: Philox): Float64Array;
  getConfig(): Record<string, unknown>;
}

export interface SeedOption {
  /** Draw from this seed instead of the model's. */
  seed?: number;
}

/** A standard normal cut off at ±2 has this standard deviation; dividing by it gives the one asked for. */
const TRUNCATED_STDDEV = 0.8796256610342398;

/** Inputs and outputs of one unit: of a kernel `[D, U]` D and U; of a vector its length, both ways. */
function fans(shape: Shape): { in: number; out: number } {
  if (shape.length === 0) return { in: 1, out: 1 };
  if (shape.length === 1) return { in: shape[0] as number, out: shape[0] as number };
  const field = sizeOf(shape.slice(0, -2));
  return {
    in: (shape[shape.length - 2] as number) * field,
    out: (shape[shape.length - 1] as number) * field,
  };
}

function numberOption(
  config: Record<string, unknown>,
  key: string,
  fallback: number,
  subject: string,
  positive = false,
): number {
  const value = config[key] ?? fallback;
  if (typeof value !== 'number' || !Number.isFinite(value) || (positive && value <= 0)) {
    refuse(
      'ERR_VALUE',
      `${subject}: ${key}`,
      positive ? 'a finite number above 0' : 'a finite number',
      quoted(value),
    );
  }
  return value as number;
}

type Draw = (shape: Shape, random: Philox) => Float64Array;

/** An initializer whose `seed`, where given, replaces the stream that the model hands in. */
function seeded(type: string, given: Record<string, unknown>, draw: Draw): Initializer {
  const { seed: seedGiven, ...rest } = given;
  const seed = seedOption(seedGiven, `initializers.${type}: seed`);
  const config = seed === undefined ? rest : { ...rest, seed };
  return {
    type,
    sample: (shape, random) => draw(shape, seed === undefined ? random : new Philox(seed)),
    getConfig: () => ({ type, ...config }),
  };
}

/** A loop, because `Float64Array.from` with a function takes twice as long. */
function fill(shape: Shape, next: () => number): Float64Array {
  const values = new Float64Array(sizeOf(shape));
  for (let i = 0; i < values.length; i++) values[i] = next();
  return values;
}

const uniformDraw =
  (low: number, high: number): Draw =>
  (shape, random) =>
    fill(shape, () => low + (high - low) * random.nextFloat());

const normalDraw =
  (mean: number, stddev: number): Draw =>
  (shape, random) =>
    fill(shape, () => mean + stddev * random.nextNormal());

const truncatedDraw =
  (mean: number, stddev: number): Draw =>
  (shape, random) =>
    fill(shape, () => {
      let z = random.nextNormal();
      while (Math.abs(z) > 2) z = random.nextNormal();
      return mean + stddev * z;
    });

export interface VarianceScalingOptions extends SeedOption {
  /** Default 1. */
  scale?: number;
  mode?: 'fanIn' | 'fanOut' | 'fanAvg';
  distribution?: 'truncatedNormal' | 'untruncatedNormal' | 'uniform';
}

/** Variance `scale / n`, n the number of inputs (fanIn), outputs (fanOut) or their mean (fanAvg) of a unit. */
function scaledDraw(scale: number, mode: 'fanIn' | 'fanOut' | 'fanAvg', distribution: string): Draw {
  return (shape, random) => {
    const { in: fanIn, out: fanOut } = fans(shape);
    const n = { fanIn, fanOut, fanAvg: (fanIn + fanOut) / 2 }[mode];
    const variance = scale / Math.max(1, n);
    if (distribution === 'uniform') {
      const limit = Math.sqrt(3 * variance);
      return uniformDraw(-limit, limit)(shape, random);
    }
    const stddev = Math.sqrt(variance);
    return distribution === 'truncatedNormal'
      ? truncatedDraw(0, stddev / TRUNCATED_STDDEV)(shape, random)
      : normalDraw(0, stddev)(shape, random);
  };
}

/**
 * A matrix with orthonormal columns (or rows, where there are more columns), times `gain` (Saxe et al., 2014): the Q of a normal
 * matrix whose R has a positive diagonal, so that Q is uniform.
 */
function orthogonalDraw(gain: number): Draw {
  return (shape, random) => {
    if (shape.length < 2)
      refuse(
        'ERR_SHAPE',
        'initializers.orthogonal',
        'a weight with at least two axes',
        `[${shape.join(', ')}]`,
      );
    const columns = shape[shape.length - 1] as number;
    const rows = sizeOf(shape.slice(0, -1));
    const [count, length] = rows < columns ? [rows, columns] : [columns, rows];
    const vectors = paddedRows(count, length);
    for (let i = 0; i < count * length; i++) vectors[i] = random.nextNormal();
    orthonormalize(vectors, count, length);
    const out = new Float64Array(rows * columns);
    const wide = rows < columns;
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        const v = vectors[wide ? r * length + c : c * length + r] as number;
        out[r * columns + c] = gain * v;
      }
    }
    return out;
  };
}

/** Options of a factory, read with both spellings of their names. */
function options(given: unknown, known: readonly string[], type: string): Record<string, unknown> {
  return readConfig(given, [...known, 'seed'], `initializers.${type}`) as Record<string, unknown>;
}

const scaling =
  (type: string, scale: number, mode: 'fanIn' | 'fanOut' | 'fanAvg', distribution: string) =>
  (config: SeedOption = {}): Initializer =>
    seeded(type, options(config, [], type), scaledDraw(scale, mode, distribution));

export const initializers = {
  /** All 0. */
  zeros: (config: object = {}): Initializer =>
    seeded('zeros', readConfig(config, [], 'initializers.zeros'), (shape) => new Float64Array(sizeOf(shape))),
  /** All 1. */
  ones: (config: object = {}): Initializer =>
    seeded('ones', readConfig(config, [], 'initializers.ones'), (shape) =>
      new Float64Array(sizeOf(shape)).fill(1),
    ),
  /** All `value`. Default 0. */
  constant: (config: { value?: number } = {}): Initializer => {
    const read = readConfig(config, ['value'], 'initializers.constant') as Record<string, unknown>;
    const value = numberOption(read, 'value', 0, 'initializers.constant');
    return seeded('constant', { value }, (shape) => new Float64Array(sizeOf(shape)).fill(value));
  },
  /** 1 on the diagonal of a matrix, times `gain`. */
  identity: (config: { gain?: number } = {}): Initializer => {
    const read = readConfig(config, ['gain'], 'initializers.identity') as Record<string, unknown>;
    const gain = numberOption(read, 'gain', 1, 'initializers.identity');
    return seeded('identity', { gain }, (shape) => {
      if (shape.length !== 2)
        refuse('ERR_SHAPE', 'initializers.identity', 'a matrix', `[${shape.join(', ')}]`);
      const [rows, columns] = shape as [number, number];
      return Float64Array.from({ length: rows * columns }, (_, i) =>
        Math.floor(i / columns) === i % columns ? gain : 0,
      );
    });
  },
  /** Uniform in [minval, maxval). Default ±0.05. */
  randomUniform: (config: SeedOption & { minval?: number; maxval?: number } = {}): Initializer => {
    const read = options(config, ['minval', 'maxval'], 'randomUniform');
    const low = numberOption(read, 'minval', -0.05, 'initializers.randomUniform');
    const high = numberOption(read, 'maxval', 0.05, 'initializers.randomUniform');
    if (low > high) refuse('ERR_VALUE', 'initializers.randomUniform', 'minval <= maxval', `${low}, ${high}`);
    return seeded('randomUniform', read, uniformDraw(low, high));
  },
  /** Normal. Default mean 0, stddev 0.05. */
  randomNormal: (config: SeedOption & { mean?: number; stddev?: number } = {}): Initializer => {
    const read = options(config, ['mean', 'stddev'], 'randomNormal');
    const mean = numberOption(read, 'mean', 0, 'initializers.randomNormal');
    const stddev = numberOption(read, 'stddev', 0.05, 'initializers.randomNormal', true);
    return seeded('randomNormal', read, normalDraw(mean, stddev));
  },
  /** Normal, redrawn beyond two standard deviations. Default mean 0, stddev 0.05. */
  truncatedNormal: (config: SeedOption & { mean?: number; stddev?: number } = {}): Initializer => {
    const read = options(config, ['mean', 'stddev'], 'truncatedNormal');
    const mean = numberOption(read, 'mean', 0, 'initializers.truncatedNormal');
    const stddev = numberOption(read, 'stddev', 0.05, 'initializers.truncatedNormal', true);
    return seeded('truncatedNormal', read, truncatedDraw(mean, stddev));
  },
  varianceScaling: (config: VarianceScalingOptions = {}): Initializer => {
    const read = options(config, ['scale', 'mode', 'distribution'], 'varianceScaling');
    const scale = numberOption(read, 'scale', 1, 'initializers.varianceScaling', true);
    const mode = resolveName(
      read['mode'] ?? 'fanIn',
      ['fanIn', 'fanOut', 'fanAvg'] as const,
      'initializers.varianceScaling: mode',
    );
    const distribution = resolveName(
      read['distribution'] ?? 'truncatedNormal',
      ['truncatedNormal', 'untruncatedNormal', 'uniform'] as const,
      'initializers.varianceScaling: distribution',
    );
    return seeded('varianceScaling', { ...read, mode, distribution }, scaledDraw(scale, mode, distribution));
  },
  /** Glorot & Bengio (2010), uniform in ±√(6 / (fanIn + fanOut)). Also called Xavier. */
  glorotUniform: scaling('glorotUniform', 1, 'fanAvg', 'uniform'),
  /** Glorot & Bengio (2010), truncated normal of variance 2 / (fanIn + fanOut). */
  glorotNormal: scaling('glorotNormal', 1, 'fanAvg', 'truncatedNormal'),
  xavierUniform: scaling('glorotUniform', 1, 'fanAvg', 'uniform'),
  xavierNormal: scaling('glorotNormal', 1, 'fanAvg', 'truncatedNormal'),
  /** He et al. (2015), uniform in ±√(6 / fanIn). */
  heUniform: scaling('heUniform', 2, 'fanIn', 'uniform'),
  /** He et al. (2015), truncated normal of variance 2 / fanIn. */
  heNormal: scaling('heNormal', 2, 'fanIn', 'truncatedNormal'),
  /** LeCun et al. (1998), uniform in ±√(3 / fanIn). */
  lecunUniform: scaling('lecunUniform', 1, 'fanIn', 'uniform'),
  /** LeCun et al. (1998), truncated normal of variance 1 / fanIn. */
  lecunNormal: scaling('lecunNormal', 1, 'fanIn', 'truncatedNormal'),
  /** Orthonormal rows or columns times `gain` (Saxe et al., 2014). */
  orthogonal: (config: SeedOption & { gain?: number } = {}): Initializer => {
    const read = options(config, ['gain'], 'orthogonal');
    return seeded(
      'orthogonal',
      read,
      orthogonalDraw(numberOption(read, 'gain', 1, 'initializers.orthogonal')),
    );
  },
};

export type InitializerName = keyof typeof initializers;
export type InitializerSpec = InitializerName | (string & {}) | Initializer | SpecConfig;

/** Second names that Keras exports, and writes into the configurations of some of its releases. */
const kerasNames: Readonly<Record<string, InitializerName>> = {
  identityinitializer: 'identity',
  orthogonalinitializer: 'orthogonal',
};

/** An initializer from its name, its configuration `{ type, … }` or Keras's, or itself. */
export function resolveInitializer(spec: unknown, subject: string): Initializer {
  if (typeof spec === 'object' && spec !== null && typeof (spec as Initializer).sample === 'function')
    return spec as Initializer;
  const { type, options: config } = readSpec(spec, subject, { dtype: ['float32'] });
  const second = typeof type === 'string' ? kerasNames[toCamelCase(type).toLowerCase()] : undefined;
  const name = second ?? resolveName(type, Object.keys(initializers) as InitializerName[], subject);
  return (initializers[name] as (config: object) => Initializer)(config);
}
