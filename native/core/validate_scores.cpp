// Proves losses and metrics.
#include "core/proof.h"

namespace deeprnn::core {
namespace {

/** Predictions, targets and weights; gives the number of classes, or 0. */
int64_t scored(Proof& p, bool sparse) {
  const Value *pred = p.in(0), *target = p.in(1);
  if (!p.has(pred, DType::real, "real predictions") ||
      !p.demand(pred->shape.size() >= 2 && pred->elements > 0, "predictions […, C]"))
    return 0;
  const Shape rows = leading(*pred);
  if (sparse ? !p.must(target, DType::int32, rows, "int32 targets")
             : !p.must(target, DType::real, pred->shape, "real targets"))
    return 0;
  if (!p.fits(p.in(2), DType::real, rows, "weights a row")) return 0;
  return pred->last();
}

}  // namespace

void proveLoss(Proof& p) {
  if (!p.arity(3, 1, 2, 4)) return;
  const int32_t kind = p.op().ints[0];
  if (!p.demand(kind >= 0 && kind <= 17 && flag(p.op().ints[1]), "a known loss")) return;
  if (scored(p, kind == 1) == 0) return;
  if (p.op().kind == OpKind::loss) {
    p.must(p.out(0), DType::float64, {1}, "float64 [1]");
  } else {
    p.must(p.out(0), DType::real, p.in(0)->shape, "dPred like the predictions");
  }
}

void proveMetric(Proof& p) {
  const Op& op = p.op();
  if (!p.demand(op.inputs.size() == 3 && op.outputs.size() == 1 && op.ints.size() >= 2,
                "a metric's operands"))
    return;
  const int32_t kind = op.ints[0];
  const bool sparse = op.ints[1] == 1;
  if (!p.demand(kind >= 0 && kind <= 9 && flag(op.ints[1]), "a known metric")) return;
  const int64_t classes = scored(p, sparse);
  if (classes == 0) return;
  const auto attributes = [&](size_t ints, size_t floats) {
    return p.demand(op.ints.size() == 2 + ints && op.floats.size() == floats, "other attributes");
  };
  Shape sums = {2};
  bool sparseToo = false;
  switch (static_cast<Metric>(kind)) {
    case Metric::binaryAccuracy:
      if (!attributes(0, 1)) return;
      break;
    case Metric::categoricalAccuracy:
      sparseToo = true;
      if (!attributes(0, 0)) return;
      break;
    case Metric::topK:
      sparseToo = true;
      if (!attributes(1, 0) || !p.demand(op.ints[2] >= 1, "k of 1 or more")) return;
      break;
    case Metric::squaredError:
    case Metric::absoluteError:
    case Metric::value:
      if (!attributes(0, 0)) return;
      break;
    case Metric::r2:
      if (!attributes(0, 0)) return;
      sums = {classes, 4};
      break;
    case Metric::confusion: {
      sparseToo = true;
      if (!p.demand(op.ints.size() == 4 && flag(op.ints[2]) && op.ints[3] >= 0, "thresholds")) return;
      if (!attributes(2, static_cast<size_t>(op.ints[3])) ||
          !p.demand((op.ints[2] == 1) == (op.ints[3] == 0), "thresholds or argmax"))
        return;
      sums = {op.ints[3] > 0 ? op.ints[3] : 1, classes, 4};
      break;
    }
    case Metric::histogram:
      if (!attributes(1, 0) || !p.demand(op.ints[2] >= 2, "two bins or more")) return;
      sums = {2, op.ints[2]};
      break;
    case Metric::crossentropy:
      sparseToo = true;
      if (!attributes(1, 0) || !p.demand(flag(op.ints[2]), "a switch")) return;
      break;
  }
  p.demand(!sparse || sparseToo, "dense targets");
  p.must(p.out(0), DType::float64, sums, "sums of the metric's size");
}

}  // namespace deeprnn::core
