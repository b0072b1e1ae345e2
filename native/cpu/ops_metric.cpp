// Metrics: sums of one batch (docs/plan.md, "Metrics"), in double.
#include <cmath>

#include "cpu/executable.h"
#include "cpu/scores.h"

namespace deeprnn::cpu {

using core::Metric;
using core::Status;

namespace {

struct MetricRows {
  const Operands& o;
  const KernelTable& k;
  size_t rows, C;
  bool sparse;
  double* sums;
  float* tmp;

  const float* pred(size_t r) const { return o.in(0) + r * C; }
  float dense(size_t r, size_t c) const { return o.in(1)[r * C + c]; }
  double weight(size_t r) const { return o.in(2) ? static_cast<double>(o.in(2)[r]) : 1.0; }

  static size_t argmax(const float* p, size_t n) {
    size_t best = 0;
    for (size_t c = 1; c < n; ++c) {
      if (p[c] > p[best]) best = c;
    }
    return best;
  }
  size_t label(size_t r) const {
    return sparse ? labelOf(o.in<int32_t>(1), r, C) : argmax(o.in(1) + r * C, C);
  }
  bool positive(size_t r, size_t c) const { return sparse ? label(r) == c : dense(r, c) > 0.5f; }

  /** Σ w·value(r), Σ w. */
  template <class F>
  void mean(const F& value) const {
    for (size_t r = 0; r < rows; ++r) {
      const double w = weight(r);
      sums[0] += w * value(r);
      sums[1] += w;
    }
  }

  /** Mean over outputs. */
  template <class F>
  void meanOfOutputs(const F& value) const {
    mean([&](size_t r) {
      double sum = 0;
      for (size_t c = 0; c < C; ++c) sum += value(pred(r)[c], dense(r, c));
      return sum / static_cast<double>(C);
    });
  }

  void topK() const {
    const auto most = static_cast<size_t>(o.op().ints[2]);
    mean([&](size_t r) {
      const float* p = pred(r);
      const float own = p[label(r)];
      if (!std::isfinite(own)) return 0.0;
      size_t above = 0;
      for (size_t c = 0; c < C; ++c) above += p[c] > own;
      return above < most ? 1.0 : 0.0;
    });
  }

  void r2() const {
    for (size_t r = 0; r < rows; ++r) {
      const double w = weight(r);
      for (size_t c = 0; c < C; ++c) {
        const double y = dense(r, c), e = y - pred(r)[c];
        double* s = sums + 4 * c;
        s[0] += w;
        s[1] += w * y;
        s[2] += w * y * y;
        s[3] += w * e * e;
      }
    }
  }

  void confusion() const {
    const bool byArgmax = o.op().ints[2] == 1;
    const auto thresholds = static_cast<size_t>(o.op().ints[3]);
    for (size_t r = 0; r < rows; ++r) {
      const double w = weight(r);
      const size_t best = byArgmax ? argmax(pred(r), C) : 0;
      for (size_t t = 0; t < (byArgmax ? 1 : thresholds); ++t) {
        const auto threshold = byArgmax ? 0.0f : static_cast<float>(o.op().floats[t]);
        for (size_t c = 0; c < C; ++c) {
          const bool said = byArgmax ? best == c : pred(r)[c] > threshold;
          const bool is = positive(r, c);
          sums[(t * C + c) * 4 + (is ? (said ? 0 : 3) : (said ? 1 : 2))] += w;
        }
      }
    }
  }

  /** Bin b holds p in (b, b+1] / (B−1), so that what lies above threshold i/(B−1) is exactly bins i and up.
   */
  void histogram() const {
    const auto bins = static_cast<size_t>(o.op().ints[2]);
    for (size_t r = 0; r < rows; ++r) {
      const double w = weight(r);
      for (size_t c = 0; c < C; ++c) {
        const double p = pred(r)[c];
        const double place = std::ceil((p > 0 ? (p < 1 ? p : 1.0) : 0.0) * static_cast<double>(bins - 1)) - 1;
        const size_t bin = place > 0 ? static_cast<size_t>(place) : 0;
        sums[(dense(r, c) > 0.5f ? 0 : bins) + bin] += w;
      }
    }
  }

  void crossentropy() const {
    const bool fromLogits = o.op().ints[2] == 1;
    mean([&](size_t r) {
      const float* p = pred(r);
      double total = 0, sum = 0;
      if (fromLogits) {
        k.softmax(true, p, tmp, 1, C);
      } else {
        for (size_t c = 0; c < C; ++c) total += p[c];
      }
      const auto logOf = [&](size_t c) {
        if (fromLogits) return static_cast<double>(tmp[c]);
        const double q = p[c] / total;
        return std::log(q < 1e-7 ? 1e-7 : (q > 1 - 1e-7 ? 1 - 1e-7 : q));
      };
      if (sparse) return -logOf(label(r));
      for (size_t c = 0; c < C; ++c) {
        if (dense(r, c) != 0) sum -= dense(r, c) * logOf(c);
      }
      return sum;
    });
  }

  void run() const {
    switch (static_cast<Metric>(o.op().ints[0])) {
      case Metric::binaryAccuracy: {
        const auto threshold = static_cast<float>(o.op().floats[0]);
        return meanOfOutputs([&](float p, float y) { return (p > threshold) == (y > 0.5f) ? 1.0 : 0.0; });
      }
      case Metric::categoricalAccuracy:
        return mean([&](size_t r) { return argmax(pred(r), C) == label(r) ? 1.0 : 0.0; });
      case Metric::topK:
        return topK();
      case Metric::squaredError:
        return meanOfOutputs([](double p, double y) { return (p - y) * (p - y); });
      case Metric::absoluteError:
        return meanOfOutputs([](double p, double y) { return std::fabs(p - y); });
      case Metric::value:
        return meanOfOutputs([](double p, double) { return p; });
      case Metric::r2:
        return r2();
      case Metric::confusion:
        return confusion();
      case Metric::histogram:
        return histogram();
      case Metric::crossentropy:
        return crossentropy();
    }
  }
};

}  // namespace

Step metricStep(const Operands& o) {
  const size_t rows = o.inValue(0).rows(), C = static_cast<size_t>(o.inValue(0).last()),
               outputs = o.outValue(0).elements;
  const bool sparse = o.op().ints[1] == 1;
  return {[=](const RunContext& c) {
            if (sparse) {
              if (Status s = checkLabels(o.in<int32_t>(1), rows, C); !s.ok()) return s;
            }
            std::memset(o.out<double>(0), 0, outputs * sizeof(double));
            MetricRows{o, c.k, rows, C, sparse, o.out<double>(0), c.scratch}.run();
            return Status();
          },
          C};
}

}  // namespace deeprnn::cpu
