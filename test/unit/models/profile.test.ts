import { layers, type Sequential, sequential, tensor } from '../../../lib';
import { refusal } from '../refusal';
import { randomSequences, smallModel, whichThird } from './data';

const compiled = () =>
  smallModel(3, 0.1).compile({
    loss: 'sparseCategoricalCrossentropy',
    optimizer: 'adam',
    metrics: ['accuracy'],
  });

/** Everything that a profile might disturb: weights, optimizer slots and carried states, bit for bit, and the step count. */
function stateOf(model: Sequential) {
  const { variables } = model;
  return {
    step: model.step,
    variables: variables.names().map((name) => [name, Array.from(variables.read(name).data)]),
  };
}

describe('the model stays as it was', () => {
  test('in the middle of training', async () => {
    const [profiled, other] = [compiled(), compiled()];
    const x = randomSequences(20, 6, 4, 1);
    const y = whichThird(x);
    for (const model of [profiled, other]) await model.fit(x, y, { epochs: 2, shuffle: false });
    const before = stateOf(profiled);
    await profiled.profile({ batchSize: 5, repeats: 2 });
    expect(stateOf(profiled)).toEqual(before);
    // And it goes on as one that was never profiled.
    for (const model of [profiled, other]) await model.fit(x, y, { epochs: 1, shuffle: false });
    expect(stateOf(profiled)).toEqual(stateOf(other));
  });

  test('the states that stateful layers carry', async () => {
    const model = sequential(
      [layers.gru({ units: 5, stateful: true, batchInputShape: [2, 3, 4] }), layers.dense({ units: 1 })],
      { seed: 1 },
    ).compile({ loss: 'mse' });
    await model.predict(randomSequences(2, 3, 4, 1));
    const before = stateOf(model);
    expect(before.variables.some(([name]) => (name as string).includes('#'))).toBe(true);
    const { batchSize } = await model.profile({ repeats: 1 });
    expect(batchSize).toBe(2);
    expect(stateOf(model)).toEqual(before);
  });

  test('before anything has run', async () => {
    const model = compiled();
    const before = stateOf(model);
    await model.profile({ repeats: 1 });
    await model.profile({ estimate: true });
    expect(stateOf(model)).toEqual(before);
  });
});

describe('measured', () => {
  test.each([process.env['DEEPRNN_DEVICE'] ?? 'cpu', 'reference'])(
    'where the time goes, on %s: every layer or stack in its order, then the rest',
    async (device) => {
      const model = sequential([
        layers.conv1D({ filters: 6, kernelSize: 2, name: 'front', inputShape: [7, 4] }),
        layers.lstm({ units: 5, returnSequences: true, name: 'low' }),
        layers.dropout({ rate: 0.2 }),
        layers.gru({ units: 4, returnSequences: true, name: 'high' }),
        layers.bidirectional({ layer: layers.simpleRNN({ units: 3 }), name: 'both' }),
        layers.dense({ units: 3, activation: 'softmax', name: 'out' }),
      ]).compile({
        loss: 'categoricalCrossentropy',
        optimizer: 'adam',
        metrics: ['accuracy'],
        device,
      });
      const { predict, train } = await model.profile({ batchSize: 3, repeats: 2 });
      const names = (parts: readonly { name: string }[] = []) => parts.map(({ name }) => name);
      const fused = 'low + high + both/forward';
      const wanted = ['front', fused, 'both/backward', 'both', 'out'];
      expect(names(predict.parts).slice(0, 5)).toEqual(wanted);
      expect(predict.parts.every(({ forward, backward }) => forward > 0 && backward === 0)).toBe(true);
      expect(names(train?.parts).slice(0, 5)).toEqual(wanted);
      expect(names(train?.parts).slice(5).sort()).toEqual(['loss', 'metrics', 'optimizer', 'other']);
      const part = (name: string) => train?.parts.find((own) => own.name === name);
      expect(part(fused)?.layers).toEqual(['low', 'high', 'both/forward']);
      for (const name of [fused, 'both/backward', 'out']) expect(part(name)?.backward).toBeGreaterThan(0);
      expect(part('optimizer')).toMatchObject({ layers: [], forward: 0 });
    },
  );

  test('times, bytes and exact floating-point operations', async () => {
    const result = await compiled().profile({ device: 'cpu', batchSize: 5, repeats: 4 });
    expect(result).toMatchObject({ device: 'cpu', engine: 'cpu', precision: 'fp32', batchSize: 5, steps: 6 });
    expect(result.estimate).toBeUndefined();
    // LSTM: 6 steps × 5 examples × 4 gates × 9 units × (4 inputs + 9 units), GRU: … × 3 × 7 × (9 + 7), dense: 5 × 7 × 3.
    const [lstm, gru, dense] = [30 * 36 * (4 + 9), 30 * 21 * (9 + 7), 5 * 7 * 3];
    expect(result.predict.flops).toBe(2 * (lstm + gru + dense));
    // Backward twice that, but no gradient of the model's input.
    expect(result.train?.flops).toBe(2 * (3 * (lstm + gru + dense) - 30 * 36 * 4));
    for (const { milliseconds, min, max, bytes, flops, gflopsPerSecond, notes } of [
      result.predict,
      result.train as NonNullable<typeof result.train>,
    ]) {
      expect(min).toBeGreaterThan(0);
      expect(milliseconds).toBeGreaterThanOrEqual(min);
      expect(max).toBeGreaterThanOrEqual(milliseconds);
      expect(bytes).toBeGreaterThan(5 * 6 * 4 * 4);
      expect(gflopsPerSecond).toBeCloseTo(flops / (milliseconds * 1e6), 9);
      expect(notes).toEqual([]);
    }
  });

  test('a model that is not compiled has no training step', async () => {
    const result = await smallModel().profile({ device: 'cpu', repeats: 1 });
    expect(Object.keys(result)).toEqual(['device', 'engine', 'precision', 'batchSize', 'steps', 'predict']);
  });

  test.each([
    ['categoricalCrossentropy', 'softmax'],
    ['binaryCrossentropy', 'sigmoid'],
    ['klDivergence', 'softmax'],
    ['huber', 'linear'],
  ])('targets for %s', async (loss, activation) => {
    const model = sequential([layers.dense({ units: 3, activation, inputShape: [4] })]).compile({ loss });
    const result = await model.profile({ repeats: 1 });
    expect(result.steps).toBeNull();
    // The gradient of the kernel; the input's is not asked for.
    expect(result.train?.flops).toBe(2 * 2 * 32 * 4 * 3);
  });

  test('ids of any number of steps, in float64', async () => {
    const model = sequential([
      layers.embedding({ inputDim: 11, outputDim: 3, inputShape: [null] }),
      layers.simpleRNN({ units: 2 }),
    ]).compile({ loss: 'mse' });
    const result = await model.profile({ device: 'reference', steps: 7, batchSize: 3, repeats: 1 });
    expect(result).toMatchObject({ engine: 'reference', precision: 'fp64', steps: 7 });
    expect(result.predict.flops).toBe(2 * 7 * 3 * 2 * (3 + 2));
  });

  test('a signal ends it', async () => {
    const signal = AbortSignal.abort('enough');
    expect(await refusal(() => compiled().profile({ signal }))).toBe(
      'ERR_ABORTED profile: aborted by its signal; the model stays usable.',
    );
    const model = compiled();
    const later = new AbortController();
    const running = refusal(() => model.profile({ repeats: 1e6, signal: later.signal }));
    setTimeout(() => later.abort(), 20);
    expect(await running).toBe('ERR_ABORTED profile: aborted by its signal; the model stays usable.');
    await model.profile({ repeats: 1 });
  });
});

// Run where there is a GPU, and on the emulated one.
const onCuda = process.env['DEEPRNN_DEVICE']?.startsWith('cuda') ? test : test.skip;

onCuda('on a GPU, rungs and blocks are those of the estimate beside the times', async () => {
  const stack = (cell: 'lstm' | 'simpleRNN' | 'gru', units: number[], own: object = {}) =>
    sequential([
      layers.input({ shape: [2, 5] }),
      ...units.map((n) => layers[cell]({ units: n, returnSequences: true, ...own })),
      layers.dense({ units: 3 }),
    ]).compile({ loss: 'mse' });
  for (const model of [
    stack('simpleRNN', [64, 32]),
    stack('lstm', [90, 60]),
    stack('lstm', [40, 24], { dropout: 0.1, recurrentDropout: 0.2 }),
    stack('gru', [20, 30, 9]),
    stack('gru', [20, 30], { resetAfter: false }),
  ]) {
    for (const precision of ['fp32', 'bf16'] as const) {
      const result = await model.profile({ batchSize: 17, repeats: 1, precision });
      for (const mode of ['predict', 'train'] as const) {
        const expected = result.estimate?.[mode]?.stacks.map(({ op, layers: names, chosen, rungs }) => {
          const rung = rungs[chosen];
          const note = rung.fits && rung.kernels.length > 0 ? rung.kernels.join('; ') : '';
          return { op, layers: names, note: expect.stringMatching(`^rung ${chosen}: `), blocks: note };
        });
        const found = result[mode]?.notes.map((note) => ({
          ...note,
          blocks: /\d+ blocks .* each|$/.exec(note.note)?.[0],
        }));
        expect(found).toEqual(expected);
      }
    }
  }
});

describe('estimated', () => {
  test('without a GPU, in milliseconds for every rung', async () => {
    const result = await compiled().profile({
      device: 'cuda',
      estimate: true,
      batchSize: 8,
      precision: 'bf16',
    });
    expect(result).toMatchObject({
      device: 'cuda',
      engine: 'cuda',
      precision: 'bf16',
      batchSize: 8,
      steps: 6,
    });
    const { basis, gpu, predict, train } = result.estimate;
    expect(basis).toBe('design figures, not yet measured');
    expect(gpu).toMatchObject({ name: 'H100', multiprocessors: 132 });
    expect(predict.stacks).toMatchObject([{ op: 'rnnStack', layers: ['lstm', 'gru'], chosen: 'd' }]);
    // In training, two dropouts between the layers keep them apart.
    expect(train?.stacks).toMatchObject([
      { op: 'rnnStack', layers: ['lstm'] },
      { op: 'rnnStack', layers: ['gru'] },
      { op: 'rnnStackGrad', layers: ['gru'] },
      { op: 'rnnStackGrad', layers: ['lstm'] },
    ]);
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
  });

  test('for the GPU that is described', async () => {
    const model = compiled();
    const at = async (clockGHz: number) =>
      model.profile({ estimate: true, gpu: { name: 'mine', clockGHz, tflops: { fp32: 20 } } });
    const [slow, fast] = [await at(1), await at(2)];
    expect(slow.estimate.gpu).toMatchObject({ name: 'mine', clockGHz: 1, tflops: { fp32: 20, bf16: 800 } });
    expect(slow.estimate.predict.milliseconds).toBeGreaterThan(fast.estimate.predict.milliseconds);
  });
});

describe('refused', () => {
  const anyLength = () => sequential([layers.lstm({ units: 2, inputShape: [null, 3] })]);
  const flat = () => sequential([layers.dense({ units: 2, inputShape: [3] })]);
  const stateful = () => sequential([layers.gru({ units: 5, stateful: true, batchInputShape: [2, 3, 4] })]);
  test.each<[string, () => Sequential, object, string]>([
    [
      'an unknown option',
      compiled,
      { batchsizes: 3 },
      "unknown option 'batchsizes'. Did you mean 'batchSize'?",
    ],
    ['batchSize', compiled, { batchSize: 0 }, 'batchSize: expected a positive integer, got 0.'],
    ['repeats', compiled, { repeats: '3' }, "repeats: expected a positive integer, got '3'."],
    ['steps', compiled, { steps: 5 }, "steps: expected 6, the model's own length, got 5."],
    ['steps', compiled, { steps: 1.5 }, 'steps: expected a positive integer, got 1.5.'],
    [
      'no steps',
      anyLength,
      {},
      'steps: expected a positive integer, as the model takes any length, got nothing.',
    ],
    ['steps', flat, { steps: 5 }, 'steps: expected none, as the model reads no sequences, got 5.'],
    [
      'precision',
      compiled,
      { precision: 'fp16' },
      "precision: expected 'fp32', 'tf32', 'bf16' or 'int8', got 'fp16'.",
    ],
    ['device', compiled, { device: 3 }, "device: expected a device name, e.g. 'cpu' or 'cuda', got 3."],
    ['signal', compiled, { signal: 1 }, 'signal: expected an AbortSignal, got 1.'],
    ['estimate', compiled, { estimate: 'yes' }, "estimate: expected true or false, got 'yes'."],
    [
      'an estimate for another device',
      compiled,
      { estimate: true, device: 'cpu' },
      "device: expected 'cuda', as no other can be estimated, got 'cpu'.",
    ],
    [
      'a GPU for another device',
      compiled,
      { gpu: {}, device: 'cpu' },
      "gpu: expected device 'cuda' beside it, got 'cpu'.",
    ],
    [
      'repeats of an estimate',
      compiled,
      { estimate: true, repeats: 3 },
      'repeats: expected none for an estimate, which runs nothing, got 3.',
    ],
    [
      'a figure',
      compiled,
      { estimate: true, gpu: { clockGhz: 1, hbmBandwith: 1 } },
      "gpu: unknown option 'hbmBandwith'. Did you mean 'hbmBandwidth'?",
    ],
    [
      'a figure',
      compiled,
      { estimate: true, gpu: { clockGHz: -1 } },
      'gpu.clockGHz: expected a finite number above 0, got -1.',
    ],
    [
      'a figure',
      compiled,
      { estimate: true, gpu: { multiprocessors: 1.5 } },
      'gpu.multiprocessors: expected a positive integer, got 1.5.',
    ],
    [
      'a figure',
      compiled,
      { estimate: true, gpu: { tflops: { bf16: 0 } } },
      'gpu.tflops.bf16: expected a finite number above 0, got 0.',
    ],
    [
      'another batch than the stateful one',
      stateful,
      { batchSize: 3 },
      'batchSize: expected 2, which the stateful layers are made for, got 3.',
    ],
  ])('%s', async (_what, model, options, expected) => {
    expect(await refusal(() => model().profile(options))).toBe(`ERR_VALUE profile: ${expected}`);
  });

  test('a model without weights, one whose features are open, and a busy one', async () => {
    expect(await refusal(() => sequential([layers.dense({ units: 2 })]).profile())).toMatch(
      /^ERR_STATE profile: model 'sequential' has no weights yet\./,
    );
    const open = sequential([layers.activation({ activation: 'tanh', inputShape: [5, null] })]);
    expect(await refusal(() => open.profile())).toBe(
      'ERR_SHAPE profile: expected inputs of which only the number of steps is open, got [N, 5, any].',
    );
    const model = compiled();
    const x = randomSequences(20, 6, 4, 1);
    const fitting = model.fit(x, tensor(whichThird(x).data, [20]));
    expect(await refusal(() => model.profile())).toBe(
      "ERR_STATE profile: model 'sequential' is in fit. Wait for its promise first.",
    );
    await fitting;
  });

  test('a precision that the engine has not', async () => {
    expect(await refusal(() => compiled().profile({ device: 'cpu', precision: 'tf32' }))).toBe(
      "ERR_VALUE precision: expected 'fp32', 'bf16' or 'int8' on device 'cpu', got 'tf32'.",
    );
    expect(
      await refusal(() => compiled().profile({ device: 'cuda', estimate: true, precision: 'int8' })),
    ).toBe("ERR_VALUE profile: precision: expected 'fp32', 'tf32' or 'bf16', got 'int8'.");
  });
});
