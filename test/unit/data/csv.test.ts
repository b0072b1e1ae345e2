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
});
