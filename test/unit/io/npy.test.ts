import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type NpyDType, readNpy, readNpz, tensor, writeNpy, writeNpz } from 'deeprnn';
import { fromFloat16, toFloat16 } from '../../../lib/io/numbers';
import { refusal } from '../refusal';

const fixtures = resolve(__dirname, '../../fixtures/npy');
const cases: Record<string, { shape: number[]; data: number[] }> = JSON.parse(
  readFileSync(join(fixtures, 'cases.json'), 'utf8'),
);
let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'deeprnn-npy-'));
  file = join(folder, 'a.npy');
});
afterEach(() => rmSync(folder, { recursive: true }));

test.each(Object.entries(cases))('reads what numpy.save wrote: %s', async (name, { shape, data }) => {
  const read = await readNpy(join(fixtures, `${name}.npy`));
  expect(read.shape).toEqual(shape);
  expect([...read.data]).toEqual(data);
  const wanted =
    name === 'large' || /f8|scalar|vector/.test(name)
      ? 'float64'
      : /f|empty/.test(name)
        ? 'float32'
        : 'int32';
  expect(read.dtype).toBe(wanted);
});

test.each(['stored', 'packed'])('reads what numpy.savez wrote: %s', async (name) => {
  const { x, y } = await readNpz(join(fixtures, `${name}.npz`));
  expect(x?.shape).toEqual([2, 3, 4]);
  expect(x?.data).toEqual(Float32Array.from({ length: 24 }, (_, i) => i));
  expect(y?.data).toEqual(Int32Array.of(1, 2));
});

test.each<[NpyDType, string]>([
  ['float32', 'little-f4'],
  ['float64', 'little-f8'],
  ['float16', 'little-f2'],
  ['int32', 'little-i4'],
  ['int64', 'little-i8'],
  ['uint8', 'u1'],
  ['bool', 'b1'],
])('writes %s as numpy.save does, byte for byte', async (dtype, name) => {
  const { shape, data } = cases[name] as { shape: number[]; data: number[] };
  await writeNpy(file, tensor(Float64Array.from(data), shape), { dtype });
  expect(readFileSync(file)).toEqual(readFileSync(join(fixtures, `${name}.npy`)));
});

test('a tensor keeps its kind of numbers and its shape, also without axes and without elements', async () => {
  for (const t of [
    tensor([[1.5, 2]]),
    tensor(Int32Array.of(7), [1, 1]),
    tensor(Float64Array.of(1), []),
    tensor(new Float32Array(0), [0, 2]),
  ]) {
    await writeNpy(file, t);
    expect(await readNpy(file)).toEqual(t);
  }
});

test.each([true, false])('writeNpz and readNpz, compress: %s', async (compress) => {
  const arrays = { x: tensor([[1, 2]]), 'layer/kernel': tensor(Int32Array.of(3), [1]) };
  await writeNpz(file, arrays, { compress });
  expect(await readNpz(file)).toEqual(arrays);
});

test('float16 is rounded to the nearest, ties to even', () => {
  for (let h = 0; h < 0x7c00; h++) {
    const [v, next] = [fromFloat16(h), h === 0x7bff ? 65536 : fromFloat16(h + 1)];
    expect(toFloat16(v)).toBe(h);
    expect(toFloat16((v + next) / 2)).toBe(h % 2 === 0 ? h : h + 1);
    expect(toFloat16(-(v + 0.6 * (next - v)))).toBe(0x8000 | (h + 1));
  }
  expect(toFloat16(Number.NaN)).toBe(0x7e00);
  expect(toFloat16(-1e9)).toBe(0xfc00);
});

describe('refused', () => {
  const header = (dict: string, body = 8, version = 1) => {
    const head = Buffer.alloc(version === 1 ? 10 : 12);
    head.set([0x93, ...Buffer.from('NUMPY'), version, 0]);
    if (version === 1) head.writeUInt16LE(dict.length, 8);
    else head.writeUInt32LE(dict.length, 8);
    return Buffer.concat([head, Buffer.from(dict), Buffer.alloc(body)]);
  };
  const dict = (shape: string, descr = "'<f4'") =>
    `{'descr': ${descr}, 'fortran_order': False, 'shape': (${shape}), }`;

  test.each<[string, Buffer, RegExp]>([
    ['an empty file', Buffer.alloc(0), /does not begin with/],
    ['a header longer than the file', header('x'.repeat(9)).subarray(0, 12), /says it is 9 bytes long/],
    ['version 4', header(dict('2,'), 8, 4), /its version is 4/],
    ['code in the header', header("{'descr': __import__('os'), }"), /its header is not/],
    ['a shape of 10^30', header(dict('1000000000000000, 1000000000000000')), /its shape .* is none/],
    [
      'a shape too large for the file',
      header(dict('1000000000,')),
      /has 8 bytes of numbers, its shape needs 4000000000/,
    ],
    ['a negative length', header(dict('-2,')), /its header is not/],
    ['a gap in the shape', header(dict('1,,2')), /its shape .* is none/],
    ['65 axes', header(dict('1,'.repeat(65))), /its shape .* is none/],
    ['complex numbers', header(dict('1,', "'<c8'")), /its elements are '<c8'/],
    [
      'a header of spaces',
      header(`${dict('1,').slice(0, -2)}${' '.repeat(60_000)}x`),
      /its header has \d+ bytes, expected 10000 at most/,
    ],
    [
      'booleans that are none',
      Buffer.concat([header(dict('2,', "'|b1'"), 0), Buffer.of(1, 2)]),
      /it holds 2 at place 1, expected 0 and 1/,
    ],
    ['an element of a prototype', header(dict('1,', "'constructor'")), /its elements are 'constructor'/],
  ])('%s', async (_, bytes, message) => {
    writeFileSync(file, bytes);
    expect(await refusal(() => readNpy(file))).toMatch(message);
  });

  test.each([
    ['beyond', /holds 9007199254740992 at place 1, expected whole numbers up to 2\^53/],
    ['objects', /pickled Python objects/],
    ['records', /its elements are records/],
  ])('%s', async (name, message) => {
    expect(await refusal(() => readNpy(join(fixtures, `${name}.npy`)))).toMatch(message);
  });

  test('small archives of so many zeros that they fill the memory, unless they are asked for', async () => {
    const file = join(folder, 'zeros.npz');
    await writeNpz(file, { x: new Float32Array(2 ** 26 + 1) });
    expect(await refusal(() => readNpz(file))).toMatch(
      /its members unpack to more than 268435456 bytes, more only with maxBytes\./,
    );
    expect((await readNpz(file, { maxBytes: 2 ** 29 }))['x']?.size).toBe(2 ** 26 + 1);
  });

  test('archives that unpack to more than asked for, that hold other things, and that are cut', async () => {
    const packed = join(fixtures, 'packed.npz');
    expect(await refusal(() => readNpz(packed, { maxBytes: 200 }))).toMatch(
      /its members unpack to more than 200 bytes/,
    );
    const bytes = readFileSync(packed);
    writeFileSync(file, bytes.subarray(0, bytes.length - 30));
    expect(await refusal(() => readNpz(file))).toMatch(/^ERR_FILE .* is not a usable \.npz file/);
    writeFileSync(file, Buffer.from(bytes.toString('latin1').replaceAll('x.npy', 'x.exe'), 'latin1'));
    expect(await refusal(() => readNpz(file))).toMatch(/holds 'x\.exe', expected arrays/);
  });

  test('archives that announce more than their bytes can hold, before it is allocated', async () => {
    const bytes = readFileSync(join(fixtures, 'packed.npz'));
    const central = bytes.indexOf(Buffer.from('PK\x01\x02', 'latin1'));
    bytes.writeUInt32LE(2 ** 30, central + 24);
    writeFileSync(file, bytes);
    expect(await refusal(() => readNpz(file, { maxBytes: 2 ** 31 }))).toMatch(
      /its member 'x.npy' says that it unpacks to 1073741824 bytes from \d+/,
    );
  });

  test('members that share their bytes, are there twice or elsewhere, and bytes that were altered', async () => {
    const bytes = readFileSync(join(fixtures, 'packed.npz'));
    const second = bytes.lastIndexOf(Buffer.from('PK\x01\x02', 'latin1'));
    const changed = async (change: (copy: Buffer) => void) => {
      const copy = Buffer.from(bytes);
      change(copy);
      writeFileSync(file, copy);
      return refusal(() => readNpz(file));
    };
    expect(await changed((copy) => copy.writeUInt32LE(0, second + 42))).toMatch(
      /its members 'x\.npy' and 'y\.npy' overlap/,
    );
    const renamed = (name: string) => (copy: Buffer) => {
      for (let at = copy.indexOf('y.npy'); at >= 0; at = copy.indexOf('y.npy')) copy.write(name, at);
    };
    expect(await changed(renamed('x.npy'))).toMatch(/it has two members 'x\.npy'/);
    expect(await changed(renamed('/.npy'))).toMatch(/absolute path/);
    expect(await changed((copy) => copy.writeUInt8((copy[second + 16] as number) ^ 1, second + 16))).toMatch(
      /the checksum of its member 'y\.npy' does not fit/,
    );
  });

  test('the same arrays give the same bytes in every time zone', async () => {
    const zone = process.env['TZ'];
    const written: string[] = [];
    for (const TZ of ['Asia/Tokyo', 'America/New_York']) {
      process.env['TZ'] = TZ;
      await writeNpz(file, { x: [1] });
      written.push(readFileSync(file).toString('hex'));
    }
    if (zone === undefined) delete process.env['TZ'];
    else process.env['TZ'] = zone;
    expect(written[0]).toBe(written[1]);
  });

  test('numbers that are none of the kind they are to be written as', async () => {
    expect(await refusal(() => writeNpy(file, [[1, 2.5]], { dtype: 'int64' }))).toMatch(/2\.5 at \[0, 1\]/);
    expect(await refusal(() => writeNpy(file, [256], { dtype: 'uint8' }))).toMatch(
      /from 0 to 255 for uint8, got 256/,
    );
    expect(await refusal(() => writeNpy(file, [1], { dtype: 'int128' as NpyDType }))).toMatch(
      /dtype: expected 'float32'/,
    );
    expect(await refusal(() => writeNpz(file, { '../a': [1] }))).toMatch(
      /names that name a file, got '\.\.\/a'/,
    );
  });
});
