// The optimizer's step over all parameters, and constraints (docs/plan.md, "Updating").
#include <algorithm>

#include "cuda/executable.h"
#include "cuda/optimizers.h"
#include "cuda/reductions.h"

namespace deeprnn::cuda {
namespace {

using core::Clip;
using core::Constraint;
using core::Optimizer;

/** Elements a block; norms are summed over these, in order. */
constexpr size_t kChunk = 16384;

/** Which part of which parameter a block takes. */
struct Chunk {
  size_t parameter, first;
};

/** Adds this step's gradients to their sums. */
__global__ void accumulate(const Parameter* parameters, const Chunk* chunks, const unsigned* failed) {
  if (*failed) return;
  const Chunk chunk = chunks[blockIdx.x];
  const Parameter p = parameters[chunk.parameter];
  const size_t last = chunk.first + kChunk < p.n ? chunk.first + kChunk : p.n;
  for (size_t i = chunk.first + threadIdx.x; i < last; i += blockDim.x) p.sum[i] += ownGradient(p, i);
}

/** After the rule: sums begin again where it was applied, and averages follow the parameters. */
__global__ void follow(const Parameter* parameters, const Chunk* chunks, Rule rule, const double* hyper,
                       const unsigned* failed) {
  if (*failed) return;
  const Chunk chunk = chunks[blockIdx.x];
  const Parameter p = parameters[chunk.parameter];
  const double momentum = hyper[core::HyperPlaces::averageMomentum];
  const auto old = static_cast<float>(momentum), fresh = static_cast<float>(1 - momentum);
  const bool begins = p.sum && updates(rule, hyper, failed);
  const bool overwrites = hyper[core::HyperPlaces::overwrite] != 0;
  const size_t last = chunk.first + kChunk < p.n ? chunk.first + kChunk : p.n;
  for (size_t i = chunk.first + threadIdx.x; i < last; i += blockDim.x) {
    if (begins) p.sum[i] = 0;
    if (!p.average) continue;
    const float average = old * p.average[i] + fresh * p.param[i];
    p.average[i] = average;
    if (overwrites) p.param[i] = average;
  }
}

/** partial[block] = Σ g² over the block's chunk. */
__global__ void squares(const Parameter* parameters, const Chunk* chunks, double* partial) {
  double* tmp = sharedMemory<double>();
  const Chunk chunk = chunks[blockIdx.x];
  const Parameter p = parameters[chunk.parameter];
  const size_t last = chunk.first + kChunk < p.n ? chunk.first + kChunk : p.n;
  double sum = 0;
  for (size_t i = chunk.first + threadIdx.x; i < last; i += blockDim.x) {
    const double g = gradient(p, i);
    sum += g * g;
  }
  sum = blockSum(sum, tmp);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/** From the sums of a parameter's chunks, which lie side by side, the norm of its gradient; a block a
 * parameter. */
__global__ void finishNorms(const double* partial, const Parameter* parameters, const double* hyper,
                            double* norms, double* out) {
  double* tmp = sharedMemory<double>();
  const Parameter p = parameters[blockIdx.x];
  const size_t chunks = (p.n + kChunk - 1) / kChunk;
  double sum = 0;
  for (size_t i = threadIdx.x; i < chunks; i += blockDim.x) sum += partial[p.firstChunk + i];
  sum = blockSum(sum, tmp);
  if (threadIdx.x > 0) return;
  const double norm = (p.sum ? hyper[core::HyperPlaces::share] : 1.0) * sqrt(sum);
  norms[blockIdx.x] = norm;
  if (out) out[blockIdx.x] = norm;
}

/** Behind them the norm of all; one block. */
__global__ void finishGlobalNorm(size_t count, double* norms, double* out) {
  double* tmp = sharedMemory<double>();
  double sum = 0;
  for (size_t p = threadIdx.x; p < count; p += blockDim.x) sum += norms[p] * norms[p];
  sum = blockSum(sum, tmp);
  if (threadIdx.x > 0) return;
  norms[count] = sqrt(sum);
  if (out) out[count] = norms[count];
}

/** Follow the regularized leader, for one element. In double: of large sums it keeps small differences. */
__device__ __forceinline__ void followLeader(const Rule& rule, double rate, double g, double old,
                                             float* param, float* n, float* z) {
  if (rate == 0) return;
  const double power = -rule.k[0], l1 = rule.k[1], before = *n, now = before + g * g;
  const double raised = power == 0.5 ? sqrt(now) : pow(now, power);
  const double was = power == 0.5 ? sqrt(before) : pow(before, power);
  const double linear = *z + g + 2 * rule.k[3] * old - (raised - was) / rate * old;
  const double quadratic = (raised + rule.k[4]) / rate + 2 * rule.k[2];
  const double cut = linear > l1 ? l1 : (linear < -l1 ? -l1 : linear);
  *n = static_cast<float>(now);
  *z = static_cast<float>(linear);
  *param = static_cast<float>(quadratic == 0 ? old : (cut - linear) / quadratic);
}

__global__ void updateChunks(const Parameter* parameters, const Chunk* chunks, size_t count, Rule rule,
                             const double* hyper, const double* norms, const unsigned* failed) {
  if (!updates(rule, hyper, failed)) return;
  const Chunk chunk = chunks[blockIdx.x];
  const Parameter p = parameters[chunk.parameter];
  const Clipping clip(rule, hyper, norms, chunk.parameter, count);
  const float keep = keptShare(p, hyper);
  const double ownRate = hyper[0] * p.rateFactor;
  const auto rate = static_cast<float>(ownRate);
  const auto k0 = static_cast<float>(rule.k[0]), k1 = static_cast<float>(rule.k[1]),
             k2 = static_cast<float>(rule.k[2]);
  const auto fresh0 = static_cast<float>(1.0 - rule.k[0]), fresh1 = static_cast<float>(1.0 - rule.k[1]);
  const double second = core::secondHasRate(rule.kind) ? hyper[1] * p.rateFactor : hyper[1];
  const auto h1 = static_cast<float>(second), h2 = static_cast<float>(hyper[2]),
             h3 = static_cast<float>(hyper[3]);
  const size_t last = chunk.first + kChunk < p.n ? chunk.first + kChunk : p.n;
  for (size_t i = chunk.first + threadIdx.x; i < last; i += blockDim.x) {
    const float g = clip(gradient(p, i));
    const float old = p.param[i] * keep;
    switch (rule.kind) {
      case Optimizer::sgd: {
        if (rule.k[0] == 0 || !p.slots[0]) {
          p.param[i] = old - rate * g;
          break;
        }
        const float v = k0 * p.slots[0][i] - rate * g;
        p.slots[0][i] = v;
        p.param[i] = old + (rule.flag ? k0 * v - rate * g : v);
        break;
      }
      case Optimizer::rmsprop: {
        const float v = k0 * p.slots[0][i] + fresh0 * g * g;
        p.slots[0][i] = v;
        float d = v;
        if (rule.flag) {
          const float a = k0 * p.slots[1][i] + fresh0 * g;
          p.slots[1][i] = a;
          d -= a * a;
        }
        float step = rate * g / sqrtf(d + k2);
        if (k1 > 0) {
          step += k1 * p.slots[2][i];
          p.slots[2][i] = step;
        }
        p.param[i] = old - step;
        break;
      }
      case Optimizer::adam:
      case Optimizer::nadam: {
        const float m = p.slots[0][i] + (g - p.slots[0][i]) * fresh0;
        float v = p.slots[1][i] + (g * g - p.slots[1][i]) * fresh1;
        p.slots[0][i] = m;
        p.slots[1][i] = v;
        if (rule.kind == Optimizer::nadam) {
          p.param[i] = old - rate * (h1 * m + h2 * g) / (sqrtf(v * h3) + k2);
          break;
        }
        if (rule.flag) {
          v = fmaxf(v, p.slots[2][i]);
          p.slots[2][i] = v;
        }
        p.param[i] = old - h1 * m / (sqrtf(v) + k2);
        break;
      }
      case Optimizer::adagrad: {
        const float a = p.slots[0][i] + g * g;
        p.slots[0][i] = a;
        p.param[i] = old - rate * g / sqrtf(a + k0);
        break;
      }
      case Optimizer::adamax: {
        const float m = p.slots[0][i] + (g - p.slots[0][i]) * fresh0;
        const float faded = k1 * p.slots[1][i], size = fabsf(g), top = faded > size ? faded : size;
        p.slots[0][i] = m;
        p.slots[1][i] = top;
        p.param[i] = old - h1 * m / (top + k2);
        break;
      }
      case Optimizer::lion: {
        const float m = p.slots[0][i], mixed = k0 * m + fresh0 * g;
        p.param[i] = old - rate * (mixed > 0 ? 1.0f : (mixed < 0 ? -1.0f : mixed));
        p.slots[0][i] = k1 * m + fresh1 * g;
        break;
      }
      case Optimizer::adadelta: {
        const float a = k0 * p.slots[0][i] + fresh0 * g * g;
        const float delta = g * sqrtf(p.slots[1][i] + k1) / sqrtf(a + k1);
        p.slots[0][i] = a;
        p.slots[1][i] = k0 * p.slots[1][i] + fresh0 * delta * delta;
        p.param[i] = old - rate * delta;
        break;
      }
      case Optimizer::ftrl:
        followLeader(rule, ownRate, g, old, p.param + i, p.slots[0] + i, p.slots[1] + i);
        break;
      case Optimizer::adafactor:
        break;  // In kernels of its own.
    }
  }
}

__global__ void clampNegative(float* p, size_t n, const unsigned* failed) {
  if (*failed) return;
  forEach(n, [=](size_t i) { p[i] = p[i] < 0 ? 0.0f : p[i]; });
}

/** Slice s of `count`: elements s·sliceStep + i·elementStep, i < length. One block a slice. */
__global__ void scaleSlices(float* p, size_t count, size_t length, size_t sliceStep, size_t elementStep,
                            bool unit, double limit, const unsigned* failed) {
  double* tmp = sharedMemory<double>();
  if (*failed) return;
  for (size_t s = blockIdx.x; s < count; s += gridDim.x) {
    float* slice = p + s * sliceStep;
    double sum = 0;
    for (size_t i = threadIdx.x; i < length; i += blockDim.x) {
      const double v = slice[i * elementStep];
      sum += v * v;
    }
    const double norm = sqrt(blockSum(sum, tmp));
    const double wanted = unit ? 1.0 : (norm < limit ? norm : limit);
    const auto scale = static_cast<float>(wanted / (1e-7 + norm));
    for (size_t i = threadIdx.x; i < length; i += blockDim.x) slice[i * elementStep] *= scale;
  }
}

template <class T>
void append(std::vector<unsigned char>* table, const std::vector<T>& rows) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(rows.data());
  table->insert(table->end(), bytes, bytes + rows.size() * sizeof(T));
}

Step update(const Operands& o) {
  const core::Op& op = o.op();
  const auto count = static_cast<size_t>(op.ints[1]);
  constexpr size_t kPer = core::kParameterInputs;
  const bool accumulates = count > 0 && o.inOut(6), averages = count > 0 && o.inOut(7);
  Rule rule{static_cast<Optimizer>(op.ints[0]),
            static_cast<Clip>(op.ints[2]),
            op.ints[3] == 1,
            accumulates,
            op.floats[0],
            {}};
  std::copy(op.floats.begin() + 1, op.floats.begin() + 7, rule.k);
  std::vector<Parameter> parameters;
  std::vector<Chunk> chunks;
  size_t rowCount = 0, widest = 0;
  for (size_t p = 0; p < count; ++p) {
    const size_t at = 1 + kPer * p, n = o.inValue(at).elements;
    const auto columns = static_cast<size_t>(o.inValue(at).last());
    rowCount += o.inValue(at).rows();
    widest = std::max(widest, columns);
    const double* own = op.floats.data() + core::kUpdateFloats + core::kParameterFloats * p;
    parameters.push_back({o.inOut(at),
                          o.in(at + 1),
                          {o.inOut(at + 2), o.inOut(at + 3), o.inOut(at + 4)},
                          o.inOut(at + 5),
                          o.inOut(at + 6),
                          n,
                          columns,
                          own[2],
                          own[3],
                          static_cast<float>(own[0]),
                          static_cast<float>(2 * own[1]),
                          chunks.size()});
    for (size_t first = 0; first < n; first += kChunk) chunks.push_back({p, first});
  }
  Step step;
  step.table = [=](unsigned char*) {
    std::vector<unsigned char> table;
    append(&table, parameters);
    append(&table, chunks);
    return table;
  };
  const size_t chunkCount = chunks.size();
  const bool factored = rule.kind == Optimizer::adafactor;
  const size_t forNorms = chunkCount + count + 1;
  step.scratch = (forNorms + (factored ? adafactorScratch(count, rowCount) : 0)) * sizeof(double);
  double* out = o.out<double>(0);
  const double* hyper = o.in<double>(0);
  const bool norms = out || rule.clip == Clip::norm || rule.clip == Clip::globalNorm;
  step.run = [=](const RunContext& c, const OpMemory& own) {
    const auto* rows = reinterpret_cast<const Parameter*>(own.table);
    const auto* parts = reinterpret_cast<const Chunk*>(rows + count);
    auto* partial = reinterpret_cast<double*>(c.scratch);
    double* found = partial + chunkCount;
    const Launch all = {"update", dim3(static_cast<unsigned>(chunkCount)), dim3(kThreads), c.stream,
                        33 * sizeof(double)};
    const Launch each = {"norms", dim3(static_cast<unsigned>(count)), dim3(kThreads), c.stream,
                         33 * sizeof(double)};
    const Launch one = {"global norm", dim3(1), dim3(kThreads), c.stream, 33 * sizeof(double)};
    if (accumulates) {
      if (Status s = launch(all, accumulate, rows, parts, c.failed); !s.ok()) return s;
    }
    if (norms && chunkCount > 0) {
      if (Status s = launch(all, squares, rows, parts, partial); !s.ok()) return s;
    }
    if (norms) {
      if (count > 0) {
        if (Status s = launch(each, finishNorms, partial, rows, hyper, found, out); !s.ok()) return s;
      }
      if (Status s = launch(one, finishGlobalNorm, count, found, out); !s.ok()) return s;
    }
    if (chunkCount == 0) return Status();
    Status s = factored ? adafactor({rows, count, rowCount, widest, rule, hyper, found, c.failed},
                                    partial + forNorms, c.stream)
                        : launch(all, updateChunks, rows, parts, count, rule, hyper, found, c.failed);
    if (!s.ok() || (!accumulates && !averages)) return s;
    return launch(all, follow, rows, parts, rule, hyper, c.failed);
  };
  return step;
}

Step constraint(const Operands& o) {
  const core::Value& v = o.inValue(0);
  const auto kind = static_cast<Constraint>(o.op().ints[0]);
  const double limit = o.op().floats[0];
  const size_t n = v.elements;
  if (kind == Constraint::nonNeg) {
    return {[=](const RunContext& c, const OpMemory&) {
      return launch(elementwise("constraint", n, c.stream), clampNegative, o.out(0), n, c.failed);
    }};
  }
  const bool vector = v.shape.size() < 2;
  const size_t rows = vector ? n : static_cast<size_t>(v.shape[0]),
               columns = vector ? 1 : (rows == 0 ? 0 : n / rows);
  const bool down = o.op().ints[1] == 0;
  const size_t slices = down ? columns : rows, length = down ? rows : columns;
  const size_t sliceStep = down ? 1 : columns, elementStep = down ? columns : 1;
  return {[=](const RunContext& c, const OpMemory&) {
    if (n == 0) return Status();
    const Launch l = {"constraint", dim3(static_cast<unsigned>(slices < 65535 ? slices : 65535)), dim3(128),
                      c.stream, 33 * sizeof(double)};
    return launch(l, scaleSlices, o.out(0), slices, length, sliceStep, elementStep,
                  kind == Constraint::unitNorm, limit, c.failed);
  }};
}

}  // namespace

Step updateStep(const Operands& o) {
  return o.op().kind == core::OpKind::update ? update(o) : constraint(o);
}

}  // namespace deeprnn::cuda
