// Activations, dropout, noise and penalties.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/philox.h"
#include "cpu/executable.h"

namespace deeprnn::cpu {

using core::Activation;
using core::OpKind;
using core::Status;

namespace {

/** Elements a task; a multiple of 4, so that no Philox block is drawn twice. */
constexpr size_t kChunk = 8192;

template <class Body>
void inChunks(const RunContext& c, size_t n, const Body& body) {
  c.pool.parallelFor((n + kChunk - 1) / kChunk,
                     [&](size_t i) { body(i * kChunk, std::min(kChunk, n - i * kChunk)); });
}

/** One row: max(x − τ, 0), τ such that the row's sum is 1 (Martins & Astudillo, 2016). τ is found from below:
 * of what is above it a larger one follows, until nothing falls out (Michelot, 1986). */
void sparsemaxRow(const float* x, float* y, size_t columns) {
  const double top = *std::max_element(x, x + columns);
  double sum = 0;
  for (size_t c = 0; c < columns; ++c) sum += x[c] - top;
  double tau = (sum - 1) / static_cast<double>(columns);
  for (size_t left = 0, kept = columns; left != kept && !std::isnan(tau);) {
    left = kept;
    kept = 0;
    sum = 0;
    for (size_t c = 0; c < columns; ++c) {
      if (x[c] - top <= tau) continue;
      sum += x[c] - top;
      ++kept;
    }
    tau = (sum - 1) / static_cast<double>(kept);
  }
  for (size_t c = 0; c < columns; ++c) {
    const double above = x[c] - top - tau;
    y[c] = above < 0 ? 0.0f : static_cast<float>(above);
  }
}

/** dy less its mean over the columns that are not 0, there. */
void sparsemaxGradRow(const float* y, const float* dy, float* dx, size_t columns) {
  double sum = 0;
  size_t kept = 0;
  for (size_t c = 0; c < columns; ++c) {
    if (!(y[c] > 0)) continue;
    sum += dy[c];
    ++kept;
  }
  const double mean = sum / static_cast<double>(std::max<size_t>(kept, 1));
  for (size_t c = 0; c < columns; ++c) dx[c] = y[c] > 0 ? static_cast<float>(dy[c] - mean) : 0.0f;
}

Step rowwise(const Operands& o, size_t input, bool grad) {
  const size_t columns = static_cast<size_t>(o.inValue(input).last()), rows = o.inValue(input).rows();
  const auto kind = static_cast<Activation>(o.op().ints[0]);
  const bool log = kind == Activation::logSoftmax, sparse = kind == Activation::sparsemax;
  const size_t block = std::max<size_t>(1, kChunk / std::max<size_t>(columns, 1));
  return {[=](const RunContext& c) {
    c.pool.parallelFor((rows + block - 1) / block, [&](size_t i) {
      const size_t at = i * block * columns, count = std::min(block, rows - i * block);
      if (sparse) {
        for (size_t r = 0; r < count; ++r) {
          const size_t row = at + r * columns;
          if (grad) {
            sparsemaxGradRow(o.in(1) + row, o.in(2) + row, o.out(0) + row, columns);
          } else {
            sparsemaxRow(o.in(0) + row, o.out(0) + row, columns);
          }
        }
      } else if (grad) {
        c.k.softmaxGrad(log, o.in(1) + at, o.in(2) + at, o.out(0) + at, count, columns);
      } else {
        c.k.softmax(log, o.in(0) + at, o.out(0) + at, count, columns);
      }
    });
    return Status();
  }};
}

Step activation(const Operands& o) {
  const auto kind = static_cast<Activation>(o.op().ints[0]);
  const auto alpha = static_cast<float>(o.op().floats[0]);
  const bool grad = o.op().kind == OpKind::activationGrad;
  const size_t from = grad ? (core::derivativeFromInput(kind) ? 0 : 1) : 0;
  if (core::readsRows(kind)) return rowwise(o, from, grad);
  const size_t n = o.inValue(from).elements;
  return {[=](const RunContext& c) {
    inChunks(c, n, [&](size_t at, size_t count) {
      if (grad) {
        c.k.activateGrad(kind, alpha, o.in(from) + at, o.in(2) + at, o.out(0) + at, count);
      } else {
        c.k.activate(kind, alpha, o.in(0) + at, o.out(0) + at, count);
      }
    });
    return Status();
  }};
}

Step dropout(const Operands& o) {
  const std::vector<int32_t>& a = o.op().ints;
  const double rate = o.op().floats[0];
  const core::Value& x = o.inValue(0);
  const size_t n = x.elements;
  const auto seedLo = static_cast<uint32_t>(a[1]), seedHi = static_cast<uint32_t>(a[2]),
             stream = static_cast<uint32_t>(a[3]);
  const auto mask = [=] { return core::Mask::of(seedLo, seedHi, stream, *o.in<double>(1), rate); };
  if (a[0] == 0) {
    return {[=](const RunContext& c) {
      const core::Mask m = mask();
      inChunks(c, n, [&](size_t at, size_t count) {
        m.factors(at, count, o.out(0) + at);
        c.k.multiply(o.in(0) + at, o.out(0) + at, o.out(0) + at, count);
      });
      return Status();
    }};
  }
  const size_t steps = n == 0 ? 0 : static_cast<size_t>(x.shape[0]);
  const size_t width = steps == 0 ? 0 : n / steps;
  return {[=](const RunContext& c) {
            mask().factors(0, width, c.scratch);
            for (size_t t = 0; t < steps; ++t)
              c.k.multiply(o.in(0) + t * width, c.scratch, o.out(0) + t * width, width);
            return Status();
          },
          width};
}

Step noise(const Operands& o) {
  const std::vector<int32_t>& a = o.op().ints;
  const double stddev = o.op().floats[0], decay = o.op().floats[1];
  const size_t n = o.inValue(0).elements;
  return {[=](const RunContext& c) {
    const double deviation = core::deviationAt(stddev, decay, *o.in<double>(1));
    const core::Mask source = core::Mask::of(static_cast<uint32_t>(a[0]), static_cast<uint32_t>(a[1]),
                                             static_cast<uint32_t>(a[2]), *o.in<double>(1), 0);
    inChunks(c, n, [&](size_t at, size_t count) {
      double z[4];
      for (size_t i = at; i < at + count; ++i) {
        if (i % 4 == 0) core::normals(source, i / 4, z);
        o.out(0)[i] = o.in(0)[i] + static_cast<float>(deviation * z[i % 4]);
      }
    });
    return Status();
  }};
}

Step penalty(const Operands& o) {
  const double l1 = o.op().floats[0], l2 = o.op().floats[1], scale = o.op().floats[2];
  const size_t n = o.inValue(0).elements;
  if (o.op().kind == OpKind::penalty) {
    const size_t chunks = (n + kChunk - 1) / kChunk;
    return {[=](const RunContext& c) {
              auto* partial = reinterpret_cast<double*>(c.scratch);
              inChunks(c, n, [&](size_t first, size_t count) {
                const float* x = o.in(0) + first;
                double sum = 0;
                if (l1 != 0) sum += l1 * c.k.sumAbs(x, count);
                if (l2 != 0) sum += l2 * c.k.sumSquares(x, count);
                partial[first / kChunk] = sum;
              });
              // In their order, whatever the number of threads.
              *o.out<double>(0) = scale * std::accumulate(partial, partial + chunks, 0.0);
              return Status();
            },
            2 * chunks};
  }
  const auto first = static_cast<float>(l1 * scale), second = static_cast<float>(2 * l2 * scale);
  return {[=](const RunContext&) {
    const float* x = o.in(0);
    float* dx = o.out(0);
    for (size_t i = 0; i < n; ++i) dx[i] = (x[i] > 0 ? first : (x[i] < 0 ? -first : 0.0f)) + second * x[i];
    return Status();
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

}  // namespace deeprnn::cpu
