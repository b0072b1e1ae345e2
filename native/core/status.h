#pragma once

#include <cstddef>
#include <string>
#include <utility>

namespace deeprnn::core {

enum class Code { ok, badPlan, outOfMemory, checkFailed, state, device };

/** The first failure of a call, carried to the caller as a value; nothing in core/ or cpu/ throws, prints or
 * exits. */
struct Status {
  Code code = Code::ok;
  std::string message;
  /** checkFailed: the op, the element in stored order, and its value. */
  int op = -1;
  double element = 0;
  double value = 0;
  /** outOfMemory, where it is known: bytes asked for and bytes that were to be had. */
  double needed = 0;
  double available = 0;

  bool ok() const { return code == Code::ok; }
  static Status error(Code code, std::string message) {
    Status s;
    s.code = code;
    s.message = std::move(message);
    return s;
  }
  static Status shortage(size_t needed, size_t available, std::string message) {
    Status s = error(Code::outOfMemory, std::move(message));
    s.needed = static_cast<double>(needed);
    s.available = static_cast<double>(available);
    return s;
  }
};

}  // namespace deeprnn::core
