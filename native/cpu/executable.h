#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cpu/rnn_stack.h"
#include "cpu/session.h"

namespace deeprnn::cpu {

/** What an op sees of its operands while it runs. Absent operands are null. */
class Operands {
 public:
  Operands(const core::Plan& plan, const core::Op& op, std::vector<void*> inputs, std::vector<void*> outputs)
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
  const core::Value& inValue(size_t i) const { return plan_.values[static_cast<size_t>(op_.inputs[i])]; }
  const core::Value& outValue(size_t i) const { return plan_.values[static_cast<size_t>(op_.outputs[i])]; }
  const core::Op& op() const { return op_; }

 private:
  const core::Plan& plan_;
  const core::Op& op_;
  std::vector<void*> inputs_, outputs_;
};

struct RunContext {
  const KernelTable& k;
  ThreadPool& pool;
  /** Shared by all ops, one after another; as large as the largest `Step::scratch`. */
  float* scratch;
};

/** An op made ready to run: what it does, and how many floats of scratch it needs. */
struct Step {
  std::function<core::Status(const RunContext&)> run;
  size_t scratch = 0;
};

/** Each family of ops makes the steps of its ops. */
Step dataStep(const Operands& o);
Step denseStep(const Operands& o, const KernelTable& k);
Step activationStep(const Operands& o);
Step lossStep(const Operands& o);
Step metricStep(const Operands& o);
Step updateStep(const Operands& o);
Step stackStep(const Operands& o, const KernelTable& k, int threads);

/** A plan loaded over a session's variables: buffers allocated, operands resolved. Running it is a loop over
 * its steps. */
class Executable {
 public:
  /** `inputs` and `outputs` are the caller's memory in slot order, large enough, alive and in place for each
   * run. */
  static core::Status load(Session& session, core::Plan plan, const std::vector<void*>& inputs,
                           const std::vector<void*>& outputs, std::unique_ptr<Executable>* result);

  core::Status run();
  size_t bytes() const { return arena_.bytes() + scratch_.bytes(); }

 private:
  Executable(Session& session, core::Plan plan) : session_(session), plan_(std::move(plan)) {}

  Session& session_;
  const core::Plan plan_;
  Buffer arena_, scratch_;
  std::vector<Step> steps_;
};

}  // namespace deeprnn::cpu
