// Ops that give an array another shape.
#include "core/transpose.h"
#include "cpu/executable.h"

namespace deeprnn::cpu {

using core::OpKind;
using core::Status;
using core::Transposition;

namespace {

/** Elements a task. */
constexpr size_t kChunk = 8192;

Step transpose(const Operands& o) {
  const Transposition axes = Transposition::of(o.inValue(0), o.op().ints);
  const size_t n = o.outValue(0).elements;
  const size_t width = axes.rank == 0 ? 1 : axes.sizes[axes.rank - 1],
               apart = axes.rank == 0 ? 1 : axes.steps[axes.rank - 1];
  const size_t rows = n == 0 ? 0 : n / width, block = kChunk / std::min(std::max<size_t>(width, 1), kChunk);
  return {[=](const RunContext& c) {
    c.pool.parallelFor((rows + block - 1) / block, [&](size_t task) {
      for (size_t r = task * block; r < std::min(rows, (task + 1) * block); ++r) {
        const float* from = o.in(0) + axes.source(r * width);
        float* to = o.out(0) + r * width;
        for (size_t i = 0; i < width; ++i) to[i] = from[i * apart];
      }
    });
    return Status();
  }};
}

}  // namespace

Step shapeStep(const Operands& o) {
  if (o.op().kind == OpKind::transpose) return transpose(o);
  const size_t bytes = o.inValue(0).bytes();
  return {[=](const RunContext&) {
    if (bytes > 0) std::memcpy(o.out(0), o.in(0), bytes);
    return Status();
  }};
}

}  // namespace deeprnn::cpu
