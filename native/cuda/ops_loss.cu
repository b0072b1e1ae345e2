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

/** What every thread of a loss kernel knows. */
struct LossRows {
  Loss kind;
  bool fromLogits;
  double parameter;
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
        return dense[r * C + c] * (1 - e) + e / static_cast<double>(C);
      case Loss::binaryCrossentropy:
        return dense[r * C + c] * (1 - e) + e / 2;
      default:
        return dense[r * C + c];
    }
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
      default:
        return 2 * e;
    }
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
    double sum = 0;
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
                      o.inValue(0).rows(),
                      static_cast<size_t>(o.inValue(0).last()),
                      o.in(0),
                      o.in<void>(1),
                      o.in(2)};
  const size_t blocks = scoreBlocks(rows.rows);
  const double scale = 1.0 / static_cast<double>(rows.rows);
  const auto shape = [=](const RunContext& c) {
    return Launch{"loss", dim3(static_cast<unsigned>(blocks)), dim3(kScoreThreads), c.stream,
                  33 * sizeof(double)};
  };
  if (op.kind == core::OpKind::lossGrad) {
    return {[=](const RunContext& c, const OpMemory&) {
      return launch(shape(c), lossGradients, rows, scale, o.out(0));
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
