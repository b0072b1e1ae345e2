// The optimizer's step over all parameters, and constraints (docs/plan.md, "Updating").
#include <cmath>
#include <limits>

#include "cpu/optimizers.h"

namespace deeprnn::cpu {

using core::Clip;
using core::Constraint;
using core::OpKind;
using core::Optimizer;
using core::Status;

namespace {

/** Elements a task; partial sums of norms are taken over these, so they do not depend on the number of
 * threads. */
constexpr size_t kChunk = 16384;

constexpr size_t kPer = core::kParameterInputs;

struct Chunk {
  size_t parameter, first, count;
};

using Rule = void (*)(const UpdateArgs&, size_t n);

Rule ruleOf(const KernelTable& k, Optimizer kind) {
  switch (kind) {
    case Optimizer::rmsprop:
      return k.rmsprop;
    case Optimizer::adam:
      return k.adam;
    case Optimizer::adagrad:
      return k.adagrad;
    case Optimizer::nadam:
      return k.nadam;
    case Optimizer::adamax:
      return k.adamax;
    case Optimizer::lion:
      return k.lion;
    case Optimizer::adadelta:
      return k.adadelta;
    case Optimizer::ftrl:
      return ftrl;
    default:
      return k.sgd;
  }
}

/** The moving average of a parameter, and, where it overwrites, the parameter from it. */
void follow(float* param, float* average, size_t n, double momentum, bool overwrites) {
  const auto old = static_cast<float>(momentum), fresh = static_cast<float>(1 - momentum);
  for (size_t i = 0; i < n; ++i) {
    average[i] = old * average[i] + fresh * param[i];
    if (overwrites) param[i] = average[i];
  }
}

Step update(const Operands& o) {
  const core::Op& op = o.op();
  const auto count = static_cast<size_t>(op.ints[1]);
  std::vector<Chunk> chunks;
  for (size_t p = 0; p < count; ++p) {
    const size_t n = o.inValue(1 + kPer * p).elements;
    for (size_t first = 0; first < n; first += kChunk)
      chunks.push_back({p, first, std::min(kChunk, n - first)});
  }
  // Sums of squares per chunk, then per parameter.
  size_t scratch = 2 * (chunks.size() + count + 1);
  const size_t forNorms = scratch;
  if (static_cast<Optimizer>(op.ints[0]) == Optimizer::adafactor) {
    for (size_t p = 0; p < count; ++p) {
      const core::Value& v = o.inValue(1 + kPer * p);
      scratch = std::max(scratch, forNorms + adafactorScratch(v.rows(), static_cast<size_t>(v.last())));
    }
  }
  return {
      [o, chunks, count, forNorms](const RunContext& c) {
        const core::Op& own = o.op();
        const auto kind = static_cast<Optimizer>(own.ints[0]);
        const auto clip = static_cast<Clip>(own.ints[2]);
        const double limit = own.floats[0], *k = own.floats.data() + 1, *hyper = o.in<double>(0);
        auto* partial = reinterpret_cast<double*>(c.scratch);
        double* squares = partial + chunks.size();
        double total = 0;
        const double share = hyper[core::HyperPlaces::share],
                     momentum = hyper[core::HyperPlaces::averageMomentum];
        const bool applies = hyper[core::HyperPlaces::apply] != 0,
                   overwrites = hyper[core::HyperPlaces::overwrite] != 0;
        const auto summed = [&](size_t p) { return o.inOut(6 + kPer * p); };
        const bool accumulates = count > 0 && summed(0);
        // What is clipped and applied: a gradient, or the sum of those since the last update.
        const auto gradient = [&](size_t p) { return accumulates ? summed(p) : o.in(2 + kPer * p); };
        if (accumulates) {
          c.pool.parallelFor(chunks.size(), [&](size_t i) {
            const auto [p, first, n] = chunks[i];
            c.k.add(summed(p) + first, o.in(2 + kPer * p) + first, summed(p) + first, n);
          });
        }
        const bool norms = o.out<double>(0) || clip == Clip::norm || clip == Clip::globalNorm;
        if (norms) {
          c.pool.parallelFor(chunks.size(), [&](size_t i) {
            partial[i] = c.k.sumSquares(gradient(chunks[i].parameter) + chunks[i].first, chunks[i].count);
          });
          std::fill(squares, squares + count, 0.0);
          for (size_t i = 0; i < chunks.size(); ++i) squares[chunks[i].parameter] += partial[i];
          for (size_t p = 0; p < count; ++p) {
            if (accumulates) squares[p] *= share * share;
            total += squares[p];
          }
        }
        if (double* out = o.out<double>(0)) {
          for (size_t p = 0; p < count; ++p) out[p] = std::sqrt(squares[p]);
          out[count] = std::sqrt(total);
        }
        const auto factor = [&](size_t p) {
          if (clip != Clip::norm && clip != Clip::globalNorm) return 1.0f;
          const double norm = std::sqrt(clip == Clip::norm ? squares[p] : total);
          return std::isfinite(norm) && norm > limit ? static_cast<float>(limit / norm) : 1.0f;
        };
        // Of parameter p the elements from `first`; slots of adafactor are whole.
        const auto argsOf = [&](size_t p, size_t first) {
          UpdateArgs u{};
          u.param = o.inOut(1 + kPer * p) + first;
          u.grad = gradient(p) + first;
          float** slots[3] = {&u.slot0, &u.slot1, &u.slot2};
          for (size_t s = 0; s < 3; ++s) {
            if (float* slot = o.inOut(3 + kPer * p + s)) *slots[s] = slot + first;
          }
          // A slot that the rule does not use may still be there.
          if (kind == Optimizer::sgd && k[0] == 0) u.slot0 = nullptr;
          u.scale = accumulates ? static_cast<float>(factor(p) * share) : factor(p);
          u.limit = clip == Clip::value ? static_cast<float>(limit) : std::numeric_limits<float>::infinity();
          u.keep =
              own.ints[4 + p] ? static_cast<float>(1.0 - hyper[0] * k[core::weightDecayPlace(kind)]) : 1.0f;
          u.flag = own.ints[3] == 1;
          std::copy(k, k + 6, u.k);
          std::copy(hyper, hyper + 8, u.hyper);
          return u;
        };
        const bool updates = !accumulates || applies;
        if (updates && kind == Optimizer::adafactor) {
          for (size_t p = 0; p < count; ++p) {
            const core::Value& v = o.inValue(1 + kPer * p);
            adafactor({argsOf(p, 0), v.rows(), static_cast<size_t>(v.last())}, c.pool, c.scratch + forNorms);
          }
        }
        const auto rule = ruleOf(c.k, kind);
        c.pool.parallelFor(chunks.size(), [&](size_t i) {
          const auto [p, first, n] = chunks[i];
          if (updates && kind != Optimizer::adafactor) rule(argsOf(p, first), n);
          if (updates && accumulates) std::fill_n(summed(p) + first, n, 0.0f);
          if (float* average = o.inOut(7 + kPer * p))
            follow(o.inOut(1 + kPer * p) + first, average + first, n, momentum, overwrites);
        });
        return Status();
      },
      scratch};
}

Step constraint(const Operands& o) {
  const core::Value& v = o.inValue(0);
  const auto kind = static_cast<Constraint>(o.op().ints[0]);
  const double limit = o.op().floats[0];
  const size_t n = v.elements;
  if (kind == Constraint::nonNeg) {
    return {[=](const RunContext&) {
      float* p = o.out(0);
      for (size_t i = 0; i < n; ++i) p[i] = p[i] < 0 ? 0.0f : p[i];
      return Status();
    }};
  }
  // A slice runs along `axis`: `count` slices of `length` elements.
  const bool vector = v.shape.size() < 2;
  const size_t rows = vector ? n : static_cast<size_t>(v.shape[0]),
               columns = vector ? 1 : (rows == 0 ? 0 : n / rows);
  const bool down = o.op().ints[1] == 0;
  const size_t count = down ? columns : rows, length = down ? rows : columns;
  const size_t sliceStep = down ? 1 : columns, elementStep = down ? columns : 1;
  return {[=](const RunContext&) {
    for (size_t s = 0; s < count && length > 0; ++s) {
      float* p = o.out(0) + s * sliceStep;
      double sum = 0;
      for (size_t i = 0; i < length; ++i) sum += static_cast<double>(p[i * elementStep]) * p[i * elementStep];
      const double norm = std::sqrt(sum);
      const double wanted = kind == Constraint::unitNorm ? 1.0 : std::min(norm, limit);
      const auto scale = static_cast<float>(wanted / (1e-7 + norm));
      for (size_t i = 0; i < length; ++i) p[i * elementStep] *= scale;
    }
    return Status();
  }};
}

}  // namespace

Step updateStep(const Operands& o) {
  return o.op().kind == OpKind::update ? update(o) : constraint(o);
}

}  // namespace deeprnn::cpu
