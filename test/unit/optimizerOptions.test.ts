import { layers, optimizers, schedules, sequential } from '../../lib';
import { type Optimizer, resolveOptimizer } from '../../lib/optimizers/optimizer';
import { refusal } from './refusal';

describe('defaults are Keras’s', () => {
  test.each([
    [optimizers.sgd(), { type: 'sgd', learningRate: 0.01, momentum: 0, nesterov: false, weightDecay: 0 }],
    [
      optimizers.rmsprop(),
      {
        type: 'rmsprop',
        learningRate: 0.001,
        rho: 0.9,
        momentum: 0,
        epsilon: 1e-7,
        centered: false,
        weightDecay: 0,
      },
    ],
    [
      optimizers.adam(),
      {
        type: 'adam',
        learningRate: 0.001,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-7,
        amsgrad: false,
        weightDecay: 0,
      },
    ],
    [
      optimizers.adamw(),
      {
        type: 'adamw',
        learningRate: 0.001,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-7,
        amsgrad: false,
        weightDecay: 0.004,
      },
    ],
    [
      optimizers.adagrad(),
      { type: 'adagrad', learningRate: 0.001, initialAccumulatorValue: 0.1, epsilon: 1e-7, weightDecay: 0 },
    ],
    [
      optimizers.nadam(),
      { type: 'nadam', learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weightDecay: 0 },
    ],
    [
      optimizers.adamax(),
      { type: 'adamax', learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weightDecay: 0 },
    ],
    [optimizers.lion(), { type: 'lion', learningRate: 0.001, beta1: 0.9, beta2: 0.99, weightDecay: 0 }],
    [
      optimizers.adadelta(),
      { type: 'adadelta', learningRate: 0.001, rho: 0.95, epsilon: 1e-7, weightDecay: 0 },
    ],
    [
      optimizers.adafactor(),
      {
        type: 'adafactor',
        learningRate: 0.001,
        beta2Decay: -0.8,
        epsilon1: 1e-30,
        epsilon2: 1e-3,
        clipThreshold: 1,
        relativeStep: true,
        weightDecay: 0,
      },
    ],
    [
      optimizers.ftrl(),
      {
        type: 'ftrl',
        learningRate: 0.001,
        learningRatePower: -0.5,
        initialAccumulatorValue: 0.1,
        l1RegularizationStrength: 0,
        l2RegularizationStrength: 0,
        l2ShrinkageRegularizationStrength: 0,
        beta: 0,
        weightDecay: 0,
      },
    ],
  ])('$type', (optimizer, config) => {
    expect(optimizer.getConfig()).toEqual(config);
  });
});

describe('configurations', () => {
  const same = (a: Optimizer, b: Optimizer) => {
    expect(b.getConfig()).toEqual(a.getConfig());
    expect(b.updateAttrs([true, false])).toEqual(a.updateAttrs([true, false]));
    expect(b.slots).toEqual(a.slots);
    for (const step of [0, 1, 6, 3]) expect([...b.hyper(step)]).toEqual([...a.hyper(step)]);
  };

  test.each([
    optimizers.sgd({ learningRate: 0.2, momentum: 0.5, nesterov: true, clipValue: 2 }),
    optimizers.rmsprop({ rho: 0.5, momentum: 0.25, centered: true, epsilon: 0.1, clipNorm: 3 }),
    optimizers.adam({ beta1: 0.5, beta2: 0.75, amsgrad: true, globalClipNorm: 4, weightDecay: 0.01 }),
    optimizers.adamw({ learningRate: schedules.cosineDecay({ initialLearningRate: 0.1, decaySteps: 9 }) }),
    optimizers.adagrad({ initialAccumulatorValue: 0, epsilon: 0.5 }),
    optimizers.nadam({ beta1: 0.5, beta2: 0.75, epsilon: 0.2 }),
    optimizers.adamax({ beta1: 0.5, beta2: 0.75, epsilon: 0.2, clipNorm: 2 }),
    optimizers.adam({
      gradientAccumulationSteps: 3,
      useEma: true,
      emaMomentum: 0.5,
      emaOverwriteFrequency: 4,
    }),
    optimizers.sgd({
      weightDecay: 0.1,
      paramGroups: [
        { match: 'embedding', learningRateFactor: 0.5 },
        { match: ['*/kernel', /^lstm_\d/i], learningRateFactor: 0, weightDecay: 0 },
      ],
    }),
    optimizers.adagrad({ gradientNoise: { eta: 0.3, gamma: 0.25 } }),
    optimizers.lion({ beta1: 1, beta2: 0.75, weightDecay: 0.5, decayBiases: true }),
    optimizers.adadelta({ rho: 0.5, epsilon: 0.2 }),
    optimizers.adafactor({
      beta2Decay: -0.5,
      epsilon1: 1e-9,
      epsilon2: 0.5,
      clipThreshold: 2,
      relativeStep: false,
    }),
    optimizers.ftrl({
      learningRatePower: -0.25,
      initialAccumulatorValue: 0.5,
      l1RegularizationStrength: 0.1,
      l2RegularizationStrength: 0.2,
      l2ShrinkageRegularizationStrength: 0.3,
      beta: 0.4,
    }),
  ])('$type is rebuilt from its own', (optimizer) => {
    same(optimizer, resolveOptimizer(JSON.parse(JSON.stringify(optimizer.getConfig()))));
  });

  test('a rate of 0, which training may come down to, is a rate', async () => {
    const model = sequential([layers.dense({ units: 2, inputShape: [3] })]).compile({
      loss: 'mse',
      optimizer: 'sgd',
    });
    model.learningRate = 0;
    same(model.optimizer, resolveOptimizer(model.optimizer.getConfig()));
    expect(optimizers.sgd({ learningRate: 0 }).rate(3)).toBe(0);
  });

  test('Keras’s spellings, and null for what is not given', () => {
    const keras = {
      learning_rate: 0.0625,
      beta_1: 0.5,
      beta_2: 0.75,
      epsilon: 1e-3,
      weight_decay: null,
      clipnorm: null,
      global_clipnorm: 2,
      clipvalue: null,
    };
    const ours = { learningRate: 0.0625, beta1: 0.5, beta2: 0.75, epsilon: 1e-3, globalClipNorm: 2 };
    same(optimizers.adam(ours), resolveOptimizer({ type: 'Adam', amsgrad: false, ...keras }));
    same(optimizers.nadam(ours), resolveOptimizer({ type: 'nadam', ...keras }));
    same(optimizers.sgd({ clipNorm: 2 }), resolveOptimizer({ type: 'SGD', clipnorm: 2 }));
    same(optimizers.sgd({ clipValue: 2 }), resolveOptimizer({ type: 'SGD', clipvalue: 2 }));
    same(optimizers.sgd({ clipNorm: 2 }), optimizers.sgd({ clipnorm: 2 } as never));
    const adagrad = { type: 'Adagrad', initial_accumulator_value: 0.5, learning_rate: 0.1 };
    same(optimizers.adagrad({ initialAccumulatorValue: 0.5, learningRate: 0.1 }), resolveOptimizer(adagrad));
    expect(resolveOptimizer('RMSprop').type).toBe('rmsprop');
    expect(resolveOptimizer('AdamW').type).toBe('adamw');
    const schedule = {
      type: 'ExponentialDecay',
      initial_learning_rate: 0.5,
      decay_steps: 2,
      decay_rate: 0.25,
    };
    expect(resolveOptimizer({ type: 'SGD', learning_rate: schedule }).rate(4)).toBe(0.5 * 0.0625);
  });

  test('nadam’s factors do not depend on the order in which steps are asked for', () => {
    const [forward, jumping] = [optimizers.nadam(), optimizers.nadam()];
    const steps = [0, 1, 2, 3, 4, 5, 6, 7, 8];
    const inOrder = steps.map((step) => [...forward.hyper(step)]);
    for (const step of [8, 2, 5, 0, 7]) expect([...jumping.hyper(step)]).toEqual(inOrder[step]);
  });
});

describe('options that are refused', () => {
  const loose =
    <T>(f: (options: never) => T, options: unknown) =>
    () =>
      f(options as never);
  test.each([
    [
      loose(optimizers.sgd, { learningRate: -0.1 }),
      'optimizers.sgd: learningRate: expected a finite number, 0 or more, got -0.1.',
    ],
    [
      loose(optimizers.sgd, { learningRate: Number.NaN }),
      'optimizers.sgd: learningRate: expected a finite number, 0 or more, got NaN.',
    ],
    [
      loose(optimizers.sgd, { learningRate: 'fast' }),
      "optimizers.sgd: learningRate: expected a number or a schedule, got 'fast'.",
    ],
    [
      loose(optimizers.sgd, { momentum: 1.5 }),
      'optimizers.sgd: momentum: expected a number from 0 to 1, got 1.5.',
    ],
    [loose(optimizers.sgd, { nesterov: 1 }), 'optimizers.sgd: nesterov: expected true or false, got 1.'],
    [
      loose(optimizers.sgd, { weightDecay: -1 }),
      'optimizers.sgd: weightDecay: expected a finite number, 0 or more, got -1.',
    ],
    [
      loose(optimizers.rmsprop, { rho: 1 }),
      'optimizers.rmsprop: rho: expected a number from 0 to below 1, got 1.',
    ],
    [
      loose(optimizers.rmsprop, { momentum: -0.1 }),
      'optimizers.rmsprop: momentum: expected a number from 0 to below 1, got -0.1.',
    ],
    [
      loose(optimizers.rmsprop, { centered: 'yes' }),
      "optimizers.rmsprop: centered: expected true or false, got 'yes'.",
    ],
    [
      loose(optimizers.adam, { beta1: 1 }),
      'optimizers.adam: beta1: expected a number from 0 to below 1, got 1.',
    ],
    [
      loose(optimizers.adam, { beta_2: -0.5 }),
      'optimizers.adam: beta2: expected a number from 0 to below 1, got -0.5.',
    ],
    [
      loose(optimizers.adam, { epsilon: 0 }),
      'optimizers.adam: epsilon: expected a finite number above 0, got 0.',
    ],
    [
      loose(optimizers.adamw, { amsgrad: 'no' }),
      "optimizers.adamw: amsgrad: expected true or false, got 'no'.",
    ],
    [
      loose(optimizers.adagrad, { initialAccumulatorValue: -1 }),
      'optimizers.adagrad: initialAccumulatorValue: expected a finite number, 0 or more, got -1.',
    ],
    [
      loose(optimizers.nadam, { amsgrad: true }),
      "optimizers.nadam: unknown option 'amsgrad'. It takes learningRate, clipValue, clipNorm, globalClipNorm, weightDecay, decayBiases, gradientAccumulationSteps, useEma, emaMomentum, emaOverwriteFrequency, paramGroups, gradientNoise, beta1, beta2, epsilon.",
    ],
    [
      loose(optimizers.adam, { beta3: 0.5 }),
      "optimizers.adam: unknown option 'beta3'. Did you mean 'beta1'?",
    ],
    [
      loose(optimizers.adam, { clipNorm: 0 }),
      'optimizers.adam: clipNorm: expected a finite number above 0, got 0.',
    ],
    [
      loose(optimizers.adam, { clipvalue: -1 }),
      'optimizers.adam: clipValue: expected a finite number above 0, got -1.',
    ],
    [
      loose(optimizers.adam, { clipNorm: 1, clipnorm: 2 }),
      "optimizers.adam: option 'clipNorm' is given twice, also as 'clipnorm'.",
    ],
    [
      loose(optimizers.adam, { clipValue: 1, globalClipNorm: 2 }),
      'optimizers.adam: expected at most one of clipValue, clipNorm, globalClipNorm, got clipValue and globalClipNorm.',
    ],
    [
      loose(optimizers.sgd, { gradientAccumulationSteps: 1 }),
      'optimizers.sgd: gradientAccumulationSteps: expected a whole number of steps, 2 or more, got 1.',
    ],
    [
      loose(optimizers.sgd, { gradientAccumulationSteps: 2.5 }),
      'optimizers.sgd: gradientAccumulationSteps: expected a whole number of steps, 2 or more, got 2.5.',
    ],
    [loose(optimizers.sgd, { useEma: 1 }), 'optimizers.sgd: useEma: expected true or false, got 1.'],
    [
      loose(optimizers.sgd, { emaMomentum: 1.5 }),
      'optimizers.sgd: emaMomentum: expected a number from 0 to 1, got 1.5.',
    ],
    [
      loose(optimizers.sgd, { useEma: true, emaOverwriteFrequency: 0 }),
      'optimizers.sgd: emaOverwriteFrequency: expected a whole number of updates, 1 or more, got 0.',
    ],
    [
      loose(optimizers.lion, { beta1: 0 }),
      'optimizers.lion: beta1: expected a number above 0, at most 1: with 0 only signs of gradients are left, got 0.',
    ],
    [
      loose(optimizers.adamax, { beta2: 1 }),
      'optimizers.adamax: beta2: expected a number from 0 to below 1, got 1.',
    ],
    [
      loose(optimizers.adadelta, { epsilon: 0 }),
      'optimizers.adadelta: epsilon: expected a finite number above 0, got 0.',
    ],
    [
      loose(optimizers.adafactor, { beta2Decay: 0.8 }),
      'optimizers.adafactor: beta2Decay: expected a finite number, 0 or less, got 0.8.',
    ],
    [
      loose(optimizers.adafactor, { epsilon1: 0 }),
      'optimizers.adafactor: epsilon1: expected a finite number, 1e-36 or more, got 0.',
    ],
    [
      loose(optimizers.adafactor, { relativeStep: 1 }),
      'optimizers.adafactor: relativeStep: expected true or false, got 1.',
    ],
    [
      loose(optimizers.ftrl, { learningRatePower: 0.5 }),
      'optimizers.ftrl: learningRatePower: expected a finite number, 0 or less, got 0.5.',
    ],
    [
      loose(optimizers.ftrl, { l1RegularizationStrength: -1 }),
      'optimizers.ftrl: l1RegularizationStrength: expected a finite number, 0 or more, got -1.',
    ],
    [loose(optimizers.adam, 0.01), 'optimizers.adam: expected an object of options, got 0.01.'],
    [
      () => resolveOptimizer('adamm'),
      "compile: optimizer: expected one of sgd, rmsprop, adam, adamw, adagrad, nadam, adamax, lion, adadelta, adafactor, ftrl, got 'adamm'. Did you mean 'adam'?",
    ],
    [
      () => resolveOptimizer({ learningRate: 1 }),
      'compile: optimizer: expected one of sgd, rmsprop, adam, adamw, adagrad, nadam, adamax, lion, adadelta, adafactor, ftrl, got an object.',
    ],
  ])('%#: %s', async (work, message) => {
    expect(await refusal(work)).toBe(`ERR_VALUE ${message}`);
  });
});
