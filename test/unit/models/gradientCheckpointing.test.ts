import {
  type CompileOptions,
  callbacks,
  type GradientReport,
  input,
  layers,
  type Model,
  model,
  type Sequential,
  sequential,
  type Tensor,
} from '../../../lib';
import { lower } from '../../../lib/models/lower';
import { planBytes } from '../../../lib/models/planBytes';
import { refusal } from '../refusal';
import { cut, randomSequences } from './data';

const [N, T, D] = [5, 13, 3];
const x = randomSequences(N, T, D, 1);
const y = randomSequences(N, T, 2, 2);
const lengths = Int32Array.of(13, 2, 0, 9, 6);

type Checkpointing = NonNullable<CompileOptions['gradientCheckpointing']>;
type Options = Partial<CompileOptions>;
const compiled = (own: Sequential, device: string, more: Options = {}): Sequential =>
  own.compile({ loss: 'mse', optimizer: { type: 'sgd', learningRate: 0.1 }, device, threads: 2, ...more });

/** Every kind of mask, variants of cells, learned states, and a stack of several layers fused with the dropout between them. */
const stack = (last: boolean) => {
  const rest = {
    returnSequences: true,
    initialState: 'learned',
    recurrentDropout: 0.2,
    dropout: 0.1,
  } as const;
  return sequential(
    [
      layers.lstm({ units: 5, ...rest, dropout: 0.1, peepholes: true, inputShape: [null, D] }),
      layers.dropout({ rate: 0.3 }),
      layers.gru({
        units: 4,
        ...rest,
        zoneout: 0.3,
        recurrentDropoutMode: 'perStep',
        dropoutMode: 'perStep',
      }),
      layers.dropout({ rate: 0.2 }),
      layers.lstm({ units: 3, ...rest, returnSequences: !last, cellClip: 1, zoneout: 0.2, cellZoneout: 0.4 }),
      layers.dense({ units: 2 }),
    ],
    { seed: 3 },
  );
};
const backwards = () =>
  sequential(
    [
      layers.gru({
        units: 4,
        returnSequences: true,
        goBackwards: true,
        inputShape: [null, D],
        dropout: 0.2,
        zoneout: 0.2,
      }),
      layers.dropout({ rate: 0.3 }),
      layers.simpleRNN({ units: 3, returnSequences: true }),
      layers.bidirectional({ layer: layers.lstm({ units: 2, returnSequences: true }) }),
      layers.dense({ units: 2 }),
    ],
    { seed: 5 },
  );
const lastStep = cut(y, T - 1, T).reshape([N, 2]);

function near(a: ReadonlyMap<string, Tensor>, b: ReadonlyMap<string, Tensor>, limit: number): void {
  expect([...a.keys()]).toEqual([...b.keys()]);
  for (const [name, { data }] of a) {
    const other = b.get(name)?.data as Tensor['data'];
    const scale = Math.max(...other.map(Math.abs), 1e-3);
    for (const [i, v] of data.entries())
      expect([name, Math.abs(v - (other[i] as number)) <= limit * scale]).toEqual([name, true]);
  }
}

describe.each([
  [process.env['DEEPRNN_DEVICE'] ?? 'cpu', 2e-6],
  ['reference', 1e-12],
] as const)('on %s', (device, limit) => {
  const cases: [string, () => Sequential, Tensor][] = [
    ['a stack', () => stack(false), y],
    ['a stack that gives its last step', () => stack(true), lastStep],
    ['backwards and both ways', backwards, y],
  ];
  const ways: Checkpointing[] = [{ steps: 4 }, { segments: 2 }, { steps: 1 }, true];
  describe.each(cases)('%s', (_, make, targets) => {
    test.each(ways.flatMap((way) => [{}, { lengths }].map((given) => [way, given] as const)))(
      'gradients with %j and %j are those of the whole',
      async (gradientCheckpointing, given) => {
        const whole = await compiled(make(), device).computeGradients(x, targets, given);
        const own = compiled(make(), device, { gradientCheckpointing });
        const parts = await own.computeGradients(x, targets, given);
        expect(parts.loss).toBeCloseTo(whole.loss, 6);
        near(parts.gradients, whole.gradients, limit);
      },
    );
  });

  test('training goes the same way', async () => {
    const whole = compiled(stack(false), device, { metrics: ['mae'] });
    const parts = compiled(stack(false), device, { metrics: ['mae'], gradientCheckpointing: { steps: 5 } });
    const options = { epochs: 3, batchSize: 2, lengths };
    const histories = [await whole.fit(x, y, options), await parts.fit(x, y, options)];
    for (const [i, loss] of (histories[0]?.history['loss'] ?? []).entries())
      expect(histories[1]?.history['loss']?.[i]).toBeCloseTo(loss, 5);
    near(await parts.getWeights(), await whole.getWeights(), 10 * limit);
    expect(await parts.predict(x)).toEqual(await parts.predict(x, { batchSize: 3 }));
  });

  test('step norms are whole', async () => {
    const reports: GradientReport[] = [];
    for (const gradientCheckpointing of [false, { steps: 4 }]) {
      const own = compiled(backwards(), device, { gradientCheckpointing });
      const look = { gradientsEvery: 1, onGradients: (report: GradientReport) => void reports.push(report) };
      await own.fit(x, y, { batchSize: N, shuffle: false, callbacks: [look] });
    }
    const [whole, parts] = reports as [GradientReport, GradientReport];
    expect(Object.keys(parts.steps)).toEqual(Object.keys(whole.steps));
    for (const [name, norms] of Object.entries(whole.steps)) {
      expect(parts.steps[name]?.length).toBe(T);
      for (const [t, norm] of norms.entries()) expect(parts.steps[name]?.[t]).toBeCloseTo(norm, 6);
    }
  });
});

test('states that go on to other layers, a residual branch and frozen layers', async () => {
  const made = (gradientCheckpointing: Checkpointing): Model => {
    const source = input({ shape: [null, D] });
    const encoder = layers.lstm({ units: 4, returnSequences: true, returnState: true });
    const [read, h, c] = encoder.applyAll(source) as [never, never, never];
    const frozen = layers.gru({ units: 4, returnSequences: true, trainable: false }).apply(read);
    const decoded = layers.lstm({ units: 4, returnSequences: true }).apply([source, h, c]);
    const sum = layers.add().apply([read, decoded, frozen]);
    const shared = layers.gru({ units: 4, returnSequences: true });
    return model({
      inputs: source,
      outputs: layers.dense({ units: 2 }).apply(shared.apply(shared.apply(sum))),
      seed: 7,
    }).compile({ loss: 'mse', gradientCheckpointing });
  };
  const whole = await made(false).computeGradients(x, y);
  const parts = await made({ steps: 3 }).computeGradients(x, y);
  expect(parts.loss).toBeCloseTo(whole.loss, 6);
  near(parts.gradients, whole.gradients, 2e-6);
});

test('a stateful model carries the states of the last segment', async () => {
  const made = (gradientCheckpointing: Checkpointing) =>
    compiled(
      sequential(
        [
          layers.lstm({ units: 4, returnSequences: true, stateful: true, batchInputShape: [N, null, D] }),
          layers.dense({ units: 2 }),
        ],
        { seed: 2 },
      ),
      process.env['DEEPRNN_DEVICE'] ?? 'cpu',
      { gradientCheckpointing },
    );
  const [whole, parts] = [made(false), made({ steps: 5 })];
  for (const own of [whole, parts]) for (let i = 0; i < 2; i++) await own.trainOnBatch(x, y);
  near(await parts.getWeights(), await whole.getWeights(), 1e-5);
});

test('memory grows with the square root of the number of steps, not with the number', () => {
  const bytes = (steps: number, gradientCheckpointing: Checkpointing) => {
    const own = sequential([
      layers.lstm({ units: 32, returnSequences: true, inputShape: [null, 1] }),
      layers.lstm({ units: 32 }),
      layers.dense({ units: 1 }),
    ]);
    own.compile({ loss: 'mse', gradientCheckpointing });
    const request = {
      mode: 'train',
      inputShapes: [[1, steps, 1]],
      weighted: [],
      initialStates: [],
      gradientNorms: false,
    } as const;
    return planBytes(lower(own.recipe(), request).plan, 4);
  };
  expect(bytes(6400, false) / bytes(400, false)).toBeGreaterThan(10);
  expect(bytes(6400, true) / bytes(400, true)).toBeLessThan(5);
  expect(bytes(6400, true)).toBeLessThan(bytes(6400, false) / 20);
});

test('gradientHealth and the summary take it', async () => {
  const health = callbacks.gradientHealth({ report: 'none' });
  const own = compiled(stack(false), 'cpu', { gradientCheckpointing: { segments: 3 } });
  await own.fit(x, y, { callbacks: [health] });
  expect(health.summary().reports).toBeGreaterThan(0);
  const megabytes = (text: string) => Number(/train ([\d.]+) MiB/.exec(text)?.[1]);
  const whole = compiled(stack(false), 'cpu').summary({ batchSize: 2, steps: 4000 });
  // One stack, with the masks between its layers.
  expect(own.summary()).toContain('lstm + gru + lstm_1');
  expect(megabytes(own.summary({ batchSize: 2, steps: 4000 }))).toBeLessThan(0.7 * megabytes(whole));
});

test('a recurrence that is cut nowhere is refused, and not kept whole in silence', async () => {
  const own = sequential([
    layers.gru({ units: 4, layerNormalization: true, name: 'normal', inputShape: [null, 3] }),
    layers.dense({ units: 2 }),
  ]);
  own.compile({ loss: 'mse', gradientCheckpointing: true });
  const sequences = layers.gru({
    units: 4,
    layerNormalization: true,
    returnSequences: true,
    inputShape: [null, 3],
  });
  const named = sequential([sequences, layers.dense({ units: 2 })]);
  named.compile({ loss: 'mse', gradientCheckpointing: { steps: T } });
  // One segment is no cut.
  await named.trainOnBatch(x, y);
  expect(await refusal(() => own.trainOnBatch(x, randomSequences(N, 1, 2, 9).reshape([N, 2])))).toBe(
    "ERR_VALUE layer 'normal': expected a recurrence that fuses into a stack, for gradientCheckpointing, got a cell that goes from step to step by a program. Train it with fit({ truncatedBPTT }), in memory that does not grow with the steps.",
  );
});

test.each<[unknown, string]>([
  [{}, 'gradientCheckpointing: expected steps or segments, got neither.'],
  [{ steps: 3, segments: 2 }, 'gradientCheckpointing: expected steps or segments, got both.'],
  [{ steps: 0 }, 'gradientCheckpointing: steps: expected a positive integer, got 0.'],
  [{ segments: 1.5 }, 'gradientCheckpointing: segments: expected a positive integer, got 1.5.'],
  [{ length: 3 }, "gradientCheckpointing: unknown option 'length'. It takes steps, segments."],
  [7, 'gradientCheckpointing: expected true, { steps } or { segments }, got 7.'],
])('%j is refused', async (given, message) => {
  const work = () => compiled(stack(false), 'cpu', { gradientCheckpointing: given as never });
  expect(await refusal(work)).toBe(`ERR_VALUE compile: ${message}`);
});
