// Damaged Arrow files and streams: `node test/fuzz/arrow.mjs [executions [of them in threads]]`, after `npm run build`. Most are read in this
// thread, where whatever the library throws is a refusal, as in the thread that files are read in; the rest as users read them.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fuzz } from './mutate.mjs';

const require = createRequire(import.meta.url);
const { DeepRnnError, readTable } = require('../../dist/index.js');
const { openArrow } = require('../../dist/io/arrowTable.js');
const { columnOf } = require('../../dist/io/columns.js');
const names = [
  'kinds-none.arrow',
  'kinds-none.arrows',
  'kinds-lz4.arrow',
  'kinds-zstd.arrows',
  'polars.arrow',
];
const files = names.map((name) => readFileSync(new URL(`../fixtures/tables/${name}`, import.meta.url)));
const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-fuzz-'));
const file = path.join(folder, 'table.arrow');
const [count = 20_000, threads = 300] = process.argv.slice(2).map(Number);
// As the worker does: a claim of more rows is refused before they are read.
const MOST_ROWS = 2 ** 20;
await fuzz('arrow', files, count, async (bytes) => {
  writeFileSync(file, bytes);
  try {
    const { rows, columns, values } = await openArrow({ file, caller: 'fuzz' });
    if (!(rows <= MOST_ROWS)) throw new Error(`${rows} rows`);
    for (const place of columns.keys())
      try {
        columnOf(await values(place, 0, rows), columns[place].isText, 'nan', String);
      } catch (error) {
        if (error instanceof DeepRnnError && error.code !== 'ERR_VALUE') throw error;
      }
  } catch (error) {
    throw error instanceof DeepRnnError ? error : new DeepRnnError('ERR_FILE', String(error));
  }
});
await fuzz(
  'arrow in threads',
  files,
  threads,
  async (bytes, i) => {
    // Its mark stays, so that it is not read as CSV.
    bytes.set(Buffer.from('ARROW1').subarray(0, bytes.length));
    writeFileSync(file, bytes);
    await readTable(file, i % 2 ? { missing: 'nan' } : { columns: ['value', 'text'] });
  },
  15_000,
);
rmSync(folder, { recursive: true });
