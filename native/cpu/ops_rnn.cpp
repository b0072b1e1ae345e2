// The recurrent stack as plan ops.
#include "cpu/executable.h"

namespace deeprnn::cpu {

using core::Status;

Step stackStep(const Operands& o, const KernelTable& k, int threads) {
  const bool backward = o.op().kind == core::OpKind::rnnStackGrad;
  StackSpec spec = core::stackSpecOf(o.op());
  StackIo io = core::stackIoOf(o, spec.layers.size(), backward);
  auto stack = std::make_shared<RnnStack>(std::move(spec), k, threads);
  const size_t scratch = backward ? stack->backwardScratch() : stack->forwardScratch(io.reserve != nullptr);
  return {[=](const RunContext& c) mutable {
            io.step = *o.in<double>(0);
            if (backward) {
              stack->backward(io, c.scratch, c.pool);
            } else {
              stack->forward(io, c.scratch, c.pool);
            }
            return Status();
          },
          scratch};
}

}  // namespace deeprnn::cpu
