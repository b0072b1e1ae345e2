import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { layers, readTable, sequential, tableBatches, tableTensors, vocabularyOf } from 'deeprnn';
import { refusal } from '../refusal';
import { runBuilt as run } from './runBuilt';

const fixtures = resolve(__dirname, '../../fixtures/tables');
let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'deeprnn-tables-'));
  file = join(folder, 'table.csv');
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('Parquet', () => {
  test.each(['none', 'snappy', 'gzip', 'brotli'])('columns of every kind, compression %s', (codec) => {
    const found = run(
      `const { rows, columns } = await readTable(path, { columns: ['size', 'count', 'kind', 'good', 'day'] });
       return { rows, columns: Object.fromEntries(Object.entries(columns).map(([n, v]) => [n, [...v]])) };`,
      join(fixtures, `${codec}.parquet`),
    );
    const all = Array.from({ length: 50 }, (_, i) => i);
    expect(found).toEqual({
      rows: 50,
      columns: {
        size: all.map((i) => i * 0.25),
        count: all.map((i) => i * i),
        kind: all.map((i) => ['red', 'green', 'blue'][i % 3]),
        good: all.map((i) => 1 - (i % 2)),
        day: all.map((i) => Date.UTC(2020, 0, 1 + i)),
      },
    });
  });

  test('batches across the borders of row groups', () => {
    const found = run(
      `const sums = [];
       const options = { features: ['size', { column: 'kind', vocabulary: ['blue', 'green', 'red'] }], target: 'count', batchSize: 20 };
       for await (const { x, y } of tableBatches(path, options)())
         sums.push([x.shape, y.shape, [...x.data.subarray(0, 4)], y.data.at(-1)]);
       return sums;`,
      join(fixtures, 'snappy.parquet'),
    );
    expect(found).toEqual([
      [[20, 4], [20, 1], [0, 0, 0, 1], 361],
      [[20, 4], [20, 1], [5, 1, 0, 0], 1521],
      [[10, 4], [10, 1], [10, 0, 1, 0], 2401],
    ]);
  });

  test.each([
    [
      "{ columns: ['gaps'] }",
      /ERR_VALUE readTable: '.*', row 7, column 'gaps': expected a number, got nothing/,
    ],
    ["{ columns: ['many'] }", /row 0, column 'many': expected a number, got \[0n?\]/],
    ["{ columns: ['none'] }", /expected one of size, count, .*, got 'none'/],
    ["{ missing: 'zero' }", /readTable: missing: expected 'nan' or 'refuse', got 'zero'/],
  ])('refuses %s', (options, message) => {
    expect(run(`return readTable(path, ${options})`, join(fixtures, 'none.parquet'))).toMatch(message);
  });

  test('refuses a file that decodes without end, while the event loop runs', () => {
    const found = run(
      `let ticks = 0;
       const timer = setInterval(() => ticks++, 100);
       const reason = await readTable(path).catch((error) => error.message);
       clearInterval(timer);
       return { reason, ran: ticks > 10 };`,
      join(fixtures, 'endless.damaged'),
    );
    expect(found).toEqual({
      reason: expect.stringMatching(/could not be read: it took more than 10 s\./),
      ran: true,
    });
  });

  test('refuses a file that is cut', () => {
    const cut = join(folder, 'cut.parquet');
    writeFileSync(cut, readFileSync(join(fixtures, 'none.parquet')).subarray(0, 3000));
    expect(run('return readTable(path)', cut)).toMatch(/^ERR_FILE readTable: '.*' could not be read: /);
  });
});

test('columns are an array of names', async () => {
  writeFileSync(file, 'a\n1\n');
  expect(await refusal(() => readTable(file, { columns: 'a' as unknown as string[] }))).toMatch(
    /readTable: columns: expected an array of names, got 'a'/,
  );
});

describe('Arrow tables', () => {
  const values: Record<string, unknown[]> = {
    size: [1, 2n, null],
    word: ['a', null, 'b'],
    day: [new Date(5), true, 0],
  };
  const table = {
    numRows: 3,
    schema: { fields: Object.keys(values).map((name) => ({ name })) },
    getChild: (name: string) => ({ get: (row: number) => values[name]?.[row] }),
  };

  test('are read column by column', async () => {
    const { columns, rows } = await readTable(table, { missing: 'nan' });
    expect(rows).toBe(3);
    expect({ ...columns }).toEqual({
      size: Float64Array.of(1, 2, Number.NaN),
      word: ['a', '', 'b'],
      day: Float64Array.of(5, 1, 0),
    });
    expect(await refusal(() => readTable(table))).toMatch(
      /the Arrow table, row 2, column 'size': expected a number/,
    );
    expect(await refusal(() => readTable({} as typeof table))).toMatch(
      /expected a file name or a table of Apache Arrow/,
    );
  });
});

describe('CSV', () => {
  const text = 'size,kind,label\n1,red,no\n2.5,blue,yes\n3,red,yes\n4,blue,no\n5,red,yes\n';
  const features = ['size', { column: 'kind', vocabulary: ['blue', 'red'] }] as const;
  const target = { column: 'label', vocabulary: ['no', 'yes'] };

  test('of text a vocabulary is wanted, and of numbers none', async () => {
    writeFileSync(file, text);
    const table = await readTable(file);
    expect(await refusal(() => tableTensors(table, { features: ['kind'] }))).toMatch(
      /column 'kind': expected a vocabulary for its text, got none\. vocabularyOf/,
    );
    const numbers = { features: [{ column: 'size', vocabulary: ['1'] }] };
    expect(await refusal(() => tableTensors(table, numbers))).toMatch(
      /column 'size': expected text, since it has/,
    );
    expect(await refusal(() => vocabularyOf(table, 'size'))).toMatch(
      /expected a column of text \(kind, label\)/,
    );
  });

  test('columns become features and classes', async () => {
    writeFileSync(file, text);
    const table = await readTable(file);
    expect(vocabularyOf(table, 'kind')).toEqual(['blue', 'red']);
    const { x, y } = tableTensors(table, { features, target });
    expect(x.toArray()).toEqual([
      [1, 0, 1],
      [2.5, 1, 0],
      [3, 0, 1],
      [4, 1, 0],
      [5, 0, 1],
    ]);
    expect(y?.data).toEqual(Int32Array.of(0, 1, 1, 0, 1));
    expect(tableTensors(table, { features: ['size'], target: 'size' }).y?.shape).toEqual([5, 1]);
    expect(tableTensors(table, { features: ['size'] }).y).toBeUndefined();
  });

  test('numbers that float32 would make infinite are refused', async () => {
    writeFileSync(file, 'a,b\n1,1\n1e39,-1e300\n');
    const table = await readTable(file);
    expect(await refusal(() => tableTensors(table, { features: ['a'] }))).toMatch(
      /tableTensors: column 'a', row 1: expected a number up to 3\.4e38, which float32 holds, got 1e\+39/,
    );
    writeFileSync(file, 'a,b\n1,1\n2,-1e300\n');
    const batches = tableBatches(file, { features: ['a'], target: 'b', batchSize: 1 })();
    await batches.next();
    expect(await refusal(() => batches.next())).toMatch(/tableBatches: column 'b', row 1: expected a number/);
    expect(() => table.toTensor(['a'], { dtype: 'float32' })).toThrow(/table\.toTensor: column 'a', row 1/);
    expect(table.toTensor(['a']).data).toEqual(Float64Array.of(1, 1e39));
  });

  test('batches are those of the whole table, again and again', async () => {
    writeFileSync(file, text);
    const whole = tableTensors(await readTable(file), { features, target });
    const batches = tableBatches(file, { features, target, batchSize: 2 });
    for (let epoch = 0; epoch < 2; epoch++) {
      const found: number[][] = [];
      const sizes: (number | undefined)[] = [];
      for await (const { x, y } of batches()) {
        found.push(...(x.toArray() as number[][]));
        sizes.push(y?.size);
      }
      expect(found).toEqual(whole.x.toArray());
      expect(sizes).toEqual([2, 2, 1]);
    }
  });

  test('a model is trained on them, and asked', async () => {
    writeFileSync(file, text);
    const model = sequential([layers.dense({ units: 2, activation: 'softmax', inputShape: [3] })]);
    model.compile({ loss: 'sparseCategoricalCrossentropy', optimizer: 'adam' });
    const { history } = await model.fit(tableBatches(file, { features, target, batchSize: 2 }), {
      epochs: 2,
    });
    expect(history['loss']).toHaveLength(2);
    expect((await model.predict(tableBatches(file, { features, batchSize: 2 }))).shape).toEqual([5, 2]);
  });

  test('a break ends the reading', async () => {
    writeFileSync(file, text.repeat(1) + '6,red,no\n'.repeat(50_000));
    for await (const { x } of tableBatches(file, { features, batchSize: 2 })()) {
      expect(x.shape).toEqual([2, 3]);
      break;
    }
  });

  test.each<[string, object, RegExp]>([
    ['no features', { features: [] }, /tableBatches: features: expected an array of columns/],
    [
      'text without a vocabulary',
      { features: ['kind'] },
      /line 2, column 'kind': expected a number, got 'red'/,
    ],
    [
      'a word that is not in it',
      { features: ['size'], target: { column: 'kind', vocabulary: ['red'] }, batchSize: 1 },
      /column 'kind', row 1: expected a word of its vocabulary, got 'blue'/,
    ],
    [
      'a word twice',
      { features: [{ column: 'kind', vocabulary: ['a', 'a'] }] },
      /vocabulary: expected every word once/,
    ],
    ['an unknown column', { features: ['weight'] }, /expected one of size, kind, label, got 'weight'/],
    [
      'batches of none',
      { features: ['size'], batchSize: 0 },
      /batchSize: expected a positive integer, got 0/,
    ],
  ])('refuses %s', async (_, options, message) => {
    writeFileSync(file, text);
    const read = async () => {
      for await (const _batch of tableBatches(file, options as { features: string[] })());
    };
    expect(await refusal(read)).toMatch(message);
  });
});
