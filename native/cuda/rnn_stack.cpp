// rnnStack and rnnStackGrad: which way a stack runs.
#include <algorithm>

#include "cuda/rnn_persistent.h"
#include "cuda/rnn_steps.h"

namespace deeprnn::cuda {
namespace {

/** Steps that a layer does before the next one may take them: enough that a product has rows, few enough that
 * layers overlap. */
constexpr size_t kDiagonalSteps = 8;

}  // namespace

Status stackStep(const Operands& o, const Session& session, Step* step) {
  const bool backward = o.op().kind == core::OpKind::rnnStackGrad;
  core::StackSpec spec = core::stackSpecOf(o.op());
  core::StackIo io = core::stackIoOf(o, spec.layers.size(), backward);
  const SessionOptions& options = session.options();
  const char* why = "forced";
  if (options.rung == Rung::persistent) {
    if (const std::shared_ptr<PersistentStack> stack = PersistentStack::plan(
            spec, io, o.in<double>(0), backward, options.multiprocessors, options.sharedPerBlock, &why)) {
      step->note = stack->describe();
      step->scratch = stack->scratch();
      step->table = [=](unsigned char* scratch) { return stack->table(scratch); };
      step->run = [=](const RunContext& c, const OpMemory& own) {
        return backward ? stack->backward(c, own) : stack->forward(c, own);
      };
      return {};
    }
  }
  const size_t chunk = options.rung == Rung::steps ? spec.T : std::min(kDiagonalSteps, (spec.T + 1) / 2);
  step->note = std::string(chunk < spec.T ? "rung b: layers side by side" : "rung a: layer by layer") + " (" +
               why + ")";
  const auto stack = std::make_shared<StackSteps>(std::move(spec), std::move(io), o.in<double>(0), chunk);
  step->scratch = backward ? stack->backwardScratch() : stack->forwardScratch();
  step->run = [=](const RunContext& c, const OpMemory&) {
    return backward ? stack->backward(c) : stack->forward(c);
  };
  return {};
}

}  // namespace deeprnn::cuda
