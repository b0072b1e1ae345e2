// Programs: what the same instructions make of every row at every step. Rows do not see each other, so that a
// thread takes some of them through all steps, and waits for nobody.
#include <algorithm>
#include <cmath>
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

/** Some rows of a value at one step. */
struct View {
  const float* data;
  size_t row, width;

  bool dense() const { return row == width; }
};

/** The zeros that an instruction reads where it names no value. */
constexpr float kZero = 0.0f;

/** y[r, j] = f(a[r, j mod a.width], b[r, j mod b.width]). */
template <class F>
void binary(const F& f, const View& a, const View& b, float* y, size_t rows, size_t width) {
  const bool wholeA = a.width == width, wholeB = b.width == width;
  size_t n = width;
  if (wholeA && wholeB && a.dense() && b.dense()) {
    n *= rows;
    rows = 1;
  }
  for (size_t r = 0; r < rows; ++r) {
    const float *x = a.data + r * a.row, *z = b.data + r * b.row;
    float* out = y + r * width;
    if (wholeA && wholeB) {
      for (size_t j = 0; j < n; ++j) out[j] = f(x[j], z[j]);
    } else if (wholeA && b.width == 1) {
      for (size_t j = 0; j < n; ++j) out[j] = f(x[j], *z);
    } else if (a.width == 1 && wholeB) {
      for (size_t j = 0; j < n; ++j) out[j] = f(*x, z[j]);
    } else {
      for (size_t j = 0; j < n; ++j) out[j] = f(x[j % a.width], z[j % b.width]);
    }
  }
}

template <class F>
void unary(const F& f, const View& a, float* y, size_t rows, size_t width) {
  binary([&](float x, float) { return f(x); }, a, a, y, rows, width);
}

/** Σ x in double, as means and variances are made of such sums: eight partial sums, which the compiler may
 * keep in vectors. */
float sumOf(const float* x, size_t n) {
  double s[8] = {};
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (size_t k = 0; k < 8; ++k) s[k] += x[i + k];
  }
  for (; i < n; ++i) s[0] += x[i];
  return static_cast<float>(((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7])));
}

/** Weights that a product reads, packed once until they change. */
using Packed = std::map<std::pair<int, bool>, std::shared_ptr<KeptWeights>>;

class Program {
 public:
  Program(const Operands& o, const Session& session) : o_(o), spec_(core::programOf(o.op())) {
    place(o);
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

    View view(int value, size_t t) const {
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
        for (const ProgramInstruction& own : s.instructions) instruction(program, own, t);
      }
      for (size_t k = 0; k < s.carries.size(); ++k) {
        float* to = program.o_.out(s.lastOf(k));
        if (!to) continue;
        const size_t from = firstRegister + static_cast<size_t>(s.carries[k].from),
                     width = places[from].width;
        std::memcpy(to + first * width, at(from, s.stepOf(s.T - 1)), count() * width * sizeof(float));
      }
    }

    void product(const ProgramInstruction& own, const View& a, float* y, size_t width) const {
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
      if (a.dense() || repeat == 1) {
        multiply(a.data, repeat == 1 ? a.row : g.k1, y, count() * repeat);
      } else {
        for (size_t r = 0; r < count(); ++r) multiply(a.data + r * a.row, g.k1, y + r * width, repeat);
      }
    }

    void activation(const ProgramInstruction& own, const View& a, const View& b, float* y,
                    size_t width) const {
      const auto kind = static_cast<Activation>(own.ints[0]);
      const auto alpha = static_cast<float>(own.floats[0]);
      const bool grad = own.kind == Instruction::activationGrad;
      const bool log = kind == Activation::logSoftmax, groups = log || kind == Activation::softmax;
      const size_t group = groups ? static_cast<size_t>(own.ints[1]) : width;
      // Of values that all rows share, each row is a call of its own.
      const bool dense = a.dense() && (!grad || b.dense());
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
                   rows = count(), n = rows * width;
      float* y = at(to, t);
      const auto value = [&](size_t k) { return k < own.from.size() ? view(own.from[k], t) : view(-1, t); };
      const View a = value(0), b = value(1);
      const auto same = [&] { return a.dense() && b.dense() && a.width == width && b.width == width; };
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
          return unary([](float x) { return std::log(x); }, a, y, rows, width);
        case Instruction::sqrt:
          return unary([](float x) { return std::sqrt(x); }, a, y, rows, width);
        case Instruction::abs:
          return unary([](float x) { return std::fabs(x); }, a, y, rows, width);
        case Instruction::sign:
          return unary([](float x) { return x > 0 ? 1.0f : (x < 0 ? -1.0f : 0.0f); }, a, y, rows, width);
        case Instruction::reciprocal:
          return unary([](float x) { return 1.0f / x; }, a, y, rows, width);
        case Instruction::scale: {
          const auto factor = static_cast<float>(own.floats[0]);
          return unary([=](float x) { return x * factor; }, a, y, rows, width);
        }
        case Instruction::shift: {
          const auto term = static_cast<float>(own.floats[0]);
          return unary([=](float x) { return x + term; }, a, y, rows, width);
        }
        case Instruction::add:
          if (same()) return c.k.add(a.data, b.data, y, n);
          return binary([](float x, float z) { return x + z; }, a, b, y, rows, width);
        case Instruction::subtract:
          return binary([](float x, float z) { return x - z; }, a, b, y, rows, width);
        case Instruction::multiply:
          if (same()) return c.k.multiply(a.data, b.data, y, n);
          return binary([](float x, float z) { return x * z; }, a, b, y, rows, width);
        case Instruction::divide:
          return binary([](float x, float z) { return x / z; }, a, b, y, rows, width);
        case Instruction::maximum:
          return binary([](float x, float z) { return x >= z ? x : z; }, a, b, y, rows, width);
        case Instruction::minimum:
          return binary([](float x, float z) { return x <= z ? x : z; }, a, b, y, rows, width);
        case Instruction::greater:
          return binary([](float x, float z) { return x > z ? 1.0f : 0.0f; }, a, b, y, rows, width);
        case Instruction::greaterEqual:
          return binary([](float x, float z) { return x >= z ? 1.0f : 0.0f; }, a, b, y, rows, width);
        case Instruction::select: {
          const View d = value(2);
          for (size_t r = 0; r < rows; ++r) {
            const float *when = a.data + r * a.row, *x = b.data + r * b.row, *z = d.data + r * d.row;
            for (size_t j = 0; j < width; ++j)
              y[r * width + j] = when[j % a.width] != 0 ? x[j % b.width] : z[j % d.width];
          }
          return;
        }
        case Instruction::sumGroups: {
          const auto group = static_cast<size_t>(own.ints[0]);
          return eachRow([=](const float* x, float* out) {
            for (size_t j = 0; j < width; ++j) out[j] = sumOf(x + j * group, group);
          });
        }
        case Instruction::expandGroups: {
          const auto group = static_cast<size_t>(own.ints[0]);
          return eachRow([=](const float* x, float* out) {
            for (size_t j = 0; j < width; ++j) out[j] = x[j / group];
          });
        }
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
            const View part = value(k);
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
