import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Functional, loadModel, loadWeights, type Tensor, tensor } from 'deeprnn';
import { readArchive } from '../../../lib/formats/keras/archive';
import { Hdf5 } from '../../../lib/formats/keras/hdf5';
import { readSafetensors } from '../../../lib/io/modelFile';
import type { Model } from '../../../lib/models/model';

/** Files that Keras wrote (test/fixtures/keras), and what it computed with the models in them. */
const folder = resolve(__dirname, '../../fixtures/keras');

const written = mkdtempSync(join(tmpdir(), 'deeprnn-written-'));
afterAll(() => rmSync(written, { recursive: true }));

interface Array_ {
  readonly shape: number[];
  readonly data: number[];
}

interface Case {
  readonly x: Array_[];
  readonly predicted: Array_[];
  readonly y?: Array_[];
  readonly losses?: number[];
  readonly after?: Array_[];
}

const { cases } = JSON.parse(readFileSync(join(folder, 'keras.json'), 'utf8')) as {
  cases: Record<string, Case>;
};
cases['keras2.h5'] = JSON.parse(readFileSync(join(folder, 'keras2.json'), 'utf8')) as Case;

function inputsFor(model: Model, { x }: Case): Tensor | Tensor[] {
  const symbols = model.requireBuilt('test').inputs.map(({ symbol }) => symbol);
  const all = x.map(({ shape, data }, i) =>
    tensor(symbols[i]?.dtype === 'int32' ? Int32Array.from(data) : Float32Array.from(data), shape),
  );
  return all.length > 1 ? all : (all[0] as Tensor);
}

async function predict(model: Model, own: Case): Promise<Tensor[]> {
  const y = (await model.predict(inputsFor(model, own) as Tensor)) as Tensor | Record<string, Tensor>;
  return 'data' in y ? [y as Tensor] : Object.values(y);
}

/** The largest difference, NaN where something is missing. */
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.NaN;
  return Math.max(...Array.from(a, (v, i) => Math.abs(v - (b[i] as number))));
}

function expectNear(ours: readonly Tensor[], theirs: readonly Array_[] | undefined, most: number): void {
  expect(ours.map(({ shape }) => [...shape])).toEqual(theirs?.map(({ shape }) => shape));
  for (const [i, { data }] of ours.entries())
    expect(difference(data, theirs?.[i]?.data ?? [])).toBeLessThanOrEqual(most);
}

/** Reads files of weights, all of them in one thread. */
const reader = new Hdf5("'fixture'");
afterAll(() => reader.close());

/** All arrays of a file of weights, by name. */
async function arraysOf(bytes: Uint8Array) {
  const { arrays } = await reader.open(bytes);
  const data = await reader.read(Object.keys(arrays), 1e5);
  return Object.entries(arrays)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { shape }]) => ({ name, shape, data: data[name] as Float32Array }));
}

interface Written {
  readonly layers: { class_name: string; config: { name: string } }[];
}

/** Saves a model, and compares its layers and arrays with those of the file that it is from. */
async function expectSameWritten(model: Model, file: string): Promise<void> {
  const again = join(written, file);
  await model.save(again);
  const [theirs, ours] = await Promise.all(
    [join(folder, file), again].map((path) =>
      readArchive(readFileSync(path), path, ['config.json', 'model.weights.h5']),
    ),
  );
  const layersIn = (members: ReadonlyMap<string, Buffer> | undefined) => {
    const { config } = JSON.parse(members?.get('config.json')?.toString() ?? '') as { config: Written };
    // Masks, which Keras works out anew, stand among the layers of its own files.
    const own = config.layers.filter(
      ({ class_name }) => !/^(NotEqual|Any|LogicalOr|InputLayer)$/.test(class_name),
    );
    // Which is an activation here.
    const classOf = (name: string) => name.replace(/^Identity$/, 'Activation');
    return own.map((layer) => [classOf(layer.class_name), layer.config.name]);
  };
  expect(layersIn(ours)).toEqual(layersIn(theirs));
  const wanted = await arraysOf(theirs?.get('model.weights.h5') as Buffer);
  const found = await arraysOf(ours?.get('model.weights.h5') as Buffer);
  expect(found.map(({ name, shape }) => [name, shape])).toEqual(
    wanted.map(({ name, shape }) => [name, shape]),
  );
  for (const [i, { data }] of found.entries()) {
    // What Keras's adafactor makes anew at every step is written as zeros.
    if (file.includes('adafactor') && data.every((v) => v === 0)) continue;
    expect(difference(data, wanted[i]?.data ?? [])).toBeLessThanOrEqual(1e-7);
  }
}

const whole = Object.keys(cases).filter((name) => !/\.(weights\.h5|safetensors)$/.test(name));

/** Files that are not written again as they were: layers of models in models have become the model's own, and names others. */
const isOfModels = (file: string) =>
  /^(a-)?(models?|functional-model|masks-(inside|handed)|names-with)/.test(file);

describe('models that Keras saved', () => {
  test.each(whole)('%s predicts what Keras predicts, and is written again as it was', async (file) => {
    const own = cases[file] as Case;
    const model = await loadModel(join(folder, file));
    expectNear(await predict(model, own), own.predicted, 1e-5);
    if (isOfModels(file)) {
      const again = join(written, file.replace(/\.h5$/, '.keras'));
      await model.save(again);
      const read = await loadModel(again);
      expectNear(await predict(read, own), own.predicted, 1e-5);
      read.dispose();
    } else if (file.endsWith('.keras')) await expectSameWritten(model, file);
    model.dispose();
  });

  test.each(whole.filter((name) => cases[name]?.losses))(
    '%s goes on with its training, step by step',
    async (file) => {
      const own = cases[file] as Required<Case>;
      const model = await loadModel(join(folder, file));
      const x = inputsFor(model, own);
      const targets = own.y.map(({ shape, data }) => tensor(Float32Array.from(data), shape));
      const y = targets.length > 1 ? targets : (targets[0] as Tensor);
      expect(model.step).toBe(4);
      const losses: number[] = [];
      for (const _ of own.losses) losses.push((await model.trainOnBatch(x, y))['loss'] as number);
      expect(difference(losses, own.losses)).toBeLessThanOrEqual(1e-5);
      expectNear(await predict(model, own), own.after, 2e-5);
      model.dispose();
    },
  );

  test.each(Object.keys(cases).filter((name) => name.endsWith('.weights.h5')))(
    '%s goes into a model that there is',
    async (file) => {
      const own = cases[file] as Case;
      const model = await loadModel(join(folder, file.replace('.weights.h5', '.keras')));
      const before = await predict(model, own);
      expect(difference((before[0] as Tensor).data, own.predicted[0]?.data ?? [])).toBeGreaterThan(1e-3);
      await loadWeights(model, join(folder, file));
      expectNear(await predict(model, own), own.predicted, 1e-5);
      model.dispose();
    },
  );

  test.each(Object.keys(cases).filter((name) => name.endsWith('.safetensors')))(
    '%s, by the paths of variables, goes into a model that there is, and is written again as it was',
    async (file) => {
      const own = cases[file] as Case;
      const model = await loadModel(join(folder, file.replace('.safetensors', '.keras')));
      const [before] = await predict(model, own);
      expect(difference((before as Tensor).data, own.predicted[0]?.data ?? [])).toBeGreaterThan(1e-3);
      await loadWeights(model, join(folder, file));
      expectNear(await predict(model, own), own.predicted, 1e-5);
      await model.saveWeights(join(written, file), { names: 'keras' });
      const [theirs, ours] = await Promise.all(
        [join(folder, file), join(written, file)].map((path) => readSafetensors(path)),
      );
      expect(ours).toEqual(theirs);
      model.dispose();
    },
  );

  test('the layers of a functional model have their names and connections', async () => {
    const model = (await loadModel(join(folder, 'shared.keras'))) as unknown as Functional;
    expect(model.layers.map(({ type }) => type)).toEqual(['gru', 'dense', 'concatenate', 'dense']);
    expect(model.graph.nodes).toHaveLength(6);
    expect(model.namesOutputs).toBe(false);
  });

  test('weights of a .keras archive can be loaded alone', async () => {
    const file = join(folder, 'lstm.keras');
    const own = cases['lstm.keras'] as Case;
    const model = await loadModel(file);
    const weights = await model.getWeights();
    await model.setWeights(
      new Map(
        [...weights].map(([name, { shape, data }]) => [
          name,
          tensor(
            data.map(() => 0),
            [...shape],
          ),
        ]),
      ),
    );
    await loadWeights(model, file);
    expectNear(await predict(model, own), own.predicted, 1e-5);
  });

  test('compile: false leaves loss and optimizer out', async () => {
    const model = await loadModel(join(folder, 'optimizer-adam.keras'), { compile: false });
    expect(model.compiled).toBeUndefined();
  });
});
