import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { readCsv } from '../../../lib';

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

  test('a hundred thousand columns, each looked up once', async () => {
    const names = Array.from({ length: 100_000 }, (_, i) => `c${i}`);
    const { columns } = await readCsv(
      Readable.from([`${names.join()}\n${names.map((_, i) => i).join()}\n`]),
      {
        columns: names.toReversed(),
      },
    );
    expect(Object.keys(columns)).toHaveLength(100_000);
    expect(columns['c99999']?.[0]).toBe(99_999);
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

  test('numbers that float32 cannot tell apart', async () => {
    const rows = Array.from({ length: 3 }, (_, i) => 1700000000 + 60 * i);
    const table = await readCsv(Readable.from([`time\n${rows.join('\n')}\n`]));
    expect(table.toTensor().toArray()).toEqual(rows.map((v) => [v]));
    expect(table.toTensor(['time'], { dtype: 'float32' }).dtype).toBe('float32');
    expect(() => table.toTensor(['tim'])).toThrow(
      "table.toTensor: expected columns of numbers (time), got 'tim'.",
    );
  });

  test('a column is what its first cell that is there says', async () => {
    const table = await readCsv(Readable.from(['a,b\nNaN,\n2,x\n']), { missing: 'nan' });
    expect(Array.from(table.columns['a'] as Float64Array)).toEqual([Number.NaN, 2]);
    expect(table.columns['b']).toEqual(['', 'x']);
    await expect(readCsv(Readable.from(['a\n1\nNaN\n']))).rejects.toThrow(
      "readCsv: the stream, line 3, column 'a': expected a number, got 'NaN'.",
    );
    await expect(readCsv(Readable.from(['a,b\n,1\n3,1\n']))).rejects.toThrow(
      "readCsv: the stream, line 2, column 'a': expected a number, got nothing.",
    );
  });

  test('what only JavaScript reads as a number', async () => {
    expect((await readCsv(Readable.from(['a\n0x10\n']))).columns['a']).toEqual(['0x10']);
    await expect(readCsv(Readable.from(['a\n1\n0x10\n']))).rejects.toThrow(
      "line 3, column 'a': expected a number, got '0x10'.",
    );
  });

  test('names: none twice, any allowed', async () => {
    await expect(readCsv(Readable.from(['a,b,a\n1,2,3\n']))).rejects.toThrow(
      "readCsv: columns of the stream: expected a name of its own for each, got 'a' twice. With header: false columns go by their positions.",
    );
    expect((await readCsv(Readable.from(['a,b,a\n1,2,3\n']), { columns: ['b'] })).rows).toBe(1);
    const { columns } = await readCsv(Readable.from(['__proto__\n1\n']));
    expect(Object.entries(columns)).toEqual([['__proto__', Float64Array.of(1)]]);
  });

  test('numbers that would become others are refused, with line and column', async () => {
    await expect(readCsv(Readable.from(['a,b\n1,1\n1e999,1\n']))).rejects.toThrow(
      "readCsv: the stream, line 3, column 'a': expected a number up to 1.8e308, got '1e999'. readCsv keeps it as it is with text: ['a'].",
    );
    for (const cell of [
      '9007199254740993',
      '-9007199254740992',
      '+12345678901234567890',
      '9007199254740993.0',
    ])
      await expect(readCsv(Readable.from([`a,id\n1,2\n1,${cell}\n`]))).rejects.toThrow(
        `line 3, column 'id': expected a whole number up to 2^53, got '${cell}'.`,
      );
    const id = '9007199254740993';
    expect((await readCsv(Readable.from([`id\n${id}\n`]), { text: ['id'] })).columns['id']).toEqual([id]);
    const { columns } = await readCsv(Readable.from(['a\n9007199254740991\n1e20\n1e-999\n0.1\n']));
    expect(columns['a']).toEqual(Float64Array.of(Number.MAX_SAFE_INTEGER, 1e20, 0, 0.1));
  });

  test('byte order marks, line ends of Windows, quotes in quotes, UTF-16', async () => {
    const text = 'a,"b ""c"""\r\n1,"x, ""y""\r\nz"\r\n2,w';
    const wanted = { a: Float64Array.of(1, 2), 'b "c"': ['x, "y"\r\nz', 'w'] };
    for (const bytes of [
      Buffer.from(text),
      Buffer.from(`\ufeff${text}`),
      Buffer.from(`\ufeff${text}`, 'utf16le'),
    ])
      expect({ ...(await readCsv(Readable.from([bytes]))).columns }).toEqual(wanted);
  });

  test.each<[string, Buffer | string, object, RegExp]>([
    [
      'text that is not UTF-8',
      Buffer.from('a\ncaf\xe9\n', 'latin1'),
      {},
      /line 2, column 'a': expected text in UTF-8/,
    ],
    ['a row that is too long', 'a,b\n1,2,3\n', {}, /Invalid Record Length/],
    ['a quotation mark that is never closed', 'a\n"1\n2\n', {}, /Quote Not Closed/],
    ['a cell without end', `a\n"${'x'.repeat(2 ** 24 + 9)}`, {}, /Max Record Size/],
    [
      'text of a column that is not there',
      'size\n1\n',
      { text: ['sise'] },
      /got 'sise'\. Did you mean 'size'\?/,
    ],
    ['columns that are none', 'a\n1\n', { columns: 'a' }, /readCsv: columns: expected an array of names/],
    ['a delimiter that is none', 'a\n1\n', { delimiter: '"' }, /readCsv: delimiter: expected/],
    ['a header that is text', 'a\n1\n', { header: 'false' }, /readCsv: header: expected true or false/],
    [
      'another rule for what is missing',
      'a\n1\n',
      { missing: 'zero' },
      /missing: expected 'nan' or 'refuse'/,
    ],
  ])('refuses %s', async (_, text, options, message) => {
    await expect(readCsv(Readable.from([text]), options)).rejects.toThrow(message);
  });

  test('a header alone', async () => {
    const { rows, columns } = await readCsv(Readable.from(['a,b\n']));
    expect([rows, Object.keys(columns)]).toEqual([0, ['a', 'b']]);
  });
});
