import { normalDensity, normalDistribution } from '../../../lib/engines/reference/normal';

// Correctly rounded values, from 50-digit arithmetic.
test.each([
  [-30, 4.906713927148187e-198],
  [-10, 7.619853024160525e-24],
  [-5, 2.866515718791939e-7],
  [-2.5, 0.006209665325776135],
  [-1.4, 0.08075665923377107],
  [-1.5, 0.06680720126885807],
  [-1, 0.15865525393145705],
  [-0.5, 0.3085375387259869],
  [-0.001, 0.49960105778608893],
  [0, 0.5],
  [0.001, 0.500398942213911],
  [0.5, 0.6914624612740131],
  [1, 0.8413447460685429],
  [1.4, 0.9192433407662289],
  [1.5, 0.9331927987311419],
  [2.5, 0.9937903346742238],
  [5, 0.9999997133484281],
])('Φ(%p) = %p', (x, expected) => {
  // An exponent of x²/2, rounded, is off by up to x²/4 units, and the result by as much.
  expect(Math.abs(normalDistribution(x) / expected - 1)).toBeLessThan(2 ** -52 * (16 + x * x));
});

test('Φ at its ends, and of NaN', () => {
  expect(normalDistribution(Number.NEGATIVE_INFINITY)).toBe(0);
  expect(normalDistribution(Number.POSITIVE_INFINITY)).toBe(1);
  expect(normalDistribution(Number.NaN)).toBeNaN();
});

test('φ is the slope of Φ', () => {
  for (const x of [-3, -1.2, 0, 0.4, 1.41, 1.42, 2.5]) {
    const h = 1e-5;
    expect((normalDistribution(x + h) - normalDistribution(x - h)) / (2 * h)).toBeCloseTo(
      normalDensity(x),
      9,
    );
  }
});
