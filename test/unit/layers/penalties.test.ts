import fc from 'fast-check';
import {
  type Callback,
  constraints,
  type GradientReport,
  layers,
  losses,
  optimizers,
  regularizers,
  type Sequential,
  sequential,
  type Tensor,
} from '../../../lib';
import { resolveConstraint } from '../../../lib/layers/constraints';
import { resolveRegularizer } from '../../../lib/layers/regularizers';
import type { Graph } from '../../../lib/models/graph';
import { lower } from '../../../lib/models/lower';
import type { Plan, PlanOp } from '../../../lib/plan/types';
import { randomSequences } from '../models/data';

const x = [
  [0.5, -1.25, 2],
  [1.5, 0.75, -0.5],
];
const y = [
  [0.25, -0.5],
  [1, 0.125],
];

const compile = (model: Sequential, device: string, learningRate = 0.1) =>
  model.compile({ loss: 'mse', optimizer: { type: 'sgd', learningRate }, device });
const sum = (values: ArrayLike<number>, of: (v: number) => number) =>
  Array.from(values).reduce((total, v) => total + of(v), 0);
const weight = (weights: Map<string, Tensor>, name: string) => weights.get(name)?.data as Float32Array;

describe.each([
  ['reference', 1e-12],
  ['cpu', 1e-5],
])('regularizers on the %s device', (device, tolerance) => {
  const close = (actual: number, wanted: number) =>
    expect(Math.abs(actual - wanted)).toBeLessThan(tolerance * Math.max(1, Math.abs(wanted)));

  test('add l1·Σ|w| + l2·Σw² of their weight to the loss', async () => {
    const options = { units: 2, inputShape: [3], biasInitializer: 'randomNormal', name: 'd' } as const;
    const plain = compile(sequential([layers.dense(options)], { seed: 4 }), device);
    const penalized = compile(
      sequential(
        [
          layers.dense({
            ...options,
            kernelRegularizer: regularizers.l1l2({ l1: 0.3, l2: 0.07 }),
            biasRegularizer: regularizers.l2(0.5),
          }),
        ],
        { seed: 4 },
      ),
      device,
    );
    const weights = await plain.getWeights();
    const [kernel, bias] = [weight(weights, 'd/kernel'), weight(weights, 'd/bias')];
    const penalty =
      0.3 * sum(kernel, Math.abs) + 0.07 * sum(kernel, (w) => w * w) + 0.5 * sum(bias, (w) => w * w);
    const before = await plain.computeGradients(x, y);
    const after = await penalized.computeGradients(x, y);
    close(after.loss - before.loss, penalty);
    close((await penalized.evaluate(x, y))['loss'] as number, before.loss + penalty);
    kernel.forEach((w, i) => {
      const extra = 0.3 * Math.sign(w) + 2 * 0.07 * w;
      close(
        weight(after.gradients, 'd/kernel')[i] as number,
        (weight(before.gradients, 'd/kernel')[i] as number) + extra,
      );
    });
    bias.forEach((w, i) => {
      close(
        weight(after.gradients, 'd/bias')[i] as number,
        (weight(before.gradients, 'd/bias')[i] as number) + w,
      );
    });
  });

  test('on the output count per example, whatever the batch size', async () => {
    const make = (activityRegularizer: string | null) =>
      compile(
        sequential(
          [layers.simpleRNN({ units: 4, returnSequences: true, inputShape: [3, 1], activityRegularizer })],
          { seed: 2 },
        ),
        device,
      );
    const sequences = x.map((row) => row.map((v) => [v]));
    const targets = sequences.map((steps) => steps.map(() => [0, 0, 0, 0]));
    const [plain, penalized] = [make(null), make('l1')];
    const output = await plain.predict(sequences);
    const expected = (0.01 * sum(output.data, Math.abs)) / 2;
    const base = (await plain.evaluate(sequences, targets))['loss'] as number;
    for (const batchSize of [1, 2]) {
      close(
        ((await penalized.evaluate(sequences, targets, { batchSize }))['loss'] as number) - base,
        expected,
      );
    }
  });

  test('on the output of a dense layer too', async () => {
    const make = (activityRegularizer: string | null) =>
      compile(
        sequential([layers.dense({ units: 2, inputShape: [3], activityRegularizer })], { seed: 2 }),
        device,
      );
    const [plain, penalized] = [make(null), make('l2')];
    const output = await plain.predict(x);
    const expected = (0.01 * sum(output.data, (v) => v * v)) / 2;
    for (const batchSize of [1, 2]) {
      const [with_, without] = [await penalized.evaluate(x, y, { batchSize }), await plain.evaluate(x, y)];
      close((with_['loss'] as number) - (without['loss'] as number), expected);
    }
  });

  test('of a frozen layer say nothing', async () => {
    const frozen = sequential(
      [layers.dense({ units: 2, inputShape: [3], kernelRegularizer: 'l2', trainable: false })],
      { seed: 4 },
    );
    const free = sequential([layers.dense({ units: 2, inputShape: [3] })], { seed: 4 });
    const of = async (model: Sequential) => (await compile(model, device).evaluate(x, y))['loss'];
    expect(await of(frozen)).toBe(await of(free));
  });
});

/** A stack with regularizers on some of its weights and on its output. */
const regularized = (seed: number) =>
  sequential(
    [
      layers.lstm({
        units: 4,
        inputShape: [3, 2],
        kernelRegularizer: regularizers.l2(0.5),
        recurrentRegularizer: regularizers.l1l2({ l1: 0.3, l2: 0.2 }),
      }),
      layers.dense({
        units: 2,
        kernelRegularizer: regularizers.l1(0.4),
        activityRegularizer: regularizers.l2(0.3),
      }),
    ],
    { seed },
  );

test('training plans leave the penalties of weights to the update, others differentiate them', () => {
  const { layers, graph } = regularized(1);
  const planOf = (mode: 'train' | 'gradients', gradientNorms = false) =>
    lower(
      {
        layers,
        graph: graph as Graph,
        seed: 1,
        losses: [losses.meanSquaredError()],
        optimizer: optimizers.adam(),
      },
      { mode, inputShapes: [[2, 3, 2]], weighted: [], initialStates: [], gradientNorms },
    ).plan;
  const penalized = (plan: Plan) =>
    plan.ops.flatMap(({ kind, inputs }) =>
      kind === 'penaltyGrad' ? (plan.values[inputs[0] as number]?.role as string) : [],
    );
  for (const gradientNorms of [false, true]) {
    const plan = planOf('train', gradientNorms);
    // That of the dense layer's output is no gradient of a weight.
    expect(penalized(plan)).toEqual(['arena']);
    expect(plan.ops.filter(({ kind }) => kind === 'penalty')).toHaveLength(4);
    const update = plan.ops.find(({ kind }) => kind === 'update') as PlanOp<'update'>;
    expect(update.attrs.penalties?.map((p) => p && [p.l1, p.l2])).toEqual([
      [0, 0.5],
      [0.3, 0.2],
      undefined,
      [0.4, 0],
      undefined,
    ]);
  }
  expect(penalized(planOf('gradients')).sort()).toEqual(['arena', 'variable', 'variable', 'variable']);
  // The norms of a report without training are those of the data's loss.
  expect(penalized(planOf('gradients', true))).toEqual([]);
});

describe.each([
  ['reference', 1e-12],
  ['cpu', 1e-6],
])('regularized training on the %s device', (device, tolerance) => {
  const batches = [1, 2].map((seed) => ({
    x: randomSequences(5, 3, 2, seed),
    y: Array.from({ length: 5 }, (_, n) => [Math.sin(n + seed), Math.cos(3 * n)]),
  }));
  type Values = Map<string, number[]>;
  const plain = (weights: ReadonlyMap<string, Tensor>): Values =>
    new Map([...weights].map(([name, { data }]) => [name, Array.from(data)]));
  const norm = (values: readonly number[]) => Math.hypot(...values);
  const clips: { options: object; factor: (own: number, global: number) => number; limit?: number }[] = [
    { options: {}, factor: () => 1 },
    { options: { clipValue: 0.2 }, factor: () => 1, limit: 0.2 },
    { options: { clipNorm: 0.5 }, factor: (own) => Math.min(1, 0.5 / own) },
    { options: { globalClipNorm: 0.7 }, factor: (_, global) => Math.min(1, 0.7 / global) },
  ];
  const cases = clips.flatMap((clip) => [1, 2].map((steps) => ({ ...clip, steps })));

  test.each(cases)('is of the whole loss: $options, $steps step(s) an update', async (c) => {
    const sgd = optimizers.sgd({
      learningRate: 0.1,
      ...c.options,
      ...(c.steps > 1 ? { gradientAccumulationSteps: c.steps } : {}),
    });
    const model = regularized(3).compile({ loss: 'mse', optimizer: sgd, device });
    const used = batches.slice(0, c.steps);
    const gradients = await Promise.all(
      used.map(async ({ x, y }) => plain((await model.computeGradients(x, y)).gradients)),
    );
    const weights = plain(await model.getWeights());
    for (const { x, y } of used) await model.trainOnBatch(x, y);
    const mean = (name: string, i: number) =>
      gradients.reduce((sum, g) => sum + (g.get(name) as number[])[i]!, 0) / c.steps;
    const means = new Map([...weights].map(([name, w]) => [name, w.map((_, i) => mean(name, i))]));
    const global = norm([...means.values()].map(norm));
    for (const [name, after] of plain(await model.getWeights())) {
      const g = means.get(name) as number[];
      const limit = c.limit ?? Number.POSITIVE_INFINITY;
      after.forEach((w, i) => {
        const step = 0.1 * Math.max(-limit, Math.min(limit, g[i]! * c.factor(norm(g), global)));
        expect(Math.abs(w - (weights.get(name)![i]! - step))).toBeLessThan(tolerance);
      });
    }
  });

  test('reports the gradient norms of the whole loss, and trains the same by it', async () => {
    const make = () => regularized(3).compile({ loss: 'mse', optimizer: 'adam', device });
    const [silent, watched] = [make(), make()];
    const { x, y } = batches[0]!;
    const gradients = plain((await watched.computeGradients(x, y)).gradients);
    const reports: GradientReport[] = [];
    const watcher: Callback = {
      gradientsEvery: 1,
      onGradients: (report) => {
        reports.push(report);
      },
    };
    await watched.fit(x, y, { epochs: 1, batchSize: 5, callbacks: [watcher] });
    await silent.fit(x, y, { epochs: 1, batchSize: 5 });
    expect(plain(await watched.getWeights())).toEqual(plain(await silent.getWeights()));
    for (const [name, g] of gradients)
      expect(reports[0]!.weights[name]).toBeCloseTo(norm(g), device === 'reference' ? 12 : 5);
  });
});

describe.each(['reference', 'cpu'])('constraints on the %s device', (device) => {
  /** Trains one step and gives the kernel [3, 2] with and without the constraint. */
  async function kernels(kernelConstraint: object | string): Promise<[free: number[], bound: number[]]> {
    const step = async (constraint: object | string | null) => {
      const model = sequential(
        [layers.dense({ units: 2, inputShape: [3], name: 'd', kernelConstraint: constraint as never })],
        { seed: 8 },
      );
      await compile(model, device).trainOnBatch(x, y);
      return Array.from(weight(await model.getWeights(), 'd/kernel'));
    };
    return [await step(null), await step(kernelConstraint)];
  }

  const norms = (kernel: readonly number[], axis: number) =>
    axis === 0
      ? [0, 1].map((c) => Math.hypot(...[0, 1, 2].map((r) => kernel[2 * r + c] as number)))
      : [0, 1, 2].map((r) => Math.hypot(kernel[2 * r] as number, kernel[2 * r + 1] as number));

  test.each([0, 1])('maxNorm scales what is longer along axis %i, and leaves the rest', async (axis) => {
    const [free] = await kernels('nonNeg');
    const sorted = norms(free, axis).sort((a, b) => a - b);
    const maxValue = ((sorted[0] as number) + (sorted[1] as number)) / 2;
    const [, bound] = await kernels(constraints.maxNorm({ maxValue, axis }));
    const lengths = norms(free, axis);
    free.forEach((w, i) => {
      const norm = lengths[axis === 0 ? i % 2 : Math.floor(i / 2)] as number;
      expect(bound[i]).toBeCloseTo(w * Math.min(1, maxValue / norm), 6);
    });
    expect(Math.max(...norms(bound, axis))).toBeCloseTo(maxValue, 5);
  });

  test.each([0, 1])('unitNorm along axis %i', async (axis) => {
    const [free, bound] = await kernels(constraints.unitNorm({ axis }));
    for (const norm of norms(bound, axis)) expect(norm).toBeCloseTo(1, 5);
    const lengths = norms(free, axis);
    free.forEach((w, i) => {
      expect(bound[i]).toBeCloseTo(w / (lengths[axis === 0 ? i % 2 : Math.floor(i / 2)] as number), 5);
    });
  });

  test('nonNeg', async () => {
    const [free, bound] = await kernels('nonNeg');
    expect(free.some((w) => w < 0)).toBe(true);
    expect(bound).toEqual(free.map((w) => Math.max(w, 0)));
  });
});

describe('configurations', () => {
  test('a number is short for the option', () => {
    expect(regularizers.l1(0.02)).toMatchObject({ l1: 0.02, l2: 0 });
    expect(regularizers.l2(0.03)).toMatchObject({ l1: 0, l2: 0.03 });
    expect(regularizers.l1(0)).toMatchObject({ l1: 0, l2: 0 });
    expect(regularizers.l1(0.02).getConfig()).toEqual(regularizers.l1({ l1: 0.02 }).getConfig());
    expect(regularizers.l2(0.03).getConfig()).toEqual({ type: 'l2', l2: 0.03 });
  });

  test('defaults are Keras’s', () => {
    expect(regularizers.l1().getConfig()).toEqual({ type: 'l1', l1: 0.01 });
    expect(regularizers.l2().getConfig()).toEqual({ type: 'l2', l2: 0.01 });
    expect(regularizers.l1l2().getConfig()).toEqual({ type: 'l1l2', l1: 0, l2: 0 });
    expect(constraints.maxNorm().getConfig()).toEqual({ type: 'maxNorm', maxValue: 2, axis: 0 });
    expect(constraints.unitNorm().getConfig()).toEqual({ type: 'unitNorm', axis: 0 });
  });

  test('are read back, in either spelling', () => {
    const positive = fc.double({ min: 1e-6, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(positive, positive, fc.constantFrom(0, 1), (a, b, axis) => {
        for (const made of [regularizers.l1(a), regularizers.l2(b), regularizers.l1l2({ l1: a, l2: b })]) {
          const again = resolveRegularizer(JSON.parse(JSON.stringify(made.getConfig())), 'test');
          expect(again?.getConfig()).toEqual(made.getConfig());
          expect([again?.l1, again?.l2]).toEqual([made.l1, made.l2]);
        }
        expect(resolveConstraint({ type: 'MaxNorm', max_value: a, axis }, 'test')).toMatchObject({
          kind: 'maxNorm',
          limit: a,
          axis,
        });
        expect(resolveRegularizer({ type: 'l1_l2', l1: a }, 'test')).toMatchObject({ l1: a, l2: 0 });
      }),
      { numRuns: 30 },
    );
    expect(resolveConstraint('non_neg', 'test')?.kind).toBe('nonNeg');
    expect(resolveConstraint(null, 'test')).toBeUndefined();
    expect(resolveRegularizer(undefined, 'test')).toBeUndefined();
  });
});
