// The kernels, compiled once per instruction set: isa_<name>.cpp defines DEEPRNN_ISA (a namespace of its
// own), kWidth, kRows and kVectors and includes this file. Everything here has internal linkage, and only
// memcpy is used of the standard library, so that no code made for one instruction set can be linked into
// another. Elementwise loops are branch-free and left to the compiler to vectorise; the register tiles of the
// products (products.inl.h) are spelt out.
#include <cstdint>
#include <cstring>

#if defined(_MSC_VER) && !defined(__clang__)
#include <math.h>
#endif

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/products.inl.h"

namespace deeprnn::cpu::DEEPRNN_ISA {
namespace {

using core::Activation;

// ── Functions of one number. Written without branches; errors against float64 are tested over the whole
// range. ──

// The C library's functions, by their C names: its C++ headers have inline code, which must not be compiled
// here.
#if defined(_MSC_VER) && !defined(__clang__)
double logd(double x) {
  return ::log(x);
}
DEEPRNN_INLINE float root(float x) {
  return ::sqrtf(x);
}
float logarithm(float x) {
  return ::logf(x);
}
#else
double logd(double x) {
  return __builtin_log(x);
}
DEEPRNN_INLINE float root(float x) {
  return __builtin_sqrtf(x);
}
float logarithm(float x) {
  return __builtin_logf(x);
}
#endif

/** x = n·ln 2 + r with a whole n and |r| ≤ ½·ln 2, and e^r − 1 by a polynomial. */
struct Exponent {
  int32_t n;
  float whole, expm1;

  explicit DEEPRNN_INLINE Exponent(float x) {
    // The whole number stands in the last bits of the sum.
    const float shifted = x * 1.44269504f + 12582912.0f;
    n = static_cast<int32_t>(bitsOf(shifted) - 0x4B400000u);
    whole = shifted - 12582912.0f;
    float r = x - whole * 0.693359375f;
    r = r + whole * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    expm1 = p * r * r + r;
  }
};

/** 2^n for a normal result; of NaN's n anything, which is multiplied by NaN. */
DEEPRNN_INLINE float powerOfTwo(int32_t n) {
  return asFloat(static_cast<int32_t>(static_cast<uint32_t>(n + 127) << 23));
}

/** e^x, with 2^n in two factors so that the smallest and largest results come out whole. */
DEEPRNN_INLINE float expf_(float x) {
  const Exponent e(x > 89.0f ? 89.0f : (x < -104.0f ? -104.0f : x));
  const int32_t half = e.n >> 1;
  return (e.expm1 + 1.0f) * powerOfTwo(half) * powerOfTwo(e.n - half);
}

/** With t = e^2|x| − 1, which is exact to the last bits near 0 too: t/(t + 2). */
DEEPRNN_INLINE float tanhf_(float x) {
  const float a = absf(x);
  // Beyond, the quotient is 1.
  const float bounded = a > 9.5f ? 9.5f : a;
  const Exponent e(bounded + bounded);
  const float scale = powerOfTwo(e.n);
  const float t = scale * e.expm1 + (scale - 1.0f);
  // The sign by its bit: −0 keeps it.
  const uint32_t sign = bitsOf(x) & 0x80000000u;
  return asFloat(static_cast<int32_t>(bitsOf(t / (t + 2.0f)) | sign));
}

DEEPRNN_INLINE float sigmoidf_(float x) {
  const float e = expf_(-absf(x));
  return (x < 0 ? e : 1.0f) / (1.0f + e);
}

/** log x for x in [1, 2]: atanh series in (x−1)/(x+1). */
DEEPRNN_INLINE float log1to2(float y) {
  // y = x − 1, handed in without rounding 1 + y.
  const float s = y / (2.0f + y);
  const float z = s * s;
  float p = 0.08f;
  p = p * z + 0.0909090909f;
  p = p * z + 0.111111111f;
  p = p * z + 0.142857143f;
  p = p * z + 0.2f;
  p = p * z + 0.333333333f;
  return 2.0f * s + 2.0f * s * z * p;
}

/** log(1 + e^x) = max(x, 0) + log(1 + e^−|x|). */
DEEPRNN_INLINE float softplusf(float x) {
  return (x > 0 ? x : (x == x ? 0.0f : x)) + log1to2(expf_(-absf(x)));
}

/** e^x − 1 for x ≤ 0, without cancellation near 0. */
DEEPRNN_INLINE float expm1Negative(float x) {
  const Exponent e(x < -80.0f ? -80.0f : x);
  const float scale = powerOfTwo(e.n);
  return scale * e.expm1 + (scale - 1.0f);
}

/** e^v for v ≤ 0 of double: rounding v to float alone would cost |v| units in the last place. */
DEEPRNN_INLINE float expOfDouble(double v) {
  const double clamped = v < -200.0 ? -200.0 : v;
  const float high = static_cast<float>(clamped);
  const float e = expf_(high);
  return e + e * static_cast<float>(clamped - high);
}

/**
 * erfc(|x|/√2) = e^(−x²/2) times a Chebyshev fit in t = 1/(1 + |x|/√8), relative error below 1.2e-7 (Press et
 * al., Numerical Recipes, §6.2). `a` is |x|/√2.
 */
DEEPRNN_INLINE float erfcTail(float x, float a) {
  const float t = 1.0f / (1.0f + 0.5f * a);
  float p = 0.17087277f;
  p = p * t - 0.82215223f;
  p = p * t + 1.48851587f;
  p = p * t - 1.13520398f;
  p = p * t + 0.27886807f;
  p = p * t - 0.18628806f;
  p = p * t + 0.09678418f;
  p = p * t + 0.37409196f;
  p = p * t + 1.00002368f;
  p = p * t - 1.26551223f;
  return t * expOfDouble(static_cast<double>(p) - 0.5 * static_cast<double>(x) * static_cast<double>(x));
}

/** Φ(x), the standard normal distribution: by the series of erf near 0, by erfc elsewhere, without
 * cancellation in the tail. */
DEEPRNN_INLINE float normalCdf(float x) {
  const float a = absf(x) * 0.70710678f;
  const float z = a * a;
  float p = -1.0f / 1320.0f;
  p = p * z + 1.0f / 216.0f;
  p = p * z - 1.0f / 42.0f;
  p = p * z + 0.1f;
  p = p * z - 0.333333333f;
  p = p * z + 1.0f;
  const float tail = a < 0.5f ? 0.5f - 0.56418958f * a * p : 0.5f * erfcTail(x, a);
  return x < 0 ? tail : 1.0f - tail;
}

constexpr float kSeluScale = 1.0507009873554805f;
constexpr float kSeluAlpha = 1.6732632423543772f;
constexpr float kSqrt2OverPi = 0.7978845608028654f;

/** x + 3 is exact near the lower corner, where x/6 + 1/2 would cancel. */
DEEPRNN_INLINE float hardSigmoidf(float x) {
  const float y = (x + 3.0f) * (1.0f / 6.0f);
  return y < 0.0f ? 0.0f : (y > 1.0f ? 1.0f : y);
}

// Each activation: value(x, alpha) and slope(from, alpha), from = x or y as core::derivativeFromInput says.
struct Tanh {
  static DEEPRNN_INLINE float value(float x, float) { return tanhf_(x); }
  static DEEPRNN_INLINE float slope(float y, float) { return 1.0f - y * y; }
};
struct Sigmoid {
  static DEEPRNN_INLINE float value(float x, float) { return sigmoidf_(x); }
  static DEEPRNN_INLINE float slope(float y, float) { return y * (1.0f - y); }
};
struct Linear {
  static DEEPRNN_INLINE float value(float x, float) { return x; }
  static DEEPRNN_INLINE float slope(float, float) { return 1.0f; }
};
struct Relu {
  static DEEPRNN_INLINE float value(float x, float) { return x < 0.0f ? 0.0f : x; }
  static DEEPRNN_INLINE float slope(float y, float) { return y > 0.0f ? 1.0f : 0.0f; }
};
struct HardSigmoid {
  static DEEPRNN_INLINE float value(float x, float) { return hardSigmoidf(x); }
  static DEEPRNN_INLINE float slope(float y, float) { return y > 0.0f && y < 1.0f ? 1.0f / 6.0f : 0.0f; }
};
struct Softplus {
  static DEEPRNN_INLINE float value(float x, float) { return softplusf(x); }
  // σ(x) = 1 − e^−y
  static DEEPRNN_INLINE float slope(float y, float) { return -expm1Negative(-y); }
};
struct Softsign {
  static DEEPRNN_INLINE float value(float x, float) {
    // Beyond 2^25 the quotient is ±1 to the last bit; infinity would give NaN.
    const float bounded = x > 33554432.0f ? 33554432.0f : (x < -33554432.0f ? -33554432.0f : x);
    return bounded / (1.0f + absf(bounded));
  }
  static DEEPRNN_INLINE float slope(float y, float) {
    const float d = 1.0f - absf(y);
    return d * d;
  }
};
struct Elu {
  static DEEPRNN_INLINE float value(float x, float alpha) { return x > 0.0f ? x : alpha * expm1Negative(x); }
  static DEEPRNN_INLINE float slope(float y, float alpha) { return y > 0.0f ? 1.0f : y + alpha; }
};
struct Selu {
  static DEEPRNN_INLINE float value(float x, float) {
    return kSeluScale * (x > 0.0f ? x : kSeluAlpha * expm1Negative(x));
  }
  static DEEPRNN_INLINE float slope(float y, float) {
    return y > 0.0f ? kSeluScale : y + kSeluScale * kSeluAlpha;
  }
};
struct Exponential {
  static DEEPRNN_INLINE float value(float x, float) { return expf_(x); }
  static DEEPRNN_INLINE float slope(float y, float) { return y; }
};
struct Relu6 {
  static DEEPRNN_INLINE float value(float x, float) { return x < 0.0f ? 0.0f : (x > 6.0f ? 6.0f : x); }
  static DEEPRNN_INLINE float slope(float y, float) { return y > 0.0f && y < 6.0f ? 1.0f : 0.0f; }
};
struct LeakyRelu {
  static DEEPRNN_INLINE float value(float x, float alpha) { return x > 0.0f ? x : alpha * x; }
  static DEEPRNN_INLINE float slope(float y, float alpha) { return y > 0.0f ? 1.0f : alpha; }
};
struct Gelu {
  static DEEPRNN_INLINE float value(float x, float) { return x * normalCdf(x); }
  static DEEPRNN_INLINE float slope(float x, float) {
    return normalCdf(x) + x * 0.39894228f * expf_(-0.5f * x * x);
  }
};
struct Silu {
  static DEEPRNN_INLINE float value(float x, float) { return x * sigmoidf_(x); }
  static DEEPRNN_INLINE float slope(float x, float) { return sigmoidf_(x) * (1.0f + x * sigmoidf_(-x)); }
};
/** tanh(log(1 + e^x)) as a quotient of polynomials in e^−|x|, one exponential. */
struct Mish {
  static DEEPRNN_INLINE float value(float x, float) {
    const float e = expf_(-absf(x));
    const float top = x < 0 ? e * (e + 2.0f) : 1.0f + 2.0f * e;
    const float rest = x < 0 ? 2.0f : 2.0f * e * e;
    return x * (top / (top + rest));
  }
  static DEEPRNN_INLINE float slope(float x, float) {
    const float e = expf_(-absf(x));
    const float top = x < 0 ? e * (e + 2.0f) : 1.0f + 2.0f * e;
    const float rest = x < 0 ? 2.0f : 2.0f * e * e;
    // t = tanh(softplus(x)), and 1 − t² = (1 − t)(1 + t) without cancellation.
    const float t = top / (top + rest);
    const float sigmoid = (x < 0 ? e : 1.0f) / (1.0f + e);
    return t + x * (rest / (top + rest)) * (1.0f + t) * sigmoid;
  }
};
struct HardSilu {
  static DEEPRNN_INLINE float value(float x, float) { return x * hardSigmoidf(x); }
  static DEEPRNN_INLINE float slope(float x, float) {
    return hardSigmoidf(x) + (x > -3.0f && x < 3.0f ? x * (1.0f / 6.0f) : 0.0f);
  }
};
/** x·(1 + tanh u)/2 = x·σ(2u), which does not cancel for negative x; 2u in double because e^(2u) magnifies
 * its error. */
struct GeluTanh {
  static DEEPRNN_INLINE float value(float x, float) {
    const double w = x, v = 2.0 * 0.7978845608028654 * (w + 0.044715 * w * w * w);
    const float e = expOfDouble(v < 0 ? v : -v);
    const float s = 1.0f / (1.0f + e);
    return x * (x < 0 ? e * s : s);
  }
  static DEEPRNN_INLINE float slope(float x, float) {
    // Beyond |x| = 12 the slope is 0 or 1 to the last bit, and x² may be infinite.
    const float u = x > 12.0f ? 12.0f : (x < -12.0f ? -12.0f : x);
    const float v = 2.0f * kSqrt2OverPi * (u + 0.044715f * u * u * u);
    const float e = expf_(-absf(v));
    const float s = 1.0f / (1.0f + e);
    return (v < 0 ? e * s : s) + 2.0f * u * e * s * s * kSqrt2OverPi * (1.0f + 3.0f * 0.044715f * u * u);
  }
};

struct Celu {
  static DEEPRNN_INLINE float value(float x, float alpha) {
    return x > 0.0f ? x : alpha * expm1Negative(x / alpha);
  }
  static DEEPRNN_INLINE float slope(float y, float alpha) { return y > 0.0f ? 1.0f : y / alpha + 1.0f; }
};
/** (x + √(x² + b))/2, for x < 0 as b/(2(√(x² + b) − x)), which does not cancel. */
struct Squareplus {
  static DEEPRNN_INLINE float value(float x, float b) {
    const float a = absf(x);
    // Beyond 2^60 the square could leave the range of float, and of all but absurd b the root is |x|.
    const float bounded = a > 1152921504606846976.0f ? 1152921504606846976.0f : a;
    const float half = 0.5f * a + 0.5f * (root(bounded * bounded + b) + (a > bounded ? a - bounded : 0.0f));
    return x < 0.0f ? 0.25f * b / half : half;
  }
  // With x = y − b/(4y): y²/(y² + b/4).
  static DEEPRNN_INLINE float slope(float y, float b) { return 1.0f / (1.0f + 0.25f * b / y / y); }
};
struct SoftShrink {
  static DEEPRNN_INLINE float value(float x, float lambda) {
    return x > lambda ? x - lambda : (x < -lambda ? x + lambda : (x == x ? 0.0f : x));
  }
  static DEEPRNN_INLINE float slope(float y, float) { return y < 0.0f || y > 0.0f ? 1.0f : 0.0f; }
};
struct HardShrink {
  static DEEPRNN_INLINE float value(float x, float lambda) { return absf(x) <= lambda ? 0.0f : x; }
  static DEEPRNN_INLINE float slope(float y, float) { return y < 0.0f || y > 0.0f ? 1.0f : 0.0f; }
};
struct Threshold {
  static DEEPRNN_INLINE float value(float x, float theta) { return x <= theta ? 0.0f : x; }
  static DEEPRNN_INLINE float slope(float x, float theta) { return x > theta ? 1.0f : 0.0f; }
};
/** x − tanh x = x·c/(1 + c), c = x²/(3 + x²/(5 + x²/(7 + …))), which does not cancel near 0. */
struct TanhShrink {
  static DEEPRNN_INLINE float value(float x, float) {
    const float z = x * x;
    float c = z / 15.0f;
    c = z / (13.0f + c);
    c = z / (11.0f + c);
    c = z / (9.0f + c);
    c = z / (7.0f + c);
    c = z / (5.0f + c);
    c = z / (3.0f + c);
    return absf(x) < 1.5f ? x * (c / (1.0f + c)) : x - tanhf_(x);
  }
  static DEEPRNN_INLINE float slope(float x, float) {
    const float t = tanhf_(x);
    return t * t;
  }
};
struct HardTanh {
  static DEEPRNN_INLINE float value(float x, float) { return x < -1.0f ? -1.0f : (x > 1.0f ? 1.0f : x); }
  static DEEPRNN_INLINE float slope(float y, float) { return y > -1.0f && y < 1.0f ? 1.0f : 0.0f; }
};
struct LogSigmoid {
  static DEEPRNN_INLINE float value(float x, float) { return -softplusf(-x); }
  // σ(−x) = 1 − e^y
  static DEEPRNN_INLINE float slope(float y, float) { return -expm1Negative(y); }
};
struct SparsePlus {
  static DEEPRNN_INLINE float value(float x, float) {
    const float u = x + 1.0f;
    return x <= -1.0f ? 0.0f : (x < 1.0f ? 0.25f * u * u : x);
  }
  static DEEPRNN_INLINE float slope(float x, float) {
    return x <= -1.0f ? 0.0f : (x < 1.0f ? 0.5f * (x + 1.0f) : 1.0f);
  }
};
struct SparseSigmoid {
  static DEEPRNN_INLINE float value(float x, float) {
    return x <= -1.0f ? 0.0f : (x >= 1.0f ? 1.0f : 0.5f * (x + 1.0f));
  }
  static DEEPRNN_INLINE float slope(float y, float) { return y > 0.0f && y < 1.0f ? 0.5f : 0.0f; }
};

/**
 * Elements are worked on in whole blocks, those that are left over in a block of their own that is filled up:
 * compilers contract products and sums to fused ones in another way in what they make for the end of a loop,
 * and the bits of a value must not depend on its place.
 */
constexpr size_t kBlock = 16;

template <class F>
DEEPRNN_NOINLINE void mapValueBlocks(float alpha, const float* x, float* y, size_t blocks) {
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC ivdep
#endif
  for (size_t i = 0; i < blocks * kBlock; ++i) y[i] = F::value(x[i], alpha);
}

template <class F>
void mapValues(float alpha, const float* x, float* y, size_t n) {
  const size_t whole = n / kBlock, done = whole * kBlock;
  mapValueBlocks<F>(alpha, x, y, whole);
  if (done == n) return;
  float last[kBlock] = {};
  std::memcpy(last, x + done, (n - done) * sizeof(float));
  mapValueBlocks<F>(alpha, last, last, 1);
  std::memcpy(y + done, last, (n - done) * sizeof(float));
}

template <class F>
DEEPRNN_NOINLINE void mapSlopeBlocks(float alpha, const float* from, const float* dy, float* dx,
                                     size_t blocks) {
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC ivdep
#endif
  for (size_t i = 0; i < blocks * kBlock; ++i) dx[i] = dy[i] * F::slope(from[i], alpha);
}

template <class F>
void mapSlopes(float alpha, const float* from, const float* dy, float* dx, size_t n) {
  const size_t whole = n / kBlock, done = whole * kBlock;
  mapSlopeBlocks<F>(alpha, from, dy, dx, whole);
  if (done == n) return;
  float at[kBlock] = {}, last[kBlock] = {};
  std::memcpy(at, from + done, (n - done) * sizeof(float));
  std::memcpy(last, dy + done, (n - done) * sizeof(float));
  mapSlopeBlocks<F>(alpha, at, last, last, 1);
  std::memcpy(dx + done, last, (n - done) * sizeof(float));
}

/** Calls `use(F())` with the activation's type. Those that read rows are no elementwise functions and never
 * come here. */
template <class Use>
DEEPRNN_INLINE void withActivation(Activation kind, Use use) {
  switch (kind) {
    case Activation::tanh:
      return use(Tanh());
    case Activation::sigmoid:
      return use(Sigmoid());
    case Activation::relu:
      return use(Relu());
    case Activation::hardSigmoid:
      return use(HardSigmoid());
    case Activation::softplus:
      return use(Softplus());
    case Activation::softsign:
      return use(Softsign());
    case Activation::elu:
      return use(Elu());
    case Activation::selu:
      return use(Selu());
    case Activation::exponential:
      return use(Exponential());
    case Activation::relu6:
      return use(Relu6());
    case Activation::leakyRelu:
      return use(LeakyRelu());
    case Activation::gelu:
      return use(Gelu());
    case Activation::silu:
      return use(Silu());
    case Activation::mish:
      return use(Mish());
    case Activation::hardSilu:
      return use(HardSilu());
    case Activation::geluTanh:
      return use(GeluTanh());
    case Activation::celu:
      return use(Celu());
    case Activation::squareplus:
      return use(Squareplus());
    case Activation::softShrink:
      return use(SoftShrink());
    case Activation::hardShrink:
      return use(HardShrink());
    case Activation::threshold:
      return use(Threshold());
    case Activation::tanhShrink:
      return use(TanhShrink());
    case Activation::hardTanh:
      return use(HardTanh());
    case Activation::logSigmoid:
      return use(LogSigmoid());
    case Activation::sparsePlus:
      return use(SparsePlus());
    case Activation::sparseSigmoid:
      return use(SparseSigmoid());
    case Activation::linear:
    case Activation::softmax:
    case Activation::logSoftmax:
    case Activation::sparsemax:
      return use(Linear());
  }
}

void activate(Activation kind, float alpha, const float* x, float* y, size_t n) {
  withActivation(kind, [&](auto f) { mapValues<decltype(f)>(alpha, x, y, n); });
}

void activateGrad(Activation kind, float alpha, const float* from, const float* dy, float* dx, size_t n) {
  withActivation(kind, [&](auto f) { mapSlopes<decltype(f)>(alpha, from, dy, dx, n); });
}

void softmax(bool log, const float* x, float* y, size_t rows, size_t columns) {
  for (size_t r = 0; r < rows; ++r) {
    const float* in = x + r * columns;
    float* DEEPRNN_RESTRICT out = y + r * columns;
    float top = in[0];
    for (size_t c = 1; c < columns; ++c) top = in[c] > top ? in[c] : top;
    for (size_t c = 0; c < columns; ++c) out[c] = expf_(in[c] - top);
    double sum = 0;
    for (size_t c = 0; c < columns; ++c) sum += out[c];
    if (log) {
      const float shift = static_cast<float>(logd(sum));
      for (size_t c = 0; c < columns; ++c) out[c] = in[c] - top - shift;
    } else {
      const float scale = static_cast<float>(1.0 / sum);
      for (size_t c = 0; c < columns; ++c) out[c] *= scale;
    }
  }
}

void softmaxGrad(bool log, const float* y, const float* dy, float* dx, size_t rows, size_t columns) {
  for (size_t r = 0; r < rows; ++r) {
    const float* a = y + r * columns;
    const float* d = dy + r * columns;
    float* out = dx + r * columns;
    double sum = 0;
    if (log) {
      for (size_t c = 0; c < columns; ++c) sum += d[c];
      const float total = static_cast<float>(sum);
      for (size_t c = 0; c < columns; ++c) out[c] = d[c] - expf_(a[c]) * total;
    } else {
      for (size_t c = 0; c < columns; ++c) sum += static_cast<double>(d[c]) * a[c];
      const float total = static_cast<float>(sum);
      for (size_t c = 0; c < columns; ++c) out[c] = a[c] * (d[c] - total);
    }
  }
}

// ── Elementwise ──

void add(const float* a, const float* b, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

void multiply(const float* a, const float* b, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = a[i] * b[i];
}

void multiplyAddTo(const float* a, const float* b, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] += a[i] * b[i];
}

void addColumnSums(const float* x, float* y, size_t rows, size_t columns, size_t first, size_t last) {
  constexpr size_t kVecs = 4;
  const Vec one = splat(1.0f);
  size_t c = first;
  // In registers, as many columns as hide the time that a sum takes.
  for (; c + kVecs * kWidth <= last; c += kVecs * kWidth) {
    Vec sums[kVecs];
    for (size_t v = 0; v < kVecs; ++v) sums[v] = load(y + c + v * kWidth);
    for (size_t r = 0; r < rows; ++r) {
      const float* row = x + r * columns + c;
      for (size_t v = 0; v < kVecs; ++v) sums[v] = multiplyAdd(load(row + v * kWidth), one, sums[v]);
    }
    for (size_t v = 0; v < kVecs; ++v) store(y + c + v * kWidth, sums[v]);
  }
  for (size_t r = 0; r < rows && c < last; ++r) {
    const float* DEEPRNN_RESTRICT row = x + r * columns;
    float* DEEPRNN_RESTRICT sums = y;
    for (size_t i = c; i < last; ++i) sums[i] += row[i];
  }
}

void addPenaltyGrad(const float* g, const float* p, double l1, double l2, float* DEEPRNN_RESTRICT y,
                    size_t n) {
  const auto step = static_cast<float>(l1), slope = static_cast<float>(2 * l2);
  for (size_t i = 0; i < n; ++i) y[i] = g[i] + ((p[i] > 0 ? step : (p[i] < 0 ? -step : 0.0f)) + slope * p[i]);
}

void addProductSums(const float* a, size_t aRow, const float* b, size_t bRow, float* DEEPRNN_RESTRICT y,
                    size_t rows, size_t columns) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < columns; ++c) y[c] += a[r * aRow + c] * b[r * bRow + c];
  }
}

/** Σ term(x[i]), four interleaved partial sums. */
template <class Term>
DEEPRNN_INLINE double sumOf(const float* x, size_t n, const Term& term) {
  double s[4] = {0, 0, 0, 0};
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (size_t j = 0; j < 4; ++j) s[j] += term(x[i + j]);
  }
  for (; i < n; ++i) s[0] += term(x[i]);
  return (s[0] + s[1]) + (s[2] + s[3]);
}

double sumSquares(const float* x, size_t n) {
  return sumOf(x, n, [](float v) { return static_cast<double>(v) * v; });
}

double sumAbs(const float* x, size_t n) {
  return sumOf(x, n, [](float v) { return static_cast<double>(absf(v)); });
}

void lstmCell(const float* i, const float* f, const float* g, const float* cPrev, float* DEEPRNN_RESTRICT c,
              size_t n) {
  for (size_t j = 0; j < n; ++j) c[j] = f[j] * cPrev[j] + i[j] * g[j];
}

void clip(float limit, float* x, size_t n) {
  for (size_t j = 0; j < n; ++j) x[j] = x[j] > limit ? limit : (x[j] < -limit ? -limit : x[j]);
}

void clipGrad(float limit, const float* y, float* DEEPRNN_RESTRICT dx, size_t n) {
  for (size_t j = 0; j < n; ++j) dx[j] = absf(y[j]) >= limit ? 0.0f : dx[j];
}

void gruMix(const float* z, const float* candidate, const float* hPrev, float* DEEPRNN_RESTRICT h, size_t n) {
  for (size_t j = 0; j < n; ++j) h[j] = z[j] * hPrev[j] + (1.0f - z[j]) * candidate[j];
}

void renew(const float* share, const float* before, float* DEEPRNN_RESTRICT fresh, size_t n) {
  if (before) {
    for (size_t i = 0; i < n; ++i) fresh[i] = share[i] * fresh[i] + (1.0f - share[i]) * before[i];
  } else {
    for (size_t i = 0; i < n; ++i) fresh[i] *= share[i];
  }
}

void renewGrad(const float* share, float* DEEPRNN_RESTRICT d, float* DEEPRNN_RESTRICT kept, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    kept[i] = (1.0f - share[i]) * d[i];
    d[i] *= share[i];
  }
}

void gruMixGrad(const float* z, const float* candidate, const float* hPrev, float* dh, float* dz, float* dn,
                size_t n) {
  float* DEEPRNN_RESTRICT toZ = dz;
  float* DEEPRNN_RESTRICT toN = dn;
  float* DEEPRNN_RESTRICT own = dh;
  if (hPrev) {
    for (size_t i = 0; i < n; ++i) toZ[i] = own[i] * (hPrev[i] - candidate[i]);
  } else {
    for (size_t i = 0; i < n; ++i) toZ[i] = -own[i] * candidate[i];
  }
  for (size_t i = 0; i < n; ++i) {
    toN[i] = own[i] * (1.0f - z[i]);
    own[i] *= z[i];
  }
}

// ── Optimizers (docs/plan.md, "Updating") ──

DEEPRNN_INLINE float clipped(const UpdateArgs& u, size_t i) {
  const float g = u.grad[i] * u.scale;
  return g > u.limit ? u.limit : (g < -u.limit ? -u.limit : g);
}

void sgd(const UpdateArgs& u, size_t n) {
  const float rate = static_cast<float>(u.hyper[0]);
  const float momentum = static_cast<float>(u.k[0]);
  float* DEEPRNN_RESTRICT p = u.param;
  if (!u.slot0) {
    for (size_t i = 0; i < n; ++i) p[i] = p[i] * u.keep - rate * clipped(u, i);
    return;
  }
  float* DEEPRNN_RESTRICT v = u.slot0;
  for (size_t i = 0; i < n; ++i) {
    const float step = rate * clipped(u, i);
    const float velocity = momentum * v[i] - step;
    v[i] = velocity;
    p[i] = p[i] * u.keep + (u.flag ? momentum * velocity - step : velocity);
  }
}

void rmsprop(const UpdateArgs& u, size_t n) {
  const float rate = static_cast<float>(u.hyper[0]);
  const float rho = static_cast<float>(u.k[0]), momentum = static_cast<float>(u.k[1]),
              epsilon = static_cast<float>(u.k[2]);
  const float fresh = static_cast<float>(1.0 - u.k[0]);
  float* DEEPRNN_RESTRICT p = u.param;
  float* DEEPRNN_RESTRICT v = u.slot0;
  for (size_t i = 0; i < n; ++i) {
    const float g = clipped(u, i);
    v[i] = rho * v[i] + fresh * g * g;
    float d = v[i];
    if (u.flag) {
      u.slot1[i] = rho * u.slot1[i] + fresh * g;
      d -= u.slot1[i] * u.slot1[i];
    }
    float step = rate * g / root(d + epsilon);
    if (momentum > 0) {
      u.slot2[i] = momentum * u.slot2[i] + step;
      step = u.slot2[i];
    }
    p[i] = p[i] * u.keep - step;
  }
}

void adam(const UpdateArgs& u, size_t n) {
  const float alpha = static_cast<float>(u.hyper[1]);
  const float fresh1 = static_cast<float>(1.0 - u.k[0]), fresh2 = static_cast<float>(1.0 - u.k[1]),
              epsilon = static_cast<float>(u.k[2]);
  float* DEEPRNN_RESTRICT p = u.param;
  float* DEEPRNN_RESTRICT m = u.slot0;
  float* DEEPRNN_RESTRICT v = u.slot1;
  if (u.flag) {
    float* DEEPRNN_RESTRICT top = u.slot2;
    for (size_t i = 0; i < n; ++i) {
      const float g = clipped(u, i);
      m[i] += (g - m[i]) * fresh1;
      v[i] += (g * g - v[i]) * fresh2;
      top[i] = v[i] > top[i] ? v[i] : top[i];
      p[i] = p[i] * u.keep - alpha * m[i] / (root(top[i]) + epsilon);
    }
    return;
  }
  for (size_t i = 0; i < n; ++i) {
    const float g = clipped(u, i);
    m[i] += (g - m[i]) * fresh1;
    v[i] += (g * g - v[i]) * fresh2;
    p[i] = p[i] * u.keep - alpha * m[i] / (root(v[i]) + epsilon);
  }
}

void adagrad(const UpdateArgs& u, size_t n) {
  const float rate = static_cast<float>(u.hyper[0]), epsilon = static_cast<float>(u.k[0]);
  float* DEEPRNN_RESTRICT p = u.param;
  float* DEEPRNN_RESTRICT a = u.slot0;
  for (size_t i = 0; i < n; ++i) {
    const float g = clipped(u, i);
    a[i] += g * g;
    p[i] = p[i] * u.keep - rate * g / root(a[i] + epsilon);
  }
}

void nadam(const UpdateArgs& u, size_t n) {
  const float rate = static_cast<float>(u.hyper[0]), cM = static_cast<float>(u.hyper[1]),
              cG = static_cast<float>(u.hyper[2]), cV = static_cast<float>(u.hyper[3]);
  const float fresh1 = static_cast<float>(1.0 - u.k[0]), fresh2 = static_cast<float>(1.0 - u.k[1]),
              epsilon = static_cast<float>(u.k[2]);
  float* DEEPRNN_RESTRICT p = u.param;
  float* DEEPRNN_RESTRICT m = u.slot0;
  float* DEEPRNN_RESTRICT v = u.slot1;
  for (size_t i = 0; i < n; ++i) {
    const float g = clipped(u, i);
    m[i] += (g - m[i]) * fresh1;
    v[i] += (g * g - v[i]) * fresh2;
    p[i] = p[i] * u.keep - rate * (cM * m[i] + cG * g) / (root(v[i] * cV) + epsilon);
  }
}

void adamax(const UpdateArgs& u, size_t n) {
  const float alpha = static_cast<float>(u.hyper[1]);
  const float fresh1 = static_cast<float>(1.0 - u.k[0]), beta2 = static_cast<float>(u.k[1]),
              epsilon = static_cast<float>(u.k[2]);
  float* DEEPRNN_RESTRICT p = u.param;
  float* DEEPRNN_RESTRICT m = u.slot0;
  float* DEEPRNN_RESTRICT norm = u.slot1;
  for (size_t i = 0; i < n; ++i) {
    const float g = clipped(u, i);
    const float size = g < 0 ? -g : g, faded = beta2 * norm[i];
    m[i] += (g - m[i]) * fresh1;
    // A gradient that is not a number stays one.
    norm[i] = faded > size ? faded : size;
    p[i] = p[i] * u.keep - alpha * m[i] / (norm[i] + epsilon);
  }
}

void lion(const UpdateArgs& u, size_t n) {
  const float rate = static_cast<float>(u.hyper[0]);
  const float beta1 = static_cast<float>(u.k[0]), beta2 = static_cast<float>(u.k[1]);
  const float fresh1 = static_cast<float>(1.0 - u.k[0]), fresh2 = static_cast<float>(1.0 - u.k[1]);
  float* DEEPRNN_RESTRICT p = u.param;
  float* DEEPRNN_RESTRICT m = u.slot0;
  for (size_t i = 0; i < n; ++i) {
    const float g = clipped(u, i);
    const float mixed = beta1 * m[i] + fresh1 * g;
    // A mix that is not a number is its own sign.
    const float sign = mixed > 0 ? 1.0f : (mixed < 0 ? -1.0f : mixed);
    p[i] = p[i] * u.keep - rate * sign;
    m[i] = beta2 * m[i] + fresh2 * g;
  }
}

void adadelta(const UpdateArgs& u, size_t n) {
  const float rate = static_cast<float>(u.hyper[0]);
  const float rho = static_cast<float>(u.k[0]), epsilon = static_cast<float>(u.k[1]);
  const float fresh = static_cast<float>(1.0 - u.k[0]);
  float* DEEPRNN_RESTRICT p = u.param;
  float* DEEPRNN_RESTRICT a = u.slot0;
  float* DEEPRNN_RESTRICT d = u.slot1;
  for (size_t i = 0; i < n; ++i) {
    const float g = clipped(u, i);
    a[i] = rho * a[i] + fresh * g * g;
    const float delta = g * root(d[i] + epsilon) / root(a[i] + epsilon);
    d[i] = rho * d[i] + fresh * delta * delta;
    p[i] = p[i] * u.keep - rate * delta;
  }
}

}  // namespace
}  // namespace deeprnn::cpu::DEEPRNN_ISA

#include "cpu/kernels/columns.inl.h"

namespace deeprnn::cpu::DEEPRNN_ISA {
namespace {

template <class T>
constexpr KernelTable tableOf(Precision precision) {
  return {
      kName,         precision,     kPanel,         packedRows<T>,  pack<T>,    gemm<T>,
      activate,      activateGrad,  softmax,        softmaxGrad,    add,        multiply,
      multiplyAddTo, addColumnSums, addPenaltyGrad, addProductSums, sumSquares, sumAbs,
      lstmCell,      clip,          clipGrad,       gruMix,         gruMixGrad, renew,
      renewGrad,     columnwise,    sumGroups,      expandGroups,   sgd,        rmsprop,
      adam,          adagrad,       nadam,          adamax,         lion,       adadelta,
  };
}

/** In the order of Precision. */
constexpr KernelTable kTables[kPrecisions] = {
    tableOf<Float32>(Precision::float32),
    tableOf<Bfloat16>(Precision::bfloat16),
    tableOf<Int8>(Precision::int8),
};

}  // namespace
}  // namespace deeprnn::cpu::DEEPRNN_ISA
