// A stack as one persistent kernel a layer (rung c): for stacks whose weights do not fit on the device at
// once. Only the recurrent weights have to; the products with the inputs are done for all steps together.
#pragma once

#include "cuda/rnn_persistent.h"

namespace deeprnn::cuda {

class LayerwiseStack {
 public:
  /** @returns null where a layer must run otherwise; `why` then says the reason */
  static std::unique_ptr<LayerwiseStack> plan(const core::StackSpec& spec, const core::StackIo& io,
                                              const double* step, bool backward, Precision precision,
                                              const DeviceLimits& device, const char** why);

  std::string describe() const;
  /** What all steps of all layers take, estimated: microseconds. */
  double microseconds() const { return microseconds_; }
  size_t scratch() const;
  std::vector<unsigned char> table(unsigned char* scratch) const;
  Status run(const RunContext& c, unsigned char* scratch, const unsigned char* table) const;

 private:
  /** Scratch that all layers use one after another, and the arrays between them. */
  struct Between;
  std::unique_ptr<PersistentStack> layer(size_t i, const Between& between, const char** why) const;

  core::StackSpec spec_;
  core::StackIo io_;
  const double* step_ = nullptr;
  bool backward_ = false;
  Precision precision_ = Precision::float32;
  DeviceLimits device_;
  std::vector<std::string> described_;
  double microseconds_ = 0;
  size_t layerScratch_ = 0;
};

}  // namespace deeprnn::cuda
