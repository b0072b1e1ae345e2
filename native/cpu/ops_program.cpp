// Programs: what the same instructions make of every row at every step. Rows do not see each other, so that a
// thread takes some of them through all steps, and waits for nobody.
#include <algorithm>
#include <map>

#include "core/philox.h"
#include "core/program.h"
#include "cpu/executable.h"

namespace deeprnn::cpu {

using core::Activation;
using core::Instruction;
using core::ProgramInstruction;
using core::ProgramOperandKind;
using core::ProgramSpec;
using core::Status;

namespace {

/** Where a value lies: row n of step t at `base + t·step + n·row`. */
struct Place {
  float* base = nullptr;
  size_t step = 0, row = 0, width = 0;
};

/** The zeros that an instruction reads where it names no value. */
constexpr float kZero = 0.0f;

/** Floats of a value on which instructions between two products work at a time, so that what one wrote the
 * next still finds in the first cache. */
constexpr size_t kAtOnce = 4096;

bool isDense(const RowView& v) {
  return v.row == v.width;
}

/** Weights that a product reads, packed once until they change. */
using Packed = std::map<std::pair<int, bool>, std::shared_ptr<KeptWeights>>;

class Program {
 public:
  Program(const Operands& o, const Session& session) : o_(o), spec_(core::programOf(o.op())) {
    place(o);
    divide();
    for (const ProgramInstruction& i : spec_.instructions) {
      if (i.kind != Instruction::matmul) continue;
      const bool transposed = i.ints[0] != 0;
      std::shared_ptr<KeptWeights>& known = packed_[{i.from[1], transposed}];
      if (known) continue;
      const core::ProgramOperand& w = spec_.operands[static_cast<size_t>(i.from[1])];
      const size_t size = transposed ? packedSize(session.kernels(), w.width, w.rows)
                                     : packedSize(session.kernels(), w.rows, w.width);
      known = std::make_shared<KeptWeights>(o, std::vector<size_t>{1 + static_cast<size_t>(i.from[1])},
                                            session, size);
      allocated_ = allocated_ && known->allocated();
      kept_ += size;
    }
  }

  bool allocated() const { return allocated_; }
  size_t scratch() const { return scratch_; }
  size_t kept() const { return kept_; }

  Status run(const RunContext& c) const {
    std::map<std::pair<int, bool>, const float*> weights;
    for (const auto& [key, kept] : packed_) {
      const core::ProgramOperand& w = spec_.operands[static_cast<size_t>(key.first)];
      const float* matrix = o_.in(1 + static_cast<size_t>(key.first));
      const bool transposed = key.second;
      weights[key] = kept->get([&](float* to) {
        if (transposed) {
          packAll(c.pool, c.k, to, matrix, 1, w.width, w.width, w.rows);
        } else {
          packAll(c.pool, c.k, to, matrix, w.width, 1, w.rows, w.width);
        }
      });
    }
    std::vector<Place> places = places_;
    for (size_t v = spec_.operands.size(); v < places.size(); ++v) {
      if (!places[v].base) places[v].base = c.scratch + offsets_[v];
    }
    const size_t tasks = std::min(spec_.N, static_cast<size_t>(c.pool.threads()));
    c.pool.parallelFor(tasks, [&](size_t task) {
      Rows{c, places, weights, spec_.N * task / tasks, spec_.N * (task + 1) / tasks}.all(*this);
    });
    return {};
  }

 private:
  /** Instructions begin … end−1, done for so many rows at a time: one product, or what lies between two. */
  struct Stretch {
    size_t begin, end, rows;
  };

  /** Rows first … last−1 on their way through the steps. */
  struct Rows {
    const RunContext& c;
    const std::vector<Place>& places;
    const std::map<std::pair<int, bool>, const float*>& weights;
    size_t first, last;

    size_t count() const { return last - first; }

    float* at(size_t value, size_t t) const {
      const Place& p = places[value];
      return p.base + t * p.step + first * p.row;
    }

    RowView view(int value, size_t t) const {
      if (value < 0) return {&kZero, 0, 1};
      const auto v = static_cast<size_t>(value);
      return {at(v, t), places[v].row, places[v].width};
    }

    void all(const Program& program) const {
      const ProgramSpec& s = program.spec_;
      const size_t firstCarry = s.operands.size(), firstRegister = s.firstRegister();
      for (size_t i = 0; i < s.T; ++i) {
        const size_t t = s.stepOf(i);
        for (size_t k = 0; k < s.carries.size(); ++k) {
          const auto& [from, init] = s.carries[k];
          const size_t bytes = count() * places[firstCarry + k].width * sizeof(float);
          float* to = at(firstCarry + k, t);
          if (i > 0) {
            std::memcpy(to, at(firstRegister + static_cast<size_t>(from), s.stepOf(i - 1)), bytes);
          } else if (init >= 0) {
            std::memcpy(to, at(static_cast<size_t>(init), t), bytes);
          } else {
            std::memset(to, 0, bytes);
          }
        }
        for (const Stretch& own : program.stretches_) stretch(program, own, t);
      }
      for (size_t k = 0; k < s.carries.size(); ++k) {
        float* to = program.o_.out(s.lastOf(k));
        if (!to) continue;
        const size_t from = firstRegister + static_cast<size_t>(s.carries[k].from),
                     width = places[from].width;
        std::memcpy(to + first * width, at(from, s.stepOf(s.T - 1)), count() * width * sizeof(float));
      }
    }

    void stretch(const Program& program, const Stretch& own, size_t t) const {
      for (size_t from = first; from < last; from += own.rows) {
        const Rows part{c, places, weights, from, std::min(last, from + own.rows)};
        for (size_t i = own.begin; i < own.end; ++i)
          part.instruction(program, program.spec_.instructions[i], t);
      }
    }

    void product(const ProgramInstruction& own, const RowView& a, float* y, size_t width) const {
      const auto repeat = static_cast<size_t>(own.ints[1]);
      Gemm g;
      g.n = width / repeat;
      g.k1 = a.width / repeat;
      g.b1 = weights.at({own.from[1], own.ints[0] != 0});
      g.cRow = g.n;
      const auto multiply = [&](const float* from, size_t fromRow, float* to, size_t rows) {
        g.m = rows;
        g.a1 = from;
        g.a1Row = fromRow;
        g.c = to;
        c.k.gemm(g, 0, panels(c.k, g.n));
      };
      if (isDense(a) || repeat == 1) {
        multiply(a.data, repeat == 1 ? a.row : g.k1, y, count() * repeat);
      } else {
        for (size_t r = 0; r < count(); ++r) multiply(a.data + r * a.row, g.k1, y + r * width, repeat);
      }
    }

    void activation(const ProgramInstruction& own, const RowView& a, const RowView& b, float* y,
                    size_t width) const {
      const auto kind = static_cast<Activation>(own.ints[0]);
      const auto alpha = static_cast<float>(own.floats[0]);
      const bool grad = own.kind == Instruction::activationGrad;
      const bool log = kind == Activation::logSoftmax, groups = log || kind == Activation::softmax;
      const size_t group = groups ? static_cast<size_t>(own.ints[1]) : width;
      // Of values that all rows share, each row is a call of its own.
      const bool dense = isDense(a) && (!grad || isDense(b));
      const size_t calls = dense ? 1 : count(), rows = dense ? count() : 1;
      for (size_t r = 0; r < calls; ++r) {
        const float *x = a.data + r * a.row, *dy = b.data + r * b.row;
        float* to = y + r * width;
        if (groups && grad) {
          c.k.softmaxGrad(log, x, dy, to, rows * width / group, group);
        } else if (groups) {
          c.k.softmax(log, x, to, rows * width / group, group);
        } else if (grad) {
          c.k.activateGrad(kind, alpha, x, dy, to, rows * width);
        } else {
          c.k.activate(kind, alpha, x, to, rows * width);
        }
      }
    }

    void mask(const Program& program, const ProgramInstruction& own, float* y, size_t width, size_t t) const {
      const ProgramSpec& s = program.spec_;
      core::Mask m = core::Mask::of(s.seedLo, s.seedHi, static_cast<uint32_t>(own.ints[0]),
                                    *program.o_.in<double>(0), own.floats[0]);
      m.scale = static_cast<float>(own.floats[1]);
      const size_t row = (own.ints[1] ? 0 : t * s.N) + first;
      m.factors(row * width, count() * width, y);
    }

    void instruction(const Program& program, const ProgramInstruction& own, size_t t) const {
      const ProgramSpec& s = program.spec_;
      const size_t to = s.firstRegister() + static_cast<size_t>(own.to), width = places[to].width,
                   rows = count();
      float* y = at(to, t);
      const auto value = [&](size_t k) { return k < own.from.size() ? view(own.from[k], t) : view(-1, t); };
      const RowView a = value(0), b = value(1);
      const auto eachRow = [&](const auto& body) {
        for (size_t r = 0; r < rows; ++r) body(a.data + r * a.row, y + r * width);
      };
      switch (own.kind) {
        case Instruction::matmul:
          return product(own, a, y, width);
        case Instruction::activation:
        case Instruction::activationGrad:
          return activation(own, a, b, y, width);
        case Instruction::log:
        case Instruction::sqrt:
        case Instruction::abs:
        case Instruction::sign:
        case Instruction::reciprocal:
        case Instruction::scale:
        case Instruction::shift:
        case Instruction::add:
        case Instruction::subtract:
        case Instruction::multiply:
        case Instruction::divide:
        case Instruction::maximum:
        case Instruction::minimum:
        case Instruction::greater:
        case Instruction::greaterEqual:
        case Instruction::select: {
          const float number = own.floats.empty() ? 0.0f : static_cast<float>(own.floats[0]);
          return c.k.columnwise(own.kind, number, a, b, value(2), y, rows, width);
        }
        case Instruction::sumGroups:
          return c.k.sumGroups(a, y, rows, width, static_cast<size_t>(own.ints[0]));
        case Instruction::expandGroups:
          return c.k.expandGroups(a, y, rows, width, static_cast<size_t>(own.ints[0]));
        case Instruction::slice: {
          const auto start = static_cast<size_t>(own.ints[0]);
          return eachRow(
              [=](const float* x, float* out) { std::memcpy(out, x + start, width * sizeof(float)); });
        }
        case Instruction::pad: {
          const auto start = static_cast<size_t>(own.ints[0]);
          return eachRow([=, from = a.width](const float* x, float* out) {
            std::memset(out, 0, width * sizeof(float));
            std::memcpy(out + start, x, from * sizeof(float));
          });
        }
        case Instruction::concat: {
          float* column = y;
          for (size_t k = 0; k < own.from.size(); ++k) {
            const RowView part = value(k);
            for (size_t r = 0; r < rows; ++r)
              std::memcpy(column + r * width, part.data + r * part.row, part.width * sizeof(float));
            column += part.width;
          }
          return;
        }
        case Instruction::gather: {
          const auto size = static_cast<size_t>(own.ints[0]);
          return eachRow([&](const float* x, float* out) {
            for (size_t j = 0; j < width / size; ++j) {
              const int32_t source = own.ints[1 + j];
              if (source < 0) {
                std::memset(out + j * size, 0, size * sizeof(float));
              } else {
                std::memcpy(out + j * size, x + static_cast<size_t>(source) * size, size * sizeof(float));
              }
            }
          });
        }
        case Instruction::scatterAdd: {
          const auto size = static_cast<size_t>(own.ints[0]);
          return eachRow([&](const float* x, float* out) {
            std::memset(out, 0, width * sizeof(float));
            for (size_t j = 0; j + 1 < own.ints.size(); ++j) {
              if (own.ints[1 + j] < 0) continue;
              float* place = out + static_cast<size_t>(own.ints[1 + j]) * size;
              for (size_t k = 0; k < size; ++k) place[k] += x[j * size + k];
            }
          });
        }
        case Instruction::valid: {
          const auto* valid = program.o_.in<int32_t>(1 + static_cast<size_t>(own.from[0])) + t * s.N + first;
          for (size_t r = 0; r < rows; ++r) y[r] = valid[r] != 0 ? 1.0f : 0.0f;
          return;
        }
        case Instruction::dropMask:
          return mask(program, own, y, width, t);
      }
    }
  };

  void divide() {
    const std::vector<ProgramInstruction>& all = spec_.instructions;
    const auto isProduct = [&](size_t i) { return all[i].kind == Instruction::matmul; };
    for (size_t begin = 0, end = 0; begin < all.size(); begin = end) {
      end = begin + 1;
      if (isProduct(begin)) {
        stretches_.push_back({begin, end, spec_.N});
        continue;
      }
      while (end < all.size() && !isProduct(end)) ++end;
      size_t width = 1;
      for (size_t i = begin; i < end; ++i)
        width = std::max(width, spec_.widthOf(spec_.firstRegister() + static_cast<size_t>(all[i].to)));
      stretches_.push_back({begin, end, std::max<size_t>(1, kAtOnce / width)});
    }
  }

  /** Where every value lies; what no output takes lies in scratch, one step of it. */
  void place(const Operands& o) {
    const size_t N = spec_.N;
    places_.resize(spec_.values());
    offsets_.resize(spec_.values());
    for (size_t i = 0; i < spec_.operands.size(); ++i) {
      const core::ProgramOperand& own = spec_.operands[i];
      const bool weight = own.kind == ProgramOperandKind::weight,
                 sequence = own.kind == ProgramOperandKind::sequence;
      // Operands are only read.
      places_[i] = {const_cast<float*>(o.in(1 + i)), sequence ? N * own.width : 0, weight ? 0 : own.width,
                    own.width};
    }
    for (size_t v = spec_.operands.size(); v < spec_.values(); ++v) {
      const size_t k = v - spec_.operands.size(), width = spec_.widthOf(v);
      const bool carry = k < spec_.carries.size();
      float* out = o.out(carry ? spec_.allOfCarry(k) : spec_.allOfRegister(k - spec_.carries.size()));
      places_[v] = {out, out ? N * width : 0, width, width};
      if (out) continue;
      offsets_[v] = scratch_;
      scratch_ += roundUp(N * width, 16);
    }
  }

  const Operands o_;
  const ProgramSpec spec_;
  std::vector<Stretch> stretches_;
  std::vector<Place> places_;
  std::vector<size_t> offsets_;
  size_t scratch_ = 0, kept_ = 0;
  bool allocated_ = true;
  Packed packed_;
};

}  // namespace

Step programStep(const Operands& o, const Session& session) {
  auto program = std::make_shared<const Program>(o, session);
  if (!program->allocated()) return {};
  return {[program](const RunContext& c) { return program->run(c); }, program->scratch(), program->kept()};
}

}  // namespace deeprnn::cpu
