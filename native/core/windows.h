#pragma once

#include <cstdint>
#include <vector>

#include "core/host_device.h"

namespace deeprnn::core {

/** Windows over the steps of a sequence. */
struct Windows {
  int64_t size, stride, dilation, before;

  /** Of `unfold` and `fold`. */
  static Windows ofFold(const std::vector<int32_t>& ints) { return {ints[0], ints[1], ints[2], ints[3]}; }
  /** Of `pool` and `poolGrad`. */
  static Windows ofPool(const std::vector<int32_t>& ints) { return {ints[1], ints[2], 1, ints[3]}; }

  /** The step of the sequence at place k of window t; negative, or beyond the last, in the padding. */
  DEEPRNN_HOST_DEVICE int64_t step(int64_t t, int64_t k) const { return t * stride + k * dilation - before; }

  /** Without dilation, the steps of window t that lie in a sequence of T: first … last − 1, maybe none. */
  DEEPRNN_HOST_DEVICE int64_t first(int64_t t) const { return step(t, 0) > 0 ? step(t, 0) : 0; }
  DEEPRNN_HOST_DEVICE int64_t last(int64_t t, int64_t T) const {
    return step(t, size) < T ? step(t, size) : T;
  }
};

}  // namespace deeprnn::core
