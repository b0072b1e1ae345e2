#include "core/program.h"

namespace deeprnn::core {

size_t ProgramSpec::widthOf(size_t value) const {
  if (value < operands.size()) return operands[value].width;
  value -= operands.size();
  if (value < carries.size()) return registers[static_cast<size_t>(carries[value].from)];
  return registers[value - carries.size()];
}

bool readProgram(const Op& op, ProgramSpec* spec) {
  size_t at = 0, floatsAt = 0;
  bool failed = false;
  const auto next = [&]() -> int32_t {
    if (at >= op.ints.size()) {
      failed = true;
      return 0;
    }
    return op.ints[at++];
  };
  // Of things that are at least one number long each.
  const auto count = [&]() -> size_t {
    const int32_t n = next();
    if (n < 0 || static_cast<size_t>(n) > op.ints.size()) failed = true;
    return failed ? 0 : static_cast<size_t>(n);
  };
  const auto size = [&]() -> size_t {
    const int32_t n = next();
    if (n < 0) failed = true;
    return failed ? 0 : static_cast<size_t>(n);
  };
  spec->T = size();
  spec->N = size();
  const int32_t reverse = next();
  if (reverse != 0 && reverse != 1) failed = true;
  spec->reverse = reverse == 1;
  spec->seedLo = static_cast<uint32_t>(next());
  spec->seedHi = static_cast<uint32_t>(next());
  const size_t operands = count(), carries = count(), registers = count(), instructions = count();
  for (size_t i = 0; i < operands && !failed; ++i) {
    ProgramOperand operand;
    const int32_t kind = next();
    if (kind < 0 || kind > static_cast<int32_t>(ProgramOperandKind::valid)) return false;
    operand.kind = static_cast<ProgramOperandKind>(kind);
    operand.rows = size();
    operand.width = size();
    spec->operands.push_back(operand);
  }
  for (size_t i = 0; i < carries && !failed; ++i) {
    ProgramCarry carry;
    carry.from = next();
    carry.init = next();
    spec->carries.push_back(carry);
  }
  for (size_t i = 0; i < registers && !failed; ++i) spec->registers.push_back(size());
  for (size_t i = 0; i < instructions && !failed; ++i) {
    ProgramInstruction own;
    const int32_t kind = next();
    if (kind < 0 || kind > static_cast<int32_t>(Instruction::dropMask)) return false;
    own.kind = static_cast<Instruction>(kind);
    own.to = next();
    const size_t from = count();
    for (size_t k = 0; k < from && !failed; ++k) own.from.push_back(next());
    const size_t ints = count();
    for (size_t k = 0; k < ints && !failed; ++k) own.ints.push_back(next());
    const size_t floats = size();
    if (floats > op.floats.size() - floatsAt) failed = true;
    for (size_t k = 0; k < floats && !failed; ++k) own.floats.push_back(op.floats[floatsAt++]);
    spec->instructions.push_back(own);
  }
  return !failed && at == op.ints.size() && floatsAt == op.floats.size();
}

ProgramSpec programOf(const Op& op) {
  ProgramSpec spec;
  readProgram(op, &spec);
  return spec;
}

}  // namespace deeprnn::core
