// Ops that put arrays together or take them apart: kernels, then their launches.
#include "cuda/executable.h"

namespace deeprnn::cuda {
namespace {

using core::OpKind;

__global__ void copyColumns(const float* from, size_t fromRow, float* to, size_t toRow, size_t width,
                            size_t n) {
  forEach(n, [=](size_t i) { to[i / width * toRow + i % width] = from[i / width * fromRow + i % width]; });
}

__global__ void multiplyTwo(const float* a, const float* b, float* y, size_t n) {
  forEach(n, [=](size_t i) { y[i] = a[i] * b[i]; });
}

__global__ void scaleBy(const float* x, float factor, float* y, size_t n) {
  forEach(n, [=](size_t i) { y[i] = factor * x[i]; });
}

/** Whether the larger (or smaller) of a and b is a: of equal ones it is. NaN is, so that it shows. */
__device__ __forceinline__ bool takesFirst(bool max, float a, float b) {
  return a != a || (max ? a >= b : a <= b);
}

__global__ void extremes(bool max, const float* a, const float* b, float* y, size_t n) {
  forEach(n, [=](size_t i) { y[i] = takesFirst(max, a[i], b[i]) ? a[i] : b[i]; });
}

/** da and db may be null. */
__global__ void extremesGrad(bool max, const float* a, const float* b, const float* dy, float* da, float* db,
                             size_t n) {
  forEach(n, [=](size_t i) {
    const bool first = takesFirst(max, a[i], b[i]);
    if (da) da[i] = first ? dy[i] : 0.0f;
    if (db) db[i] = first ? 0.0f : dy[i];
  });
}

Step extremum(const Operands& o) {
  const bool max = static_cast<core::Extremum>(o.op().ints[0]) == core::Extremum::max;
  const size_t n = o.inValue(0).elements;
  if (o.op().kind == OpKind::extremum) {
    return {[=](const RunContext& c, const OpMemory&) {
      return launch(elementwise("extremum", n, c.stream), extremes, max, o.in(0), o.in(1), o.out(0), n);
    }};
  }
  return {[=](const RunContext& c, const OpMemory&) {
    return launch(elementwise("extremumGrad", n, c.stream), extremesGrad, max, o.in(0), o.in(1), o.in(2),
                  o.out(0), o.out(1), n);
  }};
}

Step concat(const Operands& o) {
  const auto row = static_cast<size_t>(o.outValue(0).last());
  const size_t rows = o.outValue(0).rows();
  std::vector<size_t> widths;
  for (size_t i = 0; i < o.op().inputs.size(); ++i)
    widths.push_back(static_cast<size_t>(o.inValue(i).last()));
  return {[=](const RunContext& c, const OpMemory&) {
    float* to = o.out(0);
    for (size_t i = 0; i < widths.size(); to += widths[i++]) {
      const size_t width = widths[i];
      if (Status s = launch(elementwise("concat", rows * width, c.stream), copyColumns, o.in(i), width, to,
                            row, width, rows * width);
          !s.ok())
        return s;
    }
    return Status();
  }};
}

}  // namespace

Step mergeStep(const Operands& o) {
  // Of extremumGrad either output may be absent.
  if (o.op().kind == OpKind::extremum || o.op().kind == OpKind::extremumGrad) return extremum(o);
  const size_t n = o.outValue(0).elements;
  switch (o.op().kind) {
    case OpKind::concat:
      return concat(o);
    case OpKind::slice: {
      const auto row = static_cast<size_t>(o.inValue(0).last()),
                 width = static_cast<size_t>(o.outValue(0).last()),
                 first = static_cast<size_t>(o.op().ints[0]);
      return {[=](const RunContext& c, const OpMemory&) {
        return launch(elementwise("slice", n, c.stream), copyColumns, o.in(0) + first, row, o.out(0), width,
                      width, n);
      }};
    }
    case OpKind::multiply:
      return {[=](const RunContext& c, const OpMemory&) {
        return launch(elementwise("multiply", n, c.stream), multiplyTwo, o.in(0), o.in(1), o.out(0), n);
      }};
    default: {
      const auto factor = static_cast<float>(o.op().floats[0]);
      return {[=](const RunContext& c, const OpMemory&) {
        return launch(elementwise("scale", n, c.stream), scaleBy, o.in(0), factor, o.out(0), n);
      }};
    }
  }
}

}  // namespace deeprnn::cuda
