// Where a stack's arrays lie in its reserve and scratch; private to rnn_stack.cpp, rnn_forward.cpp and
// rnn_backward.cpp.
#pragma once

#include <algorithm>
#include <cstring>

#include "cpu/gemm.h"
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

/** A product of one step: its panels on all threads where `shared` and there is enough to do, else by the
 * caller. */
inline void multiplyShared(ThreadPool& pool, const KernelTable& k, const Gemm& g, bool shared) {
  /** Bytes of packed weights from which on threads are worth asking. */
  constexpr size_t kSharedWeights = size_t{96} << 10;
  const size_t all = panels(k, g.n), parts = std::min(all, static_cast<size_t>(pool.threads()));
  if (!shared || (g.k1 + g.k2) * g.n * sizeof(float) < kSharedWeights) return k.gemm(g, 0, all);
  pool.parallelFor(parts, [&](size_t p) { k.gemm(g, all * p / parts, all * (p + 1) / parts); });
}

/** body(first, last, part): rows of the cells of one step, on all threads where `shared` and there is enough
 * to do. */
template <class Body>
void forRows(ThreadPool& pool, size_t rows, size_t gates, bool shared, const Body& body) {
  /** Gates worth asking a thread for. */
  constexpr size_t kSharedGates = 16384;
  const size_t parts =
      shared && rows * gates >= kSharedGates ? std::min(rows, static_cast<size_t>(pool.threads())) : 1;
  if (parts == 1) return body(size_t{0}, rows, size_t{0});
  pool.parallelFor(parts, [&](size_t p) { body(rows * p / parts, rows * (p + 1) / parts, p); });
}

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

/** What a step of a layer makes anew of h and of c. */
struct Renewals {
  core::Renewal h, c;

  Renewals(const StackSpec& spec, const StackLayer& l, double step)
      : h(core::Renewal::of(spec.seedLo, spec.seedHi, l.zoneoutStream, step, l.zoneout, l.zoneoutExpected)),
        c(core::Renewal::of(spec.seedLo, spec.seedHi, l.cellZoneoutStream, step, l.cellZoneout,
                            l.zoneoutExpected)) {}
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
