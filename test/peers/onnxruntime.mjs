// Exported models in onnxruntime-node, against our own predictions: `node test/peers/onnxruntime.mjs`, after `npm run build`, with
// onnxruntime-node in $TFJS/node_modules (or beside this file). Prints a table and exits with status 1 where outputs differ.

import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { largestDifference } from './peer.mjs';

const { exportOnnx, layers, Philox, sequential, tensor } = createRequire(import.meta.url)(
  '../../dist/index.js',
);
const ort = createRequire(process.env.TFJS ? `${process.env.TFJS}/` : import.meta.url)('onnxruntime-node');

const LIMIT = 2e-6;
const [N, T, D] = [3, 7, 4];
const random = new Philox(5, 0);
const sequences = { returnSequences: true };
const read = { inputShape: [null, D] };
const kinds = {
  simpleRNN: () => [layers.simpleRNN({ units: 5, ...read })],
  lstm: () => [layers.lstm({ units: 5, ...sequences, ...read }), layers.lstm({ units: 3 })],
  'gru, both forms': () => [
    layers.gru({ units: 5, ...sequences, ...read }),
    layers.gru({ units: 3, resetAfter: false }),
  ],
  bidirectional: () => [
    layers.bidirectional({ layer: layers.lstm({ units: 4, ...sequences }), ...read }),
    layers.gru({ units: 3, goBackwards: true }),
  ],
  'lstm with peepholes': () => [layers.lstm({ units: 5, peepholes: true, ...read })],
  'masking, softmax': () => [
    layers.masking({ ...read }),
    layers.lstm({ units: 4, ...sequences }),
    layers.dense({ units: 3, activation: 'softmax' }),
  ],
  'conv1D, pooling': () => [
    layers.conv1D({ filters: 6, kernelSize: 3, activation: 'relu', inputShape: [T, D] }),
    layers.maxPooling1D(),
    layers.gru({ units: 4 }),
  ],
  'normalization, dropout': () => [
    layers.gru({ units: 4, ...sequences, ...read }),
    layers.layerNormalization(),
    layers.dropout({ rate: 0.5 }),
    layers.batchNormalization(),
    layers.dense({ units: 2 }),
  ],
};
const folder = await mkdtemp(path.join(tmpdir(), 'deeprnn-ort-'));
let failed = false;
console.log('| model | deeprnn → onnxruntime-node |\n|---|---|');
try {
  for (const [kind, make] of Object.entries(kinds)) {
    const model = sequential(make());
    const file = path.join(folder, `${kind.replace(/\W+/g, '-')}.onnx`);
    await exportOnnx(model, file);
    const session = await ort.InferenceSession.create(file);
    const x = Float32Array.from({ length: N * T * D }, () => 2 * random.nextFloat() - 1);
    // Of masked sequences some are padded at their end.
    if (kind.startsWith('masking')) x.fill(0, (T - 2) * D, T * D);
    const wanted = await model.predict(tensor(x, [N, T, D]));
    const feeds = { [session.inputNames[0]]: new ort.Tensor('float32', x, [N, T, D]) };
    const found = Object.values(await session.run(feeds))[0];
    const difference = largestDifference(found.data, wanted.data);
    console.log(`| ${kind} | ${difference.toExponential(1)} |`);
    failed ||= !(difference <= LIMIT) || found.dims.join() !== wanted.shape.join();
  }
} finally {
  await rm(folder, { recursive: true });
}
process.exit(failed ? 1 : 0);
