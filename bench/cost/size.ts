import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { root } from '../cpu/paths';

/** Bytes. */
export interface Size {
  /** The main package as a tarball, and its files. */
  readonly packed: number;
  readonly unpacked: number;
  /** The addon of this platform, which comes as a package of its own: compressed, and as it is. */
  readonly addonPacked: number;
  readonly addon: number;
  /** Files of every other package that an install brings, by name. */
  readonly dependencies: Readonly<Record<string, number>>;
}

const shell = process.platform === 'win32';

function bytesIn(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(path.join(entry.parentPath, entry.name)).size, 0);
}

/** Packs the library and installs it in an empty folder, without what it needs for development. */
export function measureSize(): Size {
  const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-size-'));
  const npm = (args: string[], cwd: string) =>
    execFileSync('npm', args, { cwd, encoding: 'utf8', shell, stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    const packing = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
    const [{ filename, size, unpackedSize }] = JSON.parse(npm(packing, root)) as [
      { filename: string; size: number; unpackedSize: number },
    ];
    writeFileSync(path.join(folder, 'package.json'), '{ "name": "size", "private": true }');
    const quiet = ['--ignore-scripts', '--omit=dev', '--no-audit', '--no-fund', '--prefix', folder];
    npm(['install', ...quiet, path.join(folder, filename)], folder);
    const modules = path.join(folder, 'node_modules');
    const names = readdirSync(modules).filter((name) => !name.startsWith('.') && name !== 'deeprnn');
    const addon = readFileSync(path.join(root, 'build', 'Release', 'deeprnn-cpu.node'));
    return {
      packed: size,
      unpacked: unpackedSize,
      addonPacked: gzipSync(addon).length,
      addon: addon.length,
      dependencies: Object.fromEntries(names.map((name) => [name, bytesIn(path.join(modules, name))])),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
