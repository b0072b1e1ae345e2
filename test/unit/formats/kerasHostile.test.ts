import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { layers, loadModel, loadWeights, sequential } from 'deeprnn';
import { readArchive } from '../../../lib/formats/keras/archive';
import { Hdf5 } from '../../../lib/formats/keras/hdf5';
import { writeZip } from '../../../lib/io/zip';
import { refusal } from '../refusal';

const fixtures = path.resolve(__dirname, '../../fixtures/keras');
const hostile = (name: string) => path.join(fixtures, 'hostile', `${name}.h5`);
const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-hostile-'));
afterAll(() => rmSync(folder, { recursive: true }));

const net = () => sequential([layers.dense({ units: 2, inputShape: [3] })]);

test('the file that the hostile ones are made of is read', async () => {
  const model = net();
  await loadWeights(model, hostile('plain'));
  expect([...(model.variables.read('dense/kernel').data as Float32Array)]).toEqual([0, 1, 2, 3, 4, 5]);
});

test.each([
  ['loop', /nested deeper than 24/],
  ['deep', /nested deeper than 24/],
  ['crowd', /more than 200000 objects|nested deeper than 24/],
  ['huge', /expected dense\/kernel at 'layers\/dense\/vars\/0' \[3, 2\], got \[3000000000, 1000000000\]/],
  ['elsewhere', /HDF5|no such array/],
  ['texts', /of float32, got other numbers of 4 bytes/],
  ['integers', /of float32, got integer numbers of 8 bytes/],
  ['altered', /an array of it could not be read/],
  ['outside', /an array of it could not be read/],
])('%s.h5 is refused, and the model stays as it was', async (name, reason) => {
  const model = net();
  const before = [...model.variables.read('dense/kernel').data];
  const said = await refusal(() => loadWeights(model, hostile(name)));
  expect(said).toMatch(/^ERR_FILE /);
  expect(said).toMatch(reason);
  expect([...model.variables.read('dense/kernel').data]).toEqual(before);
});

test('chunks that unpack to far more than the array holds end in a memory limit, or are read', async () => {
  const before = process.memoryUsage().rss;
  const model = net();
  await loadWeights(model, hostile('bomb')).catch((error: Error) =>
    expect(error.message).toMatch(/^'.*bomb.h5' could not be read/),
  );
  expect(process.memoryUsage().rss - before).toBeLessThan(1e9);
});

test('a file that takes too long ends with its thread', async () => {
  const file = new Hdf5("'x'", 1);
  try {
    expect(await refusal(() => file.open(readFileSync(hostile('plain'))))).toMatch(
      /^ERR_FILE 'x' could not be read as HDF5: it took longer than 0.00\d* s.$/,
    );
  } finally {
    await file.close();
  }
});

test('a file that the library hangs in, and one that it breaks down on, end with their thread alone', async () => {
  const hanging = new Hdf5("'hang'", 500);
  expect(await refusal(() => hanging.open(readFileSync(hostile('hang'))))).toMatch(
    /it took longer than 0\.50\d s\.$/,
  );
  expect(await refusal(() => loadWeights(net(), hostile('trap')))).toMatch(
    /^ERR_FILE '.*trap.h5' could not be read as HDF5: memory access out of bounds\.$/,
  );
  await hanging.close();
});

test('a file that is cut anywhere is refused', async () => {
  const whole = readFileSync(hostile('plain'));
  const cut = path.join(folder, 'cut.h5');
  for (const share of [0.01, 0.2, 0.5, 0.9, 0.99]) {
    writeFileSync(cut, whole.subarray(0, Math.ceil(share * whole.length)));
    expect(await refusal(() => loadWeights(net(), cut))).toMatch(/^ERR_FILE /);
  }
});

/** An archive of one member, with what its directory says replaced by `change`. */
async function archive(members: Map<string, Uint8Array>, change: (bytes: Buffer) => void = () => {}) {
  const bytes = Buffer.concat(await writeZip(members));
  change(bytes);
  return bytes;
}

const one = new Map([['config.json', Buffer.from('{"a":1}')]]);
const asked = (bytes: Buffer) => refusal(() => readArchive(bytes, "'x'", ['config.json']));

/** Places of all directory entries. */
function directory(bytes: Buffer): number[] {
  const found: number[] = [];
  for (
    let at = bytes.indexOf('PK\x01\x02', 0, 'latin1');
    at >= 0;
    at = bytes.indexOf('PK\x01\x02', at + 1, 'latin1')
  )
    found.push(at);
  return found;
}

describe('archives', () => {
  test('what is written is read', async () => {
    const found = await readArchive(await archive(one), "'x'", ['config.json']);
    expect(found.get('config.json')?.toString()).toBe('{"a":1}');
  });

  test('a member that was altered is found out by its checksum', async () => {
    const bytes = await archive(one, (all) => {
      all[all.indexOf('{"a":1}') + 5] = 0x32;
    });
    expect(await asked(bytes)).toBe(
      "ERR_FILE 'x' could not be read as a zip archive: the checksum of its member 'config.json' does not fit.",
    );
  });

  test('names twice, and names outside', async () => {
    const two = new Map([...one, ['confiG.json', Buffer.from('{}')]]);
    const twice = await archive(two, (all) => {
      all.write('config.json', (directory(all)[1] as number) + 46);
    });
    expect(await asked(twice)).toContain("it has two members 'config.json'");
    for (const name of ['../../config', '/etc/config1', '..\\..\\config']) {
      const outside = await archive(new Map([['config12345', Buffer.from('{}')], ...one]), (all) => {
        all.write(name.padEnd(11, '1'), (directory(all)[0] as number) + 46);
      });
      expect(await asked(outside)).toMatch(/^ERR_FILE 'x' could not be read as a zip archive: /);
    }
  });

  test('a member that says it unpacks to gigabytes is refused before it is unpacked', async () => {
    const bytes = await archive(one, (all) => {
      all.writeUInt32LE(8, (directory(all)[0] as number) + 10);
      all.writeUInt32LE(0xf0000000, (directory(all)[0] as number) + 24);
    });
    expect(await asked(bytes)).toContain('says that it unpacks to 4026531840 bytes from 7');
  });

  test('a member that unpacks to more than it says is stopped', async () => {
    const packed = deflateRawSync(Buffer.alloc(2 ** 26));
    const bytes = await archive(new Map([['config.json', packed]]), (all) => {
      const at = directory(all)[0] as number;
      all.writeUInt16LE(8, at + 10);
      all.writeUInt32LE(1000, at + 24);
    });
    expect(await asked(bytes)).toContain('too many bytes in the stream');
  });

  test('an archive that is cut anywhere is refused', async () => {
    const bytes = await archive(one);
    for (let length = 0; length < bytes.length; length += 7)
      expect(await asked(bytes.subarray(0, length))).toMatch(/^ERR_FILE /);
  });
});

describe('models', () => {
  const own = 'lstm.keras';
  const rebuilt = async (change: (members: Map<string, Buffer>) => void) => {
    const wanted = ['metadata.json', 'config.json', 'model.weights.h5'];
    const members = new Map(await readArchive(readFileSync(path.join(fixtures, own)), 'fixture', wanted));
    change(members);
    const file = path.join(folder, 'changed.keras');
    writeFileSync(file, Buffer.concat(await writeZip(members)));
    return file;
  };

  test('members that are missing, or no JSON', async () => {
    for (const name of ['config.json', 'model.weights.h5']) {
      const file = await rebuilt((members) => void members.delete(name));
      expect(await refusal(() => loadModel(file))).toBe(
        `ERR_FILE '${file}' is no model of Keras 3: it has no member '${name}'.`,
      );
    }
    for (const text of ['{', '[]', 'null', '['.repeat(100_000)]) {
      const file = await rebuilt((members) => void members.set('config.json', Buffer.from(text)));
      expect(await refusal(() => loadModel(file))).toMatch(/^ERR_FILE .*config.json is no /);
    }
  });

  test('layers of absurd size', async () => {
    const file = await rebuilt((members) => {
      const config = (members.get('config.json') as Buffer)
        .toString()
        .replaceAll('"units": 4', '"units": 300000000');
      members.set('config.json', Buffer.from(config));
    });
    expect(await refusal(() => loadModel(file))).toMatch(/^ERR_FILE .*lstm/);
  });

  test('weights that are no HDF5', async () => {
    const file = await rebuilt((members) => void members.set('model.weights.h5', Buffer.from('no')));
    expect(await refusal(() => loadModel(file))).toMatch(/^ERR_FILE .* could not be read as HDF5/);
  });

  test('the fixtures are those that this test knows', () => {
    expect(readdirSync(path.join(fixtures, 'hostile'))).toHaveLength(13);
  });
});
