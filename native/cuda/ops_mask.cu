// Ops on the masks of steps: kernels, then their launches.
#include "cuda/executable.h"
#include "cuda/reductions.h"

namespace deeprnn::cuda {
namespace {

using core::DType;
using core::OpKind;

template <class T>
__global__ void findValid(const T* x, int32_t* valid, size_t rows, size_t width, T padding) {
  forEach(rows, [=](size_t r) {
    size_t i = 0;
    while (i < width && x[r * width + i] == padding) ++i;
    valid[r] = i < width;
  });
}

__global__ void findWithin(const int32_t* lengths, int32_t* valid, size_t rows, size_t n) {
  forEach(n, [=](size_t i) { valid[i] = static_cast<int32_t>(i / rows) < lengths[i % rows]; });
}

__global__ void blankRows(const float* x, const int32_t* valid, float* y, size_t width, size_t n) {
  forEach(n, [=](size_t i) { y[i] = valid[i / width] ? x[i] : 0.0f; });
}

__global__ void findEither(const int32_t* a, const int32_t* b, int32_t* either, size_t n) {
  forEach(n, [=](size_t i) { either[i] = a[i] != 0 || b[i] != 0; });
}

/** *scale = rows / (valid rows), 1 where there is none. One block. */
__global__ void meanScale(const int32_t* valid, double* scale, size_t rows) {
  double count = 0;
  for (size_t r = threadIdx.x; r < rows; r += blockDim.x) count += valid[r] != 0;
  count = blockSum(count, sharedMemory<double>());
  if (threadIdx.x == 0) *scale = count > 0 ? static_cast<double>(rows) / count : 1.0;
}

__global__ void weighRows(const int32_t* valid, const float* weights, const double* scale, float* y,
                          size_t rows) {
  const double factor = scale ? *scale : 1.0;
  forEach(rows, [=](size_t r) {
    y[r] = valid[r] ? static_cast<float>(factor * (weights ? weights[r] : 1.0f)) : 0.0f;
  });
}

/** y[t] = x[T−1−t], steps of `width` words. */
__global__ void reverseSteps(const uint32_t* x, uint32_t* y, size_t steps, size_t width) {
  forEach(steps * width, [=](size_t i) { y[(steps - 1 - i / width) * width + i % width] = x[i]; });
}

template <class T>
Step stepMask(const Operands& o, T padding) {
  const size_t rows = o.outValue(0).elements, width = rows == 0 ? 0 : o.inValue(0).elements / rows;
  return {[=](const RunContext& c, const OpMemory&) {
    return launch(elementwise("stepMask", rows, c.stream), findValid<T>, o.in<T>(0), o.out<int32_t>(0), rows,
                  width, padding);
  }};
}

Step maskWeights(const Operands& o) {
  const size_t rows = o.inValue(0).elements;
  const bool normalize = o.op().ints[0] == 1;
  return {[=](const RunContext& c, const OpMemory&) {
            auto* scale = normalize ? reinterpret_cast<double*>(c.scratch) : nullptr;
            if (normalize) {
              const Launch one = {"mean of valid rows", dim3(1), dim3(kThreads), c.stream,
                                  33 * sizeof(double)};
              if (Status s = launch(one, meanScale, o.in<int32_t>(0), scale, rows); !s.ok()) return s;
            }
            return launch(elementwise("maskWeights", rows, c.stream), weighRows, o.in<int32_t>(0), o.in(1),
                          static_cast<const double*>(scale), o.out(0), rows);
          },
          sizeof(double)};
}

}  // namespace

Step maskStep(const Operands& o) {
  const size_t n = o.inValue(0).elements;
  switch (o.op().kind) {
    case OpKind::lengthMask: {
      const size_t all = o.outValue(0).elements;
      return {[=](const RunContext& c, const OpMemory&) {
        return launch(elementwise("lengthMask", all, c.stream), findWithin, o.in<int32_t>(0),
                      o.out<int32_t>(0), n, all);
      }};
    }
    case OpKind::stepMask:
      return o.inValue(0).dtype == DType::int32 ? stepMask(o, static_cast<int32_t>(o.op().floats[0]))
                                                : stepMask(o, static_cast<float>(o.op().floats[0]));
    case OpKind::maskRows: {
      const auto width = static_cast<size_t>(o.inValue(0).last());
      return {[=](const RunContext& c, const OpMemory&) {
        return launch(elementwise("maskRows", n, c.stream), blankRows, o.in(0), o.in<int32_t>(1), o.out(0),
                      width, n);
      }};
    }
    case OpKind::maskWeights:
      return maskWeights(o);
    case OpKind::eitherMask:
      return {[=](const RunContext& c, const OpMemory&) {
        return launch(elementwise("eitherMask", n, c.stream), findEither, o.in<int32_t>(0), o.in<int32_t>(1),
                      o.out<int32_t>(0), n);
      }};
    default: {
      const auto steps = static_cast<size_t>(o.inValue(0).shape[0]);
      const size_t width = steps == 0 ? 0 : o.inValue(0).bytes() / steps / sizeof(uint32_t);
      return {[=](const RunContext& c, const OpMemory&) {
        return launch(elementwise("reverseTime", steps * width, c.stream), reverseSteps, o.in<uint32_t>(0),
                      o.out<uint32_t>(0), steps, width);
      }};
    }
  }
}

}  // namespace deeprnn::cuda
