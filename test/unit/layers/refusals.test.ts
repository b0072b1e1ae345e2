import { constraints, initializers, input, layers, losses, regularizers, sequential } from '../../../lib';
import { layerFromConfig } from '../../../lib/layers';
import { refusal } from '../refusal';

type Loose = Record<string, unknown>;
const lstm = (options: Loose) => () => layerFromConfig('lstm', { units: 3, ...options });
const dropout = (options: Loose) => () => layerFromConfig('dropout', options);
const embedding = (options: Loose) => () =>
  layerFromConfig('embedding', { inputDim: 5, outputDim: 2, ...options });

describe('options of layers that are refused', () => {
  test.each([
    ['units 0', lstm({ units: 0 }), 'layers.lstm: units: expected a positive integer, got 0.'],
    ['units 1.5', lstm({ units: 1.5 }), 'layers.lstm: units: expected a positive integer, got 1.5.'],
    ['units negative', lstm({ units: -4 }), 'layers.lstm: units: expected a positive integer, got -4.'],
    ['units as text', lstm({ units: '3' }), "layers.lstm: units: expected a positive integer, got '3'."],
    ['units NaN', lstm({ units: Number.NaN }), 'layers.lstm: units: expected a positive integer, got NaN.'],
    [
      'units missing, of a layer with a name',
      () => layerFromConfig('dense', { name: 'head' }),
      "layer 'head': units: expected a positive integer, got undefined.",
    ],
    [
      'inputDim',
      embedding({ inputDim: 0 }),
      'layers.embedding: inputDim: expected a positive integer, got 0.',
    ],
    [
      'outputDim',
      embedding({ outputDim: 2.5 }),
      'layers.embedding: outputDim: expected a positive integer, got 2.5.',
    ],
    ['rate 1', dropout({ rate: 1 }), 'layers.dropout: rate: expected a rate from 0 to below 1, got 1.'],
    [
      'rate negative',
      dropout({ rate: -0.1 }),
      'layers.dropout: rate: expected a rate from 0 to below 1, got -0.1.',
    ],
    ['rate missing', dropout({}), 'layers.dropout: rate: expected a rate from 0 to below 1, got nothing.'],
    [
      'rate NaN',
      lstm({ dropout: Number.NaN }),
      'layers.lstm: dropout: expected a rate from 0 to below 1, got NaN.',
    ],
    [
      'temporalActivationRegularizer',
      lstm({ temporalActivationRegularizer: -1 }),
      'regularizers.l2: l2: expected a finite number, 0 or more, got -1.',
    ],
    [
      'dropoutMode',
      lstm({ dropoutMode: 'element' }),
      "layers.lstm: dropoutMode: expected 'sharedOverTime' or 'perStep', got 'element'.",
    ],
    [
      'recurrentDropoutMode',
      lstm({ recurrentDropoutMode: true }),
      "layers.lstm: recurrentDropoutMode: expected 'sharedOverTime' or 'perStep', got true.",
    ],
    ['zoneout', lstm({ zoneout: 1 }), 'layers.lstm: zoneout: expected a rate from 0 to below 1, got 1.'],
    [
      'cellZoneout',
      lstm({ cellZoneout: -0.5 }),
      'layers.lstm: cellZoneout: expected a rate from 0 to below 1, got -0.5.',
    ],
    [
      'weightNoise',
      lstm({ weightNoise: -0.1 }),
      'layers.lstm: weightNoise: expected a finite number, 0 or more, got -0.1.',
    ],
    [
      'recurrentWeightDropout',
      lstm({ recurrentWeightDropout: 1 }),
      'layers.lstm: recurrentWeightDropout: expected a rate from 0 to below 1, got 1.',
    ],
    [
      'recurrentDropout',
      lstm({ recurrentDropout: 1.5 }),
      'layers.lstm: recurrentDropout: expected a rate from 0 to below 1, got 1.5.',
    ],
    [
      'noiseShape',
      dropout({ rate: 0.5, noiseShape: [null, 1, 3] }),
      'layers.dropout: noiseShape: expected [null, 1, null], got [null, 1, 3].',
    ],
    [
      'a switch',
      lstm({ returnSequences: 1 }),
      'layers.lstm: returnSequences: expected true or false, got 1.',
    ],
    [
      "a layer's own switch",
      () => layerFromConfig('gru', { units: 3, resetAfter: 'no' }),
      "layers.gru: resetAfter: expected true or false, got 'no'.",
    ],
    ...[0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e-50, '1'].map(
      (cellClip): [string, () => unknown, string] => [
        `cellClip ${cellClip}`,
        lstm({ cellClip }),
        `layers.lstm: cellClip: expected a positive number in float32's range, got ${cellClip === '1' ? "'1'" : cellClip}.`,
      ],
    ),
    [
      'peepholes that are no switch',
      lstm({ peepholes: 1 }),
      'layers.lstm: peepholes: expected true or false, got 1.',
    ],
    [
      'an option of peepholes that are not there',
      lstm({ peepholeInitializer: 'ones' }),
      "layers.lstm: peepholeInitializer: expected nothing without peepholes: true, got 'ones'.",
    ],
    [
      'a switch of another layer',
      () => layerFromConfig('gru', { units: 3, unitForgetBias: true }),
      "layers.gru: unknown option 'unitForgetBias'. It takes name, trainable, inputShape, batchInputShape, units, activation, useBias, kernelInitializer, recurrentInitializer, biasInitializer, kernelRegularizer, recurrentRegularizer, biasRegularizer, kernelConstraint, recurrentConstraint, biasConstraint, temporalActivationRegularizer, dropoutMode, recurrentDropout, recurrentDropoutMode, zoneout, recurrentWeightDropout, weightNoise, layerNormalization, activityRegularizer, dropout, returnSequences, returnState, zeroOutputForMask, maskWithStates, goBackwards, stateful, initialState, seed, recurrentActivation, resetAfter.",
    ],
    [
      'a misspelt option',
      lstm({ retrunSequences: true }),
      "layers.lstm: unknown option 'retrunSequences'. Did you mean 'returnSequences'?",
    ],
    [
      'an option in both spellings',
      lstm({ useBias: true, use_bias: false }),
      "layers.lstm: option 'useBias' is given twice, also as 'use_bias'.",
    ],
    [
      'a trainable that is no switch',
      lstm({ trainable: 'no' }),
      "layers.lstm: trainable: expected true or false, got 'no'.",
    ],
    [
      'a name with a slash',
      lstm({ name: 'a/b' }),
      "layers.lstm: name: expected a name without spaces or slashes, got 'a/b'.",
    ],
    [
      'a name that is no text',
      lstm({ name: 7 }),
      'layers.lstm: name: expected a name without spaces or slashes, got 7.',
    ],
    ['a seed', lstm({ seed: -1 }), 'layers.lstm: seed: expected an integer from 0 to 2^53-1, got -1.'],
    [
      'initialState',
      lstm({ initialState: 'ones' }),
      "layers.lstm: initialState: expected 'zeros' or 'learned', got ones.",
    ],
    [
      'a learned state of a stateful layer',
      lstm({ stateful: true, initialState: 'learned' }),
      "layers.lstm: initialState: expected 'zeros' for a stateful layer, which carries its state, got 'learned'.",
    ],
    [
      'a softmax inside a cell',
      lstm({ recurrentActivation: 'softmax' }),
      "layers.lstm: recurrentActivation: expected an elementwise activation, got 'softmax'. Put a dense layer with it on top.",
    ],
    [
      'an activation with a parameter it does not have',
      lstm({ activation: { type: 'tanh', alpha: 2 } }),
      "layers.lstm: activation: expected no alpha for 'tanh', got 2.",
    ],
    [
      "a negative slope of elu's kind, whose derivative could not be told from its value",
      lstm({ activation: { type: 'elu', alpha: -1 } }),
      'layers.lstm: activation: alpha: expected a finite number, 0 or more, got -1.',
    ],
    [
      'a leakyRelu without slope',
      lstm({ activation: { type: 'leakyRelu', alpha: 0 } }),
      'layers.lstm: activation: alpha: expected a finite number above 0, got 0.',
    ],
    [
      'a sparsemax inside a cell',
      lstm({ activation: 'sparsemax' }),
      "layers.lstm: activation: expected an elementwise activation, got 'sparsemax'. Put a dense layer with it on top.",
    ],
    [
      'a threshold that is not given',
      lstm({ activation: 'threshold' }),
      'layers.lstm: activation: threshold: expected a finite number, got nothing.',
    ],
    ...(['celu', 'squareplus', 'softShrink', 'hardShrink'] as const).map(
      (type): [string, () => unknown, string] => [
        `the parameter of ${type}`,
        lstm({ activation: { type, alpha: -1 } }),
        `layers.lstm: activation: alpha: expected a finite number${/Shrink/.test(type) ? ', 0 or more' : ' above 0'}, got -1.`,
      ],
    ),
    [
      'a parameter in both names',
      lstm({ activation: { type: 'squareplus', alpha: 1, b: 1 } }),
      "layers.lstm: activation: expected 'alpha' or 'b', got both.",
    ],
    ...(
      [
        ['leakyReLU', 'negativeSlope', -1, 'a finite number, 0 or more'],
        ['elu', 'alpha', Number.NaN, 'a finite number, 0 or more'],
        ['relu', 'maxValue', 0, 'a finite number above 0'],
        ['relu', 'negativeSlope', -1, 'a finite number, 0 or more'],
        ['relu', 'threshold', -1, 'a finite number, 0 or more'],
        ['softmax', 'axis', 0, '-1 or the number of the last axis'],
        ['prelu', 'sharedAxes', 1, '[1], or none'],
      ] as const
    ).map(([type, option, value, wanted]): [string, () => unknown, string] => [
      `${option} of ${type}`,
      () => layerFromConfig(type, { [option]: value }),
      `layers.${type}: ${option}: expected ${wanted}, got ${value}.`,
    ]),
    [
      'a slope below a threshold',
      () => layers.relu({ negativeSlope: 0.1, threshold: 1 }),
      'layers.relu: threshold: expected 0 beside a negativeSlope, got 1.',
    ],
    [
      'a slope under two names',
      () => layerFromConfig('leakyReLU', { negativeSlope: 0.1, alpha: 0.1 }),
      "layers.leakyReLU: expected 'negativeSlope' or 'alpha', got both.",
    ],
    [
      'a glu along another axis',
      () => layers.activation({ activation: { type: 'glu', axis: 1 } as never }),
      'layers.activation: activation: axis: expected -1, got 1.',
    ],
    [
      'activation missing',
      () => layers.activation({} as never),
      'layers.activation: activation: expected the name of an activation, got nothing.',
    ],
    ...([undefined, 0, 1.5, [1], [1, 0], 'last'] as const).map((axes): [string, () => unknown, string] => [
      `axes ${String(axes)} of a dot`,
      () => layerFromConfig('dot', { axes }),
      `layers.dot: axes: expected the number of an axis that is not 0, or two of them, got ${
        typeof axes === 'object' ? `[${axes.join(', ')}]` : axes === 'last' ? "'last'" : axes
      }.`,
    ]),
    [
      'an axis that an input of a dot does not have',
      () => layers.dot({ axes: 2 }).apply([input({ shape: [4, 3] }), input({ shape: [3] })]),
      'layers.dot: axes: expected an axis of [N, 3] behind the first, got 2.',
    ],
    [
      'a dot of three',
      () => layers.dot({ axes: 1 }).apply([0, 1, 2].map(() => input({ shape: [3] }))),
      'layers.dot: expected 2 inputs, got 3. Use it in a model: layers.dot().apply([a, b]).',
    ],
    ...[-0.1, 1.1, Number.NaN, '1'].map((momentum): [string, () => unknown, string] => [
      `momentum ${momentum}`,
      () => layerFromConfig('batchNormalization', { momentum }),
      `layers.batchNormalization: momentum: expected a number from 0 to 1, got ${momentum === '1' ? "'1'" : momentum}.`,
    ]),
    [
      'renorm',
      () => layerFromConfig('BatchNormalization', { renorm: true }),
      'layers.batchNormalization: renorm: expected false, got true.',
    ],
    ...[Number.NaN, Number.POSITIVE_INFINITY, '1'].map((transformBias): [string, () => unknown, string] => [
      `transformBias ${transformBias}`,
      () => layerFromConfig('highway', { transformBias }),
      `layers.highway: transformBias: expected a finite number, got ${transformBias === '1' ? "'1'" : transformBias}.`,
    ]),
    [
      'options that are no object',
      () => layers.dense(10 as never),
      'layers.dense: expected an object of options, got 10.',
    ],
  ])('%s', async (_, work, message) => {
    expect(await refusal(work)).toBe(`ERR_VALUE ${message}`);
  });

  const activations =
    'linear, tanh, sigmoid, relu, hardSigmoid, softplus, softsign, elu, selu, exponential, relu6, leakyRelu, gelu, silu, mish, hardSilu, softmax, logSoftmax, geluTanh, celu, squareplus, softShrink, hardShrink, threshold, tanhShrink, hardTanh, logSigmoid, sparsePlus, sparseSigmoid, sparsemax, swish, hardSwish';

  test.each([
    [
      'an activation',
      lstm({ activation: 'tahn' }),
      `layers.lstm: activation: expected one of ${activations}, got 'tahn'. Did you mean 'tanh'?`,
    ],
    [
      'an activation like nothing known',
      lstm({ activation: 'quantum' }),
      `layers.lstm: activation: expected one of ${activations}, got 'quantum'.`,
    ],
    [
      'a regularizer',
      lstm({ biasRegularizer: 'l3' }),
      "layers.lstm: biasRegularizer: expected one of l1, l2, l1l2, got 'l3'. Did you mean 'l1'?",
    ],
    [
      'a constraint',
      lstm({ kernelConstraint: 'max_nrom' }),
      "layers.lstm: kernelConstraint: expected one of maxNorm, unitNorm, nonNeg, got 'max_nrom'. Did you mean 'maxNorm'?",
    ],
    [
      'a layer',
      () => layerFromConfig('lstmm', { units: 3 }),
      "layer type: expected one of input, simpleRNN, lstm, gru, rnn, bidirectional, dense, embedding, dropout, masking, activation, leakyReLU, elu, relu, prelu, softmax, flatten, reshape, repeatVector, permute, timeDistributed, layerNormalization, batchNormalization, conv1D, convLSTM1D, convLSTM2D, maxPooling1D, averagePooling1D, globalMaxPooling1D, globalAveragePooling1D, highway, gaussianNoise, spatialDropout1D, add, subtract, multiply, average, maximum, minimum, dot, concatenate, got 'lstmm'. Did you mean 'lstm'?",
    ],
  ])('the name of %s, with the nearest known one', async (_, work, message) => {
    expect(await refusal(work)).toBe(`ERR_VALUE ${message}`);
  });

  test('the name of an initializer, with the nearest known one', async () => {
    expect(await refusal(lstm({ kernelInitializer: 'heNormall' }))).toMatch(
      /^ERR_VALUE layers\.lstm: kernelInitializer: expected one of zeros, ones, .*, got 'heNormall'\. Did you mean 'heNormal'\?$/,
    );
  });
});

describe('shapes that are refused', () => {
  test.each([
    [
      'a size of 0',
      lstm({ inputShape: [null, 0] }),
      'layers.lstm: inputShape: expected an array of positive integers or null, got [null, 0].',
    ],
    [
      'a shape that is none',
      lstm({ inputShape: 7 }),
      'layers.lstm: inputShape: expected an array of positive integers or null, got 7.',
    ],
    [
      'two shapes that differ',
      lstm({ inputShape: [5, 7], batchInputShape: [3, 5, 8] }),
      'layers.lstm: batchInputShape: expected a batch size before inputShape [5, 7], got [3, 5, 8].',
    ],
    [
      'an input without shape',
      () => layers.input({} as never),
      'layers.input: shape: expected an array of positive integers or null, got undefined.',
    ],
    [
      'a recurrent layer on features',
      () => sequential([layers.gru({ units: 3, inputShape: [7] })]),
      "layer 'gru': expected a sequence [N, T, features], got [N, 7]. When a recurrent layer is below, give it returnSequences: true.",
    ],
    [
      'a recurrent layer on ids',
      () => sequential([layers.input({ shape: [5], dtype: 'int32' }), layers.gru({ units: 3 })]),
      "layer 'gru': expected a sequence [N, T, features], got ids [N, 5]. Put an embedding layer below.",
    ],
    [
      'a recurrent layer on an unknown number of features',
      () => sequential([layers.gru({ units: 3, inputShape: [5, null] })]),
      "layer 'gru': expected a known number of features, got [N, T, any].",
    ],
    [
      'an embedding on numbers',
      () =>
        sequential([
          layers.dense({ units: 3, inputShape: [7] }),
          layers.embedding({ inputDim: 5, outputDim: 2 }),
        ]),
      "layer 'embedding': expected ids [N, T], got numbers [N, 3]. An embedding is the first layer of a model.",
    ],
    [
      'slopes for steps of an open number',
      () => layers.prelu().apply(input({ shape: [null, 3] })),
      'layers.prelu: expected [N, D] or [N, T, D] of known lengths, got [N, any, 3]. sharedAxes: [1] gives all steps of a sequence the same slopes.',
    ],
    [
      'a softmax of another axis than the last',
      () => layers.softmax({ axis: 1 }).apply(input({ shape: [5, 3] })),
      'layers.softmax: expected the last axis, 2 or -1, got axis 1 of [N, 5, 3].',
    ],
    [
      'a glu of an odd number of units',
      () => layers.dense({ units: 3, activation: 'glu' }),
      "layers.dense: units: expected an even number of columns for 'glu', got 3.",
    ],
    [
      'a dot over unlike axes',
      () => layers.dot({ axes: -1 }).apply([input({ shape: [5, 3] }), input({ shape: [5, 4] })]),
      'layers.dot: expected equally many numbers along axes 2 and 2, got [N, 5, 3], [N, 5, 4].',
    ],
    [
      'a dot of four axes',
      () => layers.dot({ axes: -1 }).apply([input({ shape: [5, 2, 3] }), input({ shape: [3] })]),
      'layers.dot: expected inputs [N, D] or [N, T, D], got [N, 5, 2, 3].',
    ],
    [
      'a mask shared over time without time',
      () =>
        sequential([
          layers.dense({ units: 3, inputShape: [7] }),
          layers.dropout({ rate: 0.5, noiseShape: [null, 1, null] }),
        ]),
      "layer 'dropout': expected a sequence [N, T, D] to share a mask over time, got [N, 3].",
    ],
  ])('%s', async (_, work, message) => {
    expect(await refusal(work)).toBe(`ERR_SHAPE ${message}`);
  });
});

describe('options of initializers, regularizers, constraints and losses that are refused', () => {
  const loose =
    <T>(f: (options: never) => T, options: unknown) =>
    () =>
      f(options as never);
  test.each([
    [loose(regularizers.l1, -0.1), 'regularizers.l1: l1: expected a finite number, 0 or more, got -0.1.'],
    [
      loose(regularizers.l2, Number.NaN),
      'regularizers.l2: l2: expected a finite number, 0 or more, got NaN.',
    ],
    [loose(regularizers.l2, '0.1'), "regularizers.l2: expected an object of options, got '0.1'."],
    [loose(regularizers.l2, { l1: 1 }), "regularizers.l2: unknown option 'l1'. Did you mean 'l2'?"],
    [
      loose(regularizers.l1l2, { l2: -1 }),
      'regularizers.l1l2: l2: expected a finite number, 0 or more, got -1.',
    ],
    [
      loose(constraints.maxNorm, { maxValue: 0 }),
      'constraints.maxNorm: maxValue: expected a finite number above 0, got 0.',
    ],
    [loose(constraints.maxNorm, { axis: 2 }), 'constraints.maxNorm: axis: expected 0 or 1, got 2.'],
    [loose(constraints.unitNorm, { axis: -1 }), 'constraints.unitNorm: axis: expected 0 or 1, got -1.'],
    [
      loose(constraints.nonNeg, { axis: 1 }),
      "constraints.nonNeg: unknown option 'axis'. It takes no options.",
    ],
    [
      loose(initializers.zeros, { value: 1 }),
      "initializers.zeros: unknown option 'value'. It takes no options.",
    ],
    [
      loose(initializers.constant, { value: 'x' }),
      "initializers.constant: value: expected a finite number, got 'x'.",
    ],
    [
      loose(initializers.randomUniform, { minval: 1, maxval: 0 }),
      'initializers.randomUniform: expected minval <= maxval, got 1, 0.',
    ],
    [
      loose(initializers.randomNormal, { stddev: 0 }),
      'initializers.randomNormal: stddev: expected a finite number above 0, got 0.',
    ],
    [
      loose(initializers.truncatedNormal, { mean: null, stddev: -1 }),
      'initializers.truncatedNormal: stddev: expected a finite number above 0, got -1.',
    ],
    [
      loose(initializers.varianceScaling, { mode: 'fan' }),
      "initializers.varianceScaling: mode: expected one of fanIn, fanOut, fanAvg, got 'fan'. Did you mean 'fanIn'?",
    ],
    [
      loose(initializers.varianceScaling, { scale: 0 }),
      'initializers.varianceScaling: scale: expected a finite number above 0, got 0.',
    ],
    [
      loose(initializers.glorotUniform, { seed: 1.5 }),
      'initializers.glorotUniform: seed: expected an integer from 0 to 2^53-1, got 1.5.',
    ],
    [
      loose(initializers.heNormal, { gain: 2 }),
      "initializers.heNormal: unknown option 'gain'. It takes seed.",
    ],
    [loose(losses.huber, { delta: 0 }), 'losses.huber: delta: expected a finite number above 0, got 0.'],
    [
      loose(losses.binaryCrossentropy, { labelSmoothing: 1 }),
      'losses.binaryCrossentropy: labelSmoothing: expected a number from 0 to below 1, got 1.',
    ],
    [
      loose(losses.categoricalCrossentropy, { fromLogits: 1 }),
      'losses.categoricalCrossentropy: fromLogits: expected true or false, got 1.',
    ],
    [
      loose(losses.meanSquaredError, { delta: 1 }),
      "losses.meanSquaredError: unknown option 'delta'. It takes no options.",
    ],
  ])('%#: %s', async (work, message) => {
    expect(await refusal(work)).toBe(`ERR_VALUE ${message}`);
  });

  test('an orthogonal bias, an identity that is no matrix', async () => {
    expect(
      await refusal(() =>
        sequential([layers.dense({ units: 3, inputShape: [2], biasInitializer: 'orthogonal' })]),
      ),
    ).toBe('ERR_SHAPE initializers.orthogonal: expected a weight with at least two axes, got [3].');
    expect(
      await refusal(() =>
        sequential([layers.dense({ units: 3, inputShape: [2], biasInitializer: 'identity' })]),
      ),
    ).toBe('ERR_SHAPE initializers.identity: expected a matrix, got [3].');
  });

  test('a norm along an axis that the weight does not have', async () => {
    const build = () =>
      sequential([
        layers.dense({ units: 3, inputShape: [2], biasConstraint: constraints.maxNorm({ axis: 1 }) }),
      ]);
    expect(await refusal(build)).toBe(
      "ERR_VALUE layer 'dense': bias: expected a constraint along axis 0, the only one for its shape [3], got axis 1.",
    );
  });
});
