import { largestDifference } from '../../../bench/cpu/check';
import { roundsOf } from '../../../bench/cpu/rounds';
import { summarize } from '../../../bench/cpu/statistics';

test('a summary is the middle and the ends, of an even number the mean of the two in the middle', () => {
  expect(summarize([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3, runs: 3 });
  expect(summarize([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4, runs: 4 });
  expect(() => summarize([])).toThrow('at least one value');
});

test('slow contenders take part in few rounds', () => {
  const pace = { rounds: 7, turn: 300, patience: 1000 };
  expect([3, 1000, 5000].map((run) => roundsOf(run, pace))).toEqual([7, 3, 1]);
  expect(roundsOf(1000, { ...pace, rounds: 2 })).toBe(2);
});

test('no number compares as equal to NaN', () => {
  expect(largestDifference([1, 2], [1, 2.5])).toBe(0.5);
  expect(largestDifference([1, 2], [1, Number.NaN])).toBeNaN();
  expect(() => largestDifference([1, 2], [1])).toThrow('expected 2 numbers to compare, got 1');
});
