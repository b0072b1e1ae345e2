// What validates ops: the demands on one op's operands, and the proof of each family. Private to
// validate*.cpp.
#pragma once

#include <string>
#include <vector>

#include "core/plan.h"

namespace deeprnn::core {

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

  /** No output shares memory with an input or another output: kernels read while they write. */
  bool disjointOutputs() {
    for (size_t o = 0; o < op_.outputs.size(); ++o) {
      // Programs have one for every register, of which few are wanted.
      if (!out(o)) continue;
      for (size_t other = 0; other < o; ++other) {
        if (!demand(!overlap(out(o), out(other)), "outputs that do not overlap")) return false;
      }
      for (size_t i = 0; i < op_.inputs.size(); ++i) {
        if (!demand(!overlap(out(o), in(i)), "outputs apart from the inputs")) return false;
      }
    }
    return true;
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
  static bool overlap(const Value* a, const Value* b) {
    if (!a || !b || a->role != b->role || a->elements == 0 || b->elements == 0) return false;
    if (a->role != Role::arena) return a->slot == b->slot;
    const auto begin = [](const Value* v) { return static_cast<uint64_t>(v->slot) * kAlignment; };
    return begin(a) < begin(b) + b->bytes() && begin(b) < begin(a) + a->bytes();
  }

  const Value* at(int id) const { return id == kAbsent ? nullptr : &plan_.values[static_cast<size_t>(id)]; }

  const Plan& plan_;
  const Op& op_;
  int index_;
  Status status_;
};

inline Shape leading(const Value& v) {
  return Shape(v.shape.begin(), v.shape.end() - 1);
}
inline Shape with(Shape shape, int64_t last) {
  shape.push_back(last);
  return shape;
}
inline bool flag(int32_t v) {
  return v == 0 || v == 1;
}
inline bool rate(double r) {
  return r >= 0 && r < 1;
}

constexpr int32_t kLastActivation = static_cast<int32_t>(Activation::sparsemax);

// Each family proves its ops.
void proveStack(Proof& p);
void proveStackGrad(Proof& p);
void proveConcat(Proof& p);
void proveSlice(Proof& p);
void proveMultiply(Proof& p);
void proveScale(Proof& p);
void proveReshape(Proof& p);
void proveTranspose(Proof& p);
void proveExtremum(Proof& p);
void proveMatmul(Proof& p);
void proveNormalizeRows(Proof& p);
void proveLayerNorm(Proof& p);
void proveBatchNorm(Proof& p);
void proveUnfold(Proof& p);
void provePool(Proof& p);
void proveProgram(Proof& p);
void proveLoss(Proof& p);
void proveMetric(Proof& p);
void proveUpdate(Proof& p);
void proveConstraint(Proof& p);

}  // namespace deeprnn::core
