#include "cpu/rnn_stack.h"

#include "cpu/rnn_layout.h"

namespace deeprnn::cpu {

RnnStack::RnnStack(StackSpec spec, const KernelTable& kernels, int threads)
    : spec_(std::move(spec)), k_(kernels), threads_(threads) {}

namespace {

/** Weights of a layer from which on a core's share of the caches does not hold them: 12 MB. */
constexpr size_t kLargeLayer = size_t{3} << 20;

}  // namespace

/** Rows of the batch per task: the same for every thread, at most 64 so that a step's arrays stay in the
 * first caches. Large layers are shared out by columns instead: each thread then fetches half of the weights.
 */
size_t RnnStack::rowBlock() const {
  if (std::any_of(spec_.layers.begin(), spec_.layers.end(), isLarge)) return spec_.N;
  const auto threads = static_cast<size_t>(threads_);
  const size_t share = (spec_.N + threads - 1) / threads, tasks = (share + 63) / 64;
  return (share + tasks - 1) / tasks;
}

bool isLarge(const StackLayer& l) {
  return (l.D + l.H) * l.G * l.H >= kLargeLayer;
}

}  // namespace deeprnn::cpu
