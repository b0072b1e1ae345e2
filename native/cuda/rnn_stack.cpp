// rnnStack and rnnStackGrad: which way a stack runs.
#include <algorithm>
#include <cstdio>

#include "cuda/rnn_layerwise.h"
#include "cuda/rnn_persistent.h"
#include "cuda/rnn_steps.h"

namespace deeprnn::cuda {
namespace {

/** Steps that a layer does before the next one may take them: enough that a product has rows, few enough that
 * layers overlap. */
constexpr size_t kDiagonalSteps = 8;

/**
 * What the sweep over the steps takes on rung b, estimated in microseconds: a product and a kernel for the
 * cell a step, each launched and each at least as long as its latency. The figures are the design's and not
 * yet measured (docs/cuda.md, "Cost").
 */
double microsecondsOfSteps(const core::StackSpec& spec, Precision precision, size_t chunk) {
  constexpr double kStepLatency = 9;
  const double flopsPerMicrosecond = precision == Precision::bf16   ? 5e8
                                     : precision == Precision::tf32 ? 2.5e8
                                                                    : 4e7;
  double slowest = 0;
  for (const core::StackLayer& l : spec.layers) {
    const double flops = 2.0 * static_cast<double>(spec.N * l.G * l.H * l.H);
    slowest = std::max(slowest, kStepLatency + flops / flopsPerMicrosecond);
  }
  return static_cast<double>(spec.T + (spec.layers.size() - 1) * chunk) * slowest;
}

/** A persistent stack, of either kind, as a step. */
template <class Stack>
Step persistentStep(std::shared_ptr<Stack> stack, const char* rung, const std::string& why) {
  Step step;
  step.note = std::string(rung) + ", " + stack->describe() + " (" + why + ")";
  step.scratch = stack->scratch();
  step.table = [=](unsigned char* scratch) { return stack->table(scratch); };
  step.run = [=](const RunContext& c, const OpMemory& own) { return stack->run(c, c.scratch, own.table); };
  return step;
}

std::string milliseconds(double microseconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g ms", microseconds / 1000);
  return text;
}

}  // namespace

Status stackStep(const Operands& o, const Session& session, Step* step) {
  const bool backward = o.op().kind == core::OpKind::rnnStackGrad;
  core::StackSpec spec = core::stackSpecOf(o.op());
  core::StackIo io = core::stackIoOf(o, spec, backward);
  const SessionOptions& options = session.options();
  const auto* number = o.in<double>(0);
  std::string why = "forced";
  const char* unfit = nullptr;
  const double bySteps = microsecondsOfSteps(spec, options.precision, std::min(kDiagonalSteps, spec.T));
  // Whether a persistent kernel, of which there is one, shall run; else the reason why not is kept.
  const auto chosen = [&](double microseconds) {
    if (options.forced) return true;
    why = "estimated at " + milliseconds(microseconds) + ", rung b at " + milliseconds(bySteps);
    return microseconds <= bySteps;
  };
  // Where the weights of all layers do not fit, those of one may.
  if (options.rung == Rung::stack) {
    auto stack =
        PersistentStack::plan(spec, io, number, backward, nullptr, options.precision, options.limits, &unfit);
    if (stack && chosen(stack->microseconds())) {
      *step = persistentStep<PersistentStack>(std::move(stack), "rung d: one persistent kernel", why);
      return {};
    }
  }
  if (options.rung == Rung::stack || options.rung == Rung::layer) {
    auto stack = LayerwiseStack::plan(spec, io, number, backward, options.precision, options.limits, &unfit);
    if (stack && chosen(stack->microseconds())) {
      *step = persistentStep<LayerwiseStack>(std::move(stack), "rung c: a persistent kernel a layer", why);
      return {};
    }
    if (!stack) why = unfit;
  }
  // One layer has nothing beside it, and its products are the better the larger they are.
  const bool whole = options.rung == Rung::steps || spec.layers.size() == 1;
  const size_t chunk = whole ? spec.T : std::min(kDiagonalSteps, (spec.T + 1) / 2);
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
