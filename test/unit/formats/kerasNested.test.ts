// Models of Keras whose layers are models, and layers with names that there are none of here.
import path from 'node:path';
import {
  type Functional,
  loadModel,
  loadWeights,
  modelFromConfig,
  sequentialFromConfig,
  tensor,
} from 'deeprnn';
import { refusal } from '../refusal';

const fixtures = path.resolve(__dirname, '../../fixtures/keras');

const [T, D] = [4, 3];
const layer = (class_name: string, name: string, config: object = {}, ...inbound_nodes: unknown[]) => ({
  class_name,
  name,
  config: { name, ...config },
  inbound_nodes,
});
const tensorOf = (name: string, node = 0, output = 0) => ({
  class_name: '__keras_tensor__',
  config: { keras_history: [name, node, output] },
});
const use = (...names: (string | [string, number, number])[]) => {
  const tensors = names.map((name) => (typeof name === 'string' ? tensorOf(name) : tensorOf(...name)));
  return { args: tensors.length > 1 ? [tensors] : tensors, kwargs: {} };
};
const start = (name = 'in', width = D) => layer('InputLayer', name, { batch_shape: [null, T, width] });
const dense = (name: string, units: number, ...nodes: unknown[]) => layer('Dense', name, { units }, ...nodes);
const row = (name: string, ...layers: object[]) => layer('Sequential', name, { layers });
const graph = (name: string, layers: object[], inputs: unknown, outputs: unknown) =>
  layer('Functional', name, { layers, input_layers: inputs, output_layers: outputs });
const read = (spec: object) => modelFromConfig(spec as never) as unknown as Functional;
/** Without the input, which is a layer of a sequential model. */
const layersOf = (spec: object) => read(spec).layers.filter(({ type }) => type !== 'input');
const namesOf = (spec: object) => layersOf(spec).map(({ name }) => name);
const used = (nested: object, ...nodes: unknown[]) => ({ ...nested, inbound_nodes: nodes });

test('layers of models in a row take their places, in models of any depth', () => {
  const inner = row('inner', dense('a', 2), row('deep', start('other', 2), dense('b', 2)), dense('c', 2));
  const line = graph('line', [start('x', 2), dense('a', 5, use('x'))], ['x', 0, 0], ['a', 0, 0]);
  const model = read(row('m', start(), inner, dense('a', 2), line));
  expect(model.layers.slice(1).map(({ name }) => name)).toEqual([
    'inner.a',
    'inner.deep.b',
    'inner.c',
    'a',
    'line.a',
  ]);
  expect(model.getConfig()).not.toHaveProperty('calls');
  expect(sequentialFromConfig(row('m', start(), inner) as never).layers).toHaveLength(4);
});

test('a model that hands on what it reads is not there', () => {
  const same = graph('same', [start('x')], ['x', 0, 0], [['x', 0, 0]]);
  const twice = row('twice');
  const nested = [start(), used(same, use('in')), used(twice, use('same')), dense('out', 2, use('twice'))];
  const model = read(graph('m', nested, ['in', 0, 0], ['out', 0, 0]));
  expect(model.graph.nodes).toEqual([{ layer: model.layers[0], inputs: [{ from: 0, output: 0 }] }]);
});

test('a model that is used several times has its layers used so, with outputs of its own', async () => {
  const pair = graph(
    'pair',
    [start('x'), dense('left', 2, use('x')), dense('right', 2, use('left'))],
    ['x', 0, 0],
    [
      ['left', 0, 0],
      ['right', 0, 0],
    ],
  );
  const both = graph(
    'both',
    [
      start('x'),
      used(pair, use('x'), use('x')),
      layer('Add', 'sum', {}, use(['pair', 0, 0], ['pair', 1, 1])),
    ],
    ['x', 0, 0],
    ['sum', 0, 0],
  );
  const spec = graph(
    'm',
    [
      start('a'),
      start('b'),
      used(both, use('a'), use('b')),
      layer('Subtract', 'out', {}, use(['both', 0, 0], ['both', 1, 0])),
    ],
    [
      ['a', 0, 0],
      ['b', 0, 0],
    ],
    ['out', 0, 0],
  );
  const model = read(spec);
  expect(model.layers.map(({ name }) => name).sort()).toEqual([
    'both.pair.left',
    'both.pair.right',
    'both.sum',
    'out',
  ]);
  const x = (k: number) =>
    tensor(
      Float32Array.from({ length: T * D }, (_, i) => Math.sin(k * i)),
      [1, T, D],
    );
  const y = await model.predict([x(1), x(2)] as never);
  // What is worked out for one input of two is the same as what is for the other.
  const turned = await model.predict([x(2), x(1)] as never);
  expect([...y.data].map((v) => -v)).toEqual([...turned.data]);
  expect(Math.max(...[...y.data].map(Math.abs))).toBeGreaterThan(0);
});

test('of Keras 2, with a list around what a model reads', () => {
  const inner = { ...row('inner', dense('a', 2), dense('b', 2)), inbound_nodes: [[['in', 0, 0, {}]]] };
  const spec = graph(
    'm',
    [start(), inner, dense('out', 1, [['inner', 0, 0, {}]])],
    [['in', 0, 0]],
    [['out', 0, 0]],
  );
  expect(namesOf(spec)).toEqual(['inner.a', 'inner.b', 'out']);
});

test('a model that is frozen has frozen layers', () => {
  const frozen = layer('Sequential', 'inner', {
    trainable: false,
    layers: [row('deep', dense('a', 2)), dense('b', 2)],
  });
  const trained = (spec: object) => layersOf(spec).map(({ trainable }) => trainable);
  expect(trained(row('m', start(), frozen, dense('c', 1)))).toEqual([false, false, true]);
  const nodes = [start(), used(frozen, use('in')), dense('c', 1, use('inner'))];
  expect(trained(graph('m', nodes, ['in', 0, 0], ['c', 0, 0]))).toEqual([false, false, true]);
});

test('spaces and slashes in names become underscores', () => {
  expect(namesOf(row('m', start(), dense('the first', 2), dense('block/a b', 2)))).toEqual([
    'the_first',
    'block_a_b',
  ]);
  const nodes = [start('the input'), dense('a b', 2, use('the input')), dense('c', 2, [['a b', 0, 0, {}]])];
  const model = read(graph('m', nodes, [['the input', 0, 0]], ['c', 0, 0]));
  expect(model.layers.map(({ name }) => name)).toEqual(['a_b', 'c']);
  expect(model.graph.inputs[0]?.name).toBe('the_input');
});

test('weights by the names of Keras go to the layers that are called otherwise here', async () => {
  const spaces = await loadModel(path.join(fixtures, 'names-with-spaces.keras'));
  await loadWeights(spaces, path.join(fixtures, 'names-with-spaces.h5'));
  const row = await loadModel(path.join(fixtures, 'models-in-a-row.keras'));
  await loadWeights(row, path.join(fixtures, 'models-in-a-row.h5'));
  for (const [model, file] of [
    [spaces, 'names-with-spaces.h5'],
    [row, 'models-in-a-row.h5'],
  ] as const) {
    const whole = await loadModel(path.join(fixtures, file), { compile: false });
    expect(await model.getWeights()).toEqual(await whole.getWeights());
  }
});

describe('refused are', () => {
  const block = graph('block', [start('x'), dense('a', 2, use('x'))], ['x', 0, 0], ['a', 0, 0]);
  const around = (nested: object, out: unknown = use('block')) =>
    graph('m', [start(), nested, dense('out', 1, out)], ['in', 0, 0], ['out', 0, 0]);
  const deep = (depth: number): object => (depth === 0 ? dense('a', 2) : row(`r${depth}`, deep(depth - 1)));
  const wide = (depth: number): object => {
    if (depth === 0)
      return graph('w0', [start('x'), layer('ELU', 'a', {}, use('x'))], ['x', 0, 0], ['a', 0, 0]);
    const name = `w${depth - 1}`;
    const uses = Array.from({ length: 40 }, (_, i) => (i === 0 ? use('x') : use([name, i - 1, 0])));
    return graph(`w${depth}`, [start('x'), used(wide(depth - 1), ...uses)], ['x', 0, 0], [name, 39, 0]);
  };

  test.each<[string, object, string]>([
    [
      'names that become the same',
      row('m', start(), dense('a b', 2), dense('a_b', 2)),
      "layer 'a_b': expected a name of its own, got one that another layer has too. Layers inside models are called model.layer here",
    ],
    [
      'names that become the same inside models',
      graph(
        'm',
        [start(), used(block, use('in')), dense('block.a', 1, use('block'))],
        ['in', 0, 0],
        ['block.a', 0, 0],
      ),
      "layer 'block.a': expected a name of its own",
    ],
    [
      'a use that is not there',
      around(used(block, use('in')), use(['block', 3, 0])),
      "layer 'block': expected uses that are there, got use 3",
    ],
    [
      'an output that is not there',
      around(used(block, use('in')), use(['block', 0, 2])),
      "layer 'block': expected outputs that are there, got output 2",
    ],
    [
      'masks that are none of the layers below',
      around(used(block, { args: [tensorOf('in')], kwargs: { mask: tensorOf('in') } })),
      "layer 'block.a': mask: expected the mask of the layers below",
    ],
    ['other inputs', around(used(block, use('in', 'in'))), "layer 'block': expected 1 inputs, got 2"],
    ['loops through models', around(used(block, use('out'))), 'expected connections without a loop'],
    [
      'loops of models that hand on what they read',
      graph(
        'm',
        [start(), used(row('s'), use('t')), used(row('t'), use('s')), dense('out', 1, use('s'))],
        ['in', 0, 0],
        ['out', 0, 0],
      ),
      'expected connections without a loop',
    ],
    [
      'models in models without end',
      row('m', start(), deep(40)),
      'expected models in at most 16 models, got more',
    ],
    [
      'models that become more uses of layers than any model has',
      graph('m', [start(), used(wide(6), use('in'))], ['in', 0, 0], ['w6', 0, 0]),
      'expected at most 20000 uses of layers in all, got more',
    ],
    [
      'a model that is not known',
      row('m', start(), row('s', layer('Lambda', 'own'))),
      "layer 's.own': expected a layer that a file can say all of",
    ],
    [
      'a shape that nobody says',
      row(
        'm',
        layer('Functional', 'f', {
          layers: [start('x'), layer('Add', 'b', {}, use('x', 'x'))],
          input_layers: ['x', 0, 0],
          output_layers: ['b', 0, 0],
        }),
      ),
      "input 'input': batch_shape",
    ],
  ])('%s', async (_, spec, reason) => {
    expect(await refusal(() => read(spec))).toContain(reason);
  });

  test('models in models of the inner part of a configuration alone', async () => {
    const { config } = row('m', start(), row('s', dense('a', 2)));
    expect(await refusal(() => sequentialFromConfig(config as never))).toContain(
      "layer 's': expected a layer, got a Sequential model inside the model. modelFromConfig puts its layers in its place",
    );
  });

  test('weights of the layers in a row alone, which Keras has in other groups', async () => {
    const model = await loadModel(path.join(fixtures, 'models-in-a-row.keras'));
    expect(await refusal(() => loadWeights(model, path.join(fixtures, 'lstm.keras')))).toContain(
      'holds the weights of another model: expected',
    );
  });
});
