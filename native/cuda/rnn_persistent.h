// A stack as ONE persistent kernel for each direction (rungs c and d; docs/cuda.md, "The ladder"): every
// block keeps its slice of the weights in shared memory for all steps and waits only for the steps that it
// needs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/stack.h"
#include "cuda/executable.h"
#include "cuda/rnn_cells.h"

namespace deeprnn::cuda {

/** A factor of a step's product: rows [N, length] that other blocks, or an earlier kernel, have written. */
struct StepSource {
  /** Rows of step t lie at base + (t + shift)·step + n·row. */
  const float* base;
  /** Rows for a step that is not there: the initial state, or null for zero. */
  const float* outside;
  size_t step;
  int row, length, shift;
  /** Whether rows may be read four numbers at a time. */
  bool vector;
  /** Steps done by those who write it, or null where it was all there before; all done when it reaches
   * `writers`. */
  const uint32_t* ready;
  uint32_t writers;
  /** Column p of a unit multiplies element k by matrix[k·matrixRow + gate[p]·H + unit], or where `transposed`
   * by matrix[unit·matrixRow + gate[p] + k]; by 0 where gate[p] < 0. */
  const float* matrix;
  int matrixRow;
  bool transposed;
  int gate[4];
};

/** One layer's part of the kernel: blocks firstBlock … firstBlock + blocks − 1, `units` units each. */
struct PersistentLayer {
  core::StackLayer l;
  int T, N, firstBlock, blocks, units;
  /** Columns of the product a unit has; all columns of a block, a multiple of 4; rows of weights. */
  int perUnit, columns, depth;
  int sourceCount;
  StepSource sources[3];
  /** [T]: raised by each block when it has done the step. */
  uint32_t* done;

  // Forward: arrays over steps as core::ReserveView has them.
  const float* bias;
  /** Whether x̃W is in `gates` already. */
  bool projected, lastOnly;
  float *gates, *extra, *h, *y, *hT, *cT;
  const float *h0, *c0;
  /** h̃ of the next step and x̃ of the layer above, where they are masked; else null. */
  float *hMasked, *xAbove;
  MaskSource recurrentMask, aboveMask;
  bool abovePerElement;

  // Backward.
  const float *dy, *dhT, *dcT;
  float *dG, *dq, *total, *dh0, *dc0;
  /** [N, H]: what the carried state keeps of dh, and ∂/∂c. */
  float *keep, *dc;
};

/** How the device's multiprocessors are shared out among the layers; empty where the stack does not fit. */
struct PersistentShape {
  std::vector<int> columns, blocks;
  int grid = 0;
  size_t sharedBytes = 0;
};

class PersistentStack {
 public:
  /** Null where the stack must run otherwise; `why` then says the reason. */
  static std::unique_ptr<PersistentStack> plan(const core::StackSpec& spec, const core::StackIo& io,
                                               const double* step, bool backward, int multiprocessors,
                                               size_t sharedPerBlock, const char** why);

  /** In words, for `notes`. */
  std::string describe() const;

  /** Bytes of scratch, and the table of layers made for scratch at `scratch`. */
  size_t scratch() const;
  std::vector<unsigned char> table(unsigned char* scratch) const;

  Status forward(const RunContext& c, const OpMemory& own) const;
  Status backward(const RunContext& c, const OpMemory& own) const;

 private:
  core::StackSpec spec_;
  core::StackIo io_;
  const double* step_ = nullptr;
  bool backward_ = false;
  PersistentShape shape_;
};

}  // namespace deeprnn::cuda
