import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { loadModel, tensor } from 'deeprnn';
import { toFloat16 } from '../../../lib/io/numbers';
import { refusal } from '../refusal';

const fixtures = resolve(__dirname, '../../fixtures/tfjs');
interface Case {
  readonly input: { readonly shape: number[]; readonly data: number[] };
  readonly ids: boolean;
  readonly output: { readonly shape: number[]; readonly data: number[] };
}
const cases: Record<string, Case> = JSON.parse(readFileSync(join(fixtures, 'cases.json'), 'utf8'));
const inputOf = ({ ids, input }: Case) =>
  tensor(ids ? Int32Array.from(input.data) : Float32Array.from(input.data), input.shape);

test.each(Object.entries(cases))('%s predicts what TensorFlow.js does', async (name, given) => {
  const model = await loadModel(join(fixtures, name, 'model.json'));
  const y = await model.predict(inputOf(given));
  expect(y.shape).toEqual(given.output.shape);
  given.output.data.forEach((w, i) => {
    expect(Math.abs((y.data[i] as number) - w)).toBeLessThanOrEqual(1e-6);
  });
});

test('a model with a trainingConfig is compiled, unless asked not to be', async () => {
  const file = join(fixtures, 'compiled', 'model.json');
  const model = await loadModel(file);
  expect(await model.trainOnBatch([[1, 2, 3]], [[0, 1]])).toHaveProperty('accuracy');
  expect(model.learningRate).toBeCloseTo(0.02, 6);
  const other = await loadModel(file, { compile: false });
  expect(await refusal(() => other.trainOnBatch([[1, 2, 3]], [[0, 1]]))).toMatch(/is not compiled/);
});

describe('a copy', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'deeprnn-tfjs-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  interface ModelJson {
    modelTopology: { config: { layers: { class_name: string; config: Record<string, unknown> }[] } };
    weightsManifest: { paths: string[]; weights: Record<string, unknown>[] }[];
  }
  /** The fixture with its JSON changed. */
  function changed(name: string, change: (json: ModelJson) => void): string {
    cpSync(join(fixtures, name), folder, { recursive: true });
    const file = join(folder, 'model.json');
    const json = JSON.parse(readFileSync(file, 'utf8')) as ModelJson;
    change(json);
    writeFileSync(file, JSON.stringify(json));
    return file;
  }
  type Manifest = ModelJson['weightsManifest'][number];
  const manifest = ({ weightsManifest }: ModelJson) => weightsManifest[0] as Manifest;

  test.each([
    ['uint8', 1, 1 / 255],
    ['uint16', 2, 1 / 65535],
    ['float16', 2, 1 / 1024],
  ])('with weights stored as %s', async (dtype, width, step) => {
    const floats = new Float32Array(
      new Uint8Array(readFileSync(join(fixtures, 'dense', 'group1-shard1of1.bin'))).buffer,
    );
    const most = 2 ** (8 * width) - 1;
    const file = changed('dense', (json) => {
      for (const w of manifest(json).weights)
        w['quantization'] =
          dtype === 'float16' ? { dtype, original_dtype: 'float32' } : { dtype, scale: 1 / most, min: -0.5 };
    });
    const stored = [...floats].map((v) =>
      dtype === 'float16' ? toFloat16(v) : Math.round((v + 0.5) * most),
    );
    const bytes =
      dtype === 'uint8' ? Uint8Array.from(stored) : new Uint8Array(Uint16Array.from(stored).buffer);
    writeFileSync(join(folder, 'group1-shard1of1.bin'), bytes);
    const weights = [...(await (await loadModel(file)).getWeights()).values()].flatMap(({ data }) => [
      ...data,
    ]);
    expect(weights).toHaveLength(floats.length);
    weights.forEach((v, i) => {
      expect(Math.abs(v - (floats[i] as number))).toBeLessThanOrEqual(step);
    });
    expect(weights).not.toEqual([...floats]);
  });

  test('with names as the converter writes them', async () => {
    const file = changed('bidirectional', (json) => {
      for (const w of manifest(json).weights) {
        const [layer, direction, weight] = (w['name'] as string).split('/');
        w['name'] = `outer/${layer}/${direction}/lstm_cell_1/${weight}`;
      }
    });
    const given = cases['bidirectional'] as Case;
    const y = await (await loadModel(file)).predict(inputOf(given));
    given.output.data.forEach((w, i) => {
      expect(Math.abs((y.data[i] as number) - w)).toBeLessThanOrEqual(1e-6);
    });
  });

  test.each<[string, (json: ModelJson) => void, RegExp]>([
    [
      'a shard above the folder',
      (json) => {
        manifest(json).paths = ['../a.bin'];
      },
      /its shard '\.\.\/a\.bin' is not a file in the model's folder/,
    ],
    [
      'a shard by an absolute path',
      (json) => {
        manifest(json).paths = ['/etc/hostname'];
      },
      /its shard '\/etc\/hostname' is not/,
    ],
    [
      'a shard by an address',
      (json) => {
        manifest(json).paths = ['http://a/b.bin'];
      },
      /is not a file in the model's folder/,
    ],
    [
      'a shard by a path of Windows',
      (json) => {
        manifest(json).paths = ['a\\..\\..\\b'];
      },
      /is not a file in the model's folder/,
    ],
    [
      'a shard twice',
      (json) => {
        manifest(json).paths.push(...manifest(json).paths);
      },
      /is listed twice/,
    ],
    [
      'a shard that is missing',
      (json) => {
        manifest(json).paths = ['none.bin'];
      },
      /could not be read: ENOENT/,
    ],
    [
      'a shape too large for its shards',
      (json) => {
        (manifest(json).weights[0] as Record<string, unknown>)['shape'] = [1e9, 1e9];
      },
      /has no possible shape/,
    ],
    [
      'a shape that the layer does not have',
      (json) => {
        (manifest(json).weights[0] as Record<string, unknown>)['shape'] = [2, 3];
      },
      /has shape \[2, 3\], layer '.*' wants \[3, 2\]/,
    ],
    [
      'a weight less',
      (json) => {
        manifest(json).weights.pop();
      },
      /it has no array for the weight 'bias' of layer/,
    ],
    [
      'a weight more',
      (json) => {
        manifest(json).weights.push({ name: 'a/b', shape: [1], dtype: 'float32' });
      },
      /an array 'a\/b' that no layer wants/,
    ],
    [
      'a weight of strings',
      (json) => {
        (manifest(json).weights[0] as Record<string, unknown>)['dtype'] = 'string';
      },
      /has dtype string, expected float32 or int32/,
    ],
    [
      'an unknown quantization',
      (json) => {
        (manifest(json).weights[0] as Record<string, unknown>)['quantization'] = { dtype: 'constructor' };
      },
      /is stored as constructor, expected uint8, uint16, float16/,
    ],
    [
      'an unknown layer',
      (json) => {
        (json.modelTopology.config.layers[0] as { class_name: string }).class_name = 'Attention';
      },
      /type: expected one of .*got 'Attention'/,
    ],
    [
      'a huge layer',
      (json) => {
        (json.modelTopology.config.layers[0] as { config: Record<string, unknown> }).config['units'] =
          2 ** 40;
      },
      /cannot be made into a model: /,
    ],
    [
      'a graph model',
      (json) => {
        Object.assign(json, { format: 'graph-model' });
      },
      /it is a graph model/,
    ],
    [
      'an activation of its own that is the old hard sigmoid',
      (json) => {
        json.modelTopology.config.layers.push({
          class_name: 'Activation',
          config: { name: 'last', activation: 'hard_sigmoid' },
        });
      },
      /layer 'last' has the hard sigmoid of Keras 2/,
    ],
  ])('is refused with %s', async (_, change, message) => {
    expect(await refusal(() => loadModel(changed('dense', change)))).toMatch(message);
  });

  test('is refused with a cut shard, and with a link that leads out of the folder', async () => {
    const file = changed('dense', () => undefined);
    const shard = join(folder, 'group1-shard1of1.bin');
    writeFileSync(shard, readFileSync(shard).subarray(0, 30));
    expect(await refusal(() => loadModel(file))).toMatch(/its shards have 30 bytes, its arrays 32/);
    rmSync(shard);
    symlinkSync(join(fixtures, 'dense', 'group1-shard1of1.bin'), shard);
    expect(await refusal(() => loadModel(file))).toMatch(/is not a file in the model's folder/);
  });

  test('is refused with a layer twice, with a line that goes in a circle, and with branches inside another model', async () => {
    const twice = changed('functional', (json) => {
      json.modelTopology.config.layers.push({
        ...(json.modelTopology.config.layers[1] as (typeof json.modelTopology.config.layers)[0]),
      });
    });
    expect(await refusal(() => loadModel(twice))).toMatch(/a name of its own/);
    const circle = changed('functional', (json) => {
      const [, middle, last] = json.modelTopology.config.layers as unknown as {
        name: string;
        inbound_nodes: unknown;
      }[];
      Object.assign(middle as object, { inbound_nodes: [[[(last as { name: string }).name, 0, 0, {}]]] });
    });
    expect(await refusal(() => loadModel(circle))).toMatch(/connections without a loop/);
    const inside = changed('branches', (json) => {
      const { modelTopology } = json as unknown as { modelTopology: { class_name: string; config: unknown } };
      const whole = { class_name: modelTopology.class_name, config: modelTopology.config };
      Object.assign(modelTopology, { class_name: 'Sequential', config: { name: 'outer', layers: [whole] } });
    });
    expect(await refusal(() => loadModel(inside))).toMatch(/a model with branches inside another/);
  });
});

test('every kind has its fixture folder', () => {
  const folders = readdirSync(fixtures, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.map(({ name }) => name).sort()).toEqual(Object.keys(cases).sort());
});
