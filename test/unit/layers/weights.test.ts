import { initializers, type Layer, layers, sequential } from '../../../lib';
import { ids, sequence, shapes } from './shapes';

describe('weights', () => {
  const [D, H] = [7, 11];

  test('names and shapes', () => {
    expect(shapes(layers.simpleRNN({ units: H }), sequence)).toEqual({
      kernel: [D, H],
      recurrentKernel: [H, H],
      bias: [H],
    });
    expect(shapes(layers.lstm({ units: H }), sequence)).toEqual({
      kernel: [D, 4 * H],
      recurrentKernel: [H, 4 * H],
      bias: [4 * H],
    });
    expect(shapes(layers.gru({ units: H }), sequence)).toEqual({
      kernel: [D, 3 * H],
      recurrentKernel: [H, 3 * H],
      bias: [2, 3 * H],
    });
    expect(shapes(layers.gru({ units: H, resetAfter: false }), sequence)['bias']).toEqual([3 * H]);
    expect(shapes(layers.lstm({ units: H, useBias: false, initialState: 'learned' }), sequence)).toEqual({
      kernel: [D, 4 * H],
      recurrentKernel: [H, 4 * H],
      initialH: [H],
      initialC: [H],
    });
    expect(shapes(layers.lstm({ units: H, peepholes: true }), sequence)).toEqual({
      kernel: [D, 4 * H],
      recurrentKernel: [H, 4 * H],
      bias: [4 * H],
      peephole: [3, H],
    });
    expect(shapes(layers.lstm({ units: H, peepholes: true, coupledGates: true }), sequence)).toEqual({
      kernel: [D, 3 * H],
      recurrentKernel: [H, 3 * H],
      bias: [3 * H],
      peephole: [2, H],
    });
    expect(shapes(layers.gru({ units: H, initialState: 'learned' }), sequence)).toMatchObject({
      initialH: [H],
    });
    expect(shapes(layers.dense({ units: 3 }), sequence)).toEqual({ kernel: [D, 3], bias: [3] });
    expect(shapes(layers.embedding({ inputDim: 13, outputDim: 3 }), ids)).toEqual({ embeddings: [13, 3] });
    for (const layer of [
      layers.dropout({ rate: 0.5 }),
      layers.activation({ activation: 'relu' }),
      layers.input({ shape: [5, 7] }),
    ]) {
      expect(shapes(layer, sequence)).toEqual({});
    }
  });

  test('names in a model, and how many there are', async () => {
    const model = sequential([
      layers.embedding({ inputDim: 13, outputDim: D }),
      layers.lstm({ units: H, returnSequences: true }),
      layers.lstm({ units: 3 }),
      layers.dense({ units: 2, name: 'head' }),
    ]);
    expect([...(await model.getWeights()).keys()]).toEqual([
      'embedding/embeddings',
      'lstm/kernel',
      'lstm/recurrentKernel',
      'lstm/bias',
      'lstm_1/kernel',
      'lstm_1/recurrentKernel',
      'lstm_1/bias',
      'head/kernel',
      'head/bias',
    ]);
    expect(model.countParams()).toBe(13 * D + 4 * H * (D + H + 1) + 4 * 3 * (H + 3 + 1) + 2 * (3 + 1));
  });

  test('weight decay spares biases and learned states only', () => {
    const layer = layers.lstm({ units: 2, initialState: 'learned' });
    layer.build(sequence);
    expect(layer.weights.map(({ name, decay = true }) => [name, decay])).toEqual([
      ['kernel', true],
      ['recurrentKernel', true],
      ['bias', false],
      ['initialH', false],
      ['initialC', false],
    ]);
  });

  async function biasOf(layer: Layer): Promise<number[]> {
    const weights = await sequential([layer], { seed: 1 }).build([5, D]).getWeights();
    return Array.from(weights.get(`${layer.name}/bias`)?.data ?? []);
  }

  test('unitForgetBias puts 1 on the forget gate, second of i, f, g, o, and nowhere else', async () => {
    const gates = (i: number, f: number, g: number, o: number) =>
      [i, f, g, o].flatMap((value) => new Array(H).fill(value));
    expect(await biasOf(layers.lstm({ units: H }))).toEqual(gates(0, 1, 0, 0));
    expect(await biasOf(layers.lstm({ units: H, unitForgetBias: false }))).toEqual(gates(0, 0, 0, 0));
    const biasInitializer = initializers.constant({ value: 0.25 });
    expect(await biasOf(layers.lstm({ units: H, biasInitializer }))).toEqual(gates(0.25, 1, 0.25, 0.25));
    expect(await biasOf(layers.gru({ units: H }))).toEqual(new Array(6 * H).fill(0));
    expect(await biasOf(layers.simpleRNN({ units: H }))).toEqual(new Array(H).fill(0));
  });

  test('the same seed makes the same model; layers and weights draw from streams of their own', async () => {
    const make = (seed: number) =>
      sequential(
        [
          layers.simpleRNN({ units: 7, returnSequences: true, recurrentInitializer: 'glorotUniform' }),
          layers.simpleRNN({ units: 7, recurrentInitializer: 'glorotUniform' }),
        ],
        { seed },
      )
        .build([5, 7])
        .getWeights();
    const [one, two, other] = await Promise.all([make(5), make(5), make(6)]);
    const values = (weights: typeof one) => [...weights].map(([name, t]) => [name, Array.from(t.data)]);
    expect(values(two)).toEqual(values(one));
    const kernels = [...one, ...other]
      .filter(([name]) => !name.endsWith('bias'))
      .map(([, t]) => Array.from(t.data).join());
    expect(kernels).toHaveLength(8);
    expect(new Set(kernels).size).toBe(8);
  });

  test("an initializer's own seed gives equal weights of equal shape, in any model, as in Keras", async () => {
    const shared = initializers.glorotUniform({ seed: 3 });
    const options = { units: 7, kernelInitializer: shared, recurrentInitializer: shared };
    const build = (seed: number) =>
      sequential([layers.simpleRNN({ ...options, name: 'a' })], { seed })
        .build([5, 7])
        .getWeights();
    const [one, two] = await Promise.all([build(1), build(2)]);
    const data = (weights: typeof one, name: string) => Array.from(weights.get(name)?.data ?? []);
    expect(data(one, 'a/kernel')).toEqual(data(two, 'a/kernel'));
    expect(data(one, 'a/recurrentKernel')).toEqual(data(one, 'a/kernel'));
    expect(data(one, 'a/kernel')).toHaveLength(49);
  });
});
