import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { devices, layers, sequential } from '../../lib';
import { loadAddon } from '../../lib/engines/addon';
import { createEngine } from '../../lib/engines/devices';

const platform = `${process.platform}-${process.arch}`;

describe('DEEPRNN_NUM_THREADS', () => {
  afterEach(() => {
    delete process.env.DEEPRNN_NUM_THREADS;
  });

  test.each(['abc', '0', '1.5', '2000', '-1'])('%s is refused', (threads) => {
    process.env.DEEPRNN_NUM_THREADS = threads;
    const message = `DEEPRNN_NUM_THREADS: expected an integer from 1 to 1024, got '${threads}'.`;
    const model = sequential([layers.dense({ units: 1, inputShape: [1] })]);
    expect(() => model.compile({ loss: 'mse', device: 'cpu' })).toThrow(message);
    expect(devices().find(({ device }) => device === 'cpu')).toEqual({
      device: 'cpu',
      engine: 'cpu',
      available: false,
      reason: message,
    });
  });

  test('a number is taken', () => {
    process.env.DEEPRNN_NUM_THREADS = '3';
    expect(devices().find(({ device }) => device === 'cpu')?.available).toBe(true);
  });
});

describe('loadAddon', () => {
  let folder: string;
  let chosenBefore: string | undefined;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'deeprnn-addon-'));
    chosenBefore = process.env.DEEPRNN_ADDON_DIR;
    delete process.env.DEEPRNN_ADDON_DIR;
  });

  afterEach(() => {
    if (chosenBefore === undefined) delete process.env.DEEPRNN_ADDON_DIR;
    else process.env.DEEPRNN_ADDON_DIR = chosenBefore;
    rmSync(folder, { recursive: true });
  });

  test('a missing CPU addon says where it was sought, how to build it and what works without it', () => {
    expect(loadAddon('cpu', folder)).toEqual({
      reason: [
        `native addon deeprnn-cpu.node for ${platform} could not be loaded. Tried:`,
        `  package @deeprnn/${platform}: not installed`,
        `  ${join(folder, 'build/Release/deeprnn-cpu.node')}: no such file`,
        `  ${join(folder, 'build/Debug/deeprnn-cpu.node')}: no such file`,
        "Build it with 'npx deeprnn-build' (needs a C++17 compiler and CMake 3.20 or later, or Python 3 and make). " +
          "Without it, device 'reference' still works.",
      ].join('\n'),
    });
  });

  test('a missing CUDA addon names the devices that still work', () => {
    process.env.DEEPRNN_ADDON_DIR = folder;
    expect(loadAddon('cuda')).toEqual({
      reason: [
        `native addon deeprnn-cuda.node for ${platform} could not be loaded. Tried:`,
        `  ${join(folder, 'deeprnn-cuda.node')}: no such file`,
        "Build it with 'npx deeprnn-build --cuda' (needs a CUDA toolkit 12 or later, a C++17 compiler and CMake 3.20 or later). " +
          "Device 'reference' still works, and 'cpu' where its own addon can be loaded.",
      ].join('\n'),
    });
  });

  test('the CUDA addon is looked for in a package and a build folder of its own', () => {
    delete process.env.DEEPRNN_ADDON_DIR;
    const { reason } = loadAddon('cuda', folder) as { reason: string };
    expect(reason).toContain(`package @deeprnn/${platform}-cuda: not installed`);
    expect(reason).toContain(
      `${join(folder, 'build', 'cuda', 'Release', 'deeprnn-cuda.node')}: no such file`,
    );
  });

  test('devices() lists CUDA with the reason why it cannot be used, and asking for it fails with that reason', () => {
    process.env.DEEPRNN_ADDON_DIR = folder;
    const reason = (loadAddon('cuda') as { reason: string }).reason;
    expect(devices().filter(({ engine }) => engine === 'cuda')).toEqual([
      { device: 'cuda', engine: 'cuda', available: false, reason },
    ]);
    for (const device of ['cuda', 'cuda:1', 'cuda:GPU-00010203-0405-0607-0809-0a0b0c0d0e0f']) {
      expect(() => createEngine(device).createSession()).toThrow(
        expect.objectContaining({
          code: 'ERR_DEVICE',
          message: `device 'cuda' cannot be used: ${reason}`,
        }),
      );
    }
  });

  test('a folder named by DEEPRNN_ADDON_DIR is the only one that counts', () => {
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    process.env.DEEPRNN_ADDON_DIR = empty;
    const result = loadAddon('cpu');
    expect(result).toHaveProperty(
      'reason',
      expect.stringContaining(`Tried:\n  ${join(empty, 'deeprnn-cpu.node')}`),
    );
    expect(result).toHaveProperty('reason', expect.not.stringContaining('build/Release'));
  });

  test('a file that is no addon is refused with the reason of the dynamic loader', () => {
    const path = join(folder, 'deeprnn-cpu.node');
    writeFileSync(
      path,
      'not a shared library, only text that is long enough to be read as a file header\n'.repeat(9),
    );
    process.env.DEEPRNN_ADDON_DIR = folder;
    const result = loadAddon('cpu');
    expect(result).toHaveProperty(
      'reason',
      expect.stringMatching(/deeprnn-cpu\.node: (?!no such file).+\nBuild it with/),
    );
  });

  test('the addon of this package loads, and twice gives the same exports', () => {
    if (chosenBefore !== undefined) process.env.DEEPRNN_ADDON_DIR = chosenBefore;
    const first = loadAddon('cpu');
    if ('reason' in first) throw new Error(first.reason);
    expect(first.path.endsWith('deeprnn-cpu.node')).toBe(true);
    expect(loadAddon('cpu')).toEqual(first);
  });
});
