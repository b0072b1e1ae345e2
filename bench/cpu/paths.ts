import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

/** The root of the repository: compiled files lie elsewhere. */
export const root = path.dirname(createRequire(__filename).resolve('deeprnn/package.json'));

/** Where scripts/install-peers.mjs puts the peers. */
export const peersFolder = path.join(root, 'bench', '.peers');

const windows = process.platform === 'win32';
export const peersPython = path.join(peersFolder, 'python', windows ? 'Scripts/python.exe' : 'bin/python');

/** Loads a peer's Node package. */
export const requirePeer = createRequire(path.join(peersFolder, 'node', 'package.json'));

/** What is not installed, or undefined. */
export function missing(...files: readonly string[]): string | undefined {
  return files.find((file) => !existsSync(file));
}
