#include "cpu/rnn_stack.h"

#include "cpu/rnn_layout.h"

namespace deeprnn::cpu {

RnnStack::RnnStack(StackSpec spec, const KernelTable& kernels, int threads, size_t largeLayer, bool packsRows,
                   size_t fewGates)
    : spec_(std::move(spec)),
      k_(kernels),
      threads_(threads),
      largeLayer_(largeLayer),
      packsRows_(packsRows),
      fewGates_(fewGates) {}

/** Rows of the batch per task: the same for every thread, at most 64 so that a step's arrays stay in the
 * first caches. Large layers are shared out by columns instead: each thread then fetches half of the weights.
 */
size_t RnnStack::rowBlock() const {
  const auto large = [this](const StackLayer& l) { return isLarge(l); };
  if (std::any_of(spec_.layers.begin(), spec_.layers.end(), large)) return spec_.N;
  const auto threads = static_cast<size_t>(threads_);
  const size_t share = (spec_.N + threads - 1) / threads, tasks = (share + 63) / 64;
  return (share + tasks - 1) / tasks;
}

bool RnnStack::isLarge(const StackLayer& l) const {
  return (l.D + l.H) * l.G * l.H >= largeLayer_;
}

}  // namespace deeprnn::cpu
