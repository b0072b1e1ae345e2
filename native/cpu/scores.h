#pragma once

#include <cstddef>
#include <cstdint>

#include "core/status.h"

namespace deeprnn::cpu {

/**
 * Reads an index that the caller's program may be writing meanwhile: exactly once, so that what was proven is
 * what is used.
 */
inline int32_t readOnce(const int32_t* index) {
  return *static_cast<const volatile int32_t*>(index);
}

/** The class of row r. One that is not there, which only a write during the run can cause, counts as class 0.
 */
inline size_t labelOf(const int32_t* labels, size_t r, size_t classes) {
  const auto label = static_cast<uint32_t>(readOnce(labels + r));
  return label < classes ? label : 0;
}

/** Class indices are proven by an earlier `check`; an op that uses them as addresses still looks. */
inline core::Status checkLabels(const int32_t* labels, size_t rows, size_t classes) {
  for (size_t r = 0; r < rows; ++r) {
    const int32_t label = readOnce(labels + r);
    if (label >= 0 && static_cast<size_t>(label) < classes) continue;
    core::Status s = core::Status::error(core::Code::checkFailed, "check failed");
    s.element = static_cast<double>(r);
    s.value = label;
    return s;
  }
  return {};
}

}  // namespace deeprnn::cpu
