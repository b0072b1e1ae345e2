import { largestDifference } from '../../../bench/cpu/check';
import { summarize } from '../../../bench/cpu/statistics';

test('a summary is the middle and the ends, of an even number the mean of the two in the middle', () => {
  expect(summarize([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3, runs: 3 });
  expect(summarize([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4, runs: 4 });
  expect(() => summarize([])).toThrow('at least one value');
});

test('no number compares as equal to NaN', () => {
  expect(largestDifference([1, 2], [1, 2.5])).toBe(0.5);
  expect(largestDifference([1, 2], [1, Number.NaN])).toBeNaN();
  expect(() => largestDifference([1, 2], [1])).toThrow('expected 2 numbers to compare, got 1');
});
