import { type Layer, layers, losses, type Sequential, sequential, type Tensor, tensor } from '../../../lib';
import { chain } from '../../../lib/models/graph';
import { lower } from '../../../lib/models/lower';
import { randomSequences } from '../models/data';

const [N, T, D] = [4, 5, 6];
const x = randomSequences(N, T, D, 1);
const y = tensor(new Float32Array(N), [N, 1]);
const rates = { dropout: 0.5, recurrentDropout: 0.5 };

const compiled = (stack: Layer[], device: string, seed = 3): Sequential =>
  sequential([...stack, layers.dense({ units: 1 })], { seed }).compile({
    loss: 'mse',
    optimizer: 'sgd',
    device,
  });

/** Inserts what `drops` asks for; without weights of its own, a dropout layer leaves the others' first values alone. */
const kinds: [name: string, make: (drops: boolean) => Layer[]][] = [
  [
    'dropout layer',
    (drops) => [
      layers.dropout({ rate: drops ? 0.5 : 0, inputShape: [T, D] }),
      layers.simpleRNN({ units: 7 }),
    ],
  ],
  ...(['simpleRNN', 'lstm', 'gru'] as const).flatMap((cell): [string, (drops: boolean) => Layer[]][] => [
    [
      `dropout of ${cell}`,
      (drops) => [layers[cell]({ units: 7, inputShape: [T, D], dropout: drops ? 0.5 : 0 })],
    ],
    [
      `recurrentDropout of ${cell}`,
      (drops) => [layers[cell]({ units: 7, inputShape: [T, D], recurrentDropout: drops ? 0.5 : 0 })],
    ],
    [
      `dropouts of ${cell} per step`,
      (drops) => {
        const rate = drops ? 0.5 : 0;
        const modes = { dropoutMode: 'perStep', recurrentDropoutMode: 'perStep' } as const;
        return [
          layers[cell]({ units: 7, inputShape: [T, D], dropout: rate, recurrentDropout: rate, ...modes }),
        ];
      },
    ],
  ]),
];

describe.each(['cpu', 'reference'])('on %s', (device) => {
  test.each(kinds)('%s works in training and is off in predict and evaluate', async (_, make) => {
    const [dropping, plain] = [compiled(make(true), device), compiled(make(false), device)];
    expect((await dropping.predict(x)).data).toEqual((await plain.predict(x)).data);
    expect(await dropping.evaluate(x, y)).toEqual(await plain.evaluate(x, y));
    const [trained, exact] = [await dropping.computeGradients(x, y), await plain.computeGradients(x, y)];
    expect(trained.loss).not.toBe(exact.loss);
  });

  test.each([
    ['dropout', 'dropoutMode'],
    ['recurrentDropout', 'recurrentDropoutMode'],
  ])('%s draws other masks per step than one for all steps', async (rate, mode) => {
    const losses = await Promise.all(
      ['sharedOverTime', 'perStep'].map(async (drawn) => {
        const layer = layers.gru({ units: 7, inputShape: [T, D], [rate]: 0.5, [mode]: drawn });
        return (await compiled([layer], device).computeGradients(x, y)).loss;
      }),
    );
    expect(losses[0]).not.toBe(losses[1]);
  });

  test('two dropout layers in a row draw masks of their own', async () => {
    const width = 400;
    const model = sequential(
      [
        layers.dropout({ rate: 0.5, inputShape: [width] }),
        layers.dropout({ rate: 0.5 }),
        layers.dense({ units: 1, useBias: false, kernelInitializer: 'ones' }),
      ],
      { seed: 1 },
    ).compile({ loss: 'mse', optimizer: 'sgd', device });
    const { gradients } = await model.computeGradients(tensor(new Float32Array(width).fill(1), [1, width]), [
      [0],
    ]);
    // The gradient of a weight is zero where its input was dropped: by either layer, so three quarters are.
    const kept = (gradients.get('dense/kernel') as Tensor).data.filter((g) => g !== 0).length / width;
    expect(kept).toBeGreaterThan(0.18);
    expect(kept).toBeLessThan(0.32);
  });

  test.each([
    [
      'dropout',
      (seed: number) => [layers.dropout({ rate: 0.5, seed, inputShape: [T, D] }), layers.gru({ units: 7 })],
    ],
    ['lstm', (seed: number) => [layers.lstm({ units: 7, ...rates, seed, inputShape: [T, D] })]],
  ])("a %s layer's own seed decides on its masks, the model's does not", async (_, make) => {
    const model = compiled(make(7), device);
    const [otherModel, otherLayer] = [compiled(make(7), device, 4), compiled(make(8), device)];
    await otherModel.setWeights(await model.getWeights());
    const { loss } = await model.computeGradients(x, y);
    expect((await otherModel.computeGradients(x, y)).loss).toBe(loss);
    expect((await otherLayer.computeGradients(x, y)).loss).not.toBe(loss);
  });
});

test('every mask of a model has a random stream of its own', () => {
  const model = sequential([
    layers.lstm({ units: 7, ...rates, returnSequences: true, inputShape: [T, D] }),
    layers.dropout({ rate: 0.5 }),
    layers.gru({ units: 6, recurrentDropout: 0.5, returnSequences: true }),
    layers.simpleRNN({ units: 5, ...rates, goBackwards: true }),
    layers.dropout({ rate: 0.5 }),
    layers.dense({ units: 1 }),
  ]);
  const streams = (mode: 'evaluate' | 'gradients') =>
    lower(
      {
        layers: model.layers,
        graph: chain({ dtype: 'real', shape: [T, D], sequence: true }, model.layers),
        seed: 1,
        losses: [losses.meanSquaredError()],
      },
      { mode, inputShapes: [[N, T, D]], weighted: [], initialStates: [], gradientNorms: false },
    ).plan.ops.flatMap((op) => {
      if (op.kind === 'dropout') return [op.attrs.stream];
      if (op.kind !== 'rnnStack') return [];
      return op.attrs.layers.flatMap(({ inputDropout, recurrentDropout }) =>
        [inputDropout, recurrentDropout].filter(({ rate }) => rate > 0).map(({ stream }) => stream),
      );
    });
  expect(streams('evaluate')).toEqual([]);
  const drawn = streams('gradients');
  // Two of the lstm, one between, one of the gru, two of the simpleRNN, and the last layer's, once forward and once back.
  expect(new Set(drawn).size).toBe(7);
  expect(drawn).toHaveLength(8);
});
