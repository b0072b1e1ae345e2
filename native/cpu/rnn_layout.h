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

/** Which rows of a task count in one step. */
struct ValidRows {
  /** [count], or null where all count. */
  const int32_t* valid;
  /** One past the last that counts. */
  size_t live;

  ValidRows(const core::ValidSteps& all, size_t s, size_t first, size_t count)
      : valid(all.at(s)), live(count) {
    if (!valid) return;
    valid += first;
    while (live > 0 && valid[live - 1] == 0) --live;
  }
  bool counts(size_t n) const { return !valid || valid[n] != 0; }
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
