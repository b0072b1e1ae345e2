// Damaged safetensors files: `node test/fuzz/safetensors.mjs [executions]`, after `npm run build`.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fuzz } from './mutate.mjs';

const { decodeTensors } = createRequire(import.meta.url)('../../dist/io/safetensors.js');
const names = ['lstm', 'lstm-bfloat16', 'normalized', 'tagger'];
const files = names.map((name) =>
  readFileSync(new URL(`../fixtures/torch/${name}.safetensors`, import.meta.url)),
);
await fuzz('safetensors', files, Number(process.argv[2] ?? 50_000), async (bytes) => {
  decodeTensors(bytes, 'fuzzed');
});
