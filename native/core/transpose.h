#pragma once

#include "core/host_device.h"
#include "core/plan.h"

namespace deeprnn::core {

/** Where the elements of a transposed array lie in the one that it is made from. */
struct Transposition {
  size_t rank = 0;
  /** Sizes of the axes of y, and the distance in x of neighbours along each. */
  size_t sizes[kMaxRank] = {}, steps[kMaxRank] = {};

  /** Axis i of y is axis axes[i] of x. */
  static Transposition of(const Value& x, const std::vector<int32_t>& axes) {
    Transposition t;
    t.rank = axes.size();
    for (size_t i = 0; i < t.rank; ++i) {
      const auto axis = static_cast<size_t>(axes[i]);
      t.sizes[i] = static_cast<size_t>(x.shape[axis]);
      t.steps[i] = 1;
      for (size_t a = axis + 1; a < t.rank; ++a) t.steps[i] *= static_cast<size_t>(x.shape[a]);
    }
    return t;
  }

  /** The place in x of an element of y. */
  DEEPRNN_HOST_DEVICE size_t source(size_t element) const {
    size_t from = 0;
    for (size_t i = rank; i-- > 0; element /= sizes[i]) from += element % sizes[i] * steps[i];
    return from;
  }
};

}  // namespace deeprnn::core
