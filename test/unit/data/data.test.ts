import fc from 'fast-check';
import {
  nextTokenWindows,
  padSequences,
  slidingWindows,
  tensor,
  toCategorical,
  trainTestSplit,
} from '../../../lib';

describe('padSequences', () => {
  const sequences = [[1, 2, 3], [4], [5, 6, 7, 8, 9]];

  test('fills and cuts in front by default, as Keras', () => {
    expect(padSequences(sequences).toArray()).toEqual([
      [0, 0, 1, 2, 3],
      [0, 0, 0, 0, 4],
      [5, 6, 7, 8, 9],
    ]);
    expect(padSequences(sequences, { maxLen: 2 }).toArray()).toEqual([
      [2, 3],
      [0, 4],
      [8, 9],
    ]);
    expect(padSequences(sequences).dtype).toBe('int32');
  });

  test('behind where asked, with any value', () => {
    expect(
      padSequences(sequences, { maxLen: 3, padding: 'post', truncating: 'post', value: -1 }).toArray(),
    ).toEqual([
      [1, 2, 3],
      [4, -1, -1],
      [5, 6, 7],
    ]);
  });

  test('feature vectors', () => {
    const padded = padSequences(
      [
        [[1, 2]],
        [
          [3, 4],
          [5, 6],
        ],
      ],
      { padding: 'post' },
    );
    expect(padded.toArray()).toEqual([
      [
        [1, 2],
        [0, 0],
      ],
      [
        [3, 4],
        [5, 6],
      ],
    ]);
    expect(padded.dtype).toBe('float32');
  });

  test('refusals', () => {
    expect(() => padSequences([])).toThrow('padSequences: expected at least one sequence, got [].');
    // biome-ignore lint/suspicious/noSparseArray: the subject of the test
    expect(() => padSequences([[1], , [2]] as number[][])).toThrow(
      'padSequences: expected a sequence (an array) at [1], got undefined.',
    );
    expect(() => padSequences([[[1, 2], [3]]])).toThrow(
      'padSequences: expected 2 features at [0][1], as before, got 1 features.',
    );
    expect(() => padSequences([['a' as never]])).toThrow(
      "padSequences: expected a number at [0][0], got 'a'.",
    );
    expect(() => padSequences([[0.5]], { dtype: 'int32' })).toThrow(
      'padSequences: expected whole numbers for dtype int32, got fractions.',
    );
    expect(() => padSequences([1, 2] as never)).toThrow(
      'padSequences: expected a sequence (an array) at [0], got 1.',
    );
    expect(() => padSequences([[1], tensor([1])] as never)).toThrow(
      'padSequences: expected a sequence (an array) at [1], got a Tensor.',
    );
    expect(() => padSequences([[]])).toThrow(
      'padSequences: expected a maxLen, or a sequence with at least one step, got empty sequences only.',
    );
    expect(() => padSequences([[1e10]])).toThrow(
      "padSequences: expected numbers that fit dtype int32, got 10000000000. With dtype: 'float32' they are kept to 7 digits.",
    );
    expect(() => padSequences([[1]], { padding: 'front' as never })).toThrow(
      "padSequences: padding: expected 'pre' or 'post', got 'front'.",
    );
  });

  test('property: every sequence that fits comes back whole, at its end', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.integer({ min: 1, max: 99 }), { minLength: 1, maxLength: 9 }), {
          minLength: 1,
          maxLength: 7,
        }),
        (all) => {
          const padded = padSequences(all, { padding: 'post' }).toArray() as number[][];
          expect(padded.map((row, n) => row.slice(0, all[n]?.length))).toEqual(all);
          expect(padded.every((row, n) => row.slice(all[n]?.length).every((v) => v === 0))).toBe(true);
        },
      ),
    );
  });
});

test('toCategorical', () => {
  expect(
    toCategorical([
      [1, 0],
      [2, 1],
    ]).toArray(),
  ).toEqual([
    [
      [0, 1, 0],
      [1, 0, 0],
    ],
    [
      [0, 0, 1],
      [0, 1, 0],
    ],
  ]);
  expect(toCategorical([0], 2).shape).toEqual([1, 2]);
  expect(() => toCategorical([0, 3], 3)).toThrow(
    'toCategorical: expected class indices from 0 to 2, got 3 at [1].',
  );
  expect(() => toCategorical([0.5])).toThrow(
    'toCategorical: expected whole numbers for dtype int32, got 0.5 at [0].',
  );
  // A column of labels, as Keras.
  expect(toCategorical([[0], [1]]).shape).toEqual([2, 2]);
  for (const [labels, classes, message] of [
    [[-1], undefined, 'toCategorical: expected class indices, 0 or more, got -1 at [0].'],
    [
      [
        [0, 1],
        [2, -3],
      ],
      undefined,
      'toCategorical: expected class indices, 0 or more, got -3 at [1, 1].',
    ],
    [[], undefined, 'toCategorical: expected at least one label, got shape [0].'],
    [[1], '3', "toCategorical: numClasses: expected a positive integer, got '3'."],
    [
      [1],
      1e12,
      'toCategorical: numClasses: expected at most 2147483647 classes for 1 labels, got 1000000000000.',
    ],
  ] as const) {
    expect(() => toCategorical(labels as never, classes as never)).toThrow(message);
  }
});

describe('nested arrays', () => {
  test('may end in typed arrays', () => {
    expect(tensor([[Float32Array.of(1, 2, 3), Float32Array.of(4, 5, 6)]]).toArray()).toEqual([
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
    ]);
    expect(() => tensor([Float32Array.of(1, 2), Float32Array.of(3)])).toThrow(
      'tensor: ragged input: expected an array of length 2 at [1], got length 1.',
    );
  });

  test.each<[unknown, string]>([
    [[[['1']]], "tensor: expected a number at [0][0][0], got '1'."],
    [[[1n]], 'tensor: expected a number at [0][0], got 1n.'],
    [
      new BigInt64Array(2),
      'tensor: expected a typed array, a Tensor or nested arrays, got BigInt64Array(2).',
    ],
  ])('%p is refused', (values, message) => {
    expect(() => tensor(values as never)).toThrow(message);
  });

  test('places are told by their axes', () => {
    expect(() =>
      tensor(
        [
          [1, 2],
          [3, 0.5],
        ],
        undefined,
        'int32',
      ),
    ).toThrow('tensor: expected whole numbers for dtype int32, got 0.5 at [1, 1].');
    expect(() => tensor([3e9], undefined, 'int32')).toThrow(
      'tensor: expected numbers that fit dtype int32, got 3000000000 at [0].',
    );
  });
});

describe('windows', () => {
  const series = [
    [0, 100],
    [1, 101],
    [2, 102],
    [3, 103],
    [4, 104],
    [5, 105],
    [6, 106],
  ];

  test('slidingWindows with everything set', () => {
    const { x, y } = slidingWindows(series, {
      inputSteps: 2,
      outputSteps: 2,
      horizon: 2,
      stride: 2,
      targetColumns: [1],
    });
    expect(x.toArray()).toEqual([
      [
        [0, 100],
        [1, 101],
      ],
      [
        [2, 102],
        [3, 103],
      ],
    ]);
    expect(y.toArray()).toEqual([
      [[103], [104]],
      [[105], [106]],
    ]);
  });

  test('a plain series, the next step', () => {
    const { x, y } = slidingWindows([1, 2, 3, 4], { inputSteps: 3 });
    expect([x.toArray(), y.toArray()]).toEqual([[[[1], [2], [3]]], [[4]]]);
    expect(() => slidingWindows([1, 2, 3], { inputSteps: 3 })).toThrow(
      'slidingWindows: expected a series of at least 4 steps, got 3 steps.',
    );
    expect(() => slidingWindows(series, { inputSteps: 2, targetColumns: [2] })).toThrow(
      'slidingWindows: targetColumns: expected columns from 0 to 1, got [2].',
    );
  });

  test('nextTokenWindows shifts by one', () => {
    const { x, y } = nextTokenWindows([1, 2, 3, 4, 5], { steps: 2 });
    expect([x.toArray(), y.toArray()]).toEqual([
      [
        [1, 2],
        [3, 4],
      ],
      [
        [2, 3],
        [4, 5],
      ],
    ]);
    expect(nextTokenWindows([1, 2, 3, 4, 5], { steps: 2, stride: 1 }).x.shape).toEqual([3, 2]);
  });

  test('property: windows are pieces of the series', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 5 }),
        (inputSteps, outputSteps, horizon, stride) => {
          const steps = 30;
          const { x, y } = slidingWindows(
            Array.from({ length: steps }, (_, t) => t),
            { inputSteps, outputSteps, horizon, stride },
          );
          const count = Math.floor((steps - (inputSteps + horizon - 1 + outputSteps)) / stride) + 1;
          expect([x.shape, y.shape]).toEqual([
            [count, inputSteps, 1],
            outputSteps === 1 ? [count, 1] : [count, outputSteps, 1],
          ]);
          for (let n = 0; n < count; n++) {
            expect(x.data[n * inputSteps]).toBe(n * stride);
            expect(y.data[n * outputSteps]).toBe(n * stride + inputSteps + horizon - 1);
          }
        },
      ),
    );
  });
});

describe('trainTestSplit', () => {
  const x = tensor(
    Float32Array.from({ length: 20 }, (_, i) => i),
    [10, 2],
  );
  const y = tensor(Int32Array.from({ length: 10 }, (_, i) => i % 2));

  test('rows stay together, every row goes one way, the seed repeats it', () => {
    const { train, test: held } = trainTestSplit({ x, y }, { testSize: 0.3, seed: 5 });
    expect([train.x.shape, held.x.shape]).toEqual([
      [7, 2],
      [3, 2],
    ]);
    const rows = [...train.x.data, ...held.x.data].filter((_, i) => i % 2 === 0).map((v) => v / 2);
    expect([...rows].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    rows.forEach((row, i) => {
      expect([...train.y.data, ...held.y.data][i]).toBe(row % 2);
    });
    expect(trainTestSplit({ x }, { testSize: 3, seed: 5 }).test.x.data).toEqual(held.x.data);
    expect(train.y.dtype).toBe('int32');
  });

  test('time-ordered, with a gap', () => {
    const { train, test: held } = trainTestSplit(
      { y: [0, 1, 2, 3, 4, 5] },
      { ordered: true, testSize: 2, gap: 1 },
    );
    expect([Array.from(train.y.data), Array.from(held.y.data)]).toEqual([
      [0, 1, 2],
      [4, 5],
    ]);
  });

  test('stratified: the same shares of every class', () => {
    const labels = Int32Array.from({ length: 40 }, (_, i) => Number(i % 4 === 0));
    const { test: held } = trainTestSplit({ labels }, { testSize: 0.4, seed: 1, stratify: labels });
    expect(Array.from(held.labels.data).filter((label) => label === 1)).toHaveLength(4);
  });

  test('refusals', () => {
    expect(() => trainTestSplit({ x, y: [1, 2] })).toThrow(
      'trainTestSplit: y: expected 10 rows, as the first array, got 2.',
    );
    expect(() => trainTestSplit({ x }, { testSize: 10 })).toThrow(
      'trainTestSplit: expected examples on both sides of 10, got 10 for testing.',
    );
    expect(() => trainTestSplit({ x }, { testSize: 1.5 })).toThrow(
      'trainTestSplit: testSize: expected a share below 1 or a number of examples, got 1.5.',
    );
  });
});
