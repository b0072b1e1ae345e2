import { readConfig } from '../config';
import { refuse } from '../errors';
import { resolveName } from '../names';

/** A learning rate that depends on the training step, counted from 0. */
export interface Schedule {
  readonly type: string;
  at(step: number): number;
  getConfig(): Record<string, unknown>;
}

type Numbers<K extends string> = Record<K, number>;

/** Reads number options; `null` as default makes one required. */
function numbers<K extends string>(
  type: string,
  given: unknown,
  defaults: Record<K, number | null>,
  flags: readonly string[] = [],
): Numbers<K> & Record<string, unknown> {
  const subject = `schedules.${type}`;
  const keys = Object.keys(defaults) as K[];
  const read = readConfig<string>(given, [...keys, ...flags], subject);
  const out: Record<string, unknown> = {};
  for (const key of keys) {
    const value = read[key] ?? defaults[key];
    if (typeof value !== 'number' || !Number.isFinite(value))
      refuse('ERR_VALUE', `${subject}: ${key}`, 'a finite number', value ?? 'nothing');
    if (
      /Rate$|^rate$|^initial/.test(key)
        ? (value as number) < 0
        : /Steps$/.test(key) && !(key === 'warmupSteps' ? (value as number) >= 0 : (value as number) > 0)
    ) {
      refuse(
        'ERR_VALUE',
        `${subject}: ${key}`,
        /Steps$/.test(key) ? 'a positive number of steps' : 'a number, 0 or more',
        value,
      );
    }
    out[key] = value;
  }
  for (const flag of flags) {
    const value = read[flag] ?? false;
    if (typeof value !== 'boolean') refuse('ERR_VALUE', `${subject}: ${flag}`, 'true or false', value);
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
    const o = numbers('constant', options, { learningRate: null });
    return schedule('constant', o, () => o.learningRate);
  },
  /** initial · rate^(step / decaySteps); with `staircase` the exponent is rounded down. */
  exponentialDecay: (options: DecayOptions & { decayRate: number; staircase?: boolean }): Schedule => {
    const o = numbers(
      'exponentialDecay',
      options,
      { initialLearningRate: null, decaySteps: null, decayRate: null },
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
      { initialLearningRate: null, decaySteps: null, decayRate: null },
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
      { initialLearningRate: null, decaySteps: null, endLearningRate: 0.0001, power: 1 },
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
      refuse('ERR_VALUE', `${subject}: values`, `${steps.length + 1} rates, 0 or more`, values);
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
    const target = (options as { warmupTarget?: number | null } | undefined)?.warmupTarget;
    const o = numbers('cosineDecay', options, {
      initialLearningRate: null,
      decaySteps: null,
      alpha: 0,
      warmupTarget: target ?? -1,
      warmupSteps: 0,
    });
    const warm = o.warmupTarget >= 0;
    const { warmupTarget: _unused, ...rest } = o;
    return schedule('cosineDecay', warm ? o : rest, (step) => {
      const peak = warm ? o.warmupTarget : o.initialLearningRate;
      if (warm && step < o.warmupSteps)
        return o.initialLearningRate + (peak - o.initialLearningRate) * (step / o.warmupSteps);
      const fraction = Math.min(warm ? step - o.warmupSteps : step, o.decaySteps) / o.decaySteps;
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
      initialLearningRate: null,
      firstDecaySteps: null,
      tMul: 2,
      mMul: 1,
      alpha: 0,
    });
    if (o.tMul < 1) refuse('ERR_VALUE', 'schedules.cosineDecayRestarts: tMul', 'a number, 1 or more', o.tMul);
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
      maxLearningRate: null,
      totalSteps: null,
      warmupShare: 0.3,
      divFactor: 25,
      finalDivFactor: 1e4,
    });
    if (!(o.warmupShare > 0 && o.warmupShare < 1))
      refuse('ERR_VALUE', 'schedules.oneCycle: warmupShare', 'a share above 0 and below 1', o.warmupShare);
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

/** A schedule from its configuration `{ type, … }`, or itself. */
export function resolveSchedule(spec: unknown, subject: string): Schedule {
  if (typeof spec === 'object' && spec !== null && typeof (spec as Schedule).at === 'function')
    return spec as Schedule;
  if (typeof spec !== 'object' || spec === null || !('type' in spec))
    refuse('ERR_VALUE', subject, 'a number or a schedule', spec);
  const { type, ...config } = spec as { type: string };
  return (
    schedules[resolveName(type, Object.keys(schedules) as ScheduleName[], subject)] as (
      config: object,
    ) => Schedule
  )(config);
}
