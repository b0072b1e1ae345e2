// rnnStack and rnnStackGrad: which way a stack runs.
#include <algorithm>

#include "cuda/rnn_layerwise.h"
#include "cuda/rnn_persistent.h"
#include "cuda/rnn_steps.h"

namespace deeprnn::cuda {
namespace {

/** Steps that a layer does before the next one may take them: enough that a product has rows, few enough that
 * layers overlap. */
constexpr size_t kDiagonalSteps = 8;

/** A persistent stack, of either kind, as a step. */
template <class Stack>
Step persistentStep(std::shared_ptr<Stack> stack, const char* rung) {
  Step step;
  step.note = std::string(rung) + stack->describe();
  step.scratch = stack->scratch();
  step.table = [=](unsigned char* scratch) { return stack->table(scratch); };
  step.run = [=](const RunContext& c, const OpMemory& own) { return stack->run(c, c.scratch, own.table); };
  return step;
}

}  // namespace

Status stackStep(const Operands& o, const Session& session, Step* step) {
  const bool backward = o.op().kind == core::OpKind::rnnStackGrad;
  core::StackSpec spec = core::stackSpecOf(o.op());
  core::StackIo io = core::stackIoOf(o, spec.layers.size(), backward);
  const SessionOptions& options = session.options();
  const auto* number = o.in<double>(0);
  const char* why = "forced";
  // Where the weights of all layers do not fit, those of one may.
  if (options.rung == Rung::stack) {
    if (auto stack = PersistentStack::plan(spec, io, number, backward, nullptr, options.precision,
                                           options.limits, &why)) {
      *step = persistentStep<PersistentStack>(std::move(stack), "rung d: one persistent kernel, ");
      return {};
    }
  }
  if (options.rung == Rung::stack || options.rung == Rung::layer) {
    if (auto stack =
            LayerwiseStack::plan(spec, io, number, backward, options.precision, options.limits, &why)) {
      *step = persistentStep<LayerwiseStack>(std::move(stack), "rung c: a persistent kernel a layer, ");
      return {};
    }
  }
  const size_t chunk = options.rung == Rung::steps ? spec.T : std::min(kDiagonalSteps, (spec.T + 1) / 2);
  step->note = std::string(chunk < spec.T ? "rung b: layers side by side" : "rung a: layer by layer") + " (" +
               why + ")";
  const auto stack = std::make_shared<StackSteps>(std::move(spec), std::move(io), number, chunk);
  step->scratch = backward ? stack->backwardScratch() : stack->forwardScratch();
  step->run = [=](const RunContext& c, const OpMemory&) {
    return backward ? stack->backward(c) : stack->forward(c);
  };
  return {};
}

}  // namespace deeprnn::cuda
