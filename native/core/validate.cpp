// Proves each op's operands against docs/plan.md. What passes here may be trusted by the kernels, so a
// missing line is a memory error.
#include <string>

#include "core/plan.h"

namespace deeprnn::core {
namespace {

using Shape = std::vector<int64_t>;

/** One op under proof; the first failed demand is kept. */
class Proof {
 public:
  Proof(const Plan& plan, const Op& op, int index) : plan_(plan), op_(op), index_(index) {}

  const Value* in(size_t i) const { return at(op_.input(i)); }
  const Value* out(size_t i) const { return at(op_.output(i)); }
  const Op& op() const { return op_; }

  bool demand(bool condition, const char* what) {
    if (!condition && status_.ok()) {
      status_ = Status::error(Code::badPlan, "bad plan: op " + std::to_string(index_) + " (code " +
                                                 std::to_string(static_cast<int>(op_.kind)) + "): expected " +
                                                 what + ".");
    }
    return status_.ok();
  }

  /** Numbers of operands and attributes. */
  bool arity(size_t ins, size_t outs, size_t ints, size_t floats) {
    return demand(op_.inputs.size() == ins && op_.outputs.size() == outs, "another number of operands") &&
           demand(op_.ints.size() == ints && op_.floats.size() == floats, "other attributes");
  }

  /** The value is there and has this dtype. */
  bool has(const Value* v, DType dtype, const char* what) { return demand(v && v->dtype == dtype, what); }
  /** If the value is there, it has this dtype and shape. */
  bool fits(const Value* v, DType dtype, const Shape& shape, const char* what) {
    return demand(!v || (v->dtype == dtype && v->shape == shape), what);
  }
  bool must(const Value* v, DType dtype, const Shape& shape, const char* what) {
    return has(v, dtype, what) && fits(v, dtype, shape, what);
  }

  /** Outputs are never inputs of the engine's caller, and variables only where the op may write them. */
  bool writable(bool variables) {
    for (int id : op_.outputs) {
      const Value* v = at(id);
      if (!v) continue;
      if (!demand(v->role != Role::input, "an output that may be written")) return false;
      if (!demand(variables || v->role != Role::variable, "no variable as output")) return false;
    }
    return true;
  }

  Status status() const { return status_; }

 private:
  const Value* at(int id) const { return id == kAbsent ? nullptr : &plan_.values[static_cast<size_t>(id)]; }

  const Plan& plan_;
  const Op& op_;
  int index_;
  Status status_;
};

Shape leading(const Value& v) {
  return Shape(v.shape.begin(), v.shape.end() - 1);
}
Shape with(Shape shape, int64_t last) {
  shape.push_back(last);
  return shape;
}
bool flag(int32_t v) {
  return v == 0 || v == 1;
}
bool rate(double r) {
  return r >= 0 && r < 1;
}

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

void dense(Proof& p) {
  if (!p.arity(3, 1, 0, 0)) return;
  const Value *x = p.in(0), *kernel = p.in(1);
  if (!p.has(x, DType::real, "real x") || !p.has(kernel, DType::real, "a real kernel")) return;
  if (!p.demand(x->shape.size() >= 2 && kernel->shape.size() == 2 && x->last() == kernel->shape[0],
                "x […, D], kernel [D, U]"))
    return;
  p.fits(p.in(2), DType::real, {kernel->shape[1]}, "bias [U]");
  p.must(p.out(0), DType::real, with(leading(*x), kernel->shape[1]), "y […, U]");
}

void denseGrad(Proof& p) {
  if (!p.arity(3, 3, 0, 0)) return;
  const Value *x = p.in(0), *kernel = p.in(1);
  if (!p.has(x, DType::real, "real x") || !p.has(kernel, DType::real, "a real kernel")) return;
  if (!p.demand(x->shape.size() >= 2 && kernel->shape.size() == 2 && x->last() == kernel->shape[0],
                "x […, D], kernel [D, U]"))
    return;
  p.must(p.in(2), DType::real, with(leading(*x), kernel->shape[1]), "dy […, U]");
  p.fits(p.out(0), DType::real, x->shape, "dx like x");
  p.fits(p.out(1), DType::real, kernel->shape, "dKernel like the kernel");
  p.fits(p.out(2), DType::real, {kernel->shape[1]}, "dBias [U]");
}

bool activationKind(Proof& p) {
  return p.demand(p.op().ints[0] >= 0 && p.op().ints[0] <= 18, "a known activation");
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

void penalty(Proof& p) {
  if (!p.arity(1, 1, 0, 3)) return;
  if (!p.has(p.in(0), DType::real, "real x")) return;
  if (p.op().kind == OpKind::penalty) {
    p.must(p.out(0), DType::float64, {1}, "float64 [1]");
  } else {
    p.must(p.out(0), DType::real, p.in(0)->shape, "dx like x");
  }
}

/** Attributes of a stack, and the operands both of its ops share. `stride` inputs per layer from `first` on.
 */
bool stack(Proof& p, size_t inputsFirst, size_t inputsPerLayer, size_t outputsFirst, size_t outputsPerLayer) {
  const Op& op = p.op();
  if (!p.demand(op.ints.size() >= 8, "stack attributes")) return false;
  const int64_t layers = op.ints[0], steps = op.ints[1], batch = op.ints[2];
  if (!p.demand(layers >= 1 && layers <= 4096 && steps >= 1 && batch >= 1 && op.ints[3] >= 1,
                "positive sizes"))
    return false;
  const auto count = static_cast<size_t>(layers);
  if (!p.arity(inputsFirst + inputsPerLayer * count, outputsFirst + outputsPerLayer * count, 8 + 10 * count,
               4 * count))
    return false;
  if (!p.demand(flag(op.ints[4]) && flag(op.ints[5]), "switches")) return false;
  if (!p.must(p.in(0), DType::float64, {1}, "float64 step [1]")) return false;
  if (!p.must(p.in(1), DType::real, {steps, batch, op.ints[3]}, "x [T, N, D]")) return false;
  int64_t width = op.ints[3];
  for (size_t l = 0; l < count; ++l) {
    const int32_t* a = op.ints.data() + 8 + 10 * l;
    const double* f = op.floats.data() + 4 * l;
    if (!p.demand(a[0] >= 0 && a[0] <= 2 && a[1] >= 1 && flag(a[4]) && flag(a[5]) && flag(a[6]),
                  "a layer's attributes"))
      return false;
    for (int i : {2, 3}) {
      const bool elementwise = a[i] >= 0 && a[i] <= 18 && a[i] != static_cast<int>(Activation::softmax) &&
                               a[i] != static_cast<int>(Activation::logSoftmax);
      if (!p.demand(elementwise, "elementwise activations")) return false;
    }
    if (!p.demand(rate(f[2]) && rate(f[3]), "dropout rates")) return false;
    const Cell cell = static_cast<Cell>(a[0]);
    const int64_t units = a[1], gates = gateCount(cell) * units;
    const size_t i = inputsFirst + inputsPerLayer * l;
    const Shape bias = cell == Cell::gru && a[4] ? Shape{2, gates} : Shape{gates};
    if (!p.must(p.in(i), DType::real, {width, gates}, "a layer's kernel")) return false;
    if (!p.must(p.in(i + 1), DType::real, {units, gates}, "a layer's recurrentKernel")) return false;
    if (!p.demand((p.in(i + 2) != nullptr) == (a[5] == 1), "a bias where it is used")) return false;
    if (!p.fits(p.in(i + 2), DType::real, bias, "a layer's bias")) return false;
    if (!p.fits(p.in(i + 3), DType::real, {batch, units}, "h0 [N, H]")) return false;
    if (!p.fits(p.in(i + 4), DType::real, {batch, units}, "c0 [N, H]")) return false;
    if (!p.demand(cell == Cell::lstm || !p.in(i + 4), "no c0 but for an LSTM")) return false;
    width = units;
  }
  return true;
}

int64_t reserveSize(const Op& op) {
  int64_t total = 0;
  for (int32_t l = 0; l < op.ints[0]; ++l) {
    const int32_t* a = op.ints.data() + 8 + 10 * l;
    total += int64_t{op.ints[1]} * op.ints[2] * a[1] * reservePerUnit(static_cast<Cell>(a[0]));
  }
  return total;
}

Shape layerOutput(const Op& op, size_t l) {
  const int64_t steps = op.ints[1], batch = op.ints[2], units = op.ints[8 + 10 * l + 1];
  const bool last = l + 1 == static_cast<size_t>(op.ints[0]);
  return last && op.ints[4] == 0 ? Shape{batch, units} : Shape{steps, batch, units};
}

void rnnStack(Proof& p) {
  if (!stack(p, 2, 5, 1, 3)) return;
  const Op& op = p.op();
  if (!p.fits(p.out(0), DType::real, {reserveSize(op)}, "the reserve")) return;
  for (size_t l = 0; l < static_cast<size_t>(op.ints[0]); ++l) {
    const Shape state = {op.ints[2], op.ints[8 + 10 * l + 1]};
    p.fits(p.out(1 + 3 * l), DType::real, layerOutput(op, l), "y of a layer");
    p.fits(p.out(2 + 3 * l), DType::real, state, "hT [N, H]");
    p.fits(p.out(3 + 3 * l), DType::real, state, "cT [N, H]");
    p.demand(static_cast<Cell>(op.ints[8 + 10 * l]) == Cell::lstm || !p.out(3 + 3 * l),
             "no cT but for an LSTM");
  }
}

void rnnStackGrad(Proof& p) {
  if (!stack(p, 3, 8, 2, 5)) return;
  const Op& op = p.op();
  if (!p.must(p.in(2), DType::real, {reserveSize(op)}, "the reserve")) return;
  p.fits(p.out(0), DType::real, p.in(1)->shape, "dx like x");
  p.fits(p.out(1), DType::float64, {op.ints[0], op.ints[1]}, "stepNorms [L, T]");
  for (size_t l = 0; l < static_cast<size_t>(op.ints[0]); ++l) {
    const size_t i = 3 + 8 * l, o = 2 + 5 * l;
    const Shape state = {op.ints[2], op.ints[8 + 10 * l + 1]};
    const bool lstm = static_cast<Cell>(op.ints[8 + 10 * l]) == Cell::lstm;
    p.fits(p.in(i + 5), DType::real, layerOutput(op, l), "dy of a layer");
    p.fits(p.in(i + 6), DType::real, state, "dhT [N, H]");
    p.fits(p.in(i + 7), DType::real, state, "dcT [N, H]");
    p.demand(lstm || (!p.in(i + 7) && !p.out(o + 4)), "no cell state but for an LSTM");
    p.fits(p.out(o), DType::real, p.in(i)->shape, "dKernel like the kernel");
    p.fits(p.out(o + 1), DType::real, p.in(i + 1)->shape, "dRecurrentKernel like the recurrentKernel");
    if (p.out(o + 2))
      p.demand(p.in(i + 2) && p.out(o + 2)->dtype == DType::real && p.out(o + 2)->shape == p.in(i + 2)->shape,
               "dBias like the bias");
    p.fits(p.out(o + 3), DType::real, state, "dh0 [N, H]");
    p.fits(p.out(o + 4), DType::real, state, "dc0 [N, H]");
  }
}

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

void loss(Proof& p) {
  if (!p.arity(3, 1, 2, 1)) return;
  const int32_t kind = p.op().ints[0];
  if (!p.demand(kind >= 0 && kind <= 7 && flag(p.op().ints[1]), "a known loss")) return;
  if (scored(p, kind == 1) == 0) return;
  if (p.op().kind == OpKind::loss) {
    p.must(p.out(0), DType::float64, {1}, "float64 [1]");
  } else {
    p.must(p.out(0), DType::real, p.in(0)->shape, "dPred like the predictions");
  }
}

void metric(Proof& p) {
  const Op& op = p.op();
  if (!p.demand(op.inputs.size() == 3 && op.outputs.size() == 1 && op.ints.size() >= 2,
                "a metric's operands"))
    return;
  const int32_t kind = op.ints[0];
  const bool sparse = op.ints[1] == 1;
  if (!p.demand(kind >= 0 && kind <= 8 && flag(op.ints[1]), "a known metric")) return;
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

/** Which of slots 0 … 2 a rule needs. */
bool slotNeeded(const Op& op, int slot) {
  const bool momentum = op.floats[1] > 0;
  switch (static_cast<Optimizer>(op.ints[0])) {
    case Optimizer::sgd:
      return slot == 0 && momentum;
    case Optimizer::rmsprop:
      return slot == 0 || (slot == 1 && op.ints[3] == 1) || (slot == 2 && op.floats[2] > 0);
    case Optimizer::adam:
      return slot < 2 || op.ints[3] == 1;
    case Optimizer::adagrad:
      return slot == 0;
    case Optimizer::nadam:
      return slot < 2;
  }
  return false;
}

void update(Proof& p) {
  const Op& op = p.op();
  if (!p.demand(op.ints.size() >= 4 && op.floats.size() == 7, "an optimizer's attributes")) return;
  const int32_t kind = op.ints[0], count = op.ints[1], clip = op.ints[2];
  if (!p.demand(kind >= 0 && kind <= 4 && count >= 0 && count < 1 << 20 && clip >= 0 && clip <= 3 &&
                    flag(op.ints[3]),
                "a known optimizer"))
    return;
  const auto n = static_cast<size_t>(count);
  if (!p.arity(1 + 5 * n, 1, 4 + n, 7) || !p.must(p.in(0), DType::float64, {8}, "hyper [8]")) return;
  p.fits(p.out(0), DType::float64, {count + 1}, "norms [P+1]");
  for (size_t i = 0; i < n; ++i) {
    const Value *param = p.in(1 + 5 * i), *grad = p.in(2 + 5 * i);
    if (!p.has(param, DType::real, "a parameter") ||
        !p.demand(param->role == Role::variable, "a variable as parameter"))
      return;
    if (!p.must(grad, DType::real, param->shape, "a gradient like its parameter")) return;
    for (int slot = 0; slot < 3; ++slot) {
      const Value* v = p.in(3 + 5 * i + static_cast<size_t>(slot));
      if (!p.demand(v || !slotNeeded(op, slot), "the optimizer's slots")) return;
      if (!p.fits(v, DType::real, param->shape, "a slot like its parameter") ||
          !p.demand(!v || v->role == Role::variable, "a variable as slot"))
        return;
    }
  }
}

void constraint(Proof& p) {
  if (!p.arity(1, 1, 2, 1)) return;
  const Value* v = p.in(0);
  if (!p.has(v, DType::real, "a parameter")) return;
  p.demand(v->role == Role::variable && p.op().inputs[0] == p.op().outputs[0], "one variable, in place");
  p.demand(v->shape.size() <= 2 && p.op().ints[0] >= 0 && p.op().ints[0] <= 2, "a known constraint");
  p.demand(p.op().ints[1] >= 0 && (p.op().ints[1] == 0 || p.op().ints[1] < static_cast<int>(v->shape.size())),
           "an axis of the variable");
}

}  // namespace

Status validateOp(const Plan& plan, const Op& op, int index) {
  Proof p(plan, op, index);
  if (!p.writable(op.kind == OpKind::assign || op.kind == OpKind::constraint)) return p.status();
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
      p.demand(!op.inputs.empty() && op.outputs.size() == 1 && op.ints.empty() && op.floats.empty(),
               "scalars");
      for (size_t i = 0; i < op.inputs.size(); ++i) p.must(p.in(i), DType::float64, {1}, "float64 [1]");
      p.must(p.out(0), DType::float64, {1}, "float64 [1]");
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
    case OpKind::rnnStack:
      rnnStack(p);
      break;
    case OpKind::rnnStackGrad:
      rnnStackGrad(p);
      break;
    case OpKind::loss:
    case OpKind::lossGrad:
      loss(p);
      break;
    case OpKind::metric:
      metric(p);
      break;
    case OpKind::update:
      update(p);
      break;
    case OpKind::constraint:
      constraint(p);
      break;
  }
  return p.status();
}

}  // namespace deeprnn::core
