// The recurrent stack as plan ops.
#include "cpu/executable.h"

namespace deeprnn::cpu {

using core::Status;

namespace {

/**
 * The weights of a stack as its forward passes read them. A stack that is cut into segments of steps has them
 * in many ops, which share one copy. `made`: whether this is the first.
 */
std::shared_ptr<KeptWeights> keptWeights(const Operands& o, const StackSpec& spec, const Session& session,
                                         size_t floats, bool* made) {
  std::vector<size_t> weights, form;
  bool variables = true;
  for (size_t l = 0; l < spec.layers.size(); ++l) {
    const StackLayer& layer = spec.layers[l];
    form.insert(form.end(), {static_cast<size_t>(layer.cell), layer.D, layer.H, layer.G, layer.resetAfter});
    for (size_t i = 3 + 6 * l; i < 6 + 6 * l; ++i) {
      weights.push_back(i);
      const bool absent = o.op().inputs[i] == core::kAbsent;
      variables = variables && (absent || o.inValue(i).role == core::Role::variable);
      form.push_back(absent ? SIZE_MAX : static_cast<size_t>(o.inValue(i).slot));
    }
  }
  std::shared_ptr<KeptWeights> kept = variables ? session.kept(form).lock() : nullptr;
  *made = !kept;
  if (!kept) kept = std::make_shared<KeptWeights>(o, weights, session, floats);
  if (variables && kept->allocated()) session.kept(form) = kept;
  return kept;
}

}  // namespace

Step stackStep(const Operands& o, const Session& session) {
  const bool backward = o.op().kind == core::OpKind::rnnStackGrad;
  StackSpec spec = core::stackSpecOf(o.op());
  StackIo io = core::stackIoOf(o, spec, backward);
  auto stack = std::make_shared<RnnStack>(std::move(spec), session.kernels(), session.threads());
  if (backward) {
    return {[=](const RunContext& c) mutable {
              io.step = *o.in<double>(0);
              stack->backward(io, c.scratch, c.pool);
              return Status();
            },
            stack->backwardScratch()};
  }
  const size_t floats = stack->packedFloats();
  bool made = false;
  const std::shared_ptr<KeptWeights> kept = keptWeights(o, stack->spec(), session, floats, &made);
  if (!kept->allocated()) return {};
  return {[=](const RunContext& c) mutable {
            io.step = *o.in<double>(0);
            float* packed = kept->get([&](float* to) { stack->pack(io, to, c.pool); });
            stack->forward(io, packed, c.scratch, c.pool);
            return Status();
          },
          stack->forwardScratch(io.reserve != nullptr), made ? floats : 0};
}

}  // namespace deeprnn::cpu
