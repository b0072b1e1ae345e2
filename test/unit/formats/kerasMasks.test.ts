// Masks that Keras 3 does not hand on, or merges by, and this library does otherwise: refused by layer, or named in the file.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  input,
  layers,
  loadModel,
  model,
  modelFromConfig,
  type SymbolicTensor,
  type Tensor,
  tensor,
} from 'deeprnn';
import { readArchive } from '../../../lib/formats/keras/archive';
import { refusal } from '../refusal';

/** Configurations that Keras wrote. */
const configs = JSON.parse(
  readFileSync(path.resolve(__dirname, '../../fixtures/keras/refused.json'), 'utf8'),
) as Record<string, { class_name: string; config: { layers: { inbound_nodes: unknown[] }[] } }>;

const folder = mkdtempSync(path.join(tmpdir(), 'deeprnn-masks-'));
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => {
  for (const name of readdirSync(folder)) rmSync(path.join(folder, name));
});
const at = (name: string) => path.join(folder, name);

/** A use of a layer in the form of Keras 2. */
function old(node: unknown): unknown {
  const { args, kwargs } = node as { args: unknown[]; kwargs: Record<string, unknown> };
  type Ref = { config: { keras_history: unknown[] } };
  const { initial_state } = kwargs as { initial_state?: Ref[] };
  const options = initial_state
    ? { initial_state: initial_state.map(({ config }) => config.keras_history) }
    : {};
  return (args.flat() as Ref[]).map(({ config }) => [...config.keras_history, options]);
}

/** A configuration as Keras 2 writes it, in which masks are no operations. */
function oldForm(kind: string): never {
  const given = configs[kind] as (typeof configs)[string];
  const kept = given.config.layers.filter(
    (layer) => (layer as { class_name?: string }).class_name !== 'NotEqual',
  );
  const all = kept.map((layer) => ({ ...layer, inbound_nodes: layer.inbound_nodes.map(old) }));
  return { ...given, config: { ...given.config, layers: all } } as never;
}

test.each([
  [
    'multiply of one mask',
    /layer 'multiply\w*': expected inputs without masks.*got one with a mask and one without/,
  ],
  [
    'maximum of one mask',
    /layer 'maximum\w*': expected inputs without masks.*got one with a mask and one without/,
  ],
  [
    'minimum of one mask',
    /layer 'minimum\w*': expected inputs without masks.*got one with a mask and one without/,
  ],
])('%s is refused as Keras 3 has it, and read as Keras 2 has it', async (kind, reason) => {
  expect(await refusal(() => modelFromConfig(configs[kind] as never))).toMatch(reason);
  modelFromConfig(oldForm(kind)).dispose();
});

const ids = (name: string) => input({ shape: [5], dtype: 'int32', name });
const words = (maskZero = true) => layers.embedding({ inputDim: 9, outputDim: 4, maskZero });

async function saves(x: SymbolicTensor | SymbolicTensor[], y: SymbolicTensor): Promise<void> {
  const own = model({ inputs: x, outputs: y });
  try {
    await own.save(at('m.keras'));
  } finally {
    own.dispose();
  }
}

describe('a decoder whose call names no mask', () => {
  const file = path.resolve(__dirname, '../../fixtures/keras/a-decoder-without-its-mask.keras');

  test('is read as one that reads all steps, and written as it came', async () => {
    const own = await loadModel(file);
    const decoder = own.layers.filter(({ type }) => type === 'lstm')[1];
    expect(decoder?.getConfig()).toMatchObject({ maskWithStates: false });
    await own.save(at('again.keras'));
    const usesOf = async (name: string) => {
      const members = await readArchive(readFileSync(name), 'm', ['config.json']);
      const { config } = JSON.parse(String(members?.get('config.json'))) as {
        config: {
          layers: { name: string; class_name: string; config: object; inbound_nodes: { kwargs: object }[] }[];
        };
      };
      expect(config.layers.map(({ class_name }) => class_name)).not.toContain('NotEqual');
      const { inbound_nodes, config: options } = config.layers.find(
        (layer) => layer.name === decoder?.name,
      ) as (typeof config.layers)[number];
      expect(options).not.toHaveProperty('mask_with_states');
      return Object.keys(inbound_nodes[0]?.kwargs as object).filter((key) => key !== 'training');
    };
    expect(await usesOf(at('again.keras'))).toEqual(['initial_state']);
    expect((await loadModel(at('again.keras'))).layers.map((l) => l.getConfig())).toEqual(
      own.layers.map((l) => l.getConfig()),
    );
    // In the form of Keras 2 the mask goes with the sequence.
    const members = await readArchive(readFileSync(file), 'm', ['config.json']);
    configs['decoder'] = JSON.parse(String(members?.get('config.json')));
    for (const { type, getConfig } of modelFromConfig(oldForm('decoder')).layers)
      if (type === 'lstm') expect(getConfig).not.toHaveProperty('maskWithStates');
  });

  test('and elsewhere does is refused', async () => {
    const members = await readArchive(readFileSync(file), 'm', ['config.json']);
    const config = JSON.parse(String(members?.get('config.json'))) as {
      config: {
        layers: { class_name: string; name: string; config: object; inbound_nodes: { kwargs: object }[] }[];
        output_layers: unknown;
      };
    };
    const all = config.config.layers;
    const decoder = all.filter(({ class_name }) => class_name === 'LSTM')[1] as (typeof all)[number];
    const [first] = decoder.inbound_nodes as [{ kwargs: object }];
    const ids = all.filter(({ class_name }) => class_name === 'InputLayer')[1]?.name;
    const tensorOf = (name: unknown) => ({
      class_name: '__keras_tensor__',
      config: { keras_history: [name, 0, 0] },
    });
    all.splice(2, 0, {
      class_name: 'NotEqual',
      name: 'steps',
      config: { name: 'steps' },
      module: 'keras.src.ops.numpy',
      inbound_nodes: [{ args: [tensorOf(ids), 0], kwargs: {} }],
    } as never);
    decoder.inbound_nodes.push({ ...first, kwargs: { ...first.kwargs, mask: tensorOf('steps') } });
    const end = config.config.output_layers as unknown[];
    config.config.output_layers = [Array.isArray(end[0]) ? end[0] : end, [decoder.name, 1, 0]];
    expect(await refusal(() => modelFromConfig(config as never))).toContain(
      'mask: expected the mask of its sequence in all calls with initial_state, or in none, got some with it and some without',
    );
  });
});

describe('layers that read all steps beside states', () => {
  test('stay so in a file of Keras also where masks come with the data', async () => {
    const [x, h] = [input({ shape: [4, 3], name: 'x' }), input({ shape: [2], name: 'h' })];
    const own = model({
      inputs: [x, h],
      outputs: layers.gru({ units: 2, maskWithStates: false }).apply([x, h]),
    });
    await own.save(at('lengths.keras'));
    const again = await loadModel(at('lengths.keras'));
    const data = [
      tensor(
        Float32Array.from({ length: 24 }, (_, i) => Math.sin(i)),
        [2, 4, 3],
      ),
      tensor([
        [1, 2],
        [3, 4],
      ]),
    ];
    const predicted = async (net: typeof again) =>
      ((await net.predict(data as never, { lengths: [2, 3] })) as Tensor).data;
    expect(await predicted(again)).toEqual(await predicted(own as never));
  });

  test('are both directions or none', async () => {
    const [layer, other] = [
      layers.gru({ units: 2, maskWithStates: false }),
      layers.gru({ units: 2, goBackwards: true }),
    ];
    expect(await refusal(() => layers.bidirectional({ layer, backwardLayer: other }))).toBe(
      'ERR_VALUE layers.bidirectional: backwardLayer: expected maskWithStates false, got another.',
    );
  });

  test('are told by each of their uses', async () => {
    const [a, b, h] = [ids('a'), ids('b'), input({ shape: [2], name: 'h' })];
    const decoder = layers.gru({ units: 2 });
    const shared = words();
    const outputs = [
      decoder.apply([shared.apply(a), h]),
      decoder.apply(shared.apply(b)),
      decoder.apply([words(false).apply(b), h]),
    ];
    const own = model({ inputs: [a, b, h], outputs });
    await own.save(at('uses.keras'));
    const again = await loadModel(at('uses.keras'));
    const data = [
      tensor(Int32Array.of(1, 2, 0, 3, 0), [1, 5]),
      tensor(Int32Array.of(0, 4, 5, 0, 0), [1, 5]),
      tensor([[1, 2]]),
    ];
    const predicted = async (net: typeof again) =>
      Object.values(await net.predict(data as never)).map(({ data }) => data);
    expect(await predicted(again)).toEqual(await predicted(own as never));
  });
});

describe('merges by masks', () => {
  const kinds = ['multiply', 'maximum', 'minimum'] as const;

  test.each(kinds)('%s of masks that differ is refused on the way out', async (kind) => {
    const [a, b] = [ids('a'), ids('b')];
    const shared = words();
    const merged = layers[kind]().apply([shared.apply(a), shared.apply(b)]);
    const reason = await refusal(() => saves([a, b], layers.gru({ units: 2 }).apply(merged)));
    expect(reason).toMatch(
      new RegExp(`layer '${kind}': expected inputs without masks.*got masks that differ`),
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  /** Of one mask, where steps that do not count are others than Keras's. */
  const underOneMask = (kind: (typeof kinds)[number], x: SymbolicTensor) => {
    const y = words().apply(x);
    return layers[kind]().apply([y, layers.dense({ units: 4 }).apply(y)]);
  };

  test.each(kinds)('%s of one mask is refused where all its steps are given or read', async (kind) => {
    const x = ids('x');
    const given = layers.dropout({ rate: 0.5 }).apply(underOneMask(kind, x));
    expect(await refusal(() => saves(x, given))).toMatch(/got masks, and an output of the model/);
    const read = layers.flatten({ name: 'all' }).apply(underOneMask(kind, x));
    expect(await refusal(() => saves(x, read))).toMatch(
      /got masks, and layer 'all' above, which reads all steps/,
    );
  });

  test.each(kinds)('%s of one mask is written where layers above pass over such steps', async (kind) => {
    for (const above of [
      layers.gru({ units: 2, returnSequences: true }),
      layers.bidirectional({ layer: layers.lstm({ units: 2 }) }),
      layers.globalAveragePooling1D(),
    ]) {
      const x = ids('x');
      await saves(x, above.apply(underOneMask(kind, x)));
      (await loadModel(at('m.keras'))).dispose();
    }
  });

  test.each(['add', 'subtract', 'average'] as const)('%s of one masked input is written', async (kind) => {
    const [a, b] = [ids('a'), ids('b')];
    const merged = layers[kind]().apply([words().apply(a), words(false).apply(b)]);
    await saves([a, b], layers.gru({ units: 2 }).apply(merged));
  });
});

describe('masks beside states', () => {
  test('are named in the call, under a name that neither layers have nor masks that Keras makes', async () => {
    const [a, b] = [ids('a'), ids('b')];
    const shared = layers.embedding({ inputDim: 9, outputDim: 4, maskZero: true, name: 'words' });
    const [, h] = layers.gru({ units: 3, returnState: true }).applyAll(shared.apply(a));
    const y = layers.gru({ units: 3, name: 'words_mask' }).apply([shared.apply(b), h as SymbolicTensor]);
    await saves([a, b], y);
    const members = await readArchive(readFileSync(at('m.keras')), 'm', ['config.json']);
    const { config } = JSON.parse(String(members?.get('config.json'))) as {
      config: {
        layers: { name: string; class_name: string; inbound_nodes: { args: unknown; kwargs: object }[] }[];
      };
    };
    const of = (name: string) => config.layers.find((layer) => layer.name === name);
    expect(of('words_mask')?.inbound_nodes[0]?.kwargs).toMatchObject({
      mask: { config: { keras_history: ['words_mask_1', 0, 0] } },
    });
    expect(of('words_mask_1')).toMatchObject({
      class_name: 'NotEqual',
      inbound_nodes: [{ args: [{ config: { keras_history: ['b', 0, 0] } }, 0] }],
    });
    (await loadModel(at('m.keras'))).dispose();
  });

  test('that are not of an embedding are refused on the way out', async () => {
    const [a, b] = ['a', 'b'].map((name) => input({ shape: [5, 3], name })) as [
      SymbolicTensor,
      SymbolicTensor,
    ];
    const [, h] = layers.gru({ units: 3, returnState: true }).applyAll(a);
    const masked = layers.masking({ name: 'steps' }).apply(b);
    const y = layers.gru({ units: 3, name: 'decoder' }).apply([masked, h as SymbolicTensor]);
    expect(await refusal(() => saves([a, b], y))).toMatch(
      /save: layer 'decoder': expected a sequence without a mask, or with an embedding's.*got that of layer 'steps'/,
    );
  });

  test('of a sequence that has none nothing is named, whatever made the states', async () => {
    const [a, b] = [ids('a'), ids('b')];
    const [, h] = layers.gru({ units: 3, returnState: true }).applyAll(words().apply(a));
    await saves([a, b], layers.gru({ units: 3 }).apply([words(false).apply(b), h as SymbolicTensor]));
    const members = await readArchive(readFileSync(at('m.keras')), 'm', ['config.json']);
    expect(String(members?.get('config.json'))).not.toContain('NotEqual');
    (await loadModel(at('m.keras'))).dispose();
  });
});

describe('masks that a call names', () => {
  const tensorOf = (layer: string) => ({
    class_name: '__keras_tensor__',
    config: { keras_history: [layer, 0, 0] },
  });
  /** A mask of the steps of 'x' that are not `value`, above an embedding that masks zeros or does not. */
  const named = (mask_zero: boolean, value: number) => {
    const entry = (class_name: string, name: string, own: object, args: unknown[], kwargs = {}) => ({
      class_name,
      name,
      module: class_name === 'NotEqual' ? 'keras.src.ops.numpy' : 'keras.layers',
      config: { name, ...own },
      inbound_nodes: args.length > 0 ? [{ args, kwargs }] : [],
    });
    const embedding = { input_dim: 9, output_dim: 4, mask_zero };
    const all = [
      entry('InputLayer', 'x', { batch_shape: [null, 5], dtype: 'int32' }, []),
      entry('Embedding', 'words', embedding, [tensorOf('x')]),
      entry('NotEqual', 'steps', {}, [tensorOf('x'), value]),
      entry('GRU', 'read', { units: 3 }, [tensorOf('words')], { mask: tensorOf('steps') }),
    ];
    const ends = { input_layers: ['x', 0, 0], output_layers: ['read', 0, 0] };
    return { class_name: 'Functional', config: { name: 'm', layers: all, ...ends } };
  };

  test('are those of the layers below, or refused', async () => {
    modelFromConfig(named(true, 0)).dispose();
    expect(await refusal(() => modelFromConfig(named(false, 0)))).toContain(
      "layer 'read': mask: expected the mask of the layers below, got one where they make none",
    );
    expect(await refusal(() => modelFromConfig(named(true, 3)))).toContain(
      "layer 'read': mask: expected the mask of the layers below, got another",
    );
  });
});
