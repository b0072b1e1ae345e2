import fc from 'fast-check';
import { constraints, initializers, type Layer, layers, regularizers } from '../../../lib';
import { layerFromConfig } from '../../../lib/layers';
import type { SymbolicShape } from '../../../lib/layers/layer';
import { ids, sequence, shapes } from './shapes';

/** Every part has a value of its own, so that a swap shows. */
const everyRecurrentOption = {
  units: 11,
  activation: { type: 'leakyRelu', alpha: 0.15 },
  kernelInitializer: initializers.heNormal({ seed: 4 }),
  recurrentInitializer: initializers.orthogonal({ gain: 0.9 }),
  biasInitializer: initializers.constant({ value: 0.25 }),
  kernelRegularizer: regularizers.l1(0.01),
  recurrentRegularizer: regularizers.l2(0.02),
  biasRegularizer: regularizers.l1l2({ l1: 0.03, l2: 0.04 }),
  activityRegularizer: regularizers.l2({ l2: 0.05 }),
  temporalActivationRegularizer: regularizers.l1l2({ l1: 0.06, l2: 0.07 }),
  kernelConstraint: constraints.maxNorm({ maxValue: 3, axis: 1 }),
  recurrentConstraint: constraints.unitNorm(),
  biasConstraint: constraints.nonNeg(),
  dropout: 0.1,
  dropoutMode: 'perStep',
  recurrentDropout: 0.2,
  recurrentDropoutMode: 'perStep',
  zoneout: 0.05,
  recurrentWeightDropout: 0.3,
  weightNoise: 0.075,
  returnSequences: true,
  goBackwards: true,
  initialState: 'learned',
  seed: 99,
  name: 'everything',
  trainable: false,
} as const;

const cases: [string, Layer, SymbolicShape][] = [
  ['simpleRNN', layers.simpleRNN({ units: 11, inputShape: [null, 7] }), sequence],
  ['simpleRNN with everything', layers.simpleRNN(everyRecurrentOption), sequence],
  ['simpleRNN without bias', layers.simpleRNN({ units: 3, useBias: false }), sequence],
  ['lstm', layers.lstm({ units: 11 }), sequence],
  [
    'lstm with everything',
    layers.lstm({ ...everyRecurrentOption, recurrentActivation: 'hardSigmoid', unitForgetBias: false }),
    sequence,
  ],
  ['lstm with cellClip', layers.lstm({ units: 4, cellClip: 0.75 }), sequence],
  [
    'lstm with peepholes',
    layers.lstm({ units: 4, peepholes: true, peepholeInitializer: 'heNormal', peepholeRegularizer: 'l2' }),
    sequence,
  ],
  ['lstm with zoneout', layers.lstm({ units: 4, zoneout: 0.1, cellZoneout: 0.5 }), sequence],
  ['lstm with coupledGates', layers.lstm({ units: 4, coupledGates: true, peepholes: true }), sequence],
  ['a stateful lstm', layers.lstm({ units: 4, stateful: true, batchInputShape: [3, 5, 7] }), sequence],
  ['gru', layers.gru({ units: 11, recurrentActivation: 'hardSigmoid' }), sequence],
  ['gru with everything', layers.gru({ ...everyRecurrentOption, resetAfter: false }), sequence],
  ['dense', layers.dense({ units: 11, inputShape: [7] }), sequence],
  [
    'dense with everything',
    layers.dense({
      units: 3,
      activation: { type: 'elu', alpha: 0.5 },
      kernelInitializer: initializers.varianceScaling({ scale: 2, mode: 'fanOut', distribution: 'uniform' }),
      biasInitializer: initializers.randomNormal({ mean: 1, stddev: 0.1, seed: 7 }),
      kernelRegularizer: 'l1',
      biasRegularizer: { type: 'l2', l2: 0.3 },
      activityRegularizer: regularizers.l1l2({ l1: 0.1 }),
      kernelConstraint: 'maxNorm',
      biasConstraint: 'nonNeg',
      name: 'head',
      trainable: false,
    }),
    sequence,
  ],
  ['dense without bias', layers.dense({ units: 3, useBias: false }), sequence],
  ['embedding', layers.embedding({ inputDim: 13, outputDim: 3 }), ids],
  [
    'embedding with everything',
    layers.embedding({
      inputDim: 13,
      outputDim: 3,
      inputShape: [5],
      embeddingsInitializer: initializers.truncatedNormal({ stddev: 0.2 }),
      embeddingsRegularizer: regularizers.l2(0.3),
      embeddingsConstraint: constraints.unitNorm({ axis: 1 }),
    }),
    ids,
  ],
  [
    'an embedding of fixed batches',
    layers.embedding({ inputDim: 13, outputDim: 3, batchInputShape: [4, 5] }),
    ids,
  ],
  ['dropout', layers.dropout({ rate: 0.3 }), sequence],
  ['dropout shared over time', layers.dropout({ rate: 0.3, noiseShape: [null, 1, null], seed: 5 }), sequence],
  ['activation', layers.activation({ activation: 'softmax' }), sequence],
  ['activation with a parameter', layers.activation({ activation: { type: 'elu', alpha: 2 } }), sequence],
  [
    'a parameter by its own name',
    layers.dense({ units: 3, activation: { type: 'squareplus', b: 2 } }),
    sequence,
  ],
  ['a threshold of 0', layers.activation({ activation: { type: 'threshold', threshold: 0 } }), sequence],
  ['leakyReLU', layers.leakyReLU(), sequence],
  ['leakyReLU of another slope', layers.leakyReLU({ negativeSlope: 0 }), sequence],
  ['elu', layers.elu({ alpha: 0.5 }), sequence],
  ['relu', layers.relu(), sequence],
  ['relu up to a value', layers.relu({ maxValue: 3, negativeSlope: 0.5 }), sequence],
  ['relu from a value on', layers.relu({ threshold: 0.5 }), sequence],
  ['softmax', layers.softmax({ axis: 2 }), sequence],
  [
    'prelu',
    layers.prelu({ alphaInitializer: 'ones', alphaRegularizer: 'l2', alphaConstraint: 'nonNeg' }),
    sequence,
  ],
  ['prelu, the same for all steps', layers.prelu({ sharedAxes: [1] }), sequence],
  ['dense with glu', layers.dense({ units: 4, activation: 'glu' }), sequence],
  ['flatten', layers.flatten({ name: 'flat' }), sequence],
  ['reshape', layers.reshape({ targetShape: [-1, 5] }), sequence],
  ['permute', layers.permute({ dims: [2, 1], inputShape: [5, 7] }), sequence],
  ['repeatVector', layers.repeatVector({ n: 3 }), { dtype: 'real', shape: [7], sequence: false }],
  [
    'timeDistributed',
    layers.timeDistributed({ layer: layers.dense({ units: 3, trainable: false, kernelRegularizer: 'l2' }) }),
    sequence,
  ],
  ['layerNormalization', layers.layerNormalization(), sequence],
  [
    'layerNormalization with everything',
    layers.layerNormalization({
      axis: 2,
      epsilon: 0.25,
      center: true,
      scale: true,
      betaInitializer: initializers.randomNormal({ seed: 4 }),
      gammaInitializer: initializers.constant({ value: 2 }),
      betaRegularizer: regularizers.l1(0.1),
      gammaRegularizer: regularizers.l2(0.2),
      betaConstraint: constraints.maxNorm({ maxValue: 3 }),
      gammaConstraint: constraints.nonNeg(),
    }),
    sequence,
  ],
  [
    'layerNormalization without vectors',
    layers.layerNormalization({ center: false, scale: false }),
    sequence,
  ],
  ['batchNormalization', layers.batchNormalization(), sequence],
  [
    'batchNormalization with everything',
    layers.batchNormalization({
      axis: 2,
      momentum: 0.75,
      epsilon: 0.25,
      center: true,
      scale: true,
      betaInitializer: initializers.randomNormal({ seed: 4 }),
      gammaInitializer: initializers.constant({ value: 2 }),
      movingMeanInitializer: initializers.constant({ value: 3 }),
      movingVarianceInitializer: initializers.constant({ value: 4 }),
      betaRegularizer: regularizers.l1(0.1),
      gammaRegularizer: regularizers.l2(0.2),
      betaConstraint: constraints.maxNorm({ maxValue: 3 }),
      gammaConstraint: constraints.nonNeg(),
    }),
    sequence,
  ],
  ['a frozen batchNormalization', layers.batchNormalization({ trainable: false, scale: false }), sequence],
  ['conv1D', layers.conv1D({ filters: 3, kernelSize: 2 }), sequence],
  [
    'conv1D with everything',
    layers.conv1D({
      filters: 3,
      kernelSize: [2],
      strides: [3],
      padding: 'causal',
      dilationRate: 1,
      activation: 'relu',
      kernelInitializer: initializers.heUniform({ seed: 3 }),
      biasInitializer: 'ones',
      kernelRegularizer: regularizers.l1(0.1),
      biasRegularizer: regularizers.l2(0.2),
      activityRegularizer: regularizers.l2(0.3),
      kernelConstraint: constraints.unitNorm(),
      biasConstraint: 'nonNeg',
    }),
    sequence,
  ],
  [
    'a dilated conv1D without bias',
    layers.conv1D({ filters: 3, kernelSize: 2, dilationRate: 2, useBias: false }),
    sequence,
  ],
  ['maxPooling1D', layers.maxPooling1D(), sequence],
  ['averagePooling1D', layers.averagePooling1D({ poolSize: 3, strides: 1, padding: 'same' }), sequence],
  ['globalMaxPooling1D', layers.globalMaxPooling1D(), sequence],
  ['globalAveragePooling1D', layers.globalAveragePooling1D(), sequence],
  ['highway', layers.highway(), sequence],
  [
    'highway with everything',
    layers.highway({
      activation: { type: 'elu', alpha: 0.5 },
      transformBias: -1.5,
      kernelInitializer: initializers.heUniform({ seed: 3 }),
      biasInitializer: 'ones',
      kernelRegularizer: regularizers.l1(0.1),
      biasRegularizer: regularizers.l2(0.2),
      kernelConstraint: constraints.unitNorm(),
      biasConstraint: 'nonNeg',
    }),
    sequence,
  ],
  ['highway without bias', layers.highway({ useBias: false }), sequence],
  ['gaussianNoise', layers.gaussianNoise({ stddev: 0.3, seed: 4 }), sequence],
  ['spatialDropout1D', layers.spatialDropout1D({ rate: 0.3, seed: 4 }), sequence],
  ['input', layers.input({ shape: [null, 7] }), sequence],
  [
    'input of ids in fixed batches',
    layers.input({ shape: [5], dtype: 'int32', batchSize: 3, name: 'in' }),
    ids,
  ],
];

describe('a layer rebuilt from its configuration', () => {
  test.each(cases)('%s', (_, layer, input) => {
    const written = JSON.parse(JSON.stringify(layer.getConfig()));
    const again = layerFromConfig(layer.type, written);
    expect(again.getConfig()).toEqual(layer.getConfig());
    expect(again.trainable).toBe(layer.trainable);
    expect(again.batchSize).toBe(layer.batchSize);
    expect(again.inputShape).toEqual(layer.inputShape);
    expect(again.inputDType).toBe(layer.inputDType);
    expect(again.outputShape(input)).toEqual(layer.outputShape(input));
    expect(shapes(again, input)).toEqual(shapes(layer, input));
    const parts = (l: Layer) =>
      l.weights.map(({ regularizer, constraint, decay, initializer }) => [
        regularizer?.getConfig(),
        constraint?.getConfig(),
        decay,
        initializer.getConfig(),
      ]);
    expect(parts(again)).toEqual(parts(layer));
  });

  test('keeps the length of the sequences that batchInputShape gives', () => {
    const layer = layers.embedding({ inputDim: 13, outputDim: 3, batchInputShape: [4, 5] });
    expect(layer.inputShape).toEqual([5]);
    expect(layer.getConfig()).toMatchObject({ inputShape: [5], batchInputShape: [4, 5] });
  });

  /** What options look like in a configuration: parts as their own configurations. */
  const written = (options: object) =>
    Object.fromEntries(
      Object.entries(options).map(([key, value]) => [
        key,
        typeof value?.getConfig === 'function' ? value.getConfig() : value,
      ]),
    );

  test('every option is in the configuration as it was given', () => {
    const gated = { ...everyRecurrentOption, recurrentActivation: 'hardSigmoid' };
    expect(layers.simpleRNN(everyRecurrentOption).getConfig()).toMatchObject(written(everyRecurrentOption));
    const lstm = {
      ...gated,
      unitForgetBias: false,
      cellClip: 2.5,
      peepholes: true,
      peepholeInitializer: initializers.constant({ value: 0.5 }),
      peepholeRegularizer: regularizers.l2(0.06),
      coupledGates: true,
      cellZoneout: 0.25,
    };
    expect(layers.lstm(lstm).getConfig()).toMatchObject(written(lstm));
    const gru = { ...gated, resetAfter: false };
    expect(layers.gru(gru).getConfig()).toMatchObject(written(gru));
    const dense = {
      units: 3,
      activation: { type: 'elu', alpha: 0.5 },
      useBias: true,
      kernelInitializer: initializers.varianceScaling({ scale: 2, mode: 'fanOut', distribution: 'uniform' }),
      biasInitializer: initializers.randomNormal({ mean: 1, stddev: 0.1, seed: 7 }),
      kernelRegularizer: regularizers.l1(0.5),
      biasRegularizer: regularizers.l2(0.3),
      activityRegularizer: regularizers.l1l2({ l1: 0.1 }),
      kernelConstraint: constraints.maxNorm({ maxValue: 4 }),
      biasConstraint: constraints.nonNeg(),
    };
    expect(layers.dense(dense).getConfig()).toMatchObject(written(dense));
    const tied = { units: 13, activation: 'tanh', useBias: false, tiedTo: 'words', name: 'head' } as const;
    const head = layerFromConfig('dense', layers.dense(tied).getConfig());
    expect(head.getConfig()).toEqual({ ...tied, biasInitializer: { type: 'zeros' } });
    const embedding = {
      inputDim: 13,
      outputDim: 3,
      embeddingsInitializer: initializers.truncatedNormal({ stddev: 0.2 }),
      embeddingsRegularizer: regularizers.l2(0.3),
      embeddingsConstraint: constraints.unitNorm({ axis: 1 }),
    };
    expect(layers.embedding(embedding).getConfig()).toMatchObject(written(embedding));
    const dropout = { rate: 0.3, noiseShape: [null, 1, null], seed: 5 } as const;
    expect(layers.dropout(dropout).getConfig()).toEqual(dropout);
  });

  test("every weight has its own option's parts", () => {
    for (const layer of [layers.lstm(everyRecurrentOption), layers.gru(everyRecurrentOption)]) {
      layer.build(sequence);
      const [kernel, recurrent, bias, initial] = layer.weights;
      const o = everyRecurrentOption;
      for (const [weight, regularizer, constraint, initializer] of [
        [kernel, o.kernelRegularizer, o.kernelConstraint, o.kernelInitializer],
        [recurrent, o.recurrentRegularizer, o.recurrentConstraint, o.recurrentInitializer],
        [bias, o.biasRegularizer, o.biasConstraint, o.biasInitializer],
      ] as const) {
        expect(weight?.regularizer).toBe(regularizer);
        expect(weight?.constraint).toBe(constraint);
        expect(weight?.initializer.getConfig()).toEqual(initializer.getConfig());
      }
      expect(initial).toMatchObject({ name: 'initialH', initializer: { type: 'zeros' } });
      expect(initial?.regularizer).toBeUndefined();
    }
  });

  test('whatever the widths and switches', () => {
    const flags = fc.record({
      units: fc.integer({ min: 1, max: 30 }),
      useBias: fc.boolean(),
      returnSequences: fc.boolean(),
      goBackwards: fc.boolean(),
      unitForgetBias: fc.boolean(),
      dropout: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      initialState: fc.constantFrom('zeros' as const, 'learned' as const),
    });
    fc.assert(
      fc.property(flags, (options) => {
        const layer = layers.lstm({ ...options, name: 'a' });
        const again = layerFromConfig('lstm', JSON.parse(JSON.stringify(layer.getConfig())));
        expect(again.getConfig()).toEqual(layer.getConfig());
        expect(layer.getConfig()).toMatchObject(options);
        expect(shapes(again, sequence)).toEqual(shapes(layer, sequence));
      }),
      { numRuns: 50 },
    );
  });
});

describe('defaults are those of Keras', () => {
  const recurrent = {
    units: 4,
    activation: 'tanh',
    useBias: true,
    kernelInitializer: { type: 'glorotUniform' },
    recurrentInitializer: { type: 'orthogonal' },
    biasInitializer: { type: 'zeros' },
    dropout: 0,
    recurrentDropout: 0,
    returnSequences: false,
    zeroOutputForMask: false,
    goBackwards: false,
    stateful: false,
    initialState: 'zeros',
  };

  test('recurrent layers', () => {
    expect(layers.simpleRNN({ units: 4 }).getConfig()).toEqual(recurrent);
    expect(layers.lstm({ units: 4 }).getConfig()).toEqual({
      ...recurrent,
      recurrentActivation: 'sigmoid',
      unitForgetBias: true,
    });
    expect(layers.gru({ units: 4 }).getConfig()).toEqual({
      ...recurrent,
      recurrentActivation: 'sigmoid',
      resetAfter: true,
    });
  });

  test('dense and embedding', () => {
    expect(layers.dense({ units: 4 }).getConfig()).toEqual({
      units: 4,
      activation: 'linear',
      useBias: true,
      kernelInitializer: { type: 'glorotUniform' },
      biasInitializer: { type: 'zeros' },
    });
    const [weight] = (() => {
      const layer = layers.embedding({ inputDim: 400, outputDim: 30 });
      layer.build(ids);
      return layer.weights;
    })();
    expect(weight?.initializer.type).toBe('randomUniform');
  });

  test('Keras spellings of the options are understood', () => {
    const keras = {
      units: 4,
      return_sequences: true,
      recurrent_dropout: 0.2,
      unit_forget_bias: false,
      kernel_initializer: 'he_normal',
      recurrent_activation: 'hard_sigmoid',
      kernel_regularizer: { type: 'L1L2', l1: 0.5 },
      bias_constraint: 'non_neg',
      go_backwards: null,
      seed: null,
    };
    expect(layerFromConfig('LSTM', keras).getConfig()).toEqual({
      ...recurrent,
      returnSequences: true,
      recurrentDropout: 0.2,
      unitForgetBias: false,
      kernelInitializer: { type: 'heNormal' },
      recurrentActivation: 'hardSigmoid',
      kernelRegularizer: { type: 'l1l2', l1: 0.5, l2: 0 },
      biasConstraint: { type: 'nonNeg' },
    });
    expect(layerFromConfig('Dropout', { rate: 0.25, noise_shape: null, seed: null }).getConfig()).toEqual({
      rate: 0.25,
    });
  });
});
