// Programs: what the same instructions make of every row at every step. Rows do not see each other, so that a
// block takes some of them through all steps in one kernel, and waits for no other block.
#include <algorithm>
#include <memory>

#include "core/philox.h"
#include "core/program.h"
#include "cuda/activations.h"
#include "cuda/executable.h"

namespace deeprnn::cuda {
namespace {

using core::Instruction;
using core::ProgramInstruction;
using core::ProgramOperandKind;
using core::ProgramSpec;

/** Blocks that a program is cut in, where it has rows enough: some for each multiprocessor. */
constexpr size_t kBlocks = 512;

/** Row n of step t of a value: `base + t·step + n·row`; of one that lies in scratch every lane has its own.
 */
struct Place {
  float* base;
  uint64_t step, lane;
  uint32_t row, width;
};

/** An instruction; `list` is where its column numbers begin. */
struct Coded {
  Instruction kind;
  int32_t to;
  int32_t from[3];
  int32_t ints[2];
  int32_t list;
  float floats[2];
  uint32_t threshold;
};

struct CodedCarry {
  int32_t value, from, init;
  /** Where the value after the last step goes; may be null. */
  float* last;
};

/** A program in device memory. */
struct Program {
  const Place* places;
  const Coded* instructions;
  const CodedCarry* carries;
  const int32_t* lists;
  const double* step;
  uint64_t T, N, rows;
  uint32_t seedLo, seedHi;
  int32_t instructionCount, carryCount;
  bool reverse;
};

/** Some rows of a value at one step; of none, zeros. */
struct View {
  const float* data;
  uint32_t row, width;

  __device__ __forceinline__ float operator()(uint32_t r, uint32_t j) const {
    return data ? data[static_cast<uint64_t>(r) * row + (width == 1 ? 0 : j % width)] : 0.0f;
  }
};

__device__ __forceinline__ float* at(const Program& p, int32_t value, uint64_t t, uint64_t first) {
  const Place& place = p.places[value];
  return place.base + t * place.step + blockIdx.y * place.lane + first * place.row;
}

__device__ __forceinline__ View view(const Program& p, int32_t value, uint64_t t, uint64_t first) {
  if (value < 0) return {nullptr, 0, 1};
  return {at(p, value, t, first), p.places[value].row, p.places[value].width};
}

/** body(row, column) for all numbers of the block's rows. */
template <class Body>
__device__ __forceinline__ void forNumbers(uint32_t rows, uint32_t width, const Body& body) {
  for (uint32_t e = threadIdx.x; e < rows * width; e += blockDim.x) body(e / width, e % width);
}

/** body(row, column, lane) by whole warps. */
template <class Body>
__device__ __forceinline__ void forNumbersByWarps(uint32_t rows, uint32_t width, const Body& body) {
  for (uint32_t e = threadIdx.x / 32; e < rows * width; e += blockDim.x / 32)
    body(e / width, e % width, threadIdx.x % 32);
}

template <class F>
__device__ __forceinline__ void unary(const View& a, float* y, uint32_t rows, uint32_t width, const F& f) {
  forNumbers(rows, width, [&](uint32_t r, uint32_t j) { y[r * width + j] = f(a(r, j)); });
}

template <class F>
__device__ __forceinline__ void binary(const View& a, const View& b, float* y, uint32_t rows, uint32_t width,
                                       const F& f) {
  forNumbers(rows, width, [&](uint32_t r, uint32_t j) { y[r * width + j] = f(a(r, j), b(r, j)); });
}

__device__ void product(const Coded& own, const View& a, const float* w, float* y, uint32_t rows,
                        uint32_t width) {
  const auto repeat = static_cast<uint32_t>(own.ints[1]);
  const uint32_t K = a.width / repeat, M = width / repeat;
  if (own.ints[0] == 0) {
    forNumbers(rows * repeat, M, [&](uint32_t e, uint32_t m) {
      const float* x = a.data + static_cast<uint64_t>(e / repeat) * a.row + e % repeat * K;
      float sum = 0;
      for (uint32_t k = 0; k < K; ++k) sum = fmaf(x[k], w[static_cast<uint64_t>(k) * M + m], sum);
      y[e * M + m] = sum;
    });
    return;
  }
  // Rows of the weights are what is summed over: a warp reads them side by side.
  forNumbersByWarps(rows * repeat, M, [&](uint32_t e, uint32_t m, uint32_t lane) {
    const float* x = a.data + static_cast<uint64_t>(e / repeat) * a.row + e % repeat * K;
    float sum = 0;
    for (uint32_t k = lane; k < K; k += 32) sum = fmaf(x[k], w[static_cast<uint64_t>(m) * K + k], sum);
    for (int bits = 16; bits > 0; bits >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, bits);
    if (lane == 0) y[e * M + m] = sum;
  });
}

/** softmax and its logarithm, a group of columns a thread. */
__device__ void groupsOf(const Coded& own, const View& a, const View& b, float* y, uint32_t rows,
                         uint32_t width) {
  const bool log = static_cast<Activation>(own.ints[0]) == Activation::logSoftmax,
             grad = own.kind == Instruction::activationGrad;
  const auto group = static_cast<uint32_t>(own.ints[1]);
  forNumbers(rows, width / group, [&](uint32_t r, uint32_t g) {
    const uint32_t first = g * group;
    float* out = y + r * width + first;
    if (grad) {
      float sum = 0;
      for (uint32_t j = 0; j < group; ++j) sum += b(r, first + j) * (log ? 1.0f : a(r, first + j));
      for (uint32_t j = 0; j < group; ++j) {
        const float from = a(r, first + j), dy = b(r, first + j);
        out[j] = log ? dy - expf(from) * sum : from * (dy - sum);
      }
      return;
    }
    float top = a(r, first);
    for (uint32_t j = 1; j < group; ++j) top = fmaxf(top, a(r, first + j));
    float sum = 0;
    for (uint32_t j = 0; j < group; ++j) sum += expf(a(r, first + j) - top);
    const float logSum = logf(sum);
    for (uint32_t j = 0; j < group; ++j) {
      const float below = a(r, first + j) - top;
      out[j] = log ? below - logSum : expf(below) / sum;
    }
  });
}

__device__ void execute(const Program& p, const Coded& own, uint64_t t, uint64_t first, uint32_t rows) {
  float* y = at(p, own.to, t, first);
  const uint32_t width = p.places[own.to].width;
  const View a = view(p, own.from[0], t, first), b = view(p, own.from[1], t, first),
             c = view(p, own.from[2], t, first);
  const float f = own.floats[0];
  const int32_t* list = p.lists + own.list;
  switch (own.kind) {
    case Instruction::matmul:
      product(own, a, p.places[own.from[1]].base, y, rows, width);
      break;
    case Instruction::activation:
    case Instruction::activationGrad: {
      const auto kind = static_cast<Activation>(own.ints[0]);
      if (kind == Activation::softmax || kind == Activation::logSoftmax) {
        groupsOf(own, a, b, y, rows, width);
      } else if (own.kind == Instruction::activation) {
        unary(a, y, rows, width, [=](float x) { return activate(kind, f, x); });
      } else {
        binary(a, b, y, rows, width, [=](float from, float dy) { return dy * slope(kind, f, from); });
      }
      break;
    }
    case Instruction::log:
      unary(a, y, rows, width, [](float x) { return logf(x); });
      break;
    case Instruction::sqrt:
      unary(a, y, rows, width, [](float x) { return sqrtf(x); });
      break;
    case Instruction::abs:
      unary(a, y, rows, width, [](float x) { return fabsf(x); });
      break;
    case Instruction::sign:
      unary(a, y, rows, width, [](float x) { return x > 0 ? 1.0f : (x < 0 ? -1.0f : 0.0f); });
      break;
    case Instruction::reciprocal:
      unary(a, y, rows, width, [](float x) { return 1.0f / x; });
      break;
    case Instruction::scale:
      unary(a, y, rows, width, [=](float x) { return x * f; });
      break;
    case Instruction::shift:
      unary(a, y, rows, width, [=](float x) { return x + f; });
      break;
    case Instruction::add:
      binary(a, b, y, rows, width, [](float x, float z) { return x + z; });
      break;
    case Instruction::subtract:
      binary(a, b, y, rows, width, [](float x, float z) { return x - z; });
      break;
    case Instruction::multiply:
      binary(a, b, y, rows, width, [](float x, float z) { return x * z; });
      break;
    case Instruction::divide:
      binary(a, b, y, rows, width, [](float x, float z) { return x / z; });
      break;
    case Instruction::maximum:
      binary(a, b, y, rows, width, [](float x, float z) { return x >= z || x != x ? x : z; });
      break;
    case Instruction::minimum:
      binary(a, b, y, rows, width, [](float x, float z) { return x <= z || x != x ? x : z; });
      break;
    case Instruction::greater:
      binary(a, b, y, rows, width, [](float x, float z) { return x > z ? 1.0f : 0.0f; });
      break;
    case Instruction::greaterEqual:
      binary(a, b, y, rows, width, [](float x, float z) { return x >= z ? 1.0f : 0.0f; });
      break;
    case Instruction::select:
      forNumbers(rows, width,
                 [&](uint32_t r, uint32_t j) { y[r * width + j] = a(r, j) != 0 ? b(r, j) : c(r, j); });
      break;
    case Instruction::sumGroups: {
      const auto group = static_cast<uint32_t>(own.ints[0]);
      // In double, as means and variances are made of such sums.
      forNumbersByWarps(rows, width, [&](uint32_t r, uint32_t j, uint32_t lane) {
        double sum = 0;
        for (uint32_t k = lane; k < group; k += 32) sum += a(r, j * group + k);
        for (int bits = 16; bits > 0; bits >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, bits);
        if (lane == 0) y[r * width + j] = static_cast<float>(sum);
      });
      break;
    }
    case Instruction::expandGroups: {
      const auto group = static_cast<uint32_t>(own.ints[0]);
      forNumbers(rows, width, [&](uint32_t r, uint32_t j) { y[r * width + j] = a(r, j / group); });
      break;
    }
    case Instruction::slice: {
      const auto start = static_cast<uint32_t>(own.ints[0]);
      forNumbers(rows, width, [&](uint32_t r, uint32_t j) { y[r * width + j] = a(r, start + j); });
      break;
    }
    case Instruction::pad: {
      const auto start = static_cast<uint32_t>(own.ints[0]);
      forNumbers(rows, width, [&](uint32_t r, uint32_t j) {
        y[r * width + j] = j >= start && j < start + a.width ? a(r, j - start) : 0.0f;
      });
      break;
    }
    case Instruction::concat: {
      // One part; the register's other columns are those of other instructions.
      const auto start = static_cast<uint32_t>(own.ints[0]);
      forNumbers(rows, a.width, [&](uint32_t r, uint32_t j) { y[r * width + start + j] = a(r, j); });
      break;
    }
    case Instruction::gather: {
      const auto size = static_cast<uint32_t>(own.ints[0]);
      forNumbers(rows, width, [&](uint32_t r, uint32_t j) {
        const int32_t source = list[j / size];
        y[r * width + j] = source < 0 ? 0.0f : a(r, static_cast<uint32_t>(source) * size + j % size);
      });
      break;
    }
    case Instruction::scatterAdd: {
      // The list has, for every group, where its terms begin, and then all terms in rising order.
      const auto size = static_cast<uint32_t>(own.ints[0]);
      const int32_t* terms = list + width / size + 1;
      forNumbers(rows, width, [&](uint32_t r, uint32_t j) {
        float sum = 0;
        for (int32_t k = list[j / size]; k < list[j / size + 1]; ++k)
          sum += a(r, static_cast<uint32_t>(terms[k]) * size + j % size);
        y[r * width + j] = sum;
      });
      break;
    }
    case Instruction::valid: {
      const auto* valid = reinterpret_cast<const int32_t*>(p.places[own.from[0]].base) + t * p.N + first;
      for (uint32_t r = threadIdx.x; r < rows; r += blockDim.x) y[r] = valid[r] != 0 ? 1.0f : 0.0f;
      break;
    }
    case Instruction::dropMask: {
      core::Mask mask = core::Mask::of(p.seedLo, p.seedHi, static_cast<uint32_t>(own.ints[0]), *p.step, 0.0);
      mask.threshold = own.threshold;
      mask.scale = own.floats[1];
      const uint64_t before = ((own.ints[1] ? 0 : t * p.N) + first) * width;
      forNumbers(rows, width,
                 [&](uint32_t r, uint32_t j) { y[r * width + j] = mask.factor(before + r * width + j); });
      break;
    }
  }
}

/** A block takes `rows` rows through its lane's steps: all of them where a step needs the one before. */
__global__ void __launch_bounds__(kThreads) runProgram(const Program p) {
  const uint64_t first = blockIdx.x * p.rows;
  const auto rows = static_cast<uint32_t>(p.N - first < p.rows ? p.N - first : p.rows);
  for (uint64_t i = blockIdx.y; i < p.T; i += gridDim.y) {
    const uint64_t t = p.reverse ? p.T - 1 - i : i, before = p.reverse ? t + 1 : t - 1;
    for (int32_t k = 0; k < p.carryCount; ++k) {
      const CodedCarry& carry = p.carries[k];
      float* to = at(p, carry.value, t, first);
      const uint32_t n = rows * p.places[carry.value].width;
      const float* from = i > 0             ? at(p, carry.from, before, first)
                          : carry.init >= 0 ? at(p, carry.init, t, first)
                                            : nullptr;
      for (uint32_t e = threadIdx.x; e < n; e += blockDim.x) to[e] = from ? from[e] : 0.0f;
    }
    __syncthreads();
    for (int32_t k = 0; k < p.instructionCount; ++k) {
      execute(p, p.instructions[k], t, first, rows);
      __syncthreads();
    }
  }
  for (int32_t k = 0; k < p.carryCount; ++k) {
    const CodedCarry& carry = p.carries[k];
    if (!carry.last) continue;
    const uint32_t width = p.places[carry.from].width;
    const float* from = at(p, carry.from, p.reverse ? 0 : p.T - 1, first);
    for (uint32_t e = threadIdx.x; e < rows * width; e += blockDim.x) carry.last[first * width + e] = from[e];
  }
}

/** How a program is cut, and its form in device memory. */
class ProgramRun {
 public:
  explicit ProgramRun(const Operands& o) : o_(o), spec_(core::programOf(o.op())) {
    rows_ = (spec_.N + kBlocks - 1) / kBlocks;
    blocks_ = (spec_.N + rows_ - 1) / rows_;
    // Steps that do not need each other go side by side.
    lanes_ = spec_.carries.empty() ? std::min(spec_.T, std::max<size_t>(1, kBlocks / blocks_)) : 1;
    for (size_t v = spec_.operands.size(); v < spec_.values(); ++v) {
      if (!outputOf(v)) laneFloats_ += spec_.N * spec_.widthOf(v);
    }
  }

  size_t scratch() const { return lanes_ * laneFloats_ * sizeof(float); }

  /** Places, then carries, instructions and lists of columns. */
  std::vector<unsigned char> table(unsigned char* scratch) {
    std::vector<int32_t> lists;
    const std::vector<Coded> code = coded(&lists);
    std::vector<unsigned char> bytes;
    const auto append = [&bytes](const auto& rows) {
      bytes.resize((bytes.size() + 15) / 16 * 16);
      const size_t begin = bytes.size();
      const auto* from = reinterpret_cast<const unsigned char*>(rows.data());
      bytes.insert(bytes.end(), from, from + rows.size() * sizeof(rows[0]));
      return begin;
    };
    placesAt_ = append(places(reinterpret_cast<float*>(scratch)));
    carriesAt_ = append(carries());
    codeAt_ = append(code);
    codeCount_ = code.size();
    listsAt_ = append(lists);
    return bytes;
  }

  Status run(const RunContext& c, const unsigned char* table) const {
    Program p = {};
    p.places = reinterpret_cast<const Place*>(table + placesAt_);
    p.carries = reinterpret_cast<const CodedCarry*>(table + carriesAt_);
    p.instructions = reinterpret_cast<const Coded*>(table + codeAt_);
    p.lists = reinterpret_cast<const int32_t*>(table + listsAt_);
    p.step = o_.in<double>(0);
    p.T = spec_.T;
    p.N = spec_.N;
    p.rows = rows_;
    p.seedLo = spec_.seedLo;
    p.seedHi = spec_.seedHi;
    p.instructionCount = static_cast<int32_t>(codeCount_);
    p.carryCount = static_cast<int32_t>(spec_.carries.size());
    p.reverse = spec_.reverse;
    const Launch l = {"program", dim3(static_cast<unsigned>(blocks_), static_cast<unsigned>(lanes_)),
                      dim3(kThreads), c.stream};
    return launch(l, runProgram, p);
  }

 private:
  /** Where all steps of a carry or register go; null where they stay in scratch. */
  float* outputOf(size_t value) const {
    const size_t k = value - spec_.operands.size();
    return o_.out(k < spec_.carries.size() ? spec_.allOfCarry(k)
                                           : spec_.allOfRegister(k - spec_.carries.size()));
  }

  std::vector<Place> places(float* scratch) const {
    std::vector<Place> all;
    for (size_t i = 0; i < spec_.operands.size(); ++i) {
      const core::ProgramOperand& own = spec_.operands[i];
      const bool weight = own.kind == ProgramOperandKind::weight,
                 sequence = own.kind == ProgramOperandKind::sequence;
      const auto width = static_cast<uint32_t>(own.width);
      // Operands are only read.
      all.push_back({const_cast<float*>(o_.in(1 + i)), sequence ? spec_.N * own.width : 0, 0,
                     weight ? 0 : width, width});
    }
    for (size_t v = spec_.operands.size(); v < spec_.values(); ++v) {
      const size_t width = spec_.widthOf(v);
      float* out = outputOf(v);
      const auto columns = static_cast<uint32_t>(width);
      if (out) {
        all.push_back({out, spec_.N * width, 0, columns, columns});
        continue;
      }
      all.push_back({scratch, 0, laneFloats_, columns, columns});
      scratch += spec_.N * width;
    }
    return all;
  }

  std::vector<CodedCarry> carries() const {
    std::vector<CodedCarry> all;
    for (size_t k = 0; k < spec_.carries.size(); ++k) {
      const auto& [from, init] = spec_.carries[k];
      all.push_back({static_cast<int32_t>(spec_.operands.size() + k),
                     static_cast<int32_t>(spec_.firstRegister()) + from, init, o_.out(spec_.lastOf(k))});
    }
    return all;
  }

  std::vector<Coded> coded(std::vector<int32_t>* lists) const {
    std::vector<Coded> all;
    for (const ProgramInstruction& own : spec_.instructions) {
      Coded code = {};
      code.kind = own.kind;
      code.to = static_cast<int32_t>(spec_.firstRegister()) + own.to;
      code.list = static_cast<int32_t>(lists->size());
      for (size_t k = 0; k < 3; ++k) code.from[k] = k < own.from.size() ? own.from[k] : -1;
      for (size_t k = 0; k < std::min<size_t>(own.ints.size(), 2); ++k) code.ints[k] = own.ints[k];
      for (size_t k = 0; k < own.floats.size(); ++k) code.floats[k] = static_cast<float>(own.floats[k]);
      if (own.kind == Instruction::dropMask)
        code.threshold = core::Mask::of(0, 0, 0, 0, own.floats[0]).threshold;
      if (own.kind == Instruction::gather) lists->insert(lists->end(), own.ints.begin() + 1, own.ints.end());
      if (own.kind == Instruction::scatterAdd)
        appendTerms(own.ints, spec_.registers[static_cast<size_t>(own.to)], lists);
      if (own.kind != Instruction::concat) {
        all.push_back(code);
        continue;
      }
      // A kernel has no list of parts: each is an instruction.
      size_t column = 0;
      for (int part : own.from) {
        code.from[0] = part;
        code.ints[0] = static_cast<int32_t>(column);
        all.push_back(code);
        column += spec_.widthOf(static_cast<size_t>(part));
      }
    }
    return all;
  }

  /** Of every group where its terms begin, then all terms, group by group, each in rising order. */
  static void appendTerms(const std::vector<int32_t>& ints, size_t width, std::vector<int32_t>* lists) {
    std::vector<std::vector<int32_t>> termsOf(width / static_cast<size_t>(ints[0]));
    for (size_t j = 0; j + 1 < ints.size(); ++j) {
      if (ints[1 + j] >= 0) termsOf[static_cast<size_t>(ints[1 + j])].push_back(static_cast<int32_t>(j));
    }
    int32_t begin = 0;
    for (const std::vector<int32_t>& terms : termsOf) {
      lists->push_back(begin);
      begin += static_cast<int32_t>(terms.size());
    }
    lists->push_back(begin);
    for (const std::vector<int32_t>& terms : termsOf) lists->insert(lists->end(), terms.begin(), terms.end());
  }

  const Operands o_;
  const ProgramSpec spec_;
  size_t rows_ = 1, blocks_ = 1, lanes_ = 1, laneFloats_ = 0;
  size_t placesAt_ = 0, carriesAt_ = 0, codeAt_ = 0, codeCount_ = 0, listsAt_ = 0;
};

}  // namespace

Step programStep(const Operands& o) {
  const auto program = std::make_shared<ProgramRun>(o);
  Step step;
  step.scratch = program->scratch();
  step.table = [=](unsigned char* scratch) { return program->table(scratch); };
  step.run = [=](const RunContext& c, const OpMemory& own) { return program->run(c, own.table); };
  return step;
}

}  // namespace deeprnn::cuda
