import { layers, type Prediction, sequential, type Tensor, tensor } from '../../../lib';
import { cut, near, randomSequences } from './data';

function stateOf({ states }: Pick<Prediction, 'states'>, layer: string, name: string): Tensor {
  const state = states[layer]?.[name];
  if (!state) throw new Error(`no ${layer}/${name}`);
  return state;
}

const stack = (shape: object, options: object = {}) =>
  sequential(
    [
      layers.lstm({ units: 5, returnSequences: true, ...options, ...shape }),
      layers.dropout({ rate: 0.3 }),
      layers.simpleRNN({ units: 4, returnSequences: true, ...options }),
      layers.gru({ units: 3, returnSequences: true, ...options }),
      layers.dense({ units: 2 }),
    ],
    { seed: 3 },
  );

describe.each(['cpu', 'reference'])('on %s', (device) => {
  const compiled = (model: ReturnType<typeof stack>) => model.compile({ loss: 'mse', device });

  test('states carry a sequence over to the next call', async () => {
    const x = randomSequences(7, 11, 4, 1);
    const model = compiled(stack({ inputShape: [null, 4] }));
    const whole = await model.predict(x, { returnStates: true });
    near(whole.output, await model.predict(x));
    expect(Object.entries(whole.states).map(([name, s]) => [name, Object.keys(s)])).toEqual([
      ['lstm', ['h', 'c']],
      ['simpleRNN', ['h']],
      ['gru', ['h']],
    ]);
    // Over several batches, the last of which is smaller.
    const first = await model.predict(cut(x, 0, 6), { returnStates: true, batchSize: 3 });
    near(first.output, cut(whole.output, 0, 6));
    const rest = await model.predict(cut(x, 6, 11), {
      returnStates: true,
      initialStates: first.states,
      batchSize: 4,
    });
    near(rest.output, cut(whole.output, 6, 11));
    near(stateOf(rest, 'lstm', 'c'), stateOf(whole, 'lstm', 'c'));
    near(stateOf(rest, 'gru', 'h'), stateOf(whole, 'gru', 'h'));
    expect(stateOf(rest, 'simpleRNN', 'h').shape).toEqual([7, 4]);
  });

  test('with lengths, states are those after the last step that counts', async () => {
    const x = randomSequences(3, 9, 4, 2);
    const model = compiled(stack({ inputShape: [null, 4] }));
    const { states } = await model.predict(x, { returnStates: true, lengths: [9, 4, 1] });
    for (const [n, steps] of [9, 4, 1].entries()) {
      const one = cut(tensor(x.data.slice(n * 36, (n + 1) * 36), [1, 9, 4]), 0, steps);
      const alone = await model.predict(one, { returnStates: true });
      for (const [layer, name, units] of [
        ['lstm', 'c', 5],
        ['simpleRNN', 'h', 4],
        ['gru', 'h', 3],
      ] as const)
        near(
          tensor(stateOf({ states }, layer, name).data.slice(n * units, (n + 1) * units), [1, units]),
          stateOf(alone, layer, name),
        );
    }
  });

  test('a stateful model gives its states and goes on from them', async () => {
    const x = randomSequences(2, 10, 4, 3);
    const plain = await compiled(stack({ inputShape: [null, 4] })).predict(x, { returnStates: true });
    const model = compiled(stack({ batchInputShape: [2, null, 4] }, { stateful: true }));
    await model.predict(cut(x, 0, 3), { returnStates: true });
    await model.predict(cut(x, 3, 7));
    const last = await model.predict(cut(x, 7, 10), { returnStates: true });
    near(last.output, cut(plain.output, 7, 10));
    near(stateOf(last, 'lstm', 'h'), stateOf(plain, 'lstm', 'h'));
  });

  test('both directions give theirs', async () => {
    const x = randomSequences(4, 6, 3, 4);
    const lstm = { units: 4 };
    const model = sequential(
      [layers.bidirectional({ layer: layers.lstm(lstm), inputShape: [null, 3] }), layers.dense({ units: 1 })],
      { seed: 1 },
    ).compile({ loss: 'mse', device });
    const { states } = (await model.predict(x, { returnStates: true })) as Prediction;
    expect(Object.keys(states['bidirectional'] ?? {})).toEqual([
      'forward/h',
      'forward/c',
      'backward/h',
      'backward/c',
    ]);
    // Without returnSequences the output of a direction is its last state.
    const top = sequential([layers.bidirectional({ layer: layers.lstm(lstm), inputShape: [null, 3] })], {
      seed: 1,
    }).compile({ loss: 'mse', device });
    const { output, states: own } = await top.predict(x, { returnStates: true });
    for (const [i, direction] of ['forward', 'backward'].entries()) {
      const h = stateOf({ states: own }, 'bidirectional', `${direction}/h`);
      const half = [0, 1, 2, 3].flatMap((n) => [...output.data.subarray(n * 8 + i * 4, n * 8 + i * 4 + 4)]);
      near(tensor(half, [4, 4]), h);
    }
  });
});

test('batches of a generator, and what is refused', async () => {
  const x = randomSequences(5, 4, 4, 5);
  const model = stack({ inputShape: [null, 4] });
  const whole = await model.predict(x, { returnStates: true });
  function* batches() {
    yield { x: tensor(x.data.slice(0, 48), [3, 4, 4]) };
    yield { x: tensor(x.data.slice(48), [2, 4, 4]) };
  }
  const parts = await model.predict(batches, { returnStates: true });
  near(parts.output, whole.output);
  near(stateOf(parts, 'gru', 'h'), stateOf(whole, 'gru', 'h'));
  await expect(model.predict(x, { returnStates: 1 as unknown as true })).rejects.toThrow(
    'predict: returnStates: expected true or false, got 1.',
  );
  const flat = sequential([layers.dense({ units: 2, inputShape: [3] })]);
  await expect(flat.predict(tensor(new Float32Array(6), [2, 3]), { returnStates: true })).rejects.toThrow(
    'predict: returnStates: expected a model with recurrent layers, got one without states.',
  );
});
