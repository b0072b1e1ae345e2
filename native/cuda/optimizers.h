// What the kernels of an optimizer's step know of parameters.
#pragma once

#include "core/codes.h"
#include "cuda/gpu.h"

namespace deeprnn::cuda {

/** One parameter with its slots; null where absent. */
struct Parameter {
  float* param;
  /** This step's gradient, without that of the penalty. */
  const float* grad;
  float* slots[3];
  /** Where gradients are accumulated: the sum of those since the last update. */
  float* sum;
  float* average;
  size_t n;
  /** Of a matrix; a vector is one row. */
  size_t columns;
  double decay, rateFactor;
  /** Of the penalty l1·Σ|p| + l2·Σp²: l1, and 2·l2. */
  float l1, twiceL2;
  /** Its chunks lie side by side from here. */
  size_t firstChunk;
};

struct Rule {
  core::Optimizer kind;
  core::Clip clip;
  bool flag;
  /** Gradients are summed over steps; not every step updates. */
  bool accumulates;
  double limit;
  double k[6];
};

/** The step of adafactor over all parameters, from the gradients' norms, `norms` [count + 1] where the rule
 * clips by them. `rows` is the number of all rows, `columns` that of the widest parameter. */
struct AdafactorStep {
  const Parameter* parameters;
  size_t count, rows, columns;
  Rule rule;
  const double *hyper, *norms;
  const unsigned* failed;
};
Status adafactor(const AdafactorStep& step, double* scratch, cudaStream_t stream);
/** Doubles of scratch that it needs. */
size_t adafactorScratch(size_t count, size_t rows);

#if defined(__CUDACC__) || defined(DEEPRNN_EMULATED)

/** Element i of this step's gradient, with that of the penalty; rounded alike wherever it is read. */
__device__ __forceinline__ float ownGradient(const Parameter& p, size_t i) {
  const float g = p.grad[i];
  if (p.l1 == 0 && p.twiceL2 == 0) return g;
  const float w = p.param[i];
  return g + fmaf(p.twiceL2, w, w > 0 ? p.l1 : (w < 0 ? -p.l1 : 0.0f));
}

/** Element i of what is clipped and applied: that, or the sum of those since the last update. */
__device__ __forceinline__ float gradient(const Parameter& p, size_t i) {
  return p.sum ? p.sum[i] : ownGradient(p, i);
}

/** How a gradient is clipped: multiplied by `scale`, then cut to ±limit. */
struct Clipping {
  float scale, limit;

  __device__ Clipping(const Rule& rule, const double* hyper, const double* norms, size_t parameter,
                      size_t count)
      : scale(rule.accumulates ? static_cast<float>(hyper[core::HyperPlaces::share]) : 1.0f),
        limit(rule.clip == core::Clip::value ? static_cast<float>(rule.limit) : INFINITY) {
    if (rule.clip != core::Clip::norm && rule.clip != core::Clip::globalNorm) return;
    const double norm = norms[rule.clip == core::Clip::norm ? parameter : count];
    if (isfinite(norm) && norm > rule.limit) scale *= static_cast<float>(rule.limit / norm);
  }
  __device__ float operator()(float grad) const {
    const float g = grad * scale;
    return g > limit ? limit : (g < -limit ? -limit : g);
  }
};

/** Whether this step changes parameters: the data were sound, and it is its turn. */
__device__ __forceinline__ bool updates(const Rule& rule, const double* hyper, const unsigned* failed) {
  return !*failed && (!rule.accumulates || hyper[core::HyperPlaces::apply] != 0);
}

/** What weight decay leaves of a parameter. */
__device__ __forceinline__ float keptShare(const Parameter& p, const double* hyper) {
  return static_cast<float>(1.0 - hyper[0] * p.rateFactor * p.decay);
}

#endif

}  // namespace deeprnn::cuda
