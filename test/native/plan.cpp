// Decoding: a plan of every op runs, no part of one passes, and a damaged one is refused or runs inside its
// own memory. What "inside" means is for the address sanitizer to say: every array here has exactly its size.
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "check.h"
#include "cpu/executable.h"
#include "plan_writer.h"

namespace deeprnn::test {
namespace {

using core::Code;
using core::DType;
using core::Plan;
using core::Role;
using core::Status;

/** Larger ones are valid too, but a test need not fill them. */
constexpr size_t kMostBytes = size_t{1} << 24;

Status decode(const std::vector<int32_t>& words, const std::vector<double>& floats, Plan* plan) {
  return core::decodePlan(words.data(), words.size(), floats.data(), floats.size(), plan);
}

/** Memory for the inputs and outputs of a plan, filled with numbers that its ops mostly accept. */
struct Arrays {
  std::vector<std::unique_ptr<unsigned char[]>> memory;
  std::vector<void*> inputs, outputs;

  Arrays(const Plan& plan, Random& random) : inputs(plan.inputCount), outputs(plan.outputCount) {
    for (const core::Value& v : plan.values) {
      if (v.role != Role::input && v.role != Role::output) continue;
      memory.push_back(std::make_unique<unsigned char[]>(v.bytes()));
      unsigned char* at = memory.back().get();
      (v.role == Role::input ? inputs : outputs)[static_cast<size_t>(v.slot)] = at;
      if (v.role == Role::input) fill(v, -1, at, random);
    }
  }

  /** Reals from `low` to 1. */
  static void fill(const core::Value& v, double low, unsigned char* at, Random& random) {
    for (size_t i = 0; i < v.elements; ++i) {
      const auto put = [&](auto number) { std::memcpy(at + i * sizeof number, &number, sizeof number); };
      if (v.dtype == DType::real) put(static_cast<float>(random.uniform(low, 1)));
      if (v.dtype == DType::int32) put(static_cast<int32_t>(random.below(4)));
      if (v.dtype == DType::float64) put(random.uniform(0, 0.01));
    }
  }
};

std::unique_ptr<cpu::Session> sessionFor(const Plan& plan, const cpu::KernelTable& k, Random& random) {
  auto session = std::make_unique<cpu::Session>(k, 2);
  for (const core::Value& v : plan.values) {
    if (v.role != Role::variable) continue;
    size_t index = 0;
    CHECK(session->createVariable(v.dtype, v.elements, &index).ok(), "");
    CHECK(index == static_cast<size_t>(v.slot), "variables in slot order");
    // Not negative: second moments are among them.
    Arrays::fill(v, 0, session->variables()[index].memory.data(), random);
  }
  return session;
}

bool affordable(const Plan& plan) {
  size_t bytes = plan.arenaBytes;
  for (const core::Value& v : plan.values) {
    if (v.bytes() > kMostBytes) return false;
    bytes += v.bytes();
  }
  return bytes <= kMostBytes;
}

/** Decodes, loads and runs; what fails has to say so. Whether it ran. */
bool tryPlan(const std::vector<int32_t>& words, const std::vector<double>& floats, cpu::Session& session,
             Random& random) {
  Plan plan;
  if (const Status s = decode(words, floats, &plan); !s.ok()) {
    CHECK(s.code == Code::badPlan && s.message.rfind("bad plan: ", 0) == 0, s.message);
    return false;
  }
  if (!affordable(plan)) return false;
  const Arrays arrays(plan, random);
  std::unique_ptr<cpu::Executable> executable;
  if (const Status s = cpu::Executable::load(session, std::move(plan), {arrays.inputs, arrays.inputs},
                                             arrays.outputs, &executable);
      !s.ok()) {
    CHECK(s.code == Code::badPlan || s.code == Code::outOfMemory, s.message);
    return false;
  }
  if (const Status s = executable->run(random.below(2)); !s.ok())
    CHECK(s.code == Code::checkFailed && s.op >= 0, s.message);
  return true;
}

int32_t damaged(const std::vector<int32_t>& words, size_t at, Random& random) {
  switch (random.below(5)) {
    case 0:
      return static_cast<int32_t>(random.below(12)) - 2;
    case 1:
      return words[random.below(words.size())];
    case 2:
      return static_cast<int32_t>(static_cast<uint32_t>(words[at]) ^ 1u << random.below(32));
    case 3:
      return static_cast<int32_t>(static_cast<uint32_t>(words[at]) + (random.below(2) ? 1u : ~0u));
    default:
      return static_cast<int32_t>(random.bits());
  }
}

void testOne(const PlanWriter& writer, const char* name, const cpu::KernelTable& k, int mutations) {
  const std::vector<int32_t> words = writer.words();
  const std::vector<double> floats = writer.floats();
  const std::string what = std::string(k.name) + " " + name;
  Random random(8);
  Plan plan;
  const Status s = decode(words, floats, &plan);
  CHECK(s.ok(), what + ": " + s.message);
  if (!s.ok()) return;
  const std::unique_ptr<cpu::Session> session = sessionFor(plan, k, random);
  {
    const Arrays arrays(plan, random), other(plan, random);
    std::unique_ptr<cpu::Executable> executable;
    CHECK(cpu::Executable::load(*session, plan, {arrays.inputs, other.inputs}, arrays.outputs, &executable)
              .ok(),
          what);
    for (size_t i = 0; i < 3; ++i) {
      const Status ran = executable->run(i % 2);
      CHECK(ran.ok(), what + ": op " + std::to_string(ran.op) + " " + ran.message);
    }
    for (const core::Value& v : plan.values) {
      if (v.role != Role::output || v.dtype != DType::float64) continue;
      const auto* sums = static_cast<const double*>(arrays.outputs[static_cast<size_t>(v.slot)]);
      for (size_t i = 0; i < v.elements; ++i)
        CHECK(std::isfinite(sums[i]), what + ": output " + std::to_string(v.slot));
    }
  }

  for (size_t n = 0; n < words.size(); ++n) {
    // Announced at full length and at its own.
    std::vector<int32_t> part(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(n));
    Plan cut;
    CHECK(!decode(part, floats, &cut).ok(), what + ": the first " + std::to_string(n) + " words");
    if (n < 8) continue;
    part[6] = static_cast<int32_t>(n);
    Plan shorter;
    CHECK(!decode(part, floats, &shorter).ok(), what + ": a plan of " + std::to_string(n) + " words");
  }
  for (size_t n = 0; n < floats.size(); ++n) {
    const std::vector<double> part(floats.begin(), floats.begin() + static_cast<std::ptrdiff_t>(n));
    Plan cut;
    CHECK(!decode(words, part, &cut).ok(), what + ": " + std::to_string(n) + " floats");
  }

  int ran = 0;
  for (int i = 0; i < mutations; ++i) {
    std::vector<int32_t> bad = words;
    std::vector<double> badFloats = floats;
    for (size_t count = 1 + random.below(3); count > 0; --count) {
      if (random.below(12) == 0) {
        const double odd[] = {
            0, -1, 1, 0.999, 1e300, -1e-300, 1e9, std::nan(""), std::numeric_limits<double>::infinity()};
        badFloats[random.below(badFloats.size())] = odd[random.below(9)];
      } else {
        // Never the magic alone: that hardly gets anywhere.
        const size_t at = 2 + random.below(bad.size() - 2);
        bad[at] = damaged(words, at, random);
      }
    }
    ran += tryPlan(bad, badFloats, *session, random);
  }
  CHECK(ran > mutations / 50, what + ": only " + std::to_string(ran) + " damaged plans ran");
}

/** What one op must not be allowed to do, each refused by name. */
void testRefusals() {
  using core::OpKind;
  const auto refused = [](const PlanWriter& w, const std::string& reason) {
    Plan plan;
    const Status s = decode(w.words(), w.floats(), &plan);
    CHECK(s.message == reason, s.message);
  };
  {
    PlanWriter w;
    const int a = w.arena({3, 4});
    w.op(OpKind::add, {a, a}, {a});
    refused(w, "bad plan: op 0 (code 5): expected outputs apart from the inputs.");
  }
  {
    PlanWriter w;
    const int a = w.real(Role::input, {3, 4}), b = w.arena({4, 3});
    w.op(OpKind::add, {a, a}, {b});
    refused(w, "bad plan: op 0 (code 5): expected y like a.");
  }
  {
    PlanWriter w;
    const int a = w.real(Role::input, {3}), v = w.variable({3});
    w.op(OpKind::add, {a, a}, {v});
    refused(w, "bad plan: op 0 (code 5): expected no variable as output.");
  }
  {
    PlanWriter w;
    const int hyper = w.value(DType::float64, Role::input, {8}), v = w.variable({3}), g = w.arena({3});
    w.op(OpKind::update,
         {hyper, v, g, core::kAbsent, core::kAbsent, core::kAbsent, core::kAbsent, core::kAbsent, v, g,
          core::kAbsent, core::kAbsent, core::kAbsent, core::kAbsent, core::kAbsent},
         {core::kAbsent}, {0, 2, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1});
    refused(w, "bad plan: op 0 (code 64): expected parameters that differ.");
  }
  {
    PlanWriter w;
    const int hyper = w.value(DType::float64, Role::input, {8}), v = w.variable({3}), g = w.arena({3});
    w.op(OpKind::update,
         {hyper, v, g, core::kAbsent, core::kAbsent, core::kAbsent, core::kAbsent, core::kAbsent,
          w.variable({3}), g, core::kAbsent, core::kAbsent, core::kAbsent, w.variable({3}), core::kAbsent},
         {core::kAbsent}, {0, 2, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1});
    refused(w, "bad plan: op 0 (code 64): expected sums and averages of all parameters or of none.");
  }
  {
    PlanWriter w;
    const int hyper = w.value(DType::float64, Role::input, {8}), g = w.arena({3, 2});
    w.op(OpKind::update,
         {hyper, w.variable({3, 2}), g, w.variable({3}), w.variable({3}), core::kAbsent, core::kAbsent,
          core::kAbsent},
         {core::kAbsent}, {8, 1, 0, 0}, {0, 1e-30, 1e-3, 1, 0, 0, 0, 0, 0, 0, 1});
    refused(w, "bad plan: op 0 (code 64): expected a slot like its parameter.");
  }
  const std::pair<std::vector<double>, const char*> penalties[] = {
      {{}, "other attributes"},
      {{0}, "other attributes"},
      {{-0.5, 0, 0, 1}, "penalties of 0 or more"},
      {{0, -1e-9, 0, 1}, "penalties of 0 or more"},
      {{0, 0, -1, 1}, "a weight decay and a factor of the rate of 0 or more"},
      {{0, 0, 0, -1}, "a weight decay and a factor of the rate of 0 or more"}};
  for (const auto& [factors, wanted] : penalties) {
    PlanWriter w;
    const int hyper = w.value(DType::float64, Role::input, {8}), v = w.variable({3}), g = w.arena({3});
    std::vector<double> floats(core::kUpdateFloats, 0.0);
    floats.insert(floats.end(), factors.begin(), factors.end());
    w.op(OpKind::update,
         {hyper, v, g, core::kAbsent, core::kAbsent, core::kAbsent, core::kAbsent, core::kAbsent},
         {core::kAbsent}, {0, 1, 0, 0}, floats);
    refused(w, std::string("bad plan: op 0 (code 64): expected ") + wanted + ".");
  }
}

}  // namespace

void testPlan() {
  testRefusals();
  for (const cpu::KernelTable* k : usableKernels()) {
    testOne(trainingPlan(), "training plan", *k, 1500);
    testOne(otherOpsPlan(), "plan of the other ops", *k, 1500);
  }
}

}  // namespace deeprnn::test
