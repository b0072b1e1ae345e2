// Losses, value and gradient (docs/plan.md, "Losses"), in double but for the exponentials.
#include <cmath>

#include "cpu/executable.h"
#include "cpu/scores.h"

namespace deeprnn::cpu {

using core::Loss;
using core::OpKind;
using core::Status;

namespace {

constexpr double kEpsilon = 1e-7;
/** Rows a task, fixed, so that sums do not depend on the number of threads. */
constexpr size_t kRows = 64;

double clip(double v, double lo, double hi) {
  return v < lo ? lo : (v > hi ? hi : v);
}

struct LossRows {
  Loss kind;
  bool fromLogits;
  double parameter;
  size_t rows, C;

  bool categorical() const {
    return kind == Loss::categoricalCrossentropy || kind == Loss::sparseCategoricalCrossentropy;
  }

  /** y_rc after smoothing. */
  double target(const Operands& o, size_t r, size_t c) const {
    const double e = parameter;
    switch (kind) {
      case Loss::sparseCategoricalCrossentropy: {
        const double hot = labelOf(o.in<int32_t>(1), r, C) == c ? 1 : 0;
        return hot * (1 - e) + e / static_cast<double>(C);
      }
      case Loss::categoricalCrossentropy:
        return o.in(1)[r * C + c] * (1 - e) + e / static_cast<double>(C);
      case Loss::binaryCrossentropy:
        return o.in(1)[r * C + c] * (1 - e) + e / 2;
      default:
        return o.in(1)[r * C + c];
    }
  }

  /** Whether −Σ y log p has only the term of the true class. */
  bool oneTerm() const { return kind == Loss::sparseCategoricalCrossentropy && parameter == 0; }

  double value(const KernelTable& k, const Operands& o, size_t r, float* tmp) const {
    const float* p = o.in(0) + r * C;
    double sum = 0;
    if (categorical()) {
      if (fromLogits) {
        k.softmax(true, p, tmp, 1, C);
        if (oneTerm()) return -static_cast<double>(tmp[labelOf(o.in<int32_t>(1), r, C)]);
        for (size_t c = 0; c < C; ++c) {
          const double y = target(o, r, c);
          if (y != 0) sum -= y * tmp[c];
        }
        return sum;
      }
      const double total = rowSum(p);
      if (oneTerm())
        return -std::log(clip(p[labelOf(o.in<int32_t>(1), r, C)] / total, kEpsilon, 1 - kEpsilon));
      for (size_t c = 0; c < C; ++c) {
        const double y = target(o, r, c);
        if (y != 0) sum -= y * std::log(clip(p[c] / total, kEpsilon, 1 - kEpsilon));
      }
      return sum;
    }
    for (size_t c = 0; c < C; ++c) sum += term(p[c], target(o, r, c));
    return kind == Loss::klDivergence ? sum : sum / static_cast<double>(C);
  }

  /** The share of one output in a loss that is a sum or mean over outputs. */
  double term(double p, double y) const {
    const double e = p - y;
    switch (kind) {
      case Loss::binaryCrossentropy: {
        if (fromLogits) return (p > 0 ? p : 0) - p * y + std::log1p(std::exp(-std::fabs(p)));
        const double q = clip(p, kEpsilon, 1 - kEpsilon);
        return -(y * std::log(q) + (1 - y) * std::log(1 - q));
      }
      case Loss::meanAbsoluteError:
        return std::fabs(e);
      case Loss::huber:
        return std::fabs(e) <= parameter ? 0.5 * e * e
                                         : parameter * std::fabs(e) - 0.5 * parameter * parameter;
      case Loss::logCosh:
        return std::fabs(e) + std::log1p(std::exp(-2 * std::fabs(e))) - std::log(2.0);
      case Loss::klDivergence: {
        const double a = clip(y, kEpsilon, 1), b = clip(p, kEpsilon, 1);
        return a * std::log(a / b);
      }
      default:
        return e * e;
    }
  }

  double slope(double p, double y) const {
    const double e = p - y;
    switch (kind) {
      case Loss::binaryCrossentropy: {
        if (fromLogits) return (p >= 0 ? 1 / (1 + std::exp(-p)) : std::exp(p) / (1 + std::exp(p))) - y;
        if (p < kEpsilon || p > 1 - kEpsilon) return 0;
        return (p - y) / (p * (1 - p));
      }
      case Loss::meanAbsoluteError:
        return e > 0 ? 1 : (e < 0 ? -1 : 0);
      case Loss::huber:
        return std::fabs(e) <= parameter ? e : (e > 0 ? parameter : -parameter);
      case Loss::logCosh:
        return std::tanh(e);
      case Loss::klDivergence:
        return p < kEpsilon || p > 1 ? 0 : -clip(y, kEpsilon, 1) / p;
      default:
        return 2 * e;
    }
  }

  /** dPred of row r, times `scale`. */
  void gradient(const KernelTable& k, const Operands& o, size_t r, double scale, float* d) const {
    const float* p = o.in(0) + r * C;
    if (categorical() && fromLogits) {
      k.softmax(false, p, d, 1, C);
      double total = 1;
      if (kind == Loss::categoricalCrossentropy) {
        total = 0;
        for (size_t c = 0; c < C; ++c) total += target(o, r, c);
      }
      if (oneTerm()) {
        const auto s = static_cast<float>(scale);
        for (size_t c = 0; c < C; ++c) d[c] *= s;
        d[labelOf(o.in<int32_t>(1), r, C)] -= s;
        return;
      }
      for (size_t c = 0; c < C; ++c) d[c] = static_cast<float>(scale * (d[c] * total - target(o, r, c)));
      return;
    }
    if (categorical()) {
      // q = p/Σp: dℓ/dq_c = −y_c/q_c where not clipped, then through the normalisation.
      const double total = rowSum(p);
      double mean = 0;
      for (size_t c = 0; c < C; ++c) mean += share(p[c] / total, target(o, r, c)) * (p[c] / total);
      for (size_t c = 0; c < C; ++c)
        d[c] = static_cast<float>(scale * (share(p[c] / total, target(o, r, c)) - mean) / total);
      return;
    }
    const double each = kind == Loss::klDivergence ? scale : scale / static_cast<double>(C);
    for (size_t c = 0; c < C; ++c) d[c] = static_cast<float>(each * slope(p[c], target(o, r, c)));
  }

 private:
  double rowSum(const float* p) const {
    double total = 0;
    for (size_t c = 0; c < C; ++c) total += p[c];
    return total;
  }
  static double share(double q, double y) { return q < kEpsilon || q > 1 - kEpsilon ? 0 : -y / q; }
};

}  // namespace

Step lossStep(const Operands& o) {
  const core::Op& op = o.op();
  const LossRows rows{static_cast<Loss>(op.ints[0]), op.ints[1] == 1, op.floats[0], o.inValue(0).rows(),
                      static_cast<size_t>(o.inValue(0).last())};
  const size_t blocks = (rows.rows + kRows - 1) / kRows;
  const auto labelsFit = [=] {
    return rows.kind != Loss::sparseCategoricalCrossentropy
               ? Status()
               : checkLabels(o.in<int32_t>(1), rows.rows, rows.C);
  };
  const auto weight = [=](size_t r) { return o.in(2) ? static_cast<double>(o.in(2)[r]) : 1.0; };
  const double scale = 1.0 / static_cast<double>(rows.rows);
  if (op.kind == OpKind::lossGrad) {
    return {[=](const RunContext& c) {
      if (Status s = labelsFit(); !s.ok()) return s;
      c.pool.parallelFor(blocks, [&](size_t b) {
        for (size_t r = b * kRows; r < std::min(rows.rows, (b + 1) * kRows); ++r)
          rows.gradient(c.k, o, r, weight(r) * scale, o.out(0) + r * rows.C);
      });
      return Status();
    }};
  }
  // Per block a row of values and its sum, two floats wide.
  const size_t stride = roundUp(rows.C, 16) + 16;
  return {[=](const RunContext& c) {
            if (Status s = labelsFit(); !s.ok()) return s;
            const auto sumOf = [&](size_t b) { return reinterpret_cast<double*>(c.scratch + b * stride); };
            c.pool.parallelFor(blocks, [&](size_t b) {
              double sum = 0;
              for (size_t r = b * kRows; r < std::min(rows.rows, (b + 1) * kRows); ++r)
                sum += weight(r) * rows.value(c.k, o, r, c.scratch + b * stride + 16);
              *sumOf(b) = sum;
            });
            double total = 0;
            for (size_t b = 0; b < blocks; ++b) total += *sumOf(b);
            *o.out<double>(0) = total * scale;
            return Status();
          },
          blocks * stride};
}

}  // namespace deeprnn::cpu
