// Installs what `npm run bench` and `npm run test:peers` compare with into bench/.peers/: a Python environment and a Node folder of their own,
// so that none of it becomes a dependency of this library. About 3 GB. Where pip and npm fetch from is their own configuration's to say; options for pip
// alone come after --pip:
//
//   npm run bench:peers [-- --only python|node] [-- --pip="--extra-index-url URL"]

import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const packages = {
  python: ['torch', 'keras', 'tensorflow-cpu', 'onnx', 'onnxruntime', 'safetensors', 'tensorboard'],
  node: ['onnxruntime-node', '@tensorflow/tfjs', '@tensorflow/tfjs-backend-wasm'],
};
const { only, pip } = parseArgs({
  options: { only: { type: 'string' }, pip: { type: 'string', default: '' } },
}).values;
if (only !== undefined && !(only in packages)) {
  console.error(`install-peers: --only: expected 'python' or 'node', got '${only}'.`);
  process.exit(2);
}
const folder = path.resolve(fileURLToPath(import.meta.url), '../../bench/.peers');
const windows = process.platform === 'win32';

function run(command, args, shell = false) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', shell });
  if (error) console.error(`install-peers: ${command} could not be run: ${error.message}.`);
  if (status !== 0) process.exit(1);
}

if (only !== 'node') {
  const venv = path.join(folder, 'python');
  const python = path.join(venv, windows ? 'Scripts/python.exe' : 'bin/python');
  run(windows ? 'python' : 'python3', ['-m', 'venv', venv]);
  const options = pip.split(/\s+/).filter((word) => word !== '');
  run(python, ['-m', 'pip', 'install', '--upgrade', ...options, ...packages.python]);
}

if (only !== 'python') {
  const prefix = path.join(folder, 'node');
  mkdirSync(prefix, { recursive: true });
  writeFileSync(path.join(prefix, 'package.json'), '{ "name": "peers", "private": true }\n');
  // No scripts: the binaries lie inside the packages, and the script of onnxruntime-node would fetch those for GPUs.
  const options = ['--prefix', prefix, '--ignore-scripts', '--no-audit', '--no-fund'];
  run('npm', ['install', ...options, ...packages.node], windows);
}
console.log('The peers are installed in bench/.peers/.');
