/**
 * The numbers by which plans name things to native engines, exactly as docs/plan.md lists them. `native/core/codes.h` holds the
 * same numbers; a test compares the two.
 */
export const opCodes = {
  batchToTime: 1,
  timeToBatch: 2,
  check: 3,
  assign: 4,
  add: 5,
  broadcastRows: 6,
  sumRows: 7,
  sumScalars: 8,
  stepMask: 9,
  maskRows: 10,
  maskWeights: 11,
  reverseTime: 12,
  concat: 13,
  slice: 14,
  multiply: 15,
  embedding: 16,
  embeddingGrad: 17,
  dense: 18,
  denseGrad: 19,
  activation: 20,
  activationGrad: 21,
  dropout: 22,
  penalty: 23,
  penaltyGrad: 24,
  scale: 25,
  reshape: 26,
  transpose: 27,
  layerNorm: 28,
  layerNormGrad: 29,
  noise: 30,
  lengthMask: 31,
  rnnStack: 32,
  rnnStackGrad: 33,
  unfold: 34,
  fold: 35,
  pool: 36,
  poolGrad: 37,
  program: 40,
  extremum: 66,
  extremumGrad: 67,
  eitherMask: 68,
  matmul: 69,
  normalizeRows: 70,
  normalizeRowsGrad: 71,
  batchNorm: 72,
  batchNormGrad: 73,
  loss: 48,
  lossGrad: 49,
  metric: 56,
  update: 64,
  constraint: 65,
} as const;

export const activationCodes = {
  linear: 0,
  tanh: 1,
  sigmoid: 2,
  relu: 3,
  hardSigmoid: 4,
  softplus: 5,
  softsign: 6,
  elu: 7,
  selu: 8,
  exponential: 9,
  relu6: 10,
  leakyRelu: 11,
  gelu: 12,
  silu: 13,
  mish: 14,
  hardSilu: 15,
  softmax: 16,
  logSoftmax: 17,
  geluTanh: 18,
  celu: 19,
  squareplus: 20,
  softShrink: 21,
  hardShrink: 22,
  threshold: 23,
  tanhShrink: 24,
  hardTanh: 25,
  logSigmoid: 26,
  sparsePlus: 27,
  sparseSigmoid: 28,
  sparsemax: 29,
} as const;

/** Activations whose derivative is computed from the input; all others use the output. */
export const activationsFromInput: ReadonlySet<ActivationKind> = new Set([
  'gelu',
  'silu',
  'mish',
  'hardSilu',
  'geluTanh',
  'threshold',
  'tanhShrink',
  'sparsePlus',
]);

/** Activations that read whole rows; all others go element by element. */
export const rowActivations: ReadonlySet<ActivationKind> = new Set(['softmax', 'logSoftmax', 'sparsemax']);

export const cellCodes = { simpleRnn: 0, lstm: 1, gru: 2 } as const;

/** Gates per cell, in the order of docs/plan.md: LSTM i f g o, GRU r z n. */
export const gateCounts = { simpleRnn: 1, lstm: 4, gru: 3 } as const;

/** Elements of `reserve` per (step, row, unit). */
export const reservePerUnit = { simpleRnn: 2, lstm: 6, gru: 5 } as const;

/** What of a recurrent layer decides how many gates it has: an LSTM of coupled gates has no input gate, so f g o. */
export interface Gates {
  readonly cell: CellKind;
  readonly coupledGates?: boolean | undefined;
}

/** What of a layer decides how much the backward pass needs: under zoneout of c it also needs c as it was made. */
export interface Kept extends Gates {
  readonly cellZoneout?: { readonly rate: number } | undefined;
}

export function gatesOf({ cell, coupledGates }: Gates): number {
  return gateCounts[cell] - (coupledGates ? 1 : 0);
}

/** Elements of `reserve` per (step, row, unit) of a layer. */
export function reserveOf({ cell, coupledGates, cellZoneout }: Kept): number {
  return reservePerUnit[cell] - (coupledGates ? 1 : 0) + (cellZoneout && cellZoneout.rate > 0 ? 1 : 0);
}

export const lossCodes = {
  categoricalCrossentropy: 0,
  sparseCategoricalCrossentropy: 1,
  binaryCrossentropy: 2,
  meanSquaredError: 3,
  meanAbsoluteError: 4,
  huber: 5,
  logCosh: 6,
  klDivergence: 7,
  binaryFocalCrossentropy: 8,
  categoricalFocalCrossentropy: 9,
  cosineSimilarity: 10,
  poisson: 11,
  hinge: 12,
  squaredHinge: 13,
  categoricalHinge: 14,
  meanSquaredLogarithmicError: 15,
  meanAbsolutePercentageError: 16,
  value: 17,
} as const;

export const metricCodes = {
  binaryAccuracy: 0,
  categoricalAccuracy: 1,
  topK: 2,
  squaredError: 3,
  absoluteError: 4,
  r2: 5,
  confusion: 6,
  histogram: 7,
  crossentropy: 8,
  value: 9,
} as const;

export const extremumCodes = { max: 0, min: 1 } as const;
export const poolCodes = { max: 0, average: 1 } as const;
export const optimizerCodes = {
  sgd: 0,
  rmsprop: 1,
  adam: 2,
  adagrad: 3,
  nadam: 4,
  adamax: 5,
  lion: 6,
  adadelta: 7,
  adafactor: 8,
  ftrl: 9,
} as const;
export const clipCodes = { none: 0, value: 1, norm: 2, globalNorm: 3 } as const;
export const constraintCodes = { nonNeg: 0, maxNorm: 1, unitNorm: 2 } as const;
export const dtypeCodes = { real: 0, int32: 1, float64: 2 } as const;
export const roleCodes = { input: 0, output: 1, variable: 2, arena: 3 } as const;

export type OpKind = keyof typeof opCodes;
export type ActivationKind = keyof typeof activationCodes;
export type CellKind = keyof typeof cellCodes;
export type LossKind = keyof typeof lossCodes;
export type MetricKind = keyof typeof metricCodes;
export type ExtremumKind = keyof typeof extremumCodes;
export type PoolKind = keyof typeof poolCodes;
export type OptimizerKind = keyof typeof optimizerCodes;
export type ClipMode = keyof typeof clipCodes;
export type ConstraintKind = keyof typeof constraintCodes;
export type ValueDType = keyof typeof dtypeCodes;
export type ValueRole = keyof typeof roleCodes;
