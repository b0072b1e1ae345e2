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
  /** Gates of all steps whose gradients the last cache holds: 16 MB. */
  static constexpr size_t kFewGates = size_t{4} << 20;

  /** `largeLayer`: weights from which on a layer is taken for large; tests take small ones for such.
   * `packsRows`: whether products leave out rows that do not count; tests compare. `fewGates`: up to how many
   * the backward pass goes through all steps at once; tests take fewer. */
  RnnStack(StackSpec spec, const KernelTable& kernels, int threads, size_t largeLayer = kLargeLayer,
           bool packsRows = true, size_t fewGates = kFewGates);

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
  /** Steps whose gradients are added to those of weights together. */
  size_t stepsTogether() const;
  /** Steps that the backward pass of a layer goes through before it does so; the most of any layer. */
  size_t stepsBack(const StackLayer& l) const;
  size_t stepsBack() const;
  struct StepRange;
  struct StepGradients;
  /** Adds to the gradients of one layer's weights, from its inputs and states. */
  void weightGradients(const StackIo& io, size_t index, const float* input, float* reserve,
                       const StepRange& steps, const StepGradients& own, ThreadPool& pool) const;
  bool keepsRows(const core::ValidSteps& valid) const;
  void keepRows(const core::ValidSteps& valid, const StepRange& steps, uint32_t* places,
                KeptRows kept[2]) const;

  StackSpec spec_;
  const KernelTable& k_;
  int threads_;
  size_t largeLayer_;
  bool packsRows_;
  size_t fewGates_;
};

}  // namespace deeprnn::cpu
