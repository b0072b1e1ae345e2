// Installs cuBLAS from NVIDIA's pip wheel into cublas/, for machines that have a CUDA driver and no toolkit, and prints the line that
// makes the CUDA engine use it. pip's own configuration says where wheels come from. About 600 MB.

import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = path.resolve(fileURLToPath(import.meta.url), '../../cublas');
const wheel = 'nvidia-cublas';
const windows = process.platform === 'win32';
const python = windows ? 'python' : 'python3';

function fail(message) {
  console.error(`deeprnn: ${message}`);
  process.exit(1);
}

function runPython(args, otherwise) {
  const { status, error } = spawnSync(python, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  if (error) fail(`${python} could not be run: ${error.message}. Install Python 3 with pip.`);
  if (status !== 0) fail(otherwise);
}

rmSync(folder, { recursive: true, force: true });
// The wheel names one dependency, for a part of cuBLAS that this library never calls; without it there is less to fetch.
runPython(
  ['-m', 'pip', 'install', '--no-deps', '--target', folder, wheel],
  `pip could not install ${wheel}; its output is above.`,
);
const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
const found = names.find((name) => /^(libcublas\.so\.\d+|cublas64_\d+\.dll)$/.test(path.basename(name)));
if (!found) fail(`${wheel} holds no cuBLAS library for this platform.`);
const library = path.join(folder, found);
runPython(
  ['-c', 'import ctypes, sys; ctypes.CDLL(sys.argv[1])', library],
  `${library} cannot be opened; the reason is above.`,
);
console.log('cuBLAS is installed and opens. Name it to the CUDA engine:');
console.log(`  ${windows ? 'set' : 'export'} DEEPRNN_CUBLAS=${library}`);
