// Arrays to NumPy and back in .npy and .npz files: `node test/peers/numpy.mjs [rounds]`, after `npm run build`. Wants Python with numpy
// ($DEEPRNN_PEER_PYTHON). Prints a table and exits with status 1 where a number differs.

import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startPeer } from './peer.mjs';

const { readNpz, tensor, writeNpy, writeNpz } = createRequire(import.meta.url)('../../dist/index.js');
const rounds = Number(process.argv[2] ?? 20);
const folder = await mkdtemp(path.join(tmpdir(), 'deeprnn-numpy-'));
const peer = startPeer('numpy_peer.py');
const number = (text) =>
  ({ nan: Number.NaN, inf: Number.POSITIVE_INFINITY, '-inf': Number.NEGATIVE_INFINITY })[text] ??
  Number(text);
const counts = new Map();
const problems = [];

function compare(what, ours, theirs) {
  const isSame =
    String(ours.shape) === String(theirs.shape) &&
    ours.data.length === theirs.data.length &&
    theirs.data.every((text, i) => Object.is(ours.data[i] + 0, number(text) + 0));
  if (!isSame) problems.push(`${what}: [${ours.data}] and [${theirs.data}]`);
  counts.set(what, (counts.get(what) ?? 0) + 1);
}

const special = [0.1, -2.5, Number.NaN, Number.POSITIVE_INFINITY, 1e-40, 3];
for (let round = 0; round < rounds; round++) {
  const file = path.join(folder, `${round}.npz`);
  const theirs = await peer.ask({ do: 'write', path: file, seed: round, compressed: round % 2 === 0 });
  const found = await readNpz(file);
  for (const [name, array] of Object.entries(theirs)) compare(`NumPy → deeprnn, ${name}`, found[name], array);

  const arrays = {
    'float32/é': tensor(
      Float32Array.from(special, (v) => v * (round + 1)),
      [2, 3],
    ),
    'float64 long': tensor(
      Float64Array.from({ length: 70_000 }, (_, i) => Math.sin(i + round)),
      [70_000],
    ),
    int32: tensor(Int32Array.of(round, -1, 2 ** 31 - 1), [3, 1]),
    empty: tensor(new Float32Array(0), [0, 2]),
    scalar: tensor(Float64Array.of(round), []),
  };
  const ours = path.join(folder, `ours-${round}.npz`);
  await writeNpz(ours, arrays, { compress: round % 2 === 0 });
  const read = await peer.ask({ do: 'read', path: ours });
  for (const [name, array] of Object.entries(arrays))
    compare(`deeprnn → NumPy .npz, ${name}`, array, read[name]);
  for (const dtype of ['float32', 'float64', 'float16', 'int32', 'int64', 'uint8', 'bool']) {
    const one = path.join(folder, 'a.npy');
    const values = tensor(Float64Array.of(0, 1, (round + 1) % 2), [3]);
    await writeNpy(one, values, { dtype });
    compare(`deeprnn → NumPy .npy, ${dtype}`, values, (await peer.ask({ do: 'read', path: one })).array);
  }
}
peer.end();
await rm(folder, { recursive: true });
console.log(`${rounds} rounds; ${problems.length} arrays differ`);
console.log('| arrays | compared |\n|---|---|');
for (const [what, count] of counts) console.log(`| ${what} | ${count} |`);
for (const problem of problems.slice(0, 10)) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
