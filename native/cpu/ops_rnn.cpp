// The recurrent stack as plan ops.
#include "cpu/executable.h"

namespace deeprnn::cpu {

using core::Status;

Step stackStep(const Operands& o, const Session& session) {
  const bool backward = o.op().kind == core::OpKind::rnnStackGrad;
  StackSpec spec = core::stackSpecOf(o.op());
  const size_t layers = spec.layers.size();
  StackIo io = core::stackIoOf(o, layers, backward);
  auto stack = std::make_shared<RnnStack>(std::move(spec), session.kernels(), session.threads());
  if (backward) {
    return {[=](const RunContext& c) mutable {
              io.step = *o.in<double>(0);
              stack->backward(io, c.scratch, c.pool);
              return Status();
            },
            stack->backwardScratch()};
  }
  std::vector<size_t> weights;
  for (size_t l = 0; l < layers; ++l) {
    for (size_t i = 0; i < 3; ++i) weights.push_back(3 + 6 * l + i);
  }
  auto kept = std::make_shared<KeptWeights>(o, weights, session, stack->packedFloats());
  if (!kept->allocated()) return {};
  return {[=](const RunContext& c) mutable {
            io.step = *o.in<double>(0);
            float* packed = kept->get([&](float* to) { stack->pack(io, to, c.pool); });
            stack->forward(io, packed, c.scratch, c.pool);
            return Status();
          },
          stack->forwardScratch(io.reserve != nullptr), stack->packedFloats()};
}

}  // namespace deeprnn::cpu
