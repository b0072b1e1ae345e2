#include "cpu/executable.h"

namespace deeprnn::cpu {

using core::Code;
using core::OpKind;
using core::Role;
using core::Status;

namespace {

Step makeStep(const Operands& o, const Session& session) {
  switch (o.op().kind) {
    case OpKind::dense:
    case OpKind::denseGrad:
      return denseStep(o, session);
    case OpKind::activation:
    case OpKind::activationGrad:
    case OpKind::dropout:
    case OpKind::noise:
    case OpKind::penalty:
    case OpKind::penaltyGrad:
      return activationStep(o);
    case OpKind::rnnStack:
    case OpKind::rnnStackGrad:
      return stackStep(o, session);
    case OpKind::loss:
    case OpKind::lossGrad:
      return lossStep(o);
    case OpKind::metric:
      return metricStep(o);
    case OpKind::update:
    case OpKind::constraint:
      return updateStep(o);
    case OpKind::lengthMask:
    case OpKind::stepMask:
    case OpKind::maskRows:
    case OpKind::maskWeights:
    case OpKind::reverseTime:
    case OpKind::eitherMask:
      return maskStep(o);
    case OpKind::concat:
    case OpKind::slice:
    case OpKind::multiply:
    case OpKind::scale:
    case OpKind::extremum:
    case OpKind::extremumGrad:
      return mergeStep(o);
    case OpKind::reshape:
    case OpKind::transpose:
      return shapeStep(o);
    case OpKind::layerNorm:
    case OpKind::layerNormGrad:
    case OpKind::normalizeRows:
    case OpKind::normalizeRowsGrad:
      return normStep(o);
    case OpKind::batchNorm:
    case OpKind::batchNormGrad:
      return batchNormStep(o);
    case OpKind::matmul:
      return matmulStep(o, session);
    case OpKind::unfold:
    case OpKind::fold:
    case OpKind::pool:
    case OpKind::poolGrad:
      return windowStep(o);
    case OpKind::program:
      return programStep(o, session);
    case OpKind::batchToTime:
    case OpKind::timeToBatch:
    case OpKind::check:
    case OpKind::assign:
    case OpKind::add:
    case OpKind::broadcastRows:
    case OpKind::sumRows:
    case OpKind::sumScalars:
    case OpKind::embedding:
    case OpKind::embeddingGrad:
      break;
  }
  return dataStep(o);
}

/** Multiplications that one thread has done, in some 0.2 ms, before sleeping ones are awake and have helped.
 * On an AMD EPYC with AVX-512 a step of an LSTM 2×768 (7 million) is faster on one thread, of a 2×1024 (13
 * million) on two. */
constexpr size_t kWakeWork = size_t{1} << 23;

/** Multiplications from which on threads that are awake are worth asking. */
constexpr size_t kSharedWork = size_t{1} << 19;
/** Threads that have shared a run are still awake so long after it (ThreadPool). */
constexpr auto kAwake = std::chrono::microseconds(15);

/** Multiplications of a plan that predicts one time step; 0 for others. Longer runs wake the threads once for
 * all their loops. */
size_t workOfStep(const core::Plan& plan) {
  size_t work = 0;
  bool recurrent = false;
  for (const core::Op& op : plan.ops) {
    const auto value = [&](int id) -> const core::Value& { return plan.values[static_cast<size_t>(id)]; };
    switch (op.kind) {
      case OpKind::rnnStack: {
        const core::StackSpec spec = core::stackSpecOf(op);
        if (spec.T != 1) return 0;
        recurrent = true;
        for (const core::StackLayer& l : spec.layers) work += spec.N * (l.D + l.H) * l.G * l.H;
        break;
      }
      case OpKind::dense:
        work += value(op.inputs[0]).rows() * value(op.inputs[1]).elements;
        break;
      case OpKind::rnnStackGrad:
      case OpKind::denseGrad:
      case OpKind::update:
        return 0;
      default:
        break;
    }
  }
  return recurrent ? work : 0;
}

}  // namespace

Executable::Executable(Session& session, core::Plan plan)
    : session_(session), plan_(std::move(plan)), stepWork_(workOfStep(plan_)), alone_(1) {}

/** A small step is done by the caller alone, unless steps follow each other so fast that the threads stay
 * awake. The results are the same bits. */
ThreadPool& Executable::threads() {
  const bool small = stepWork_ > 0 && stepWork_ < kWakeWork;
  if (!small) return session_.pool();
  const bool awake = stepWork_ >= kSharedWork && std::chrono::steady_clock::now() - ended_ < kAwake;
  return awake ? session_.pool() : alone_;
}

KeptWeights::KeptWeights(const Operands& o, const std::vector<size_t>& operands, const Session& session,
                         size_t floats)
    : session_(session), memory_(floats * sizeof(float)) {
  for (size_t i : operands) {
    if (o.op().inputs[i] == core::kAbsent) continue;
    const core::Value& v = o.inValue(i);
    watched_ = watched_ && v.role == Role::variable;
    slots_.push_back(static_cast<size_t>(v.slot));
  }
}

uint64_t KeptWeights::versions() const {
  uint64_t sum = 0;
  if (watched_) {
    for (size_t slot : slots_) sum += session_.variables()[slot].version;
  }
  return sum;
}

Status Executable::load(Session& session, core::Plan plan, const core::InputSets& inputs,
                        const std::vector<void*>& outputs, std::unique_ptr<Executable>* result) {
  std::unique_ptr<Executable> e(new Executable(session, std::move(plan)));
  const core::Plan& p = e->plan_;
  e->arena_ = Buffer(p.arenaBytes);
  if (!e->arena_)
    return Status::error(Code::outOfMemory, "out of memory: a plan with buffers of " +
                                                std::to_string(p.arenaBytes) +
                                                " bytes; use a smaller batch or fewer steps.");

  std::array<std::vector<void*>, 2> pointers;
  for (const core::Value& v : p.values) {
    const auto slot = static_cast<size_t>(v.slot);
    void *at = nullptr, *other = nullptr;
    switch (v.role) {
      case Role::input:
        if (slot >= inputs[0].size() || slot >= inputs[1].size())
          return Status::error(Code::badPlan, "bad plan: an input slot that is not there.");
        at = inputs[0][slot];
        other = inputs[1][slot];
        break;
      case Role::output:
        if (slot >= outputs.size())
          return Status::error(Code::badPlan, "bad plan: an output slot that is not there.");
        at = outputs[slot];
        break;
      case Role::variable: {
        if (slot >= session.variables().size())
          return Status::error(Code::badPlan, "bad plan: a variable that is not there.");
        const Variable& variable = session.variables()[slot];
        if (variable.dtype != v.dtype || variable.elements != v.elements)
          return Status::error(Code::badPlan, "bad plan: a variable of another dtype or size.");
        at = variable.memory.data();
        break;
      }
      case Role::arena:
        at = e->arena_.data() + slot * core::kAlignment;
        break;
    }
    pointers[0].push_back(at);
    pointers[1].push_back(other ? other : at);
  }
  const auto resolve = [&](const std::vector<int>& ids, size_t set) {
    std::vector<void*> at;
    at.reserve(ids.size());
    for (int id : ids) at.push_back(id == core::kAbsent ? nullptr : pointers[set][static_cast<size_t>(id)]);
    return at;
  };
  size_t scratch = 0;
  for (const core::Op& op : p.ops) {
    const std::vector<void*> out = resolve(op.outputs, 0);
    e->written_.emplace_back();
    const bool gradients = op.kind == OpKind::rnnStackGrad || op.kind == OpKind::denseGrad;
    if (gradients && session.kernels().precision == Precision::int8)
      return Status::error(Code::badPlan, "bad plan: gradients in 8-bit integers, which have none.");
    if (op.kind == OpKind::update || op.kind == OpKind::assign || op.kind == OpKind::constraint) {
      for (const std::vector<int>* ids : {&op.inputs, &op.outputs}) {
        for (int id : *ids) {
          if (id == core::kAbsent) continue;
          const core::Value& v = p.values[static_cast<size_t>(id)];
          if (v.role == Role::variable) e->written_.back().push_back(static_cast<size_t>(v.slot));
        }
      }
    }
    for (size_t set = 0; set < 2; ++set) {
      std::vector<void*> in = resolve(op.inputs, set);
      if (set == 0 || in != resolve(op.inputs, 0)) {
        e->steps_.push_back(makeStep(Operands(p, op, std::move(in), out), session));
        if (!e->steps_.back().run)
          return Status::error(Code::outOfMemory, "out of memory: the weights of an op, made ready for it.");
        scratch = std::max(scratch, e->steps_.back().scratch);
        e->keptBytes_ += e->steps_.back().kept * sizeof(float);
      }
      e->order_[set].push_back(e->steps_.size() - 1);
    }
  }
  e->scratch_ = Buffer(scratch * sizeof(float));
  if (!e->scratch_)
    return Status::error(Code::outOfMemory, "out of memory: scratch of " +
                                                std::to_string(scratch * sizeof(float)) +
                                                " bytes; use a smaller batch or fewer steps.");
  *result = std::move(e);
  return {};
}

Status Executable::run(size_t set, double* times) {
  using Clock = std::chrono::steady_clock;
  const RunContext context{session_.kernels(), threads(), reinterpret_cast<float*>(scratch_.data())};
  for (size_t i = 0; i < order_[set].size(); ++i) {
    const Clock::time_point start = times ? Clock::now() : Clock::time_point{};
    Status s = steps_[order_[set][i]].run(context);
    if (times) times[i] = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    for (size_t slot : written_[i]) ++session_.variables()[slot].version;
    if (!s.ok()) {
      s.op = static_cast<int>(i);
      return s;
    }
  }
  if (stepWork_ > 0) ended_ = Clock::now();
  return {};
}

}  // namespace deeprnn::cpu
