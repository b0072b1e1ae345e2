// Layers models that TensorFlow.js makes and saves, against what it predicts: `node test/peers/tfjs.mjs [rounds]`, after `npm run build`, with
// @tensorflow/tfjs in $TFJS/node_modules. Prints a table and exits with status 1 where outputs differ.

import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { largestDifference } from './peer.mjs';

const { loadModel, tensor } = createRequire(import.meta.url)('../../dist/index.js');

const LIMIT = 2e-6;
const script = fileURLToPath(new URL('../fixtures/tfjs/make_tfjs.mjs', import.meta.url));
const folder = await mkdtemp(path.join(tmpdir(), 'deeprnn-tfjs-'));
const rounds = Number(process.argv[2] ?? 3);
const worst = new Map();
for (let round = 0; round < rounds; round++) {
  const env = { ...process.env, OUT: folder, SEED: String(1000 + round) };
  const { status, stderr } = spawnSync(process.execPath, [script], { env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`make_tfjs.mjs: ${stderr}`);
  const cases = JSON.parse(await readFile(path.join(folder, 'cases.json'), 'utf8'));
  for (const [name, { input, ids, output, goesOn }] of Object.entries(cases)) {
    const model = await loadModel(path.join(folder, name, 'model.json'));
    const y = await model.predict(tensor((ids ? Int32Array : Float32Array).from(input.data), input.shape));
    const difference = largestDifference(y.data, output.data);
    worst.set(name, Math.max(worst.get(name) ?? 0, difference));
    if (!goesOn) continue;
    const losses = [];
    const labels = tensor(goesOn.labels);
    for (const _ of goesOn.losses)
      losses.push(
        (await model.trainOnBatch(tensor(Float32Array.from(input.data), input.shape), labels)).loss,
      );
    const what = `${name}, trained on`;
    worst.set(what, Math.max(worst.get(what) ?? 0, largestDifference(losses, goesOn.losses)));
  }
}
await rm(folder, { recursive: true });
console.log(`${rounds} rounds; largest difference of outputs`);
console.log('| model | TensorFlow.js → deeprnn |\n|---|---|');
for (const [name, difference] of worst) console.log(`| ${name} | ${difference.toExponential(1)} |`);
// It adds the epsilon of Adam after the correction of the bias.
const limitOf = (name) => (name === 'trained-adam, trained on' ? 1e-4 : LIMIT);
if (![...worst].every(([name, difference]) => difference <= limitOf(name))) process.exitCode = 1;
