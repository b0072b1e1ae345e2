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
  /** What TensorFlow.js does with the model after it has saved it: losses of batches of `input`, and what it predicts then. */
  readonly goesOn?: { readonly labels: number[][]; readonly losses: number[]; readonly output: number[] };
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

describe('training goes on as in TensorFlow.js', () => {
  const trained = Object.entries(cases).filter(([, { goesOn }]) => goesOn !== undefined);

  test.each(trained)('%s', async (name, given) => {
    const { labels, losses, output } = given.goesOn as NonNullable<Case['goesOn']>;
    // It adds the epsilon of Adam after the correction of the bias.
    const limit = name === 'trained-adam' ? 2e-5 : 5e-7;
    const model = await loadModel(join(fixtures, name, 'model.json'));
    for (const wanted of losses) {
      const { loss } = await model.trainOnBatch(inputOf(given), labels);
      expect(Math.abs((loss as number) - wanted)).toBeLessThanOrEqual(limit);
    }
    const y = await model.predict(inputOf(given));
    output.forEach((w, i) => {
      expect(Math.abs((y.data[i] as number) - w)).toBeLessThanOrEqual(limit);
    });
    expect(model.step).toBe(7);
  });

  test('without its configuration it begins anew', async () => {
    const model = await loadModel(join(fixtures, 'trained-adam', 'model.json'), { compile: false });
    expect(model.step).toBe(0);
  });
});

test('cells become layers, the last of which has the name', async () => {
  const model = await loadModel(join(fixtures, 'cellsStacked', 'model.json'));
  const [first, , third] = model.layers;
  expect(model.layers.map(({ type }) => type)).toEqual(['lstm', 'gru', 'simpleRNN', 'gru', 'simpleRNN']);
  expect(first?.name).toBe(`${third?.name}_0`);
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

  interface Training {
    trainingConfig: { optimizer_config: { class_name: string; config: Record<string, unknown> } };
  }
  const optimizer = (json: ModelJson) => (json as unknown as Training).trainingConfig.optimizer_config;
  const arrays = (json: ModelJson) => manifest(json).weights;
  const ofSlots = (json: ModelJson) => arrays(json).filter(({ group }) => group === 'optimizer');

  test.each<[string, string, (json: ModelJson) => void, RegExp]>([
    [
      'Adadelta',
      'trained-sgd',
      (json) => Object.assign(optimizer(json), { class_name: 'Adadelta' }),
      /its optimizer is Adadelta.*loadModel\(path, \{ compile: false \}\)/,
    ],
    [
      'a centered RMSProp',
      'trained-rmsprop',
      (json) => Object.assign(optimizer(json).config, { centered: true }),
      /a centered RMSProp/,
    ],
    [
      'a decaying Adamax',
      'trained-sgd',
      (json) => {
        optimizer(json).class_name = 'Adamax';
        Object.assign(optimizer(json).config, { beta1: 0.9, beta2: 0.999, epsilon: 1e-7, decay: 0.1 });
      },
      /an Adamax with a decay of 0\.1/,
    ],
    [
      'the state of another optimizer',
      'trained-adam',
      (json) => {
        optimizer(json).class_name = 'Adagrad';
        Object.assign(optimizer(json), { config: { learningRate: 0.1, initialAccumulatorValue: 0.1 } });
      },
      /its optimizer has 26 arrays, expected 1 of each of 13 weights/,
    ],
    [
      'arrays of the optimizer in another order',
      'trained-adam',
      (json) => {
        const [, first, second] = ofSlots(json) as { name: string }[];
        [(first as { name: string }).name, (second as { name: string }).name] = ['a/v', 'a/m'];
      },
      /has an array 'a\/v' \[3, 12\], expected '…\/m' \[3, 12\]/,
    ],
    [
      'no count of steps',
      'trained-adam',
      (json) => Object.assign(ofSlots(json)[0] as object, { name: 'iterations' }),
      /begins with 'iterations', expected the count 'iter'/,
    ],
  ])('is refused with %s', async (_, name, change, message) => {
    expect(await refusal(() => loadModel(changed(name, change)))).toMatch(message);
  });

  interface Rnn {
    class_name: string;
    config: { cell: { class_name: string; config: { cells: unknown } } } & Record<string, unknown>;
    inbound_nodes: unknown[][][];
  }
  const rnn = (json: ModelJson) =>
    json.modelTopology.config.layers.find(({ class_name }) => class_name === 'RNN') as unknown as Rnn;

  test.each<[string, string, (json: ModelJson) => void, RegExp]>([
    [
      'a cell of its own',
      'cellOfLstm',
      (json) => Object.assign(rnn(json).config.cell, { class_name: 'constructor' }),
      /has a cell of the class 'constructor', expected SimpleRNNCell, LSTMCell, GRUCell/,
    ],
    [
      'a stack of nothing',
      'cellsStacked',
      (json) => Object.assign(rnn(json).config.cell.config, { cells: [] }),
      /has a stack that is no list of cells/,
    ],
    [
      'the states of a stack',
      'cellsStacked',
      (json) => Object.assign(rnn(json).config, { return_state: true }),
      /gives the states of several cells/,
    ],
    [
      'states that are given to a stack',
      'cellsShared',
      (json) => (rnn(json).inbound_nodes[0] as unknown[][]).push(['input4', 0, 0, {}]),
      /of several cells is given more than its input/,
    ],
    [
      'a stack inside another layer',
      'cellsStacked',
      (json) => {
        const { layers } = json.modelTopology.config;
        const [first] = layers;
        layers[0] = {
          class_name: 'Bidirectional',
          config: { name: 'both', merge_mode: 'concat', layer: first, batch_input_shape: [null, 5, 3] },
        };
      },
      /a recurrence of several cells inside another layer/,
    ],
  ])('is refused with %s', async (_, name, change, message) => {
    expect(await refusal(() => loadModel(changed(name, change)))).toMatch(message);
  });

  test('whose weights are scaled has the state of their gradients', async () => {
    const before = await loadModel(join(fixtures, 'trained-adam', 'model.json'));
    const file = changed('trained-adam', (json) => {
      const [lstm] = json.modelTopology.config.layers;
      Object.assign(lstm?.config as object, { recurrent_activation: 'hard_sigmoid' });
    });
    const after = await loadModel(file);
    const of = (model: typeof before, slot: string) =>
      model.variables.read(`${model.layers[0]?.name}/bias:${slot}`).data;
    for (const [slot, scale] of [
      ['m', 1 / 1.2],
      ['v', 1 / 1.44],
    ] as const)
      of(after, slot).forEach((v, i) => {
        // The candidate of the state, columns 6 to 8, goes through tanh.
        const wanted = (of(before, slot)[i] as number) * (i >= 6 && i < 9 ? 1 : scale);
        expect(Math.abs(v - wanted)).toBeLessThanOrEqual(1e-6 * Math.abs(wanted));
      });
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
