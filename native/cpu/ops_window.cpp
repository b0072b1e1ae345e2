// Ops on windows over the steps of a sequence [T, N, D].
#include <cmath>

#include "core/windows.h"
#include "cpu/executable.h"

namespace deeprnn::cpu {

using core::OpKind;
using core::Pool;
using core::Status;
using core::Windows;

namespace {

/** Step s of a sequence of `steps`, where it is none of the padding's. */
bool inside(int64_t s, size_t steps) {
  return s >= 0 && static_cast<size_t>(s) < steps;
}

Step unfold(const Operands& o) {
  const Windows w = Windows::ofFold(o.op().ints);
  const core::Value& x = o.inValue(0);
  const auto T = static_cast<size_t>(x.shape[0]), N = static_cast<size_t>(x.shape[1]),
             D = static_cast<size_t>(x.shape[2]), windows = static_cast<size_t>(o.outValue(0).shape[0]);
  return {[=](const RunContext& c) {
    c.pool.parallelFor(windows, [&](size_t t) {
      float* to = o.out(0) + t * N * D * static_cast<size_t>(w.size);
      for (size_t n = 0; n < N; ++n) {
        for (int64_t k = 0; k < w.size; ++k, to += D) {
          const int64_t s = w.step(static_cast<int64_t>(t), k);
          const float* from = inside(s, T) ? o.in(0) + (static_cast<size_t>(s) * N + n) * D : nullptr;
          for (size_t d = 0; d < D; ++d) to[d] = from ? from[d] : 0.0f;
        }
      }
    });
    return Status();
  }};
}

/** Each step adds up what it is in the windows, from their first place to their last. */
Step fold(const Operands& o) {
  const Windows w = Windows::ofFold(o.op().ints);
  const core::Value& x = o.outValue(0);
  const auto T = static_cast<size_t>(x.shape[0]), N = static_cast<size_t>(x.shape[1]),
             D = static_cast<size_t>(x.shape[2]), windows = static_cast<size_t>(o.inValue(0).shape[0]);
  return {[=](const RunContext& c) {
    c.pool.parallelFor(T, [&](size_t s) {
      float* to = o.out(0) + s * N * D;
      std::memset(to, 0, N * D * sizeof(float));
      for (int64_t k = 0; k < w.size; ++k) {
        const int64_t begin = static_cast<int64_t>(s) + w.before - k * w.dilation;
        if (begin % w.stride != 0 || !inside(begin / w.stride, windows)) continue;
        const auto size = static_cast<size_t>(w.size),
                   window = static_cast<size_t>(begin / w.stride) * N * size;
        for (size_t n = 0; n < N; ++n) {
          const float* from = o.in(0) + (window + n * size + static_cast<size_t>(k)) * D;
          for (size_t d = 0; d < D; ++d) to[n * D + d] += from[d];
        }
      }
    });
    return Status();
  }};
}

/** Columns (n, d) of a sequence that are looked at together. */
constexpr size_t kColumns = 64;

/** A pooled sequence: x [T, N, D], of which the steps count that `valid` [T, N] says, all where it is null.
 */
struct Pooling {
  Pool kind;
  Windows windows;
  size_t T, N, D, count;

  explicit Pooling(const Operands& o)
      : kind(static_cast<Pool>(o.op().ints[0])), windows(Windows::ofPool(o.op().ints)) {
    const std::vector<int64_t>& x = o.inValue(0).shape;
    T = static_cast<size_t>(x[0]);
    N = static_cast<size_t>(x[1]);
    D = static_cast<size_t>(x[2]);
    const bool grad = o.op().kind == OpKind::poolGrad;
    count = static_cast<size_t>((grad ? o.inValue(2) : o.outValue(0)).shape[0]);
  }

  size_t columns() const { return N * D; }
  size_t chunks() const { return (columns() + kColumns - 1) / kColumns; }

  /** Calls visit(step, column) for what counts of window t, columns first … last − 1, in rising steps. */
  template <class Visit>
  void each(const int32_t* valid, size_t t, size_t first, size_t last, const Visit& visit) const {
    const auto window = static_cast<int64_t>(t);
    for (int64_t s = windows.first(window); s < windows.last(window, static_cast<int64_t>(T)); ++s) {
      const auto step = static_cast<size_t>(s);
      for (size_t column = first; column < last; ++column) {
        if (!valid || valid[step * N + column / D]) visit(step, column);
      }
    }
  }
};

/** What some columns of one window hold. */
struct Window {
  double sum[kColumns] = {};
  float largest[kColumns] = {};
  /** The step of the largest, the first of equal ones. */
  size_t place[kColumns] = {};
  size_t count[kColumns] = {};

  Window(const Pooling& p, const float* x, const int32_t* valid, size_t t, size_t first, size_t last) {
    p.each(valid, t, first, last, [&](size_t step, size_t column) {
      const float v = x[step * p.columns() + column];
      const size_t i = column - first;
      // NaN counts as the largest.
      if (count[i] == 0 || v > largest[i] || (std::isnan(v) && !std::isnan(largest[i]))) {
        largest[i] = v;
        place[i] = step;
      }
      sum[i] += v;
      ++count[i];
    });
  }
};

Step pool(const Operands& o) {
  const Pooling p(o);
  return {[=](const RunContext& c) {
    c.pool.parallelFor(p.count * p.chunks(), [&](size_t task) {
      const size_t t = task / p.chunks(), first = task % p.chunks() * kColumns,
                   last = std::min(first + kColumns, p.columns());
      const Window w(p, o.in(0), o.in<int32_t>(1), t, first, last);
      float* y = o.out(0) + t * p.columns() + first;
      for (size_t i = 0; i < last - first; ++i) {
        const double mean = w.sum[i] / static_cast<double>(std::max<size_t>(w.count[i], 1));
        y[i] = p.kind == Pool::max ? w.largest[i] : static_cast<float>(mean);
      }
    });
    return Status();
  }};
}

Step poolGrad(const Operands& o) {
  const Pooling p(o);
  return {[=](const RunContext& c) {
    const auto* valid = o.in<int32_t>(1);
    float* dx = o.out(0);
    if (p.T * p.columns() > 0) std::memset(dx, 0, p.T * p.columns() * sizeof(float));
    c.pool.parallelFor(p.chunks(), [&](size_t chunk) {
      const size_t first = chunk * kColumns, last = std::min(first + kColumns, p.columns());
      for (size_t t = 0; t < p.count; ++t) {
        const Window w(p, o.in(0), valid, t, first, last);
        const float* dy = o.in(2) + t * p.columns();
        p.each(valid, t, first, last, [&](size_t step, size_t column) {
          const size_t i = column - first;
          if (p.kind == Pool::average) {
            dx[step * p.columns() + column] += dy[column] / static_cast<float>(w.count[i]);
          } else if (step == w.place[i]) {
            dx[step * p.columns() + column] += dy[column];
          }
        });
      }
    });
    return Status();
  }};
}

}  // namespace

Step windowStep(const Operands& o) {
  switch (o.op().kind) {
    case OpKind::unfold:
      return unfold(o);
    case OpKind::fold:
      return fold(o);
    case OpKind::pool:
      return pool(o);
    default:
      return poolGrad(o);
  }
}

}  // namespace deeprnn::cpu
