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

/** The largest size of any layer. */
inline size_t widest(const StackSpec& spec, size_t StackLayer::* size) {
  size_t most = 0;
  for (const StackLayer& l : spec.layers) most = std::max(most, l.*size);
  return most;
}
inline size_t widestGates(const StackSpec& spec) {
  size_t most = 0;
  for (const StackLayer& l : spec.layers) most = std::max(most, l.G * l.H);
  return most;
}

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
  /** Places of those that count, of which there are `active`, where others that lie between them are worth
   * passing over; else null. */
  const uint32_t* list = nullptr;
  size_t active;

  /** `places`: memory for `count` places, or null where all rows up to the last that counts are to be worked
   * on. */
  ValidRows(const core::ValidSteps& all, size_t s, size_t first, size_t count, uint32_t* places)
      : valid(all.at(s)), live(count), active(count) {
    if (!valid) return;
    valid += first;
    while (live > 0 && valid[live - 1] == 0) --live;
    active = live;
    if (!places) return;
    active = 0;
    for (size_t n = 0; n < live; ++n) {
      if (valid[n] != 0) places[active++] = static_cast<uint32_t>(n);
    }
    // Rows have to be copied for it.
    if (8 * active <= 7 * live) list = places;
  }
  bool counts(size_t n) const { return !valid || valid[n] != 0; }
};

/** Copies the rows of an array that count to one place, or back from there. */
inline void gatherRows(const ValidRows& rows, const float* from, size_t fromRow, size_t width, float* to) {
  for (size_t i = 0; i < rows.active; ++i)
    std::memcpy(to + i * width, from + rows.list[i] * fromRow, width * sizeof(float));
}
inline void scatterRows(const ValidRows& rows, const float* from, size_t width, float* to, size_t toRow) {
  for (size_t i = 0; i < rows.active; ++i)
    std::memcpy(to + rows.list[i] * toRow, from + i * width, width * sizeof(float));
}

/** Memory for the rows of a product that count: of its factors and of its result. */
struct RowCopies {
  float *a1, *a2, *c;
  uint32_t* places;

  RowCopies(Carver& carve, size_t block, size_t k1, size_t k2, size_t n)
      : a1(carve.take(block * k1)),
        a2(carve.take(block * k2)),
        c(carve.take(block * n)),
        places(reinterpret_cast<uint32_t*>(carve.take(block))) {}
};

/** A product of the rows of one step, of which those that do not count may keep what they are or hold
 * anything. A row's result does not depend on the others. */
inline void multiplyRows(ThreadPool& pool, const KernelTable& k, const Gemm& g, bool shared,
                         const ValidRows& rows, const RowCopies& copies) {
  if (!rows.list) return multiplyShared(pool, k, g, shared);
  Gemm own = g;
  own.m = rows.active;
  if (g.k1 > 0) {
    gatherRows(rows, g.a1, g.a1Row, g.k1, copies.a1);
    own.a1 = copies.a1;
    own.a1Row = g.k1;
  }
  if (g.k2 > 0) {
    gatherRows(rows, g.a2, g.a2Row, g.k2, copies.a2);
    own.a2 = copies.a2;
    own.a2Row = g.k2;
  }
  if (g.accumulate) gatherRows(rows, g.c, g.cRow, g.n, copies.c);
  own.c = copies.c;
  own.cRow = g.n;
  multiplyShared(pool, k, own, shared);
  scatterRows(rows, copies.c, g.n, g.c, g.cRow);
}

/** What a step of a layer makes anew of h and of c. */
struct Renewals {
  core::Renewal h, c;

  Renewals(const StackSpec& spec, const StackLayer& l, double step)
      : h(core::Renewal::of(spec.seedLo, spec.seedHi, l.zoneoutStream, step, l.zoneout, l.zoneoutExpected,
                            l.stateBase)),
        c(core::Renewal::of(spec.seedLo, spec.seedHi, l.cellZoneoutStream, step, l.cellZoneout,
                            l.zoneoutExpected, l.stateBase)) {}
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
