// Proves the ops that give an array another shape.
#include "core/proof.h"

namespace deeprnn::core {

void proveReshape(Proof& p) {
  if (!p.arity(1, 1, 0, 0) || !p.has(p.in(0), DType::real, "real x") ||
      !p.has(p.out(0), DType::real, "real y"))
    return;
  p.demand(p.in(0)->elements == p.out(0)->elements, "as many elements");
}

void proveTranspose(Proof& p) {
  const Value* x = p.in(0);
  if (!p.has(x, DType::real, "real x") || !p.arity(1, 1, x->shape.size(), 0)) return;
  Shape shape;
  std::vector<bool> seen(x->shape.size(), false);
  for (int32_t axis : p.op().ints) {
    const auto i = static_cast<size_t>(axis);
    if (!p.demand(axis >= 0 && i < seen.size() && !seen[i], "each axis once")) return;
    seen[i] = true;
    shape.push_back(x->shape[i]);
  }
  p.must(p.out(0), DType::real, shape, "the axes of x in their new order");
}

}  // namespace deeprnn::core
