import fc from 'fast-check';
import { schedules } from '../../lib';
import { resolveSchedule, type Schedule } from '../../lib/optimizers/schedules';
import { refusal } from './refusal';

const { cos, PI, floor } = Math;

function expectRates(schedule: Schedule, rates: Record<number, number>): void {
  for (const [step, rate] of Object.entries(rates)) {
    const got = schedule.at(Number(step));
    if (!(Math.abs(got - rate) <= 1e-14 * Math.max(1, Math.abs(rate))))
      throw new Error(`${schedule.type} at step ${step}: expected ${rate}, got ${got}`);
  }
}

describe('rates at the first steps, at the boundary and beyond', () => {
  test('constant', () => {
    expectRates(schedules.constant({ learningRate: 0.3 }), { 0: 0.3, 1: 0.3, 1000000: 0.3 });
  });

  test('exponentialDecay', () => {
    const options = { initialLearningRate: 0.5, decaySteps: 8, decayRate: 0.7 };
    expectRates(schedules.exponentialDecay(options), {
      0: 0.5,
      1: 0.5 * 0.7 ** (1 / 8),
      7: 0.5 * 0.7 ** (7 / 8),
      8: 0.5 * 0.7,
      20: 0.5 * 0.7 ** 2.5,
    });
    const stairs = schedules.exponentialDecay({ ...options, staircase: true });
    expectRates(stairs, { 0: 0.5, 1: 0.5, 7: 0.5, 8: 0.35, 15: 0.35, 16: 0.5 * 0.49, 20: 0.5 * 0.49 });
  });

  test('inverseTimeDecay', () => {
    const options = { initialLearningRate: 0.5, decaySteps: 8, decayRate: 3 };
    expectRates(schedules.inverseTimeDecay(options), {
      0: 0.5,
      1: 0.5 / (1 + 3 / 8),
      8: 0.5 / 4,
      20: 0.5 / 8.5,
    });
    const stairs = schedules.inverseTimeDecay({ ...options, staircase: true });
    expectRates(stairs, { 0: 0.5, 1: 0.5, 7: 0.5, 8: 0.5 / 4, 15: 0.5 / 4, 16: 0.5 / 7 });
  });

  test('polynomialDecay', () => {
    const options = { initialLearningRate: 0.5, decaySteps: 10 };
    expectRates(schedules.polynomialDecay(options), {
      0: 0.5,
      1: (0.5 - 0.0001) * 0.9 + 0.0001,
      9: (0.5 - 0.0001) * 0.1 + 0.0001,
      10: 0.0001,
      11: 0.0001,
    });
    const curved = { ...options, endLearningRate: 0.1, power: 2 };
    expectRates(schedules.polynomialDecay(curved), { 0: 0.5, 1: 0.4 * 0.81 + 0.1, 10: 0.1, 99: 0.1 });
    expectRates(schedules.polynomialDecay({ ...curved, cycle: true }), {
      0: 0.5,
      1: 0.4 * 0.81 + 0.1,
      10: 0.1,
      11: 0.4 * (1 - 11 / 20) ** 2 + 0.1,
      20: 0.1,
      21: 0.4 * (1 - 21 / 30) ** 2 + 0.1,
    });
  });

  test('piecewiseConstant', () => {
    const schedule = schedules.piecewiseConstant({ boundaries: [3, 7], values: [1, 0.5, 0.1] });
    expectRates(schedule, { 0: 1, 1: 1, 3: 1, 4: 0.5, 7: 0.5, 8: 0.1, 1e9: 0.1 });
    expectRates(schedules.piecewiseConstant({ boundaries: [], values: [0.2] }), { 0: 0.2, 5: 0.2 });
  });

  test('cosineDecay', () => {
    const options = { initialLearningRate: 0.5, decaySteps: 12 };
    expectRates(schedules.cosineDecay(options), {
      0: 0.5,
      1: 0.25 * (1 + cos(PI / 12)),
      6: 0.25,
      12: 0,
      13: 0,
    });
    expectRates(schedules.cosineDecay({ ...options, alpha: 0.2 }), {
      0: 0.5,
      6: 0.5 * (0.8 * 0.5 + 0.2),
      12: 0.1,
      100: 0.1,
    });
  });

  test('cosineDecay after a warmup: from the initial rate up to the target, then down from there', () => {
    const schedule = schedules.cosineDecay({
      initialLearningRate: 0.1,
      warmupTarget: 0.9,
      warmupSteps: 4,
      decaySteps: 12,
      alpha: 0.5,
    });
    expectRates(schedule, {
      0: 0.1,
      1: 0.3,
      3: 0.7,
      4: 0.9,
      5: 0.9 * (0.5 * 0.5 * (1 + cos(PI / 12)) + 0.5),
      10: 0.9 * 0.75,
      16: 0.45,
      17: 0.45,
    });
    const upFromZero = { initialLearningRate: 0, warmupTarget: 0.5, warmupSteps: 2, decaySteps: 4 };
    expectRates(schedules.cosineDecay(upFromZero), { 0: 0, 1: 0.25, 2: 0.5, 4: 0.25, 6: 0 });
    // Without a target, warmupSteps mean nothing, as in Keras.
    const { warmupTarget: _, ...without } = upFromZero;
    expectRates(schedules.cosineDecay({ ...without, initialLearningRate: 1 }), { 0: 1, 2: 0.5, 4: 0 });
  });

  test('cosineDecayRestarts', () => {
    const options = { initialLearningRate: 0.5, firstDecaySteps: 4 };
    // Periods begin at 0, 4, 12, 28 and last 4, 8, 16, … steps.
    expectRates(schedules.cosineDecayRestarts(options), {
      0: 0.5,
      1: 0.25 * (1 + cos(PI / 4)),
      2: 0.25,
      3: 0.25 * (1 + cos((3 * PI) / 4)),
      4: 0.5,
      8: 0.25,
      11: 0.25 * (1 + cos((7 * PI) / 8)),
      12: 0.5,
      20: 0.25,
      28: 0.5,
    });
    const shrinking = { ...options, tMul: 1, mMul: 0.5, alpha: 0.1 };
    const at = (height: number, fraction: number) =>
      0.5 * (0.9 * height * 0.5 * (1 + cos(PI * fraction)) + 0.1);
    expectRates(schedules.cosineDecayRestarts(shrinking), {
      0: 0.5,
      2: at(1, 0.5),
      4: at(0.5, 0),
      6: at(0.5, 0.5),
      8: at(0.25, 0),
      400003: at(0.5 ** 100000, 0.75),
    });
    const both = { ...options, tMul: 2, mMul: 0.5 };
    expectRates(schedules.cosineDecayRestarts(both), { 4: 0.25, 8: 0.125, 12: 0.125, 20: 0.0625 });
  });

  test('oneCycle', () => {
    const options = { maxLearningRate: 1, totalSteps: 100 };
    const [first, last] = [1 / 25, 1 / 25 / 1e4];
    expectRates(schedules.oneCycle(options), {
      0: first,
      1: first + (1 - first) * 0.5 * (1 - cos(PI / 30)),
      15: first + (1 - first) * 0.5,
      30: 1,
      65: last + (1 - last) * 0.5,
      100: last,
      101: last,
    });
    const shaped = {
      maxLearningRate: 0.8,
      totalSteps: 10,
      warmupShare: 0.5,
      divFactor: 4,
      finalDivFactor: 2,
    };
    expectRates(schedules.oneCycle(shaped), { 0: 0.2, 5: 0.8, 10: 0.1, 11: 0.1 });
  });

  test('cosine restarts never rise within a period, whatever the factors', () => {
    const options = fc.record({
      firstDecaySteps: fc.integer({ min: 1, max: 20 }),
      tMul: fc.constantFrom(1, 1.5, 2),
      alpha: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(options, (o) => {
        const schedule = schedules.cosineDecayRestarts({ initialLearningRate: 1, ...o });
        let start = 0;
        for (let period = o.firstDecaySteps; start < 200; period *= o.tMul) {
          expect(schedule.at(start)).toBeCloseTo(1, 9);
          for (let step = floor(start) + 2; step < start + period; step++) {
            expect(schedule.at(step)).toBeLessThanOrEqual(schedule.at(step - 1) + 1e-12);
            expect(schedule.at(step)).toBeGreaterThanOrEqual(o.alpha - 1e-12);
          }
          start += period;
        }
      }),
      { numRuns: 30 },
    );
  });
});

const made: Schedule[] = [
  schedules.constant({ learningRate: 0.3 }),
  schedules.exponentialDecay({ initialLearningRate: 0.5, decaySteps: 8, decayRate: 0.7, staircase: true }),
  schedules.inverseTimeDecay({ initialLearningRate: 0.5, decaySteps: 8, decayRate: 0.7 }),
  schedules.polynomialDecay({ initialLearningRate: 0.5, decaySteps: 8, power: 3, cycle: true }),
  schedules.piecewiseConstant({ boundaries: [3, 7], values: [1, 0.5, 0.1] }),
  schedules.cosineDecay({ initialLearningRate: 0.5, decaySteps: 8, alpha: 0.1 }),
  schedules.cosineDecay({ initialLearningRate: 0, decaySteps: 8, warmupTarget: 0.5, warmupSteps: 3 }),
  schedules.cosineDecayRestarts({ initialLearningRate: 0.5, firstDecaySteps: 3, tMul: 1.5, mMul: 0.8 }),
  schedules.oneCycle({ maxLearningRate: 0.4, totalSteps: 20, warmupShare: 0.25 }),
];

describe('configurations', () => {
  test.each(made.map((schedule, i) => [schedule.type, i] as const))('%s is rebuilt from its own', (_, i) => {
    const schedule = made[i] as Schedule;
    const again = resolveSchedule(JSON.parse(JSON.stringify(schedule.getConfig())), 'test');
    expect(again.getConfig()).toEqual(schedule.getConfig());
    for (let step = 0; step < 30; step++) expect(again.at(step)).toBe(schedule.at(step));
  });

  test('Keras’s spellings are understood', () => {
    const keras = {
      type: 'CosineDecay',
      initial_learning_rate: 0.5,
      decay_steps: 8,
      warmup_target: null,
      warmup_steps: 0,
    };
    const read = resolveSchedule(keras, 'test');
    expect(read.getConfig()).toEqual(
      schedules.cosineDecay({ initialLearningRate: 0.5, decaySteps: 8 }).getConfig(),
    );
    const piecewise = { type: 'piecewise_constant_decay', boundaries: [3], values: [1, 0.5] };
    expect(resolveSchedule(piecewise, 'test').type).toBe('piecewiseConstant');
    const restarts = {
      type: 'cosine_decay_restarts',
      initial_learning_rate: 1,
      first_decay_steps: 3,
      t_mul: 1,
      m_mul: 0.5,
    };
    expect(resolveSchedule(restarts, 'test').at(3)).toBe(0.5);
  });
});

describe('options that are refused', () => {
  const loose =
    <T>(f: (options: never) => T, options: unknown) =>
    () =>
      f(options as never);
  const decay = { initialLearningRate: 0.5, decaySteps: 8, decayRate: 0.7 };
  test.each([
    [
      loose(schedules.constant, {}),
      'schedules.constant: learningRate: expected a finite number, got nothing.',
    ],
    [
      loose(schedules.constant, { learningRate: -1 }),
      'schedules.constant: learningRate: expected a number, 0 or more, got -1.',
    ],
    [
      loose(schedules.exponentialDecay, { ...decay, decaySteps: 0 }),
      'schedules.exponentialDecay: decaySteps: expected a positive number of steps, got 0.',
    ],
    [
      loose(schedules.exponentialDecay, { ...decay, decayRate: Number.NaN }),
      'schedules.exponentialDecay: decayRate: expected a finite number, got NaN.',
    ],
    [
      loose(schedules.exponentialDecay, { ...decay, staircase: 1 }),
      'schedules.exponentialDecay: staircase: expected true or false, got 1.',
    ],
    [
      loose(schedules.inverseTimeDecay, { ...decay, decayRate: -0.1 }),
      'schedules.inverseTimeDecay: decayRate: expected a number, 0 or more, got -0.1.',
    ],
    [
      loose(schedules.inverseTimeDecay, { initialLearningRate: 0.5, decayRate: 1 }),
      'schedules.inverseTimeDecay: decaySteps: expected a finite number, got nothing.',
    ],
    [
      loose(schedules.polynomialDecay, { ...decay }),
      "schedules.polynomialDecay: unknown option 'decayRate'. Did you mean 'decaySteps'?",
    ],
    [
      loose(schedules.piecewiseConstant, { boundaries: [3, 3], values: [1, 2, 3] }),
      'schedules.piecewiseConstant: boundaries: expected rising step numbers, got [3, 3].',
    ],
    [
      loose(schedules.piecewiseConstant, { boundaries: [3, 7], values: [1, 2] }),
      'schedules.piecewiseConstant: values: expected 3 rates, 0 or more, got [1, 2].',
    ],
    [
      loose(schedules.cosineDecay, {
        initialLearningRate: 1,
        decaySteps: 3,
        warmupTarget: 1,
        warmupSteps: -1,
      }),
      'schedules.cosineDecay: warmupSteps: expected a number of steps, 0 or more, got -1.',
    ],
    [
      loose(schedules.cosineDecay, { initialLearningRate: 1, decaySteps: 3, warmupTarget: -0.5 }),
      'schedules.cosineDecay: warmupTarget: expected a number, 0 or more, got -0.5.',
    ],
    [
      loose(schedules.cosineDecay, { initialLearningRate: 1, decaySteps: 3, warmupTarget: 'optional' }),
      'schedules.cosineDecay: warmupTarget: expected a finite number, got optional.',
    ],
    [
      loose(schedules.cosineDecay, { initialLearningRate: 1, decaySteps: 3, alpha: -2 }),
      'schedules.cosineDecay: alpha: expected a number, 0 or more, got -2.',
    ],
    [
      loose(schedules.cosineDecayRestarts, { initialLearningRate: 1, firstDecaySteps: 3, tMul: 0.5 }),
      'schedules.cosineDecayRestarts: tMul: expected a number, 1 or more, got 0.5.',
    ],
    [
      loose(schedules.cosineDecayRestarts, { initialLearningRate: 1, firstDecaySteps: 3, mMul: -1 }),
      'schedules.cosineDecayRestarts: mMul: expected a number, 0 or more, got -1.',
    ],
    [
      loose(schedules.oneCycle, { maxLearningRate: 1, totalSteps: 10, warmupShare: 1 }),
      'schedules.oneCycle: warmupShare: expected a share above 0 and below 1, got 1.',
    ],
    [
      loose(schedules.oneCycle, { maxLearningRate: 1, totalSteps: 10, divFactor: 0 }),
      'schedules.oneCycle: divFactor: expected a number above 0, got 0.',
    ],
    [() => resolveSchedule('cosine', 'rate'), "rate: expected a number or a schedule, got 'cosine'."],
  ])('%#: %s', async (work, message) => {
    expect(await refusal(work)).toBe(`ERR_VALUE ${message}`);
  });

  test('a schedule of unknown type, with the nearest known one', async () => {
    expect(await refusal(() => resolveSchedule({ type: 'cosineDecy' }, 'rate'))).toBe(
      "ERR_VALUE rate: expected one of constant, exponentialDecay, inverseTimeDecay, polynomialDecay, piecewiseConstant, cosineDecay, cosineDecayRestarts, oneCycle, piecewiseConstantDecay, got 'cosineDecy'. Did you mean 'cosineDecay'?",
    );
  });
});
