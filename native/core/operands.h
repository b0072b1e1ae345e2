#pragma once

#include <utility>
#include <vector>

#include "core/plan.h"

namespace deeprnn::core {

/** What an op sees of its operands while it runs. Absent operands are null. */
class Operands {
 public:
  Operands(const Plan& plan, const Op& op, std::vector<void*> inputs, std::vector<void*> outputs)
      : plan_(plan), op_(op), inputs_(std::move(inputs)), outputs_(std::move(outputs)) {}

  template <class T = float>
  const T* in(size_t i) const {
    return static_cast<const T*>(inputs_[i]);
  }
  /** An input that the op changes in place (a variable). */
  template <class T = float>
  T* inOut(size_t i) const {
    return static_cast<T*>(inputs_[i]);
  }
  template <class T = float>
  T* out(size_t i) const {
    return static_cast<T*>(outputs_[i]);
  }
  const Value& inValue(size_t i) const { return plan_.values[static_cast<size_t>(op_.inputs[i])]; }
  const Value& outValue(size_t i) const { return plan_.values[static_cast<size_t>(op_.outputs[i])]; }
  const Op& op() const { return op_; }

 private:
  const Plan& plan_;
  const Op& op_;
  std::vector<void*> inputs_, outputs_;
};

}  // namespace deeprnn::core
