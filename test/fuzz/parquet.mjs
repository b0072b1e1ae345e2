// Damaged Parquet files: `node test/fuzz/parquet.mjs [executions]`, after `npm run build`. Each is read in a thread, which gets 10 s.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fuzz } from './mutate.mjs';

const { readTable } = createRequire(import.meta.url)('../../dist/index.js');
const names = [
  'none',
  'snappy',
  'gzip',
  'brotli',
  'kinds-lz4',
  'kinds-zstd',
  'kinds-pages2',
  'fastparquet',
  'polars',
];
const files = names.map((name) =>
  readFileSync(new URL(`../fixtures/tables/${name}.parquet`, import.meta.url)),
);
const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-fuzz-'));
const file = path.join(folder, 'table.parquet');
await fuzz(
  'parquet',
  files,
  Number(process.argv[2] ?? 2000),
  async (bytes, i) => {
    // Its mark stays, so that it is not read as CSV.
    bytes.set(Buffer.from('PAR1').subarray(0, bytes.length));
    writeFileSync(file, bytes);
    await readTable(file, i % 2 ? { missing: 'nan' } : { columns: ['size', 'count', 'kind'] });
  },
  15_000,
);
rmSync(folder, { recursive: true });
