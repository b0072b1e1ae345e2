// What losses and metrics share: rows of predictions, one warp a row.
#pragma once

#include "cuda/gpu.h"

namespace deeprnn::cuda {

constexpr unsigned kScoreThreads = 128;

/** Blocks for so many rows: the same number for one size, whatever the device, so that sums keep their order.
 */
inline size_t scoreBlocks(size_t rows) {
  const size_t warps = kScoreThreads / 32, blocks = (rows + warps - 1) / warps;
  return blocks < 1 ? 1 : (blocks < 512 ? blocks : 512);
}

#if defined(__CUDACC__) || defined(DEEPRNN_EMULATED)

__device__ __forceinline__ unsigned lane() {
  return threadIdx.x % 32;
}

/** Sum over the warp, to every lane. */
__device__ __forceinline__ double warpSum(double value) {
  for (int bits = 16; bits > 0; bits >>= 1) value += __shfl_xor_sync(0xffffffffu, value, bits);
  return value;
}

/** The class of row r. Labels are proven by an earlier `check`; one that failed it counts as class 0. */
__device__ __forceinline__ size_t labelOf(const int32_t* labels, size_t r, size_t classes) {
  const auto label = static_cast<uint32_t>(labels[r]);
  return label < classes ? label : 0;
}

__device__ __forceinline__ double rowSum(const float* p, size_t C) {
  double sum = 0;
  for (size_t c = lane(); c < C; c += 32) sum += p[c];
  return warpSum(sum);
}

__device__ __forceinline__ double logSumExp(const float* p, size_t C) {
  float top = -INFINITY;
  for (size_t c = lane(); c < C; c += 32) top = fmaxf(top, p[c]);
  for (int bits = 16; bits > 0; bits >>= 1) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, bits));
  double sum = 0;
  for (size_t c = lane(); c < C; c += 32) sum += exp(static_cast<double>(p[c]) - top);
  return top + log(warpSum(sum));
}

/** Index of the first largest of a row, to every lane. */
__device__ __forceinline__ size_t argmax(const float* p, size_t C) {
  unsigned long long best = 0;
  float top = -INFINITY;
  for (size_t c = lane(); c < C; c += 32) {
    if (c == lane() || p[c] > top) {
      top = p[c];
      best = c;
    }
  }
  if (lane() >= C) best = ~0ull;
  for (int bits = 16; bits > 0; bits >>= 1) {
    const float otherTop = __shfl_xor_sync(0xffffffffu, top, bits);
    const unsigned long long other = __shfl_xor_sync(0xffffffffu, best, bits);
    if (other != ~0ull && (best == ~0ull || otherTop > top || (otherTop == top && other < best))) {
      top = otherTop;
      best = other;
    }
  }
  return best;
}

#endif

}  // namespace deeprnn::cuda
