#pragma once

#include <cstddef>
#include <cstdint>

#include "core/status.h"

namespace deeprnn::cpu {

/** Class indices are proven by an earlier `check`; an op that uses them as addresses still looks. */
inline core::Status checkLabels(const int32_t* labels, size_t rows, size_t classes) {
  for (size_t r = 0; r < rows; ++r) {
    if (labels[r] >= 0 && static_cast<size_t>(labels[r]) < classes) continue;
    core::Status s = core::Status::error(core::Code::checkFailed, "check failed");
    s.element = static_cast<double>(r);
    s.value = labels[r];
    return s;
  }
  return {};
}

}  // namespace deeprnn::cpu
