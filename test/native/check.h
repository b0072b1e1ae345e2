// What the C++ tests share: demands, random numbers that are the same everywhere, and the kernels that this
// machine can run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/philox.h"
#include "cpu/kernels/kernels.h"

namespace deeprnn::test {

/** Reports a failed demand; the process then exits with 1. */
void fail(const char* file, int line, const std::string& what);

#define CHECK(condition, ...)                                                                  \
  do {                                                                                         \
    if (!(condition))                                                                          \
      ::deeprnn::test::fail(__FILE__, __LINE__, ::std::string(#condition "  ") + __VA_ARGS__); \
  } while (false)

class Random {
 public:
  explicit Random(uint32_t stream) : stream_(stream) {}

  uint32_t bits() {
    const uint32_t counter[4] = {count_++, stream_, 0, 0};
    uint32_t words[4];
    core::philox4x32(counter, 0x5EED, 0, words);
    return words[0];
  }
  size_t below(size_t n) { return bits() % n; }
  /** Uniform in [low, high). */
  double uniform(double low, double high) { return low + (high - low) * bits() / 4294967296.0; }
  /** Exactly `n` floats in [−1, 1), so that a sanitizer sees a read beyond them. */
  std::vector<float> floats(size_t n) {
    std::vector<float> v(n);
    for (float& x : v) x = static_cast<float>(uniform(-1, 1));
    v.shrink_to_fit();
    return v;
  }

 private:
  uint32_t stream_;
  uint32_t count_ = 0;
};

/** The kernel table of every instruction set that this machine can run. */
std::vector<const cpu::KernelTable*> usableKernels(cpu::Precision precision = cpu::Precision::float32);

// One per file.
void testPhilox();
void testFunctions();
void testSlopes();
void testProducts();
void testThreadPool();
void testStack();
void testPlan();

}  // namespace deeprnn::test
