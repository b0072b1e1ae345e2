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

/** The larger; a number that is none stays. */
double larger(double a, double b) {
  return a < b ? b : a;
}

struct LossRows {
  Loss kind;
  bool fromLogits;
  double parameter, gamma, alpha;
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
      case Loss::categoricalFocalCrossentropy:
        return o.in(1)[r * C + c] * (1 - e) + e / static_cast<double>(C);
      case Loss::binaryCrossentropy:
      case Loss::binaryFocalCrossentropy:
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
    if (kind == Loss::categoricalFocalCrossentropy) {
      const double norm = fromLogits ? logSumExp(p) : rowSum(p);
      for (size_t c = 0; c < C; ++c) sum += focalClass(p[c], target(o, r, c), norm).value;
      return sum;
    }
    if (kind == Loss::cosineSimilarity) return -angle(o, r).cosine;
    if (kind == Loss::categoricalHinge) return larger(margin(o, r).gap, 0);
    for (size_t c = 0; c < C; ++c) sum += term(p[c], target(o, r, c));
    return kind == Loss::klDivergence ? sum : sum / static_cast<double>(C);
  }

  /** A target of a hinge: 0 stands for −1. */
  static double side(double y) { return y == 0 ? -1 : y; }
  static double gap(double p, double y) { return larger(1 - side(y) * p, 0); }
  static double logarithmicError(double p, double y) {
    return std::log1p(larger(p, kEpsilon)) - std::log1p(larger(y, kEpsilon));
  }
  /** The derivative of x^gamma; at 0, where nothing is missed, that of the loss is 0 whatever gamma. */
  double powerSlope(double x) const { return x > 0 ? gamma * std::pow(x, gamma - 1) : 0; }

  /** A value and its derivative. */
  struct Valued {
    double value, slope;
  };
  /** Binary cross-entropy times what is missed of the truth, to the gamma (Lin et al., 2017). */
  Valued focal(double p, double y) const {
    const double small = std::exp(-std::fabs(p)), low = small / (1 + small), high = 1 / (1 + small);
    const double clipped = clip(p, kEpsilon, 1 - kEpsilon);
    const double q = fromLogits ? (p >= 0 ? high : low) : clipped;
    const double rest = fromLogits ? (p >= 0 ? low : high) : 1 - clipped;
    const double entropy =
        fromLogits ? larger(p, 0) - p * y + std::log1p(small) : -(y * std::log(q) + (1 - y) * std::log(rest));
    const double slope = fromLogits ? q - y : (q - y) / (q * rest);
    const double miss = y * rest + (1 - y) * q, factor = std::pow(miss, gamma);
    const double missSlope = (1 - 2 * y) * (fromLogits ? q * rest : 1);
    const double weight = alpha < 0 ? 1 : y * alpha + (1 - y) * (1 - alpha);
    const bool cut = !fromLogits && clipped != p;
    return {weight * factor * entropy,
            cut ? 0 : weight * (powerSlope(miss) * missSlope * entropy + factor * slope)};
  }

  /** One class of the categorical focal loss: its share of the loss, the derivative of that by log q, and q.
   * `norm` is the logarithm of Σ e^x of logits, Σ p of probabilities. */
  struct Class {
    double value, slope, q;
  };
  Class focalClass(double p, double y, double norm) const {
    const double share = p / norm, q = clip(share, kEpsilon, 1 - kEpsilon);
    const double logQ = fromLogits ? p - norm : std::log(q);
    const double probability = fromLogits ? std::exp(logQ) : q;
    const double miss = -std::expm1(logQ), factor = std::pow(miss, gamma), weight = alpha < 0 ? y : alpha * y;
    const bool cut = !fromLogits && q != share;
    return {-weight * factor * logQ, cut ? 0 : weight * (powerSlope(miss) * probability * logQ - factor),
            probability};
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
      case Loss::binaryFocalCrossentropy:
        return focal(p, y).value;
      case Loss::poisson:
        return p - y * std::log(p + kEpsilon);
      case Loss::hinge:
        return gap(p, y);
      case Loss::squaredHinge:
        return gap(p, y) * gap(p, y);
      case Loss::meanSquaredLogarithmicError: {
        const double d = logarithmicError(p, y);
        return d * d;
      }
      case Loss::value:
        return p;
      case Loss::meanAbsolutePercentageError:
        return 100 * std::fabs(e) / larger(std::fabs(y), kEpsilon);
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
      case Loss::binaryFocalCrossentropy:
        return focal(p, y).slope;
      case Loss::poisson:
        return 1 - y / (p + kEpsilon);
      case Loss::hinge:
        return gap(p, y) > 0 ? -side(y) : 0;
      case Loss::squaredHinge:
        return -2 * side(y) * gap(p, y);
      case Loss::meanSquaredLogarithmicError:
        return p < kEpsilon ? 0 : 2 * logarithmicError(p, y) / (1 + p);
      case Loss::value:
        return 1;
      case Loss::meanAbsolutePercentageError:
        return (e > 0 ? 100 : (e < 0 ? -100 : 0)) / larger(std::fabs(y), kEpsilon);
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
    if (kind == Loss::categoricalFocalCrossentropy) {
      const double norm = fromLogits ? logSumExp(p) : rowSum(p);
      double sum = 0;
      for (size_t c = 0; c < C; ++c) sum += focalClass(p[c], target(o, r, c), norm).slope;
      for (size_t c = 0; c < C; ++c) {
        const Class at = focalClass(p[c], target(o, r, c), norm);
        d[c] =
            static_cast<float>(scale * (fromLogits ? at.slope - at.q * sum : (at.slope / at.q - sum) / norm));
      }
      return;
    }
    if (kind == Loss::cosineSimilarity) {
      const Angle a = angle(o, r);
      for (size_t c = 0; c < C; ++c)
        d[c] = static_cast<float>(-scale * (target(o, r, c) * a.ofTarget - p[c] * a.ofPrediction * a.turn) *
                                  a.ofPrediction);
      return;
    }
    if (kind == Loss::categoricalHinge) {
      const Margin m = margin(o, r);
      for (size_t c = 0; c < C; ++c) {
        const double y = target(o, r, c);
        d[c] = m.gap > 0 ? static_cast<float>(scale * ((c == m.worst ? 1 - y : 0) - y)) : 0.0f;
      }
      return;
    }
    const double each = kind == Loss::klDivergence ? scale : scale / static_cast<double>(C);
    for (size_t c = 0; c < C; ++c) d[c] = static_cast<float>(each * slope(p[c], target(o, r, c)));
  }

 private:
  /** 1 / norms of a row of predictions and of targets, their cosine, and what of it turns with the
   * predictions.
   */
  struct Angle {
    double ofPrediction, ofTarget, cosine, turn;
  };
  Angle angle(const Operands& o, size_t r) const {
    const float* p = o.in(0) + r * C;
    double pp = 0, yy = 0, py = 0;
    for (size_t c = 0; c < C; ++c) {
      const double y = target(o, r, c);
      pp += static_cast<double>(p[c]) * p[c];
      yy += y * y;
      py += p[c] * y;
    }
    const double norm = std::sqrt(pp), a = 1 / larger(norm, kEpsilon),
                 b = 1 / larger(std::sqrt(yy), kEpsilon);
    return {a, b, py * a * b, norm > kEpsilon ? py * a * b : 0};
  }

  /** 1 + the largest prediction of a wrong class, which is the first such, − that of the true one. */
  struct Margin {
    double gap;
    size_t worst;
  };
  Margin margin(const Operands& o, size_t r) const {
    const float* p = o.in(0) + r * C;
    double right = 0, wrong = 0;
    size_t worst = 0;
    for (size_t c = 0; c < C; ++c) {
      const double y = target(o, r, c), other = (1 - y) * p[c];
      right += y * p[c];
      if (c > 0 && !(other > wrong)) continue;
      wrong = other;
      worst = c;
    }
    return {1 + wrong - right, worst};
  }

  double logSumExp(const float* p) const {
    double top = p[0], sum = 0;
    for (size_t c = 1; c < C; ++c) top = larger(top, p[c]);
    for (size_t c = 0; c < C; ++c) sum += std::exp(p[c] - top);
    return top + std::log(sum);
  }
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
  const LossRows rows{static_cast<Loss>(op.ints[0]),
                      op.ints[1] == 1,
                      op.floats[0],
                      op.floats[1],
                      op.floats[2],
                      o.inValue(0).rows(),
                      static_cast<size_t>(o.inValue(0).last())};
  const size_t blocks = (rows.rows + kRows - 1) / kRows;
  const auto labelsFit = [=] {
    return rows.kind != Loss::sparseCategoricalCrossentropy
               ? Status()
               : checkLabels(o.in<int32_t>(1), rows.rows, rows.C);
  };
  const auto weight = [=](size_t r) { return o.in(2) ? static_cast<double>(o.in(2)[r]) : 1.0; };
  const double scale = 1.0 / static_cast<double>(rows.rows), gradientScale = op.floats[3] * scale;
  if (op.kind == OpKind::lossGrad) {
    return {[=](const RunContext& c) {
      if (Status s = labelsFit(); !s.ok()) return s;
      c.pool.parallelFor(blocks, [&](size_t b) {
        for (size_t r = b * kRows; r < std::min(rows.rows, (b + 1) * kRows); ++r)
          rows.gradient(c.k, o, r, weight(r) * gradientScale, o.out(0) + r * rows.C);
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
