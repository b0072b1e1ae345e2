import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { layers, loadModel, loadWeights, saveWeights, sequential, tensor } from 'deeprnn';
import { readSafetensors, writeSafetensors } from '../../../lib/io/modelFile';
import { refusal } from '../refusal';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'deeprnn-weights-'));
  file = join(folder, 'w.safetensors');
});
afterEach(() => rmSync(folder, { recursive: true }));

const make = () =>
  sequential([
    layers.bidirectional({ layer: layers.gru({ units: 3 }), inputShape: [null, 2], name: 'both' }),
    layers.dense({ units: 2, name: 'head' }),
  ]);
const x = tensor([
  [
    [0.1, 0.2],
    [0.3, 0.4],
  ],
]);

test('weights alone go to a plain file by their names, and from there into another model', async () => {
  const [one, other] = [make(), make()];
  await saveWeights(one, file);
  const { tensors, metadata } = await readSafetensors(file);
  expect(metadata).toEqual({});
  expect([...tensors.keys()]).toEqual([...(await one.getWeights()).keys()].sort());
  await loadWeights(other, file);
  expect((await other.predict(x)).data).toEqual((await one.predict(x)).data);
  expect(await refusal(() => loadModel(file))).toMatch(/it holds arrays only/);
});

test('weights of a file that save wrote are read too, its checksum proven', async () => {
  const [one, other] = [make(), make()];
  await one.save(file);
  await loadWeights(other, file);
  expect((await other.predict(x)).data).toEqual((await one.predict(x)).data);
});

test('names, shapes and kinds of numbers that are not those of the model are refused', async () => {
  const model = make();
  const weights = await model.getWeights();
  const write = (change: (arrays: Map<string, ReturnType<typeof tensor>>) => void) => {
    const arrays = new Map(weights);
    change(arrays);
    return writeSafetensors(file, { tensors: arrays, metadata: {} });
  };
  const load = () => loadWeights(model, file);
  await write((arrays) => arrays.delete('head/bias'));
  expect(await refusal(load)).toMatch(/expected head\/bias \[2\], got no such array/);
  await write((arrays) => arrays.set('head/bias', tensor([1, 2, 3])));
  expect(await refusal(load)).toMatch(/expected head\/bias \[2\], got \[3\]/);
  await write((arrays) => arrays.set('tail/bias', tensor([1])));
  expect(await refusal(load)).toMatch(/expected no array 'tail\/bias'/);
  await write((arrays) => arrays.set('head/bias', tensor(Int32Array.of(1, 2))));
  expect(await refusal(load)).toMatch(/array 'head\/bias' holds whole numbers, expected floats/);
  expect(await refusal(() => saveWeights(model, ''))).toMatch(/saveWeights: path: expected a file name/);
});
