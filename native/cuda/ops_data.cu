// Ops that move data: kernels, then their launches.
#include "cuda/executable.h"
#include "cuda/reductions.h"

namespace deeprnn::cuda {
namespace {

using core::DType;
using core::OpKind;

/** y[j, i, :] = x[i, j, :] for x [a, b, width], in words of 4 bytes. */
__global__ void swapAxes(const uint32_t* x, uint32_t* y, size_t a, size_t b, size_t width) {
  forEach(a * b * width, [=](size_t e) {
    const size_t w = e % width, row = e / width, i = row % a, j = row / a;
    y[e] = x[(i * b + j) * width + w];
  });
}

__device__ __forceinline__ void report(Fault* fault, unsigned* failed, size_t element) {
  atomicMin(&fault->element, static_cast<unsigned long long>(element));
  *failed = 1;
}

__global__ void findNotFinite(const float* x, size_t n, Fault* fault, unsigned* failed) {
  forEach(n, [=](size_t i) {
    // False for NaN too.
    if (!(fabsf(x[i]) <= 3.402823466e38f)) report(fault, failed, i);
  });
}

__global__ void findNotFiniteDouble(const double* x, size_t n, Fault* fault, unsigned* failed) {
  forEach(n, [=](size_t i) {
    if (!(fabs(x[i]) <= 1.7976931348623157e308)) report(fault, failed, i);
  });
}

__global__ void findOutside(const int32_t* x, size_t n, int32_t size, Fault* fault, unsigned* failed) {
  forEach(n, [=](size_t i) {
    if (x[i] < 0 || x[i] >= size) report(fault, failed, i);
  });
}

/** After the search: the value of the element found. */
template <class T>
__global__ void keepValue(const T* x, Fault* fault) {
  if (fault->element != kNoFault) fault->value = static_cast<double>(x[fault->element]);
}

__global__ void copyUnlessFailed(const uint32_t* x, uint32_t* y, size_t n, const unsigned* failed) {
  if (*failed) return;
  forEach(n, [=](size_t i) { y[i] = x[i]; });
}

__global__ void addTwo(const float* a, const float* b, float* y, size_t n) {
  forEach(n, [=](size_t i) { y[i] = a[i] + b[i]; });
}

__global__ void repeatRow(const float* x, float* y, size_t width, size_t n) {
  forEach(n, [=](size_t i) { y[i] = x[i % width]; });
}

__global__ void sumTwo(const double* a, double factor, double* sum, bool first) {
  *sum = (first ? 0.0 : *sum) + factor * *a;
}

__global__ void lookUp(const int32_t* ids, const float* table, float* y, size_t n, size_t width, int32_t size,
                       Fault* fault, unsigned* failed) {
  forEach(n, [=](size_t e) {
    const size_t i = e / width;
    const int32_t id = ids[i];
    const bool inside = id >= 0 && id < size;
    if (!inside) report(fault, failed, i);
    y[e] = inside ? table[static_cast<size_t>(id) * width + e % width] : 0.0f;
  });
}

/**
 * Row `blockIdx.x` of the table's gradient: the sum of the rows of dy whose id it is, in their order. Every
 * block reads all ids and works only for its own, so that no two blocks write to one place and the order of
 * additions is fixed.
 */
__global__ void collectRows(const int32_t* ids, const float* dy, float* dTable, size_t count, size_t width,
                            int32_t size) {
  for (int32_t row = static_cast<int32_t>(blockIdx.x); row < size; row += static_cast<int32_t>(gridDim.x)) {
    for (size_t c = threadIdx.x; c < width; c += blockDim.x) {
      float sum = 0;
      for (size_t i = 0; i < count; ++i) {
        if (ids[i] == row) sum += dy[i * width + c];
      }
      dTable[static_cast<size_t>(row) * width + c] = sum;
    }
  }
}

Step check(const Operands& o) {
  const size_t n = o.inValue(0).elements;
  const bool classes = o.op().ints[0] == 1;
  const int32_t size = o.op().ints[1];
  const DType dtype = o.inValue(0).dtype;
  return {[=](const RunContext& c, const OpMemory& own) {
    const Launch search = elementwise("check", n, c.stream), one = {"keepValue", dim3(1), dim3(1), c.stream};
    if (classes) {
      if (Status s = launch(search, findOutside, o.in<int32_t>(0), n, size, own.fault, c.failed); !s.ok())
        return s;
      return launch(one, keepValue<int32_t>, o.in<int32_t>(0), own.fault);
    }
    if (dtype == DType::float64) {
      if (Status s = launch(search, findNotFiniteDouble, o.in<double>(0), n, own.fault, c.failed); !s.ok())
        return s;
      return launch(one, keepValue<double>, o.in<double>(0), own.fault);
    }
    if (Status s = launch(search, findNotFinite, o.in(0), n, own.fault, c.failed); !s.ok()) return s;
    return launch(one, keepValue<float>, o.in(0), own.fault);
  }};
}

}  // namespace

Step dataStep(const Operands& o) {
  switch (o.op().kind) {
    case OpKind::batchToTime:
    case OpKind::timeToBatch: {
      const core::Value& x = o.inValue(0);
      const auto a = static_cast<size_t>(x.shape[0]), b = static_cast<size_t>(x.shape[1]);
      const size_t width = a * b == 0 ? 0 : x.bytes() / (a * b) / sizeof(uint32_t);
      return {[=](const RunContext& c, const OpMemory&) {
        if (width == 0) return Status();
        return launch(elementwise("swapAxes", a * b * width, c.stream), swapAxes, o.in<uint32_t>(0),
                      o.out<uint32_t>(0), a, b, width);
      }};
    }
    case OpKind::check:
      return check(o);
    case OpKind::embedding: {
      const size_t n = o.outValue(0).elements, width = static_cast<size_t>(o.inValue(1).shape[1]);
      const auto size = static_cast<int32_t>(o.inValue(1).shape[0]);
      return {[=](const RunContext& c, const OpMemory& own) {
        if (n == 0) return Status();
        if (Status s = launch(elementwise("embedding", n, c.stream), lookUp, o.in<int32_t>(0), o.in(1),
                              o.out(0), n, width, size, own.fault, c.failed);
            !s.ok())
          return s;
        return launch(Launch{"keepValue", dim3(1), dim3(1), c.stream}, keepValue<int32_t>, o.in<int32_t>(0),
                      own.fault);
      }};
    }
    case OpKind::embeddingGrad: {
      const size_t count = o.inValue(0).elements, width = static_cast<size_t>(o.inValue(1).last());
      const int32_t size = o.op().ints[0];
      return {[=](const RunContext& c, const OpMemory& own) {
        const Launch blocks = {"embeddingGrad", dim3(static_cast<unsigned>(size < 65535 ? size : 65535)),
                               dim3(static_cast<unsigned>(width < 128 ? (width + 31) / 32 * 32 : 128)),
                               c.stream};
        if (Status s = launch(elementwise("check", count, c.stream), findOutside, o.in<int32_t>(0), count,
                              size, own.fault, c.failed);
            !s.ok())
          return s;
        if (Status s = launch(Launch{"keepValue", dim3(1), dim3(1), c.stream}, keepValue<int32_t>,
                              o.in<int32_t>(0), own.fault);
            !s.ok())
          return s;
        return launch(blocks, collectRows, o.in<int32_t>(0), o.in(1), o.out(0), count, width, size);
      }};
    }
    case OpKind::assign: {
      const size_t words = o.inValue(0).bytes() / sizeof(uint32_t);
      return {[=](const RunContext& c, const OpMemory&) {
        return launch(elementwise("assign", words, c.stream), copyUnlessFailed, o.in<uint32_t>(0),
                      o.out<uint32_t>(0), words, c.failed);
      }};
    }
    case OpKind::broadcastRows: {
      const size_t width = o.inValue(0).elements, n = o.outValue(0).elements;
      return {[=](const RunContext& c, const OpMemory&) {
        return launch(elementwise("broadcastRows", n, c.stream), repeatRow, o.in(0), o.out(0), width, n);
      }};
    }
    case OpKind::sumRows: {
      const size_t rows = o.inValue(0).rows(), width = static_cast<size_t>(o.inValue(0).last());
      return {[=](const RunContext& c, const OpMemory&) {
                auto* scratch = reinterpret_cast<float*>(c.scratch);
                return columnSums(o.in(0), width, o.out(0), rows, width, false, scratch, c.stream);
              },
              columnSumsScratch(rows, width) * sizeof(float)};
    }
    case OpKind::sumScalars: {
      const size_t count = o.op().inputs.size();
      return {[=, factors = o.op().floats](const RunContext& c, const OpMemory&) {
        for (size_t i = 0; i < count; ++i) {
          const Launch one = {"sumScalars", dim3(1), dim3(1), c.stream};
          const double factor = factors.empty() ? 1.0 : factors[i];
          if (Status s = launch(one, sumTwo, o.in<double>(i), factor, o.out<double>(0), i == 0); !s.ok())
            return s;
        }
        return Status();
      }};
    }
    default: {
      const size_t n = o.inValue(0).elements;
      return {[=](const RunContext& c, const OpMemory&) {
        return launch(elementwise("add", n, c.stream), addTwo, o.in(0), o.in(1), o.out(0), n);
      }};
    }
  }
}

}  // namespace deeprnn::cuda
