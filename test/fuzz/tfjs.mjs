// Damaged models of TensorFlow.js: `node test/fuzz/tfjs.mjs [executions]`, after `npm run build`.

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { fuzz } from './mutate.mjs';

const { loadModel } = createRequire(import.meta.url)('../../dist/index.js');
const fixtures = fileURLToPath(new URL('../fixtures/tfjs/', import.meta.url));
const names = [
  'lstm',
  'bidirectional',
  'compiled',
  'functional',
  'nested',
  'normalization',
  'convolution',
  'cellsStacked',
  'cellsShared',
  'trained-adam',
];
const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-fuzz-'));
for (const name of names) {
  cpSync(path.join(fixtures, name), folder, { recursive: true });
  const file = path.join(folder, 'model.json');
  const each = Math.ceil(Number(process.argv[2] ?? 20_000) / names.length);
  await fuzz(`tfjs ${name}`, [readFileSync(file)], each, async (bytes) => {
    writeFileSync(file, bytes);
    (await loadModel(file)).dispose();
  });
}
rmSync(folder, { recursive: true });
