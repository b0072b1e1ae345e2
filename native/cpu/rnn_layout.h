// Where a stack's arrays lie in its reserve and scratch; private to rnn_stack.cpp, rnn_forward.cpp and
// rnn_backward.cpp.
#pragma once

#include <algorithm>
#include <cstring>

#include "cpu/rnn_stack.h"

namespace deeprnn::cpu {

using core::LayerMasks;
using core::ReserveView;

/** Hands out pieces of a block of floats, each aligned to 64 bytes. With no block it only counts. */
class Carver {
 public:
  explicit Carver(float* base) : base_(base) {}
  float* take(size_t floats) {
    float* p = base_ ? base_ + used_ : nullptr;
    used_ += roundUp(floats, 16);
    return p;
  }
  size_t used() const { return used_; }

 private:
  float* base_;
  size_t used_ = 0;
};

/** Activations on one contiguous row, keeping what the backward pass needs: `keep` gets f(x), or x where f′
 * needs x; `out` gets f(x). */
inline void activateKeeping(const KernelTable& k, core::Activation kind, float alpha, float* keep, float* out,
                            size_t n) {
  k.activate(kind, alpha, keep, out, n);
  if (!core::derivativeFromInput(kind) && out != keep) std::memcpy(keep, out, n * sizeof(float));
}

/** f(x) from what was kept. */
inline const float* valueOfKept(const KernelTable& k, core::Activation kind, float alpha, const float* kept,
                                float* tmp, size_t n) {
  if (!core::derivativeFromInput(kind)) return kept;
  k.activate(kind, alpha, kept, tmp, n);
  return tmp;
}

}  // namespace deeprnn::cpu
