import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import {
  charVectorizer,
  minMaxScaler,
  nextTokenWindows,
  padSequences,
  preprocessorFromJSON,
  readCsv,
  type Scaler,
  slidingWindows,
  standardScaler,
  tensor,
  toCategorical,
  trainTestSplit,
  type Vectorizer,
  wordVectorizer,
} from '../../../lib';

const again = <T>(p: { toJSON(): unknown }): T =>
  preprocessorFromJSON(JSON.parse(JSON.stringify(p.toJSON()))) as T;

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
    expect(() => padSequences([[[1, 2], [3]]])).toThrow(
      'padSequences: expected 2 features at [0][1], as before, got 1 features.',
    );
    expect(() => padSequences([['a' as never]])).toThrow('padSequences: expected a number at [0][0], got a.');
    expect(() => padSequences([[0.5]], { dtype: 'int32' })).toThrow(
      'padSequences: expected whole numbers for dtype int32, got fractions.',
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
    'toCategorical: expected class indices from 0 to 2, got 3 at position 1.',
  );
  expect(() => toCategorical([0.5])).toThrow(
    'tensor: expected whole numbers for dtype int32, got 0.5 at position 0.',
  );
});

describe('scalers', () => {
  const x = [
    [1, 10, 5],
    [2, 20, 5],
    [6, 60, 5],
  ];

  test('standardScaler: mean 0, population deviation 1; a constant feature is only shifted', () => {
    const scaler = standardScaler().fit(x);
    const deviation = Math.sqrt(14 / 3);
    const [[a, b, c]] = scaler.transform([[6, 10, 7]]).toArray() as [[number, number, number]];
    expect(a).toBeCloseTo(3 / deviation, 6);
    expect(b).toBeCloseTo(-20 / (10 * deviation), 6);
    expect(c).toBe(2);
  });

  test('minMaxScaler: the range asked for', () => {
    const scaler = minMaxScaler({ featureRange: [-1, 1] });
    expect(scaler.fitTransform(x).toArray()).toEqual([
      [-1, -1, -1],
      [-0.6000000238418579, -0.6000000238418579, -1],
      [1, 1, -1],
    ]);
  });

  test.each([standardScaler, minMaxScaler])(
    '%p: back and forth, in pieces, through JSON, on sequences',
    (make: () => Scaler) => {
      const whole = make().fit(x);
      const pieces = make().partialFit(x.slice(0, 1)).partialFit(x.slice(1));
      const loaded = again<Scaler>(whole);
      const values = tensor([
        [
          [3, 1, 4],
          [1, 5, 9],
        ],
      ]);
      for (const scaler of [pieces, loaded]) {
        scaler.transform(values).data.forEach((v, i) => {
          expect(v).toBeCloseTo(whole.transform(values).data[i] as number, 6);
        });
      }
      loaded.inverseTransform(whole.transform(values)).data.forEach((v, i) => {
        expect(v).toBeCloseTo(values.data[i] as number, 5);
      });
    },
  );

  test('a large mean does not eat the deviation', () => {
    const scaler = standardScaler().fit(tensor(Float64Array.of(1e9 + 1, 1e9 + 2, 1e9 + 3), [3, 1]));
    expect(scaler.transform(tensor(Float64Array.of(1e9 + 3), [1, 1])).data[0]).toBeCloseTo(
      1 / Math.sqrt(2 / 3),
      5,
    );
  });

  test('refusals; a failed fit leaves the scaler as it was', () => {
    const scaler = standardScaler().fit(x);
    expect(() => scaler.partialFit([[1, Number.NaN, 2]])).toThrow(
      'standardScaler.fit: expected finite numbers, got NaN in feature 1, row 0.',
    );
    expect(scaler.toJSON()).toEqual(standardScaler().fit(x).toJSON());
    expect(() => scaler.transform([[1, 2]])).toThrow(
      'standardScaler.transform: expected shape [N, 3] or [N, T, 3], got [1, 2].',
    );
    expect(() => minMaxScaler().transform(x)).toThrow(
      'minMaxScaler.transform: expected a fitted scaler. Call fit with training data first.',
    );
    expect(() => minMaxScaler({ featureRange: [1, 1] })).toThrow(
      'minMaxScaler: featureRange: expected two rising numbers, got [1, 1].',
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
    expect([x.toArray(), y.toArray()]).toEqual([[[[1], [2], [3]]], [[[4]]]]);
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
            [count, outputSteps, 1],
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

describe('vectorizers', () => {
  test('words: most frequent first, ties by code point, 0 padding, 1 unknown', () => {
    const v = wordVectorizer().fit(['The cat, the dog!', 'a cat']);
    expect(v.vocabulary).toEqual(['', '[UNK]', 'cat', 'the', 'a', 'dog']);
    expect(Array.from(v.encode('A bird; the CAT'))).toEqual([4, 1, 3, 2]);
    expect(v.decode(v.encode('the cat'))).toBe('the cat');
    expect(v.encodeAll(['the', 'a cat dog']).toArray()).toEqual([
      [3, 0, 0],
      [4, 2, 5],
    ]);
  });

  test('characters: code points, nothing standardised', () => {
    const v = charVectorizer().fit('héé🙂');
    expect(v.vocabulary).toEqual(['', '[UNK]', 'é', 'h', '🙂']);
    expect(Array.from(v.encode('🙂h?'))).toEqual([4, 3, 1]);
    expect(v.decode([4, 0, 2, 1])).toBe('🙂é\uFFFD');
  });

  test('graphemes, words of languages without spaces, and no padding id', () => {
    expect(charVectorizer({ unit: 'grapheme' }).fit('👩‍👧a').vocabularySize).toBe(4);
    expect(wordVectorizer({ split: 'word' }).fit('東京は大きい').vocabularySize).toBeGreaterThan(3);
    const v = charVectorizer({ padding: false }).fit('ab');
    expect([v.vocabulary, v.decode([0, 1])]).toEqual([['[UNK]', 'a', 'b'], '\uFFFDa']);
  });

  test('maxTokens counts the reserved ids', () => {
    expect(wordVectorizer({ maxTokens: 3 }).fit('b b a').vocabulary).toEqual(['', '[UNK]', 'b']);
    expect(() => wordVectorizer({ maxTokens: 2 })).toThrow(
      'wordVectorizer: maxTokens: expected an integer above 2, got 2.',
    );
  });

  test('property: decode undoes encode, also after JSON', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'binary' }), (text) => {
        const v = charVectorizer().fit(text);
        expect(again<Vectorizer>(v).decode(v.encode(text))).toBe(text);
      }),
    );
  });

  test('refusals', () => {
    expect(() => wordVectorizer().encode('a')).toThrow(
      'wordVectorizer.encode: expected a fitted vectorizer. Call fit with training text first.',
    );
    expect(() => wordVectorizer().fit('!?')).toThrow(
      'wordVectorizer.fit: expected text with at least one token, got none.',
    );
    expect(() => charVectorizer().fit('a').decode([9])).toThrow(
      'charVectorizer.decode: expected ids from 0 to 2, got 9 at position 0.',
    );
    expect(() => preprocessorFromJSON({ type: 'standardScalar' })).toThrow("Did you mean 'standardScaler'?");
  });
});

describe('readCsv', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-csv-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const text = 'day,high,"low, at night",sky\n2026-01-01,3.5,-1e1,"clear, cold"\n2026-01-02,4,-2,rain\n';

  test('columns of numbers and of text, from a file and from a stream', async () => {
    const file = path.join(folder, 'weather.csv');
    writeFileSync(file, text);
    for (const source of [file, Readable.from([text])]) {
      const table = await readCsv(source);
      expect(table.rows).toBe(2);
      expect(table.columns['sky']).toEqual(['clear, cold', 'rain']);
      expect(Array.from(table.columns['low, at night'] as Float64Array)).toEqual([-10, -2]);
      expect(table.toTensor().toArray()).toEqual([
        [3.5, -10],
        [4, -2],
      ]);
      expect(table.toTensor(['high']).shape).toEqual([2, 1]);
    }
  });

  test('no header, chosen columns, another delimiter, missing numbers', async () => {
    const table = await readCsv(Readable.from(['1;2;x\n3;;y\n']), {
      header: false,
      delimiter: ';',
      columns: [1, 0],
      missing: 'nan',
    });
    expect(Object.keys(table.columns).sort()).toEqual(['0', '1']);
    expect(Array.from(table.columns['1'] as Float64Array)).toEqual([2, Number.NaN]);
  });

  test('what is wrong is told with line and column', async () => {
    await expect(readCsv(Readable.from(['a,b\n1,2\n3,x\n']))).rejects.toThrow(
      "readCsv: the stream, line 3, column 'b': expected a number, got 'x'.",
    );
    await expect(readCsv(Readable.from(['a\n1\n""\n']))).rejects.toThrow(
      "readCsv: the stream, line 3, column 'a': expected a number, got nothing.",
    );
    await expect(readCsv(Readable.from(['a,b\n1\n']))).rejects.toThrow(
      /^readCsv: the stream could not be read: Invalid Record Length/,
    );
    await expect(readCsv(path.join(folder, 'none.csv'))).rejects.toThrow(/could not be read: ENOENT/);
    await expect(readCsv(Readable.from(['']))).rejects.toThrow('readCsv: the stream is empty.');
    await expect(readCsv(Readable.from(['a\n1\n']), { columns: ['b'] })).rejects.toThrow(
      "readCsv: columns of the stream: expected one of a, got 'b'.",
    );
  });
});
