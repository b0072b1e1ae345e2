#pragma once

#include <array>
#include <chrono>
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

/** An op made ready to run: what it does, how many floats of scratch it needs, and how many it keeps from run
 * to run. */
struct Step {
  std::function<core::Status(const RunContext&)> run;
  size_t scratch = 0;
  size_t kept = 0;
};

/**
 * Weights in the form that an op reads, made again only when one of them has changed: a service that predicts
 * packs once. Where a weight is no variable it may always have changed.
 */
class KeptWeights {
 public:
  /** `operands`: places of the weights among the op's inputs; absent ones are passed over. */
  KeptWeights(const Operands& o, const std::vector<size_t>& operands, const Session& session, size_t floats);

  /** The weights, after `make(memory)` where they are not as they were. */
  template <class Make>
  float* get(const Make& make) {
    const uint64_t now = versions();
    auto* at = reinterpret_cast<float*>(memory_.data());
    if (!watched_ || now != made_) make(at);
    made_ = now;
    return at;
  }
  bool allocated() const { return static_cast<bool>(memory_); }

 private:
  /** The versions added up: each only grows. */
  uint64_t versions() const;

  const Session& session_;
  std::vector<size_t> slots_;
  Buffer memory_;
  bool watched_ = true;
  uint64_t made_ = ~uint64_t{0};
};

/** Each family of ops makes the steps of its ops. */
Step dataStep(const Operands& o);
Step maskStep(const Operands& o);
Step mergeStep(const Operands& o);
Step shapeStep(const Operands& o);
Step normStep(const Operands& o);
Step batchNormStep(const Operands& o);
Step windowStep(const Operands& o);
Step programStep(const Operands& o, const Session& session);
Step matmulStep(const Operands& o, const Session& session);
Step denseStep(const Operands& o, const Session& session);
Step activationStep(const Operands& o);
Step lossStep(const Operands& o);
Step metricStep(const Operands& o);
Step updateStep(const Operands& o);
Step stackStep(const Operands& o, const Session& session);

/** A plan loaded over a session's variables: buffers allocated, operands resolved. Running it is a loop over
 * its steps. */
class Executable {
 public:
  /** `inputs` and `outputs` are the caller's memory in slot order, large enough, alive and in place for each
   * run. */
  static core::Status load(Session& session, core::Plan plan, const core::InputSets& inputs,
                           const std::vector<void*>& outputs, std::unique_ptr<Executable>* result);

  /** `times`: milliseconds of each op, or null. */
  core::Status run(size_t set, double* times = nullptr);
  /** Ops read the caller's memory: there is nothing to bring nearer ahead of a run. */
  void stage(size_t) {}
  size_t bytes() const { return arena_.bytes() + scratch_.bytes() + keptBytes_; }
  /** How each op runs, and why so; empty where there was no choice. */
  std::vector<std::string> notes() const { return std::vector<std::string>(plan_.ops.size()); }

 private:
  Executable(Session& session, core::Plan plan);
  /** What a run is shared among. */
  ThreadPool& threads();

  Session& session_;
  const core::Plan plan_;
  /** Multiplications of a plan of one time step. */
  const size_t stepWork_;
  /** The caller alone. */
  ThreadPool alone_;
  std::chrono::steady_clock::time_point ended_;
  Buffer arena_, scratch_;
  size_t keptBytes_ = 0;
  std::vector<Step> steps_;
  /** For each set of inputs the steps to run; those that read no input are the same in both. */
  std::array<std::vector<size_t>, 2> order_;
  /** Slots of the variables that each op writes. */
  std::vector<std::vector<size_t>> written_;
};

}  // namespace deeprnn::cpu
