// Ops that give an array another shape: kernels, then their launches.
#include "core/transpose.h"
#include "cuda/executable.h"

namespace deeprnn::cuda {
namespace {

using core::OpKind;
using core::Transposition;

__global__ void copyAll(const float* x, float* y, size_t n) {
  forEach(n, [=](size_t i) { y[i] = x[i]; });
}

/** The axes are read where they lie: a copy that is indexed would lie in local memory. */
__global__ void transposeAll(const float* x, float* y, size_t n, const __grid_constant__ Transposition axes) {
  forEach(n, [&](size_t i) { y[i] = x[axes.source(i)]; });
}

}  // namespace

Step shapeStep(const Operands& o) {
  const size_t n = o.outValue(0).elements;
  if (o.op().kind == OpKind::transpose) {
    const Transposition axes = Transposition::of(o.inValue(0), o.op().ints);
    return {[=](const RunContext& c, const OpMemory&) {
      return launch(elementwise("transpose", n, c.stream), transposeAll, o.in(0), o.out(0), n, axes);
    }};
  }
  return {[=](const RunContext& c, const OpMemory&) {
    return launch(elementwise("reshape", n, c.stream), copyAll, o.in(0), o.out(0), n);
  }};
}

}  // namespace deeprnn::cuda
