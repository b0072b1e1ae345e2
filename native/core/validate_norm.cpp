// Proves layerNorm and batchNorm and their gradients.
#include "core/proof.h"

namespace deeprnn::core {

void proveLayerNorm(Proof& p) {
  const bool grad = p.op().kind == OpKind::layerNormGrad;
  if (!p.arity(3, grad ? 3 : 1, 0, 1)) return;
  const Value* x = p.in(0);
  if (!p.has(x, DType::real, "real x") || !p.demand(x->shape.size() >= 2, "x […, D]")) return;
  p.demand(p.op().floats[0] >= 0, "an epsilon");
  p.fits(p.in(1), DType::real, {x->last()}, "gamma [D]");
  if (grad) {
    p.must(p.in(2), DType::real, x->shape, "dy like x");
    p.fits(p.out(0), DType::real, x->shape, "dx like x");
    p.fits(p.out(1), DType::real, {x->last()}, "dGamma [D]");
    p.fits(p.out(2), DType::real, {x->last()}, "dBeta [D]");
  } else {
    p.fits(p.in(2), DType::real, {x->last()}, "beta [D]");
    p.must(p.out(0), DType::real, x->shape, "y like x");
  }
}

void proveBatchNorm(Proof& p) {
  const bool grad = p.op().kind == OpKind::batchNormGrad;
  if (!p.arity(6, 3, 1, 2)) return;
  const Value* x = p.in(0);
  if (!p.has(x, DType::real, "real x") || !p.demand(x->shape.size() >= 2, "x […, D]")) return;
  const std::vector<double>& floats = p.op().floats;
  p.demand(flag(p.op().ints[0]) && floats[0] >= 0 && floats[1] >= 0 && floats[1] <= 1,
           "a switch, an epsilon and a momentum");
  const Shape vector = {x->last()};
  p.fits(p.in(1), DType::int32, leading(*x), "valid of x's rows");
  p.fits(p.in(2), DType::real, vector, "gamma [D]");
  p.must(p.in(grad ? 3 : 4), DType::real, vector, "the moving mean [D]");
  p.must(p.in(grad ? 4 : 5), DType::real, vector, "the moving variance [D]");
  if (grad) {
    p.must(p.in(5), DType::real, x->shape, "dy like x");
    p.fits(p.out(0), DType::real, x->shape, "dx like x");
  } else {
    p.fits(p.in(3), DType::real, vector, "beta [D]");
    p.must(p.out(0), DType::real, x->shape, "y like x");
  }
  p.fits(p.out(1), DType::real, vector, "a vector [D]");
  p.fits(p.out(2), DType::real, vector, "a vector [D]");
}

}  // namespace deeprnn::core
