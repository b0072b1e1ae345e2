// Loads broken and crafted ONNX files: bit flips, bytes set, cut, moved, doubled and spliced, lengths made large, and messages changed field by
// field. Every case must load or be refused with an error of the library, in little time and memory; what loads is run on small inputs
// and must give outputs or be refused likewise. Prints counts; fails at the first case that does anything else, and keeps its file.
// Usage: node --expose-gc test/fuzz/onnx.mjs [executions] [seed]   (after npm run build)

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { decode, encode } from '../../dist/formats/onnx/wire.js';
import deeprnn from '../../dist/index.js';

const { cells, layers, loadModel, sequential, Tensor } = deeprnn;
const executions = Number(process.argv[2] ?? 20_000);
const firstSeed = Number(process.argv[3] ?? 1);
const MOST_MS = 2000;
const MOST_BYTES = 2 ** 30;

const read = (name) =>
  JSON.parse(gunzipSync(readFileSync(new URL(`../fixtures/onnx/${name}.json.gz`, import.meta.url))));
const bytesOf = ({ model }) => Buffer.from(model, 'base64');
const [small, exports] = [read('conformance').cases.map(bytesOf), read('pytorch-exports').cases.map(bytesOf)];

const folder = mkdtempSync(path.join(os.tmpdir(), 'onnx-fuzz-'));
const file = path.join(folder, 'case.onnx');

/** Files of this library with a Scan. */
const scans = [];
for (const layer of [
  layers.lstm({ units: 3, layerNormalization: true, projectionUnits: 2, inputShape: [null, 2] }),
  layers.gru({ units: 3, zoneout: 0.1, goBackwards: true, returnSequences: true, inputShape: [null, 2] }),
  layers.rnn({ cell: cells.sru({ units: 3 }), returnSequences: true, inputShape: [null, 2] }),
  layers.convLSTM1D({ filters: 2, kernelSize: 2, padding: 'same', inputShape: [null, 3, 2] }),
  layers.bidirectional({ layer: layers.lstm({ units: 2, cellClip: 1 }), inputShape: [null, 2] }),
]) {
  await sequential([layer]).save(file);
  scans.push(readFileSync(file));
}

/** The same with products as `Gemm`, and with all constants in the body too, as other programs save them. */
for (const bytes of [...scans]) {
  const message = decode(bytes, 'Model');
  for (const { opType, attribute } of message.graph.node)
    if (opType === 'Scan') {
      const { g } = attribute.find(({ name }) => name === 'body');
      g.initializer = message.graph.initializer;
      for (const node of g.node) if (node.opType === 'MatMul') node.opType = 'Gemm';
    }
  scans.push(Buffer.from(encode(message, 'Model')));
}

let state = firstSeed >>> 0;
/** A number from 0 to n − 1, by a Weyl sequence and a mixer of 32 bits. */
function below(n) {
  state = (state + 0x9e3779b9) >>> 0;
  let z = state;
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return ((z ^ (z >>> 15)) >>> 0) % n;
}
const pick = (list) => list[below(list.length)];
const anyModel = () => pick(pick([small, exports, scans]));

const odd = [
  0,
  1,
  -1,
  2,
  3,
  7,
  127,
  128,
  255,
  2 ** 16,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 40,
  Number.MAX_SAFE_INTEGER,
  -(2 ** 31),
];

/** Changes one thing somewhere in a message. */
function changeField(message) {
  const places = [];
  const visit = (value, depth) => {
    if (depth > 16) return;
    for (const [key, inner] of Object.entries(value)) {
      if (inner instanceof Uint8Array) places.push([value, key]);
      else if (typeof inner === 'object' && inner !== null) {
        places.push([value, key]);
        visit(inner, depth + 1);
      } else places.push([value, key]);
    }
  };
  visit(message, 0);
  const [holder, key] = pick(places);
  const value = holder[key];
  if (typeof value === 'number')
    holder[key] = Array.isArray(holder) || below(2) ? pick(odd) : value + below(5) - 2;
  else if (typeof value === 'string')
    holder[key] = pick([
      '',
      'x',
      'y',
      'X',
      'W',
      'Loop',
      'Scan',
      'LSTM',
      'GRU',
      'Slice',
      'Reshape',
      'Concat',
      'Expand',
      '../x',
      value + value,
    ]);
  else if (value instanceof Uint8Array) holder[key] = value.subarray(0, below(value.length + 1));
  else if (Array.isArray(value)) {
    const i = below(value.length + 1);
    if (below(2)) value.splice(i, 1);
    else if (value.length > 0 && value.length < 200) value.splice(i, 0, pick(value));
  } else if (!Array.isArray(holder)) delete holder[key];
}

const mutations = {
  flip: (bytes) => {
    for (let k = 1 + below(4); k > 0; k--) bytes[below(bytes.length)] ^= 1 << below(8);
    return bytes;
  },
  set: (bytes) => {
    for (let k = 1 + below(4); k > 0; k--)
      bytes[below(bytes.length)] = pick([0, 1, 0x7f, 0x80, 0xff, below(256)]);
    return bytes;
  },
  cut: (bytes) => bytes.subarray(0, below(bytes.length)),
  remove: (bytes) => {
    const at = below(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(16))]);
  },
  double: (bytes) => {
    const at = below(bytes.length);
    return Buffer.concat([bytes.subarray(0, at + below(64)), bytes.subarray(at)]);
  },
  splice: (bytes) => {
    const other = anyModel();
    return Buffer.concat([bytes.subarray(0, below(bytes.length)), other.subarray(below(other.length))]);
  },
  varint: (bytes) => {
    const at = below(bytes.length);
    const long = Buffer.from(
      [0xff, 0xff, 0xff, 0xff, pick([0x0f, 0xff]), pick([0x7f, 0xff]), 0xff, 0xff, 0xff, 0x01].slice(
        0,
        5 + below(6),
      ),
    );
    return Buffer.concat([bytes.subarray(0, at), long, bytes.subarray(at + 1)]);
  },
  /** A number of an attribute or of a shape: most files stay readable. */
  number: (bytes) => {
    const message = decode(Uint8Array.from(bytes), 'Model');
    const { node: outer = [], initializer = [] } = message.graph ?? {};
    const bodies = outer.flatMap(({ attribute = [] }) => attribute.map(({ g }) => g?.node ?? []));
    const node = [...outer, ...bodies.flat()];
    const attributes = node.flatMap(({ attribute = [] }) => attribute);
    const lists = [
      ...attributes.flatMap(({ ints, floats }) => [ints, floats]),
      ...initializer.map(({ dims }) => dims),
    ].filter((list) => list?.length > 0);
    const single = attributes.filter(({ i, f }) => i !== undefined || f !== undefined);
    const raw = initializer
      .map(({ rawData }) => rawData)
      .filter((data) => data?.length > 0 && data.length < 100);
    const change = (v) => (below(2) ? pick(odd) : v + below(5) - 2);
    const kind = below(3);
    if (kind === 0 && lists.length > 0) {
      const list = pick(lists);
      list[below(list.length)] = change(list[0]);
    } else if (kind === 1 && single.length > 0) {
      const one = pick(single);
      if (one.i === undefined) one.f = pick([0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e30, 0.5]);
      else one.i = change(one.i);
    } else if (raw.length > 0) {
      const data = Uint8Array.from(pick(raw));
      data[below(data.length)] = pick([0, 1, 2, 0x7f, 0xff, below(256)]);
      pick(initializer).rawData = data;
    }
    return Buffer.from(encode(message, 'Model'));
  },
  field: (bytes) => {
    const message = decode(Uint8Array.from(bytes), 'Model');
    for (let k = 1 + below(3); k > 0; k--) changeField(message);
    return Buffer.from(encode(message, 'Model'));
  },
};

const counts = { loaded: 0, ran: 0, refusedAtLoad: 0, refusedAtRun: 0 };
const known = ['ERR_FILE', 'ERR_SHAPE', 'ERR_VALUE', 'ERR_STATE', 'ERR_DEVICE'];
let slowest = 0;

function inputsFor(model) {
  return Object.fromEntries(
    model.inputs.map(({ name, dtype, shape }) => {
      const dims = (shape ?? [2, 3]).map((n) => n ?? 2);
      const size = dims.reduce((a, b) => a * b, 1);
      if (size > 2 ** 20)
        throw Object.assign(new Error('an input of the file is too large for this test'), {
          code: 'ERR_SHAPE',
        });
      const whole = dtype === 'int32' || dtype === 'int64';
      return [
        name,
        new Tensor(whole ? new Int32Array(size).fill(1) : new Float32Array(size).fill(0.5), dims),
      ];
    }),
  );
}

async function one() {
  let model;
  try {
    model = await loadModel(file);
    counts.loaded += 1;
  } catch (error) {
    if (error.code !== 'ERR_FILE') throw error;
    counts.refusedAtLoad += 1;
    return;
  }
  try {
    if (typeof model.run !== 'function')
      throw Object.assign(new Error('no ONNX model'), { code: 'ERR_VALUE' });
    await model.run(inputsFor(model));
    counts.ran += 1;
  } catch (error) {
    if (!known.includes(error.code)) throw error;
    counts.refusedAtRun += 1;
  } finally {
    model.dispose();
  }
}

for (let i = 0; i < executions; i++) {
  let bytes = Buffer.from(anyModel());
  // Changed fields get deeper than broken bytes.
  const structured = below(4) > 0;
  for (let k = 1 + below(2); k > 0 && bytes.length > 0; k--) {
    const name = structured ? pick(['field', 'number', 'number']) : pick(Object.keys(mutations));
    try {
      bytes = mutations[name](bytes);
    } catch {
      // A file that is broken already has no fields to change.
    }
  }
  writeFileSync(file, bytes);
  const begin = performance.now();
  const fail = (reason) => {
    const kept = path.join(os.tmpdir(), `onnx-fuzz-${firstSeed}-${i}.onnx`);
    writeFileSync(kept, bytes);
    process.stderr.write(`case ${i} of seed ${firstSeed}: ${reason}\nits file: ${kept}\n`);
    process.exit(1);
  };
  try {
    await one();
  } catch (error) {
    fail(error.stack ?? String(error));
  }
  const ms = performance.now() - begin;
  slowest = Math.max(slowest, ms);
  if (ms > MOST_MS) fail(`it took ${ms.toFixed(0)} ms`);
  if (i % 500 === 0) {
    globalThis.gc?.();
    if (process.memoryUsage().rss > MOST_BYTES) fail(`${process.memoryUsage().rss} bytes are held`);
  }
}
rmSync(folder, { recursive: true });
process.stdout.write(
  `${executions} executions, seed ${firstSeed}: ${JSON.stringify(counts)}, slowest ${slowest.toFixed(0)} ms\n`,
);
