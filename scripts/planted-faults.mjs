// Proves that the emulator's parity tests find what they are there for: plants one fault after another in a copy of the CUDA
// sources, builds it for the emulator, and demands that the tests fail.
//
//   node scripts/planted-faults.mjs

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(fileURLToPath(import.meta.url), '../..');

/** Tests of whole models, whose next batch is on its way while one runs. */
const fits = { suite: 'test/unit/models/nextBatch', tests: 'fit gives the same bits' };

/** In which file what stands in place of what, on which rung of the ladder, and the tests that must notice. */
const faults = [
  {
    name: 'a missing __syncthreads before the sums of a tile are gathered',
    file: 'native/cuda/rnn_persistent_forward.cu',
    find: 'copiesDone();\n      __syncthreads();',
    replace: 'copiesDone();',
    tests: 'reset after the product',
  },
  {
    name: 'a wrong index into a fragment',
    file: 'native/cuda/mma.h',
    find: '{upper.z, lower.z, upper.w, lower.w}',
    replace: '{upper.z, lower.z, lower.w, upper.w}',
    tests: 'reset after the product',
  },
  {
    name: 'a wrong distance between the tiles of rows of a warp',
    file: 'native/cuda/rnn_persistent_device.h',
    find: 'static_cast<size_t>(m) * kTileRows * s.rowBytes',
    replace: 'static_cast<size_t>(m) * 8 * s.rowBytes',
    tests: 'reset after the product',
    environment: { DEEPRNN_CUDA_ROW_TILES: '2' },
  },
  {
    name: 'an off-by-one at the edge of a row tile',
    file: 'native/cuda/rnn_persistent_forward.cu',
    find: 'const int rows = min(kPass, b.rows - first);',
    replace: 'const int rows = min(kPass, b.rows - first - 1);',
    tests: 'reset after the product',
  },
  {
    name: 'a missing wait for the layer below',
    file: 'native/cuda/rnn_persistent_device.h',
    find: 'if (inside && wait) {',
    replace: 'if (inside && wait && s.shift != 0) {',
    tests: 'reset after the product',
  },
  {
    name: 'lanes that do not wait for the one that looks',
    file: 'native/cuda/rnn_persistent_device.h',
    find: 'if (lane == 0) waitFor(s.ready + group * p.T + at, s.writers);\n      __syncwarp();',
    replace: 'if (lane == 0) waitFor(s.ready + group * p.T + at, s.writers);',
    tests: 'reset after the product',
  },
  {
    name: 'a missing wait for what was fetched ahead',
    file: 'native/cuda/rnn_persistent_backward.cu',
    find: 'copiesDone();',
    replace: '',
    tests: 'reset after the product',
  },
  {
    name: 'rows that are not cleared up to a whole chunk',
    file: 'native/cuda/rnn_persistent.cpp',
    find: 'DEEPRNN_TRY(cudaMemsetAsync(s.own, 0, s.rowsBytes, c.stream));',
    replace: '',
    tests: 'reset after the product',
  },
  {
    name: 'a step that is never announced',
    file: 'native/cuda/rnn_persistent_device.h',
    find: 'signal(p.done + group * p.T + t);',
    replace: 'if (t != 1) signal(p.done + group * p.T + t);',
    tests: 'reset after the product',
    says: 'deadlock',
  },
  {
    name: 'a barrier that some threads do not reach',
    file: 'native/cuda/rnn_persistent_forward.cu',
    find: 'packCarried(p, b, stateOf(p), p.h0);\n  __syncthreads();',
    replace: 'packCarried(p, b, stateOf(p), p.h0);\n  if (threadIdx.x != 5) __syncthreads();',
    tests: 'reset after the product',
    says: 'deadlock',
  },
  {
    name: 'streams of two layers that do not wait for each other',
    file: 'native/cuda/rnn_steps.cpp',
    find: 'if (!sideBySide_ || of(reader) == of(writer)) return {};',
    replace: 'return {};',
    tests: 'reset after the product',
    rung: 'b',
  },
  {
    name: 'a gradient that stops at a step that does not count',
    file: 'native/cuda/rnn_persistent_backward.cu',
    find: '*state = passes ? dh : 0.0f;',
    replace: '*state = 0.0f;',
    tests: 'steps that do not count',
  },
  {
    name: 'a column too many in a sum',
    file: 'native/cuda/reductions.cu',
    find: 'if (c < columns) {',
    replace: 'if (c + 1 < columns) {',
    tests: 'reset after the product',
  },
  {
    name: 'a run that does not wait for the data on their way to the device',
    file: 'native/cuda/executable.cpp',
    find: 'DEEPRNN_TRY(cudaStreamWaitEvent(stream, arrived_[set], 0));',
    replace: '',
    ...fits,
  },
  {
    name: 'an allocation in a run',
    file: 'native/cuda/executable.cpp',
    find: 'DEEPRNN_TRY(cudaGraphLaunch(graph_, session_.stream()));',
    replace: `DEEPRNN_TRY(cudaGraphLaunch(graph_, session_.stream()));
    DeviceBuffer more;
    if (Status s = DeviceBuffer::allocate(64, "more", &more); !s.ok()) return s;`,
    ...fits,
    says: 'an allocation (device) in a run',
  },
];

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-faults-'));
const release = path.join(folder, 'build', 'emulator', 'Release');

function build() {
  const built = spawnSync(process.execPath, ['scripts/build-native.mjs', '--emulator'], {
    cwd: folder,
    encoding: 'utf8',
  });
  if (built.status !== 0) throw new Error(`the build failed:\n${built.stdout}${built.stderr}`);
}

/** Whether the tests pass, and what they printed. */
function test({ suite = 'test/parity/rnnStack', tests, rung = 'd', environment = {} }) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(root, 'node_modules/jest/bin/jest.js'), suite, '-t', tests],
    {
      cwd: root,
      encoding: 'utf8',
      env: {
        ...process.env,
        DEEPRNN_TEST_DEVICE: 'cuda',
        DEEPRNN_DEVICE: 'cuda',
        DEEPRNN_CUDA_RUNG: rung,
        DEEPRNN_ADDON_DIR: release,
        ...environment,
      },
    },
  );
  return { passed: status === 0, output: stdout + stderr };
}

try {
  for (const part of [
    'native',
    'test/emulator',
    'CMakeLists.txt',
    'package.json',
    'scripts/build-native.mjs',
  ])
    cpSync(path.join(root, part), path.join(folder, part), { recursive: true });
  mkdirSync(path.join(folder, 'test'), { recursive: true });
  symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  build();
  for (const rung of ['b', 'd']) {
    const { passed, output } = test({ tests: 'reset after the product', rung });
    if (!passed) throw new Error(`without any fault the tests fail on rung ${rung}:\n${output}`);
  }
  const { passed, output } = test(fits);
  if (!passed) throw new Error(`without any fault the models' tests fail:\n${output}`);
  let missed = 0;
  for (const fault of faults) {
    const file = path.join(folder, fault.file);
    const whole = readFileSync(file, 'utf8');
    if (!whole.includes(fault.find))
      throw new Error(`${fault.name}: the place is no longer in ${fault.file}`);
    writeFileSync(file, whole.replace(fault.find, fault.replace));
    build();
    const { passed, output } = test(fault);
    const found = !passed && (fault.says === undefined || output.includes(fault.says));
    console.log(`${found ? 'found ' : 'MISSED'} ${fault.name}`);
    if (!found) missed++;
    writeFileSync(file, whole);
  }
  console.log(`planted faults: ${faults.length - missed} of ${faults.length} found`);
  process.exitCode = missed === 0 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
