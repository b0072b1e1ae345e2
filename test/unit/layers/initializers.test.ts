import fc from 'fast-check';
import { initializers, Philox } from '../../../lib';
import { type Initializer, resolveInitializer } from '../../../lib/layers/initializers';

const [D, U] = [120, 200];
const count = D * U;
const draw = (initializer: Initializer, shape: readonly number[] = [D, U], seed = 11) =>
  initializer.sample(shape, new Philox(seed, 3));

/** Mean, variance and fourth central moment of a sample. */
function moments(values: Float64Array) {
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const central = (power: number) => values.reduce((sum, v) => sum + (v - mean) ** power, 0) / values.length;
  return { mean, variance: central(2), fourth: central(4) };
}

/**
 * Mean and variance of `count` independent draws lie within six standard errors of what they should be: σ/√n and √((μ₄ − σ⁴)/n),
 * with kurtosis μ₄/σ⁴ = 1.8 for a uniform and below 3 for a (truncated) normal distribution. A fair draw fails once in 10⁸.
 */
function expectMoments(values: Float64Array, mean: number, variance: number, kurtosis: number): void {
  const found = moments(values);
  expect(Math.abs(found.mean - mean)).toBeLessThan(6 * Math.sqrt(variance / values.length));
  expect(Math.abs(found.variance / variance - 1)).toBeLessThan(6 * Math.sqrt((kurtosis - 1) / values.length));
  // Of the kurtosis at most √(24/n), which is that of a normal distribution: enough to tell the three shapes apart.
  expect(Math.abs(found.fourth / found.variance ** 2 - kurtosis)).toBeLessThan(
    6 * Math.sqrt(24 / values.length),
  );
}

/** Of a standard normal cut at ±2: kurtosis (3 − (2·2³ + 6·2)φ(2)/Z)/σ⁴ with Z = erf(√2). */
const truncatedKurtosis = (() => {
  const [phi, Z] = [Math.exp(-2) / Math.sqrt(2 * Math.PI), 0.9544997361036416];
  const variance = 1 - (4 * phi) / Z;
  return (3 - (28 * phi) / Z) / variance ** 2;
})();

const papers = {
  glorot: 2 / (D + U),
  he: 2 / D,
  lecun: 1 / D,
};

describe('variances are those of the papers', () => {
  test.each([
    ['glorotUniform', papers.glorot, Math.sqrt(6 / (D + U))],
    ['xavierUniform', papers.glorot, Math.sqrt(6 / (D + U))],
    ['heUniform', papers.he, Math.sqrt(6 / D)],
    ['lecunUniform', papers.lecun, Math.sqrt(3 / D)],
  ] as const)('%s, within its limit', (name, variance, limit) => {
    const values = draw(initializers[name]());
    expect(values).toHaveLength(count);
    expectMoments(values, 0, variance, 1.8);
    const largest = values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    expect(largest).toBeLessThanOrEqual(limit);
    expect(largest).toBeGreaterThan(0.99 * limit);
  });

  test.each([
    ['glorotNormal', papers.glorot],
    ['xavierNormal', papers.glorot],
    ['heNormal', papers.he],
    ['lecunNormal', papers.lecun],
  ] as const)('%s, cut off at two standard deviations of the normal before cutting', (name, variance) => {
    const values = draw(initializers[name]());
    expectMoments(values, 0, variance, truncatedKurtosis);
    const cut = (2 * Math.sqrt(variance)) / 0.8796256610342398;
    const largest = values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    expect(largest).toBeLessThanOrEqual(cut);
    expect(largest).toBeGreaterThan(0.99 * cut);
  });

  test.each([
    ['fanIn', D],
    ['fanOut', U],
    ['fanAvg', (D + U) / 2],
  ] as const)('varianceScaling, %s', (mode, n) => {
    const variance = 1.5 / n;
    const scaled = (distribution: 'truncatedNormal' | 'untruncatedNormal' | 'uniform') =>
      draw(initializers.varianceScaling({ scale: 1.5, mode, distribution }));
    expectMoments(scaled('uniform'), 0, variance, 1.8);
    expectMoments(scaled('truncatedNormal'), 0, variance, truncatedKurtosis);
    const normal = scaled('untruncatedNormal');
    expectMoments(normal, 0, variance, 3);
    expect(normal.reduce((most, v) => Math.max(most, Math.abs(v)), 0)).toBeGreaterThan(
      3.5 * Math.sqrt(variance),
    );
  });

  test('varianceScaling is LeCun’s normal by default', () => {
    expect(draw(initializers.varianceScaling())).toEqual(draw(initializers.lecunNormal()));
  });

  test('the fans of a vector are its length, of more axes the product of the leading ones and the last two', () => {
    const limitOf = (shape: number[]) =>
      draw(initializers.heUniform(), shape).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    const limit = (fanIn: number) => Math.sqrt(6 / fanIn);
    for (const [shape, fanIn] of [
      [[5000], 5000],
      [[3, 50, 40], 150],
    ] as const) {
      expect(limitOf([...shape])).toBeLessThanOrEqual(limit(fanIn));
      expect(limitOf([...shape])).toBeGreaterThan(0.99 * limit(fanIn));
    }
  });

  test('randomUniform, randomNormal, truncatedNormal with their defaults and with options', () => {
    expectMoments(draw(initializers.randomUniform()), 0, 0.1 ** 2 / 12, 1.8);
    const uniform = draw(initializers.randomUniform({ minval: 2, maxval: 5 }));
    expectMoments(uniform, 3.5, 9 / 12, 1.8);
    expect(uniform.every((v) => v >= 2 && v < 5)).toBe(true);
    expectMoments(draw(initializers.randomNormal()), 0, 0.05 ** 2, 3);
    expectMoments(draw(initializers.randomNormal({ mean: -1, stddev: 2 })), -1, 4, 3);
    // The name says what is cut, not what is left: like Keras, its stddev is that of the normal before.
    const truncated = draw(initializers.truncatedNormal({ mean: 1, stddev: 0.5 }));
    expectMoments(truncated, 1, (0.5 * 0.8796256610342398) ** 2, truncatedKurtosis);
    expect(truncated.every((v) => Math.abs(v - 1) <= 1)).toBe(true);
    expectMoments(
      draw(initializers.truncatedNormal()),
      0,
      (0.05 * 0.8796256610342398) ** 2,
      truncatedKurtosis,
    );
  });
});

describe('orthogonal', () => {
  /** Largest |entry| of A·Aᵀ − gain²·I over rows, or of Aᵀ·A − gain²·I over columns, whichever are fewer. */
  function deviation(values: Float64Array, rows: number, columns: number, gain: number): number {
    const [vectors, length] = rows < columns ? [rows, columns] : [columns, rows];
    const at = (vector: number, i: number) =>
      (rows < columns ? values[vector * columns + i] : values[i * columns + vector]) as number;
    let worst = 0;
    for (let a = 0; a < vectors; a++) {
      for (let b = 0; b <= a; b++) {
        let dot = 0;
        for (let i = 0; i < length; i++) dot += at(a, i) * at(b, i);
        worst = Math.max(worst, Math.abs(dot - (a === b ? gain * gain : 0)));
      }
    }
    return worst;
  }

  test.each([
    ['square', 64, 64],
    ['tall', 130, 31],
    ['wide', 31, 130],
    ['of one column', 9, 1],
    ['of one row', 1, 9],
    ['square, of several panels', 131, 131],
    ['wide, of several panels', 97, 1500],
    ['one panel and a row', 33, 34],
  ])('%s: orthonormal', (_, rows, columns) => {
    const q = draw(initializers.orthogonal(), [rows, columns]);
    expect(deviation(q, rows, columns, 1)).toBeLessThan(1e-12);
    // As float32, which is what a model holds.
    expect(deviation(Float64Array.from(q, Math.fround), rows, columns, 1)).toBeLessThan(1e-6);
  });

  test('of any shape, seed and gain', () => {
    const size = fc.integer({ min: 1, max: 24 });
    const gain = fc.double({ min: 0.1, max: 3, noNaN: true });
    fc.assert(
      fc.property(size, size, gain, fc.integer({ min: 0, max: 2 ** 40 }), (rows, columns, g, seed) => {
        const q = draw(initializers.orthogonal({ gain: g, seed }), [rows, columns]);
        expect(deviation(q, rows, columns, g)).toBeLessThan(1e-11);
      }),
      { numRuns: 60 },
    );
  });

  test('is not biased towards an orientation', () => {
    // Uniform over rotations, so every entry has mean 0 and variance 1/n, the diagonal too.
    const [n, repeats] = [5, 1500];
    const diagonal = Float64Array.from(
      { length: repeats },
      (_, seed) => draw(initializers.orthogonal(), [n, n], seed)[0] as number,
    );
    const { mean, variance } = moments(diagonal);
    expect(Math.abs(mean)).toBeLessThan(6 * Math.sqrt(1 / n / repeats));
    expect(Math.abs(variance * n - 1)).toBeLessThan(6 * Math.sqrt(2 / repeats));
  });
});

describe('the others', () => {
  test('zeros, ones, constant, identity', () => {
    expect([...draw(initializers.zeros(), [2, 3])]).toEqual([0, 0, 0, 0, 0, 0]);
    expect([...draw(initializers.ones(), [3])]).toEqual([1, 1, 1]);
    expect([...draw(initializers.constant(), [2])]).toEqual([0, 0]);
    expect([...draw(initializers.constant({ value: -2.5 }), [2])]).toEqual([-2.5, -2.5]);
    expect([...draw(initializers.identity({ gain: 3 }), [2, 3])]).toEqual([3, 0, 0, 0, 3, 0]);
    expect([...draw(initializers.identity(), [3, 2])]).toEqual([1, 0, 0, 1, 0, 0]);
  });
});

describe('seeds', () => {
  const drawn = [
    'randomUniform',
    'randomNormal',
    'truncatedNormal',
    'varianceScaling',
    'glorotUniform',
    'glorotNormal',
    'heUniform',
    'heNormal',
    'lecunUniform',
    'lecunNormal',
    'orthogonal',
  ] as const;

  test.each(drawn)('%s repeats with its seed, and follows the stream it is handed without one', (name) => {
    const make = initializers[name];
    const sample = (options: object, stream: number) => [
      ...make(options).sample([9, 4], new Philox(1, stream)),
    ];
    expect(sample({ seed: 5 }, 1)).toEqual(sample({ seed: 5 }, 2));
    expect(sample({ seed: 5 }, 1)).not.toEqual(sample({ seed: 6 }, 1));
    expect(sample({}, 1)).toEqual(sample({}, 1));
    expect(sample({}, 1)).not.toEqual(sample({}, 2));
    expect(sample({ seed: null }, 1)).toEqual(sample({}, 1));
    // One initializer asked twice in a row gives the same again, as Keras's do with a seed.
    const one = make({ seed: 5 });
    expect([...one.sample([9, 4], new Philox(2))]).toEqual([...one.sample([9, 4], new Philox(3))]);
  });

  test.each(Object.keys(initializers))('%s is rebuilt from its configuration', (name) => {
    const made = resolveInitializer(name, 'test');
    const again = resolveInitializer(JSON.parse(JSON.stringify(made.getConfig())), 'test');
    expect(again.getConfig()).toEqual(made.getConfig());
    expect([...draw(again, [6, 5])]).toEqual([...draw(made, [6, 5])]);
  });

  test('Keras’s names are understood', () => {
    for (const [keras, ours] of [
      ['glorot_uniform', 'glorotUniform'],
      ['HeNormal', 'heNormal'],
      ['LecunUniform', 'lecunUniform'],
      ['lecun_normal', 'lecunNormal'],
      ['random_uniform', 'randomUniform'],
      ['TruncatedNormal', 'truncatedNormal'],
      ['Zeros', 'zeros'],
      ['Orthogonal', 'orthogonal'],
    ]) {
      expect(resolveInitializer(keras, 'test').type).toBe(ours);
    }
    const scaling = {
      type: 'VarianceScaling',
      scale: 2,
      mode: 'fan_out',
      distribution: 'untruncated_normal',
      seed: null,
    };
    expect(resolveInitializer(scaling, 'test').getConfig()).toEqual({
      type: 'varianceScaling',
      scale: 2,
      mode: 'fanOut',
      distribution: 'untruncatedNormal',
    });
  });
});
