// Proves the optimizer's step and constraints.
#include <unordered_set>

#include "core/proof.h"

namespace deeprnn::core {
namespace {

/** Which of slots 0 … 2 a rule needs for a parameter of so many axes. */
bool slotNeeded(const Op& op, int slot, size_t axes) {
  const bool momentum = op.floats[1] > 0;
  switch (static_cast<Optimizer>(op.ints[0])) {
    case Optimizer::sgd:
      return slot == 0 && momentum;
    case Optimizer::rmsprop:
      return slot == 0 || (slot == 1 && op.ints[3] == 1) || (slot == 2 && op.floats[2] > 0);
    case Optimizer::adam:
      return slot < 2 || op.ints[3] == 1;
    case Optimizer::adagrad:
    case Optimizer::lion:
      return slot == 0;
    case Optimizer::nadam:
    case Optimizer::adamax:
    case Optimizer::adadelta:
    case Optimizer::ftrl:
      return slot < 2;
    case Optimizer::adafactor:
      return (slot == 2) == (axes < 2);
  }
  return false;
}

/** What a slot looks like: second moments of a matrix [rows, columns] are factored by adafactor. */
Shape slotShape(Optimizer kind, size_t slot, const Shape& parameter) {
  if (kind != Optimizer::adafactor || slot == 2) return parameter;
  return {parameter[slot]};
}

}  // namespace

void proveUpdate(Proof& p) {
  const Op& op = p.op();
  if (!p.demand(op.ints.size() >= 4 && op.floats.size() >= kUpdateFloats, "an optimizer's attributes"))
    return;
  const int32_t kind = op.ints[0], count = op.ints[1], clip = op.ints[2];
  if (!p.demand(kind >= 0 && kind <= 9 && count >= 0 && count < 1 << 20 && clip >= 0 && clip <= 3 &&
                    flag(op.ints[3]),
                "a known optimizer"))
    return;
  const auto n = static_cast<size_t>(count);
  if (!p.arity(1 + kParameterInputs * n, 1, 4, kUpdateFloats + kParameterFloats * n) ||
      !p.must(p.in(0), DType::float64, {8}, "hyper [8]"))
    return;
  p.fits(p.out(0), DType::float64, {count + 1}, "norms [P+1]");
  // Parameters are updated side by side, so none may be written twice.
  std::unordered_set<int64_t> written;
  for (size_t i = 0; i < n; ++i) {
    const size_t at = 1 + kParameterInputs * i;
    const Value *param = p.in(at), *grad = p.in(at + 1);
    if (!p.has(param, DType::real, "a parameter") ||
        !p.demand(param->role == Role::variable, "a variable as parameter"))
      return;
    if (!p.demand(written.insert(param->slot).second, "parameters that differ")) return;
    if (!p.must(grad, DType::real, param->shape, "a gradient like its parameter")) return;
    const double* own = op.floats.data() + kUpdateFloats + kParameterFloats * i;
    if (!p.demand(own[0] >= 0 && own[1] >= 0, "penalties of 0 or more")) return;
    if (!p.demand(own[2] >= 0 && own[3] >= 0, "a weight decay and a factor of the rate of 0 or more")) return;
    const auto rule = static_cast<Optimizer>(kind);
    const size_t axes = param->shape.size();
    const bool factored = rule == Optimizer::adafactor;
    if (!p.demand(!factored || (axes <= 2 && param->elements > 0), "a vector or matrix")) return;
    for (int slot = 0; slot < 3; ++slot) {
      const Value* v = p.in(at + 2 + static_cast<size_t>(slot));
      const bool needed = slotNeeded(op, slot, axes);
      if (!p.demand(v ? needed || !factored : !needed, "the optimizer's slots")) return;
      if (!v) continue;
      if (!p.fits(v, DType::real, slotShape(rule, static_cast<size_t>(slot), param->shape),
                  "a slot like its parameter") ||
          !p.demand(v->role == Role::variable, "a variable as slot"))
        return;
      if (!p.demand(written.insert(v->slot).second, "slots that differ")) return;
    }
    for (size_t other = 5; other < kParameterInputs; ++other) {
      const Value* v = p.in(at + other);
      if (!p.demand(!v == !p.in(1 + other), "sums and averages of all parameters or of none")) return;
      if (!v) continue;
      if (!p.fits(v, DType::real, param->shape, "a sum and an average like their parameter") ||
          !p.demand(v->role == Role::variable, "a variable as sum and as average") ||
          !p.demand(written.insert(v->slot).second, "sums and averages that differ"))
        return;
    }
  }
}

void proveConstraint(Proof& p) {
  if (!p.arity(1, 1, 2, 1)) return;
  const Value* v = p.in(0);
  if (!p.has(v, DType::real, "a parameter")) return;
  p.demand(v->role == Role::variable && p.op().inputs[0] == p.op().outputs[0], "one variable, in place");
  p.demand((v->shape.size() <= 2 || p.op().ints[1] == 0) && p.op().ints[0] >= 0 && p.op().ints[0] <= 2,
           "a known constraint");
  p.demand(p.op().ints[1] >= 0 && (p.op().ints[1] == 0 || p.op().ints[1] < static_cast<int>(v->shape.size())),
           "an axis of the variable");
}

}  // namespace deeprnn::core
