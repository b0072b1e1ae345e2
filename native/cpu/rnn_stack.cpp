#include "cpu/rnn_stack.h"

#include "cpu/rnn_layout.h"

namespace deeprnn::cpu {

RnnStack::RnnStack(StackSpec spec, const KernelTable& kernels, int threads)
    : spec_(std::move(spec)), k_(kernels), threads_(threads) {}

/** Rows of the batch per task: the same for every thread, at most 64 so that a step's arrays stay in the
 * first caches. */
size_t RnnStack::rowBlock() const {
  const auto threads = static_cast<size_t>(threads_);
  const size_t share = (spec_.N + threads - 1) / threads, tasks = (share + 63) / 64;
  return (share + tasks - 1) / tasks;
}

}  // namespace deeprnn::cpu
