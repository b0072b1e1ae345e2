import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DeepRnnError, tensor } from '../../../lib';
import { readModelFile, readSafetensors, writeModelFile, writeSafetensors } from '../../../lib/io/modelFile';
import { Philox } from '../../../lib/tensors/random';
import type { Tensor } from '../../../lib/tensors/tensor';

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-io-'));
afterAll(() => rmSync(folder, { recursive: true }));

const arrays = (): Map<string, Tensor> =>
  new Map([
    ['b/kernel', tensor(Float32Array.of(1.5, Number.NaN, -0, Number.NEGATIVE_INFINITY, 1e-42, 7), [2, 3])],
    ['a/ids', tensor(Int32Array.of(-2147483648, 0, 2147483647))],
    ['a/sums', tensor(Float64Array.of(Math.PI), [1, 1])],
    ['empty', tensor(new Float32Array(0), [0, 4])],
  ]);
const config = { model: { name: 'größe', layers: [1, { x: null }] } };
const bits = (t: Tensor) => Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength).toString('hex');

async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => new Error('nothing was refused'),
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(DeepRnnError);
  expect((error as DeepRnnError).code).toBe('ERR_FILE');
  return (error as Error).message;
}

test('a file comes back bit for bit, NaN and denormals included', async () => {
  const file = path.join(folder, 'whole');
  await writeModelFile(file, { config, tensors: arrays() });
  const read = await readModelFile(file);
  expect(read.config).toEqual(config);
  expect([...read.tensors.keys()].sort()).toEqual(['a/ids', 'a/sums', 'b/kernel', 'empty']);
  for (const [name, t] of arrays()) {
    expect(read.tensors.get(name)?.shape).toEqual(t.shape);
    expect(read.tensors.get(name)?.dtype).toBe(t.dtype);
    expect(bits(read.tensors.get(name) as Tensor)).toBe(bits(t));
  }
  expect(readdirSync(folder)).toEqual(['whole']);
});

test('the data start at a multiple of 8 bytes, as the format asks', async () => {
  const file = path.join(folder, 'aligned');
  await writeModelFile(file, { config, tensors: arrays() });
  expect(Number(readFileSync(file).readBigUInt64LE(0)) % 8).toBe(0);
});

test('writers at the same time leave one whole file and no others', async () => {
  const file = path.join(folder, 'contested');
  await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      writeModelFile(file, {
        config: { i },
        tensors: new Map([['x', tensor(new Float32Array(5000).fill(i))]]),
      }),
    ),
  );
  const { config: who, tensors } = await readModelFile(file);
  expect(new Set((tensors.get('x') as Tensor).data)).toEqual(new Set([(who as { i: number }).i]));
  expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

test('a file that cannot be written leaves the old one alone and says why', async () => {
  const file = path.join(folder, 'no such folder', 'model');
  expect(await refusal(writeModelFile(file, { config, tensors: arrays() }))).toContain(
    `'${file}' could not be written: ENOENT`,
  );
});

test('a symbolic link stays, and what it stands for is written', async () => {
  const real = path.join(folder, 'real');
  const [link, dangling] = [path.join(folder, 'link'), path.join(folder, 'dangling')];
  writeFileSync(real, 'old');
  symlinkSync(real, link);
  symlinkSync('later', dangling);
  for (const file of [link, dangling]) {
    await writeModelFile(file, { config, tensors: arrays() });
    expect(lstatSync(file).isSymbolicLink()).toBe(true);
  }
  expect((await readModelFile(real)).config).toEqual(config);
  expect((await readModelFile(path.join(folder, 'later'))).config).toEqual(config);
});

test('a header longer than readers take is refused before the file is touched', async () => {
  const file = path.join(folder, 'heavy');
  await writeModelFile(file, { config, tensors: arrays() });
  const before = readFileSync(file);
  const metadata = { notes: 'x'.repeat(100_000_000) };
  await expect(writeSafetensors(file, { tensors: arrays(), metadata })).rejects.toThrow(
    /^safetensors: expected a header \(metadata, names and shapes\) of at most 100000000 bytes, got 1000\d+ bytes, of which the metadata are 100000012\.$/,
  );
  expect(readFileSync(file).equals(before)).toBe(true);
});

describe('refused, with the reason', () => {
  const file = path.join(folder, 'bad');
  const save = async () => {
    await writeModelFile(file, { config, tensors: arrays() });
    return readFileSync(file);
  };

  test('a missing file and a folder', async () => {
    expect(await refusal(readModelFile(path.join(folder, 'missing')))).toContain('could not be read: ENOENT');
    expect(await refusal(readModelFile(folder))).toBe(`'${folder}' could not be read: it is not a file.`);
  });

  test('an empty and a foreign file', async () => {
    writeFileSync(file, '');
    expect(await refusal(readModelFile(file))).toBe(
      `'${file}' is not a usable safetensors file: expected at least 8 bytes, got 0.`,
    );
    writeFileSync(file, '\x89PNG\r\n\x1a\n and so on');
    expect(await refusal(readModelFile(file))).toMatch(
      /its header says it is \d+ bytes long, the file has 11 after it\.$/,
    );
  });

  test('arrays that are no model', async () => {
    await writeSafetensors(file, { tensors: arrays(), metadata: {} });
    expect(await refusal(readModelFile(file))).toBe(
      `'${file}' is a safetensors file, but not a model that deeprnn saved; it holds arrays only.`,
    );
    expect((await readSafetensors(file)).tensors.size).toBe(4);
  });

  test('a truncated file', async () => {
    const whole = await save();
    writeFileSync(file, whole.subarray(0, whole.length - 5));
    expect(await refusal(readModelFile(file))).toMatch(/lies outside the file's data|its arrays end/);
  });

  test('one changed bit of a weight', async () => {
    const whole = await save();
    whole[whole.length - 3] = (whole[whole.length - 3] as number) ^ 1;
    writeFileSync(file, whole);
    expect(await refusal(readModelFile(file))).toBe(
      `'${file}' was altered after it was saved: its checksum does not fit.`,
    );
  });

  test('any single bit of what says the version', async () => {
    const whole = await save();
    const from = whole.indexOf('"version"');
    for (let bit = from * 8; bit < (from + '"version":"1",'.length) * 8; bit++) {
      const altered = Buffer.from(whole);
      altered[bit >> 3] = (altered[bit >> 3] as number) ^ (1 << (bit & 7));
      writeFileSync(file, altered);
      expect(await refusal(readModelFile(file))).toContain(`'${file}'`);
    }
  });

  test('a newer version', async () => {
    await writeSafetensors(file, {
      tensors: arrays(),
      metadata: { format: 'deeprnn', version: '2', config: '{}' },
    });
    expect(await refusal(readModelFile(file))).toBe(
      `'${file}' was saved by a newer version of deeprnn (file version 2, known up to 1).`,
    );
  });

  const withHeader = (header: unknown, body = Buffer.alloc(8)) => {
    const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
    const head = Buffer.alloc(8);
    head.writeBigUInt64LE(BigInt(json.length));
    writeFileSync(file, Buffer.concat([head, json, body]));
  };

  test.each([
    [
      'overlapping arrays',
      {
        a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] },
        b: { dtype: 'F32', shape: [1], data_offsets: [4, 8] },
      },
      "array 'b' starts at byte 4, expected 8",
    ],
    [
      'offsets beyond the file',
      { a: { dtype: 'F32', shape: [4], data_offsets: [0, 16] } },
      "array 'a' lies outside the file's data of 8 bytes",
    ],
    [
      'a shape that does not fit',
      { a: { dtype: 'F32', shape: [3], data_offsets: [0, 8] } },
      "array 'a' has 8 bytes, its shape needs 12",
    ],
    [
      'an absurd shape',
      { a: { dtype: 'F32', shape: [1e15, 1e15], data_offsets: [0, 8] } },
      "array 'a' has no possible shape",
    ],
    [
      'an unknown dtype',
      { a: { dtype: 'constructor', shape: [2], data_offsets: [0, 8] } },
      "array 'a' has dtype constructor, expected one of F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL",
    ],
    [
      'data that nobody owns',
      { a: { dtype: 'F32', shape: [1], data_offsets: [0, 4] } },
      'its arrays end at byte 4, the data at 8',
    ],
    ['metadata that are not strings', { __metadata__: { a: 1 } }, 'its metadata are not strings'],
    ['a header that is a list', [1], 'its header is not a JSON object'],
    ['a header that is no JSON', '{"a": ', 'its header is not JSON'],
  ])('%s', async (_, header, reason) => {
    withHeader(header);
    expect(await refusal(readSafetensors(file))).toBe(
      `'${file}' is not a usable safetensors file: ${reason}.`,
    );
  });

  test('a name that would reach into prototypes is just a name', async () => {
    withHeader('{"__proto__": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}');
    expect([...(await readSafetensors(file)).tensors.keys()]).toEqual(['__proto__']);
    expect(({} as { dtype?: string }).dtype).toBeUndefined();
  });
});

test('half precision becomes float32', async () => {
  const file = path.join(folder, 'half');
  const json = Buffer.from(
    JSON.stringify({
      h: { dtype: 'F16', shape: [5], data_offsets: [0, 10] },
      b: { dtype: 'BF16', shape: [2], data_offsets: [10, 14] },
    }),
  );
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(json.length));
  const halves = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7c00, 0x3555, 0x3f80, 0xc049);
  writeFileSync(file, Buffer.concat([head, json, Buffer.from(halves.buffer)]));
  const { tensors } = await readSafetensors(file);
  expect(Array.from(tensors.get('h')?.data as Float32Array)).toEqual([
    1,
    -2,
    2 ** -24,
    Number.POSITIVE_INFINITY,
    0.333251953125,
  ]);
  expect(Array.from(tensors.get('b')?.data as Float32Array)).toEqual([1, -3.140625]);
});

test('whole numbers become int32, or float64 where one does not fit; beyond 2^53 they are refused', async () => {
  const file = path.join(folder, 'whole');
  const write = (dtype: string, values: ArrayBufferView, count: number) => {
    const json = Buffer.from(
      JSON.stringify({ a: { dtype, shape: [count], data_offsets: [0, values.byteLength] } }),
    );
    const head = Buffer.alloc(8);
    head.writeBigUInt64LE(BigInt(json.length));
    writeFileSync(file, Buffer.concat([head, json, Buffer.from(values.buffer as ArrayBuffer)]));
  };
  const read = async () => (await readSafetensors(file)).tensors.get('a')?.data;
  write('I64', BigInt64Array.of(-5n, 2n ** 31n - 1n), 2);
  expect(await read()).toEqual(Int32Array.of(-5, 2 ** 31 - 1));
  write('I64', BigInt64Array.of(-5n, 2n ** 31n), 2);
  expect(await read()).toEqual(Float64Array.of(-5, 2 ** 31));
  write('U32', Uint32Array.of(2 ** 32 - 1), 1);
  expect(await read()).toEqual(Float64Array.of(2 ** 32 - 1));
  write('I8', Int8Array.of(-128, 127), 2);
  expect(await read()).toEqual(Int32Array.of(-128, 127));
  write('BOOL', Uint8Array.of(0, 1), 2);
  expect(await read()).toEqual(Int32Array.of(0, 1));
  write('U64', BigUint64Array.of(1n, 2n ** 53n), 2);
  expect(await refusal(read())).toMatch(
    /array 'a' holds 9007199254740992 at place 1, expected whole numbers up to 2\^53/,
  );
});

test('5,000 mutations of a file are each read whole or refused with ERR_FILE', async () => {
  const file = path.join(folder, 'fuzzed');
  await writeModelFile(file, { config, tensors: arrays() });
  const whole = readFileSync(file);
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = new Philox(seed);
  let refused = 0;
  for (let i = 0; i < 5000; i++) {
    let bytes = Buffer.from(whole);
    for (let k = random.nextInt(4); k >= 0; k--) bytes[random.nextInt(bytes.length)] = random.nextInt(256);
    if (random.nextInt(4) === 0) bytes = bytes.subarray(0, random.nextInt(bytes.length));
    writeFileSync(file, bytes);
    try {
      expect((await readModelFile(file)).tensors.size).toBe(4);
    } catch (error) {
      if (!(error instanceof DeepRnnError) || error.code !== 'ERR_FILE')
        throw new Error(`seed ${seed}, mutation ${i}: ${error}`, { cause: error });
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(4000);
}, 60_000);
