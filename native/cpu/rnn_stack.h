#pragma once

#include <vector>

#include "core/codes.h"
#include "core/philox.h"
#include "cpu/gemm.h"
#include "cpu/thread_pool.h"

namespace deeprnn::cpu {

/** One layer of a stack: H units over G gates, reading D values a step. */
struct StackLayer {
  core::Cell cell = core::Cell::simpleRnn;
  size_t D = 0, H = 0, G = 0;
  core::Activation activation = core::Activation::tanh;
  core::Activation recurrentActivation = core::Activation::sigmoid;
  float alpha = 0, recurrentAlpha = 0;
  bool resetAfter = false;
  bool maskPerElement = false;
  uint32_t inputStream = 0, recurrentStream = 0;
  double inputRate = 0, recurrentRate = 0;
};

struct StackSpec {
  size_t T = 0, N = 0;
  bool returnSequences = true;
  bool goBackwards = false;
  uint32_t seedLo = 0, seedHi = 0;
  std::vector<StackLayer> layers;
};

/** A layer's arrays in a run; null where absent. Weights and states as in docs/plan.md. */
struct StackLayerIo {
  const float *kernel, *recurrentKernel, *bias, *h0, *c0;
  // Forward.
  float *y, *hT, *cT;
  // Backward.
  const float *dy, *dhT, *dcT;
  float *dKernel, *dRecurrentKernel, *dBias, *dh0, *dc0;
};

struct StackIo {
  double step = 0;
  const float* x = nullptr;
  /** Forward: written where a backward pass follows; null: `scratch` is used instead. Backward: read. */
  float* reserve = nullptr;
  float* dx = nullptr;
  double* stepNorms = nullptr;
  std::vector<StackLayerIo> layers;
};

/**
 * Runs stacks of recurrent layers of one shape. Work is shared out by rows of the batch: a thread takes its
 * rows through all steps, so that no thread waits for another between steps, and through one layer after
 * another, so that a layer's weights stay in the cache. What is kept for the backward pass, per layer in
 * `reserve`: gates [T, N, G·H] (after their activation, or before it where the derivative needs that), then
 * c [T, N, H] (LSTM) or the recurrent factor of the candidate [T, N, H] (GRU), then h [T, N, H].
 */
class RnnStack {
 public:
  RnnStack(StackSpec spec, const KernelTable& kernels, int threads);

  /** Floats of scratch for a run; the caller hands in memory aligned to 64 bytes. */
  size_t forwardScratch(bool withReserve) const;
  size_t backwardScratch() const;

  void forward(const StackIo& io, float* scratch, ThreadPool& pool) const;
  void backward(const StackIo& io, float* scratch, ThreadPool& pool) const;

 private:
  struct Packed;
  struct ForwardRows;
  struct BackwardRows;

  size_t reserveSize() const;
  size_t rowScratch() const;
  size_t rowBlock() const;
  /** Gradients of one layer's weights, from its inputs, states and gate gradients over all steps. */
  void weightGradients(const StackIo& io, size_t index, const float* input, float* reserve,
                       const float* dGates, const float* dq, float* const work[2], ThreadPool& pool) const;

  StackSpec spec_;
  const KernelTable& k_;
  int threads_;
};

}  // namespace deeprnn::cpu
