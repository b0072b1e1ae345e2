import { input, layers, model, sequential } from '../../../lib';
import { refusal } from '../refusal';

test('a stack: layers, fused stacks, memory', () => {
  const stack = sequential(
    [
      layers.lstm({ units: 4, returnSequences: true, inputShape: [null, 3] }),
      layers.gru({ units: 2 }),
      layers.dense({ units: 1, trainable: false }),
    ],
    { name: 'stack' },
  );
  expect(stack.summary()).toBe(
    [
      'Model: stack',
      '───────────────────────────────────────',
      'layer (type)   output shape  parameters',
      '───────────────────────────────────────',
      'lstm (lstm)    [N, any, 4]          128',
      'gru (gru)      [N, 2]                48',
      'dense (dense)  [N, 1]                 3',
      '───────────────────────────────────────',
      'parameters: 179 (176 trainable, 3 not)',
      'fused into one stack: lstm + gru',
    ].join('\n'),
  );
  const memory = (steps: number) =>
    Number(/predict ([\d.]+) MiB/.exec(stack.summary({ batchSize: 512, steps }))?.[1]);
  // What a step takes is the same for each.
  expect(memory(300) - memory(200)).toBeCloseTo(memory(200) - memory(100), 0);
  expect(memory(300)).toBeGreaterThan(2 * memory(100));
  stack.compile({ loss: 'mse', optimizer: 'adam' });
  expect(stack.summary({ batchSize: 8, steps: 10 }).split('\n').at(-1)).toMatch(
    /^memory for x \[8, 10, 3\]: predict \d+\.\d{3} MiB, train \d+\.\d{3} MiB; weights 0\.001 MiB, optimizer 0\.001 MiB$/,
  );
});

test('branches: what each layer reads, and a layer used twice', () => {
  const source = input({ shape: [5, 4], name: 'source' });
  const own = layers.dense({ units: 4, name: 'own' });
  const outputs = layers.add().apply([own.apply(own.apply(source)), source]);
  expect(model({ inputs: source, outputs, name: 'branches' }).summary().split('\n').slice(4, 8)).toEqual([
    'source (input)  [N, 5, 4]              0',
    'own (dense)     [N, 5, 4]             20  source',
    'own (dense)     [N, 5, 4]         shared  own',
    'add (add)       [N, 5, 4]              0  own, source',
  ]);
});

test('a model whose shapes leave features open, and options that are none', async () => {
  const open = sequential([layers.activation({ activation: 'tanh', inputShape: [3, null] })]);
  expect(open.summary({ batchSize: 2 })).toMatch(/known only when the shape of the inputs is$/);
  expect(await refusal(() => open.summary({ batchSize: 0 }))).toBe(
    'ERR_VALUE summary: batchSize: expected a positive integer, got 0.',
  );
});
