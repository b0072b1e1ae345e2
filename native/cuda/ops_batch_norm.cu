// batchNorm and its gradient: kernels, then their launches. Sums of columns are made of slices of rows, in
// double.
#include "cuda/executable.h"

namespace deeprnn::cuda {
namespace {

using core::OpKind;

/** A block has 32 columns and 8 rows of threads; thread row y takes rows y, y + 8, … of its slice. */
constexpr unsigned kColumns = 32, kRows = 8;
/** Rows that one block adds. */
constexpr size_t kSliceRows = 512;

enum class Sum {
  /** The rows that count: their sum, and how many they are. */
  mean,
  /** Of the rows that count: the squares of their distances from the mean. */
  variance,
  /** Of all rows: dy ⊙ x̂, and dy. */
  gradients,
};

/** What columns are normalized by, each [columns]. */
struct Statistics {
  double *mean, *variance, *scale, *count;
};

/** The two sums of each slice; those of slice i go to partial + 2·i·columns. */
__global__ void sumSlices(Sum kind, const float* x, const int32_t* valid, const float* dy, Statistics s,
                          double* partial, size_t rows, size_t columns) {
  double* tmp = sharedMemory<double>();
  const size_t c = static_cast<size_t>(blockIdx.x) * kColumns + threadIdx.x;
  const size_t first = blockIdx.y * kSliceRows, last = first + kSliceRows < rows ? first + kSliceRows : rows;
  double a = 0, b = 0;
  if (c < columns) {
    for (size_t r = first + threadIdx.y; r < last; r += kRows) {
      const double v = x[r * columns + c];
      if (kind == Sum::gradients) {
        const double d = dy[r * columns + c];
        a += d * (v - s.mean[c]) * s.scale[c];
        b += d;
      } else if (!valid || valid[r]) {
        a += kind == Sum::mean ? v : (v - s.mean[c]) * (v - s.mean[c]);
        b += 1;
      }
    }
  }
  const unsigned place = threadIdx.y * kColumns + threadIdx.x;
  tmp[place] = a;
  tmp[kRows * kColumns + place] = b;
  __syncthreads();
  if (threadIdx.y > 0 || c >= columns) return;
  for (unsigned r = 1; r < kRows; ++r) {
    a += tmp[r * kColumns + place];
    b += tmp[(kRows + r) * kColumns + place];
  }
  double* out = partial + 2 * blockIdx.y * columns + c;
  out[0] = a;
  out[columns] = b;
}

/** Both sums of column c over all slices. */
__device__ __forceinline__ void addSlices(const double* partial, size_t slices, size_t columns, size_t c,
                                          double* a, double* b) {
  *a = *b = 0;
  for (size_t i = 0; i < slices; ++i) {
    *a += partial[2 * i * columns + c];
    *b += partial[(2 * i + 1) * columns + c];
  }
}

__global__ void finishMean(const double* partial, size_t slices, size_t columns, Statistics s) {
  forEach(columns, [=](size_t c) {
    double sum, count;
    addSlices(partial, slices, columns, c, &sum, &count);
    s.count[c] = count;
    s.mean[c] = sum / (count > 0 ? count : 1);
  });
}

/** `partial` null: by the moving statistics. Then what they become, where asked for. */
__global__ void finishScale(const double* partial, size_t slices, size_t columns, const float* movingMean,
                            const float* movingVariance, double epsilon, double momentum, Statistics s,
                            float* movedMean, float* movedVariance) {
  forEach(columns, [=](size_t c) {
    double keep = 1;
    if (partial) {
      double squares, count;
      addSlices(partial, slices, columns, c, &squares, &count);
      s.variance[c] = squares / (count > 0 ? count : 1);
      // Of a batch in which no row counts nothing is learned.
      if (count > 0) keep = momentum;
    } else {
      s.mean[c] = movingMean[c];
      s.variance[c] = movingVariance[c];
    }
    s.scale[c] = 1 / sqrt(s.variance[c] + epsilon);
    if (movedMean) movedMean[c] = static_cast<float>(keep * movingMean[c] + (1 - keep) * s.mean[c]);
    if (movedVariance)
      movedVariance[c] = static_cast<float>(keep * movingVariance[c] + (1 - keep) * s.variance[c]);
  });
}

__global__ void normalize(const float* x, const float* gamma, const float* beta, Statistics s, float* y,
                          size_t columns, size_t n) {
  forEach(n, [=](size_t i) {
    const size_t c = i % columns;
    y[i] = static_cast<float>((gamma ? gamma[c] : 1.0) * ((x[i] - s.mean[c]) * s.scale[c]) +
                              (beta ? beta[c] : 0.0));
  });
}

/** sums: dGamma and dBeta in double. */
__global__ void finishGradients(const double* partial, size_t slices, size_t columns, double* sums,
                                float* dGamma, float* dBeta) {
  forEach(columns, [=](size_t c) {
    addSlices(partial, slices, columns, c, sums + c, sums + columns + c);
    if (dGamma) dGamma[c] = static_cast<float>(sums[c]);
    if (dBeta) dBeta[c] = static_cast<float>(sums[columns + c]);
  });
}

__global__ void inputGradients(const float* x, const int32_t* valid, const float* gamma, const float* dy,
                               Statistics s, const double* sums, bool training, float* dx, size_t columns,
                               size_t n) {
  forEach(n, [=](size_t i) {
    const size_t c = i % columns;
    const bool counts = training && (!valid || valid[i / columns]);
    const double hat = (x[i] - s.mean[c]) * s.scale[c];
    // What the mean and the variance of the rows that count take back.
    const double back = counts ? (sums[columns + c] + hat * sums[c]) / s.count[c] : 0;
    dx[i] = static_cast<float>((gamma ? gamma[c] : 1.0) * s.scale[c] * (dy[i] - back));
  });
}

/** The operands of either op, and its scratch memory. */
struct Columns {
  size_t rows, columns, slices;
  bool training;
  double epsilon, momentum;

  explicit Columns(const Operands& o)
      : rows(o.inValue(0).rows()),
        columns(static_cast<size_t>(o.inValue(0).last())),
        slices((rows + kSliceRows - 1) / kSliceRows),
        training(o.op().ints[0] == 1),
        epsilon(o.op().floats[0]),
        momentum(o.op().floats[1]) {}

  size_t scratch() const { return (6 + 2 * slices) * columns * sizeof(double); }
  Statistics statistics(const RunContext& c) const {
    auto* at = reinterpret_cast<double*>(c.scratch);
    return {at, at + columns, at + 2 * columns, at + 3 * columns};
  }
  double* sums(const RunContext& c) const { return statistics(c).count + columns; }
  double* partial(const RunContext& c) const { return sums(c) + 2 * columns; }

  Status sum(const RunContext& c, Sum kind, const float* x, const int32_t* valid, const float* dy) const {
    const dim3 grid(static_cast<unsigned>((columns + kColumns - 1) / kColumns),
                    static_cast<unsigned>(slices));
    const Launch l = {"batchNorm sums", grid, dim3(kColumns, kRows), c.stream,
                      2 * kColumns * kRows * sizeof(double)};
    return launch(l, sumSlices, kind, x, valid, dy, statistics(c), partial(c), rows, columns);
  }

  /** Mean and 1/σ, and what the moving statistics become. */
  Status normalizers(const RunContext& c, const float* x, const int32_t* valid, const float* mean,
                     const float* variance, float* movedMean, float* movedVariance) const {
    const Launch each = elementwise("batchNorm statistics", columns, c.stream);
    if (training) {
      if (Status s = sum(c, Sum::mean, x, valid, nullptr); !s.ok()) return s;
      if (Status s = launch(each, finishMean, partial(c), slices, columns, statistics(c)); !s.ok()) return s;
      if (Status s = sum(c, Sum::variance, x, valid, nullptr); !s.ok()) return s;
    }
    return launch(each, finishScale, training ? partial(c) : nullptr, slices, columns, mean, variance,
                  epsilon, momentum, statistics(c), movedMean, movedVariance);
  }
};

Step batchNorm(const Operands& o) {
  const Columns of(o);
  const size_t n = of.rows * of.columns;
  return {[=](const RunContext& c, const OpMemory&) {
            if (n == 0) return Status();
            if (Status s = of.normalizers(c, o.in(0), o.in<int32_t>(1), o.in(4), o.in(5), o.out(1), o.out(2));
                !s.ok())
              return s;
            return launch(elementwise("batchNorm", n, c.stream), normalize, o.in(0), o.in(2), o.in(3),
                          of.statistics(c), o.out(0), of.columns, n);
          },
          of.scratch()};
}

Step batchNormGrad(const Operands& o) {
  const Columns of(o);
  const size_t n = of.rows * of.columns;
  return {[=](const RunContext& c, const OpMemory&) {
            if (n == 0) return Status();
            const float *x = o.in(0), *dy = o.in(5);
            const auto* valid = o.in<int32_t>(1);
            if (Status s = of.normalizers(c, x, valid, o.in(3), o.in(4), nullptr, nullptr); !s.ok()) return s;
            if (Status s = of.sum(c, Sum::gradients, x, valid, dy); !s.ok()) return s;
            if (Status s = launch(elementwise("batchNormGrad sums", of.columns, c.stream), finishGradients,
                                  of.partial(c), of.slices, of.columns, of.sums(c), o.out(1), o.out(2));
                !s.ok() || !o.out(0))
              return s;
            return launch(elementwise("batchNormGrad", n, c.stream), inputGradients, x, valid, o.in(2), dy,
                          of.statistics(c), of.sums(c), of.training, o.out(0), of.columns, n);
          },
          of.scratch()};
}

}  // namespace

Step batchNormStep(const Operands& o) {
  return o.op().kind == OpKind::batchNorm ? batchNorm(o) : batchNormGrad(o);
}

}  // namespace deeprnn::cuda
