// A stack, or one layer of it, as ONE persistent kernel for each direction (rungs d and c; docs/cuda.md, "The
// ladder"): every block keeps its slice of the weights in shared memory for all steps and waits only for the
// steps that it needs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/stack.h"
#include "cuda/executable.h"
#include "cuda/persistent_shape.h"
#include "cuda/rnn_persistent_kernels.h"

namespace deeprnn::cuda {

class PersistentStack {
 public:
  /**
   * @param dAbove what reaches the top layer's h beside dy [T, N, H], or null
   * @returns null where the stack must run otherwise; `why` then says the reason
   */
  static std::unique_ptr<PersistentStack> plan(const core::StackSpec& spec, const core::StackIo& io,
                                               const double* step, bool backward, const float* dAbove,
                                               Precision precision, const DeviceLimits& device,
                                               const char** why);

  /** Blocks, groups and memory in words. */
  std::string describe() const;
  /** What all steps take, estimated: microseconds. */
  double microseconds() const;

  /** Bytes of scratch, and the table of layers made for scratch at `scratch`. */
  size_t scratch() const;
  std::vector<unsigned char> table(unsigned char* scratch) const;

  /** Queue the direction that was planned. `scratch` and `table`: what the two above ask for and give, on the
   * device. */
  Status run(const RunContext& c, unsigned char* scratch, const unsigned char* table) const;

 private:
  Status forward(const RunContext& c, unsigned char* scratch, const PersistentLayer* layers) const;
  Status backward(const RunContext& c, unsigned char* scratch, const PersistentLayer* layers) const;
  KernelLaunch launchOf(const PersistentLayer* layers) const;

  core::StackSpec spec_;
  core::StackIo io_;
  const double* step_ = nullptr;
  const float* dAbove_ = nullptr;
  bool backward_ = false;
  Precision precision_ = Precision::float32;
  PersistentShape shape_;
};

}  // namespace deeprnn::cuda
