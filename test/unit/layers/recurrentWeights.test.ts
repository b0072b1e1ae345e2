import { type Layer, layers, losses, type Sequential, sequential, type Tensor, tensor } from '../../../lib';
import { chain } from '../../../lib/models/graph';
import { lower } from '../../../lib/models/lower';
import { randomSequences } from '../models/data';
import { Draws } from '../reference/gradientCheck';
import { real, runOp, scalar } from '../reference/runOp';
import { expectSlopes } from './slopes';

const [N, T, D, H] = [4, 5, 3, 6];
const x = randomSequences(N, T, D, 1);
const y = tensor(
  Float32Array.from({ length: N }, (_, i) => Math.sin(i)),
  [N, 1],
);

const compiled = (stack: Layer[], device = 'reference'): Sequential =>
  sequential([...stack, layers.dense({ units: 1 })], { seed: 3 }).compile({
    loss: 'mse',
    optimizer: { type: 'sgd', learningRate: 0.05 },
    device,
  });

/** The ops of a plan that computes a model's gradients. */
function opsOf({ layers }: Sequential) {
  const graph = chain({ dtype: 'real', shape: [T, D], sequence: true }, layers);
  return lower(
    { layers, graph, seed: 1, losses: [losses.meanSquaredError()] },
    { mode: 'gradients', inputShapes: [[N, T, D]], weighted: [], initialStates: [], gradientNorms: false },
  ).plan.ops;
}

const cells = ['simpleRNN', 'lstm', 'gru'] as const;

/** The options that change weights while training, and what each makes of a weight that draws from the stream of its purpose. */
const options = {
  recurrentWeightDropout: {
    given: { recurrentWeightDropout: 0.4 },
    changed: { recurrentKernel: 6 },
    op: 'dropout',
    attrs: { mode: 'element', rate: 0.4 },
  },
  weightNoise: {
    given: { weightNoise: 0.1 },
    changed: { kernel: 8, recurrentKernel: 9 },
    op: 'noise',
    attrs: { stddev: 0.1 },
  },
} as const;

describe.each(Object.entries(options))('%s', (_, { given, changed, op, attrs }) => {
  describe.each(cells)('of %s', (cell) => {
    const layer = (more: object = {}) => layers[cell]({ name: 'rnn', units: H, inputShape: [T, D], ...more });

    test.each(['cpu', 'reference'])('is off outside training on %s', async (device) => {
      const [changing, plain] = [compiled([layer(given)], device), compiled([layer()], device)];
      expect((await changing.predict(x)).data).toEqual((await plain.predict(x)).data);
      expect(await changing.evaluate(x, y)).toEqual(await plain.evaluate(x, y));
    });

    test('is training at the changed weights', async () => {
      const [changing, plain] = [compiled([layer(given)]), compiled([layer()])];
      const weights = new Map(await plain.getWeights());
      const factors = new Map<string, Float64Array>();
      for (const [weight, stream] of Object.entries(changed)) {
        const name = `rnn/${weight}`;
        const { data, shape } = weights.get(name) as Tensor;
        const draw = (values: ArrayLike<number>) =>
          runOp(op, { ...attrs, seed: 3, stream } as never, [
            real([...Array.from(values)], [...shape]),
            scalar(0),
          ])[0];
        weights.set(name, tensor(draw(data) as Float64Array, shape));
        factors.set(name, op === 'dropout' ? (draw(data.map(() => 1)) as Float64Array) : new Float64Array());
      }
      const found = await changing.computeGradients(x, y);
      await plain.setWeights(weights);
      const wanted = await plain.computeGradients(x, y);
      expect(found.loss).toBeCloseTo(wanted.loss, 12);
      for (const [name, gradient] of wanted.gradients) {
        const own = factors.get(name);
        found.gradients.get(name)?.data.forEach((g, i) => {
          expect(g).toBeCloseTo((gradient.data[i] as number) * (own?.[i] ?? 1), 12);
        });
      }
    });

    test('has gradients that are the slopes of the loss', async () => {
      const draws = new Draws();
      const model = compiled([layer({ ...given, recurrentRegularizer: 'l2', recurrentDropout: 0.2 })]);
      await expectSlopes(
        model,
        tensor(draws.normals(N * T * D), [N, T, D]),
        tensor(draws.normals(N), [N, 1]),
        draws,
      );
    });

    test('trains on the CPU engine as on the reference, each batch with a draw of its own', async () => {
      const found = [];
      for (const device of ['cpu', 'reference']) {
        const bidirectional = layers.bidirectional({
          layer: layers[cell]({ units: H, returnSequences: true, ...given }),
          inputShape: [T, D],
        });
        const model = compiled([bidirectional, layers[cell]({ units: 4, ...given })], device);
        const losses: number[] = [];
        for (let i = 0; i < 6; i++) losses.push((await model.trainOnBatch(x, y)).loss as number);
        found.push({ losses, weights: [...(await model.getWeights()).values()] });
      }
      const [cpu, reference] = found;
      expect(new Set(cpu?.losses).size).toBe(6);
      cpu?.losses.forEach((loss, i) => {
        expect(loss).toBeCloseTo(reference?.losses[i] as number, 4);
      });
      cpu?.weights.forEach(({ data }, w) => {
        data.forEach((v, i) => {
          expect(v).toBeCloseTo(reference?.weights[w]?.data[i] as number, 4);
        });
      });
    });
  });

  test('leaves neighbouring layers in one stack, and draws for every weight by itself', () => {
    const model = sequential([
      layers.lstm({ units: H, returnSequences: true, inputShape: [T, D], ...given }),
      layers.gru({ units: 5, returnSequences: true, ...given }),
      layers.simpleRNN({ units: 4, returnSequences: true, ...given }),
      layers.bidirectional({ layer: layers.lstm({ units: 3, ...given }) }),
    ]);
    const ops = opsOf(model);
    const stacks = ops.flatMap((o) => (o.kind === 'rnnStack' ? [o.attrs.layers.length] : []));
    // The layer that reads forwards goes on in the stack below it.
    expect(stacks.sort()).toEqual([1, 4]);
    // The gradient of dropout draws once more.
    const drawn = ops.flatMap((o) => (o.kind === 'dropout' || o.kind === 'noise' ? [o.attrs.stream] : []));
    expect(new Set(drawn).size).toBe(5 * Object.keys(changed).length);
  });
});

test('noise is added to the recurrent kernel before its mask', () => {
  const both = { recurrentWeightDropout: 0.4, weightNoise: 0.1 };
  const ops = opsOf(sequential([layers.lstm({ units: H, inputShape: [T, D], ...both })]));
  const [kernelNoise, noise, dropout, stack] = ops.filter(({ kind }) =>
    /^(noise|dropout|rnnStack)$/.test(kind),
  );
  expect(dropout?.inputs[0]).toBe(noise?.outputs[0]);
  expect(stack?.inputs.slice(3, 5)).toEqual([kernelNoise?.outputs[0], dropout?.outputs[0]]);
});
