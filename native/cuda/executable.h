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
Step maskStep(const Operands& o);
Step mergeStep(const Operands& o);
Step shapeStep(const Operands& o);
Step normStep(const Operands& o);
Step batchNormStep(const Operands& o);
Step windowStep(const Operands& o);
Step programStep(const Operands& o);
Step matmulStep(const Operands& o);
Step denseStep(const Operands& o);
Step activationStep(const Operands& o);
Step lossStep(const Operands& o);
Step metricStep(const Operands& o);
Step updateStep(const Operands& o);
Status stackStep(const Operands& o, const Session& session, Step* step);

/**
 * A plan loaded over a session's variables: device memory allocated, operands resolved, all work of a run but
 * the way of its data to the device captured in one CUDA Graph. Data that have been staged are on the device
 * already, brought there on the session's copy stream while another run went on; a run then moves them in
 * with one copy inside the device. A run allocates nothing, and waits for the device once, at its end.
 */
class Executable {
 public:
  /** `inputs` and `outputs` are the caller's memory in slot order, large enough, alive and in place for each
   * run. */
  static Status load(Session& session, core::Plan plan, const core::InputSets& inputs,
                     const std::vector<void*>& outputs, std::unique_ptr<Executable>* result);
  ~Executable();

  /** Waits for the device: not to be called on a thread that must stay free. */
  /** `times`: milliseconds of each op, each waited for, or null. */
  Status run(size_t set, double* times = nullptr);
  /** Copies the data of a set and sends them to the device. Waits for nothing, unless the set is staged again
   * without a run in between. May be called while a run on the other set is in flight. */
  void stage(size_t set);
  size_t bytes() const;
  /** How each op runs, and why so; empty where there was no choice. */
  std::vector<std::string> notes() const;

 private:
  Executable(Session& session, core::Plan plan) : session_(session), plan_(std::move(plan)) {}

  Status prepare(const core::InputSets& inputs, const std::vector<void*>& outputs);
  /** Where on the device the values of a plan lie. */
  struct Places {
    unsigned char *inputs, *outputs, *arena;
  };
  Status makeSteps(const Places& places);
  size_t scratchBytes() const;
  Status uploadTables();
  Status capture();
  Status queue(double* times = nullptr);
  Status sendAhead(size_t set);
  Status takeIn(size_t set);
  size_t deviceBytes() const;
  /** Of an allocation that failed while this was being loaded: what the whole needs, and what there was for
   * it. */
  Status whole(const Status& shortage);

  /** An input's or output's place in the caller's memory and in the staging buffers. */
  struct Staged {
    void* host;
    size_t offset, bytes;
  };

  Session& session_;
  const core::Plan plan_;
  /** By set. Scalars are not staged: they may still change when the data are complete. */
  std::array<std::vector<Staged>, 2> data_, scalars_;
  std::vector<Staged> outputs_;
  std::vector<size_t> inputOffsets_;
  size_t dataBytes_ = 0, scalarBytes_ = 0, faultOffset_ = 0, plannedBytes_ = 0;
  /** On the device data are followed by scalars, and outputs by the faults, one per op; on the host the data
   * of the two sets by the scalars. */
  DeviceBuffer deviceInputs_, deviceOutputs_, arena_, scratch_, tables_, failed_;
  std::array<DeviceBuffer, 2> ahead_;
  PinnedBuffer hostInputs_, hostOutputs_;
  /** When what was staged last has reached the device. */
  std::array<cudaEvent_t, 2> arrived_ = {};
  std::array<bool, 2> staged_ = {};
  std::vector<Step> steps_;
  std::vector<OpMemory> opMemory_;
  cudaGraphExec_t graph_ = nullptr;
};

}  // namespace deeprnn::cuda
