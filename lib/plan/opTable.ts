import type { OpKind } from './codes';
import * as batchNorm from './ops/batchNorm';
import * as data from './ops/data';
import * as dense from './ops/dense';
import * as extremum from './ops/extremum';
import * as loss from './ops/loss';
import * as mask from './ops/mask';
import * as matmul from './ops/matmul';
import * as merge from './ops/merge';
import * as norm from './ops/norm';
import { program } from './ops/program';
import * as rnnStack from './ops/rnnStack';
import type { OpRow } from './ops/row';
import * as shape from './ops/shape';
import * as update from './ops/update';
import * as window from './ops/window';

/** Every op of docs/plan.md: shape rule, encoding and gradient rule. */
const table: { readonly [K in OpKind]: OpRow<K> } = {
  batchToTime: data.batchToTime,
  timeToBatch: data.timeToBatch,
  check: data.check,
  assign: data.assign,
  add: data.add,
  broadcastRows: data.broadcastRows,
  sumRows: data.sumRows,
  sumScalars: data.sumScalars,
  lengthMask: mask.lengthMask,
  stepMask: mask.stepMask,
  maskRows: mask.maskRows,
  maskWeights: mask.maskWeights,
  reverseTime: mask.reverseTime,
  concat: merge.concat,
  slice: merge.slice,
  multiply: merge.multiply,
  scale: merge.scale,
  reshape: shape.reshape,
  transpose: shape.transpose,
  layerNorm: norm.layerNorm,
  layerNormGrad: norm.layerNormGrad,
  noise: dense.noise,
  unfold: window.unfold,
  fold: window.fold,
  pool: window.pool,
  poolGrad: window.poolGrad,
  extremum: extremum.extremum,
  extremumGrad: extremum.extremumGrad,
  eitherMask: mask.eitherMask,
  matmul: matmul.matmul,
  normalizeRows: matmul.normalizeRows,
  normalizeRowsGrad: matmul.normalizeRowsGrad,
  batchNorm: batchNorm.batchNorm,
  batchNormGrad: batchNorm.batchNormGrad,
  embedding: data.embedding,
  embeddingGrad: data.embeddingGrad,
  dense: dense.dense,
  denseGrad: dense.denseGrad,
  activation: dense.activation,
  activationGrad: dense.activationGrad,
  dropout: dense.dropout,
  penalty: dense.penalty,
  penaltyGrad: dense.penaltyGrad,
  rnnStack: rnnStack.rnnStack,
  rnnStackGrad: rnnStack.rnnStackGrad,
  program,
  loss: loss.loss,
  lossGrad: loss.lossGrad,
  metric: loss.metric,
  update: update.update,
  constraint: update.constraint,
};

export function opRow<K extends OpKind>(kind: K): OpRow<K> {
  return table[kind];
}
