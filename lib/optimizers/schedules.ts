import { ANY, readConfig, readSpec } from '../config';
import { quoted, refuse } from '../errors';
import { resolveName } from '../names';

/** A learning rate that depends on the training step, counted from 0. */
export interface Schedule {
  readonly type: string;
  at(step: number): number;
  getConfig(): Record<string, unknown>;
}

type Numbers<K extends string> = Record<K, number>;

/** Which numbers an option takes. */
interface Range {
  readonly wanted: string;
  fits(value: number): boolean;
}

const notNegative: Range = { wanted: 'a number, 0 or more', fits: (v) => v >= 0 };
const positive: Range = { wanted: 'a number above 0', fits: (v) => v > 0 };
const atLeastOne: Range = { wanted: 'a number, 1 or more', fits: (v) => v >= 1 };
const share: Range = { wanted: 'a share above 0 and below 1', fits: (v) => v > 0 && v < 1 };
const steps: Range = { wanted: 'a positive number of steps', fits: (v) => v > 0 };
const stepsOrNone: Range = { wanted: 'a number of steps, 0 or more', fits: (v) => v >= 0 };

/** Reads number options, each with its range and its default; without one it is required, unless it is 'optional'. */
function numbers<K extends string>(
  type: string,
  given: unknown,
  options: Record<K, readonly [range: Range, fallback?: number | 'optional']>,
  flags: readonly string[] = [],
): Numbers<K> & Record<string, unknown> {
  const subject = `schedules.${type}`;
  const keys = Object.keys(options) as K[];
  const read = readConfig<string>(given, [...keys, ...flags], subject);
  const out: Record<string, unknown> = {};
  for (const key of keys) {
    const [{ wanted, fits }, fallback] = options[key];
    const given = read[key] ?? undefined;
    if (given === undefined && fallback === 'optional') continue;
    const value = given ?? fallback;
    if (typeof value !== 'number' || !Number.isFinite(value))
      refuse('ERR_VALUE', `${subject}: ${key}`, 'a finite number', value ?? 'nothing');
    if (!fits(value as number)) refuse('ERR_VALUE', `${subject}: ${key}`, wanted, quoted(value));
    out[key] = value;
  }
  for (const flag of flags) {
    const value = read[flag] ?? false;
    if (typeof value !== 'boolean')
      refuse('ERR_VALUE', `${subject}: ${flag}`, 'true or false', quoted(value));
    out[flag] = value;
  }
  return out as Numbers<K> & Record<string, unknown>;
}

function schedule(type: string, config: Record<string, unknown>, at: (step: number) => number): Schedule {
  return { type, at, getConfig: () => ({ type, ...config }) };
}

/** Half a cosine from 1 at 0 to 0 at 1. */
const halfCosine = (fraction: number) => 0.5 * (1 + Math.cos(Math.PI * fraction));

export interface DecayOptions {
  initialLearningRate: number;
  decaySteps: number;
}

export const schedules = {
  /** Always `learningRate`. */
  constant: (options: { learningRate: number }): Schedule => {
    const o = numbers('constant', options, { learningRate: [notNegative] });
    return schedule('constant', o, () => o.learningRate);
  },
  /** initial · rate^(step / decaySteps); with `staircase` the exponent is rounded down. */
  exponentialDecay: (options: DecayOptions & { decayRate: number; staircase?: boolean }): Schedule => {
    const o = numbers(
      'exponentialDecay',
      options,
      { initialLearningRate: [notNegative], decaySteps: [steps], decayRate: [notNegative] },
      ['staircase'],
    );
    return schedule('exponentialDecay', o, (step) => {
      const p = step / o.decaySteps;
      return o.initialLearningRate * o.decayRate ** (o['staircase'] ? Math.floor(p) : p);
    });
  },
  /** initial / (1 + rate · step / decaySteps); with `staircase` the quotient is rounded down. */
  inverseTimeDecay: (options: DecayOptions & { decayRate: number; staircase?: boolean }): Schedule => {
    const o = numbers(
      'inverseTimeDecay',
      options,
      { initialLearningRate: [notNegative], decaySteps: [steps], decayRate: [notNegative] },
      ['staircase'],
    );
    return schedule('inverseTimeDecay', o, (step) => {
      const p = step / o.decaySteps;
      return o.initialLearningRate / (1 + o.decayRate * (o['staircase'] ? Math.floor(p) : p));
    });
  },
  /** (initial − end)(1 − step/decaySteps)^power + end; with `cycle` decaySteps grows to the next multiple beyond the step. */
  polynomialDecay: (
    options: DecayOptions & { endLearningRate?: number; power?: number; cycle?: boolean },
  ): Schedule => {
    const o = numbers(
      'polynomialDecay',
      options,
      {
        initialLearningRate: [notNegative],
        decaySteps: [steps],
        endLearningRate: [notNegative, 0.0001],
        power: [notNegative, 1],
      },
      ['cycle'],
    );
    return schedule('polynomialDecay', o, (step) => {
      const span = o['cycle'] ? o.decaySteps * Math.max(1, Math.ceil(step / o.decaySteps)) : o.decaySteps;
      const left = 1 - Math.min(step, span) / span;
      return (o.initialLearningRate - o.endLearningRate) * left ** o.power + o.endLearningRate;
    });
  },
  /** `values[i]` up to and including step `boundaries[i]`, the last value after the last boundary. */
  piecewiseConstant: (options: { boundaries: readonly number[]; values: readonly number[] }): Schedule => {
    const subject = 'schedules.piecewiseConstant';
    const { boundaries, values } = readConfig(options, ['boundaries', 'values'], subject);
    const rising =
      Array.isArray(boundaries) &&
      boundaries.every((b, i) => Number.isFinite(b) && (i === 0 || b > boundaries[i - 1]));
    if (!rising) refuse('ERR_VALUE', `${subject}: boundaries`, 'rising step numbers', boundaries);
    const steps = boundaries as number[];
    if (
      !Array.isArray(values) ||
      values.length !== steps.length + 1 ||
      !values.every((v) => Number.isFinite(v) && v >= 0)
    ) {
      refuse('ERR_VALUE', `${subject}: values`, `${steps.length + 1} rates, 0 or more`, quoted(values));
    }
    return schedule(
      'piecewiseConstant',
      { boundaries: [...steps], values: [...(values as number[])] },
      (step) => {
        const i = steps.findIndex((b) => step <= b);
        return (values as number[])[i < 0 ? steps.length : i] as number;
      },
    );
  },
  /**
   * Loshchilov & Hutter (2017): a linear warmup from the initial rate to `warmupTarget` over `warmupSteps` (where given), then half a cosine
   * over `decaySteps` down to alpha times its height.
   */
  cosineDecay: (
    options: DecayOptions & { alpha?: number; warmupTarget?: number; warmupSteps?: number },
  ): Schedule => {
    const o = numbers('cosineDecay', options, {
      initialLearningRate: [notNegative],
      decaySteps: [steps],
      alpha: [notNegative, 0],
      warmupTarget: [notNegative, 'optional'],
      warmupSteps: [stepsOrNone, 0],
    });
    const target = o.warmupTarget as number | undefined;
    return schedule('cosineDecay', o, (step) => {
      const peak = target ?? o.initialLearningRate;
      const warmup = target === undefined ? 0 : o.warmupSteps;
      if (step < warmup) return o.initialLearningRate + (peak - o.initialLearningRate) * (step / warmup);
      const fraction = Math.min(step - warmup, o.decaySteps) / o.decaySteps;
      return peak * ((1 - o.alpha) * halfCosine(fraction) + o.alpha);
    });
  },
  /** Cosine decay that starts again: each period `tMul` times as long and `mMul` times as high as the last. */
  cosineDecayRestarts: (options: {
    initialLearningRate: number;
    firstDecaySteps: number;
    tMul?: number;
    mMul?: number;
    alpha?: number;
  }): Schedule => {
    const o = numbers('cosineDecayRestarts', options, {
      initialLearningRate: [notNegative],
      firstDecaySteps: [steps],
      tMul: [atLeastOne, 2],
      mMul: [notNegative, 1],
      alpha: [notNegative, 0],
    });
    return schedule('cosineDecayRestarts', o, (step) => {
      let period = o.firstDecaySteps;
      let height = 1;
      let left = step;
      if (o.tMul === 1) {
        height = o.mMul ** Math.floor(left / period);
        left %= period;
      } else {
        while (left >= period) {
          left -= period;
          period *= o.tMul;
          height *= o.mMul;
        }
      }
      return o.initialLearningRate * ((1 - o.alpha) * height * halfCosine(left / period) + o.alpha);
    });
  },
  /** Smith & Topin (2018): half a cosine up to `maxLearningRate` over `warmupShare` of `totalSteps`, then one down to almost nothing. */
  oneCycle: (options: {
    maxLearningRate: number;
    totalSteps: number;
    warmupShare?: number;
    divFactor?: number;
    finalDivFactor?: number;
  }): Schedule => {
    const o = numbers('oneCycle', options, {
      maxLearningRate: [notNegative],
      totalSteps: [steps],
      warmupShare: [share, 0.3],
      divFactor: [positive, 25],
      finalDivFactor: [positive, 1e4],
    });
    const first = o.maxLearningRate / o.divFactor;
    const last = first / o.finalDivFactor;
    const turn = o.warmupShare * o.totalSteps;
    return schedule('oneCycle', o, (step) => {
      if (step < turn) return first + (o.maxLearningRate - first) * (1 - halfCosine(step / turn));
      return (
        last + (o.maxLearningRate - last) * halfCosine(Math.min(1, (step - turn) / (o.totalSteps - turn)))
      );
    });
  },
};

export type ScheduleName = keyof typeof schedules;

/** Keras's other name. */
const aliases: Readonly<Record<string, ScheduleName>> = { piecewiseConstantDecay: 'piecewiseConstant' };

/** A schedule from its configuration `{ type, … }` or Keras's, or itself. */
export function resolveSchedule(spec: unknown, subject: string): Schedule {
  if (typeof spec === 'object' && spec !== null && typeof (spec as Schedule).at === 'function')
    return spec as Schedule;
  if (typeof spec !== 'object' || spec === null)
    refuse('ERR_VALUE', subject, 'a number or a schedule', quoted(spec));
  const { type, options } = readSpec(spec, subject, { name: ANY });
  if (typeof type !== 'string') refuse('ERR_VALUE', subject, 'a number or a schedule', quoted(spec));
  const name = resolveName(type, [...Object.keys(schedules), ...Object.keys(aliases)], subject);
  const make = schedules[aliases[name] ?? (name as ScheduleName)] as (config: object) => Schedule;
  return make(options);
}
