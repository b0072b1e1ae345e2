#include "cuda/rnn_weights.h"

#include "cuda/lstm_variants.h"
#include "cuda/reductions.h"

namespace deeprnn::cuda {

Status WeightGradients::queue(const RunContext& c, cudaStream_t stream) const {
  if (Status s = kernel(c, stream); !s.ok()) return s;
  if (Status s = recurrentKernel(c, stream); !s.ok()) return s;
  if (Status s = bias(stream); !s.ok()) return s;
  return peephole(stream);
}

Status WeightGradients::kernel(const RunContext& c, cudaStream_t stream) const {
  if (!io.dKernel) return {};
  const float* x = input;
  if (ordered) {
    if (Status s = orderInputs(inputOrder(spec, l, step, bottom), input, ordered, 0, spec.T, stream); !s.ok())
      return s;
    x = ordered;
  }
  Product p;
  p.m = p.aRow = l.D;
  p.n = p.bRow = p.cRow = l.G * l.H;
  p.k = spec.T * spec.N;
  p.a = x;
  p.aTransposed = true;
  p.b = dG;
  p.c = io.dKernel;
  return c.blas.multiply(p, c.precision, stream);
}

Status WeightGradients::recurrentKernel(const RunContext& c, cudaStream_t stream) const {
  if (!io.dRecurrentKernel) return {};
  const size_t N = spec.N, H = l.H, width = l.G * H;
  const bool gru = l.cell == Cell::gru;
  // h̃ before steps 1 … T−1, then before step 0.
  const float* before[2] = {r.h, io.h0};
  const size_t counts[2] = {spec.T - 1, io.h0 ? size_t{1} : 0};
  const size_t firsts[2] = {1, 0};
  bool written = false;
  for (int part = 0; part < 2; ++part) {
    if (counts[part] == 0) continue;
    const float* h = before[part];
    if (masked) {
      if (Status s =
              maskStates(h, masked, counts[part], N * H, stateMaskAt(spec, l, step, firsts[part]), stream);
          !s.ok())
        return s;
      h = masked;
    }
    Product p;
    p.m = p.aRow = H;
    p.n = gru ? 2 * H : width;
    p.k = counts[part] * N;
    p.a = h;
    p.aTransposed = true;
    p.b = dG + firsts[part] * N * width;
    p.bRow = width;
    p.c = io.dRecurrentKernel;
    p.cRow = width;
    p.beta = written ? 1.0f : 0.0f;
    if (Status s = c.blas.multiply(p, c.precision, stream); !s.ok()) return s;
    if (gru) {
      Product candidate = p;
      candidate.n = H;
      candidate.c = io.dRecurrentKernel + 2 * H;
      if (l.resetAfter) {
        candidate.b = dq + firsts[part] * N * H;
        candidate.bRow = H;
      } else {
        candidate.a = r.extra + firsts[part] * N * H;
        candidate.b = p.b + 2 * H;
      }
      if (Status s = c.blas.multiply(candidate, c.precision, stream); !s.ok()) return s;
    }
    written = true;
  }
  if (!written) DEEPRNN_TRY(cudaMemsetAsync(io.dRecurrentKernel, 0, H * width * sizeof(float), stream));
  return {};
}

Status WeightGradients::bias(cudaStream_t stream) const {
  if (!io.dBias) return {};
  const size_t H = l.H, width = l.G * H, rows = spec.T * spec.N;
  if (Status s = columnSums(dG, width, io.dBias, rows, width, false, sums, stream); !s.ok()) return s;
  if (!dq) return {};
  // The recurrent row: as the first for gates r and z, the sums of dq for the candidate.
  DEEPRNN_TRY(
      cudaMemcpyAsync(io.dBias + width, io.dBias, 2 * H * sizeof(float), cudaMemcpyDeviceToDevice, stream));
  return columnSums(dq, H, io.dBias + width + 2 * H, rows, H, false, sums, stream);
}

Status WeightGradients::peephole(cudaStream_t stream) const {
  if (!io.dPeephole) return {};
  const size_t columns = (l.G - 1) * l.H, rows = spec.T * spec.N;
  if (Status s = peepholeTerms({l, spec.T, spec.N, dG, r.extra, io.c0, r.made, products}, stream); !s.ok())
    return s;
  return columnSums(products, columns, io.dPeephole, rows, columns, false, sums, stream);
}

}  // namespace deeprnn::cuda
