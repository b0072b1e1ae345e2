// Trades models with the programs whose formats we read and write: `npm run test:peers`, after `npm run bench:peers` has installed them (or with
// another Python in DEEPRNN_PEER_PYTHON). Each driver prints its table and fails where something differs.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const peers = path.resolve(here, '../../bench/.peers');
const windows = process.platform === 'win32';
const python =
  process.env.DEEPRNN_PEER_PYTHON ??
  path.join(peers, 'python', windows ? 'Scripts/python.exe' : 'bin/python');
const node = path.join(peers, 'node');
const drivers = [
  ['keras.mjs', ['--seeds', '1']],
  ['torch.mjs', ['3']],
  ['onnx.mjs', ['--rounds', '30']],
  ['tensorboard.mjs', []],
  ['onnxruntime.mjs', []],
  ['tfjs.mjs', ['3']],
  ['numpy.mjs', ['20']],
];
if (!existsSync(python) || !existsSync(node)) {
  console.error('test:peers: the peers are not installed: npm run bench:peers');
  process.exit(2);
}
const failed = [];
for (const [driver, options] of drivers) {
  console.log(`\n== ${driver}`);
  const env = { ...process.env, DEEPRNN_PEER_PYTHON: python, TFJS: process.env.TFJS ?? node };
  const start = Date.now();
  const { status } = spawnSync(process.execPath, [path.join(here, driver), ...options], {
    stdio: 'inherit',
    env,
  });
  console.log(`-- ${driver}: ${Math.round((Date.now() - start) / 1000)} s`);
  if (status !== 0) failed.push(driver);
}
if (failed.length > 0) {
  console.error(`test:peers: ${failed.join(', ')} failed`);
  process.exit(1);
}
