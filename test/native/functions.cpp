// The activations of every kernel table against double: over the whole range of float, in units in the last
// place.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "check.h"

namespace deeprnn::test {
namespace {

using core::Activation;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double sigmoid(double x) {
  return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}
double softplus(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
}
double hardSigmoid(double x) {
  return std::min(std::max(x / 6 + 0.5, 0.0), 1.0);
}
double normalCdf(double x) {
  return 0.5 * std::erfc(-x / std::sqrt(2.0));
}
double geluTanhInner(double x) {
  return std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
}

constexpr double kSeluScale = 1.0507009873554805, kSeluAlpha = 1.6732632423543772;

double valueOf(Activation kind, double alpha, double x) {
  switch (kind) {
    case Activation::tanh:
      return std::tanh(x);
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::hardSigmoid:
      return hardSigmoid(x);
    case Activation::softplus:
      return softplus(x);
    case Activation::softsign:
      return std::isinf(x) ? std::copysign(1.0, x) : x / (1 + std::fabs(x));
    case Activation::elu:
      return x > 0 ? x : alpha * std::expm1(x);
    case Activation::selu:
      return kSeluScale * (x > 0 ? x : kSeluAlpha * std::expm1(x));
    case Activation::exponential:
      return std::exp(x);
    case Activation::relu6:
      return std::min(std::max(x, 0.0), 6.0);
    case Activation::leakyRelu:
      return x > 0 ? x : alpha * x;
    case Activation::gelu:
      return x * normalCdf(x);
    case Activation::silu:
      return x * sigmoid(x);
    case Activation::mish:
      return x * std::tanh(softplus(x));
    case Activation::hardSilu:
      return x * hardSigmoid(x);
    // (1 + tanh u)/2 = σ(2u), which does not cancel.
    case Activation::geluTanh:
      return x * sigmoid(2 * geluTanhInner(x));
    case Activation::celu:
      return x > 0 ? x : alpha * std::expm1(x / alpha);
    // For x < 0 the other root's share of the product b/4, without cancellation.
    case Activation::squareplus:
      return x < 0 ? alpha / (2 * (std::hypot(x, std::sqrt(alpha)) - x))
                   : (x + std::hypot(x, std::sqrt(alpha))) / 2;
    case Activation::softShrink:
      return x > alpha ? x - alpha : (x < -alpha ? x + alpha : (std::isnan(x) ? x : 0));
    case Activation::hardShrink:
      return std::fabs(x) <= alpha ? 0 : x;
    case Activation::threshold:
      return x <= alpha ? 0 : x;
    // Its series where the difference would cancel.
    case Activation::tanhShrink:
      return std::fabs(x) < 0.02 ? x * x * x / 3 * (1 - 0.4 * x * x + 17.0 / 105 * x * x * x * x)
                                 : x - std::tanh(x);
    case Activation::hardTanh:
      return std::min(std::max(x, -1.0), 1.0);
    case Activation::logSigmoid:
      return -softplus(-x);
    case Activation::sparsePlus:
      return x <= -1 ? 0 : (x < 1 ? (x + 1) * (x + 1) / 4 : x);
    case Activation::sparseSigmoid:
      return std::min(std::max((x + 1) / 2, 0.0), 1.0);
    default:
      return x;
  }
}

double slopeOf(Activation kind, double alpha, double x, double y) {
  switch (kind) {
    case Activation::tanh:
      return 1 - y * y;
    case Activation::sigmoid:
      return y * (1 - y);
    case Activation::relu:
      return y > 0;
    case Activation::hardSigmoid:
      return y > 0 && y < 1 ? 1.0 / 6 : 0;
    case Activation::softplus:
      return -std::expm1(-y);
    case Activation::softsign:
      return (1 - std::fabs(y)) * (1 - std::fabs(y));
    case Activation::elu:
      return y > 0 ? 1 : y + alpha;
    case Activation::selu:
      return y > 0 ? kSeluScale : y + kSeluScale * kSeluAlpha;
    case Activation::exponential:
      return y;
    case Activation::relu6:
      return y > 0 && y < 6;
    case Activation::leakyRelu:
      return y > 0 ? 1 : alpha;
    case Activation::gelu:
      return normalCdf(x) + x * std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI);
    case Activation::silu:
      return sigmoid(x) * (1 + x * sigmoid(-x));
    case Activation::mish: {
      const double t = std::tanh(softplus(x));
      return t + x * (1 - t * t) * sigmoid(x);
    }
    case Activation::hardSilu:
      return hardSigmoid(x) + (x > -3 && x < 3 ? x / 6 : 0);
    case Activation::geluTanh: {
      // Beyond |x| = 30 the slope is 0 or 1 to the last bit, and the terms overflow.
      const double u = std::min(std::max(x, -30.0), 30.0), s = sigmoid(2 * geluTanhInner(u));
      return s + 2 * u * s * (1 - s) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * u * u);
    }
    case Activation::celu:
      return y > 0 ? 1 : y / alpha + 1;
    case Activation::squareplus:
      return y * y / (y * y + alpha / 4);
    case Activation::softShrink:
    case Activation::hardShrink:
      return y != 0;
    case Activation::threshold:
      return x > alpha;
    case Activation::tanhShrink:
      return std::tanh(x) * std::tanh(x);
    case Activation::hardTanh:
      return y > -1 && y < 1;
    case Activation::logSigmoid:
      return -std::expm1(y);
    case Activation::sparsePlus:
      return std::min(std::max((x + 1) / 2, 0.0), 1.0);
    case Activation::sparseSigmoid:
      return y > 0 && y < 1 ? 0.5 : 0;
    default:
      return 1;
  }
}

struct Case {
  Activation kind;
  const char* name;
  float alpha;
  /** Largest error of a value in units in the last place of the true one. */
  double ulps;
};

const Case kCases[] = {
    {Activation::linear, "linear", 0, 0},
    {Activation::tanh, "tanh", 0, 2.5},
    {Activation::sigmoid, "sigmoid", 0, 3},
    {Activation::relu, "relu", 0, 0},
    {Activation::hardSigmoid, "hardSigmoid", 0, 1.5},
    {Activation::softplus, "softplus", 0, 3},
    {Activation::softsign, "softsign", 0, 1.5},
    {Activation::elu, "elu", 0.7f, 3},
    {Activation::selu, "selu", 0, 3.5},
    {Activation::exponential, "exponential", 0, 2},
    {Activation::relu6, "relu6", 0, 0},
    {Activation::leakyRelu, "leakyRelu", 0.3f, 0.5},
    {Activation::gelu, "gelu", 0, 6},
    {Activation::silu, "silu", 0, 4},
    {Activation::mish, "mish", 0, 5},
    {Activation::hardSilu, "hardSilu", 0, 2.5},
    {Activation::geluTanh, "geluTanh", 0, 4},
    {Activation::celu, "celu", 0.7f, 4},
    {Activation::squareplus, "squareplus", 4, 4},
    {Activation::softShrink, "softShrink", 0.5f, 0.5},
    {Activation::hardShrink, "hardShrink", 0.5f, 0},
    {Activation::threshold, "threshold", -0.3f, 0},
    {Activation::tanhShrink, "tanhShrink", 0, 5},
    {Activation::hardTanh, "hardTanh", 0, 0},
    {Activation::logSigmoid, "logSigmoid", 0, 3},
    {Activation::sparsePlus, "sparsePlus", 0, 2},
    {Activation::sparseSigmoid, "sparseSigmoid", 0, 0.5},
};

/** The formula of these is −∞·0 at −∞. */
bool undefinedAtMinusInfinity(Activation kind) {
  return core::derivativeFromInput(kind);
}

/** Distance between neighbouring floats at |x|. */
double spacing(double x) {
  const double a = std::fabs(x);
  if (a < 0x1p-126) return 0x1p-149;
  return std::ldexp(1.0, std::min(std::ilogb(a), 127) - 23);
}

/** |got − want| in units in the last place of `want`; infinity stands for 2^128, where the floats end. */
double ulpError(float got, double want) {
  if (std::isnan(got) || std::isnan(want)) return std::isnan(got) && std::isnan(want) ? 0 : kInfinity;
  const auto bounded = [](double x) { return std::min(std::max(x, -0x1p128), 0x1p128); };
  return std::fabs(bounded(got) - bounded(want)) / spacing(want);
}

/** Floats over all magnitudes and both signs, denser where activations bend, and the special ones. */
std::vector<float> samples() {
  std::vector<float> x;
  for (uint32_t bits = 1; bits < 0x7f800000u; bits += 0x3fff1u) {
    float f;
    std::memcpy(&f, &bits, sizeof f);
    x.push_back(f);
    x.push_back(-f);
  }
  Random random(1);
  for (int i = 0; i < 12000; ++i) x.push_back(static_cast<float>(random.uniform(-20, 20)));
  for (int i = 0; i < 6000; ++i) x.push_back(static_cast<float>(random.uniform(-110, 110)));
  using Limits = std::numeric_limits<float>;
  for (float f :
       {0.0f, 0.5f, 0.625f, 1.0f, 3.0f, 6.0f, 88.72283f, 88.72284f, 87.33655f, 103.97208f, 103.9721f, 104.0f,
        Limits::denorm_min(), Limits::min(), Limits::max(), Limits::infinity()}) {
    x.push_back(f);
    x.push_back(-f);
  }
  return x;
}

void testCase(const cpu::KernelTable& k, const Case& c, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  k.activate(c.kind, c.alpha, x.data(), y.data(), x.size());
  double worst = 0;
  size_t at = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isinf(x[i]) && x[i] < 0 && undefinedAtMinusInfinity(c.kind)) continue;
    double error = ulpError(y[i], valueOf(c.kind, static_cast<double>(c.alpha), x[i]));
    // x·σ(x) and its like: where the factor is denormal, x magnifies the error of its last place.
    if (core::derivativeFromInput(c.kind) && std::fabs(y[i]) < 0x1p-118f) error -= std::fabs(x[i]);
    if (error > worst) {
      worst = error;
      at = i;
    }
  }
  const std::string what = std::string(k.name) + " " + c.name;
  CHECK(worst <= c.ulps, what + ": " + std::to_string(worst) + " ulps at " + std::to_string(x[at]) +
                             ", got " + std::to_string(y[at]));
  if (std::getenv("DEEPRNN_TEST_VERBOSE"))
    std::printf("%s %.2f ulps at %g\n", what.c_str(), worst, static_cast<double>(x[at]));

  // In place, and short arrays at odd places: the same bits, whatever the place in a register.
  std::vector<float> same(x);
  k.activate(c.kind, c.alpha, same.data(), same.data(), same.size());
  for (size_t n = 1; n < 70; ++n) {
    std::vector<float> part(x.begin() + static_cast<std::ptrdiff_t>(n),
                            x.begin() + static_cast<std::ptrdiff_t>(2 * n));
    k.activate(c.kind, c.alpha, part.data(), part.data(), n);
    std::copy(part.begin(), part.end(), same.begin() + static_cast<std::ptrdiff_t>(n));
    CHECK(std::memcmp(part.data(), y.data() + n, n * sizeof(float)) == 0,
          what + ": length " + std::to_string(n));
  }
  CHECK(std::memcmp(same.data(), y.data(), y.size() * sizeof(float)) == 0, what + ": in place");

  float nan = std::numeric_limits<float>::quiet_NaN();
  k.activate(c.kind, c.alpha, &nan, &nan, 1);
  CHECK(std::isnan(nan), what + ": NaN");
}

/** Values and slopes of any numbers are the same bits wherever they stand in an array of whatever length. */
void testPlaces(const cpu::KernelTable& k, const Case& c) {
  Random random(7);
  constexpr size_t kMost = 512;
  const std::vector<float> x = random.floats(kMost), dy = random.floats(kMost);
  std::vector<float> from(x), y(kMost), dx(kMost);
  k.activate(c.kind, c.alpha, x.data(), y.data(), kMost);
  if (!core::derivativeFromInput(c.kind)) from = y;
  k.activateGrad(c.kind, c.alpha, from.data(), dy.data(), dx.data(), kMost);
  for (size_t first = 0; first < 20; ++first) {
    for (size_t n = 1; first + n <= kMost; n += n < 70 ? 1 : 97) {
      std::vector<float> value(n), slope(n);
      k.activate(c.kind, c.alpha, x.data() + first, value.data(), n);
      k.activateGrad(c.kind, c.alpha, from.data() + first, dy.data() + first, slope.data(), n);
      const std::string where =
          std::string(k.name) + " " + c.name + ": " + std::to_string(n) + " from " + std::to_string(first);
      CHECK(std::memcmp(value.data(), y.data() + first, n * sizeof(float)) == 0, where);
      CHECK(std::memcmp(slope.data(), dx.data() + first, n * sizeof(float)) == 0, "slopes of " + where);
    }
  }
}

void testSoftmax(const cpu::KernelTable& k) {
  Random random(2);
  for (size_t columns : {1, 2, 7, 33, 130}) {
    constexpr size_t kRows = 5;
    std::vector<float> x = random.floats(kRows * columns), y(x.size());
    for (size_t i = 0; i < x.size(); ++i) x[i] *= i < columns ? 200.0f : 3.0f;
    for (bool log : {false, true}) {
      k.softmax(log, x.data(), y.data(), kRows, columns);
      for (size_t r = 0; r < kRows; ++r) {
        const float* in = x.data() + r * columns;
        const double top = *std::max_element(in, in + columns);
        double sum = 0;
        for (size_t c = 0; c < columns; ++c) sum += std::exp(in[c] - top);
        for (size_t c = 0; c < columns; ++c) {
          const double want = log ? in[c] - top - std::log(sum) : std::exp(in[c] - top) / sum;
          const double error = std::fabs(y[r * columns + c] - want);
          // x − max is rounded before e^ magnifies that.
          CHECK(error <= (log ? 0x1p-22 * std::max(1.0, std::fabs(want))
                              : (4 + 0.5 * (top - in[c])) * spacing(want)),
                std::string(k.name) + " softmax " + std::to_string(want) + " error " + std::to_string(error));
        }
      }
    }
  }
  const float infinity = std::numeric_limits<float>::infinity();
  float masked[4] = {-infinity, 1, -infinity, 1}, y[4];
  k.softmax(false, masked, y, 1, 4);
  CHECK(y[0] == 0 && y[1] == 0.5f && y[2] == 0 && y[3] == 0.5f,
        std::string(k.name) + ": classes ruled out by −∞");
  masked[2] = std::numeric_limits<float>::quiet_NaN();
  k.softmax(false, masked, y, 1, 4);
  CHECK(std::isnan(y[0]) && std::isnan(y[1]), std::string(k.name) + ": NaN in a row of a softmax");
}

}  // namespace

void testFunctions() {
  const std::vector<float> x = samples();
  for (const cpu::KernelTable* k : usableKernels()) {
    for (const Case& c : kCases) {
      testCase(*k, c, x);
      testPlaces(*k, c);
    }
    testSoftmax(*k);
  }
}

void testSlopes() {
  std::vector<float> x = samples();
  // At ±∞ a slope is the limit only by luck of the formula.
  x.erase(std::remove_if(x.begin(), x.end(), [](float v) { return std::isinf(v); }), x.end());
  std::vector<float> y(x.size()), dx(x.size()), dy(x.size());
  for (size_t i = 0; i < dy.size(); ++i) dy[i] = 1 + static_cast<float>(i % 7) / 8;
  for (const cpu::KernelTable* k : usableKernels()) {
    for (const Case& c : kCases) {
      k->activate(c.kind, c.alpha, x.data(), y.data(), x.size());
      const float* from = core::derivativeFromInput(c.kind) ? x.data() : y.data();
      k->activateGrad(c.kind, c.alpha, from, dy.data(), dx.data(), x.size());
      double worst = 0;
      size_t at = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double want = slopeOf(c.kind, static_cast<double>(c.alpha), x[i], y[i]);
        // Where e^x is about to leave the range of float, dy makes it leave.
        if (want > 1e38) continue;
        // Slopes are of the size of 1 (the exponential's apart): what counts is the error beside that.
        const double error = std::fabs(dx[i] / dy[i] - want) / std::max(1.0, std::fabs(want));
        if (!(error <= worst)) {
          worst = error;
          at = i;
        }
      }
      const std::string what = std::string(k->name) + " slope of " + c.name;
      CHECK(worst <= 8 * 0x1p-24,
            what + ": " + std::to_string(worst / 0x1p-24) + "·2^-24 at " + std::to_string(x[at]));
    }
  }
}

}  // namespace deeprnn::test
