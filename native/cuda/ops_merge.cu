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
