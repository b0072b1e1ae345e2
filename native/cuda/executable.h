#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/operands.h"
#include "cuda/session.h"

namespace deeprnn::cuda {

using core::Operands;

/** What a failed check leaves in device memory: the first element that fails, or kNoFault, and its value. */
struct Fault {
  unsigned long long element;
  double value;
};
constexpr unsigned long long kNoFault = ~0ull;

struct RunContext {
  cudaStream_t stream;
  /** More streams of the session, for work that may run beside; they begin and end with events of `stream`.
   */
  const std::vector<Branch>& branches;
  Blas& blas;
  Precision precision;
  /** Shared by all ops, one after another; 256-byte aligned and as large as the largest `Step::scratch`. */
  unsigned char* scratch;
  /** Not zero once a check of this run has failed: ops that change variables do nothing then. */
  unsigned* failed;
};

/** An op's own device memory. */
struct OpMemory {
  Fault* fault;
  /** What `Step::table` made, uploaded once. */
  const unsigned char* table;
};

/** An op made ready: queues its work on the stream, always the same work, so that it may be captured in a
 * graph. */
struct Step {
  std::function<Status(const RunContext&, const OpMemory&)> run;
  /** Bytes. */
  size_t scratch = 0;
  /** What its kernels look up, made once the scratch memory has its place. */
  std::function<std::vector<unsigned char>(unsigned char* scratch)> table = {};
  /** How the op runs and why, where there was a choice. */
  std::string note = {};
};

/** Each family of ops makes the steps of its ops. */
Step dataStep(const Operands& o);
Step denseStep(const Operands& o);
Step activationStep(const Operands& o);
Step lossStep(const Operands& o);
Step metricStep(const Operands& o);
Step updateStep(const Operands& o);
Status stackStep(const Operands& o, const Session& session, Step* step);

/**
 * A plan loaded over a session's variables: device memory allocated, operands resolved, the whole run (copy
 * in, ops, copy out) captured in one CUDA Graph. A run is one graph launch.
 */
class Executable {
 public:
  /** `inputs` and `outputs` are the caller's memory in slot order, large enough, alive and in place for each
   * run. */
  static Status load(Session& session, core::Plan plan, const core::InputSets& inputs,
                     const std::vector<void*>& outputs, std::unique_ptr<Executable>* result);
  ~Executable();

  /** Waits for the device: not to be called on a thread that must stay free. */
  Status run(size_t set);
  void stage(size_t) {}
  size_t bytes() const;
  /** How each op runs, and why so; empty where there was no choice. */
  std::vector<std::string> notes() const;

 private:
  Executable(Session& session, core::Plan plan) : session_(session), plan_(std::move(plan)) {}

  Status prepare(const core::InputSets& inputs, const std::vector<void*>& outputs);
  Status uploadTables();
  Status capture();
  Status queue();

  /** An input's or output's place in the caller's memory and in the staging buffers. */
  struct Staged {
    void* host;
    size_t offset, bytes;
  };

  Session& session_;
  const core::Plan plan_;
  std::array<std::vector<Staged>, 2> inputs_;
  std::vector<Staged> outputs_;
  /** Outputs are followed by the faults, one per op. */
  DeviceBuffer deviceInputs_, deviceOutputs_, arena_, scratch_, tables_, failed_;
  PinnedBuffer hostInputs_, hostOutputs_;
  size_t faultOffset_ = 0;
  std::vector<Step> steps_;
  std::vector<OpMemory> opMemory_;
  cudaGraphExec_t graph_ = nullptr;
};

}  // namespace deeprnn::cuda
