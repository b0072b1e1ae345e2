// Writes plans by hand, word for word as docs/plan.md says ("Encoding for native engines"), and gives them
// memory to run on.
#pragma once

#include <initializer_list>
#include <utility>
#include <vector>

#include "check.h"
#include "core/plan.h"

namespace deeprnn::test {

class PlanWriter {
 public:
  using DType = core::DType;
  using Role = core::Role;

  int value(DType dtype, Role role, const std::vector<int32_t>& shape) {
    int32_t elements = 1;
    for (int32_t n : shape) elements *= n;
    int32_t slot = 0;
    if (role == Role::arena) {
      slot = static_cast<int32_t>(arenaBytes_ / core::kAlignment);
      const size_t bytes = static_cast<size_t>(elements) * (dtype == DType::float64 ? 8 : 4);
      arenaBytes_ += (bytes + core::kAlignment - 1) / core::kAlignment * core::kAlignment;
    } else {
      slot = slots_[static_cast<int>(role)]++;
    }
    const int32_t header[] = {static_cast<int32_t>(dtype), static_cast<int32_t>(role), slot,
                              static_cast<int32_t>(shape.size())};
    values_.insert(values_.end(), header, header + 4);
    values_.insert(values_.end(), shape.begin(), shape.end());
    return valueCount_++;
  }
  int real(Role role, const std::vector<int32_t>& shape) { return value(DType::real, role, shape); }
  int arena(const std::vector<int32_t>& shape) { return real(Role::arena, shape); }
  int variable(const std::vector<int32_t>& shape) { return real(Role::variable, shape); }
  int sums(const std::vector<int32_t>& shape) { return value(DType::float64, Role::output, shape); }

  void op(core::OpKind kind, const std::vector<int>& inputs, const std::vector<int>& outputs,
          const std::vector<int32_t>& ints = {}, const std::vector<double>& floats = {}) {
    ops_.push_back(static_cast<int32_t>(kind));
    for (const std::vector<int>* list : {&inputs, &outputs}) {
      ops_.push_back(static_cast<int32_t>(list->size()));
      ops_.insert(ops_.end(), list->begin(), list->end());
    }
    ops_.push_back(static_cast<int32_t>(ints.size()));
    ops_.insert(ops_.end(), ints.begin(), ints.end());
    ops_.push_back(static_cast<int32_t>(floats.size()));
    floats_.insert(floats_.end(), floats.begin(), floats.end());
    ++opCount_;
  }

  std::vector<int32_t> words() const {
    std::vector<int32_t> all = {core::kPlanMagic,
                                core::kPlanVersion,
                                valueCount_,
                                opCount_,
                                static_cast<int32_t>(arenaBytes_),
                                0,
                                static_cast<int32_t>(8 + values_.size() + ops_.size()),
                                static_cast<int32_t>(floats_.size())};
    all.insert(all.end(), values_.begin(), values_.end());
    all.insert(all.end(), ops_.begin(), ops_.end());
    all.shrink_to_fit();
    return all;
  }
  std::vector<double> floats() const { return floats_; }

 private:
  std::vector<int32_t> values_, ops_;
  std::vector<double> floats_;
  int valueCount_ = 0, opCount_ = 0;
  int slots_[4] = {0, 0, 0, 0};
  size_t arenaBytes_ = 0;
};

/** A training step of an LSTM and a GRU under a dense softmax layer. */
PlanWriter trainingPlan();
/** The ops that a classifier's training step lacks. */
PlanWriter otherOpsPlan();

}  // namespace deeprnn::test
