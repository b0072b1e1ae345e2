#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/codes.h"
#include "core/status.h"

namespace deeprnn::core {

/** An array of a plan. `slot` is the index of the input, output or variable; for arena values the offset
 * / 64. */
struct Value {
  DType dtype = DType::real;
  Role role = Role::arena;
  int64_t slot = 0;
  std::vector<int64_t> shape;
  size_t elements = 0;

  size_t bytes() const { return elements * (dtype == DType::float64 ? 8 : 4); }
  int64_t last() const { return shape.empty() ? 1 : shape.back(); }
  /** Product of all axes but the last. */
  size_t rows() const { return last() == 0 ? 0 : elements / static_cast<size_t>(last()); }
};

constexpr int kAbsent = -1;
/** No array has more axes. */
constexpr size_t kMaxRank = 8;

struct Op {
  OpKind kind = OpKind::add;
  std::vector<int> inputs;
  std::vector<int> outputs;
  std::vector<int32_t> ints;
  std::vector<double> floats;

  int input(size_t i) const { return i < inputs.size() ? inputs[i] : kAbsent; }
  int output(size_t i) const { return i < outputs.size() ? outputs[i] : kAbsent; }
};

/** Where the inputs of a plan lie, in slot order. There are two sets, so that the next batch can be written
 * into one while a run reads the other; both may name the same memory. */
using InputSets = std::array<std::vector<void*>, 2>;

/** A decoded plan (docs/plan.md, "Encoding for native engines"). */
struct Plan {
  std::vector<Value> values;
  std::vector<Op> ops;
  size_t arenaBytes = 0;
  size_t inputCount = 0;
  size_t outputCount = 0;
};

constexpr int32_t kPlanMagic = 0x44524E4E;
constexpr int32_t kPlanVersion = 3;
constexpr size_t kAlignment = 64;
/** No array may be larger; keeps every product of sizes far from overflow. */
constexpr int64_t kMaxElements = int64_t{1} << 40;

/** Decodes and proves a plan: after `ok`, every op's shapes, dtypes and attributes fit each other and the
 * buffers. */
Status decodePlan(const int32_t* words, size_t wordCount, const double* floats, size_t floatCount,
                  Plan* plan);

/** Proves one op against docs/plan.md. */
Status validateOp(const Plan& plan, const Op& op, int index);

}  // namespace deeprnn::core
