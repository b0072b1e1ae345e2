// layerNorm and its gradient, rows of norm 1.
#include <cmath>

#include "cpu/executable.h"

namespace deeprnn::cpu {

using core::OpKind;
using core::Status;

namespace {

/** Elements a task. */
constexpr size_t kChunk = 8192;

/** Σ f(i) in double: four interleaved sums, which the compiler may keep in a vector. */
template <class F>
double sum(size_t n, const F& f) {
  double s[4] = {};
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (size_t j = 0; j < 4; ++j) s[j] += f(i + j);
  }
  for (; i < n; ++i) s[0] += f(i);
  return s[0] + s[1] + (s[2] + s[3]);
}

/** A row's mean and 1/√(variance + epsilon). Two passes: the squares of what lies far from 0 would cancel. */
struct Statistics {
  double mean, scale;

  Statistics(const float* x, size_t n, double epsilon) {
    const auto count = static_cast<double>(n);
    mean = sum(n, [=](size_t i) { return static_cast<double>(x[i]); }) / count;
    const double squares = sum(n, [x, m = mean](size_t i) {
      const double d = x[i] - m;
      return d * d;
    });
    scale = 1 / std::sqrt(squares / count + epsilon);
  }
};

template <class Body>
void forRows(const RunContext& c, size_t rows, size_t width, const Body& body) {
  const size_t block = kChunk / std::min(std::max<size_t>(width, 1), kChunk);
  c.pool.parallelFor((rows + block - 1) / block, [&](size_t task) {
    for (size_t r = task * block; r < std::min(rows, (task + 1) * block); ++r) body(r);
  });
}

Step layerNorm(const Operands& o) {
  const size_t rows = o.inValue(0).rows(), D = static_cast<size_t>(o.inValue(0).last());
  const double epsilon = o.op().floats[0];
  return {[=](const RunContext& c) {
    const float *gamma = o.in(1), *beta = o.in(2);
    forRows(c, rows, D, [&](size_t r) {
      const float* x = o.in(0) + r * D;
      float* y = o.out(0) + r * D;
      const Statistics s(x, D, epsilon);
      for (size_t i = 0; i < D; ++i)
        y[i] = static_cast<float>((gamma ? gamma[i] : 1.0) * ((x[i] - s.mean) * s.scale) +
                                  (beta ? beta[i] : 0.0));
    });
    return Status();
  }};
}

void columnSums(const RunContext& c, const float* x, float* y, size_t rows, size_t D) {
  std::memset(y, 0, D * sizeof(float));
  c.k.addColumnSums(x, y, rows, D, 0, D);
}

Step layerNormGrad(const Operands& o) {
  const size_t rows = o.inValue(0).rows(), D = static_cast<size_t>(o.inValue(0).last());
  const double epsilon = o.op().floats[0];
  // dy ⊙ x̂ of all rows, whose column sums are dGamma.
  const size_t products = o.out(1) ? rows * D : 0;
  return {[=](const RunContext& c) {
            const float *gamma = o.in(1), *dy = o.in(2);
            float *dx = o.out(0), *dGamma = o.out(1), *dBeta = o.out(2);
            if (dx || dGamma) {
              forRows(c, rows, D, [&](size_t r) {
                const float *x = o.in(0) + r * D, *d = dy + r * D;
                const Statistics s(x, D, epsilon);
                const auto hat = [&](size_t i) { return (x[i] - s.mean) * s.scale; };
                if (dGamma) {
                  for (size_t i = 0; i < D; ++i) c.scratch[r * D + i] = static_cast<float>(d[i] * hat(i));
                }
                if (!dx) return;
                const auto g = [&](size_t i) { return (gamma ? gamma[i] : 1.0) * d[i]; };
                const double mean = sum(D, g) / static_cast<double>(D),
                             along = sum(D, [&](size_t i) { return g(i) * hat(i); }) / static_cast<double>(D);
                for (size_t i = 0; i < D; ++i)
                  dx[r * D + i] = static_cast<float>(s.scale * (g(i) - mean - hat(i) * along));
              });
            }
            if (dGamma) columnSums(c, c.scratch, dGamma, rows, D);
            if (dBeta) columnSums(c, dy, dBeta, rows, D);
            return Status();
          },
          products};
}

/** y = x/max(‖x‖, ε), and dx = (dy − x̂·(x̂·dy))/‖x‖, dy/ε where ‖x‖ < ε. */
Step normalizeRows(const Operands& o) {
  const size_t rows = o.inValue(0).rows(), D = static_cast<size_t>(o.inValue(0).last());
  const double epsilon = o.op().floats[0];
  const bool grad = o.op().kind == OpKind::normalizeRowsGrad;
  return {[=](const RunContext& c) {
    forRows(c, rows, D, [&](size_t r) {
      const float *x = o.in(0) + r * D, *dy = grad ? o.in(1) + r * D : nullptr;
      float* out = o.out(0) + r * D;
      const double norm = std::sqrt(sum(D, [=](size_t i) { return static_cast<double>(x[i]) * x[i]; })),
                   scale = 1 / std::max(norm, epsilon);
      if (!grad) {
        for (size_t i = 0; i < D; ++i) out[i] = static_cast<float>(x[i] * scale);
        return;
      }
      const double along = norm < epsilon ? 0 : sum(D, [=](size_t i) { return x[i] * scale * dy[i]; });
      for (size_t i = 0; i < D; ++i) out[i] = static_cast<float>((dy[i] - x[i] * scale * along) * scale);
    });
    return Status();
  }};
}

}  // namespace

Step normStep(const Operands& o) {
  if (o.op().kind == OpKind::normalizeRows || o.op().kind == OpKind::normalizeRowsGrad)
    return normalizeRows(o);
  return o.op().kind == OpKind::layerNorm ? layerNorm(o) : layerNormGrad(o);
}

}  // namespace deeprnn::cpu
