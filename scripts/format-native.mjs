// Formats the C++ sources in place, or with --check only names the files that differ. The formatter is clang-format
// compiled to WebAssembly, so that its version is pinned and every platform formats alike.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { format } from '@wasm-fmt/clang-format';

const check = process.argv.includes('--check');
const style = readFileSync('.clang-format', 'utf8');
const files = ['native', 'test/native', 'test/emulator', 'bench/cpu']
  .filter((folder) => existsSync(folder))
  .flatMap((folder) => readdirSync(folder, { recursive: true }).map((name) => path.join(folder, name)))
  .filter((name) => /\.(h|cpp|cu|cuh)$/.test(name));

const changed = [];
for (const file of files) {
  const before = readFileSync(file, 'utf8');
  const after = format(before, file, style);
  if (after === before) continue;
  changed.push(file);
  if (!check) writeFileSync(file, after);
}
for (const file of changed) console.log(`${check ? 'not formatted' : 'formatted'}: ${file}`);
console.log(`clang-format: ${files.length} files, ${changed.length} ${check ? 'to format' : 'changed'}`);
if (check && changed.length > 0) process.exit(1);
