#pragma once

#include <vector>

#include "core/stack.h"
#include "cpu/gemm.h"
#include "cpu/thread_pool.h"

namespace deeprnn::cpu {

using core::StackIo;
using core::StackLayer;
using core::StackLayerIo;
using core::StackSpec;

/**
 * Runs stacks of recurrent layers of one shape, one layer after another, so that a layer's weights stay in
 * the cache. The products with the inputs of all steps are one; then work is shared out by rows of the batch:
 * a thread takes its rows through all steps, so that no thread waits for another between steps. What is kept
 * for the backward pass, per layer in `reserve`: gates [T, N, G·H] (after their activation, or before it
 * where the derivative needs that), then c [T, N, H] (LSTM) or the recurrent factor of the candidate [T, N,
 * H] (GRU), then h [T, N, H]. Products leave out the rows of sequences that are over, or whose step does not
 * count otherwise: rows do not depend on each other, so that no bit changes.
 */
class RnnStack {
 public:
  /** Weights of a layer from which on a core's share of the caches does not hold them: 12 MB. */
  static constexpr size_t kLargeLayer = size_t{3} << 20;

  /** `largeLayer`: weights from which on a layer is taken for large; tests take small ones for such.
   * `packsRows`: whether products leave out rows that do not count; tests compare. */
  RnnStack(StackSpec spec, const KernelTable& kernels, int threads, size_t largeLayer = kLargeLayer,
           bool packsRows = true);

  /** Floats of scratch for a run; the caller hands in memory aligned to 64 bytes. */
  size_t forwardScratch(bool withReserve) const;
  size_t backwardScratch() const;

  /** Floats of the weights as a forward pass reads them, and those weights made ready. They hold until a
   * weight changes. */
  size_t packedFloats() const;
  void pack(const StackIo& io, float* packed, ThreadPool& pool) const;

  const StackSpec& spec() const { return spec_; }

  void forward(const StackIo& io, float* packed, float* scratch, ThreadPool& pool) const;
  void backward(const StackIo& io, float* scratch, ThreadPool& pool) const;

 private:
  struct Packed;
  struct ForwardCut;
  struct RowScratch;
  struct ForwardRows;
  struct BackwardRows;

  size_t stateFloats() const;
  size_t aheadFloats() const;
  bool isLarge(const StackLayer& l) const;
  size_t rowBlock() const;
  size_t stepsAhead(const StackLayer& l) const;
  /** x̃W + b of all gates for `rows` rows of the inputs. */
  void project(const StackLayer& l, const StackLayerIo& io, const Packed& packed, const float* x, size_t rows,
               float* gates, ThreadPool& pool) const;
  /** Gradients of one layer's weights, from its inputs, states and gate gradients over all steps. */
  void weightGradients(const StackIo& io, size_t index, const float* input, float* reserve,
                       const float* dGates, const float* dq, float* const work[3], const KeptRows kept[2],
                       ThreadPool& pool) const;
  void keepRows(const core::ValidSteps& valid, uint32_t* places, KeptRows kept[2]) const;

  StackSpec spec_;
  const KernelTable& k_;
  int threads_;
  size_t largeLayer_;
  bool packsRows_;
};

}  // namespace deeprnn::cpu
