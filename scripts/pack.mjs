// Makes the publishable tarballs in release/: the main package, the prebuilt platform package of this machine, and that of the CUDA
// engine where it has been built. All install without running a script. Usage: node scripts/pack.mjs (after `npm install`)

import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(fileURLToPath(import.meta.url), '../..');
const release = path.join(root, 'release');
const platforms = ['darwin-arm64', 'darwin-x64', 'linux-arm64', 'linux-x64', 'win32-x64'];
const platform = `${process.platform}-${process.arch}`;
const shell = process.platform === 'win32';
const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));

/** Packs the files at `from` beside a package.json of their own, and leaves the tarball in release/. */
function pack(packageJson, files) {
  const staging = path.join(release, 'staging');
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  for (const [from, to] of files) cpSync(path.join(root, from), path.join(staging, to), { recursive: true });
  writeFileSync(path.join(staging, 'package.json'), `${JSON.stringify(packageJson, null, 2)}\n`);
  const options = { cwd: staging, encoding: /** @type {const} */ ('utf8'), shell };
  const [{ filename, size }] = JSON.parse(
    execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', release], options),
  );
  rmSync(staging, { recursive: true });
  console.log(`release/${filename}: ${(size / 1024).toFixed(0)} KiB`);
}

if (!platforms.includes(platform)) {
  console.error(`No platform package is planned for ${platform}; there are ${platforms.join(', ')}.`);
  process.exit(1);
}
// What may fail comes first; dist/ is made from nothing so that no file of a removed source is packed.
execFileSync('npm', ['run', 'build:native'], { cwd: root, stdio: 'inherit', shell });
rmSync(release, { recursive: true, force: true });
rmSync(path.join(root, 'dist'), { recursive: true, force: true });
execFileSync('npm', ['run', 'build:ts'], { cwd: root, stdio: 'inherit', shell });

const {
  scripts: _scripts,
  devDependencies: _devDependencies,
  allowScripts: _allowScripts,
  ...published
} = manifest;
const prebuilt = platforms.map((name) => [`@deeprnn/${name}`, manifest.version]);
const alwaysPublished = ['README.md', 'LICENSE'].filter((name) => existsSync(path.join(root, name)));
pack(
  { ...published, optionalDependencies: Object.fromEntries(prebuilt) },
  // All of dist/ stands ready; of it npm takes what the manifest names.
  [...new Set(manifest.files.map((name) => name.replace(/^dist\/.*/, 'dist'))), ...alwaysPublished].map(
    (name) => [name, name],
  ),
);

/** The package of one engine's addon for this platform. */
function packEngine(name, engine, addon, folder) {
  pack(
    {
      name: `@deeprnn/${name}`,
      version: manifest.version,
      description: `The native ${engine} engine of deeprnn for ${platform}`,
      license: manifest.license,
      author: manifest.author,
      os: [process.platform],
      cpu: [process.arch],
      ...(process.platform === 'linux' && { libc: ['glibc'] }),
      engines: manifest.engines,
      main: addon,
      files: [addon],
    },
    [
      ['LICENSE', 'LICENSE'],
      [path.join(folder, addon), addon],
    ],
  );
}

packEngine(platform, 'CPU', 'deeprnn-cpu.node', 'build/Release');
// Installed by those who have a GPU, and by nobody else: it is ten times as large.
if (existsSync(path.join(root, 'build/cuda/Release/deeprnn-cuda.node')))
  packEngine(`${platform}-cuda`, 'CUDA', 'deeprnn-cuda.node', 'build/cuda/Release');
else console.log('no CUDA engine in build/cuda/Release: npm run build:cuda makes it');
