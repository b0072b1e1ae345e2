import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

const dist = resolve(__dirname, '../../../dist/index.js');

/** What a program gives that uses the built package: hyparquet is an ES module, which Jest cannot load, and files are read in a thread. */
export function runBuilt(program: string, ...args: string[]): unknown {
  const main = `const { readTable, tableBatches } = require(${JSON.stringify(dist)});
    const [, path] = process.argv;
    (async () => { ${program} })().then(
      (found) => console.log(JSON.stringify(found)),
      (error) => console.log(JSON.stringify(error.code + ' ' + error.message)));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', main, ...args], { encoding: 'utf8' });
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}
