// Proves programs: that every instruction reads what is there, in widths that fit.
#include <algorithm>

#include "core/program.h"
#include "core/proof.h"

namespace deeprnn::core {
namespace {

constexpr size_t kWidest = size_t{1} << 24;

bool softmaxLike(int32_t kind) {
  return kind == static_cast<int32_t>(Activation::softmax) ||
         kind == static_cast<int32_t>(Activation::logSoftmax);
}

class ProgramProof {
 public:
  ProgramProof(Proof& p, const ProgramSpec& s) : p_(p), s_(s) {}

  void run() {
    if (!p_.demand(s_.T > 0 && s_.N > 0, "steps and rows") || !sizes() || !operands() || !carries()) return;
    // Keeps the memory of all values far from overflow.
    size_t widths = 0;
    for (size_t v = 0; v < s_.values(); ++v) widths += s_.widthOf(v);
    if (!p_.demand(widths <= static_cast<size_t>(kMaxElements) / s_.N / s_.T, "fewer or smaller values"))
      return;
    if (!p_.demand(s_.instructions.size() == s_.registers.size(), "an instruction for every register"))
      return;
    for (const ProgramInstruction& i : s_.instructions) {
      if (!instruction(i)) return;
      filled_[static_cast<size_t>(i.to)] = true;
    }
    outputs();
  }

 private:
  bool sizes() {
    for (size_t width : s_.registers) {
      if (!p_.demand(width > 0 && width <= kWidest, "registers of a width")) return false;
    }
    filled_.assign(s_.registers.size(), false);
    return true;
  }

  bool operands() {
    const auto T = static_cast<int64_t>(s_.T), N = static_cast<int64_t>(s_.N);
    if (!p_.demand(p_.op().inputs.size() == 1 + s_.operands.size(), "an input for every operand"))
      return false;
    p_.fits(p_.in(0), DType::float64, {1}, "step float64 [1]");
    for (size_t i = 0; i < s_.operands.size(); ++i) {
      const ProgramOperand& o = s_.operands[i];
      const auto rows = static_cast<int64_t>(o.rows), width = static_cast<int64_t>(o.width);
      const Value* v = p_.in(1 + i);
      if (!p_.demand(rows > 0 && width > 0 && o.width <= kWidest, "an operand of a size")) return false;
      const bool weight = o.kind == ProgramOperandKind::weight;
      if (!p_.demand(weight || rows == 1, "rows of weights alone")) return false;
      switch (o.kind) {
        case ProgramOperandKind::sequence:
          p_.must(v, DType::real, {T, N, width}, "a sequence [T, N, width]");
          break;
        case ProgramOperandKind::rows:
          p_.must(v, DType::real, {N, width}, "rows [N, width]");
          break;
        case ProgramOperandKind::valid:
          if (p_.must(v, DType::int32, {T, N}, "valid int32 [T, N]")) p_.demand(width == 1, "one column");
          break;
        case ProgramOperandKind::weight:
          if (p_.has(v, DType::real, "real weights"))
            p_.demand(v->shape == Shape{rows, width} || (rows == 1 && v->shape == Shape{width}),
                      "weights [rows, width] or [width]");
          break;
      }
      if (!p_.status().ok()) return false;
    }
    return true;
  }

  bool carries() {
    const auto operands = static_cast<int>(s_.operands.size()),
               registers = static_cast<int>(s_.registers.size());
    for (const ProgramCarry& c : s_.carries) {
      if (!p_.demand(c.from >= 0 && c.from < registers, "a carry of a register")) return false;
      if (c.init < 0) continue;
      if (!p_.demand(c.init < operands, "a carry that begins with an operand")) return false;
      const ProgramOperand& o = s_.operands[static_cast<size_t>(c.init)];
      if (!p_.demand(
              o.kind == ProgramOperandKind::rows && o.width == s_.registers[static_cast<size_t>(c.from)],
              "rows of the carry's width"))
        return false;
    }
    return true;
  }

  /** Whether the value may be read here. Matrices and masks are no rows. */
  bool readable(int value, bool zeros = false) const {
    if (value < 0) return zeros;
    const auto v = static_cast<size_t>(value);
    if (v >= s_.values()) return false;
    if (v < s_.operands.size())
      return s_.operands[v].rows == 1 && s_.operands[v].kind != ProgramOperandKind::valid;
    return v < s_.firstRegister() || filled_[v - s_.firstRegister()];
  }

  size_t width(int value) const { return value < 0 ? 1 : s_.widthOf(static_cast<size_t>(value)); }

  /** Columns are read over and over where there are fewer of them. */
  bool spreads(int value, size_t over) const { return over % width(value) == 0; }

  bool instruction(const ProgramInstruction& i) {
    const auto registers = static_cast<int>(s_.registers.size());
    if (!p_.demand(i.to >= 0 && i.to < registers && !filled_[static_cast<size_t>(i.to)],
                   "a register of its own for every instruction"))
      return false;
    const size_t y = s_.registers[static_cast<size_t>(i.to)];
    const auto shape = [&](size_t from, size_t ints, size_t floats) {
      return p_.demand(i.from.size() == from && i.ints.size() == ints && i.floats.size() == floats,
                       "an instruction's parts");
    };
    const auto reads = [&](size_t count, bool zeros = false) {
      for (size_t k = 0; k < count; ++k) {
        if (!p_.demand(readable(i.from[k], zeros), "values that are there")) return false;
      }
      return true;
    };
    switch (i.kind) {
      case Instruction::matmul:
        return shape(2, 2, 0) && reads(1) && matmul(i, y);
      case Instruction::activation:
        return shape(1, 2, 1) && reads(1) && p_.demand(width(i.from[0]) == y, "as many columns") &&
               activation(i, y);
      case Instruction::activationGrad:
        return shape(2, 2, 1) && reads(2) &&
               p_.demand(width(i.from[0]) == y && width(i.from[1]) == y, "as many columns") &&
               activation(i, y);
      case Instruction::log:
      case Instruction::sqrt:
      case Instruction::abs:
      case Instruction::sign:
      case Instruction::reciprocal:
        return shape(1, 0, 0) && reads(1) && p_.demand(spreads(i.from[0], y), "columns that spread");
      case Instruction::scale:
      case Instruction::shift:
        return shape(1, 0, 1) && reads(1) && p_.demand(spreads(i.from[0], y), "columns that spread");
      case Instruction::add:
      case Instruction::subtract:
      case Instruction::multiply:
      case Instruction::divide:
      case Instruction::maximum:
      case Instruction::minimum:
      case Instruction::greater:
      case Instruction::greaterEqual:
        return shape(2, 0, 0) && reads(2) &&
               p_.demand(spreads(i.from[0], y) && spreads(i.from[1], y), "columns that spread");
      case Instruction::select:
        return shape(3, 0, 0) && reads(3, true) &&
               p_.demand(spreads(i.from[0], y) && spreads(i.from[1], y) && spreads(i.from[2], y),
                         "columns that spread");
      case Instruction::sumGroups:
        return shape(1, 1, 0) && reads(1) &&
               p_.demand(i.ints[0] > 0 && width(i.from[0]) == y * static_cast<size_t>(i.ints[0]), "groups");
      case Instruction::expandGroups:
        return shape(1, 1, 0) && reads(1) &&
               p_.demand(i.ints[0] > 0 && width(i.from[0]) * static_cast<size_t>(i.ints[0]) == y, "groups");
      case Instruction::slice:
        return shape(1, 1, 0) && reads(1) && p_.demand(inside(i.ints[0], y, width(i.from[0])), "columns");
      case Instruction::pad:
        return shape(1, 1, 0) && reads(1) && p_.demand(inside(i.ints[0], width(i.from[0]), y), "columns");
      case Instruction::concat: {
        if (!p_.demand(!i.from.empty(), "parts") || !shape(i.from.size(), 0, 0) || !reads(i.from.size()))
          return false;
        size_t sum = 0;
        for (int part : i.from) sum += width(part);
        return p_.demand(sum == y, "parts that fill the register");
      }
      case Instruction::gather:
        return p_.demand(i.from.size() == 1, "one value") && reads(1) && groups(i, y, width(i.from[0]));
      case Instruction::scatterAdd:
        return p_.demand(i.from.size() == 1, "one value") && reads(1) && groups(i, width(i.from[0]), y);
      case Instruction::valid:
        return shape(1, 0, 0) && p_.demand(operand(i.from[0], ProgramOperandKind::valid) && y == 1, "a mask");
      case Instruction::dropMask:
        return shape(0, 2, 2) && p_.has(p_.in(0), DType::float64, "step float64 [1]") &&
               p_.demand(flag(i.ints[1]) && rate(i.floats[0]), "a rate");
    }
    return p_.demand(false, "a known instruction");
  }

  static bool inside(int32_t first, size_t width, size_t whole) {
    return first >= 0 && static_cast<size_t>(first) + width <= whole;
  }

  /** A group's size, and for each of the groups of `listed` columns one of `named`, or −1. */
  bool groups(const ProgramInstruction& i, size_t listed, size_t named) {
    const int32_t group = i.ints.empty() ? 0 : i.ints[0];
    if (!p_.demand(group > 0 && i.floats.empty(), "a group")) return false;
    const auto size = static_cast<size_t>(group);
    if (!p_.demand(listed % size == 0 && named % size == 0 && i.ints.size() == 1 + listed / size,
                   "a number for every group"))
      return false;
    const auto count = static_cast<int64_t>(named / size);
    return p_.demand(
        std::all_of(i.ints.begin() + 1, i.ints.end(), [=](int32_t n) { return n >= -1 && n < count; }),
        "groups that are there");
  }

  bool operand(int value, ProgramOperandKind kind) const {
    return value >= 0 && static_cast<size_t>(value) < s_.operands.size() &&
           s_.operands[static_cast<size_t>(value)].kind == kind;
  }

  bool matmul(const ProgramInstruction& i, size_t y) {
    if (!p_.demand(operand(i.from[1], ProgramOperandKind::weight), "a matrix of weights") ||
        !p_.demand(flag(i.ints[0]) && i.ints[1] > 0, "a product"))
      return false;
    const ProgramOperand& w = s_.operands[static_cast<size_t>(i.from[1])];
    const auto repeat = static_cast<size_t>(i.ints[1]);
    const size_t in = i.ints[0] ? w.width : w.rows, out = i.ints[0] ? w.rows : w.width;
    return p_.demand(width(i.from[0]) == in * repeat && y == out * repeat, "factors that fit");
  }

  bool activation(const ProgramInstruction& i, size_t y) {
    return p_.demand(i.ints[0] >= 0 && i.ints[0] <= kLastActivation &&
                         i.ints[0] != static_cast<int32_t>(Activation::sparsemax),
                     "a known activation") &&
           p_.demand(!softmaxLike(i.ints[0]) || (i.ints[1] > 0 && y % static_cast<size_t>(i.ints[1]) == 0),
                     "groups");
  }

  void outputs() {
    const auto T = static_cast<int64_t>(s_.T), N = static_cast<int64_t>(s_.N);
    const size_t carries = s_.carries.size();
    if (!p_.demand(p_.op().outputs.size() == 2 * carries + s_.registers.size(), "an output for every value"))
      return;
    for (size_t c = 0; c < carries; ++c) {
      const auto width = static_cast<int64_t>(s_.widthOf(s_.operands.size() + c));
      p_.fits(p_.out(s_.lastOf(c)), DType::real, {N, width}, "a carry [N, width]");
      p_.fits(p_.out(s_.allOfCarry(c)), DType::real, {T, N, width}, "a carry's steps [T, N, width]");
    }
    for (size_t r = 0; r < s_.registers.size(); ++r)
      p_.fits(p_.out(s_.allOfRegister(r)), DType::real, {T, N, static_cast<int64_t>(s_.registers[r])},
              "a register's steps [T, N, width]");
  }

  Proof& p_;
  const ProgramSpec& s_;
  std::vector<bool> filled_;
};

}  // namespace

void proveProgram(Proof& p) {
  ProgramSpec spec;
  if (!p.demand(readProgram(p.op(), &spec), "a program")) return;
  ProgramProof(p, spec).run();
}

}  // namespace deeprnn::core
