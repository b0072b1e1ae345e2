// Weights in safetensors files by the paths that variables have in Keras.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cells, layers, loadWeights, type Sequential, sequential, tensor } from 'deeprnn';
import { readSafetensors, writeSafetensors } from '../../../lib/io/modelFile';
import type { Tensor } from '../../../lib/tensors/tensor';
import { refusal } from '../refusal';

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-names-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = path.join(folder, 'w.safetensors');

const names = async () => [...(await readSafetensors(file)).tensors.keys()].sort();
const inputShape = [4, 3];
const net = (seed = 1): Sequential =>
  sequential(
    [
      layers.bidirectional({
        layer: layers.gru({ units: 2, returnSequences: true }),
        name: 'both',
        inputShape,
      }),
      layers.gru({ units: 2, name: 'gru_1', returnSequences: true }),
      layers.bidirectional({ layer: layers.gru({ units: 2 }), name: 'above' }),
      layers.dense({ units: 1, name: 'head' }),
    ],
    { name: 'net', seed },
  );

async function expectSame(ours: Sequential, theirs: Sequential): Promise<void> {
  expect(await ours.getWeights()).toEqual(await theirs.getWeights());
}

/** A file of the arrays of another, renamed. */
async function renamed(change: (name: string) => string, more: [string, Tensor][] = []): Promise<void> {
  await net(2).saveWeights(file, { names: 'keras' });
  const { tensors } = await readSafetensors(file);
  const all = new Map([...[...tensors].map(([name, array]) => [change(name), array] as const), ...more]);
  await writeSafetensors(file, { tensors: all, metadata: {} });
}

test('layers inside others have the names that a program gives them that names none', async () => {
  await net().saveWeights(file, { names: 'keras' });
  const cell = (scope: string) =>
    ['bias', 'kernel', 'recurrent_kernel'].map((name) => `net/${scope}/gru_cell/${name}`);
  expect(await names()).toEqual(
    [
      ...cell('both/forward_gru'),
      ...cell('both/backward_gru'),
      ...cell('gru_1'),
      ...cell('above/forward_gru_2'),
      ...cell('above/backward_gru_2'),
      'net/head/kernel',
      'net/head/bias',
    ].sort(),
  );
  expect((await readSafetensors(file)).tensors.get('net/gru_1/gru_cell/bias')?.shape).toEqual([2, 6]);
});

test('a file is told by its names, whatever the model and the layers inside others are called', async () => {
  for (const change of [
    (name: string) => name,
    (name: string) => name.replace(/^net\//, ''),
    (name: string) => name.replace(/^net\//, 'sequential_7/').replace('ward_gru_2', 'ward_mine'),
  ]) {
    await renamed(change);
    for (const options of [{}, { names: 'keras' }] as const) {
      const model = net();
      await loadWeights(model, file, options);
      await expectSame(model, net(2));
    }
  }
  await net(3).saveWeights(file);
  const model = net();
  await loadWeights(model, file);
  await expectSame(model, net(3));
});

test('names that are not all there, that are others, or that may be two, are refused, and the model stays', async () => {
  const model = net();
  const said = (options = {}) => refusal(() => loadWeights(model, file, options));
  await renamed((name) => name.replace('head/kernel', 'foot/kernel'));
  expect(await said()).toContain('expected head/kernel [4, 1], got no such array.');
  await renamed((name) => name, [['net/more', tensor([1])]]);
  expect(await said()).toContain('expected 17 arrays, got 18.');
  await renamed((name) => name.replace('both/backward_gru', 'both/forward_gru_9'));
  expect(await said()).toContain('expected both/backward_gru/gru_cell/kernel [3, 6], got no such array.');
  await renamed((name) => name);
  expect(await said({ names: 'deeprnn' })).toContain(
    'expected both/forward/kernel [3, 6], got no such array.',
  );
  await net(2).saveWeights(file);
  expect(await said({ names: 'keras' })).toContain(
    'expected both/forward_gru/gru_cell/kernel [3, 6], got no such',
  );
  const flat = (array: Tensor) => array.reshape([array.size]);
  await net(2).saveWeights(file, { names: 'keras' });
  const { tensors } = await readSafetensors(file);
  const bias = 'net/gru_1/gru_cell/bias';
  await writeSafetensors(file, {
    tensors: new Map([...tensors, [bias, flat(tensors.get(bias) as Tensor)]]),
    metadata: {},
  });
  expect(await said()).toContain(`expected ${bias} [2, 6], got [12].`);
  await expectSame(model, net());
});

test('weights of another model by our own names are called so', async () => {
  await sequential([layers.dense({ units: 2, name: 'head', inputShape: [3] })]).saveWeights(file);
  expect(await refusal(() => loadWeights(net(), file))).toContain('expected both/forward/kernel [3, 6]');
});

test('what Keras has no name for, and names beside other formats, are refused', async () => {
  const of = (layer: Parameters<typeof sequential>[0] extends readonly (infer L)[] | undefined ? L : never) =>
    refusal(() => sequential([layer]).saveWeights(path.join(folder, 'none.safetensors'), { names: 'keras' }));
  expect(await of(layers.lstm({ units: 2, peepholes: true, name: 'own', inputShape }))).toBe(
    "ERR_VALUE saveWeights: layer 'own': expected weights that Keras has, got 'peephole'.",
  );
  expect(await of(layers.highway({ name: 'own', inputShape }))).toContain(
    "layer 'own': expected a layer that Keras has",
  );
  expect(await of(layers.rnn({ cell: cells.indRNN({ units: 2 }), name: 'own', inputShape }))).toContain(
    'a cell that',
  );
  const h5 = path.join(folder, 'w.weights.h5');
  expect(await refusal(() => net().saveWeights(h5, { names: 'keras' }))).toContain(
    'saveWeights: names: expected a safetensors',
  );
  await net().saveWeights(h5);
  expect(await refusal(() => loadWeights(net(), h5, { names: 'keras' }))).toContain(
    'loadWeights: names: expected a safetensors',
  );
  expect(await refusal(() => net().saveWeights(file, { names: 'torch' as never }))).toBe(
    "ERR_VALUE saveWeights: names: expected 'deeprnn' or 'keras', got 'torch'.",
  );
});
