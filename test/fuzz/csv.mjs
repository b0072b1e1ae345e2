// Damaged CSV files: `node test/fuzz/csv.mjs [executions]`, after `npm run build`. A number that is read must be the one in the cell.

import { createRequire } from 'node:module';
import { Readable } from 'node:stream';
import { fuzz } from './mutate.mjs';

const { readCsv } = createRequire(import.meta.url)('../../dist/index.js');
const files = [
  'day,high,"low, at night",sky\n2026-01-01,3.5,-1e1,"clear, cold"\n2026-01-02,4,-2,rain\n',
  '\ufeffa;b\r\n1;"x""y"\r\n;9007199254740991\r\n.5;1e308\r\n',
  'id,ts,v\n1,1700000000000,0.1\n2,1700000060000,NaN\n3,1700000120000,12345678.9\n',
].map((text) => Buffer.from(text));
await fuzz('csv', files, Number(process.argv[2] ?? 20_000), async (bytes, i) => {
  const options = { header: i % 3 > 0, delimiter: i % 5 ? ',' : ';', missing: 'nan' };
  const { columns } = await readCsv(Readable.from([bytes]), options);
  const names = Object.keys(columns);
  const { columns: text } = await readCsv(Readable.from([bytes]), { ...options, text: names });
  for (const name of names)
    columns[name].forEach((value, row) => {
      const cell = text[name][row];
      const isMissing = /^(|nan)$/i.test(cell);
      if (
        typeof value === 'string' ? value !== cell : isMissing ? !Number.isNaN(value) : !isSame(value, cell)
      )
        throw new Error(`'${cell}' was read as ${value}`);
    });
});

/** Whole numbers digit by digit, others as the number nearest to them. */
function isSame(value, cell) {
  const [, whole] = /^[+]?(-?\d+)\.?0*$/.exec(cell) ?? [];
  return whole === undefined
    ? value === Number(cell) && Number.isFinite(value)
    : BigInt(value) === BigInt(whole);
}
