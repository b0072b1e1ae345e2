// Metrics: sums of one batch (docs/plan.md, "Metrics"), in double. Each block adds up its rows in its own
// part of the scratch memory, and a last kernel adds the blocks in order: no atomics, so the same bits every
// time.
#include "cuda/executable.h"
#include "cuda/scores.h"

namespace deeprnn::cuda {
namespace {

using core::Metric;

struct MetricRows {
  Metric kind;
  bool sparse;
  size_t rows, C;
  const float* pred;
  const void* target;
  const float* weight;
  /** topK: k. confusion: thresholds (0: argmax). histogram: bins. crossentropy: from logits. */
  size_t number;
  float threshold;
  const float* thresholds;

  __device__ double weightOf(size_t r) const { return weight ? static_cast<double>(weight[r]) : 1.0; }
  __device__ const float* row(size_t r) const { return pred + r * C; }
  __device__ float dense(size_t r, size_t c) const { return static_cast<const float*>(target)[r * C + c]; }
  __device__ size_t label(size_t r) const {
    return sparse ? labelOf(static_cast<const int32_t*>(target), r, C)
                  : argmax(static_cast<const float*>(target) + r * C, C);
  }

  /** What a metric that is a weighted mean takes the mean of; to every lane. */
  __device__ double value(size_t r) const {
    const float* p = row(r);
    double sum = 0;
    switch (kind) {
      case Metric::categoricalAccuracy:
        return argmax(p, C) == label(r) ? 1.0 : 0.0;
      case Metric::topK: {
        const float own = p[label(r)];
        for (size_t c = lane(); c < C; c += 32) sum += p[c] > own ? 1.0 : 0.0;
        return warpSum(sum) < static_cast<double>(number) && isfinite(own) ? 1.0 : 0.0;
      }
      case Metric::crossentropy: {
        const double norm = number ? logSumExp(p, C) : rowSum(p, C);
        const size_t own = sparse ? label(r) : 0;
        for (size_t c = lane(); c < C; c += 32) {
          const double y = sparse ? (c == own ? 1.0 : 0.0) : dense(r, c);
          if (y == 0) continue;
          const double q = p[c] / norm;
          sum -= y * (number ? p[c] - norm : log(q < 1e-7 ? 1e-7 : (q > 1 - 1e-7 ? 1 - 1e-7 : q)));
        }
        return warpSum(sum);
      }
      default:
        return meanOfOutputs(p, r);
    }
  }

 private:
  __device__ double meanOfOutputs(const float* p, size_t r) const {
    double sum = 0;
    for (size_t c = lane(); c < C; c += 32) {
      const double e = static_cast<double>(p[c]) - dense(r, c);
      if (kind == Metric::value) {
        sum += p[c];
      } else if (kind == Metric::binaryAccuracy) {
        sum += (p[c] > threshold) == (dense(r, c) > 0.5f) ? 1.0 : 0.0;
      } else {
        sum += kind == Metric::squaredError ? e * e : fabs(e);
      }
    }
    return warpSum(sum) / static_cast<double>(C);
  }
};

/** Weighted means: Σ w·value and Σ w of each block's rows. */
__global__ void means(MetricRows m, double* partial) {
  double* tmp = sharedMemory<double>();
  double sum = 0, weights = 0;
  const size_t warps = blockDim.x / 32;
  for (size_t r = blockIdx.x * warps + threadIdx.x / 32; r < m.rows; r += gridDim.x * warps) {
    const double value = m.value(r);
    if (lane() == 0) {
      sum += m.weightOf(r) * value;
      weights += m.weightOf(r);
    }
  }
  sum = blockSum(sum, tmp);
  weights = blockSum(weights, tmp);
  if (threadIdx.x == 0) {
    partial[2 * blockIdx.x] = sum;
    partial[2 * blockIdx.x + 1] = weights;
  }
}

/** Adds a weight to one of tp, fp, tn, fn; without an index, which would put them in memory. */
__device__ __forceinline__ void count4(bool is, bool said, double weight, double (&s)[4]) {
  s[0] += is && said ? weight : 0.0;
  s[1] += !is && said ? weight : 0.0;
  s[2] += !is && !said ? weight : 0.0;
  s[3] += is && !said ? weight : 0.0;
}

/** A thread owns one column (r²), one threshold and column (confusion) or one bin (histogram), and reads
 * every row. */
__global__ void columns(MetricRows m, double* sums, size_t count) {
  forEach(count, [=](size_t i) {
    const size_t c = i % m.C;
    double s[4] = {0, 0, 0, 0};
    for (size_t r = 0; r < m.rows; ++r) {
      const double w = m.weightOf(r);
      const float p = m.row(r)[c];
      if (m.kind == Metric::r2) {
        const double y = m.dense(r, c), e = y - p;
        s[0] += w;
        s[1] += w * y;
        s[2] += w * y * y;
        s[3] += w * e * e;
        continue;
      }
      const bool said = p > m.thresholds[i / m.C];
      const bool is =
          m.sparse ? labelOf(static_cast<const int32_t*>(m.target), r, m.C) == c : m.dense(r, c) > 0.5f;
      count4(is, said, w, s);
    }
    for (int k = 0; k < 4; ++k) sums[4 * i + k] = s[k];
  });
}

/** The class that each row says and the one that it is, so that `confusionOfClasses` need not search again.
 */
__global__ void classes(MetricRows m, int32_t* said) {
  const size_t warps = blockDim.x / 32;
  for (size_t r = blockIdx.x * warps + threadIdx.x / 32; r < m.rows; r += gridDim.x * warps) {
    const size_t best = argmax(m.row(r), m.C);
    if (lane() == 0) said[r] = static_cast<int32_t>(best);
  }
}

__global__ void confusionOfClasses(MetricRows m, const int32_t* said, double* sums) {
  forEach(m.C, [=](size_t c) {
    double s[4] = {0, 0, 0, 0};
    for (size_t r = 0; r < m.rows; ++r) {
      const bool yes = static_cast<size_t>(said[r]) == c;
      const bool is =
          m.sparse ? labelOf(static_cast<const int32_t*>(m.target), r, m.C) == c : m.dense(r, c) > 0.5f;
      count4(is, yes, m.weightOf(r), s);
    }
    for (int k = 0; k < 4; ++k) sums[4 * c + k] = s[k];
  });
}

/** Which bin each prediction falls in: bin b holds p in (b, b+1] / (B−1). */
__global__ void bins(MetricRows m, int32_t* bin) {
  forEach(m.rows * m.C, [=](size_t i) {
    const double p = m.pred[i];
    const double place = ceil((p > 0 ? (p < 1 ? p : 1.0) : 0.0) * static_cast<double>(m.number - 1)) - 1;
    bin[i] = place > 0 ? static_cast<int32_t>(place) : 0;
  });
}

__global__ void histogram(MetricRows m, const int32_t* bin, double* sums) {
  forEach(2 * m.number, [=](size_t i) {
    const bool positives = i < m.number;
    const auto own = static_cast<int32_t>(i % m.number);
    double sum = 0;
    for (size_t e = 0; e < m.rows * m.C; ++e) {
      if (bin[e] == own && (static_cast<const float*>(m.target)[e] > 0.5f) == positives)
        sum += m.weightOf(e / m.C);
    }
    sums[i] = sum;
  });
}

__global__ void addPairs(const double* partial, size_t count, double* sums) {
  double* tmp = sharedMemory<double>();
  double a = 0, b = 0;
  for (size_t i = threadIdx.x; i < count; i += blockDim.x) {
    a += partial[2 * i];
    b += partial[2 * i + 1];
  }
  a = blockSum(a, tmp);
  b = blockSum(b, tmp);
  if (threadIdx.x > 0) return;
  sums[0] = a;
  sums[1] = b;
}

}  // namespace

Step metricStep(const Operands& o) {
  const core::Op& op = o.op();
  MetricRows m{};
  m.kind = static_cast<Metric>(op.ints[0]);
  m.sparse = op.ints[1] == 1;
  m.rows = o.inValue(0).rows();
  m.C = static_cast<size_t>(o.inValue(0).last());
  m.pred = o.in(0);
  m.target = o.in<void>(1);
  m.weight = o.in(2);
  double* sums = o.out<double>(0);
  const size_t blocks = scoreBlocks(m.rows);
  const auto perWarp = [=](const char* name, cudaStream_t stream) {
    return Launch{name, dim3(static_cast<unsigned>(blocks)), dim3(kScoreThreads), stream,
                  33 * sizeof(double)};
  };
  Step step;
  switch (m.kind) {
    case Metric::r2:
      step.run = [=](const RunContext& c, const OpMemory&) {
        return launch(elementwise("r2", m.C, c.stream), columns, m, sums, m.C);
      };
      return step;
    case Metric::confusion: {
      const auto thresholds = static_cast<size_t>(op.ints[3]);
      if (op.ints[2] == 1) {
        step.scratch = m.rows * sizeof(int32_t);
        step.run = [=](const RunContext& c, const OpMemory&) {
          auto* said = reinterpret_cast<int32_t*>(c.scratch);
          if (Status s = launch(perWarp("argmax", c.stream), classes, m, said); !s.ok()) return s;
          return launch(elementwise("confusion", m.C, c.stream), confusionOfClasses, m, said, sums);
        };
        return step;
      }
      const std::vector<float> values(op.floats.begin(), op.floats.end());
      step.table = [values](unsigned char*) {
        const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
        return std::vector<unsigned char>(bytes, bytes + values.size() * sizeof(float));
      };
      step.run = [=](const RunContext& c, const OpMemory& own) {
        MetricRows rows = m;
        rows.thresholds = reinterpret_cast<const float*>(own.table);
        return launch(elementwise("confusion", thresholds * m.C, c.stream), columns, rows, sums,
                      thresholds * m.C);
      };
      return step;
    }
    case Metric::histogram:
      m.number = static_cast<size_t>(op.ints[2]);
      step.scratch = m.rows * m.C * sizeof(int32_t);
      step.run = [=](const RunContext& c, const OpMemory&) {
        auto* bin = reinterpret_cast<int32_t*>(c.scratch);
        if (Status s = launch(elementwise("bins", m.rows * m.C, c.stream), bins, m, bin); !s.ok()) return s;
        return launch(elementwise("histogram", 2 * m.number, c.stream), histogram, m, bin, sums);
      };
      return step;
    case Metric::topK:
    case Metric::crossentropy:
      m.number = static_cast<size_t>(op.ints[2]);
      break;
    case Metric::binaryAccuracy:
      m.threshold = static_cast<float>(op.floats[0]);
      break;
    default:
      break;
  }
  step.scratch = 2 * blocks * sizeof(double);
  step.run = [=](const RunContext& c, const OpMemory&) {
    auto* partial = reinterpret_cast<double*>(c.scratch);
    if (Status s = launch(perWarp("metric", c.stream), means, m, partial); !s.ok()) return s;
    const Launch l = {"metric sums", dim3(1), dim3(kThreads), c.stream, 33 * sizeof(double)};
    return launch(l, addPairs, partial, blocks, sums);
  };
  return step;
}

}  // namespace deeprnn::cuda
