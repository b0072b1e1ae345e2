// What every way to run a stack shares: scratch memory, masks, and the gradients of the weights after the
// sweep.
#pragma once

#include "core/stack.h"
#include "cuda/executable.h"
#include "cuda/rnn_cells.h"
#include "cuda/zoneout.h"

namespace deeprnn::cuda {

using core::Cell;
using core::ReserveView;
using core::StackIo;
using core::StackLayer;
using core::StackLayerIo;
using core::StackSpec;

/** Hands out pieces of scratch memory, 256-byte aligned. With none it only counts. */
class Carver {
 public:
  explicit Carver(unsigned char* base) : base_(base) {}
  float* take(size_t floats) {
    float* at = base_ ? reinterpret_cast<float*>(base_ + used_) : nullptr;
    used_ += (floats * sizeof(float) + 255) / 256 * 256;
    return at;
  }
  size_t used() const { return used_; }

 private:
  unsigned char* base_;
  size_t used_ = 0;
};

inline MaskSource inputMask(const StackSpec& spec, const StackLayer& l, const double* step) {
  return {spec.seedLo, spec.seedHi, l.inputStream, step, l.inputRate, l.maskBase};
}
inline MaskSource stateMask(const StackSpec& spec, const StackLayer& l, const double* step) {
  return {spec.seedLo, spec.seedHi,     l.recurrentStream,
          step,        l.recurrentRate, l.stateMaskPerStep ? l.stateBase : 0};
}
/** Of the states before step t. */
inline StateMask stateMaskAt(const StackSpec& spec, const StackLayer& l, const double* step, size_t t) {
  return {stateMask(spec, l, step), l.stateMaskPerStep ? t * spec.N * l.H : 0, l.stateMaskPerStep};
}

inline ZoneoutStep zoneoutStep(const StackSpec& spec, const StackLayer& l, const double* step, size_t t,
                               const int32_t* valid) {
  return {l, spec.N, spec.seedLo, spec.seedHi, step, t * spec.N * l.H, valid};
}

/** Whether x̃ is another array than x: masked, or read from its end. */
inline bool reordersInput(const StackSpec& spec, const StackLayer& l, bool bottom) {
  return l.inputRate > 0 || (bottom && spec.goBackwards);
}
inline InputOrder inputOrder(const StackSpec& spec, const StackLayer& l, const double* step, bool bottom) {
  return {spec.T, spec.N, l.D, bottom && spec.goBackwards, l.maskPerElement, inputMask(spec, l, step)};
}

/** Floats for the terms of the peepholes' gradient: of i, f and o in `rows` rows. */
inline size_t peepholeProducts(size_t rows, const StackLayer& l) {
  return rows * (l.G - 1) * l.H;
}

/** Gradients of one layer's weights, as large products over all steps. */
struct WeightGradients {
  const StackSpec& spec;
  const StackLayer& l;
  const StackLayerIo& io;
  const double* step;
  bool bottom;
  /** [T, N, D] as it lies. */
  const float* input;
  ReserveView r;
  /** Gradients of the gates' sums [T, N, G·H], and of the recurrent factor of a GRU's candidate [T, N, H]. */
  const float *dG, *dq;
  /** Scratch: x̃ [T, N, D] where `reordersInput`, h̃ [T, N, H] under recurrent dropout. */
  float *ordered, *masked;
  /** Scratch of `columnSumsScratch(T·N, G·H)` floats. */
  float* sums;
  /** Scratch of `peepholeProducts` floats where the gradient of peepholes is wanted. */
  float* products = nullptr;

  Status queue(const RunContext& c, cudaStream_t stream) const;

 private:
  Status kernel(const RunContext& c, cudaStream_t stream) const;
  Status recurrentKernel(const RunContext& c, cudaStream_t stream) const;
  Status bias(cudaStream_t stream) const;
  Status peephole(cudaStream_t stream) const;
};

}  // namespace deeprnn::cuda
