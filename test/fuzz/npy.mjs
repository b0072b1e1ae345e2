// Damaged .npy and .npz files: `node test/fuzz/npy.mjs [executions of each]`, after `npm run build`.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fuzz } from './mutate.mjs';

const { readNpy, readNpz } = createRequire(import.meta.url)('../../dist/index.js');
const fixtures = new URL('../fixtures/npy/', import.meta.url);
const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-fuzz-'));
const file = path.join(folder, 'array');
for (const [ending, read] of [
  ['.npy', readNpy],
  ['.npz', readNpz],
]) {
  const names = readdirSync(fixtures).filter((name) => name.endsWith(ending));
  const files = names.map((name) => readFileSync(new URL(name, fixtures)));
  await fuzz(ending, files, Number(process.argv[2] ?? 20_000), async (bytes) => {
    writeFileSync(file, bytes);
    await read(file);
  });
}
rmSync(folder, { recursive: true });
