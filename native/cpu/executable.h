#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/operands.h"
#include "cpu/rnn_stack.h"
#include "cpu/session.h"

namespace deeprnn::cpu {

using core::Operands;

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
  static core::Status load(Session& session, core::Plan plan, const core::InputSets& inputs,
                           const std::vector<void*>& outputs, std::unique_ptr<Executable>* result);

  core::Status run(size_t set);
  /** Ops read the caller's memory: there is nothing to bring nearer ahead of a run. */
  void stage(size_t) {}
  size_t bytes() const { return arena_.bytes() + scratch_.bytes(); }
  /** How each op runs, and why so; empty where there was no choice. */
  std::vector<std::string> notes() const { return std::vector<std::string>(plan_.ops.size()); }

 private:
  Executable(Session& session, core::Plan plan) : session_(session), plan_(std::move(plan)) {}

  Session& session_;
  const core::Plan plan_;
  Buffer arena_, scratch_;
  std::vector<Step> steps_;
  /** For each set of inputs the steps to run; those that read no input are the same in both. */
  std::array<std::vector<size_t>, 2> order_;
};

}  // namespace deeprnn::cpu
