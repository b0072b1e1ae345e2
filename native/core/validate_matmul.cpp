// Proves products of matrices and normalized rows.
#include "core/proof.h"

namespace deeprnn::core {

void proveMatmul(Proof& p) {
  if (!p.arity(2, 1, 2, 0)) return;
  const Value *a = p.in(0), *b = p.in(1);
  if (!p.has(a, DType::real, "real a") || !p.has(b, DType::real, "real b")) return;
  const int32_t turnA = p.op().ints[0], turnB = p.op().ints[1];
  if (!p.demand(flag(turnA) && flag(turnB), "two switches") ||
      !p.demand(a->shape.size() == 3 && b->shape.size() == 3 && a->shape[0] == b->shape[0],
                "as many matrices a as b"))
    return;
  const int64_t rows = a->shape[turnA ? 2 : 1], depth = a->shape[turnA ? 1 : 2];
  p.demand(depth == b->shape[turnB ? 2 : 1], "matrices that can be multiplied");
  p.must(p.out(0), DType::real, {a->shape[0], rows, b->shape[turnB ? 1 : 2]}, "their products");
}

void proveNormalizeRows(Proof& p) {
  const bool grad = p.op().kind == OpKind::normalizeRowsGrad;
  if (!p.arity(grad ? 2 : 1, 1, 0, 1)) return;
  const Value* x = p.in(0);
  if (!p.has(x, DType::real, "real x") || !p.demand(x->shape.size() >= 2, "x […, D]")) return;
  p.demand(p.op().floats[0] > 0, "an epsilon");
  if (grad) p.must(p.in(1), DType::real, x->shape, "dy like x");
  p.must(p.out(0), DType::real, x->shape, "y like x");
}

}  // namespace deeprnn::core
