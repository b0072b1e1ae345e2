// Builds the CUDA engine for the emulator (test/emulator) and runs on it what runs on the CPU engine: the parity suite, the recurrent
// stack on every rung of the ladder, and the tests of whole models; then what is the CUDA engine's alone (test/unit/cuda).
//
//   node scripts/test-emulator.mjs [--sanitize]
//
// --sanitize does it under the address sanitizer, which knows the end of every array on the emulated device (ops, and stacks
// of mixed cells on every rung; Linux with GCC).

import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(fileURLToPath(import.meta.url), '../..');
const release = path.join(root, 'build', 'emulator', 'Release');
const sanitize = process.argv.includes('--sanitize');

function run(command, args, environment = {}) {
  const { status } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...environment },
  });
  if (status !== 0) process.exit(status ?? 1);
}

function jest(paths, environment) {
  const named = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  console.log(`emulated device: ${paths.join(' ')} ${named.join(' ')}`);
  const sanitizer = sanitize && {
    LD_PRELOAD: execFileSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim(),
    ASAN_OPTIONS: 'detect_leaks=0',
  };
  run(process.execPath, ['node_modules/jest/bin/jest.js', ...(sanitize ? ['--runInBand'] : []), ...paths], {
    DEEPRNN_ADDON_DIR: release,
    ...sanitizer,
    ...environment,
  });
}

run(
  process.execPath,
  ['scripts/build-native.mjs', '--emulator'],
  sanitize ? { DEEPRNN_SANITIZE: 'address' } : {},
);
// Tests that name the CPU engine find it beside.
copyFileSync(path.join(root, 'build', 'Release', 'deeprnn-cpu.node'), path.join(release, 'deeprnn-cpu.node'));
const device = { DEEPRNN_TEST_DEVICE: 'cuda' };
if (sanitize) {
  const parity = ['ops', 'update', 'program', 'merges', 'batchNormalization'].map(
    (name) => `test/parity/${name}`,
  );
  jest(parity, device);
  for (const rung of ['a', 'b', 'c', 'd'])
    jest(['test/parity/rnnStack', '-t', 'mixed cells'], { ...device, DEEPRNN_CUDA_RUNG: rung });
} else {
  jest(['test/parity'], { ...device, DEEPRNN_CUDA_RUNG: 'd' });
  jest(['test/unit/formats/onnxImport', '-t', 'conformance'], device);
  // Two hundred steps show the same on every rung; they take most of the time.
  const short = ['test/parity/rnnStack', '-t', '^((?!T = 200).)*$'];
  for (const rung of ['a', 'b', 'c']) jest(short, { ...device, DEEPRNN_CUDA_RUNG: rung });
  for (const tiles of ['2', '4'])
    jest(short, { ...device, DEEPRNN_CUDA_RUNG: 'd', DEEPRNN_CUDA_ROW_TILES: tiles });
  for (const precision of ['tf32', 'bf16']) {
    for (const rung of ['a', 'c'])
      jest(short, { ...device, DEEPRNN_CUDA_RUNG: rung, DEEPRNN_TEST_PRECISION: precision });
    jest(['test/parity/rnnStack'], { ...device, DEEPRNN_CUDA_RUNG: 'd', DEEPRNN_TEST_PRECISION: precision });
  }
  // Emulated kernels take too long for the test of the event loop, whose code is the same for every native engine.
  jest(['test/unit/models', '-t', '^((?!event loop stays free).)*$'], { DEEPRNN_DEVICE: 'cuda' });
  // These start processes that use the library as it is built.
  run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json']);
  jest(['test/unit/cuda'], device);
}
