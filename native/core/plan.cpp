#include "core/plan.h"

#include <cmath>
#include <limits>
#include <string>

namespace deeprnn::core {
namespace {

/** Reads words one after another; once it has run past the end it stays failed and gives zeros. */
class Reader {
 public:
  Reader(const int32_t* words, size_t count) : words_(words), count_(count) {}

  int32_t next() {
    if (at_ >= count_) {
      failed_ = true;
      return 0;
    }
    return words_[at_++];
  }

  /** A count of things that follow, each at least one word long. */
  size_t count(size_t limit) {
    const int32_t n = next();
    if (n < 0 || static_cast<size_t>(n) > limit || static_cast<size_t>(n) > count_ - at_) failed_ = true;
    return failed_ ? 0 : static_cast<size_t>(n);
  }

  bool failed() const { return failed_; }
  size_t at() const { return at_; }

 private:
  const int32_t* words_;
  size_t count_;
  size_t at_ = 0;
  bool failed_ = false;
};

Status bad(const std::string& what) {
  return Status::error(Code::badPlan, "bad plan: " + what);
}

bool knownOp(int32_t code) {
  switch (static_cast<OpKind>(code)) {
    case OpKind::batchToTime:
    case OpKind::timeToBatch:
    case OpKind::check:
    case OpKind::assign:
    case OpKind::add:
    case OpKind::broadcastRows:
    case OpKind::sumRows:
    case OpKind::sumScalars:
    case OpKind::lengthMask:
    case OpKind::stepMask:
    case OpKind::maskRows:
    case OpKind::maskWeights:
    case OpKind::reverseTime:
    case OpKind::concat:
    case OpKind::slice:
    case OpKind::multiply:
    case OpKind::scale:
    case OpKind::reshape:
    case OpKind::transpose:
    case OpKind::layerNorm:
    case OpKind::layerNormGrad:
    case OpKind::noise:
    case OpKind::unfold:
    case OpKind::fold:
    case OpKind::pool:
    case OpKind::poolGrad:
    case OpKind::program:
    case OpKind::extremum:
    case OpKind::extremumGrad:
    case OpKind::eitherMask:
    case OpKind::matmul:
    case OpKind::normalizeRows:
    case OpKind::normalizeRowsGrad:
    case OpKind::batchNorm:
    case OpKind::batchNormGrad:
    case OpKind::embedding:
    case OpKind::embeddingGrad:
    case OpKind::dense:
    case OpKind::denseGrad:
    case OpKind::activation:
    case OpKind::activationGrad:
    case OpKind::dropout:
    case OpKind::penalty:
    case OpKind::penaltyGrad:
    case OpKind::rnnStack:
    case OpKind::rnnStackGrad:
    case OpKind::loss:
    case OpKind::lossGrad:
    case OpKind::metric:
    case OpKind::update:
    case OpKind::constraint:
      return true;
  }
  return false;
}

Status readValue(Reader& in, Plan* plan) {
  Value v;
  const int32_t dtype = in.next();
  const int32_t role = in.next();
  v.slot = static_cast<uint32_t>(in.next());
  const size_t rank = in.count(kMaxRank);
  if (in.failed() || dtype < 0 || dtype > 2 || role < 0 || role > 3) return bad("a value's header");
  v.dtype = static_cast<DType>(dtype);
  v.role = static_cast<Role>(role);
  int64_t elements = 1;
  for (size_t i = 0; i < rank; ++i) {
    const int32_t n = in.next();
    if (n < 0) return bad("a negative size");
    if (n > 0 && elements > kMaxElements / n) return bad("an array that is too large");
    elements *= n;
    v.shape.push_back(n);
  }
  if (in.failed()) return bad("a value's shape");
  v.elements = static_cast<size_t>(elements);
  if (v.role == Role::input) ++plan->inputCount;
  if (v.role == Role::output) ++plan->outputCount;
  if (v.role == Role::arena && static_cast<uint64_t>(v.slot) * kAlignment + v.bytes() > plan->arenaBytes) {
    return bad("a value that lies outside the arena");
  }
  plan->values.push_back(std::move(v));
  return {};
}

Status readOp(Reader& in, const double* floats, size_t floatCount, size_t* floatsAt, Plan* plan) {
  Op op;
  const int32_t kind = in.next();
  if (in.failed() || !knownOp(kind)) return bad("an unknown op");
  op.kind = static_cast<OpKind>(kind);
  const int valueCount = static_cast<int>(plan->values.size());
  for (std::vector<int>* ids : {&op.inputs, &op.outputs}) {
    const size_t n = in.count(std::numeric_limits<int32_t>::max());
    for (size_t i = 0; i < n; ++i) {
      const int32_t id = in.next();
      if (id < kAbsent || id >= valueCount) return bad("an op that names a value that is not there");
      ids->push_back(id);
    }
  }
  const size_t ints = in.count(std::numeric_limits<int32_t>::max());
  for (size_t i = 0; i < ints; ++i) op.ints.push_back(in.next());
  const int32_t count = in.next();
  if (in.failed() || count < 0 || static_cast<size_t>(count) > floatCount - *floatsAt)
    return bad("an op's attributes");
  op.floats.assign(floats + *floatsAt, floats + *floatsAt + count);
  *floatsAt += static_cast<size_t>(count);
  for (double f : op.floats) {
    if (!std::isfinite(f)) return bad("an attribute that is not finite");
  }
  plan->ops.push_back(std::move(op));
  return {};
}

/** Each of the slots 0 … count−1 belongs to exactly one value. */
bool slotsFilled(const Plan& plan, Role role, size_t count) {
  std::vector<bool> seen(count, false);
  for (const Value& v : plan.values) {
    if (v.role != role) continue;
    const auto slot = static_cast<size_t>(v.slot);
    if (slot >= count || seen[slot]) return false;
    seen[slot] = true;
  }
  return true;
}

}  // namespace

Status decodePlan(const int32_t* words, size_t wordCount, const double* floats, size_t floatCount,
                  Plan* plan) {
  Reader in(words, wordCount);
  if (in.next() != kPlanMagic || in.next() != kPlanVersion) return bad("not a plan of this version");
  const size_t values = in.count(wordCount);
  const size_t ops = in.count(wordCount);
  const uint64_t low = static_cast<uint32_t>(in.next());
  const uint64_t high = static_cast<uint32_t>(in.next());
  const uint64_t arena = high << 32 | low;
  if (arena > uint64_t{1} << 46 || arena % kAlignment != 0) return bad("the size of the arena");
  plan->arenaBytes = static_cast<size_t>(arena);
  const int32_t announcedWords = in.next();
  const int32_t announcedFloats = in.next();
  if (in.failed() || announcedWords < 0 || static_cast<size_t>(announcedWords) != wordCount ||
      announcedFloats < 0 || static_cast<size_t>(announcedFloats) != floatCount) {
    return bad("its length");
  }
  for (size_t i = 0; i < values; ++i) {
    if (Status s = readValue(in, plan); !s.ok()) return s;
  }
  if (!slotsFilled(*plan, Role::input, plan->inputCount) ||
      !slotsFilled(*plan, Role::output, plan->outputCount)) {
    return bad("an input or output slot that is missing or used twice");
  }
  size_t floatsAt = 0;
  for (size_t i = 0; i < ops; ++i) {
    if (Status s = readOp(in, floats, floatCount, &floatsAt, plan); !s.ok()) return s;
    if (Status s = validateOp(*plan, plan->ops.back(), static_cast<int>(i)); !s.ok()) return s;
  }
  if (in.failed() || in.at() != wordCount || floatsAt != floatCount) return bad("words or numbers left over");
  return {};
}

}  // namespace deeprnn::core
