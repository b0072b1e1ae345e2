import type { OpKind } from '../../plan/codes';
import { activation, activationGrad } from './activation';
import { batchNorm, batchNormGrad } from './batchNorm';
import { constraint } from './constraint';
import { add, assign, broadcastRows, check, sumRows, sumScalars, swapLeading } from './data';
import { dense, denseGrad } from './dense';
import { dropout } from './dropout';
import { embedding, embeddingGrad } from './embedding';
import { extremum, extremumGrad } from './extremum';
import { layerNorm, layerNormGrad } from './layerNorm';
import { loss, lossGrad } from './losses';
import { eitherMask, lengthMask, maskRows, maskWeights, reverseTime, stepMask } from './mask';
import { matmul, normalizeRows, normalizeRowsGrad } from './matmul';
import { concat, multiply, scale, slice } from './merge';
import { metric } from './metrics';
import { noise } from './noise';
import type { Kernel } from './operands';
import { penalty, penaltyGrad } from './penalty';
import { program } from './program';
import { rnnStack, rnnStackGrad } from './rnnStack';
import { reshape, transpose } from './shape';
import { update } from './update';
import { fold, pool, poolGrad, unfold } from './window';

/** Every op of docs/plan.md. The op table has proved the number, dtype and shape of operands that each kernel declares. */
export const kernels: { readonly [K in OpKind]: Kernel<K, never, never> } = {
  batchToTime: swapLeading,
  timeToBatch: swapLeading,
  check,
  assign,
  add,
  broadcastRows,
  sumRows,
  sumScalars,
  lengthMask,
  stepMask,
  maskRows,
  maskWeights,
  reverseTime,
  concat,
  slice,
  multiply,
  scale,
  reshape,
  transpose,
  layerNorm,
  layerNormGrad,
  noise,
  unfold,
  fold,
  pool,
  poolGrad,
  extremum,
  extremumGrad,
  eitherMask,
  matmul,
  normalizeRows,
  normalizeRowsGrad,
  batchNorm,
  batchNormGrad,
  embedding,
  embeddingGrad,
  dense,
  denseGrad,
  activation,
  activationGrad,
  dropout,
  penalty,
  penaltyGrad,
  rnnStack,
  rnnStackGrad,
  program,
  loss,
  lossGrad,
  metric,
  update,
  constraint,
};
