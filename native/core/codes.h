// The numbers by which plans name things, exactly as docs/plan.md lists them; lib/plan/codes.ts holds the
// same, and a test compares the two. One `name = number` per line.
#pragma once

namespace deeprnn::core {

enum class OpKind {
  batchToTime = 1,
  timeToBatch = 2,
  check = 3,
  assign = 4,
  add = 5,
  broadcastRows = 6,
  sumRows = 7,
  sumScalars = 8,
  stepMask = 9,
  maskRows = 10,
  maskWeights = 11,
  reverseTime = 12,
  concat = 13,
  slice = 14,
  multiply = 15,
  embedding = 16,
  embeddingGrad = 17,
  dense = 18,
  denseGrad = 19,
  activation = 20,
  activationGrad = 21,
  dropout = 22,
  penalty = 23,
  penaltyGrad = 24,
  scale = 25,
  reshape = 26,
  transpose = 27,
  layerNorm = 28,
  layerNormGrad = 29,
  noise = 30,
  lengthMask = 31,
  rnnStack = 32,
  rnnStackGrad = 33,
  unfold = 34,
  fold = 35,
  pool = 36,
  poolGrad = 37,
  program = 40,
  extremum = 66,
  extremumGrad = 67,
  eitherMask = 68,
  matmul = 69,
  normalizeRows = 70,
  normalizeRowsGrad = 71,
  batchNorm = 72,
  batchNormGrad = 73,
  loss = 48,
  lossGrad = 49,
  metric = 56,
  update = 64,
  constraint = 65,
};

enum class Activation {
  linear = 0,
  tanh = 1,
  sigmoid = 2,
  relu = 3,
  hardSigmoid = 4,
  softplus = 5,
  softsign = 6,
  elu = 7,
  selu = 8,
  exponential = 9,
  relu6 = 10,
  leakyRelu = 11,
  gelu = 12,
  silu = 13,
  mish = 14,
  hardSilu = 15,
  softmax = 16,
  logSoftmax = 17,
  geluTanh = 18,
  celu = 19,
  squareplus = 20,
  softShrink = 21,
  hardShrink = 22,
  threshold = 23,
  tanhShrink = 24,
  hardTanh = 25,
  logSigmoid = 26,
  sparsePlus = 27,
  sparseSigmoid = 28,
  sparsemax = 29,
};

/** Activations whose derivative is computed from the input; all others use the output. */
constexpr bool derivativeFromInput(Activation kind) {
  return kind == Activation::gelu || kind == Activation::silu || kind == Activation::mish ||
         kind == Activation::hardSilu || kind == Activation::geluTanh || kind == Activation::threshold ||
         kind == Activation::tanhShrink || kind == Activation::sparsePlus;
}

/** Activations that read whole rows; all others go element by element. */
constexpr bool readsRows(Activation kind) {
  return kind == Activation::softmax || kind == Activation::logSoftmax || kind == Activation::sparsemax;
}

/** Gate order: LSTM i f g o (coupled: f g o), GRU r z n. */
enum class Cell {
  simpleRnn = 0,
  lstm = 1,
  gru = 2,
};

/** `coupled`: an LSTM whose input gate is 1 − its forget gate. */
constexpr int gateCount(Cell cell, bool coupled = false) {
  return cell == Cell::simpleRnn ? 1 : cell == Cell::lstm && !coupled ? 4 : 3;
}

/** Elements of the stack's reserve per (step, row, unit). `cellZoneout`: under zoneout of c, which is kept as
 * the cell made it too. */
constexpr int reservePerUnit(Cell cell, bool coupled = false, bool cellZoneout = false) {
  return gateCount(cell, coupled) + (cell == Cell::simpleRnn ? 1 : 2) + (cellZoneout ? 1 : 0);
}

/** What an instruction of a program computes. */
enum class Instruction {
  matmul = 0,
  activation = 1,
  activationGrad = 2,
  log = 3,
  sqrt = 4,
  abs = 5,
  sign = 6,
  reciprocal = 7,
  scale = 8,
  shift = 9,
  add = 10,
  subtract = 11,
  multiply = 12,
  divide = 13,
  maximum = 14,
  minimum = 15,
  greater = 16,
  greaterEqual = 17,
  select = 18,
  sumGroups = 19,
  expandGroups = 20,
  slice = 21,
  pad = 22,
  concat = 23,
  gather = 24,
  scatterAdd = 25,
  valid = 26,
  dropMask = 27,
};

/** What an operand of a program is: of every step and row, of every row, of none, or which rows count. */
enum class ProgramOperandKind {
  sequence = 0,
  rows = 1,
  weight = 2,
  valid = 3,
};

enum class Loss {
  categoricalCrossentropy = 0,
  sparseCategoricalCrossentropy = 1,
  binaryCrossentropy = 2,
  meanSquaredError = 3,
  meanAbsoluteError = 4,
  huber = 5,
  logCosh = 6,
  klDivergence = 7,
  binaryFocalCrossentropy = 8,
  categoricalFocalCrossentropy = 9,
  cosineSimilarity = 10,
  poisson = 11,
  hinge = 12,
  squaredHinge = 13,
  categoricalHinge = 14,
  meanSquaredLogarithmicError = 15,
  meanAbsolutePercentageError = 16,
  value = 17,
};

enum class Metric {
  binaryAccuracy = 0,
  categoricalAccuracy = 1,
  topK = 2,
  squaredError = 3,
  absoluteError = 4,
  r2 = 5,
  confusion = 6,
  histogram = 7,
  crossentropy = 8,
  value = 9,
};

enum class Extremum {
  max = 0,
  min = 1,
};

enum class Pool {
  max = 0,
  average = 1,
};

enum class Optimizer {
  sgd = 0,
  rmsprop = 1,
  adam = 2,
  adagrad = 3,
  nadam = 4,
  adamax = 5,
  lion = 6,
  adadelta = 7,
  adafactor = 8,
  ftrl = 9,
};

/** Whether hyper[1] of a rule is made of the learning rate, which parameters may have a factor of. */
constexpr bool secondHasRate(Optimizer kind) {
  return kind == Optimizer::adam || kind == Optimizer::adamax || kind == Optimizer::adafactor;
}

/** Operands a parameter of `update`: itself, its gradient, three slots, the sum of its gradients, its
 * average.
 */
constexpr int kParameterInputs = 7;

/** Floats of `update` before those of its parameters: the clip's limit and six constants. Of each parameter
 * l1 and l2 of its penalty, its weight decay, and the factor of its learning rate. */
constexpr int kUpdateFloats = 7, kParameterFloats = 4;

/** Where `hyper` holds how gradients are accumulated and weights averaged. */
struct HyperPlaces {
  static constexpr int share = 4, apply = 5, averageMomentum = 6, overwrite = 7;
};

enum class Clip {
  none = 0,
  value = 1,
  norm = 2,
  globalNorm = 3,
};

enum class Constraint {
  nonNeg = 0,
  maxNorm = 1,
  unitNorm = 2,
};

enum class DType {
  real = 0,
  int32 = 1,
  float64 = 2,
};

enum class Role {
  input = 0,
  output = 1,
  variable = 2,
  arena = 3,
};

}  // namespace deeprnn::core
