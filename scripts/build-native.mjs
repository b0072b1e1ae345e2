#!/usr/bin/env node
// Builds the native CPU addon into build/Release: through cmake-js where CMake is found, otherwise through node-gyp.
// Also installed as `deeprnn-build`, for platforms without a prebuilt package.
//
//   node scripts/build-native.mjs [--tool cmake-js|node-gyp] [--tests | --emulator | --cuda] [--clean]
//
// --tests builds the C++ tests instead of the addon and runs them. --emulator builds, into build/emulator/Release, the CUDA
// engine for the emulator of the tests (test/emulator), which needs neither a toolkit nor a device.
// --cuda builds the CUDA engine itself (build/cuda/Release), for the --architectures that CMake names so, e.g. '90-real'. With DEEPRNN_WERROR=1 in the environment, compiler
// warnings are errors (CMake only).

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = path.resolve(fileURLToPath(import.meta.url), '../..');
const buildFolder = path.join(root, 'build');
const require = createRequire(path.join(root, 'package.json'));
// What to fetch with npx where the tools are not installed beside the package (they are development dependencies).
const versions = { 'cmake-js': '8', 'node-gyp': '12' };

const { values: options } = parseArgs({
  options: {
    tool: { type: 'string' },
    tests: { type: 'boolean', default: false },
    emulator: { type: 'boolean', default: false },
    cuda: { type: 'boolean', default: false },
    architectures: { type: 'string' },
    clean: { type: 'boolean', default: false },
  },
});

/** Engines built beside the CPU's, in folders of their own. */
const engineFolders = ['emulator', 'cuda'];
const outFolder = path.join(buildFolder, options.emulator ? 'emulator' : options.cuda ? 'cuda' : '');

/** The version that `command --version` prints, as numbers, or undefined where it cannot be run. */
function versionOf(command) {
  const { status, stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' });
  const match = status === 0 && /(\d+)\.(\d+)/.exec(stdout);
  return match ? [Number(match[1]), Number(match[2])] : undefined;
}

function chooseTool() {
  if (options.tool) return options.tool;
  const [major = 0, minor = 0] = versionOf('cmake') ?? [];
  if (major > 3 || (major === 3 && minor >= 20)) return 'cmake-js';
  const windows = process.platform === 'win32';
  if ((versionOf('python3') ?? versionOf('python')) && (windows || versionOf('make'))) return 'node-gyp';
  fail(
    'no build tool found. Install a C++17 compiler and either CMake 3.20 or later, or Python 3 with make ' +
      '(Debian, Ubuntu: apt-get install g++ cmake; macOS: xcode-select --install, then brew install cmake; ' +
      "Windows: Visual Studio Build Tools). deeprnn also runs without it: compile({ device: 'reference' }).",
  );
}

function fail(message) {
  console.error(`deeprnn: ${message}`);
  process.exit(1);
}

function run(command, args, shell = false) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', shell });
  if (error) fail(`${command} could not be run: ${error.message}`);
  if (status !== 0)
    fail(`'${[command, ...args].join(' ')}' failed with exit code ${status}; its output is above.`);
}

function runTool(tool, args) {
  let entry;
  try {
    const manifest = require.resolve(`${tool}/package.json`);
    entry = path.join(path.dirname(manifest), require(manifest).bin[tool]);
  } catch {
    run('npx', ['--yes', `${tool}@${versions[tool]}`, ...args], process.platform === 'win32');
    return;
  }
  run(process.execPath, [entry, ...args]);
}

/** Both tools own build/, and neither can go on where the other began. Nor can CMake in a folder that was moved or copied. */
function clearForeignBuild(tool) {
  const foreign = tool === 'cmake-js' ? 'config.gypi' : 'CMakeCache.txt';
  if (options.clean || existsSync(path.join(outFolder, foreign)) || isCacheOfElsewhere())
    // Engines built beside this one in folders of their own stay.
    for (const name of existsSync(outFolder) ? readdirSync(outFolder) : [])
      if (outFolder !== buildFolder || !engineFolders.includes(name))
        rmSync(path.join(outFolder, name), { recursive: true, force: true });
}

function isCacheOfElsewhere() {
  const cache = path.join(outFolder, 'CMakeCache.txt');
  if (!existsSync(cache)) return false;
  const home = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(readFileSync(cache, 'utf8'))?.[1];
  return home === undefined || path.resolve(home) !== root;
}

function buildWithCmake() {
  const common = ['--log-level', 'error', ...(outFolder === buildFolder ? [] : ['--out', outFolder])];
  const define = (name, on) => `--CD${name}=${on ? 'ON' : 'OFF'}`;
  runTool('cmake-js', [
    'configure',
    ...common,
    define('DEEPRNN_WERROR', process.env.DEEPRNN_WERROR),
    define('DEEPRNN_EMULATOR', options.emulator),
    define('DEEPRNN_CUDA', options.cuda),
    ...(options.architectures ? [`--CDDEEPRNN_CUDA_ARCHITECTURES=${options.architectures}`] : []),
    `--CDDEEPRNN_SANITIZE=${process.env.DEEPRNN_SANITIZE ?? ''}`,
  ]);
  const target = options.tests
    ? 'deeprnn-native-tests'
    : options.emulator || options.cuda
      ? 'deeprnn-cuda'
      : 'deeprnn-cpu';
  runTool('cmake-js', ['build', ...common, '--target', target, '--parallel', String(availableParallelism())]);
}

function buildWithGyp() {
  const args = ['configure', '--loglevel', 'error'];
  // Without this node-gyp downloads Node's headers; most installations of Node carry them.
  const prefix = path.resolve(process.execPath, '../..');
  if (existsSync(path.join(prefix, 'include/node/common.gypi'))) args.push('--nodedir', prefix);
  runTool('node-gyp', [...args, '--', `-Dnative_tests=${Number(options.tests)}`]);
  runTool('node-gyp', ['build', '--loglevel', 'error', '--jobs', String(availableParallelism())]);
}

const tool = chooseTool();
if (!(tool in versions)) fail(`--tool: expected cmake-js or node-gyp, got ${tool}.`);
clearForeignBuild(tool);
if (tool === 'cmake-js') buildWithCmake();
else buildWithGyp();
if (options.tests) run(path.join(buildFolder, 'Release', 'deeprnn-native-tests'), []);
