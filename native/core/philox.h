#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "core/host_device.h"

namespace deeprnn::core {

/** Philox4x32-10 (Salmon et al., 2011): ten rounds on a counter of four words under a key of two. */
DEEPRNN_HOST_DEVICE inline void philox4x32(const uint32_t counter[4], uint32_t key0, uint32_t key1,
                                           uint32_t out[4]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ key0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ key1;
    c3 = static_cast<uint32_t>(p0);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** The mask of one dropout: who draws, at which training step, and what is dropped. */
struct Mask {
  uint32_t seedLo = 0;
  uint32_t seedHi = 0;
  uint32_t stream = 0;
  uint32_t stepLo = 0;
  uint32_t stepHi = 0;
  /** A draw below this drops its element. */
  uint32_t threshold = 0;
  /** What kept elements are multiplied by. */
  float scale = 1.0f;
  /** The number of element 0: of a mask that goes on where an earlier part of a sequence ended. */
  uint64_t base = 0;

  DEEPRNN_HOST_DEVICE static Mask of(uint32_t seedLo, uint32_t seedHi, uint32_t stream, double step,
                                     double rate) {
    Mask m;
    m.seedLo = seedLo;
    m.seedHi = seedHi;
    m.stream = stream;
    // No training step is negative, or so large that float64 skips integers; such a number only has to stay
    // defined.
    if (!(step >= 0 && step < 9007199254740992.0)) step = 0;
    const double hi = std::floor(step / 4294967296.0);
    m.stepHi = static_cast<uint32_t>(hi);
    m.stepLo = static_cast<uint32_t>(step - hi * 4294967296.0);
    m.threshold = static_cast<uint32_t>(std::floor(rate * 4294967296.0));
    m.scale = static_cast<float>(1.0 / (1.0 - rate));
    return m;
  }

  /** Factor (0 or scale) of one element. */
  DEEPRNN_HOST_DEVICE float factor(uint64_t element) const {
    element += base;
    uint32_t words[4];
    const uint32_t counter[4] = {static_cast<uint32_t>(element >> 2), stream, stepLo, stepHi};
    philox4x32(counter, seedLo, seedHi, words);
    // Chosen without an index: on a GPU an indexed array lies in memory.
    const uint32_t upper = element & 1 ? words[3] : words[2], lower = element & 1 ? words[1] : words[0];
    return (element & 2 ? upper : lower) < threshold ? 0.0f : scale;
  }

  /** Factors (0 or scale) of elements first … first+count−1. */
  DEEPRNN_HOST_DEVICE void factors(uint64_t first, size_t count, float* out) const {
    uint32_t words[4];
    uint64_t block = ~uint64_t{0};
    for (size_t i = 0; i < count; ++i) {
      const uint64_t element = base + first + i;
      if (element >> 2 != block) {
        block = element >> 2;
        const uint32_t counter[4] = {static_cast<uint32_t>(block), stream, stepLo, stepHi};
        philox4x32(counter, seedLo, seedHi, words);
      }
      out[i] = words[element & 3] < threshold ? 0.0f : scale;
    }
  }
};

/** The standard deviation of noise at a training step, which fades with the steps where `decay` > 0. */
DEEPRNN_HOST_DEVICE inline double deviationAt(double stddev, double decay, double step) {
  return decay == 0 ? stddev : stddev * std::pow(1 + step, -decay);
}

/** Standard normal numbers of elements 4·block … 4·block+3 of `source`, whose threshold and scale do not
 * count: each pair of draws makes two (Box & Muller, 1958). */
DEEPRNN_HOST_DEVICE inline void normals(const Mask& source, uint64_t block, double out[4]) {
  uint32_t words[4];
  const uint32_t counter[4] = {static_cast<uint32_t>(block), source.stream, source.stepLo, source.stepHi};
  philox4x32(counter, source.seedLo, source.seedHi, words);
  for (int pair = 0; pair < 4; pair += 2) {
    const double radius = std::sqrt(-2 * std::log((words[pair] + 1.0) / 4294967296.0));
    const double turns = words[pair + 1] / 4294967296.0;
#if defined(__CUDA_ARCH__)
    // Without the reduction of large angles, which needs memory of its own.
    out[pair] = radius * cospi(2 * turns);
    out[pair + 1] = radius * sinpi(2 * turns);
#else
    const double angle = 2 * 3.14159265358979323846 * turns;
    out[pair] = radius * std::cos(angle);
    out[pair + 1] = radius * std::sin(angle);
#endif
  }
}

}  // namespace deeprnn::core
