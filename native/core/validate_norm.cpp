// Proves layerNorm and its gradient.
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

}  // namespace deeprnn::core
