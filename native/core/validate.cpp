// Proves each op's operands against docs/plan.md. What passes here may be trusted by the kernels, so a
// missing line is a memory error.
#include "core/proof.h"

namespace deeprnn::core {
namespace {

void swapAxes(Proof& p) {
  if (!p.arity(1, 1, 0, 0)) return;
  const Value* x = p.in(0);
  if (!p.demand(x && x->shape.size() >= 2, "an array with two axes") || !p.demand(p.out(0), "an output"))
    return;
  Shape swapped = x->shape;
  std::swap(swapped[0], swapped[1]);
  p.must(p.out(0), x->dtype, swapped, "the axes swapped");
}

void check(Proof& p) {
  if (!p.arity(1, 0, 2, 0)) return;
  const Value* x = p.in(0);
  if (p.op().ints[0] == 1) {
    p.has(x, DType::int32, "int32 values");
  } else {
    p.demand(p.op().ints[0] == 0 && x && x->dtype != DType::int32, "real values");
  }
}

void embedding(Proof& p) {
  if (!p.arity(2, 1, 0, 0)) return;
  const Value *ids = p.in(0), *table = p.in(1);
  if (!p.has(ids, DType::int32, "int32 ids") || !p.has(table, DType::real, "a real table")) return;
  if (!p.demand(table->shape.size() == 2 && table->shape[0] > 0, "a table [V, E]")) return;
  p.must(p.out(0), DType::real, with(ids->shape, table->shape[1]), "rows of the table");
}

void embeddingGrad(Proof& p) {
  if (!p.arity(2, 1, 1, 0)) return;
  const Value *ids = p.in(0), *dy = p.in(1);
  if (!p.has(ids, DType::int32, "int32 ids") || !p.has(dy, DType::real, "real gradients")) return;
  if (!p.demand(!dy->shape.empty() && leading(*dy) == ids->shape && p.op().ints[0] > 0, "one gradient an id"))
    return;
  p.must(p.out(0), DType::real, {p.op().ints[0], dy->last()}, "a table's gradient");
}

/** x […, D] with a kernel […, U] of D rows, or [U, D] where it is transposed. Gives U, or −1. */
int64_t denseUnits(Proof& p) {
  const Value *x = p.in(0), *kernel = p.in(1);
  if (!p.demand(flag(p.op().ints[0]), "a switch")) return -1;
  if (!p.has(x, DType::real, "real x") || !p.has(kernel, DType::real, "a real kernel")) return -1;
  const bool transposed = p.op().ints[0] == 1;
  const auto rows = static_cast<int64_t>(kernel->rows()), last = kernel->last();
  const bool axes = transposed ? kernel->shape.size() == 2 : kernel->shape.size() >= 2;
  if (!p.demand(x->shape.size() >= 2 && axes && x->last() == (transposed ? last : rows),
                transposed ? "x […, D], kernel [U, D]" : "x […, D], kernel […, U] with D rows"))
    return -1;
  return transposed ? rows : last;
}

void dense(Proof& p) {
  if (!p.arity(3, 1, 1, 0)) return;
  const int64_t units = denseUnits(p);
  if (units < 0) return;
  p.fits(p.in(2), DType::real, {units}, "bias [U]");
  p.must(p.out(0), DType::real, with(leading(*p.in(0)), units), "y […, U]");
}

void denseGrad(Proof& p) {
  if (!p.arity(3, 3, 1, 0)) return;
  const int64_t units = denseUnits(p);
  if (units < 0) return;
  p.must(p.in(2), DType::real, with(leading(*p.in(0)), units), "dy […, U]");
  p.fits(p.out(0), DType::real, p.in(0)->shape, "dx like x");
  p.fits(p.out(1), DType::real, p.in(1)->shape, "dKernel like the kernel");
  p.fits(p.out(2), DType::real, {units}, "dBias [U]");
}

bool activationKind(Proof& p) {
  return p.demand(p.op().ints[0] >= 0 && p.op().ints[0] <= kLastActivation, "a known activation");
}

void activation(Proof& p) {
  if (!p.arity(1, 1, 1, 1) || !activationKind(p)) return;
  const Value* x = p.in(0);
  if (!p.has(x, DType::real, "real x") || !p.demand(!x->shape.empty(), "at least one axis")) return;
  p.must(p.out(0), DType::real, x->shape, "y like x");
}

void activationGrad(Proof& p) {
  if (!p.arity(3, 1, 1, 1) || !activationKind(p)) return;
  const bool fromInput = derivativeFromInput(static_cast<Activation>(p.op().ints[0]));
  const Value *from = p.in(fromInput ? 0 : 1), *dy = p.in(2);
  if (!p.has(from, DType::real, "x or y") || !p.has(dy, DType::real, "dy")) return;
  if (!p.demand(from->shape == dy->shape && !dy->shape.empty(), "equal shapes")) return;
  p.must(p.out(0), DType::real, dy->shape, "dx like dy");
}

void dropout(Proof& p) {
  if (!p.arity(2, 1, 4, 1)) return;
  const Value* x = p.in(0);
  if (!p.has(x, DType::real, "real x") || !p.must(p.in(1), DType::float64, {1}, "float64 step [1]")) return;
  p.demand(flag(p.op().ints[0]) && rate(p.op().floats[0]), "a mode and a rate");
  p.demand(p.op().ints[0] == 0 || x->shape.size() == 3, "x [T, N, D]");
  p.must(p.out(0), DType::real, x->shape, "y like x");
}

void lengthMask(Proof& p) {
  if (!p.arity(1, 1, 0, 0)) return;
  const Value *lengths = p.in(0), *valid = p.out(0);
  if (!p.has(lengths, DType::int32, "int32 lengths") || !p.has(valid, DType::int32, "int32 valid")) return;
  p.demand(lengths->shape.size() == 1 && valid->shape.size() == 2 && valid->shape[1] == lengths->shape[0],
           "lengths [N], valid [T, N]");
}

void noise(Proof& p) {
  if (!p.arity(2, 1, 3, 2)) return;
  const Value* x = p.in(0);
  if (!p.has(x, DType::real, "real x") || !p.must(p.in(1), DType::float64, {1}, "float64 step [1]")) return;
  p.demand(p.op().floats[0] >= 0 && p.op().floats[1] >= 0, "a standard deviation that does not grow");
  p.must(p.out(0), DType::real, x->shape, "y like x");
}

void stepMask(Proof& p) {
  if (!p.arity(1, 1, 0, 1)) return;
  const Value* x = p.in(0);
  if (!p.demand(x && ((x->dtype == DType::int32 && x->shape.size() == 2) ||
                      (x->dtype == DType::real && x->shape.size() == 3)),
                "real x [T, N, D] or int32 x [T, N]"))
    return;
  p.must(p.out(0), DType::int32, {x->shape[0], x->shape[1]}, "valid [T, N]");
}

void maskRows(Proof& p) {
  if (!p.arity(2, 1, 0, 0)) return;
  const Value* x = p.in(0);
  if (!p.has(x, DType::real, "real x") || !p.demand(x->shape.size() == 3, "x [T, N, D]")) return;
  p.must(p.in(1), DType::int32, leading(*x), "valid [T, N]");
  p.must(p.out(0), DType::real, x->shape, "y like x");
}

void maskWeights(Proof& p) {
  if (!p.arity(2, 1, 1, 0)) return;
  const Value* valid = p.in(0);
  if (!p.has(valid, DType::int32, "int32 valid") ||
      !p.demand(valid->shape.size() == 2 && flag(p.op().ints[0]), "valid [T, N] and a switch"))
    return;
  p.fits(p.in(1), DType::real, valid->shape, "weights like valid");
  p.must(p.out(0), DType::real, valid->shape, "y like valid");
}

void eitherMask(Proof& p) {
  if (!p.arity(2, 1, 0, 0)) return;
  const Value* a = p.in(0);
  if (!p.has(a, DType::int32, "int32 masks") || !p.demand(a->shape.size() == 2, "masks [T, N]")) return;
  p.must(p.in(1), DType::int32, a->shape, "masks of one shape");
  p.must(p.out(0), DType::int32, a->shape, "a mask like them");
}

void reverseTime(Proof& p) {
  if (!p.arity(1, 1, 0, 0)) return;
  const Value* x = p.in(0);
  if (p.demand(x && x->shape.size() >= 2, "x [T, N, …]")) p.must(p.out(0), x->dtype, x->shape, "y like x");
}

void penalty(Proof& p) {
  if (!p.arity(1, 1, 0, 3)) return;
  if (!p.has(p.in(0), DType::real, "real x")) return;
  if (p.op().kind == OpKind::penalty) {
    p.must(p.out(0), DType::float64, {1}, "float64 [1]");
  } else {
    p.must(p.out(0), DType::real, p.in(0)->shape, "dx like x");
  }
}

}  // namespace

Status validateOp(const Plan& plan, const Op& op, int index) {
  Proof p(plan, op, index);
  const bool inPlace = op.kind == OpKind::assign || op.kind == OpKind::constraint;
  if (!p.writable(inPlace) || (!inPlace && !p.disjointOutputs())) return p.status();
  switch (op.kind) {
    case OpKind::batchToTime:
    case OpKind::timeToBatch:
      swapAxes(p);
      break;
    case OpKind::check:
      check(p);
      break;
    case OpKind::assign:
      if (p.arity(1, 1, 0, 0) && p.demand(p.in(0) && p.out(0), "two arrays"))
        p.must(p.out(0), p.in(0)->dtype, p.in(0)->shape, "equal arrays");
      break;
    case OpKind::add:
      if (p.arity(2, 1, 0, 0) && p.has(p.in(0), DType::real, "real a")) {
        p.must(p.in(1), DType::real, p.in(0)->shape, "b like a");
        p.must(p.out(0), DType::real, p.in(0)->shape, "y like a");
      }
      break;
    case OpKind::broadcastRows:
      if (p.arity(1, 1, 0, 0) && p.has(p.in(0), DType::real, "real x") &&
          p.has(p.out(0), DType::real, "real y")) {
        p.demand(p.in(0)->shape.size() == 1 && p.out(0)->shape.size() == 2 &&
                     p.out(0)->shape[1] == p.in(0)->shape[0],
                 "x [D], y [N, D]");
      }
      break;
    case OpKind::sumRows:
      if (p.arity(1, 1, 0, 0) && p.has(p.in(0), DType::real, "real x") &&
          p.demand(p.in(0)->shape.size() >= 2, "rows")) {
        p.must(p.out(0), DType::real, {p.in(0)->last()}, "y [D]");
      }
      break;
    case OpKind::sumScalars:
      p.demand(!op.inputs.empty() && op.outputs.size() == 1 && op.ints.empty() &&
                   (op.floats.empty() || op.floats.size() == op.inputs.size()),
               "scalars");
      for (size_t i = 0; i < op.inputs.size(); ++i) p.must(p.in(i), DType::float64, {1}, "float64 [1]");
      p.must(p.out(0), DType::float64, {1}, "float64 [1]");
      break;
    case OpKind::lengthMask:
      lengthMask(p);
      break;
    case OpKind::stepMask:
      stepMask(p);
      break;
    case OpKind::maskRows:
      maskRows(p);
      break;
    case OpKind::maskWeights:
      maskWeights(p);
      break;
    case OpKind::reverseTime:
      reverseTime(p);
      break;
    case OpKind::embedding:
      embedding(p);
      break;
    case OpKind::embeddingGrad:
      embeddingGrad(p);
      break;
    case OpKind::dense:
      dense(p);
      break;
    case OpKind::denseGrad:
      denseGrad(p);
      break;
    case OpKind::activation:
      activation(p);
      break;
    case OpKind::activationGrad:
      activationGrad(p);
      break;
    case OpKind::dropout:
      dropout(p);
      break;
    case OpKind::penalty:
    case OpKind::penaltyGrad:
      penalty(p);
      break;
    case OpKind::concat:
      proveConcat(p);
      break;
    case OpKind::slice:
      proveSlice(p);
      break;
    case OpKind::multiply:
      proveMultiply(p);
      break;
    case OpKind::scale:
      proveScale(p);
      break;
    case OpKind::reshape:
      proveReshape(p);
      break;
    case OpKind::transpose:
      proveTranspose(p);
      break;
    case OpKind::layerNorm:
    case OpKind::layerNormGrad:
      proveLayerNorm(p);
      break;
    case OpKind::noise:
      noise(p);
      break;
    case OpKind::unfold:
    case OpKind::fold:
      proveUnfold(p);
      break;
    case OpKind::pool:
    case OpKind::poolGrad:
      provePool(p);
      break;
    case OpKind::program:
      proveProgram(p);
      break;
    case OpKind::extremum:
    case OpKind::extremumGrad:
      proveExtremum(p);
      break;
    case OpKind::eitherMask:
      eitherMask(p);
      break;
    case OpKind::matmul:
      proveMatmul(p);
      break;
    case OpKind::normalizeRows:
    case OpKind::normalizeRowsGrad:
      proveNormalizeRows(p);
      break;
    case OpKind::batchNorm:
    case OpKind::batchNormGrad:
      proveBatchNorm(p);
      break;
    case OpKind::rnnStack:
      proveStack(p);
      break;
    case OpKind::rnnStackGrad:
      proveStackGrad(p);
      break;
    case OpKind::loss:
    case OpKind::lossGrad:
      proveLoss(p);
      break;
    case OpKind::metric:
      proveMetric(p);
      break;
    case OpKind::update:
      proveUpdate(p);
      break;
    case OpKind::constraint:
      proveConstraint(p);
      break;
  }
  return p.status();
}

}  // namespace deeprnn::core
