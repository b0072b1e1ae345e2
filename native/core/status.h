#pragma once

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

  bool ok() const { return code == Code::ok; }
  static Status error(Code code, std::string message) {
    Status s;
    s.code = code;
    s.message = std::move(message);
    return s;
  }
};

}  // namespace deeprnn::core
