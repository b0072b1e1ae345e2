// Proves the ops that put arrays together or take them apart.
#include "core/proof.h"

namespace deeprnn::core {

void proveConcat(Proof& p) {
  const Op& op = p.op();
  if (!p.demand(!op.inputs.empty() && op.outputs.size() == 1 && op.ints.empty() && op.floats.empty(),
                "inputs and one output"))
    return;
  const Value* first = p.in(0);
  int64_t width = 0;
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    const Value* x = p.in(i);
    if (!p.has(x, DType::real, "real inputs") ||
        !p.demand(x->shape.size() >= 2 && leading(*x) == leading(*first), "inputs with equal rows"))
      return;
    width += x->last();
    if (!p.demand(width <= kMaxElements, "fewer columns")) return;
  }
  p.must(p.out(0), DType::real, with(leading(*first), width), "all columns side by side");
}

void proveSlice(Proof& p) {
  if (!p.arity(1, 1, 1, 0)) return;
  const Value *x = p.in(0), *y = p.out(0);
  if (!p.has(x, DType::real, "real x") || !p.has(y, DType::real, "real y") ||
      !p.demand(x->shape.size() >= 2 && y->shape.size() >= 2 && leading(*x) == leading(*y), "equal rows"))
    return;
  const int64_t first = p.op().ints[0];
  p.demand(first >= 0 && y->last() >= 1 && first + y->last() <= x->last(), "columns of x");
}

void proveMultiply(Proof& p) {
  if (!p.arity(2, 1, 0, 0) || !p.has(p.in(0), DType::real, "real a")) return;
  p.must(p.in(1), DType::real, p.in(0)->shape, "b like a");
  p.must(p.out(0), DType::real, p.in(0)->shape, "y like a");
}

void proveExtremum(Proof& p) {
  const bool grad = p.op().kind == OpKind::extremumGrad;
  if (!p.arity(grad ? 3 : 2, grad ? 2 : 1, 1, 0) || !p.has(p.in(0), DType::real, "real a")) return;
  const Shape& shape = p.in(0)->shape;
  p.demand(flag(p.op().ints[0]), "a known kind");
  p.must(p.in(1), DType::real, shape, "b like a");
  if (grad) {
    p.must(p.in(2), DType::real, shape, "dy like a");
    p.fits(p.out(0), DType::real, shape, "da like a");
    p.fits(p.out(1), DType::real, shape, "db like a");
  } else {
    p.must(p.out(0), DType::real, shape, "y like a");
  }
}

void proveScale(Proof& p) {
  if (!p.arity(1, 1, 0, 1) || !p.has(p.in(0), DType::real, "real x")) return;
  p.must(p.out(0), DType::real, p.in(0)->shape, "y like x");
}

}  // namespace deeprnn::core
