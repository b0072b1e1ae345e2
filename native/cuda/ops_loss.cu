// Losses, value and gradient (docs/plan.md, "Losses"), in double. One warp takes a row at a time.
#include "cuda/executable.h"
#include "cuda/reductions.h"
#include "cuda/scores.h"

namespace deeprnn::cuda {
namespace {

using core::Loss;

constexpr double kEpsilon = 1e-7;

__device__ __forceinline__ double clip(double v, double lo, double hi) {
  return v < lo ? lo : (v > hi ? hi : v);
}

__device__ __forceinline__ double larger(double a, double b) {
  return a < b ? b : a;
}

/** What every thread of a loss kernel knows. */
struct LossRows {
  Loss kind;
  bool fromLogits;
  double parameter, gamma, alpha;
  size_t rows, C;
  const float* pred;
  /** float [R, C], or int32 [R] for the sparse kind. */
  const void* target;
  const float* weight;

  __device__ bool categorical() const {
    return kind == Loss::categoricalCrossentropy || kind == Loss::sparseCategoricalCrossentropy;
  }
  __device__ double weightOf(size_t r) const { return weight ? static_cast<double>(weight[r]) : 1.0; }

  /** y_rc after smoothing. */
  __device__ double targetOf(size_t r, size_t c) const {
    const double e = parameter;
    const auto* dense = static_cast<const float*>(target);
    switch (kind) {
      case Loss::sparseCategoricalCrossentropy:
        return (labelOf(static_cast<const int32_t*>(target), r, C) == c ? 1.0 - e : 0.0) +
               e / static_cast<double>(C);
      case Loss::categoricalCrossentropy:
      case Loss::categoricalFocalCrossentropy:
        return dense[r * C + c] * (1 - e) + e / static_cast<double>(C);
      case Loss::binaryCrossentropy:
      case Loss::binaryFocalCrossentropy:
        return dense[r * C + c] * (1 - e) + e / 2;
      default:
        return dense[r * C + c];
    }
  }

  /** A target of a hinge: 0 stands for −1. */
  __device__ static double side(double y) { return y == 0 ? -1 : y; }
  __device__ static double gap(double p, double y) { return larger(1 - side(y) * p, 0); }
  __device__ static double logarithmicError(double p, double y) {
    return log1p(larger(p, kEpsilon)) - log1p(larger(y, kEpsilon));
  }
  /** The derivative of x^gamma; at 0, where nothing is missed, that of the loss is 0 whatever gamma. */
  __device__ double powerSlope(double x) const { return x > 0 ? gamma * pow(x, gamma - 1) : 0; }

  /** A value and its derivative. */
  struct Valued {
    double value, slope;
  };
  /** Binary cross-entropy times what is missed of the truth, to the gamma (Lin et al., 2017). */
  __device__ Valued focal(double p, double y) const {
    const double small = exp(-fabs(p)), low = small / (1 + small), high = 1 / (1 + small);
    const double clipped = clip(p, kEpsilon, 1 - kEpsilon);
    const double q = fromLogits ? (p >= 0 ? high : low) : clipped;
    const double rest = fromLogits ? (p >= 0 ? low : high) : 1 - clipped;
    const double entropy =
        fromLogits ? larger(p, 0) - p * y + log1p(small) : -(y * log(q) + (1 - y) * log(rest));
    const double slope = fromLogits ? q - y : (q - y) / (q * rest);
    const double miss = y * rest + (1 - y) * q, factor = pow(miss, gamma);
    const double missSlope = (1 - 2 * y) * (fromLogits ? q * rest : 1);
    const double balance = alpha < 0 ? 1 : y * alpha + (1 - y) * (1 - alpha);
    const bool cut = !fromLogits && clipped != p;
    return {balance * factor * entropy,
            cut ? 0 : balance * (powerSlope(miss) * missSlope * entropy + factor * slope)};
  }

  /** One class of the categorical focal loss: its share of the loss, the derivative of that by log q, and q.
   * `norm` is the logarithm of Σ e^x of logits, Σ p of probabilities. */
  struct Class {
    double value, slope, q;
  };
  __device__ Class focalClass(double p, double y, double norm) const {
    const double share = p / norm, q = clip(share, kEpsilon, 1 - kEpsilon);
    const double logQ = fromLogits ? p - norm : log(q);
    const double probability = fromLogits ? exp(logQ) : q;
    const double miss = -expm1(logQ), factor = pow(miss, gamma), balance = alpha < 0 ? y : alpha * y;
    const bool cut = !fromLogits && q != share;
    return {-balance * factor * logQ, cut ? 0 : balance * (powerSlope(miss) * probability * logQ - factor),
            probability};
  }

  /** The share of one output in a loss that is a sum or mean over outputs. */
  __device__ double term(double p, double y) const {
    const double e = p - y;
    switch (kind) {
      case Loss::binaryCrossentropy: {
        if (fromLogits) return (p > 0 ? p : 0) - p * y + log1p(exp(-fabs(p)));
        const double q = clip(p, kEpsilon, 1 - kEpsilon);
        return -(y * log(q) + (1 - y) * log(1 - q));
      }
      case Loss::meanAbsoluteError:
        return fabs(e);
      case Loss::huber:
        return fabs(e) <= parameter ? 0.5 * e * e : parameter * fabs(e) - 0.5 * parameter * parameter;
      case Loss::logCosh:
        return fabs(e) + log1p(exp(-2 * fabs(e))) - 0.6931471805599453;
      case Loss::klDivergence: {
        const double a = clip(y, kEpsilon, 1), b = clip(p, kEpsilon, 1);
        return a * log(a / b);
      }
      case Loss::binaryFocalCrossentropy:
        return focal(p, y).value;
      case Loss::poisson:
        return p - y * log(p + kEpsilon);
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
        return 100 * fabs(e) / larger(fabs(y), kEpsilon);
      default:
        return e * e;
    }
  }

  __device__ double slopeOf(double p, double y) const {
    const double e = p - y;
    switch (kind) {
      case Loss::binaryCrossentropy:
        if (fromLogits) return (p >= 0 ? 1 / (1 + exp(-p)) : exp(p) / (1 + exp(p))) - y;
        return p < kEpsilon || p > 1 - kEpsilon ? 0 : (p - y) / (p * (1 - p));
      case Loss::meanAbsoluteError:
        return e > 0 ? 1 : (e < 0 ? -1 : 0);
      case Loss::huber:
        return fabs(e) <= parameter ? e : (e > 0 ? parameter : -parameter);
      case Loss::logCosh:
        return tanh(e);
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
        return (e > 0 ? 100 : (e < 0 ? -100 : 0)) / larger(fabs(y), kEpsilon);
      default:
        return 2 * e;
    }
  }

  /** The logarithm of Σ e^x of logits, Σ p of probabilities. */
  __device__ double normOf(size_t r) const {
    return fromLogits ? logSumExp(pred + r * C, C) : rowSum(pred + r * C, C);
  }

  /** 1 / norms of a row of predictions and of targets, their cosine, and what of it turns with the
   * predictions; to every lane. */
  struct Angle {
    double ofPrediction, ofTarget, cosine, turn;
  };
  __device__ Angle angle(size_t r) const {
    double pp = 0, yy = 0, py = 0;
    for (size_t c = lane(); c < C; c += 32) {
      const double p = pred[r * C + c], y = targetOf(r, c);
      pp += p * p;
      yy += y * y;
      py += p * y;
    }
    const double norm = sqrt(warpSum(pp)), a = 1 / larger(norm, kEpsilon),
                 b = 1 / larger(sqrt(warpSum(yy)), kEpsilon), cosine = warpSum(py) * a * b;
    return {a, b, cosine, norm > kEpsilon ? cosine : 0};
  }

  /** 1 + the largest prediction of a wrong class, which is the first such, − that of the true one; to every
   * lane. */
  struct Margin {
    double gap;
    size_t worst;
  };
  __device__ Margin margin(size_t r) const {
    double right = 0, wrong = -INFINITY;
    unsigned long long worst = ~0ull;
    for (size_t c = lane(); c < C; c += 32) {
      const double y = targetOf(r, c), other = (1 - y) * pred[r * C + c];
      right += y * pred[r * C + c];
      if (worst != ~0ull && !(other > wrong)) continue;
      wrong = other;
      worst = c;
    }
    for (int bits = 16; bits > 0; bits >>= 1) {
      const double theirs = __shfl_xor_sync(0xffffffffu, wrong, bits);
      const unsigned long long at = __shfl_xor_sync(0xffffffffu, worst, bits);
      if (at == ~0ull || (worst != ~0ull && !(theirs > wrong || (theirs == wrong && at < worst)))) continue;
      wrong = theirs;
      worst = at;
    }
    return {1 + wrong - warpSum(right), static_cast<size_t>(worst)};
  }

  /** −Σ_c y_c log p_c of row r, to every lane. */
  __device__ double crossentropy(size_t r) const {
    const float* p = pred + r * C;
    const double norm = fromLogits ? logSumExp(p, C) : rowSum(p, C);
    double sum = 0;
    for (size_t c = lane(); c < C; c += 32) {
      const double y = targetOf(r, c);
      if (y != 0) sum -= y * (fromLogits ? p[c] - norm : log(clip(p[c] / norm, kEpsilon, 1 - kEpsilon)));
    }
    return warpSum(sum);
  }

  __device__ double value(size_t r) const {
    if (categorical()) return crossentropy(r);
    if (kind == Loss::cosineSimilarity) return -angle(r).cosine;
    if (kind == Loss::categoricalHinge) return larger(margin(r).gap, 0);
    double sum = 0;
    if (kind == Loss::categoricalFocalCrossentropy) {
      const double norm = normOf(r);
      for (size_t c = lane(); c < C; c += 32) sum += focalClass(pred[r * C + c], targetOf(r, c), norm).value;
      return warpSum(sum);
    }
    for (size_t c = lane(); c < C; c += 32) sum += term(pred[r * C + c], targetOf(r, c));
    sum = warpSum(sum);
    return kind == Loss::klDivergence ? sum : sum / static_cast<double>(C);
  }

  /** dℓ/dq of a normalised probability q, zero where it is clipped. */
  __device__ static double share(double q, double y) { return q < kEpsilon || q > 1 - kEpsilon ? 0 : -y / q; }

  /** dPred of row r, times `scale`. */
  __device__ void gradient(size_t r, double scale, float* d) const {
    const float* p = pred + r * C;
    if (categorical() && fromLogits) {
      const double norm = logSumExp(p, C);
      double total = 1;
      if (kind == Loss::categoricalCrossentropy) {
        total = 0;
        for (size_t c = lane(); c < C; c += 32) total += targetOf(r, c);
        total = warpSum(total);
      }
      for (size_t c = lane(); c < C; c += 32)
        d[c] = static_cast<float>(scale * (exp(p[c] - norm) * total - targetOf(r, c)));
    } else if (categorical()) {
      // q = p/Σp: dℓ/dq_c = −y_c/q_c where not clipped, then through the normalisation.
      const double total = rowSum(p, C);
      double mean = 0;
      for (size_t c = lane(); c < C; c += 32) mean += share(p[c] / total, targetOf(r, c)) * (p[c] / total);
      mean = warpSum(mean);
      for (size_t c = lane(); c < C; c += 32)
        d[c] = static_cast<float>(scale * (share(p[c] / total, targetOf(r, c)) - mean) / total);
    } else if (kind == Loss::categoricalFocalCrossentropy) {
      const double norm = normOf(r);
      double sum = 0;
      for (size_t c = lane(); c < C; c += 32) sum += focalClass(p[c], targetOf(r, c), norm).slope;
      sum = warpSum(sum);
      for (size_t c = lane(); c < C; c += 32) {
        const Class at = focalClass(p[c], targetOf(r, c), norm);
        d[c] =
            static_cast<float>(scale * (fromLogits ? at.slope - at.q * sum : (at.slope / at.q - sum) / norm));
      }
    } else if (kind == Loss::cosineSimilarity) {
      const Angle a = angle(r);
      for (size_t c = lane(); c < C; c += 32)
        d[c] = static_cast<float>(-scale * (targetOf(r, c) * a.ofTarget - p[c] * a.ofPrediction * a.turn) *
                                  a.ofPrediction);
    } else if (kind == Loss::categoricalHinge) {
      const Margin m = margin(r);
      for (size_t c = lane(); c < C; c += 32) {
        const double y = targetOf(r, c);
        d[c] = m.gap > 0 ? static_cast<float>(scale * ((c == m.worst ? 1 - y : 0) - y)) : 0.0f;
      }
    } else {
      const double each = kind == Loss::klDivergence ? scale : scale / static_cast<double>(C);
      for (size_t c = lane(); c < C; c += 32) d[c] = static_cast<float>(each * slopeOf(p[c], targetOf(r, c)));
    }
  }
};

/** Each block's share of Σ_r w_r ℓ_r. */
__global__ void lossSums(LossRows l, double* partial) {
  double* tmp = sharedMemory<double>();
  double sum = 0;
  const size_t warps = blockDim.x / 32;
  for (size_t r = blockIdx.x * warps + threadIdx.x / 32; r < l.rows; r += gridDim.x * warps) {
    const double value = l.value(r);
    if (lane() == 0) sum += l.weightOf(r) * value;
  }
  sum = blockSum(sum, tmp);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void lossGradients(LossRows l, double scale, float* d) {
  const size_t warps = blockDim.x / 32;
  for (size_t r = blockIdx.x * warps + threadIdx.x / 32; r < l.rows; r += gridDim.x * warps)
    l.gradient(r, l.weightOf(r) * scale, d + r * l.C);
}

}  // namespace

Step lossStep(const Operands& o) {
  const core::Op& op = o.op();
  const LossRows rows{static_cast<Loss>(op.ints[0]),
                      op.ints[1] == 1,
                      op.floats[0],
                      op.floats[1],
                      op.floats[2],
                      o.inValue(0).rows(),
                      static_cast<size_t>(o.inValue(0).last()),
                      o.in(0),
                      o.in<void>(1),
                      o.in(2)};
  const size_t blocks = scoreBlocks(rows.rows);
  const double scale = 1.0 / static_cast<double>(rows.rows), gradientScale = op.floats[3] * scale;
  const auto shape = [=](const RunContext& c) {
    return Launch{"loss", dim3(static_cast<unsigned>(blocks)), dim3(kScoreThreads), c.stream,
                  33 * sizeof(double)};
  };
  if (op.kind == core::OpKind::lossGrad) {
    return {[=](const RunContext& c, const OpMemory&) {
      return launch(shape(c), lossGradients, rows, gradientScale, o.out(0));
    }};
  }
  return {[=](const RunContext& c, const OpMemory&) {
            auto* partial = reinterpret_cast<double*>(c.scratch);
            if (Status s = launch(shape(c), lossSums, rows, partial); !s.ok()) return s;
            return finishSum(partial, blocks, scale, o.out<double>(0), c.stream);
          },
          blocks * sizeof(double)};
}

}  // namespace deeprnn::cuda
