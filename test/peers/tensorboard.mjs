// Event files of a fit, read by TensorBoard's own reader: `node test/peers/tensorboard.mjs`, after `npm run build`.
// Wants Python with tensorboard ($DEEPRNN_PEER_PYTHON). Prints a table and exits with status 1 where something is missing or differs.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startPeer } from './peer.mjs';

const { callbacks, layers, sequential } = createRequire(import.meta.url)('../../dist/index.js');

const folder = await mkdtemp(path.join(tmpdir(), 'deeprnn-tensorboard-'));
const model = sequential([
  layers.lstm({ units: 4, inputShape: [3, 2], name: 'l' }),
  layers.dense({ units: 1, name: 'd' }),
]);
model.compile({ loss: 'mse', optimizer: 'adam', metrics: ['mae'] });
const x = Array.from({ length: 12 }, (_, n) =>
  Array.from({ length: 3 }, (_, t) => [Math.sin(n + t), Math.cos(n - t)]),
);
const y = x.map(([[a]]) => [a]);
const hparams = { units: 4, optimizer: 'adam', tuned: true };
const { history } = await model.fit(x, y, {
  ...{ epochs: 4, batchSize: 4, validationData: [x, y] },
  callbacks: [
    callbacks.tensorBoard({
      ...{ logDir: folder, updateFreq: 'batch', histograms: 1, gradientBatch: { x, y }, gradientNorms: 2 },
      ...{ text: { note: 'two *words*' }, hparams },
    }),
  ],
});
const peer = startPeer('tensorboard_peer.py');
const train = await peer.ask({ folder: path.join(folder, 'train') });
const validation = await peer.ask({ folder: path.join(folder, 'validation') });
peer.end();

const steps = (values) => values.map((v, i) => [i, Math.fround(v)]);
for (const name of ['loss', 'mae']) {
  assert.deepEqual(train.scalars[`epoch_${name}`], steps(history[name]));
  assert.deepEqual(validation.scalars[`epoch_${name}`], steps(history[`val_${name}`]));
}
assert.equal(train.scalars.batch_loss.length, 12);
const weights = await model.getWeights();
for (const [name, { data }] of weights) {
  const h = train.histograms[`weights/${name}`];
  assert.equal(h.count, data.length);
  assert.equal(h.counted, data.length);
  assert.equal(h.buckets, h.limits);
  assert.equal(h.min, Math.min(...data));
  assert.equal(h.max, Math.max(...data));
  assert.ok(train.histograms[`gradients/${name}`], `gradients/${name}`);
  assert.ok(train.scalars[`gradient_norm/${name}`], `gradient_norm/${name}`);
}
assert.equal(train.texts.note, 'two *words*');
assert.match(train.texts.summary, /lstm/);
assert.deepEqual(train.hparams, hparams);
console.log('| read by TensorBoard | number |\n|---|---|');
for (const [kind, values] of Object.entries(train))
  console.log(`| ${kind} | ${Object.keys(values).length} |`);
await rm(folder, { recursive: true });
