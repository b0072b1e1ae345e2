import { type PaddedBatch, Philox, paddedBatches, padSequences, tensor } from '../../../lib';
import { refusal } from '../refusal';

const random = new Philox(Math.floor(Math.random() * 2 ** 47));
/** Sequences of 1 to `longest` steps; the first number of each is its place, so that it is known again. */
const idSequences = (count: number, longest: number) =>
  Array.from({ length: count }, (_, n) =>
    Array.from({ length: 1 + random.nextInt(longest) }, (_, t) => (t === 0 ? n : random.nextInt(99))),
  );
const featureSequences = (count: number, longest: number) =>
  Array.from({ length: count }, () =>
    Array.from({ length: 1 + random.nextInt(longest) }, () =>
      Float32Array.from({ length: 3 }, () => random.nextNormal()),
    ),
  );
const placesOf = (batches: readonly PaddedBatch[]) =>
  batches.map(({ x }) => (x.toArray() as number[][]).map((row) => row[0] as number));
const longest = ({ lengths }: PaddedBatch) => Math.max(...lengths.data);
const ascending = (values: readonly number[]) => values.every((v, i) => i === 0 || v >= (values[i - 1] ?? 0));

const sequences = idSequences(101, 30);
const count = sequences.length;
const labels = sequences.map((_, n) => n % 7);

describe('an epoch', () => {
  test('has every sequence once, padded behind, with its target, length and weight', () => {
    const batches = paddedBatches(sequences, labels, {
      batchSize: 8,
      buckets: 4,
      value: -1,
      sampleWeight: sequences.map((_, n) => n / 2),
    });
    const epoch = [...batches()];
    expect(epoch).toHaveLength(batches.batchesPerEpoch);
    expect(
      placesOf(epoch)
        .flat()
        .sort((a, b) => a - b),
    ).toEqual(sequences.map((_, n) => n));
    let [padded, all] = [0, 0];
    for (const batch of epoch) {
      const steps = batch.x.shape[1] as number;
      expect(batch.x.dtype).toBe('int32');
      expect(steps).toBe(Math.ceil(longest(batch) / 8) * 8);
      (batch.x.toArray() as number[][]).forEach((row, i) => {
        const n = row[0] as number;
        const own = sequences[n] as number[];
        expect(row).toEqual([...own, ...Array(steps - own.length).fill(-1)]);
        expect(batch.lengths.data[i]).toBe(own.length);
        expect(batch.y?.data[i]).toBe(n % 7);
        expect(batch.sampleWeight?.data[i]).toBe(n / 2);
        padded += steps - own.length;
        all += steps;
      });
    }
    expect(batches.paddingShare).toBeCloseTo(padded / all, 12);
  });

  test('in order and without targets', () => {
    const batches = paddedBatches(sequences, undefined, { shuffle: false, padToMultipleOf: 1 });
    const epoch = [...batches()];
    expect(placesOf(epoch).flat()).toEqual(sequences.map((_, n) => n));
    for (const batch of epoch) {
      expect(Object.keys(batch)).toEqual(['x', 'lengths']);
      expect(batch.x.shape[1]).toBe(longest(batch));
    }
    expect(epoch.map((b) => b.x.shape[0])).toEqual([32, 32, 32, 5]);
  });

  test('feature vectors, and targets on every step', () => {
    const x = featureSequences(20, 9);
    const y = x.map((sequence) => sequence.map((step) => [step[0] as number, -(step[1] as number)]));
    const batches = paddedBatches(x, y, { batchSize: 6, targetSequences: true, buckets: 2, seed: 4 });
    const places = batches.order(0);
    let at = 0;
    for (const batch of batches()) {
      const rows = [...places.slice(at, at + batch.lengths.size)];
      at += rows.length;
      const maxLen = batch.x.shape[1] as number;
      const post = { padding: 'post', maxLen } as const;
      expect(batch.x).toEqual(
        padSequences(
          rows.map((n) => x[n] as Float32Array[]),
          post,
        ),
      );
      expect(batch.y).toEqual(
        padSequences(
          rows.map((n) => y[n] as number[][]),
          post,
        ),
      );
    }
    expect(at).toBe(20);
    const vectors = [...paddedBatches([[1], [2, 3]], tensor([1, 2, 3, 4], [2, 2]), { shuffle: false })()];
    expect(vectors.map(({ y }) => y?.toArray())[0]).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  test('the element type is one for all batches', () => {
    const mixed = paddedBatches([[1, 2], [0.5]], undefined, { batchSize: 1, shuffle: false });
    expect([...mixed()].map(({ x }) => x.dtype)).toEqual(['float32', 'float32']);
    const asked = paddedBatches([[1e10]], undefined, { dtype: 'float32' });
    expect([...asked()][0]?.x.data[0]).toBe(Math.fround(1e10));
  });
});

describe('buckets', () => {
  test('by boundaries hold the sequences up to each, and one the longer ones', () => {
    const bucketBoundaries = [5, 12, 20];
    const bucketOf = (length: number) => bucketBoundaries.filter((boundary) => length > boundary).length;
    for (const shuffle of [true, false]) {
      const epoch = [...paddedBatches(sequences, labels, { batchSize: 4, bucketBoundaries, shuffle })()];
      const buckets = epoch.map(({ lengths }) => new Set([...lengths.data].map(bucketOf)));
      expect(buckets.every((of) => of.size === 1)).toBe(true);
      if (!shuffle) expect(ascending(buckets.map((of) => [...of][0] as number))).toBe(true);
    }
  });

  test('by number hold about as many each', () => {
    const distinct = Array.from({ length: 40 }, (_, n) => Array(1 + ((n * 7) % 40)).fill(n));
    const epoch = [...paddedBatches(distinct, undefined, { batchSize: 99, buckets: 4, shuffle: false })()];
    expect(epoch.map(longest)).toEqual([10, 20, 30, 40]);
    expect(epoch.map(({ lengths }) => lengths.size)).toEqual([10, 10, 10, 10]);
    const alike = paddedBatches([[1], [2], [3]], undefined, { buckets: 9 });
    expect(alike.batchesPerEpoch).toBe(1);
  });

  test('save padding', () => {
    const share = (buckets: number) => paddedBatches(sequences, labels, { batchSize: 8, buckets, seed: 1 });
    expect(share(4).paddingShare).toBeLessThan(share(1).paddingShare);
  });

  test('and what does not fill a batch may be left out', () => {
    const options = { batchSize: 8, bucketBoundaries: [10], dropRemainder: true };
    const batches = paddedBatches(sequences, labels, options);
    const short = sequences.filter((s) => s.length <= 10).length;
    expect(batches.batchesPerEpoch).toBe(Math.floor(short / 8) + Math.floor((count - short) / 8));
    expect([...batches()].map(({ lengths }) => lengths.size)).toEqual(Array(batches.batchesPerEpoch).fill(8));
  });
});

describe('the order of an epoch', () => {
  const options = { batchSize: 8, buckets: 3, seed: random.nextUint32() };
  const epochs = (given: object, n: number) => {
    const batches = paddedBatches(sequences, labels, { ...options, ...given });
    return Array.from({ length: n }, () => placesOf([...batches()]));
  };

  test('is another in every epoch, the same for the same seed, and goes on from a first epoch', () => {
    const [first, second, third] = epochs({}, 3);
    expect(first).not.toEqual(second);
    expect(second).not.toEqual(third);
    expect(epochs({}, 3)).toEqual([first, second, third]);
    expect(epochs({ seed: options.seed + 1 }, 1)).not.toEqual([first]);
    expect(epochs({ firstEpoch: 1 }, 2)).toEqual([second, third]);
    const batches = paddedBatches(sequences, labels, options);
    expect([...batches.order(1)]).toEqual(second?.flat());
    expect(batches.seed).toBe(options.seed);
    // Not only the batches move: so do the sequences between those of a bucket.
    const sets = (epoch: number[][] = []) => epoch.map((rows) => [...rows].sort().join()).sort();
    expect(sets(first)).not.toEqual(sets(second));
  });

  test('without a seed can be had again by the one that was drawn', () => {
    const drawn = paddedBatches(sequences, labels, { batchSize: 4 });
    const again = paddedBatches(sequences, labels, { batchSize: 4, seed: drawn.seed });
    expect([...again()]).toEqual([...drawn()]);
  });

  test('is that of the call, also for epochs that run side by side', () => {
    const batches = paddedBatches(sequences, labels, options);
    const [one, other] = [batches(), batches()];
    const late = placesOf([...other]);
    expect([placesOf([...one]), late]).toEqual(epochs({}, 2));
  });

  test('a curriculum puts short batches first, in its epochs', () => {
    const lengthsOf = (given: object, n: number) => {
      const batches = paddedBatches(sequences, labels, { ...options, curriculum: 'shortFirst', ...given });
      return Array.from({ length: n }, () => ascending([...batches()].map(longest)));
    };
    expect(lengthsOf({}, 4)).toEqual([true, true, true, true]);
    // Of 14 batches in random order one in 10^6 or so would be ascending by chance.
    expect(lengthsOf({ curriculumEpochs: 2 }, 4)).toEqual([true, true, false, false]);
    expect(lengthsOf({ curriculumEpochs: 2, firstEpoch: 1 }, 2)).toEqual([true, false]);
  });

  test.each([{ buckets: 4 }, {}])(
    'a curriculum grows from the shortest sequences to all, with %j',
    (given) => {
      const growing = { batchSize: 4, seed: 3, curriculum: 'growingLength', ...given } as const;
      const lengths = sequences.map(({ length }) => length).sort((a, b) => a - b);
      const epochs = (more: object, n: number) => {
        const batches = paddedBatches(sequences, labels, { ...growing, ...more });
        return Array.from({ length: n }, () => [...batches()].flatMap((batch) => [...batch.lengths.data]));
      };
      const seen = epochs({ curriculumEpochs: 3 }, 5);
      for (const [epoch, own] of seen.entries()) {
        const share = Math.min(1, (epoch + 1) / 4);
        const limit = lengths[Math.ceil(share * lengths.length) - 1] as number;
        expect([...own].sort((a, b) => a - b)).toEqual(lengths.filter((length) => length <= limit));
      }
      expect(seen[0]?.length).toBeLessThan(lengths.length / 2);
      expect(seen[2]?.length).toBeLessThan(lengths.length);
      // Where a fit is resumed.
      expect(epochs({ curriculumEpochs: 3, firstEpoch: 2 }, 2)).toEqual(seen.slice(2, 4));
      const batches = paddedBatches(sequences, labels, { ...growing, curriculumEpochs: 1 });
      expect([...batches.order(0)].map((n) => sequences[n]?.length)).toEqual(
        epochs({ curriculumEpochs: 1 }, 1)[0],
      );
      expect(batches.batchesPerEpoch).toBe(
        paddedBatches(sequences, labels, { batchSize: 4, ...given }).batchesPerEpoch,
      );
    },
  );
});

test.each<[unknown[], string]>([
  [[[]], 'ERR_VALUE paddedBatches: sequences: expected an array of at least one sequence, got [].'],
  [[[1, 2]], 'ERR_VALUE paddedBatches: sequences: expected a sequence (an array) at [0], got 1.'],
  [
    [[[1], []]],
    'ERR_VALUE paddedBatches: sequences: expected at least one step at [1], got an empty sequence.',
  ],
  [[[[1, Number.NaN]]], 'ERR_VALUE paddedBatches: sequences: expected a finite number at [0][1], got NaN.'],
  [
    [[[[1, 2]], [[3, Infinity]]]],
    'ERR_VALUE paddedBatches: sequences: expected a finite number at [1][0][1], got Infinity.',
  ],
  [
    [[[[1, 2]], [[3]]]],
    'ERR_SHAPE paddedBatches: sequences: expected 2 features at [1][0], as before, got 1 features.',
  ],
  [
    [[[1e10]]],
    "ERR_VALUE paddedBatches: sequences: expected numbers that fit dtype int32, got 10000000000. With dtype: 'float32' they are kept to 7 digits.",
  ],
  [[[[1], [2]], [0]], 'ERR_SHAPE paddedBatches: targets: expected 2 targets, one for each sequence, got 1.'],
  [
    [
      [[1], [2]],
      [0, Number.NaN],
    ],
    'ERR_VALUE paddedBatches: targets: expected finite numbers, got NaN at [1].',
  ],
  [
    [
      [[1], [2, 3]],
      [[0], [0, 1]],
    ],
    'ERR_SHAPE paddedBatches: targets: expected 1 values at [1], as before, got 2. For targets on every step set targetSequences: true.',
  ],
  [
    [[[1], [2, 3]], [[0], [0]], { targetSequences: true }],
    'ERR_SHAPE paddedBatches: targets: expected 2 steps at [1], as in sequences, got 1.',
  ],
  [
    [[[1], [2, 3]], undefined, { targetSequences: true }],
    'ERR_VALUE paddedBatches: targets: expected sequences (targetSequences), got undefined.',
  ],
  [
    [[[1], [2]], [0, 1], { sampleWeight: [1] }],
    'ERR_SHAPE paddedBatches: sampleWeight: expected shape [2], a weight for each sequence, got [1].',
  ],
  [
    [[[1], [2]], [0, 1], { sampleWeight: [1, -1] }],
    'ERR_VALUE paddedBatches: sampleWeight: expected finite weights, 0 or more, got -1 at [1].',
  ],
  [[[[1]], [0], { batchSize: 0 }], 'ERR_VALUE paddedBatches: batchSize: expected a positive integer, got 0.'],
  [
    [[[1]], [0], { bucketBoundaries: [4, 4] }],
    'ERR_VALUE paddedBatches: bucketBoundaries: expected a length of 5 or more at [1], got 4.',
  ],
  [
    [[[1]], [0], { buckets: 2, bucketBoundaries: [4] }],
    'ERR_VALUE paddedBatches: expected bucketBoundaries or buckets, got both.',
  ],
  [
    [[[1]], [0], { curriculum: 'shortFirst' }],
    'ERR_VALUE paddedBatches: curriculum: expected buckets or bucketBoundaries beside it, got neither.',
  ],
  [
    [[[1]], [0], { curriculum: 'short', buckets: 2 }],
    "ERR_VALUE paddedBatches: curriculum: expected 'shortFirst' or 'growingLength', got 'short'.",
  ],
  [
    [[[1]], [0], { curriculumEpochs: 2 }],
    'ERR_VALUE paddedBatches: curriculumEpochs: expected a curriculum beside it, got none.',
  ],
  [
    [[[1]], [0], { curriculum: 'growingLength' }],
    "ERR_VALUE paddedBatches: curriculumEpochs: expected a number of epochs beside curriculum: 'growingLength', got none.",
  ],
  [
    [
      [[1], [2, 3], [4, 5]],
      [0, 1, 1],
      { curriculum: 'growingLength', curriculumEpochs: 2, batchSize: 2, dropRemainder: true },
    ],
    'ERR_VALUE paddedBatches: expected 2 sequences in a bucket (dropRemainder), got fewer.',
  ],
  [
    [[[1]], [0], { dropRemainder: true }],
    'ERR_VALUE paddedBatches: expected 32 sequences in a bucket (dropRemainder), got fewer.',
  ],
  [[[[1]], [0], { value: Number.NaN }], 'ERR_VALUE paddedBatches: value: expected a finite number, got NaN.'],
  [
    [[[1]], [0], { value: 0.5 }],
    'ERR_VALUE paddedBatches: value: expected a whole number beside whole numbers, got 0.5.',
  ],
  [
    [[[1]], [0], { seed: -1 }],
    'ERR_VALUE paddedBatches: seed: expected an integer from 0 to 2^53-1, got -1.',
  ],
  [
    [[[1]], [0], { firstEpoch: -1 }],
    'ERR_VALUE paddedBatches: firstEpoch: expected an integer, 0 or more, got -1.',
  ],
  [[[[1]], [0], { bucket: 3 }], "ERR_VALUE paddedBatches: unknown option 'bucket'. Did you mean 'buckets'?"],
])('refuses %j', async (given, message) => {
  expect(await refusal(() => paddedBatches(...(given as Parameters<typeof paddedBatches>)))).toBe(message);
});
