// State dicts of random PyTorch modules, both ways, against PyTorch itself: `node test/peers/torch.mjs [rounds]`, after `npm run build`.
// Wants Python with torch and safetensors ($DEEPRNN_PEER_PYTHON). Prints a table and exits with status 1 where outputs differ.

import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { largestDifference, startPeer } from './peer.mjs';

const { fromTorch, Philox, tensor, toTorch } = createRequire(import.meta.url)('../../dist/index.js');

const LIMIT = 2e-6;
const rounds = Number(process.argv[2] ?? 3);
const random = new Philox(1, 0);
const below = (n) => Math.floor(random.nextFloat() * n);
const pick = (values) => values[below(values.length)];

/** Descriptions of each kind with random sizes, and the input they want. */
const kinds = {
  RNN: () => recurrent('RNN', { nonlinearity: pick(['tanh', 'relu']) }),
  LSTM: () => recurrent('LSTM', {}),
  'LSTM, projSize': () => recurrent('LSTM', { projSize: 1 + below(4) }, 5),
  GRU: () => recurrent('GRU', {}),
  Linear: () =>
    rows((D) => [{ name: 'a', module: 'Linear', inFeatures: D, outFeatures: 4, bias: pick([true, false]) }]),
  LayerNorm: () =>
    rows((D) => {
      const elementwiseAffine = pick([true, false]);
      return [
        {
          name: 'n',
          module: 'LayerNorm',
          normalizedShape: D,
          elementwiseAffine,
          bias: elementwiseAffine && pick([true, false]),
        },
      ];
    }),
  BatchNorm1d: () =>
    rows((D) => [{ name: 'n', module: 'BatchNorm1d', numFeatures: D, affine: pick([true, false]) }]),
  Embedding: () => ({
    description: [
      { name: 'e', module: 'Embedding', numEmbeddings: 13, embeddingDim: 3, paddingIdx: 0 },
      { name: 'r', module: 'GRU', inputSize: 3, hiddenSize: 4, returnSequences: pick([true, false]) },
    ],
    input: { ids: 13, shape: [2, 5] },
  }),
  Flatten: () => ({
    description: [
      { name: 'r', module: 'LSTM', inputSize: 3, hiddenSize: 4 },
      { module: 'Flatten' },
      { name: 'l', module: 'Linear', inFeatures: 20, outFeatures: 2 },
    ],
    input: [3, 5, 3],
    inputShape: [5, 3],
  }),
  ...Object.fromEntries(
    [
      ...['Tanh', 'Sigmoid', 'ReLU', 'ReLU6', 'SELU', 'SiLU', 'Mish', 'Softplus', 'Softsign', 'Hardsigmoid'],
      ...['Hardswish', 'Hardtanh', 'LogSigmoid', 'Tanhshrink', 'LeakyReLU', 'ELU', 'CELU', 'Softshrink'],
      ...['Hardshrink', 'GELU', 'GELU tanh', 'Softmax', 'LogSoftmax', 'GLU', 'Dropout'],
    ].map((name) => [name, () => rows((D) => activated(D, name))]),
  ),
};

function activated(D, name) {
  const [module, approximate] = name.split(' ');
  return [
    { name: 'l', module: 'Linear', inFeatures: D, outFeatures: 6 },
    {
      module,
      ...(approximate ? { approximate } : {}),
      ...(module.endsWith('oftmax') ? { dim: -1 } : {}),
    },
  ];
}

function recurrent(module, options, least = 1) {
  const D = 1 + below(6);
  const hiddenSize = least + below(7);
  const numLayers = 1 + below(3);
  return {
    description: [
      {
        ...{ name: 'model.r', module, inputSize: D, hiddenSize, numLayers, bias: pick([true, false]) },
        ...{ bidirectional: pick([true, false]), returnSequences: pick([true, false]), ...options },
      },
    ],
    input: [1 + below(3), 1 + below(7), D],
  };
}

function rows(of) {
  const D = 2 + below(6);
  return { description: of(D), input: [4, D] };
}

const folder = await mkdtemp(path.join(tmpdir(), 'deeprnn-torch-'));
const peer = startPeer('torch_peer.py');
const worst = new Map();
let seed = 0;
for (const [kind, make] of Object.entries(kinds)) {
  const largest = { in: 0, out: 0 };
  for (let round = 0; round < rounds; round++) {
    const { description, input, inputShape } = make();
    const state = path.join(folder, 'state.safetensors');
    try {
      const made = await peer.ask({ do: 'make', description, seed: seed++, input, state });
      const model = await fromTorch(state, description, inputShape ? { inputShape } : {});
      const x = tensor(
        made.ids ? Int32Array.from(made.input.data) : Float32Array.from(made.input.data),
        made.input.shape,
      );
      const y = await model.predict(x);
      largest.in = Math.max(largest.in, largestDifference(y.data, made.output.data));
      const back = path.join(folder, 'back.safetensors');
      const written = await toTorch(model, back, { description });
      const ran = await peer.ask({
        do: 'run',
        description: written,
        state: back,
        input: { ...made.input, ids: made.ids },
      });
      largest.out = Math.max(largest.out, largestDifference(ran.output.data, y.data));
    } catch (error) {
      throw new Error(`${JSON.stringify(description)}: ${error.message}`, { cause: error });
    }
  }
  worst.set(kind, largest);
}
peer.end();
await rm(folder, { recursive: true });

console.log(`${rounds} random modules a row; largest difference of outputs`);
console.log('| module | PyTorch → deeprnn | deeprnn → PyTorch |\n|---|---|---|');
for (const [kind, { in: read, out }] of worst)
  console.log(`| ${kind} | ${read.toExponential(1)} | ${out.toExponential(1)} |`);
const failed = [...worst].filter(([, { in: read, out }]) => !(read <= LIMIT && out <= LIMIT));
for (const [kind] of failed) console.error(`${kind}: differs by more than ${LIMIT}`);
process.exitCode = failed.length > 0 ? 1 : 0;
