import fc from 'fast-check';
import { layers, optimizers, Philox, schedules, sequential, type Tensor } from '../../lib';
import type { Optimizer } from '../../lib/optimizers/optimizer';

const { sqrt, max, min, sign, abs } = Math;
const STEPS = 5;
const [R, D, U] = [4, 3, 2];

/** A new value of one element from its gradient; t counts from 1. `decayed` says whether weight decay applies to it. */
type Rule = (p: number, g: number, t: number, decayed: boolean) => number;

/** The papers' rules, one element at a time, each call with moments of its own that start where the paper says. */
const papers = {
  sgd:
    ({ lr = 0.01, weightDecay = 0 }): Rule =>
    (p, g, _t, decayed) =>
      p - lr * (decayed ? weightDecay * p : 0) - lr * g,

  // Sutskever et al. (2013), equations 1 and 2; Nesterov's written as the look-ahead p + μv − εg.
  momentum: ({ lr = 0.01, momentum = 0.9, nesterov = false }): Rule => {
    let v = 0;
    return (p, g) => {
      v = momentum * v - lr * g;
      return nesterov ? p + momentum * v - lr * g : p + v;
    };
  },

  // Tieleman & Hinton (2012); centered after Graves (2013), equations 38 to 40.
  rmsprop: ({
    lr = 0.001,
    rho = 0.9,
    momentum = 0,
    epsilon = 1e-7,
    centered = false,
    weightDecay = 0,
  }): Rule => {
    let [n, mean, delta] = [0, 0, 0];
    return (p, g, _t, decayed) => {
      n = rho * n + (1 - rho) * g * g;
      mean = rho * mean + (1 - rho) * g;
      delta = momentum * delta - (lr * g) / sqrt(n - (centered ? mean * mean : 0) + epsilon);
      return p - (decayed ? lr * weightDecay * p : 0) + delta;
    };
  },

  // Kingma & Ba (2015), algorithm 1, whose ε̂ = ε / √(1−β₂ᵗ) keeps the ε of their section 2; AMSGrad after Reddi et al. (2018);
  // decay after Loshchilov & Hutter (2019), algorithm 2.
  adam: ({
    lr = 0.001,
    beta1 = 0.9,
    beta2 = 0.999,
    epsilon = 1e-7,
    amsgrad = false,
    weightDecay = 0,
  }): Rule => {
    let [m, v, largest] = [0, 0, 0];
    return (p, g, t, decayed) => {
      m = beta1 * m + (1 - beta1) * g;
      v = beta2 * v + (1 - beta2) * g * g;
      largest = max(largest, v);
      const corrected = (amsgrad ? largest : v) / (1 - beta2 ** t);
      const step = m / (1 - beta1 ** t) / (sqrt(corrected) + epsilon / sqrt(1 - beta2 ** t));
      return p - lr * step - (decayed ? lr * weightDecay * p : 0);
    };
  },

  // Duchi et al. (2011).
  adagrad: ({ lr = 0.001, initial = 0.1, epsilon = 1e-7, weightDecay = 0 }): Rule => {
    let sum = Math.fround(initial); // Every device starts from float32 values.
    return (p, g, _t, decayed) => {
      sum += g * g;
      return p - (decayed ? lr * weightDecay * p : 0) - (lr * g) / sqrt(sum + epsilon);
    };
  },

  // Dozat (2016), algorithm 2, with his momentum schedule μ_t = β₁ (1 − ½·0.96ᵗ).
  nadam: ({ lr = 0.001, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7, weightDecay = 0 }): Rule => {
    const mu = (t: number) => beta1 * (1 - 0.5 * 0.96 ** t);
    const product = (t: number): number => (t === 0 ? 1 : product(t - 1) * mu(t));
    let [m, v] = [0, 0];
    return (p, g, t, decayed) => {
      m = beta1 * m + (1 - beta1) * g;
      v = beta2 * v + (1 - beta2) * g * g;
      const mHat = (mu(t + 1) * m) / (1 - product(t + 1)) + ((1 - mu(t)) * g) / (1 - product(t));
      const vHat = v / (1 - beta2 ** t);
      return p - (lr * mHat) / (sqrt(vHat) + epsilon) - (decayed ? lr * weightDecay * p : 0);
    };
  },

  // Kingma & Ba (2015), algorithm 2, with the epsilon that Keras adds to the norm.
  adamax: ({ lr = 0.001, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7 }): Rule => {
    let [m, u] = [0, 0];
    return (p, g, t) => {
      m = beta1 * m + (1 - beta1) * g;
      u = max(beta2 * u, abs(g));
      return p - ((lr / (1 - beta1 ** t)) * m) / (u + epsilon);
    };
  },

  // Chen et al. (2023), algorithm 2.
  lion: ({ lr = 0.001, beta1 = 0.9, beta2 = 0.99, weightDecay = 0 }): Rule => {
    let m = 0;
    return (p, g, _t, decayed) => {
      const update = sign(beta1 * m + (1 - beta1) * g);
      m = beta2 * m + (1 - beta2) * g;
      return p - lr * (update + (decayed ? weightDecay * p : 0));
    };
  },

  // Zeiler (2012), algorithm 1.
  adadelta: ({ lr = 0.001, rho = 0.95, epsilon = 1e-7 }): Rule => {
    let [gradients, steps] = [0, 0];
    return (p, g) => {
      gradients = rho * gradients + (1 - rho) * g * g;
      const step = (-sqrt(steps + epsilon) / sqrt(gradients + epsilon)) * g;
      steps = rho * steps + (1 - rho) * step * step;
      return p + lr * step;
    };
  },

  // McMahan et al. (2013), algorithm 1, where alpha is the learning rate.
  ftrl: ({ lr = 0.001, initial = 0.1, l1 = 0, l2 = 0, beta = 0 }): Rule => {
    let [n, z] = [Math.fround(initial), 0];
    return (p, g) => {
      const sigma = (sqrt(n + g * g) - sqrt(n)) / lr;
      z += g - sigma * p;
      n += g * g;
      // The paper's lambda2 and beta are twice l2, and once beta, of Keras's.
      return abs(z) <= l1 ? 0 : -(z - sign(z) * l1) / ((beta + sqrt(n)) / lr + 2 * l2);
    };
  },
};

/** How gradients [kernel, bias] are clipped. */
type Clip = (gradients: number[][]) => number[][];
const norm = (g: readonly number[]) => sqrt(g.reduce((sum, v) => sum + v * v, 0));
const clips = {
  none: (gradients) => gradients,
  value: (gradients) => gradients.map((g) => g.map((v) => sign(v) * min(abs(v), 0.5))),
  norm: (gradients) => gradients.map((g) => g.map((v) => (v * 0.7) / max(0.7, norm(g)))),
  global: (gradients) => gradients.map((g) => g.map((v) => (v * 0.9) / max(0.9, norm(gradients.flat())))),
} satisfies Record<string, Clip>;

/** Batch number `step`: x [R, D] and y [R, U]. */
function batch(step: number): { x: number[][]; y: number[][] } {
  const random = new Philox(21, step);
  const rows = (width: number) =>
    Array.from({ length: R }, () =>
      Array.from({ length: width }, () => Math.fround(2 * random.nextNormal())),
    );
  return { x: rows(D), y: rows(U) };
}

/** Gradients of the mean squared error of y = x·kernel + bias, by its definition. */
function gradientsOf(kernel: number[], bias: number[], step: number): number[][] {
  const { x, y } = batch(step);
  const error = x.map((row, r) =>
    bias.map((b, u) => {
      const predicted = row.reduce((sum, v, d) => sum + v * (kernel[d * U + u] as number), b);
      return (2 * (predicted - (y[r]?.[u] as number))) / (R * U);
    }),
  );
  const kernelGradient = kernel.map((_, i) =>
    error.reduce((sum, row, r) => sum + (x[r]?.[Math.floor(i / U)] as number) * (row[i % U] as number), 0),
  );
  return [kernelGradient, bias.map((_, u) => error.reduce((sum, row) => sum + (row[u] as number), 0))];
}

const startOf = (weights: Map<string, Tensor>) =>
  ['d/kernel', 'd/bias'].map((name) => Array.from(weights.get(name)?.data ?? []));

/** Trains five steps on a device and by the rule; gives both sets of weights after every step. */
async function trace(optimizer: Optimizer, makeRule: () => Rule, clip: Clip, device: string) {
  const model = sequential(
    [layers.dense({ units: U, inputShape: [D], name: 'd', biasInitializer: 'randomNormal' })],
    {
      seed: 6,
    },
  ).compile({ loss: 'mse', optimizer, device });
  const weights = startOf(await model.getWeights());
  const rules = weights.map((w) => w.map(makeRule));
  const found: number[][] = [];
  const wanted: number[][] = [];
  for (let t = 1; t <= STEPS; t++) {
    const { x, y } = batch(t);
    await model.trainOnBatch(x, y);
    found.push(startOf(await model.getWeights()).flat());
    const gradients = clip(gradientsOf(weights[0] as number[], weights[1] as number[], t));
    weights.forEach((w, i) => {
      w.forEach((p, k) => {
        w[k] = rules[i]?.[k]?.(p, gradients[i]?.[k] as number, t, i === 0) as number;
      });
    });
    wanted.push(weights.flat());
  }
  model.dispose();
  return { found, wanted };
}

async function expectRule(
  optimizer: Optimizer,
  makeRule: () => Rule,
  clip: Clip,
  device: string,
): Promise<void> {
  const { found, wanted } = await trace(optimizer, makeRule, clip, device);
  const tolerance = device === 'cpu' ? 4e-6 : 1e-12;
  found.forEach((weights, step) => {
    weights.forEach((w, i) => {
      const rule = wanted[step]?.[i] as number;
      if (!(abs(w - rule) <= tolerance * max(1, abs(rule))))
        throw new Error(`step ${step + 1}, element ${i}: the rule gives ${rule}, the ${device} device ${w}`);
    });
  });
  // Five steps change every weight by much more than the tolerance.
  expect(norm((wanted[0] as number[]).map((v, i) => v - (wanted[STEPS - 1]?.[i] as number)))).toBeGreaterThan(
    1e-3,
  );
}

const cases: [name: string, optimizer: () => Optimizer, rule: () => Rule, clip?: Clip][] = [
  ['sgd by default', () => optimizers.sgd(), () => papers.sgd({})],
  ['sgd', () => optimizers.sgd({ learningRate: 0.07 }), () => papers.sgd({ lr: 0.07 })],
  [
    'sgd with weight decay',
    () => optimizers.sgd({ learningRate: 0.07, weightDecay: 0.3 }),
    () => papers.sgd({ lr: 0.07, weightDecay: 0.3 }),
  ],
  [
    'momentum',
    () => optimizers.sgd({ learningRate: 0.03, momentum: 0.8 }),
    () => papers.momentum({ lr: 0.03, momentum: 0.8 }),
  ],
  [
    'Nesterov momentum',
    () => optimizers.sgd({ learningRate: 0.03, momentum: 0.8, nesterov: true }),
    () => papers.momentum({ lr: 0.03, momentum: 0.8, nesterov: true }),
  ],
  ['rmsprop by default', () => optimizers.rmsprop(), () => papers.rmsprop({})],
  [
    'rmsprop',
    () => optimizers.rmsprop({ learningRate: 0.02, rho: 0.7, epsilon: 1e-3, weightDecay: 0.2 }),
    () => papers.rmsprop({ lr: 0.02, rho: 0.7, epsilon: 1e-3, weightDecay: 0.2 }),
  ],
  [
    'rmsprop, centered',
    () => optimizers.rmsprop({ learningRate: 0.02, centered: true, epsilon: 1e-2 }),
    () => papers.rmsprop({ lr: 0.02, centered: true, epsilon: 1e-2 }),
  ],
  [
    'rmsprop with momentum',
    () => optimizers.rmsprop({ learningRate: 0.02, momentum: 0.6 }),
    () => papers.rmsprop({ lr: 0.02, momentum: 0.6 }),
  ],
  [
    'rmsprop, centered with momentum',
    () => optimizers.rmsprop({ learningRate: 0.02, momentum: 0.6, centered: true, epsilon: 1e-2 }),
    () => papers.rmsprop({ lr: 0.02, momentum: 0.6, centered: true, epsilon: 1e-2 }),
  ],
  ['adam by default', () => optimizers.adam(), () => papers.adam({})],
  [
    'adam',
    () => optimizers.adam({ learningRate: 0.05, beta1: 0.7, beta2: 0.8, epsilon: 1e-3 }),
    () => papers.adam({ lr: 0.05, beta1: 0.7, beta2: 0.8, epsilon: 1e-3 }),
  ],
  [
    'amsgrad',
    () => optimizers.adam({ learningRate: 0.05, beta2: 0.6, amsgrad: true }),
    () => papers.adam({ lr: 0.05, beta2: 0.6, amsgrad: true }),
  ],
  ['adamw by default', () => optimizers.adamw(), () => papers.adam({ weightDecay: 0.004 })],
  [
    'adamw: decay is decoupled and spares the bias',
    () => optimizers.adamw({ learningRate: 0.05, weightDecay: 0.5 }),
    () => papers.adam({ lr: 0.05, weightDecay: 0.5 }),
  ],
  ['adagrad by default', () => optimizers.adagrad(), () => papers.adagrad({})],
  [
    'adagrad',
    () =>
      optimizers.adagrad({
        learningRate: 0.2,
        initialAccumulatorValue: 0.02,
        epsilon: 1e-2,
        weightDecay: 0.1,
      }),
    () => papers.adagrad({ lr: 0.2, initial: 0.02, epsilon: 1e-2, weightDecay: 0.1 }),
  ],
  ['nadam by default', () => optimizers.nadam(), () => papers.nadam({})],
  [
    'nadam',
    () => optimizers.nadam({ learningRate: 0.05, beta1: 0.7, beta2: 0.8, epsilon: 1e-3, weightDecay: 0.2 }),
    () => papers.nadam({ lr: 0.05, beta1: 0.7, beta2: 0.8, epsilon: 1e-3, weightDecay: 0.2 }),
  ],
  [
    'adamax',
    () => optimizers.adamax({ learningRate: 0.05, beta1: 0.7, beta2: 0.8 }),
    () => papers.adamax({ lr: 0.05, beta1: 0.7, beta2: 0.8 }),
  ],
  [
    'lion',
    () => optimizers.lion({ learningRate: 0.05, beta1: 0.7, beta2: 0.8, weightDecay: 0.5 }),
    () => papers.lion({ lr: 0.05, beta1: 0.7, beta2: 0.8, weightDecay: 0.5 }),
  ],
  [
    'adadelta',
    () => optimizers.adadelta({ learningRate: 1, rho: 0.8, epsilon: 1e-3 }),
    () => papers.adadelta({ lr: 1, rho: 0.8, epsilon: 1e-3 }),
  ],
  [
    'ftrl',
    () =>
      optimizers.ftrl({
        learningRate: 0.2,
        l1RegularizationStrength: 0.2,
        l2RegularizationStrength: 0.1,
        beta: 0.5,
      }),
    () => papers.ftrl({ lr: 0.2, l1: 0.2, l2: 0.1, beta: 0.5 }),
  ],
  [
    'clipValue',
    () => optimizers.sgd({ learningRate: 0.1, clipValue: 0.5 }),
    () => papers.sgd({ lr: 0.1 }),
    clips.value,
  ],
  [
    'clipNorm',
    () => optimizers.sgd({ learningRate: 0.1, clipNorm: 0.7 }),
    () => papers.sgd({ lr: 0.1 }),
    clips.norm,
  ],
  [
    'globalClipNorm',
    () => optimizers.sgd({ learningRate: 0.1, globalClipNorm: 0.9 }),
    () => papers.sgd({ lr: 0.1 }),
    clips.global,
  ],
  [
    'adam with clipNorm: the moments see the clipped gradient',
    () => optimizers.adam({ learningRate: 0.05, clipNorm: 0.7, epsilon: 0.1 }),
    () => papers.adam({ lr: 0.05, epsilon: 0.1 }),
    clips.norm,
  ],
  ['a limit that is never reached', () => optimizers.sgd({ globalClipNorm: 1e6 }), () => papers.sgd({})],
];

describe.each(['reference', 'cpu'])('five steps on the %s device follow the paper', (device) => {
  test.each(cases)('%s', async (_, optimizer, rule, clip = clips.none) => {
    await expectRule(optimizer(), rule, clip, device);
  });

  test('a schedule gives the rate of each step, the first being step 0', async () => {
    const learningRate = schedules.piecewiseConstant({ boundaries: [0, 2], values: [0.1, 0.03, 0.2] });
    const rates = [0.1, 0.03, 0.03, 0.2, 0.2];
    const rule = (): Rule => (p, g, t) => p - (rates[t - 1] as number) * g;
    await expectRule(optimizers.sgd({ learningRate }), rule, clips.none, device);
  });
});

test('any adam follows the paper', async () => {
  const share = fc.double({ min: 0, max: 0.999, noNaN: true });
  const options = fc.record({
    learningRate: fc.double({ min: 1e-3, max: 0.5, noNaN: true }),
    beta1: share,
    beta2: share,
    epsilon: fc.double({ min: 1e-6, max: 1, noNaN: true }),
    amsgrad: fc.boolean(),
    weightDecay: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  await fc.assert(
    fc.asyncProperty(options, async (o) => {
      const rule = () => papers.adam({ ...o, lr: o.learningRate });
      const { found, wanted } = await trace(optimizers.adam(o), rule, clips.none, 'reference');
      found.flat().forEach((w, i) => {
        // Where beta1 is close to 1 and a gradient to epsilon, rounding grows a millionfold.
        expect(abs(w - (wanted.flat()[i] as number))).toBeLessThan(1e-8);
      });
    }),
    { numRuns: 40 },
  );
});
