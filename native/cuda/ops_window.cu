// Ops on windows over the steps of a sequence [T, N, D]: kernels, then their launches.
#include "core/windows.h"
#include "cuda/executable.h"

namespace deeprnn::cuda {
namespace {

using core::OpKind;
using core::Pool;
using core::Windows;

__global__ void unfoldAll(const float* x, float* y, Windows w, int64_t T, size_t N, size_t D, size_t n) {
  const auto size = static_cast<size_t>(w.size);
  forEach(n, [=](size_t e) {
    const size_t d = e % D, k = e / D % size, row = e / D / size;
    const int64_t s = w.step(static_cast<int64_t>(row / N), static_cast<int64_t>(k));
    y[e] = s >= 0 && s < T ? x[(static_cast<size_t>(s) * N + row % N) * D + d] : 0.0f;
  });
}

/** Each element adds up what it is in the windows, from their first place to their last. */
__global__ void foldAll(const float* dy, float* dx, Windows w, int64_t windows, size_t N, size_t D,
                        size_t n) {
  const auto size = static_cast<size_t>(w.size);
  forEach(n, [=](size_t e) {
    const size_t d = e % D, row = e / D, s = row / N;
    float sum = 0;
    for (int64_t k = 0; k < w.size; ++k) {
      const int64_t begin = static_cast<int64_t>(s) + w.before - k * w.dilation, t = begin / w.stride;
      if (begin % w.stride != 0 || t < 0 || t >= windows) continue;
      sum += dy[((static_cast<size_t>(t) * N + row % N) * size + static_cast<size_t>(k)) * D + d];
    }
    dx[e] = sum;
  });
}

/** A pooled sequence: x [T, N, D], of which the steps count that `valid` [T, N] says, all where it is null.
 */
struct Pooling {
  Pool kind;
  Windows windows;
  int64_t T;
  size_t N, D;
  const float* x;
  const int32_t* valid;

  /** Calls visit(place in x) for what counts of window t in a column (n, d), in rising steps. */
  template <class Visit>
  __device__ void each(size_t t, size_t column, const Visit& visit) const {
    const auto window = static_cast<int64_t>(t);
    for (int64_t s = windows.first(window); s < windows.last(window, T); ++s) {
      const auto step = static_cast<size_t>(s);
      if (!valid || valid[step * N + column / D]) visit(step * N * D + column);
    }
  }
};

/** What one column of a window holds. */
struct Window {
  double sum = 0;
  float largest = 0;
  /** Where in x the largest lies, the first of equal ones. */
  size_t place = 0, count = 0;

  __device__ Window(const Pooling& p, size_t t, size_t column) {
    p.each(t, column, [this, &p](size_t at) {
      const float v = p.x[at];
      // NaN counts as the largest.
      if (count == 0 || v > largest || (v != v && largest == largest)) {
        largest = v;
        place = at;
      }
      sum += v;
      ++count;
    });
  }
};

__global__ void poolAll(Pooling p, float* y, size_t n) {
  forEach(n, [=](size_t e) {
    const size_t columns = p.N * p.D;
    const Window w(p, e / columns, e % columns);
    y[e] = p.kind == Pool::max ? w.largest
                               : static_cast<float>(w.sum / static_cast<double>(w.count ? w.count : 1));
  });
}

/** A thread takes a whole column of dx, so that windows which overlap are added in one order. */
__global__ void poolGradAll(Pooling p, const float* dy, float* dx, size_t windows) {
  const size_t columns = p.N * p.D;
  forEach(columns, [=](size_t column) {
    for (size_t s = 0; s < static_cast<size_t>(p.T); ++s) dx[s * columns + column] = 0;
    for (size_t t = 0; t < windows; ++t) {
      const Window w(p, t, column);
      const float d = dy[t * columns + column];
      if (p.kind == Pool::average) {
        p.each(t, column, [&](size_t at) { dx[at] += d / static_cast<float>(w.count); });
      } else if (w.count > 0) {
        dx[w.place] += d;
      }
    }
  });
}

Step folding(const Operands& o) {
  const bool folds = o.op().kind == OpKind::fold;
  const Windows w = Windows::ofFold(o.op().ints);
  const std::vector<int64_t>& x = (folds ? o.outValue(0) : o.inValue(0)).shape;
  const int64_t T = x[0], windows = (folds ? o.inValue(0) : o.outValue(0)).shape[0];
  const auto N = static_cast<size_t>(x[1]), D = static_cast<size_t>(x[2]);
  const size_t n = o.outValue(0).elements;
  return {[=](const RunContext& c, const OpMemory&) {
    return folds ? launch(elementwise("fold", n, c.stream), foldAll, o.in(0), o.out(0), w, windows, N, D, n)
                 : launch(elementwise("unfold", n, c.stream), unfoldAll, o.in(0), o.out(0), w, T, N, D, n);
  }};
}

Step pooling(const Operands& o) {
  const std::vector<int64_t>& x = o.inValue(0).shape;
  const Pooling p = {static_cast<Pool>(o.op().ints[0]),
                     Windows::ofPool(o.op().ints),
                     x[0],
                     static_cast<size_t>(x[1]),
                     static_cast<size_t>(x[2]),
                     o.in(0),
                     o.in<int32_t>(1)};
  if (o.op().kind == OpKind::pool) {
    const size_t n = o.outValue(0).elements;
    return {[=](const RunContext& c, const OpMemory&) {
      return launch(elementwise("pool", n, c.stream), poolAll, p, o.out(0), n);
    }};
  }
  const auto windows = static_cast<size_t>(o.inValue(2).shape[0]);
  return {[=](const RunContext& c, const OpMemory&) {
    return launch(elementwise("poolGrad", p.N * p.D, c.stream), poolGradAll, p, o.in(2), o.out(0), windows);
  }};
}

}  // namespace

Step windowStep(const Operands& o) {
  const bool folds = o.op().kind == OpKind::unfold || o.op().kind == OpKind::fold;
  return folds ? folding(o) : pooling(o);
}

}  // namespace deeprnn::cuda
