// A program as its op describes it: what the same instructions make of every row at every step
// (docs/plan.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/plan.h"

namespace deeprnn::core {

struct ProgramOperand {
  ProgramOperandKind kind = ProgramOperandKind::sequence;
  /** Of a weight matrix; 1 of all else. */
  size_t rows = 1;
  size_t width = 0;
};

/** A value that a step hands to the next: register `from` as it was after the step before; operand `init`, or
 * zeros where that is negative, at the first. */
struct ProgramCarry {
  int from = 0;
  int init = -1;
};

struct ProgramInstruction {
  Instruction kind = Instruction::add;
  /** The register that it fills. */
  int to = 0;
  /** Values by number; negative: zeros. */
  std::vector<int> from;
  std::vector<int32_t> ints;
  std::vector<double> floats;
};

struct ProgramSpec {
  size_t T = 0, N = 0;
  bool reverse = false;
  uint32_t seedLo = 0, seedHi = 0;
  std::vector<ProgramOperand> operands;
  std::vector<ProgramCarry> carries;
  std::vector<size_t> registers;
  std::vector<ProgramInstruction> instructions;

  /** Values are numbered through: operands, carries, registers. */
  size_t values() const { return operands.size() + carries.size() + registers.size(); }
  size_t firstRegister() const { return operands.size() + carries.size(); }
  size_t widthOf(size_t value) const;
  /** Places of the op's outputs. */
  size_t lastOf(size_t carry) const { return carry; }
  size_t allOfCarry(size_t carry) const { return carries.size() + carry; }
  size_t allOfRegister(size_t r) const { return 2 * carries.size() + r; }
  /** The time step of iteration i. */
  size_t stepOf(size_t i) const { return reverse ? T - 1 - i : i; }
};

/** From the attributes of an op; false where they do not describe a program. Nothing of it is proved but that
 * every list is there. */
bool readProgram(const Op& op, ProgramSpec* spec);

/** That of a proved op. */
ProgramSpec programOf(const Op& op);

}  // namespace deeprnn::core
