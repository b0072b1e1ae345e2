import { expectGradient } from './gradientCheck';

describe('the gradient check', () => {
  const x = Float64Array.from([0.3, -1.2, 0.7]);
  const f = () => x.reduce((sum, v) => sum + Math.sin(v), 0);
  const right = () => x.map(Math.cos);

  test('accepts the true gradient', () => {
    expect(() => expectGradient('sin', right(), x, f)).not.toThrow();
  });

  test('catches one entry that is off by a hundred-thousandth', () => {
    const wrong = right();
    wrong[1]! *= 1 + 1e-5;
    expect(() => expectGradient('sin', wrong, x, f)).toThrow(
      /^sin: 1 of 3 entries off \(DEEPRNN_TEST_SEED=\d+\):\n {2}\[1\] gradient 0\.36/,
    );
  });

  test('catches NaN and infinity in the gradient and in the function', () => {
    for (const odd of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const wrong = right();
      wrong[0] = odd;
      expect(() => expectGradient('sin', wrong, x, f)).toThrow('1 of 3 entries off');
    }
    expect(() => expectGradient('sin', right(), x, () => Number.NaN)).toThrow('3 of 3 entries off');
  });

  test('catches two entries that are swapped and a missing one', () => {
    const wrong = right();
    [wrong[0], wrong[2]] = [wrong[2]!, wrong[0]!];
    expect(() => expectGradient('sin', wrong, x, f)).toThrow('2 of 3 entries off');
    expect(() => expectGradient('sin', right().subarray(1), x, f)).toThrow('2 entries for 3 inputs');
  });

  test('steps over a kink that lies near the point', () => {
    const y = Float64Array.from([4e-6]);
    expect(() => expectGradient('relu', [1], y, () => Math.max(y[0]!, 0))).not.toThrow();
    expect(() => expectGradient('relu', [0], y, () => Math.max(y[0]!, 0))).toThrow('1 of 1 entries off');
  });
});
