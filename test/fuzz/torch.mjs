// Damaged state dicts: `node test/fuzz/torch.mjs [executions]`, after `npm run build`.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fuzz } from './mutate.mjs';

const { fromTorch } = createRequire(import.meta.url)('../../dist/index.js');
const fixtures = new URL('../fixtures/torch/', import.meta.url);
const cases = JSON.parse(readFileSync(new URL('cases.json', fixtures), 'utf8'));
const files = Object.keys(cases).map((name) => readFileSync(new URL(`${name}.safetensors`, fixtures)));
const descriptions = Object.values(cases).map(({ description }) => description);
const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-fuzz-'));
const file = path.join(folder, 'state.safetensors');
await fuzz('torch', files, Number(process.argv[2] ?? 20_000), async (bytes, i) => {
  writeFileSync(file, bytes);
  (await fromTorch(file, descriptions[i % descriptions.length])).dispose();
});
rmSync(folder, { recursive: true });
