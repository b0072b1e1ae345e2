#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/plan.h"
#include "cuda/blas.h"
#include "cuda/memory.h"
#include "cuda/persistent_shape.h"

namespace deeprnn::cuda {

struct Variable {
  core::DType dtype = core::DType::real;
  size_t elements = 0;
  DeviceBuffer memory;
};

/** A stream and an event to join it with others; owned by the session. */
struct Branch {
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
};

/** How stacks run; docs/cuda.md, "The ladder". */
enum class Rung {
  /** Products by cuBLAS, a kernel a step for the gates, one layer after another. */
  steps,
  /** The same, layers side by side on streams of their own: layer l takes a chunk of steps as soon as layer
     l−1 has done it. */
  diagonal,
  /** One persistent kernel a direction for each layer. */
  layer,
  /** One for the whole stack. */
  stack,
};

struct SessionOptions {
  /** Which of the devices that the process sees, and what it has. */
  int device = 0;
  DeviceLimits limits;
  Precision precision = Precision::float32;
  /** The highest rung that may run; a stack that cannot run on it takes one below. */
  Rung rung = Rung::stack;
  /** Whether that rung runs wherever it can, however long it is estimated to take. */
  bool forced = false;
};

/** The variables of one model on one device, and the streams that its plans run on. Used by one caller at a
 * time; only staging goes on beside a run. */
class Session {
 public:
  static Status create(const SessionOptions& options, std::unique_ptr<Session>* result);
  ~Session();

  Status createVariable(core::DType dtype, size_t elements, size_t* index);
  /** Copies `elements` numbers of the variable's dtype in or out. */
  Status write(Variable& v, const void* values);
  Status read(const Variable& v, void* values);

  std::vector<Variable>& variables() { return variables_; }
  cudaStream_t stream() const { return stream_; }
  /** Brings the inputs of the next run to the device while one runs. */
  cudaStream_t copyStream() const { return copyStream_; }
  const std::vector<Branch>& branches() const { return branches_; }
  Blas& blas() const { return *blas_; }
  const SessionOptions& options() const { return options_; }
  Precision precision() const { return options_.precision; }
  /** Makes the device current for the calling thread. @returns why the device is of no more use, once it has
   * failed
   */
  Status enter() const { return context_->enter(); }

 private:
  Session(const SessionOptions& options, std::shared_ptr<Context> context)
      : options_(options), context_(std::move(context)) {}

  SessionOptions options_;
  std::shared_ptr<Context> context_;
  cudaStream_t stream_ = nullptr, copyStream_ = nullptr;
  std::vector<Branch> branches_;
  std::unique_ptr<Blas> blas_;
  std::vector<Variable> variables_;
};

}  // namespace deeprnn::cuda
