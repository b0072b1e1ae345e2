// Puts the compiled library into one file, dist/index.js: read and compiled in two thirds of the time that two hundred take. Files that run in
// threads of their own are put together beside it. What the package depends on stays outside, and what is loaded when it is
// needed is still run only then. Usage: node scripts/bundle.mjs (after tsc, whose output for these files it replaces)

import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = path.resolve(fileURLToPath(import.meta.url), '../..');

await build({
  absWorkingDir: root,
  entryPoints: ['lib/index.ts', 'lib/formats/keras/hdf5Worker.js', 'lib/io/tableWorker.ts'],
  outbase: 'lib',
  outdir: 'dist',
  bundle: true,
  packages: 'external',
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  sourcemap: true,
  // Classes are called by their names in messages, also where two files have one of the same name.
  keepNames: true,
  logLevel: 'warning',
});
