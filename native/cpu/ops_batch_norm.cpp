// batchNorm and its gradient.
#include <cmath>

#include "cpu/executable.h"

namespace deeprnn::cpu {

using core::OpKind;
using core::Status;

namespace {

/** Rows whose sums are added up by themselves: the same whatever the number of threads. */
constexpr size_t kRows = 256;

/** The operands of either op. */
struct Columns {
  size_t rows, D;
  bool training;
  double epsilon, momentum;

  explicit Columns(const Operands& o)
      : rows(o.inValue(0).rows()),
        D(static_cast<size_t>(o.inValue(0).last())),
        training(o.op().ints[0] == 1),
        epsilon(o.op().floats[0]),
        momentum(o.op().floats[1]) {}

  size_t slices() const { return (rows + kRows - 1) / kRows; }
  /** Doubles: mean and 1/σ, two sums, and the two sums of each slice. */
  size_t scratch() const { return (4 + 2 * slices()) * D; }

  template <class Body>
  void forSlices(const RunContext& c, const Body& body) const {
    c.pool.parallelFor(slices(), [&](size_t s) { body(s, s * kRows, std::min(rows, (s + 1) * kRows)); });
  }

  /** sums[0 … D) and sums[D … 2D): over all rows, what add(row, first, second) adds to the two sums of each
   * column. */
  template <class Add>
  void sum(const RunContext& c, double* partial, double* sums, const Add& add) const {
    forSlices(c, [&](size_t s, size_t first, size_t last) {
      double *a = partial + 2 * s * D, *b = a + D;
      std::fill(a, a + 2 * D, 0.0);
      for (size_t r = first; r < last; ++r) add(r, a, b);
    });
    std::fill(sums, sums + 2 * D, 0.0);
    for (size_t s = 0; s < slices(); ++s) {
      for (size_t d = 0; d < 2 * D; ++d) sums[d] += partial[2 * s * D + d];
    }
  }
};

/** What columns are normalized by, and how many rows it is made of. */
struct Statistics {
  double *mean, *scale, *sums, *partial;
  size_t count = 0;

  /** Of the batch's rows that count, in two passes, or the moving ones. Leaves the variance in `sums`. */
  Statistics(const RunContext& c, const Columns& of, const float* x, const int32_t* valid,
             const float* movingMean, const float* movingVariance)
      : mean(reinterpret_cast<double*>(c.scratch)),
        scale(mean + of.D),
        sums(scale + of.D),
        partial(sums + 2 * of.D) {
    const size_t D = of.D;
    if (of.training) {
      for (size_t r = 0; r < of.rows; ++r) count += !valid || valid[r];
      const double share = 1 / static_cast<double>(std::max<size_t>(count, 1));
      of.sum(c, partial, sums, [=](size_t r, double* a, double*) {
        if (valid && !valid[r]) return;
        for (size_t d = 0; d < D; ++d) a[d] += x[r * D + d];
      });
      for (size_t d = 0; d < D; ++d) mean[d] = sums[d] * share;
      of.sum(c, partial, sums, [=, m = mean](size_t r, double* a, double*) {
        if (valid && !valid[r]) return;
        for (size_t d = 0; d < D; ++d) {
          const double distance = x[r * D + d] - m[d];
          a[d] += distance * distance;
        }
      });
      for (size_t d = 0; d < D; ++d) sums[d] *= share;
    } else {
      std::copy(movingMean, movingMean + D, mean);
      std::copy(movingVariance, movingVariance + D, sums);
    }
    for (size_t d = 0; d < D; ++d) scale[d] = 1 / std::sqrt(sums[d] + of.epsilon);
  }
};

Step batchNorm(const Operands& o) {
  const Columns of(o);
  return {[=](const RunContext& c) {
            const float *x = o.in(0), *gamma = o.in(2), *beta = o.in(3);
            const Statistics s(c, of, x, o.in<int32_t>(1), o.in(4), o.in(5));
            of.forSlices(c, [&](size_t, size_t first, size_t last) {
              for (size_t r = first; r < last; ++r) {
                for (size_t d = 0; d < of.D; ++d) {
                  const double hat = (x[r * of.D + d] - s.mean[d]) * s.scale[d];
                  o.out(0)[r * of.D + d] =
                      static_cast<float>((gamma ? gamma[d] : 1.0) * hat + (beta ? beta[d] : 0.0));
                }
              }
            });
            // Of a batch in which no row counts nothing is learned.
            const double keep = s.count > 0 ? of.momentum : 1;
            const double* statistics[] = {s.mean, s.sums};
            for (size_t i = 0; i < 2; ++i) {
              float* moved = o.out(1 + i);
              for (size_t d = 0; moved && d < of.D; ++d)
                moved[d] = static_cast<float>(keep * o.in(4 + i)[d] + (1 - keep) * statistics[i][d]);
            }
            return Status();
          },
          2 * of.scratch()};
}

Step batchNormGrad(const Operands& o) {
  const Columns of(o);
  return {[=](const RunContext& c) {
            const float *x = o.in(0), *gamma = o.in(2), *dy = o.in(5);
            const auto* valid = o.in<int32_t>(1);
            const Statistics s(c, of, x, valid, o.in(3), o.in(4));
            const auto hat = [&](size_t r, size_t d) { return (x[r * of.D + d] - s.mean[d]) * s.scale[d]; };
            of.sum(c, s.partial, s.sums, [&](size_t r, double* along, double* sum) {
              for (size_t d = 0; d < of.D; ++d) {
                along[d] += dy[r * of.D + d] * hat(r, d);
                sum[d] += dy[r * of.D + d];
              }
            });
            const double *along = s.sums, *sum = s.sums + of.D;
            for (size_t d = 0; o.out(1) && d < of.D; ++d) o.out(1)[d] = static_cast<float>(along[d]);
            for (size_t d = 0; o.out(2) && d < of.D; ++d) o.out(2)[d] = static_cast<float>(sum[d]);
            float* dx = o.out(0);
            if (!dx) return Status();
            of.forSlices(c, [&](size_t, size_t first, size_t last) {
              for (size_t r = first; r < last; ++r) {
                // What the mean and the variance of the rows that count take back.
                const double share =
                    of.training && (!valid || valid[r]) ? 1.0 / static_cast<double>(s.count) : 0;
                for (size_t d = 0; d < of.D; ++d) {
                  const double back = share * (sum[d] + hat(r, d) * along[d]);
                  dx[r * of.D + d] =
                      static_cast<float>((gamma ? gamma[d] : 1.0) * s.scale[d] * (dy[r * of.D + d] - back));
                }
              }
            });
            return Status();
          },
          2 * of.scratch()};
}

}  // namespace

Step batchNormStep(const Operands& o) {
  return o.op().kind == OpKind::batchNorm ? batchNorm(o) : batchNormGrad(o);
}

}  // namespace deeprnn::cpu
