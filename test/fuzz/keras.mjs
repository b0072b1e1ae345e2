// Throws broken files of Keras at the reader: HDF5 and zip bytes that are flipped, cut and spliced, and configurations of which parts are others.
// Each must be read or refused with a DeepRnnError, in time and in memory. Prints counts, exits with 1 where something else happened, and leaves
// such files in the folder that it names. Usage: node test/fuzz/keras.mjs [executions, default 20000] [seed, default 1]

import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';

const require = createRequire(import.meta.url);
const { DeepRnnError, loadModel } = require('../../dist/index.js');
const { Hdf5 } = require('../../dist/formats/keras/hdf5.js');
const { readZip, writeZip } = require('../../dist/formats/keras/zip.js');

const executions = Number(process.argv[2] ?? 20_000);
const seed = Number(process.argv[3] ?? 1);
/** Of one case: milliseconds, and bytes that the process may have in all. */
const [MOST_TIME, MOST_MEMORY] = [30_000, 3 * 2 ** 30];
const MEMBERS = ['metadata.json', 'config.json', 'model.weights.h5'];

const fixtures = path.join(import.meta.dirname, '../fixtures/keras');
const names = readdirSync(fixtures);
const archives = names
  .filter((name) => name.endsWith('.keras'))
  .map((name) => readFileSync(path.join(fixtures, name)));
const hdf5s = names
  .filter((name) => name.endsWith('.h5'))
  .map((name) => readFileSync(path.join(fixtures, name)));
const unpacked = await Promise.all(archives.map((bytes) => readZip(bytes, 'fixture', MEMBERS)));
hdf5s.push(...unpacked.map((members) => members.get('model.weights.h5')));
const configs = unpacked.map((members) => JSON.parse(members.get('config.json').toString()));
const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-fuzz-'));

let state = seed >>> 0;
/** A whole number below `n`. */
function below(n) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  let x = state;
  x = Math.imul(x ^ (x >>> 16), 2246822519) >>> 0;
  return Math.floor((((x ^ (x >>> 13)) >>> 0) / 2 ** 32) * n);
}
const pick = (list) => list[below(list.length)];

const values = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0xffffffff];

function mutateBytes(given, others) {
  let bytes = Buffer.from(given);
  for (let i = 1 + below(6); i > 0; i--) {
    const at = below(bytes.length);
    switch (below(8)) {
      case 0:
        bytes = bytes.subarray(0, at + 1);
        break;
      case 1: {
        const other = pick(others);
        const from = below(other.length);
        other.copy(bytes, at, from, from + below(512));
        break;
      }
      case 2:
        bytes.writeUInt32LE(pick(values), Math.min(at, Math.max(0, bytes.length - 4)));
        break;
      case 3:
        bytes[at] = pick(values) & 0xff;
        break;
      case 4:
        bytes.copy(bytes, at, below(bytes.length), below(bytes.length));
        break;
      case 5:
        bytes.fill(pick([0, 0xff]), at, Math.min(bytes.length, at + below(64)));
        break;
      default:
        bytes[at] ^= 1 << below(8);
    }
    if (bytes.length < 8) break;
  }
  return bytes;
}

const odd = [
  null,
  true,
  -1,
  0,
  1.5,
  1e9,
  2 ** 53,
  '',
  'x',
  '../x',
  'LSTM',
  'Dense',
  [],
  {},
  [[]],
  [null],
  { class_name: 'LSTM' },
];

/** A copy in which some values are others, are gone, or stand elsewhere. */
function mutateJson(given) {
  const copy = structuredClone(given);
  for (let i = 1 + below(3); i > 0; i--) {
    const places = [];
    const walk = (value) => {
      if (typeof value !== 'object' || value === null) return;
      for (const key of Object.keys(value)) {
        places.push([value, key]);
        walk(value[key]);
      }
    };
    walk(copy);
    if (places.length === 0) return copy;
    const [holder, key] = pick(places);
    const [other, otherKey] = pick(places);
    const how = below(4);
    if (how === 0) holder[key] = structuredClone(pick(odd));
    else if (how === 1) delete holder[key];
    else if (how === 2) holder[key] = structuredClone(other[otherKey]);
    else if (typeof holder[key] === 'number')
      holder[key] = pick([holder[key] * 1000, -holder[key], holder[key] + 1]);
    else holder[key] = structuredClone(pick(odd));
  }
  return copy;
}

/** Milliseconds after which a thread is ended here: files of this size take a few. */
const THREAD_TIME = 2000;
let thread = new Hdf5("'fuzz'", THREAD_TIME);
async function hdf5Case(bytes) {
  const { arrays } = await thread.open(bytes);
  const wanted = Object.entries(arrays).filter(
    ([, { shape, kind }]) => kind === 'real' && shape.reduce((a, b) => a * b, 1) <= 1e6,
  );
  const elements = wanted.reduce((sum, [, { shape }]) => sum + shape.reduce((a, b) => a * b, 1), 0);
  await thread.read(
    wanted.map(([name]) => name),
    elements,
  );
}

const kinds = {
  hdf5: [() => mutateBytes(pick(hdf5s), hdf5s), hdf5Case, 0.6],
  zip: [() => mutateBytes(pick(archives), archives), (bytes) => readZip(bytes, "'fuzz'", MEMBERS), 0.3],
  config: [
    async () => {
      const i = below(configs.length);
      const config = Buffer.from(JSON.stringify(mutateJson(configs[i])));
      return Buffer.concat(await writeZip(new Map([...unpacked[i], ['config.json', config]])));
    },
    async (bytes) => {
      const file = path.join(folder, 'case.keras');
      writeFileSync(file, bytes);
      (await loadModel(file)).dispose();
    },
    0.1,
  ],
};

const counts = {};
/** Why the thread of HDF5 ended or ran out of what it may have, and how often. */
const ends = {};
let findings = 0;
let [slowest, largest] = [0, 0];
for (let i = 0; i < executions; i++) {
  const share = (i % 10) / 10;
  const kind = share < 0.6 ? 'hdf5' : share < 0.9 ? 'zip' : 'config';
  const [make, run] = kinds[kind];
  const bytes = await make();
  counts[kind] ??= { cases: 0, read: 0, refused: 0, ended: 0 };
  const own = counts[kind];
  own.cases++;
  const begin = performance.now();
  let found;
  try {
    await run(bytes);
    own.read++;
  } catch (error) {
    if (!(error instanceof DeepRnnError)) found = `${error?.name}: ${error?.message}`;
    else own.refused++;
    const [end] = /took longer|the library stopped|memory.*|limit.*/i.exec(error?.message) ?? [];
    if (end !== undefined && kind === 'hdf5') {
      own.ended++;
      ends[end] = (ends[end] ?? 0) + 1;
      writeFileSync(path.join(folder, `ended-${i}.h5`), bytes);
      await thread.close();
      thread = new Hdf5("'fuzz'", THREAD_TIME);
    }
  }
  const time = performance.now() - begin;
  const memory = process.memoryUsage().rss;
  slowest = Math.max(slowest, time);
  largest = Math.max(largest, memory);
  if (time > MOST_TIME) found ??= `took ${Math.round(time)} ms`;
  if (memory > MOST_MEMORY) found ??= `left the process with ${memory} bytes`;
  if (found) {
    findings++;
    const file = path.join(folder, `${kind}-${i}`);
    writeFileSync(file, bytes);
    console.log(`${kind} ${i}: ${found} (${file})`);
  }
  if ((i + 1) % 1000 === 0) console.log(`${i + 1} of ${executions}`, JSON.stringify(counts));
}
await thread.close();
console.table(counts);
console.table(ends);
if (Object.keys(ends).length > 0) console.log(`files that did so: ${folder}/ended-*.h5`);
console.log(
  `slowest case ${Math.round(slowest)} ms, most memory ${Math.round(largest / 2 ** 20)} MiB, findings ${findings}`,
);
process.exitCode = findings > 0 ? 1 : 0;
