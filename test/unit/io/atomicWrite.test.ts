import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { atomicWrite } from '../../../lib/io/atomicWrite';
import { refusal } from '../refusal';

const pieces = [Buffer.from('new '), Buffer.from('values')];
const dist = resolve(__dirname, '../../../dist/io/atomicWrite.js');
let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'deeprnn-write-')));
});
afterEach(() => rmSync(folder, { recursive: true }));
const at = (...names: string[]) => join(folder, ...names);
/** What is in the folder, links and files. */
const names = () => readdirSync(folder).sort();

test('a file is written, and written over; who may read it stays', async () => {
  const file = at('model');
  await atomicWrite(file, pieces);
  expect(readFileSync(file, 'utf8')).toBe('new values');
  writeFileSync(file, 'old');
  chmodSync(file, 0o640);
  await atomicWrite(file, pieces);
  expect(readFileSync(file, 'utf8')).toBe('new values');
  if (process.platform !== 'win32') expect(statSync(file).mode & 0o777).toBe(0o640);
  expect(names()).toEqual(['model']);
});

test('a name as long as names may be', async () => {
  const name = 'é'.repeat(127);
  await atomicWrite(at(name), pieces);
  expect(names()).toEqual([name]);
});

describe('symbolic links', () => {
  test('to a file, to none yet, and to one another stay, and what they stand for is written', async () => {
    mkdirSync(at('real'));
    symlinkSync('real', at('door'));
    symlinkSync('first', at('second'));
    symlinkSync('real/model', at('first'));
    // From where it lies, real/, and not from where it is looked for.
    symlinkSync('../beside', at('real', 'up'));
    await atomicWrite(at('second'), pieces);
    await atomicWrite(at('door', 'up'), pieces);
    expect(readFileSync(at('real', 'model'), 'utf8')).toBe('new values');
    expect(readFileSync(at('beside'), 'utf8')).toBe('new values');
    await atomicWrite(at('second'), [Buffer.from('again')]);
    expect(readFileSync(at('real', 'model'), 'utf8')).toBe('again');
    for (const link of ['door', 'first', 'second', 'real/up'])
      expect(lstatSync(at(link)).isSymbolicLink()).toBe(true);
    expect(names()).toEqual(['beside', 'door', 'first', 'real', 'second']);
    expect(readdirSync(at('real')).sort()).toEqual(['model', 'up']);
  });

  test('in a circle are refused, and stay', async () => {
    symlinkSync('b', at('a'));
    symlinkSync('a', at('b'));
    symlinkSync('self', at('self'));
    for (const link of ['a', 'b', 'self'])
      expect(await refusal(() => atomicWrite(at(link), pieces))).toMatch(
        /^ERR_FILE '.*' could not be written: (it is a symbolic link that leads back to itself|ELOOP)/,
      );
    for (const link of ['a', 'b', 'self']) expect(lstatSync(at(link)).isSymbolicLink()).toBe(true);
    expect(names()).toEqual(['a', 'b', 'self']);
  });

  test('into a folder that is not there are refused', async () => {
    symlinkSync('none/model', at('link'));
    expect(await refusal(() => atomicWrite(at('link'), pieces))).toMatch(/there is no folder '.*none'/);
    expect(names()).toEqual(['link']);
  });
});

describe('refused, with nothing left behind', () => {
  test('a folder in the place of the file', async () => {
    mkdirSync(at('model'));
    expect(await refusal(() => atomicWrite(at('model'), pieces))).toMatch(
      /^ERR_FILE '.*model' could not be written: there is a folder of that name\.$/,
    );
    expect(names()).toEqual(['model']);
  });

  test('a file in the place of its folder, and no folder', async () => {
    writeFileSync(at('file'), 'old');
    expect(await refusal(() => atomicWrite(at('file', 'model'), pieces))).toMatch(
      /could not be written: ENOTDIR/,
    );
    expect(await refusal(() => atomicWrite(at('none', 'model'), pieces))).toMatch(
      /there is no folder '.*none'/,
    );
    expect(readFileSync(at('file'), 'utf8')).toBe('old');
    expect(names()).toEqual(['file']);
  });

  (process.platform === 'linux' ? test : test.skip)('a folder that nobody may write to', async () => {
    expect(await refusal(() => atomicWrite('/sys/deeprnn-model', pieces))).toMatch(
      /^ERR_FILE '\/sys\/deeprnn-model' could not be written: (EACCES|EROFS|EPERM)/,
    );
  });

  (process.platform === 'linux' ? test : test.skip)(
    'what the system has no room for: the old file stays',
    () => {
      const file = at('model');
      writeFileSync(file, 'old');
      // Files of at most 64 blocks; the signal that ends a process by default is passed over.
      const limited = `trap '' XFSZ; ulimit -f 64; exec "$0" -e "$1"`;
      const program = `require(${JSON.stringify(dist)}).atomicWrite(${JSON.stringify(file)}, [Buffer.alloc(1000), Buffer.alloc(1e6)])
      .then(() => console.log('written'), (error) => console.log(error.code, error.message));`;
      const { stdout } = spawnSync('sh', ['-c', limited, process.execPath, program], { encoding: 'utf8' });
      expect(stdout).toMatch(/^ERR_FILE '.*' could not be written: (EFBIG|ENOSPC)/);
      expect(readFileSync(file, 'utf8')).toBe('old');
      expect(names()).toEqual(['model']);
      expect(existsSync(file)).toBe(true);
    },
  );
});
