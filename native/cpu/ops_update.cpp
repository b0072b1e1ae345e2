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

/** l1·Σ|p| + l2·Σp², of a parameter. */
struct Penalty {
  double l1, l2;

  bool any() const { return l1 != 0 || l2 != 0; }
};

/**
 * Reads the gradient at `grad` of `n` elements of a parameter, with that of its penalty: `visit(gradient,
 * first, count)` for one part after another. A part that has a penalty lies in the first cache only, and has
 * the same bits at each reading.
 */
template <class Visit>
void readGradient(const KernelTable& k, const Penalty& penalty, const float* grad, const float* param,
                  size_t n, const Visit& visit) {
  if (!penalty.any()) {
    visit(grad, 0, n);
    return;
  }
  constexpr size_t kPart = 1024;
  alignas(64) float part[kPart];
  for (size_t first = 0; first < n; first += kPart) {
    const size_t count = std::min(kPart, n - first);
    k.addPenaltyGrad(grad + first, param + first, penalty.l1, penalty.l2, part, count);
    visit(part, first, count);
  }
}

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

/** The numbers of parameter p: l1, l2, weight decay, factor of the rate. */
const double* ownFloats(const core::Op& op, size_t p) {
  return op.floats.data() + core::kUpdateFloats + core::kParameterFloats * p;
}

Penalty penaltyOf(const core::Op& op, size_t p) {
  return {ownFloats(op, p)[0], ownFloats(op, p)[1]};
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
      const size_t own = adafactorScratch(v.rows(), static_cast<size_t>(v.last()));
      scratch = std::max(scratch, forNorms + own + (penaltyOf(op, p).any() ? v.elements : 0));
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
        // This step's gradient of a chunk.
        const auto readOwn = [&](const Chunk& chunk, const auto& visit) {
          const auto [p, first, n] = chunk;
          readGradient(c.k, penaltyOf(own, p), o.in(2 + kPer * p) + first, o.in(1 + kPer * p) + first, n,
                       visit);
        };
        // What is clipped and applied: that, or the sum of those since the last update.
        const auto read = [&](const Chunk& chunk, const auto& visit) {
          if (accumulates)
            visit(summed(chunk.parameter) + chunk.first, 0, chunk.count);
          else
            readOwn(chunk, visit);
        };
        if (accumulates) {
          c.pool.parallelFor(chunks.size(), [&](size_t i) {
            float* sum = summed(chunks[i].parameter) + chunks[i].first;
            readOwn(chunks[i],
                    [&](const float* g, size_t first, size_t n) { c.k.add(sum + first, g, sum + first, n); });
          });
        }
        const bool norms = o.out<double>(0) || clip == Clip::norm || clip == Clip::globalNorm;
        if (norms) {
          c.pool.parallelFor(chunks.size(), [&](size_t i) {
            partial[i] = 0;
            read(chunks[i], [&](const float* g, size_t, size_t n) { partial[i] += c.k.sumSquares(g, n); });
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
        // Of parameter p the elements from `first`, whose gradient is at `grad`; slots of adafactor are
        // whole.
        const auto argsOf = [&](size_t p, size_t first, const float* grad) {
          UpdateArgs u{};
          u.param = o.inOut(1 + kPer * p) + first;
          u.grad = grad;
          float** slots[3] = {&u.slot0, &u.slot1, &u.slot2};
          for (size_t s = 0; s < 3; ++s) {
            if (float* slot = o.inOut(3 + kPer * p + s)) *slots[s] = slot + first;
          }
          // A slot that the rule does not use may still be there.
          if (kind == Optimizer::sgd && k[0] == 0) u.slot0 = nullptr;
          u.scale = accumulates ? static_cast<float>(factor(p) * share) : factor(p);
          u.limit = clip == Clip::value ? static_cast<float>(limit) : std::numeric_limits<float>::infinity();
          const double decay = ownFloats(own, p)[2], rateFactor = ownFloats(own, p)[3];
          u.flag = own.ints[3] == 1;
          std::copy(k, k + 6, u.k);
          std::copy(hyper, hyper + 8, u.hyper);
          u.hyper[0] *= rateFactor;
          if (core::secondHasRate(kind)) u.hyper[1] *= rateFactor;
          u.keep = static_cast<float>(1.0 - u.hyper[0] * decay);
          return u;
        };
        const bool updates = !accumulates || applies;
        if (updates && kind == Optimizer::adafactor) {
          for (size_t p = 0; p < count; ++p) {
            const core::Value& v = o.inValue(1 + kPer * p);
            const size_t rows = v.rows(), columns = static_cast<size_t>(v.last()), n = v.elements;
            const float *grad = accumulates ? summed(p) : o.in(2 + kPer * p), *param = o.in(1 + kPer * p);
            float* tmp = c.scratch + forNorms;
            if (const Penalty penalty = penaltyOf(own, p); penalty.any() && !accumulates) {
              // Read by several passes, in two orders, the first of which decays the parameter.
              float* ready = tmp + adafactorScratch(rows, columns);
              c.pool.parallelFor((n + kChunk - 1) / kChunk, [&](size_t i) {
                const size_t at = i * kChunk;
                c.k.addPenaltyGrad(grad + at, param + at, penalty.l1, penalty.l2, ready + at,
                                   std::min(kChunk, n - at));
              });
              grad = ready;
            }
            adafactor({argsOf(p, 0, grad), rows, columns}, c.pool, tmp);
          }
        }
        const auto rule = ruleOf(c.k, kind);
        c.pool.parallelFor(chunks.size(), [&](size_t i) {
          const auto [p, first, n] = chunks[i];
          if (updates && kind != Optimizer::adafactor)
            read(chunks[i], [&](const float* g, size_t at, size_t part) {
              rule(argsOf(p, chunks[i].first + at, g), part);
            });
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
