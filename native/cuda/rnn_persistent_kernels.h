// The persistent kernels as their callers see them: the table that they read, and their launches.
#pragma once

#include "core/stack.h"
#include "cuda/blas.h"
#include "cuda/persistent_shape.h"
#include "cuda/rnn_cells.h"

namespace deeprnn::cuda {

/**
 * A factor of a step's product: rows that the blocks of a layer write for others to read, as stored for
 * products (mma.h). A row is pieces of `slotLength` numbers, of which `length` count and the rest are
 * zero.
 */
struct StepSource {
  /** [T, groups · storedRows] rows of `rowBytes`. */
  const unsigned char* rows;
  /** Rows for a step that is not there, the initial states, or null for zero. */
  const unsigned char* outside;
  size_t stepBytes;
  int rowBytes;
  /** Step t reads rows of step t + shift. */
  int shift;
  int slotLength, length, chunks;
  /** [groups, T] steps done by those who write: all of them when a counter reaches `writers`. */
  const uint32_t* ready;
  uint32_t writers;
  /**
   * Column p of a unit multiplies number k of a slot by matrix[k·matrixRow + columnGate[p]·H + unit], or
   * where `transposed` by matrix[unit·matrixRow + slotGate[slot]·length + k]; by zero where columnGate[p] <
   * 0.
   */
  const float* matrix;
  int matrixRow;
  bool transposed;
  int slotGate[4], columnGate[4];
};

/** What a step's cells read from arrays that lie still while the kernel runs: fetched before the step waits
 * for others. */
struct StagedArray {
  /** Element (t, n, unit) is base[(t + shift)·step + n·row + unit]; null is zero. */
  const float* base;
  size_t step;
  int row, shift;
  /** [N, H] for a step before the first, or null for zero. */
  const float* outside;
  /** Whether it counts in the last step only, where it lies at step 0. */
  bool lastOnly;
};

/** Places of staged arrays. Forward: gates hold x̃W of the bottom layer. */
enum StagedPlace { stagedGates = 0, stagedExtra = 4, stagedPrevious = 5, stagedDy = 6, stagedAbove = 7 };

/** One layer's part of a kernel. */
struct PersistentLayer {
  core::StackLayer l;
  int T, N, groups, rows, storedRows;
  /** Of one group: firstBlock … firstBlock + blocks − 1, `units` units in `tiles` tiles of columns each. */
  int firstBlock, blocks, blocksOfGroup, units, tiles, perUnit;
  /** Floats of a row of partial sums; where the parts of shared memory begin. */
  int partialRow, weightsAt, biasAt, carriedAt, stagedAt;
  int sourceCount;
  StepSource sources[3];
  /** Which arrays are staged, by StagedPlace, and the place of each in shared memory, −1 where there is none.
   */
  StagedArray staged[kStagedArrays];
  int stagedIndex[kStagedArrays], stagedCount;
  /** [groups, T]: raised by each block when it has done the step. */
  uint32_t* done;
  /** What others read of this layer (`StepSource::rows`): forward h for itself and x̃ of the layer above
   * (null: the same rows serve both), backward the gates' gradients. */
  unsigned char *own, *up;
  int ownRowBytes, slotLength;
  MaskSource recurrentMask, aboveMask;
  bool abovePerElement;
  core::ValidSteps valid;

  // Forward. Arrays over steps as core::ReserveView has them; null where nothing follows that reads them.
  const float* bias;
  bool lastOnly;
  float *gates, *extra, *h, *y, *hT, *cT;
  const float *h0, *c0;

  // Backward: gradients of the gates' sums [T, N, G·H], of the recurrent factor of a GRU's candidate and
  // totals [T, N, H].
  const float *dhT, *dcT;
  float *dG, *dq, *total, *dh0, *dc0;
};

struct KernelLaunch {
  const PersistentLayer* layers;
  int count, grid, rowTiles;
  size_t sharedBytes;
  Precision precision;
};

/** All steps of all layers. All blocks run at once. */
Status persistentForward(const KernelLaunch& l, cudaStream_t stream);
Status persistentBackward(const KernelLaunch& l, cudaStream_t stream);

/** Initial states [N, H] as rows for products: [groups · storedRows] rows of `rowBytes`, masked. */
struct StateRows {
  int N, H, rows, storedRows, groups, rowBytes;
  MaskSource mask;
  Precision precision;
};
Status packStates(const StateRows& s, const float* states, unsigned char* rows, cudaStream_t stream);

}  // namespace deeprnn::cuda
