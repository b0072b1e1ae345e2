import { randomInt } from 'node:crypto';
import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { Philox } from '../tensors/random';
import { type Tensor, type TensorData, type TensorLike, tensor } from '../tensors/tensor';
import { gatherRows } from './rows';

export interface SplitOptions {
  /** A share below 1, or a number of examples. Default 0.25. */
  testSize?: number;
  /** Default true. */
  shuffle?: boolean;
  /** Of the shuffle. Default: a random one. */
  seed?: number;
  /** Time-ordered: the last examples are the test set, nothing is shuffled. */
  ordered?: boolean;
  /** With `ordered`: examples left out between the two sets, so that windows do not overlap. Default 0. */
  gap?: number;
  /** Labels `[N]` whose shares are to be the same in both sets. */
  stratify?: TensorLike;
}

type Arrays = Readonly<Record<string, TensorLike>>;

/**
 * Splits arrays with the same number of rows into a training and a test set.
 * @throws ERR_SHAPE when the arrays differ in rows, ERR_VALUE when a set would be empty
 */
export function trainTestSplit<A extends Arrays>(
  arrays: A,
  options: SplitOptions = {},
): { train: { [K in keyof A]: Tensor }; test: { [K in keyof A]: Tensor } } {
  const o = readConfig(
    options,
    ['testSize', 'shuffle', 'seed', 'ordered', 'gap', 'stratify'],
    'trainTestSplit',
  ) as SplitOptions;
  const entries = Object.entries(arrays).map(([name, values]) => [name, tensor(values)] as const);
  const count = entries[0]?.[1].shape[0];
  if (count === undefined) refuse('ERR_VALUE', 'trainTestSplit', 'at least one array with rows', 'none');
  for (const [name, t] of entries) {
    if (t.shape[0] !== count)
      refuse('ERR_SHAPE', `trainTestSplit: ${name}`, `${count} rows, as the first array`, t.shape[0]);
  }
  const testSize = o.testSize ?? 0.25;
  const isNumber =
    typeof testSize === 'number' && testSize > 0 && (testSize < 1 || Number.isInteger(testSize));
  if (!isNumber)
    refuse(
      'ERR_VALUE',
      'trainTestSplit: testSize',
      'a share below 1 or a number of examples',
      quoted(testSize),
    );
  const tests = testSize < 1 ? Math.ceil(count * testSize) : testSize;
  const gap = o.gap ?? 0;
  if (!Number.isSafeInteger(gap) || gap < 0 || (gap > 0 && !o.ordered))
    refuse('ERR_VALUE', 'trainTestSplit: gap', 'an integer, 0 or more, with ordered: true', quoted(gap));
  if (o.ordered && (o.shuffle || o.stratify !== undefined))
    refuse('ERR_VALUE', 'trainTestSplit: ordered', 'neither shuffle nor stratify beside it', 'both');
  if (tests + gap >= count)
    refuse(
      'ERR_VALUE',
      'trainTestSplit',
      `examples on both sides of ${count}`,
      `${tests} for testing${gap ? ` and a gap of ${gap}` : ''}`,
    );

  let train: ArrayLike<number>;
  let test: ArrayLike<number>;
  const rows = Uint32Array.from({ length: count }, (_, i) => i);
  if (o.ordered || o.shuffle === false) {
    if (o.stratify !== undefined)
      refuse('ERR_VALUE', 'trainTestSplit: stratify', 'shuffle: true beside it', 'shuffle: false');
    [train, test] = [rows.subarray(0, count - tests - gap), rows.subarray(count - tests)];
  } else {
    const random = new Philox(o.seed ?? randomInt(2 ** 47));
    const order = random.permutation(count);
    [train, test] =
      o.stratify === undefined
        ? [order.subarray(tests), order.subarray(0, tests)]
        : stratified(order, tests, tensor(o.stratify).data);
  }
  const take = (indices: ArrayLike<number>) =>
    Object.fromEntries(entries.map(([name, t]) => [name, gatherRows(t, indices)]));
  return { train: take(train), test: take(test) } as {
    train: { [K in keyof A]: Tensor };
    test: { [K in keyof A]: Tensor };
  };
}

/** Takes from every class its share of the test set, by largest remainders. */
function stratified(order: Uint32Array, tests: number, labels: TensorData): [number[], number[]] {
  if (labels.length !== order.length)
    refuse('ERR_SHAPE', 'trainTestSplit: stratify', `${order.length} labels`, labels.length);
  const classes = new Map<number, number[]>();
  for (const row of order) {
    const label = labels[row] as number;
    const members = classes.get(label);
    if (members) members.push(row);
    else classes.set(label, [row]);
  }
  const quotas = [...classes.values()].map((members) => {
    if (members.length < 2)
      refuse('ERR_VALUE', 'trainTestSplit: stratify', 'at least two examples of every class', 'one');
    const exact = (members.length * tests) / order.length;
    return { members, taken: Math.floor(exact), rest: exact - Math.floor(exact) };
  });
  let missing = tests - quotas.reduce((sum, q) => sum + q.taken, 0);
  for (const quota of [...quotas].sort((a, b) => b.rest - a.rest)) if (missing-- > 0) quota.taken++;
  const inTest = new Set(quotas.flatMap(({ members, taken }) => members.slice(0, taken)));
  return [[...order].filter((row) => !inTest.has(row)), [...order].filter((row) => inTest.has(row))];
}
