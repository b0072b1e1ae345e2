// What more than one format has in common at the border: masks of layers that read backwards, names, files that are none.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  fromTorch,
  input,
  layers,
  loadModel,
  model,
  modelFromConfig,
  readNpy,
  readNpz,
  sequential,
  tableTensors,
  tensor,
  toTorch,
  writeNpz,
} from 'deeprnn';
import { refusal } from '../refusal';

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-borders-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => path.join(folder, name);

const turned = () =>
  sequential([
    layers.masking({ inputShape: [4, 3] }),
    layers.lstm({ units: 3, goBackwards: true, returnSequences: true, name: 'turned' }),
    layers.lstm({ units: 2 }),
  ]);

test('a mask that is turned here and not in Keras is refused on the way out', async () => {
  const message =
    "ERR_VALUE layer 'turned': goBackwards: expected no mask in a model where it goes with returnSequences";
  expect(await refusal(() => turned().save(at('m.keras')))).toContain(message);
  expect(readdirSync(folder)).not.toContain('m.keras');
  // As a model of this library it is what it was.
  expect(modelFromConfig(turned().getConfig()).layers).toHaveLength(3);
  await sequential([
    layers.lstm({ units: 3, goBackwards: true, returnSequences: true, inputShape: [4, 3] }),
    layers.lstm({ units: 2 }),
  ]).save(at('unmasked.keras'));
});

test('a layer whose name Keras needs for a mask is refused on the way out', async () => {
  const named = (name?: string) => {
    const x = input({ shape: [4, 3] });
    const masked = layers.masking().apply(x);
    const parts = [layers.gru({ units: 2, returnSequences: true }).apply(masked), masked];
    const both = layers.concatenate(name === undefined ? {} : { name }).apply(parts);
    return model({ inputs: x, outputs: layers.lstm({ units: 2 }).apply(both) });
  };
  expect(await refusal(() => named().save(at('named.keras')))).toMatch(
    /save: layer 'concatenate': name: expected another name beside masks/,
  );
  await named('both').save(at('named.keras'));
  expect((await loadModel(at('named.keras'))).layers.map((layer) => layer.name)).toContain('both');
});

test('two modules of one prefix would write over each other', async () => {
  const own = sequential([layers.dense({ units: 3, inputShape: [4] }), layers.dense({ units: 2 })]);
  const description = [{ module: 'Linear' }, { module: 'Linear' }] as const;
  expect(await refusal(() => toTorch(own, at('t.safetensors'), { description }))).toMatch(
    /name: expected one of its own, got the name of another that has 'weight'/,
  );
  expect(readdirSync(folder)).not.toContain('t.safetensors');
  const named = [
    { module: 'Linear', name: 'a' },
    { module: 'Linear', name: 'b' },
  ] as const;
  await toTorch(own, at('t.safetensors'), { description: named });
  const x = tensor([1, 2, 3, 4]).reshape([1, 4]);
  expect(await (await fromTorch(at('t.safetensors'), named)).predict(x)).toEqual(await own.predict(x));
});

test('an array of an .npz file that was altered is refused', async () => {
  for (const compress of [false, true]) {
    await writeNpz(at('a.npz'), { a: tensor(new Float32Array(64).fill(1)) }, { compress });
    const bytes = readFileSync(at('a.npz'));
    const broken = Buffer.from(bytes);
    const place = compress ? 60 : 200;
    broken[place] = (broken[place] as number) ^ 1;
    writeFileSync(at('a.npz'), broken);
    expect(await refusal(() => readNpz(at('a.npz')))).toMatch(/^ERR_FILE /);
  }
});

test('weights are not written under the name of another format', async () => {
  const own = sequential([layers.dense({ units: 1, inputShape: [2] })]);
  for (const name of ['w.h5', 'w.keras', 'w.npz', 'w.onnx', 'w.pt', 'w.JSON'])
    expect(await refusal(() => own.saveWeights(at(name)))).toMatch(
      /ERR_VALUE saveWeights: path: expected a name/,
    );
  for (const name of ['w.safetensors', 'w.weights.h5', 'w', 'w.best']) await own.saveWeights(at(name));
});

const unix = process.platform === 'win32' ? test.skip : test;

unix('a pipe, which nobody writes to, is no file', async () => {
  execFileSync('mkfifo', [at('pipe')]);
  for (const read of [loadModel, readNpy] as const)
    expect(await refusal(() => read(at('pipe')))).toMatch(/could not be read: it is not a file/);
  mkdirSync(at('folder'));
  const own = sequential([layers.dense({ units: 1, inputShape: [2] })]);
  expect(await refusal(() => own.save(at('pipe')))).toMatch(/something else than a file of that name/);
  expect(await refusal(() => own.save(at('folder')))).toMatch(/there is a folder of that name/);
  expect(statSync(at('pipe')).isFIFO()).toBe(true);
});

unix('a file that is saved again is for those whom it was for', async () => {
  const own = sequential([layers.dense({ units: 1, inputShape: [2] })]);
  await own.save(at('private'));
  chmodSync(at('private'), 0o600);
  await own.save(at('private'));
  expect(statSync(at('private')).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

test('a table with a target has one by its type too', () => {
  const table = { columns: { a: Float64Array.of(1, 2), b: Float64Array.of(3, 4) }, rows: 2 };
  const { y } = tableTensors(table as never, { features: ['a'], target: 'b' });
  expect([...y.data]).toEqual([3, 4]);
});
