#include "cpu/rnn_stack.h"

#include "cpu/rnn_layout.h"

namespace deeprnn::cpu {

RnnStack::RnnStack(StackSpec spec, const KernelTable& kernels, int threads)
    : spec_(std::move(spec)), k_(kernels), threads_(threads) {}

/** Rows of the batch per task: one share a thread, at most 64 so that a step's arrays stay in the first
 * caches. */
size_t RnnStack::rowBlock() const {
  const size_t share = (spec_.N + static_cast<size_t>(threads_) - 1) / static_cast<size_t>(threads_);
  return std::min<size_t>(64, roundUp(share, 6));
}

}  // namespace deeprnn::cpu
