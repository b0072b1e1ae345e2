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
};

}  // namespace deeprnn::core
