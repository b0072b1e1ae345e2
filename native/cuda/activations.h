// Activations on the device: value and derivative (docs/plan.md). The functions of the CUDA maths library are
// exact to 1–3 units in the last place; the compiler's fast-math is not used.
#pragma once

#include "core/codes.h"
#include "cuda/gpu.h"

namespace deeprnn::cuda {

using core::Activation;

__device__ __forceinline__ float sigmoid(float x) {
  return 1.0f / (1.0f + expf(-x));
}

/** Distribution function of the normal distribution. */
__device__ __forceinline__ float normalCdf(float x) {
  return 0.5f * erfcf(-0.7071067811865476f * x);
}

__device__ __forceinline__ float hardSigmoid(float x) {
  const float y = (x + 3.0f) * (1.0f / 6.0f);
  return y < 0.0f ? 0.0f : (y > 1.0f ? 1.0f : y);
}

constexpr float kSeluScale = 1.0507009873554805f;
constexpr float kSeluAlpha = 1.6732632423543772f;
constexpr float kSqrt2OverPi = 0.7978845608028654f;

/** tanh(log(1 + e^x)) as a quotient of polynomials in e^−|x|; `rest` gets 1 − tanh. */
__device__ __forceinline__ float tanhOfSoftplus(float x, float* rest) {
  const float e = expf(-fabsf(x));
  const float top = x < 0 ? e * (e + 2.0f) : 1.0f + 2.0f * e;
  const float other = x < 0 ? 2.0f : 2.0f * e * e;
  *rest = other / (top + other);
  return top / (top + other);
}

/** Those that cells seldom use: called, not inlined, so that a kernel's instructions stay in the cache. */
__device__ DEEPRNN_CALLED float seldomActivate(Activation kind, float alpha, float x) {
  switch (kind) {
    case Activation::relu:
      return x < 0.0f ? 0.0f : x;
    case Activation::hardSigmoid:
      return hardSigmoid(x);
    case Activation::softplus:
      return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))) + (x != x ? x : 0.0f);
    case Activation::softsign: {
      const float bounded = fminf(fmaxf(x, -33554432.0f), 33554432.0f);
      return x != x ? x : bounded / (1.0f + fabsf(bounded));
    }
    case Activation::elu:
      return x > 0.0f ? x : alpha * expm1f(x);
    case Activation::selu:
      return kSeluScale * (x > 0.0f ? x : kSeluAlpha * expm1f(x));
    case Activation::exponential:
      return expf(x);
    case Activation::relu6:
      return x < 0.0f ? 0.0f : (x > 6.0f ? 6.0f : x);
    case Activation::leakyRelu:
      return x > 0.0f ? x : alpha * x;
    case Activation::gelu:
      return x * normalCdf(x);
    case Activation::silu:
      return x * sigmoid(x);
    case Activation::mish: {
      float rest;
      return x * tanhOfSoftplus(x, &rest);
    }
    case Activation::hardSilu:
      return x * hardSigmoid(x);
    case Activation::geluTanh: {
      // x·(1 + tanh u)/2 = x·σ(2u), which does not cancel; 2u in double, because e^(2u) magnifies its error.
      const double w = x, v = 2.0 * 0.7978845608028654 * (w + 0.044715 * w * w * w);
      return static_cast<float>(w / (1.0 + exp(-v)));
    }
    case Activation::celu:
      return x > 0.0f ? x : alpha * expm1f(x / alpha);
    case Activation::squareplus: {
      // For x < 0 as b/(2(√(x² + b) − x)), which does not cancel; beyond 2^60 the square could be infinite.
      const float a = fabsf(x), bounded = a > 1152921504606846976.0f ? 1152921504606846976.0f : a;
      const float half =
          0.5f * a + 0.5f * (sqrtf(bounded * bounded + alpha) + (a > bounded ? a - bounded : 0.0f));
      return x < 0.0f ? 0.25f * alpha / half : half;
    }
    case Activation::softShrink:
      return x > alpha ? x - alpha : (x < -alpha ? x + alpha : (x == x ? 0.0f : x));
    case Activation::hardShrink:
      return fabsf(x) <= alpha ? 0.0f : x;
    case Activation::threshold:
      return x <= alpha ? 0.0f : x;
    case Activation::tanhShrink: {
      // x·c/(1 + c), c = x²/(3 + x²/(5 + x²/(7 + …))), which does not cancel near 0.
      const float z = x * x;
      float c = z / 15.0f;
      for (float odd = 13.0f; odd > 2.0f; odd -= 2.0f) c = z / (odd + c);
      return fabsf(x) < 1.5f ? x * (c / (1.0f + c)) : x - tanhf(x);
    }
    case Activation::hardTanh:
      return x < -1.0f ? -1.0f : (x > 1.0f ? 1.0f : x);
    case Activation::logSigmoid:
      return -(fmaxf(-x, 0.0f) + log1pf(expf(-fabsf(x))) + (x != x ? x : 0.0f));
    case Activation::sparsePlus: {
      const float u = x + 1.0f;
      return x <= -1.0f ? 0.0f : (x < 1.0f ? 0.25f * u * u : x);
    }
    case Activation::sparseSigmoid:
      return x <= -1.0f ? 0.0f : (x >= 1.0f ? 1.0f : 0.5f * (x + 1.0f));
    default:
      return x;
  }
}

__device__ __forceinline__ float activate(Activation kind, float alpha, float x) {
  if (kind == Activation::tanh) return tanhf(x);
  if (kind == Activation::sigmoid) return sigmoid(x);
  return seldomActivate(kind, alpha, x);
}

__device__ DEEPRNN_CALLED float seldomSlope(Activation kind, float alpha, float from) {
  const float x = from, y = from;
  switch (kind) {
    case Activation::relu:
      return y > 0.0f ? 1.0f : 0.0f;
    case Activation::hardSigmoid:
      return y > 0.0f && y < 1.0f ? 1.0f / 6.0f : 0.0f;
    case Activation::softplus:
      return -expm1f(-y);
    case Activation::softsign: {
      const float d = 1.0f - fabsf(y);
      return d * d;
    }
    case Activation::elu:
      return y > 0.0f ? 1.0f : y + alpha;
    case Activation::selu:
      return y > 0.0f ? kSeluScale : y + kSeluScale * kSeluAlpha;
    case Activation::exponential:
      return y;
    case Activation::relu6:
      return y > 0.0f && y < 6.0f ? 1.0f : 0.0f;
    case Activation::leakyRelu:
      return y > 0.0f ? 1.0f : alpha;
    case Activation::gelu:
      return normalCdf(x) + x * 0.39894228f * expf(-0.5f * x * x);
    case Activation::silu:
      return sigmoid(x) * (1.0f + x * sigmoid(-x));
    case Activation::mish: {
      float rest;
      const float t = tanhOfSoftplus(x, &rest);
      return t + x * rest * (1.0f + t) * sigmoid(x);
    }
    case Activation::hardSilu:
      return hardSigmoid(x) + (x > -3.0f && x < 3.0f ? x * (1.0f / 6.0f) : 0.0f);
    case Activation::geluTanh: {
      // Beyond |x| = 12 the slope is 0 or 1 to the last bit, and x² may be infinite.
      const float u = fminf(fmaxf(x, -12.0f), 12.0f);
      const float s = sigmoid(2.0f * kSqrt2OverPi * (u + 0.044715f * u * u * u));
      return s + 2.0f * u * s * (1.0f - s) * kSqrt2OverPi * (1.0f + 3.0f * 0.044715f * u * u);
    }
    case Activation::celu:
      return y > 0.0f ? 1.0f : y / alpha + 1.0f;
    case Activation::squareplus:
      return 1.0f / (1.0f + 0.25f * alpha / y / y);
    case Activation::softShrink:
    case Activation::hardShrink:
      return y < 0.0f || y > 0.0f ? 1.0f : 0.0f;
    case Activation::threshold:
      return x > alpha ? 1.0f : 0.0f;
    case Activation::tanhShrink: {
      const float t = tanhf(x);
      return t * t;
    }
    case Activation::hardTanh:
      return y > -1.0f && y < 1.0f ? 1.0f : 0.0f;
    case Activation::logSigmoid:
      return -expm1f(y);
    case Activation::sparsePlus:
      return x <= -1.0f ? 0.0f : (x < 1.0f ? 0.5f * (x + 1.0f) : 1.0f);
    case Activation::sparseSigmoid:
      return y > 0.0f && y < 1.0f ? 0.5f : 0.0f;
    default:
      return 1.0f;
  }
}

/** f′ from x or from y = f(x), as core::derivativeFromInput says. */
__device__ __forceinline__ float slope(Activation kind, float alpha, float from) {
  if (kind == Activation::tanh) return 1.0f - from * from;
  if (kind == Activation::sigmoid) return from * (1.0f - from);
  return seldomSlope(kind, alpha, from);
}

}  // namespace deeprnn::cuda
