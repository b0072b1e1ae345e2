// Proves the ops on windows over the steps of a sequence.
#include "core/proof.h"
#include "core/windows.h"

namespace deeprnn::core {
namespace {

bool sequence(Proof& p, const Value* x, const char* what) {
  return p.has(x, DType::real, what) && p.demand(x->shape.size() == 3, what);
}

/** Each of `count` windows begins in the padded sequence: no index can overflow. */
bool begin(Proof& p, const Windows& w, int64_t count, int64_t steps) {
  return p.demand(w.size >= 1 && w.stride >= 1 && w.dilation >= 1 && w.before >= 0, "windows of some size") &&
         p.demand(count - 1 <= (steps + w.before - 1) / w.stride, "windows that begin in the sequence");
}

}  // namespace

void proveUnfold(Proof& p) {
  if (!p.arity(1, 1, 4, 0)) return;
  const bool folds = p.op().kind == OpKind::fold;
  const Value *steps = folds ? p.out(0) : p.in(0), *windows = folds ? p.in(0) : p.out(0);
  if (!sequence(p, steps, "steps [T, N, D]") || !sequence(p, windows, "windows [W, N, size*D]")) return;
  const Windows w = Windows::ofFold(p.op().ints);
  if (!begin(p, w, windows->shape[0], steps->shape[0])) return;
  p.demand(w.size <= kMaxElements / (steps->last() + 1) && windows->last() == w.size * steps->last() &&
               windows->shape[1] == steps->shape[1],
           "windows [W, N, size*D]");
}

void provePool(Proof& p) {
  const bool grad = p.op().kind == OpKind::poolGrad;
  if (!p.arity(grad ? 3 : 2, 1, 4, 0)) return;
  const Value *x = p.in(0), *y = grad ? p.in(2) : p.out(0);
  if (!sequence(p, x, "x [T, N, D]") || !sequence(p, y, "windows [W, N, D]")) return;
  p.fits(p.in(1), DType::int32, leading(*x), "valid [T, N]");
  p.demand(flag(p.op().ints[0]), "a known kind");
  begin(p, Windows::ofPool(p.op().ints), y->shape[0], x->shape[0]);
  p.demand(y->shape[1] == x->shape[1] && y->last() == x->last(), "windows [W, N, D]");
  if (grad) p.must(p.out(0), DType::real, x->shape, "dx like x");
}

}  // namespace deeprnn::core
