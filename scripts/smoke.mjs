// Installs the packed tarballs in an empty folder, as a user would but with install scripts forbidden, and uses them:
// from an ES module, from CommonJS, and from TypeScript under both module kinds. Run after scripts/pack.mjs.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(fileURLToPath(import.meta.url), '../..');
const release = path.join(root, 'release');
const shell = process.platform === 'win32';
const tarballs = readdirSync(release).filter((name) => name.endsWith('.tgz'));
const app = mkdtempSync(path.join(tmpdir(), 'deeprnn-smoke-'));

/** Trains on the native engine and prints the loss; the same text must come from every way to load the package. */
const training = `
async function train() {
  const { sequential, layers, tensor, devices, DeepRnnError } = deeprnn;
  const model = sequential([
    layers.lstm({ units: 5, returnSequences: true, inputShape: [7, 3] }),
    layers.simpleRNN({ units: 4 }),
    layers.dense({ units: 2, activation: 'softmax' }),
  ], { seed: 1 });
  model.compile({ loss: 'sparseCategoricalCrossentropy', optimizer: 'adam', metrics: ['accuracy'], device: 'cpu' });
  const x = tensor(Float32Array.from({ length: 11 * 7 * 3 }, (_, i) => Math.sin(i)), [11, 7, 3]);
  const y = tensor(Int32Array.from({ length: 11 }, (_, i) => i % 2), [11]);
  const history = await model.fit(x, y, { epochs: 3, batchSize: 4, verbose: 0 });
  const prediction = await model.predict(x);
  if (prediction.shape.join() !== '11,2') throw new Error('shape ' + prediction.shape);
  const cpu = devices().find((device) => device.device === 'cpu');
  if (!cpu?.available) throw new Error(cpu?.reason);
  if (typeof DeepRnnError !== 'function') throw new Error('no DeepRnnError');
  model.dispose();
  return history.history['loss']?.at(-1);
}
`;
const typed = `import * as deeprnn from 'deeprnn';\n${training}\nconst loss: Promise<number | null | undefined> = train();\nvoid loss;\n`;

function write(name, text) {
  writeFileSync(path.join(app, name), text);
}

function step(what, command, args, cwd = app) {
  const output = execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    shell,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  console.log(`ok: ${what}`);
  return output.trim();
}

try {
  for (const name of tarballs)
    step(`publint ${name}`, 'npx', ['publint', 'run', '--strict', path.join(release, name)], root);

  write('package.json', JSON.stringify({ name: 'smoke', version: '0.0.0', private: true }));
  const install = [
    'install',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    ...tarballs.map((name) => path.join(release, name)),
  ];
  step('npm install --ignore-scripts', 'npm', install);

  write('train.mjs', `import * as deeprnn from 'deeprnn';\n${training}\nconsole.log(await train());\n`);
  write('train.cjs', `const deeprnn = require('deeprnn');\n${training}\ntrain().then(console.log);\n`);
  const esm = step('ES module trains on the native engine', process.execPath, ['train.mjs']);
  const cjs = step('CommonJS trains on the native engine', process.execPath, ['train.cjs']);
  if (!Number.isFinite(Number(esm)) || esm !== cjs)
    throw new Error(`final loss: ${esm} as ES module, ${cjs} as CommonJS`);

  write(
    'same.mjs',
    `import { createRequire } from 'node:module';
import * as esm from 'deeprnn';
const cjs = createRequire(import.meta.url)('deeprnn');
const names = (object) => Object.keys(object).filter((name) => !['default', '__esModule'].includes(name)).sort().join();
if (names(esm) !== names(cjs)) throw new Error(names(esm) + ' is not ' + names(cjs));
for (const name of Object.keys(cjs)) if (esm[name] !== cjs[name]) throw new Error(name + ' exists twice');
`,
  );
  step('both ways give one and the same instance, with the same names', process.execPath, ['same.mjs']);

  // What is loaded only when it is needed: dependencies, and files of threads that stand beside the bundle.
  write(
    'formats.cjs',
    `const { layers, loadModel, sequential, tensor } = require('deeprnn');
(async () => {
  const made = sequential([layers.gru({ units: 3, inputShape: [null, 2] }), layers.dense({ units: 1 })]);
  const x = tensor([[[1, 2], [3, 4]]]);
  const wanted = (await made.predict(x)).data.join();
  for (const path of ['model.keras', 'model.safetensors', 'model.onnx']) {
    if (path.endsWith('.onnx')) await require('deeprnn').exportOnnx(made, path);
    else await made.save(path);
    const found = (await (await loadModel(path)).predict(x));
    const values = found.data ?? Object.values(found)[0].data;
    if (Math.abs(values[0] - Number(wanted)) > 1e-6) throw new Error(path + ': ' + values.join() + ' is not ' + wanted);
  }
  await require('deeprnn').readTable('none.parquet').then(
    () => { throw new Error('a table that is not there'); },
    (error) => { if (!/none\\.parquet/.test(error.message)) throw error; },
  );
})().catch((error) => { console.error(error); process.exit(1); });
`,
  );
  step('models go out and in', process.execPath, ['formats.cjs']);

  write('typed.mts', typed);
  write('typed.cts', typed);
  symlinkSync(
    path.join(root, 'node_modules', '@types'),
    path.join(app, 'node_modules', '@types'),
    'junction',
  );
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2023',
    strict: true,
    noEmit: true,
    skipLibCheck: false,
  };
  write(
    'tsconfig.json',
    JSON.stringify({
      compilerOptions: { ...compilerOptions, types: ['node'] },
      files: ['typed.mts', 'typed.cts'],
    }),
  );
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  step('TypeScript, module nodenext, as ES module and as CommonJS', process.execPath, [
    tsc,
    '--noEmit',
    '-p',
    '.',
  ]);
} finally {
  rmSync(app, { recursive: true, force: true });
}
