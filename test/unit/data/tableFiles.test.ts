import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import { readTable } from 'deeprnn';
import { runBuilt } from './runBuilt';

const fixtures = resolve(__dirname, '../../fixtures/tables');
const files = readdirSync(fixtures);

/** By column its values, or what refuses it. */
type Kinds = Record<string, (number | string | null)[] | string>;
const kinds: Kinds = JSON.parse(readFileSync(join(fixtures, 'kinds.json'), 'utf8'));

/** Columns together, NaN as null; of those that are refused the refusals. */
const eachColumn = `
  const [wanted, refused] = JSON.parse(process.argv[2]);
  const found = {};
  const { columns } = await readTable(path, { columns: wanted, missing: 'nan' });
  for (const name of wanted)
    found[name] = Array.from(columns[name], (v) => (v === Infinity ? 'Infinity' : Number.isNaN(v) ? null : v));
  for (const name of refused)
    await readTable(path, { columns: [name], missing: 'nan' }).catch((error) => { found[name] = error.message; });
  return found;`;

const left: Record<string, readonly string[]> = {
  'kinds-old.parquet': Object.keys(kinds).filter((name) => !/^(micro|nano)seconds/.test(name)),
  'kinds-int96.parquet': ['nanoseconds', 'microseconds'],
};

describe('every kind of column', () => {
  test.each(files.filter((name) => /^kinds-.*(parquet|arrows?)$/.test(name)))('%s', (name) => {
    const names = left[name] ?? Object.keys(kinds);
    const isRefused = (column: string) => typeof kinds[column] === 'string';
    const asked = [names.filter((column) => !isRefused(column)), names.filter(isRefused)];
    const found = runBuilt(eachColumn, join(fixtures, name), JSON.stringify(asked)) as Kinds;
    for (const column of names) {
      const wanted = kinds[column] as Kinds[string];
      if (typeof wanted === 'string') expect(found[column]).toMatch(new RegExp(wanted));
      else expect([column, found[column]]).toEqual([column, wanted]);
    }
  });

  test('a table that apache-arrow read', async () => {
    const table = tableFromIPC(readFileSync(join(fixtures, 'kinds-none.arrow')));
    for (const [name, wanted] of Object.entries(kinds)) {
      const read = readTable(table, { columns: [name], missing: 'nan' });
      if (typeof wanted === 'string') await expect(read).rejects.toThrow(new RegExp(wanted));
      else
        expect([name, ...((await read).columns[name] as string[])]).toEqual([
          name,
          ...wanted.map((v) => (v === null ? Number.NaN : v === 'Infinity' ? Number.POSITIVE_INFINITY : v)),
        ]);
    }
  });
});

describe('files of other shapes', () => {
  const read = `const { rows, columns } = await readTable(path);
    return { rows, columns: Object.entries(columns).map(([name, v]) => [name, v.constructor.name, [...v]]) };`;

  test.each(['no-rows.parquet', 'no-rows.feather'])('without rows, columns keep their kinds: %s', (name) => {
    const columns = [
      ['size', 'Float64Array', []],
      ['kind', 'Array', []],
    ];
    expect(runBuilt(read, join(fixtures, name))).toEqual({ rows: 0, columns });
    const batches = `const found = [];
      for await (const batch of tableBatches(path, { features: ['size'] })()) found.push(batch);
      return found;`;
    expect(runBuilt(batches, join(fixtures, name))).toEqual([]);
  });

  test.each(['twice.parquet', 'twice.arrow'])(
    'with a name twice, of which the others can be read: %s',
    (name) => {
      expect(runBuilt(read, join(fixtures, name))).toMatch(/a name of its own for each, got 'a' twice/);
      const b = `return [...(await readTable(path, { columns: ['b'] })).columns.b];`;
      expect(runBuilt(b, join(fixtures, name))).toEqual([2]);
    },
  );

  test.each(files.filter((name) => name.startsWith('long')))(
    'longer than the windows of compressions: %s',
    (name) => {
      const program = `const { rows, columns } = await readTable(path);
      const value = columns.value.every((v, i) => v === i % 1000);
      return { rows, value, text: columns.text.every((v, i) => v === 'word ' + (i % 1000)) };`;
      expect(runBuilt(program, join(fixtures, name))).toEqual({ rows: 40_000, value: true, text: true });
    },
  );

  test.each(['fastparquet.parquet', 'pandas.parquet', 'polars.parquet', 'polars.arrow'])('of %s', (name) => {
    const program = `const { columns } = await readTable(path, { columns: ['value', 'count', 'text'] });
      return Object.values(columns).map((v) => [...v]);`;
    const wanted = [
      [0.5, 1.5, 2.5],
      [1, 2, 3],
      ['a', 'b', 'c'],
    ];
    expect(runBuilt(program, join(fixtures, name))).toEqual(wanted);
  });

  test('columns have no members that are none of theirs', () => {
    const program = `const { columns } = await readTable(path);
      return [Object.getPrototypeOf(columns), columns.constructor === undefined];`;
    expect(runBuilt(program, join(fixtures, 'pandas.parquet'))).toEqual([null, true]);
  });

  test('batches of an Arrow file, of which a break ends the reading and the process', () => {
    const program = `const shapes = [];
      for await (const { x, y } of tableBatches(path, { features: ['value'], target: 'value', batchSize: 30_000 })())
        shapes.push([x.shape, y.data.at(-1)]);
      for await (const { x } of tableBatches(path, { features: ['value'] })()) { shapes.push(x.shape); break; }
      const left = tableBatches(path, { features: ['value'] })();
      shapes.push((await left.next()).value.x.shape);
      return shapes;`;
    const wanted = [
      [[30_000, 1], 999],
      [[10_000, 1], 999],
      [32, 1],
      [32, 1],
    ];
    expect(runBuilt(program, join(fixtures, 'long.feather'))).toEqual(wanted);
  });
});

describe('refused', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'deeprnn-table-files-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const read = (bytes: Uint8Array | string, options = '{}') => {
    const file = join(folder, 'table');
    writeFileSync(file, bytes);
    return runBuilt(`return (await readTable(path, ${options})).rows`, file);
  };
  const arrow = readFileSync(join(fixtures, 'kinds-none.arrow'));
  const stream = readFileSync(join(fixtures, 'kinds-none.arrows'));

  test('a column of another name, with the nearest', () => {
    const parquet = readFileSync(join(fixtures, 'pandas.parquet'));
    expect(read(parquet, "{ columns: ['valu'] }")).toMatch(
      /expected one of value, count, .*, got 'valu'\. Did you mean 'value'\?/,
    );
  });

  test.each([
    ['nameless.damaged', /could not be read: a column has no name/],
    ['endless-arrow.damaged', /could not be read: Expected RecordBatch Message|is not where it says/],
  ])('what was found by damaging files: %s', (name, message) => {
    expect(read(readFileSync(join(fixtures, name)), "{ columns: ['size'] }")).toMatch(message);
  });

  test.each<[string, Uint8Array | string, RegExp]>([
    [
      'an Arrow file that is cut',
      arrow.subarray(0, arrow.length - 300),
      /^ERR_FILE readTable: '.*' could not be read/,
    ],
    ['an Arrow stream that is cut', stream.subarray(0, stream.length - 3000), /^ERR_FILE/],
    ['a beginning alone', 'ARROW1', /^ERR_FILE/],
    ['a Parquet file of its marks alone', 'PAR1PAR1', /^ERR_FILE/],
    ['an encrypted Parquet file', 'PARE0000PARE', /is an encrypted Parquet file/],
    ['Feather of the first version', 'FEA1....', /is of the first version of Feather/],
    ['an empty file', '', /^ERR_FILE readTable: '.*' is empty/],
  ])('%s', (_, bytes, message) => {
    expect(read(bytes)).toMatch(message);
  });
});
