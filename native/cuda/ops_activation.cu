// Activations, dropout, noise and penalties.
#include "core/philox.h"
#include "cuda/activations.h"
#include "cuda/executable.h"
#include "cuda/reductions.h"

namespace deeprnn::cuda {
namespace {

using core::Mask;
using core::OpKind;

__global__ void values(Activation kind, float alpha, const float* x, float* y, size_t n) {
  forEach(n, [=](size_t i) { y[i] = activate(kind, alpha, x[i]); });
}

__global__ void slopes(Activation kind, float alpha, const float* from, const float* dy, float* dx,
                       size_t n) {
  forEach(n, [=](size_t i) { dx[i] = dy[i] * slope(kind, alpha, from[i]); });
}

/** The largest value over the block's threads. */
__device__ __forceinline__ float blockMax(float value, float* tmp) {
  for (int bits = 16; bits > 0; bits >>= 1) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, bits));
  __syncthreads();
  if (threadIdx.x % 32 == 0) tmp[threadIdx.x / 32] = value;
  __syncthreads();
  for (unsigned w = 0; w < blockDim.x / 32; ++w) value = fmaxf(value, tmp[w]);
  return value;
}

/** A block takes rows blockIdx.x, + gridDim.x, …; NaN anywhere in a row makes the row NaN. */
__global__ void softmax(bool log, const float* x, float* y, size_t rows, size_t columns) {
  double* tmp = sharedMemory<double>();
  for (size_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const float* in = x + r * columns;
    float* out = y + r * columns;
    float top = -INFINITY;
    for (size_t c = threadIdx.x; c < columns; c += blockDim.x) top = fmaxf(top, in[c]);
    top = blockMax(top, reinterpret_cast<float*>(tmp));
    double sum = 0;
    for (size_t c = threadIdx.x; c < columns; c += blockDim.x) {
      const float e = expf(in[c] - top);
      sum += e;
      if (!log) out[c] = e;
    }
    sum = blockSum(sum, tmp);
    if (log) {
      const auto shift = static_cast<float>(::log(sum));
      for (size_t c = threadIdx.x; c < columns; c += blockDim.x) out[c] = in[c] - top - shift;
    } else {
      const auto scale = static_cast<float>(1.0 / sum);
      for (size_t c = threadIdx.x; c < columns; c += blockDim.x) out[c] *= scale;
    }
  }
}

__global__ void softmaxGrad(bool log, const float* y, const float* dy, float* dx, size_t rows,
                            size_t columns) {
  double* tmp = sharedMemory<double>();
  for (size_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const float *a = y + r * columns, *d = dy + r * columns;
    float* out = dx + r * columns;
    double sum = 0;
    for (size_t c = threadIdx.x; c < columns; c += blockDim.x)
      sum += log ? d[c] : static_cast<double>(d[c]) * a[c];
    const auto total = static_cast<float>(blockSum(sum, tmp));
    for (size_t c = threadIdx.x; c < columns; c += blockDim.x) {
      out[c] = log ? d[c] - expf(a[c]) * total : a[c] * (d[c] - total);
    }
  }
}

/** max(x − τ, 0), τ such that a row's sum is 1, a thread a row. τ is found from below: of what is above it a
 * larger one follows, until nothing falls out (Michelot, 1986). */
__global__ void sparsemax(const float* x, float* y, size_t rows, size_t columns) {
  forEach(rows, [=](size_t r) {
    const float* in = x + r * columns;
    double top = in[0], sum = 0;
    for (size_t c = 1; c < columns; ++c) top = in[c] > top ? in[c] : top;
    for (size_t c = 0; c < columns; ++c) sum += in[c] - top;
    double tau = (sum - 1) / static_cast<double>(columns);
    for (size_t left = 0, kept = columns; left != kept && tau == tau;) {
      left = kept;
      kept = 0;
      sum = 0;
      for (size_t c = 0; c < columns; ++c) {
        if (in[c] - top <= tau) continue;
        sum += in[c] - top;
        ++kept;
      }
      tau = (sum - 1) / static_cast<double>(kept);
    }
    for (size_t c = 0; c < columns; ++c) {
      const double above = in[c] - top - tau;
      y[r * columns + c] = above < 0 ? 0.0f : static_cast<float>(above);
    }
  });
}

/** dy less its mean over the columns of a row that are not 0, there. */
__global__ void sparsemaxGrad(const float* y, const float* dy, float* dx, size_t rows, size_t columns) {
  forEach(rows, [=](size_t r) {
    const float *a = y + r * columns, *d = dy + r * columns;
    double sum = 0, kept = 0;
    for (size_t c = 0; c < columns; ++c) {
      if (!(a[c] > 0)) continue;
      sum += d[c];
      kept += 1;
    }
    const double mean = sum / (kept > 0 ? kept : 1);
    for (size_t c = 0; c < columns; ++c)
      dx[r * columns + c] = a[c] > 0 ? static_cast<float>(d[c] - mean) : 0.0f;
  });
}

/** Element i of x is dropped or scaled by the draw for i mod period. */
__global__ void dropOut(const float* x, float* y, size_t n, size_t period, uint32_t seedLo, uint32_t seedHi,
                        uint32_t stream, const double* step, double rate) {
  const Mask mask = Mask::of(seedLo, seedHi, stream, *step, rate);
  forEach(n, [=](size_t i) { y[i] = x[i] * mask.factor(i % period); });
}

/** A thread takes four elements, which share their draws. */
__global__ void addNoise(const float* x, float* y, size_t n, uint32_t seedLo, uint32_t seedHi,
                         uint32_t stream, const double* step, double stddev, double decay) {
  const Mask source = Mask::of(seedLo, seedHi, stream, *step, 0);
  const double deviation = core::deviationAt(stddev, decay, *step);
  forEach((n + 3) / 4, [=](size_t block) {
    double z[4];
    core::normals(source, block, z);
    for (size_t i = 0; i < 4 && 4 * block + i < n; ++i)
      y[4 * block + i] = x[4 * block + i] + static_cast<float>(deviation * z[i]);
  });
}

/** Each block's share of Σ l1·|x| + l2·x². */
__global__ void penaltySums(const float* x, size_t n, double l1, double l2, double* partial) {
  double* tmp = sharedMemory<double>();
  double sum = 0;
  forEach(n, [&](size_t i) {
    const double v = x[i];
    sum += l1 * fabs(v) + l2 * v * v;
  });
  sum = blockSum(sum, tmp);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void penaltySlopes(const float* x, float* dx, size_t n, float first, float second) {
  forEach(n, [=](size_t i) { dx[i] = (x[i] > 0 ? first : (x[i] < 0 ? -first : 0.0f)) + second * x[i]; });
}

/** Threads for a row of so many columns: whole warps. */
unsigned threadsFor(size_t columns) {
  return columns >= 256 ? 256 : static_cast<unsigned>((columns + 31) / 32 * 32);
}

Step rowwise(const Operands& o, size_t from, bool grad) {
  const size_t columns = static_cast<size_t>(o.inValue(from).last()), rows = o.inValue(from).rows();
  const auto kind = static_cast<Activation>(o.op().ints[0]);
  const bool log = kind == Activation::logSoftmax;
  return {[=](const RunContext& c, const OpMemory&) {
    if (kind == Activation::sparsemax) {
      const Launch each = elementwise("sparsemax", rows, c.stream);
      return grad ? launch(each, sparsemaxGrad, o.in(1), o.in(2), o.out(0), rows, columns)
                  : launch(each, sparsemax, o.in(0), o.out(0), rows, columns);
    }
    const Launch l = {"softmax", dim3(static_cast<unsigned>(rows < 65535 ? rows : 65535)),
                      dim3(threadsFor(columns)), c.stream, 33 * sizeof(double)};
    return grad ? launch(l, softmaxGrad, log, o.in(1), o.in(2), o.out(0), rows, columns)
                : launch(l, softmax, log, o.in(0), o.out(0), rows, columns);
  }};
}

Step activation(const Operands& o) {
  const auto kind = static_cast<Activation>(o.op().ints[0]);
  const auto alpha = static_cast<float>(o.op().floats[0]);
  const bool grad = o.op().kind == OpKind::activationGrad;
  const size_t from = grad ? (core::derivativeFromInput(kind) ? 0 : 1) : 0;
  if (core::readsRows(kind)) return rowwise(o, from, grad);
  const size_t n = o.inValue(from).elements;
  return {[=](const RunContext& c, const OpMemory&) {
    const Launch l = elementwise("activation", n, c.stream);
    return grad ? launch(l, slopes, kind, alpha, o.in(from), o.in(2), o.out(0), n)
                : launch(l, values, kind, alpha, o.in(0), o.out(0), n);
  }};
}

Step dropout(const Operands& o) {
  const std::vector<int32_t>& a = o.op().ints;
  const double rate = o.op().floats[0];
  const size_t n = o.inValue(0).elements;
  const size_t steps = a[0] == 0 || n == 0 ? 1 : static_cast<size_t>(o.inValue(0).shape[0]);
  const auto seedLo = static_cast<uint32_t>(a[1]), seedHi = static_cast<uint32_t>(a[2]),
             stream = static_cast<uint32_t>(a[3]);
  return {[=](const RunContext& c, const OpMemory&) {
    return launch(elementwise("dropout", n, c.stream), dropOut, o.in(0), o.out(0), n, n / steps, seedLo,
                  seedHi, stream, o.in<double>(1), rate);
  }};
}

Step noise(const Operands& o) {
  const std::vector<int32_t>& a = o.op().ints;
  const auto seedLo = static_cast<uint32_t>(a[0]), seedHi = static_cast<uint32_t>(a[1]),
             stream = static_cast<uint32_t>(a[2]);
  const double stddev = o.op().floats[0], decay = o.op().floats[1];
  const size_t n = o.inValue(0).elements;
  return {[=](const RunContext& c, const OpMemory&) {
    return launch(elementwise("noise", (n + 3) / 4, c.stream), addNoise, o.in(0), o.out(0), n, seedLo, seedHi,
                  stream, o.in<double>(1), stddev, decay);
  }};
}

/** Blocks of a reduction: enough for a device, and always the same number for one size. */
size_t sumBlocks(size_t n) {
  const size_t blocks = (n + 4 * kThreads - 1) / (4 * kThreads);
  return blocks < 1 ? 1 : (blocks < 256 ? blocks : 256);
}

Step penalty(const Operands& o) {
  const double l1 = o.op().floats[0], l2 = o.op().floats[1], scale = o.op().floats[2];
  const size_t n = o.inValue(0).elements;
  if (o.op().kind == OpKind::penalty) {
    const size_t blocks = sumBlocks(n);
    return {[=](const RunContext& c, const OpMemory&) {
              auto* partial = reinterpret_cast<double*>(c.scratch);
              const Launch l = {"penalty", dim3(static_cast<unsigned>(blocks)), dim3(kThreads), c.stream,
                                33 * sizeof(double)};
              if (Status s = launch(l, penaltySums, o.in(0), n, l1, l2, partial); !s.ok()) return s;
              return finishSum(partial, blocks, scale, o.out<double>(0), c.stream);
            },
            blocks * sizeof(double)};
  }
  return {[=](const RunContext& c, const OpMemory&) {
    return launch(elementwise("penaltyGrad", n, c.stream), penaltySlopes, o.in(0), o.out(0), n,
                  static_cast<float>(l1 * scale), static_cast<float>(2 * l2 * scale));
  }};
}

}  // namespace

Step activationStep(const Operands& o) {
  switch (o.op().kind) {
    case OpKind::dropout:
      return dropout(o);
    case OpKind::noise:
      return noise(o);
    case OpKind::penalty:
    case OpKind::penaltyGrad:
      return penalty(o);
    default:
      return activation(o);
  }
}

}  // namespace deeprnn::cuda
