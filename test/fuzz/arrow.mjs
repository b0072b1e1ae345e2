// Damaged Arrow files and streams: `node test/fuzz/arrow.mjs [executions [of them as users read them]]`, after `npm run build`. Most are read in one
// thread that stays, where whatever the library throws is a refusal, as it is where files are read; it is ended, as that is, where it does not come
// to an end, which is counted.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { fuzz } from './mutate.mjs';

const require = createRequire(import.meta.url);
const { DeepRnnError, readTable } = require('../../dist/index.js');

// As the thread does where files are read: a claim of more rows is refused before they are.
const MOST_ROWS = 2 ** 20;
const LIMIT = 4000;

async function readAll(file) {
  const { openArrow } = require('../../dist/io/arrowTable.js');
  const { columnOf } = require('../../dist/io/columns.js');
  const { rows, columns, values } = await openArrow({ file, caller: 'fuzz' });
  if (!(rows <= MOST_ROWS)) throw new Error(`${rows} rows`);
  for (const place of columns.keys())
    try {
      columnOf(await values(place, 0, rows), columns[place].isText, 'nan', String);
    } catch (error) {
      if (error?.code !== 'ERR_VALUE') throw error;
    }
}

if (isMainThread) await main();
else
  parentPort.on('message', () =>
    readAll(workerData).then(
      () => parentPort.postMessage(true),
      () => parentPort.postMessage(false),
    ),
  );

async function main() {
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
  const [count = 20_000, asUsers = 300] = process.argv.slice(2).map(Number);
  let worker;
  let endless = 0;
  await fuzz(
    'arrow',
    files,
    count,
    async (bytes) => {
      writeFileSync(file, bytes);
      worker ??= new Worker(fileURLToPath(import.meta.url), {
        workerData: file,
        resourceLimits: { maxOldGenerationSizeMb: 512 },
      });
      const reading = worker;
      const answer = await new Promise((resolve) => {
        const timer = setTimeout(() => resolve('endless'), LIMIT);
        reading.removeAllListeners();
        reading.once('message', resolve).once('error', resolve);
        reading.once('message', () => clearTimeout(timer)).once('error', () => clearTimeout(timer));
        reading.postMessage('read');
      });
      if (answer === true) return;
      if (answer !== false) {
        await worker.terminate();
        worker = undefined;
        if (answer === 'endless') endless++;
      }
      throw new DeepRnnError('ERR_FILE', String(answer));
    },
    6000,
  );
  await worker?.terminate();
  console.log(`arrow: ${endless} of them did not come to an end`);
  await fuzz(
    'arrow as users read it',
    files,
    asUsers,
    async (bytes, i) => {
      // Its mark stays, so that it is not read as CSV.
      bytes.set(Buffer.from('ARROW1').subarray(0, bytes.length));
      writeFileSync(file, bytes);
      await readTable(file, i % 2 ? { missing: 'nan' } : { columns: ['value', 'text'] });
    },
    15_000,
  );
  rmSync(folder, { recursive: true });
}
