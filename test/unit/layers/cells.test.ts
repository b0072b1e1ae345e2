import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Cell,
  type CellContext,
  type CellDefinition,
  cells,
  defineCell,
  initializers,
  layers,
  loadModel,
  ops,
  regularizers,
  sequential,
  type Tensor,
  type Traced,
  tensor,
} from '../../../lib';
import { layerFromConfig } from '../../../lib/layers';
import type { Layer } from '../../../lib/layers/layer';
import { RandomInputs } from '../../parity/harness';

let stream = 70_000;
const fresh = () => new RandomInputs(stream++);

function random(shape: readonly number[], scale = 1): Tensor {
  return tensor(Float32Array.from(fresh().normal(shape, scale).values), shape);
}

function build(layer: Layer, device: 'cpu' | 'reference', seed = 3) {
  const model = sequential([layer], { seed });
  model.compile({ loss: 'meanSquaredError', optimizer: 'sgd', device });
  return model;
}

function largestDifference(a: Tensor, b: Tensor): number {
  expect(a.shape).toEqual(b.shape);
  let most = 0;
  for (const [i, v] of a.data.entries()) most = Math.max(most, Math.abs(v - (b.data[i] as number)));
  return most;
}

/** By the names of weights within their layer. */
type Weights = ReadonlyMap<string, Tensor>;

/** Outputs and gradients of one layer over a batch. */
async function results(
  layer: Layer,
  device: 'cpu' | 'reference',
  weights: Weights | undefined,
  x: Tensor,
  y: Tensor,
  options: { lengths?: number[] } = {},
): Promise<{ values: Weights; weights: Weights }> {
  const model = build(layer, device);
  const own = new Map<string, Tensor>();
  for (const [name, { shape }] of await model.getWeights()) {
    const short = name.slice(name.indexOf('/') + 1);
    own.set(short, weights?.get(short)?.reshape(shape) ?? random(shape, 0.5));
  }
  await model.setWeights(
    Object.fromEntries([...own].map(([name, value]) => [`${layer.name}/${name}`, value])),
  );
  const values = new Map<string, Tensor>([['output', await model.predict(x, options)]]);
  const { gradients } = await model.computeGradients(x, y, options);
  for (const [name, gradient] of gradients) values.set(name.slice(name.indexOf('/') + 1), gradient);
  model.dispose();
  return { values, weights: own };
}

const [N, T, D, H] = [3, 5, 4, 6];
const inputShape = [T, D];

describe('cells of layers', () => {
  const steps = [
    ['simpleRNN', {}],
    ['simpleRNN', { activation: 'relu', useBias: false }],
    ['lstm', {}],
    ['lstm', { recurrentActivation: 'hardSigmoid', activation: 'softsign' }],
    ['lstm', { peepholes: true, cellClip: 0.4 }],
    ['lstm', { peepholes: true, coupledGates: true }],
    ['gru', {}],
    ['gru', { resetAfter: false }],
    ['gru', { useBias: false }],
  ] as const;
  const readings = [
    { returnSequences: true },
    { returnSequences: false },
    { returnSequences: true, goBackwards: true },
    { returnSequences: true, initialState: 'learned' },
  ] as const;

  test.each(steps)('rnn of the cell %s %j is the layer of that name', async (kind, own) => {
    for (const reading of readings) {
      for (const lengths of [undefined, [2, 5, 0]]) {
        const config = { units: H, ...own } as { units: number };
        const fused = (layers[kind] as (c: object) => Layer)({ ...config, ...reading, inputShape });
        const cell = (cells[kind] as (c: object) => Cell)(config);
        const traced = layers.rnn({ cell, ...reading, inputShape });
        const x = random([N, T, D]);
        const y = random(reading.returnSequences ? [N, T, H] : [N, H]);
        const options = lengths ? { lengths } : {};
        const wanted = await results(fused, 'reference', undefined, x, y, options);
        const given = await results(traced, 'reference', wanted.weights, x, y, options);
        expect([...given.values.keys()].sort()).toEqual([...wanted.values.keys()].sort());
        for (const [name, value] of wanted.values) {
          const own = given.values.get(name) as Tensor;
          // Biases of several rows are one vector in a cell.
          expect(largestDifference(own, value.reshape([...own.shape]))).toBeLessThan(2e-6);
        }
      }
    }
  });
});

const minimal = defineCell('testMinimalGated', ({ units }: { units: number }) => ({
  states: { h: units },
  weights: (features) => ({
    kernel: { shape: [features, 2 * units] },
    recurrentKernel: { shape: [units, 2 * units], initializer: 'orthogonal' },
    bias: { shape: [2 * units] },
    outer: { shape: [units, units] },
  }),
  step(x, states, w) {
    const { h } = states as { h: Traced };
    const { kernel, recurrentKernel, bias, outer } = w as Record<string, Traced> & {
      [k in 'kernel' | 'recurrentKernel' | 'bias' | 'outer']: Traced;
    };
    const [gate, candidate] = ops.split(
      ops.add(ops.add(ops.matmul(x, kernel), ops.matmul(h, recurrentKernel)), bias),
      2,
    ) as [Traced, Traced];
    const f = ops.sigmoid(gate);
    const next = ops.add(ops.multiply(f, h), ops.multiply(ops.subtract(1, f), ops.tanh(candidate)));
    return { output: ops.matmul(ops.layerNormalization(next), outer), states: { h: next } };
  },
}));

describe('cells on the cpu engine', () => {
  const made: Record<string, () => Layer> = {
    'a cell of one’s own': () =>
      layers.rnn({ cell: minimal({ units: H }), returnSequences: true, inputShape }),
    'its last step': () => layers.rnn({ cell: minimal({ units: H }), inputShape }),
    sru: () => layers.rnn({ cell: cells.sru({ units: H }), returnSequences: true, inputShape }),
    indRNN: () => layers.rnn({ cell: cells.indRNN({ units: H }), returnSequences: true, inputShape }),
    stacked: () =>
      layers.rnn({
        cell: cells.stacked([cells.gru({ units: 3 }), minimal({ units: 4 }), cells.lstm({ units: H })]),
        returnSequences: true,
        inputShape,
      }),
    'lstm with projection': () =>
      layers.lstm({ units: 9, projectionUnits: H, returnSequences: true, inputShape }),
    'normalized lstm': () =>
      layers.lstm({ units: H, layerNormalization: true, returnSequences: true, inputShape }),
    'normalized lstm with all': () =>
      layers.lstm({
        units: 9,
        projectionUnits: H,
        layerNormalization: { epsilon: 1e-3 },
        peepholes: true,
        coupledGates: true,
        cellClip: 0.7,
        returnSequences: true,
        inputShape,
      }),
    'normalized gru': () => layers.gru({ units: H, layerNormalization: true, inputShape }),
    'normalized gru, reset before': () =>
      layers.gru({
        units: H,
        layerNormalization: true,
        resetAfter: false,
        goBackwards: true,
        returnSequences: true,
        inputShape,
      }),
    'normalized simpleRNN': () =>
      layers.simpleRNN({ units: H, layerNormalization: true, returnSequences: true, inputShape }),
    bidirectional: () =>
      layers.bidirectional({
        layer: layers.rnn({ cell: minimal({ units: 3 }), returnSequences: true }),
        inputShape,
      }),
  };

  test.each(Object.keys(made))('%s: values and gradients are the reference’s', async (name) => {
    const make = made[name] as () => Layer;
    for (const lengths of [undefined, [5, 1, 3]]) {
      const x = random([N, T, D]);
      const [output] = make().outputShapes([{ dtype: 'real', shape: inputShape, sequence: true }]);
      const shape = output?.shape as number[];
      const y = random([N, ...shape]);
      const options = lengths ? { lengths } : {};
      const wanted = await results(make(), 'reference', undefined, x, y, options);
      const given = await results(make(), 'cpu', wanted.weights, x, y, options);
      expect([...given.values.keys()].sort()).toEqual([...wanted.values.keys()].sort());
      for (const [key, value] of wanted.values) {
        const size = largestDifference(value, tensor(new Float32Array(value.size), value.shape));
        expect(largestDifference(given.values.get(key) as Tensor, value)).toBeLessThan(
          2e-5 * Math.max(size, 1),
        );
      }
    }
  });
});

const noisy = defineCell('testNoisy', ({ units, rate }: { units: number; rate: number }) => ({
  states: { memory: units },
  weights: (features) => ({ kernel: { shape: [features, units] }, again: { shape: [units, units] } }),
  step(x, states, w, context) {
    const { memory } = states as { memory: Traced };
    const { kernel, again } = w as { kernel: Traced; again: Traced };
    const sum = ops.add(
      context.dropout(ops.matmul(x, kernel), rate),
      ops.matmul(context.dropout(memory, rate, { sharedOverTime: true }), again),
    );
    const next = ops.tanh(sum);
    return { output: next, states: { memory: next } };
  },
}));

describe('cells in models', () => {
  const stacked = () =>
    cells.stacked([cells.lstm({ units: 4, layerNormalization: true }), minimal({ units: 3 })]);

  test('dropout is drawn in training alone, the same on every engine', async () => {
    const x = random([N, T, D]);
    const y = random([N, H]);
    const run = async (device: 'cpu' | 'reference') => {
      const layer = layers.rnn({ cell: noisy({ units: H, rate: 0.5 }), dropout: 0.3, inputShape });
      const model = build(layer, device, 11);
      const { loss } = await model.computeGradients(x, y);
      const evaluated = (await model.evaluate(x, y))['loss'] as number;
      return { loss, evaluated };
    };
    const [given, wanted] = [await run('cpu'), await run('reference')];
    expect(given.loss).toBeCloseTo(wanted.loss, 5);
    expect(given.evaluated).toBeCloseTo(wanted.evaluated, 5);
    expect(Math.abs(given.loss - given.evaluated)).toBeGreaterThan(1e-3);
  });

  test('options of layers hold on the way of cells too, the same on every engine', async () => {
    const options = {
      dropout: 0.2,
      dropoutMode: 'perStep',
      recurrentDropout: 0.3,
      recurrentDropoutMode: 'perStep',
      recurrentWeightDropout: 0.4,
      weightNoise: 0.1,
      zoneout: 0.3,
      temporalActivationRegularizer: 0.5,
      inputShape,
    } as const;
    const made = {
      lstm: () => layers.lstm({ units: H, layerNormalization: true, cellZoneout: 0.4, ...options }),
      gru: () => layers.gru({ units: H, layerNormalization: true, returnSequences: true, ...options }),
    };
    for (const make of Object.values(made)) {
      const x = random([N, T, D]);
      const [output] = make().outputShapes([{ dtype: 'real', shape: inputShape, sequence: true }]);
      const shape = output?.shape as number[];
      const y = random([N, ...shape]);
      const run = async (device: 'cpu' | 'reference') => {
        const model = build(make(), device, 21);
        const { loss, gradients } = await model.computeGradients(x, y, { lengths: [5, 2, 4] });
        return { loss, gradients, evaluated: (await model.evaluate(x, y))['loss'] as number };
      };
      const [given, wanted] = [await run('cpu'), await run('reference')];
      expect(given.loss).toBeCloseTo(wanted.loss, 5);
      expect(given.evaluated).toBeCloseTo(wanted.evaluated, 5);
      for (const [name, gradient] of wanted.gradients)
        expect(largestDifference(given.gradients.get(name) as Tensor, gradient)).toBeLessThan(2e-5);
      // Each option changes something while training.
      const names = [
        'dropout',
        'recurrentDropout',
        'recurrentWeightDropout',
        'weightNoise',
        'zoneout',
        'temporalActivationRegularizer',
      ];
      for (const name of names) {
        const { type } = make();
        const config = { ...make().getConfig() };
        delete config[name];
        const less = build(layerFromConfig(type, config), 'cpu', 21);
        const { loss } = await less.computeGradients(x, y, { lengths: [5, 2, 4] });
        expect(Math.abs(loss - given.loss)).toBeGreaterThan(1e-6);
      }
    }
  });

  test('are saved with what their options say, whatever form that has', async () => {
    const given = {
      units: 3,
      kernelRegularizer: regularizers.l2(0.01),
      recurrentInitializer: initializers.randomNormal({ stddev: 0.3 }),
    };
    const own = { units: 4 };
    const kinds = [
      cells.lstm(given as never),
      cells.indRNN({ units: 3, recurrentInitializer: initializers.ones() as never }),
      minimal(own),
    ];
    own.units = 99;
    const folder = mkdtempSync(join(tmpdir(), 'deeprnn-cells-'));
    try {
      for (const cell of kinds) {
        const model = build(layers.rnn({ cell, inputShape }), 'cpu');
        const file = join(folder, 'cell.deeprnn');
        await model.save(file);
        const again = await loadModel(file, { device: 'cpu' });
        const x = random([N, T, D]);
        expect(await again.predict(x)).toEqual(await model.predict(x));
        expect(again.getConfig()).toEqual(model.getConfig());
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
    expect(() => minimal({ units: 3, note: { by: () => 1 } } as never)).toThrow(
      "cell 'testMinimalGated': config.note.by: expected a JSON value, with which the model can be saved, got function by.",
    );
  });

  test('of states whose learned weights would have one name, one is refused', () => {
    const make = defineCell('testTwins', () => ({
      states: { h: 2, H: 2 },
      weights: () => ({}),
      step: (_, states) => ({ output: states['h'] as Traced, states: states as Record<string, Traced> }),
    }));
    const layer = layers.rnn({ cell: make({}), initialState: 'learned', name: 'r', inputShape: [3, 2] });
    expect(() => sequential([layer])).toThrow(
      "layer 'r': cell: expected states whose names differ in more than",
    );
  });

  test('softmax of a weight is the same for every row', async () => {
    const make = defineCell('testShares', () => ({
      states: { h: H },
      weights: () => ({ shares: { shape: [H], initializer: 'randomNormal' } }),
      step(_, { h }, { shares }) {
        const next = ops.add(ops.multiply(h as Traced, 0.5), ops.softmax(shares as Traced));
        return { output: next, states: { h: next } };
      },
    }));
    const [x, y] = [random([N, T, D]), random([N, H])];
    const make2 = () => layers.rnn({ cell: make({}), inputShape });
    const wanted = await results(make2(), 'reference', undefined, x, y);
    const given = await results(make2(), 'cpu', wanted.weights, x, y);
    for (const [key, value] of wanted.values)
      expect(largestDifference(given.values.get(key) as Tensor, value)).toBeLessThan(1e-6);
    const rows = wanted.values.get('output')?.data as Float32Array;
    expect([...rows.slice(0, H)]).toEqual([...rows.slice(H, 2 * H)]);
  });

  test('learn, are saved and loaded, and predict the same bits', async () => {
    const model = sequential(
      [
        layers.rnn({ cell: stacked(), returnSequences: true, inputShape }),
        layers.lstm({ units: 5, projectionUnits: 2 }),
        layers.dense({ units: 1 }),
      ],
      { seed: 5 },
    );
    model.compile({
      loss: 'meanSquaredError',
      optimizer: { type: 'adam', learningRate: 0.02 },
      device: 'cpu',
    });
    const x = random([64, T, D]);
    const y = tensor(
      Float32Array.from({ length: 64 }, (_, n) => x.data[n * T * D] as number),
      [64, 1],
    );
    const first = (await model.evaluate(x, y))['loss'] as number;
    await model.fit(x, y, { epochs: 60, batchSize: 16, verbose: 0 });
    expect((await model.evaluate(x, y))['loss']).toBeLessThan(0.3 * first);
    const folder = mkdtempSync(join(tmpdir(), 'deeprnn-cells-'));
    try {
      const file = join(folder, 'model.deeprnn');
      await model.save(file);
      const again = await loadModel(file, { device: 'cpu' });
      expect(await again.predict(x)).toEqual(await model.predict(x));
      expect(again.getConfig()).toEqual(model.getConfig());
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('states: carried from batch to batch, handed in, and from step to step in a stream', async () => {
    const x = random([N, T, D]);
    const whole = build(
      layers.rnn({ cell: stacked(), name: 'a', returnSequences: true, inputShape: [null, D] }),
      'cpu',
    );
    const wanted = await whole.predict(x);
    const part = (from: number, to: number) =>
      tensor(
        Float32Array.from({ length: N * (to - from) * D }, (_, i) => {
          const [n, rest] = [Math.floor(i / ((to - from) * D)), i % ((to - from) * D)];
          return x.data[n * T * D + from * D + rest] as number;
        }),
        [N, to - from, D],
      );
    const weights = await whole.getWeights();
    const model = sequential([
      layers.rnn({
        cell: stacked(),
        name: 'a',
        returnSequences: true,
        stateful: true,
        batchInputShape: [N, null, D],
      }),
    ]);
    model.compile({ loss: 'meanSquaredError', device: 'cpu' });
    await model.setWeights(weights);
    const rows = (value: Tensor, n: number, t: number, steps: number) => [
      ...value.data.slice((n * steps + t) * 3, (n * steps + t + 1) * 3),
    ];
    await model.predict(part(0, 2));
    const later = await model.predict(part(2, T));
    for (let n = 0; n < N; n++)
      for (let t = 2; t < T; t++) expect(rows(later, n, t - 2, T - 2)).toEqual(rows(wanted, n, t, T));

    const { output, states } = await whole.predict(part(0, 3), { returnStates: true });
    expect(Object.keys(states['a'] as object)).toEqual(['h0', 'c0', 'h1']);
    expect(rows(output, 1, 2, 3)).toEqual(rows(wanted, 1, 2, T));
    const rest = await whole.predict(part(3, T), { initialStates: states });
    expect(rows(rest, 2, 1, T - 3)).toEqual(rows(wanted, 2, 4, T));

    const live = await whole.stream({ batchSize: N });
    for (let t = 0; t < T; t++) {
      const step = live.stepSync(part(t, t + 1).reshape([N, D]));
      for (let n = 0; n < N; n++)
        for (const [j, v] of rows(wanted, n, t, T).entries()) expect(step[n * 3 + j]).toBeCloseTo(v, 5);
    }
  });
});

test('several cells are stacked ones, as in Keras', () => {
  const parts = [cells.gru({ units: 3 }), cells.lstm({ units: 2 })];
  expect(layers.rnn({ cell: parts }).getConfig()['cell']).toEqual(
    layers.rnn({ cell: cells.stacked(parts) }).getConfig()['cell'],
  );
});

describe('what is refused', () => {
  const shapeOf = (definition: Pick<CellDefinition, 'weights' | 'step'>) => {
    const make = defineCell(`testRefused${Math.random()}`, () => ({ states: { h: 2 }, ...definition }));
    return () =>
      layers
        .rnn({ cell: make({}), name: 'r', inputShape: [null, 3] })
        .outputShape({ dtype: 'real', shape: [null, 3], sequence: true });
  };
  const stepOf = (step: (x: Traced, h: Traced, w: Traced, context: CellContext) => unknown) =>
    shapeOf({
      weights: (features) => ({ kernel: { shape: [features, 2] } }),
      step: (x, states, w, context) =>
        step(x, states['h'] as Traced, w['kernel'] as Traced, context) as never,
    });
  const weighing = (weights: () => unknown) =>
    shapeOf({ weights: weights as never, step: (_, { h }) => ({ output: h, states: { h } }) as never });
  const other = new Map<string, Traced>();

  const cases: [string, () => unknown, string][] = [
    [
      'a cell that is none',
      () => layers.rnn({ cell: {} as never }),
      'layers.rnn: cell: expected a cell, e.g. of defineCell or cells.lstm, got an object.',
    ],
    [
      'a layer as a cell',
      () => layers.rnn({ cell: layers.lstm({ units: 3 }) as never }),
      'layers.rnn: cell: expected a cell, e.g. of defineCell or cells.lstm, got layers.lstm.',
    ],
    [
      'a cell that nobody has defined',
      () => layers.rnn({ cell: { type: 'minimalGatd', config: {} } }),
      'layers.rnn: cell: expected a cell that defineCell has made known (',
    ],
    [
      'a name that is taken',
      () => defineCell('lstm', () => ({}) as never),
      "defineCell: type: expected a name that is not taken, got 'lstm'.",
    ],
    [
      'options of the layer in a cell',
      () => cells.lstm({ units: 3, returnSequences: true } as never),
      'cells.lstm: returnSequences: expected it at layers.rnn, not at its cell, got it here.',
    ],
    [
      'a state that is missing',
      stepOf((_, h) => ({ output: h, states: {} })),
      "layer 'r': state 'h': expected [N, 2], got undefined.",
    ],
    [
      'an output of another width',
      stepOf((x, h) => ({ output: x, states: { h } })),
      "layer 'r': output: expected [N, 2], got the input [N, 3].",
    ],
    [
      'a product of what does not fit',
      stepOf((_, h, w) => ({ output: ops.matmul(h, w), states: { h } })),
      "layer 'r': step: ops.matmul: expected x [N, 3] for weight 'kernel' [3, 2], got state 'h' [N, 2].",
    ],
    [
      'a matrix as rows',
      stepOf((_, h, w) => ({ output: ops.add(h, w), states: { h } })),
      "ops.add: b: expected rows or a vector, got weight 'kernel' [3, 2]. Use ops.matmul for a matrix.",
    ],
    [
      'unequal widths',
      stepOf((x, h) => ({ output: ops.add(x, h), states: { h } })),
      "ops.add: expected two equal widths, or one of 1, got the input [N, 3] and state 'h' [N, 2].",
    ],
    [
      'a number that is none',
      stepOf((_, h) => ({ output: ops.multiply(h, Number.NaN), states: { h } })),
      "ops.multiply: expected a number in float32's range, got NaN.",
    ],
    [
      'values of another call',
      stepOf((_, h) => {
        const known = other.get('h') ?? h;
        other.set('h', h);
        const output = ops.add(h, known);
        if (known === h) throw new Error('once more');
        return { output, states: { h } };
      }),
      'ops.add: expected values of one and the same call, got some of another.',
    ],
    [
      'a weight that is none',
      stepOf((_, h) => ({ output: ops.matmul(h, undefined as never), states: { h } })),
      "layer 'r': step: ops.matmul: w: expected a weight [K, M], got undefined.",
    ],
    [
      'a maximum of nothing',
      stepOf((_, h) => ({ output: ops.maximum(undefined as never, 0), states: { h } })),
      "layer 'r': step: ops.maximum: expected a value that the function was given, or that ops made of such, got undefined.",
    ],
    [
      'an epsilon of ops of zero',
      stepOf((_, h) => ({ output: ops.layerNormalization(h, undefined, undefined, 0), states: { h } })),
      "layer 'r': step: ops.layerNormalization: epsilon: expected a finite number above 0, got 0.",
    ],
    [
      'dropout of nothing',
      stepOf((_x, h, _w, context) => ({ output: context.dropout(undefined as never, 0.5), states: { h } })),
      "layer 'r': step: layer 'r': dropout: expected a value that the function was given",
    ],
    [
      'options of dropout that are none',
      stepOf((_x, h, _w, context) => ({ output: context.dropout(h, 0.5, null as never), states: { h } })),
      "layer 'r': dropout: expected an object of options, got null.",
    ],
    [
      'options of dropout that it has not',
      stepOf((_x, h, _w, context) => ({
        output: context.dropout(h, 0.5, { shared: true } as never),
        states: { h },
      })),
      "layer 'r': dropout: unknown option 'shared'.",
    ],
    [
      'weights that are none',
      weighing(() => undefined),
      "layer 'r': weights: expected { shape, … } of each weight, by name, got undefined.",
    ],
    [
      'a weight without a shape',
      weighing(() => ({ kernel: { initializer: 'zeros' } })),
      "layer 'r': weight 'kernel': shape: expected a vector [width] or a matrix [K, M], got undefined.",
    ],
    [
      'a misspelt option of a weight',
      weighing(() => ({ kernel: { shape: [3, 2], initialiser: 'zeros' } })),
      "layer 'r': weight 'kernel': unknown option 'initialiser'. Did you mean 'initializer'?",
    ],
    [
      'a decay that is no switch',
      weighing(() => ({ kernel: { shape: [3, 2], decay: 0.1 } })),
      "layer 'r': weight 'kernel': decay: expected true or false, got 0.1.",
    ],
    [
      'an sru of no units',
      () => cells.sru({ units: 0 }),
      'cells.sru: units: expected a positive integer, got 0.',
    ],
    [
      'an option that an sru has not',
      () => cells.sru({ units: 2, activation: 'tanh' } as never),
      "cells.sru: expected units, kernelInitializer or recurrentInitializer, got 'activation'.",
    ],
    [
      'a name in a cell',
      () => cells.lstm({ units: 3, name: 'x' } as never),
      'cells.lstm: name: expected it at layers.rnn, not at its cell, got it here.',
    ],
    [
      'stacked cells whose states could not be told apart',
      () => {
        const two = defineCell('testTwoStates', () => ({
          states: { h: 2, h1: 2 },
          weights: () => ({}),
          step: (_, { h, h1 }) => ({ output: h as Traced, states: { h: h as Traced, h1: h1 as Traced } }),
        }));
        const many = Array.from({ length: 12 }, () => two({}));
        return cells.stacked(many);
      },
      "cells.stacked: expected states whose names, with their cell's number behind them, differ, got 'h10' twice.",
    ],
    [
      'a projection of nothing',
      () => layers.lstm({ units: 3, projectionInitializer: 'zeros' }),
      "layers.lstm: projectionInitializer: expected nothing without projectionUnits, got 'zeros'.",
    ],
    [
      'an epsilon of zero',
      () => layers.gru({ units: 3, layerNormalization: { epsilon: 0 } }),
      'layers.gru: layerNormalization: epsilon: expected a positive number, got 0.',
    ],
  ];
  test.each(cases)('%s', (name, act, message) => {
    if (name === 'values of another call') expect(act).toThrow('once more');
    expect(act).toThrow(message);
  });
});
