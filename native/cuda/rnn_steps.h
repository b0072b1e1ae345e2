#pragma once

#include "core/stack.h"
#include "cuda/executable.h"

namespace deeprnn::cuda {

/**
 * A stack of recurrent layers as products and elementwise kernels (rungs `steps` and `diagonal`). The reserve
 * is laid out as core::ReserveView says. Everything is queued on streams and nothing waits, so that it can be
 * captured in a graph.
 */
class StackSteps {
 public:
  /** `chunk`: steps that a layer takes at once; T for one layer after another. */
  StackSteps(core::StackSpec spec, core::StackIo io, const double* step, size_t chunk);

  /** Bytes. */
  size_t forwardScratch() const;
  size_t backwardScratch() const;

  Status forward(const RunContext& c) const;
  Status backward(const RunContext& c) const;

 private:
  struct Forward;
  struct Backward;

  core::StackSpec spec_;
  core::StackIo io_;
  const double* step_;
  size_t chunk_;
};

}  // namespace deeprnn::cuda
