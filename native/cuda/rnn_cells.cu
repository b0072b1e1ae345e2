#include "cuda/cell_math.h"
#include "cuda/lstm_variants.h"
#include "cuda/rnn_cells.h"

namespace deeprnn::cuda {
namespace {

using core::Mask;

__device__ __forceinline__ Mask maskOf(const MaskSource& m) {
  Mask mask = Mask::of(m.seedLo, m.seedHi, m.stream, *m.step, m.rate);
  mask.base = m.base;
  return mask;
}

/** Where gate `g` of (n, j) lies, and its bias. */
__device__ __forceinline__ float* gateOf(const CellStep& s, size_t n, size_t g, size_t j) {
  return s.gates + (n * s.l.G + g) * s.l.H + j;
}
__device__ __forceinline__ float biasOf(const CellStep& s, size_t g, size_t j) {
  return s.bias ? s.bias[g * s.l.H + j] : 0.0f;
}

__device__ __forceinline__ float lstmForward(const CellStep& s, size_t n, size_t j, size_t at) {
  float gates[4];
  for (size_t g = 0; g < 4; ++g) gates[g] = *gateOf(s, n, g, j) + biasOf(s, g, j);
  const float h = lstmCell(s.l, gates, s.cPrev ? s.cPrev[at] : 0.0f, &s.extra[at]);
  for (size_t g = 0; g < 4; ++g) *gateOf(s, n, g, j) = gates[g];
  return h;
}

/** Gate `g`, r or z; both rows of the bias go with it where the reset comes after. */
__device__ __forceinline__ float gruGateAt(const CellStep& s, size_t n, size_t g, size_t j) {
  float* gate = gateOf(s, n, g, j);
  *gate += biasOf(s, g, j) + (s.l.resetAfter ? biasOf(s, 3 + g, j) : 0.0f);
  return gruGate(s.l, gate);
}

__device__ __forceinline__ float gruForward(const CellStep& s, size_t n, size_t j, size_t at) {
  float* candidate = gateOf(s, n, 2, j);
  float sum = *candidate + biasOf(s, 2, j), z;
  if (s.l.resetAfter) {
    const float r = gruGateAt(s, n, 0, j);
    z = gruGateAt(s, n, 1, j);
    const float q = (s.hPrev ? s.extra[at] : 0.0f) + biasOf(s, 5, j);
    s.extra[at] = q;
    sum += r * q;
  } else {
    // r and z were done by `resetPart`, before the product with R_n.
    z = recurrentValue(s.l, *gateOf(s, n, 1, j));
  }
  const float h = gruOutput(s.l, z, &sum, s.hPrev ? s.hPrev[at] : 0.0f);
  *candidate = sum;
  return h;
}

__global__ void forward(CellStep s) {
  forEach(s.N * s.l.H, [&](size_t at) {
    const size_t n = at / s.l.H, j = at % s.l.H;
    float h = 0;
    if (s.valid && !s.valid[n]) {
      h = s.hPrev ? s.hPrev[at] : 0.0f;
      // Of a GRU a factor that meets no gradient.
      if (s.l.cell != Cell::simpleRnn) s.extra[at] = s.l.cell == Cell::lstm && s.cPrev ? s.cPrev[at] : 0.0f;
      s.h[at] = h;
      if (s.y) s.y[at] = h;
      return;
    }
    switch (s.l.cell) {
      case Cell::simpleRnn:
        s.gates[at] += biasOf(s, 0, j);
        h = simpleCell(s.l, &s.gates[at]);
        break;
      case Cell::lstm:
        h = lstmForward(s, n, j, at);
        break;
      case Cell::gru:
        h = gruForward(s, n, j, at);
        break;
    }
    s.h[at] = h;
    if (s.y) s.y[at] = h;
  });
}

/** Gates r and z, and q = r ⊙ h̃. */
__global__ void resetPart(CellStep s) {
  forEach(s.N * s.l.H, [&](size_t at) {
    const size_t n = at / s.l.H, j = at % s.l.H;
    const float r = gruGateAt(s, n, 0, j);
    gruGateAt(s, n, 1, j);
    s.extra[at] = s.hMasked ? r * s.hMasked[at] : 0.0f;
  });
}

__global__ void backward(CellGradStep s) {
  const size_t G = s.l.G, H = s.l.H;
  forEach(s.N * H, [&](size_t at) {
    float dh = s.dh[at];
    if (s.dy) dh += s.dy[at];
    if (s.dAbove) dh += s.dAbove[at];
    if (s.total) s.total[at] = dh;
    const size_t first = at / H * G * H + at % H;
    float gates[4] = {0, 0, 0, 0}, d[4] = {0, 0, 0, 0};
    if (s.valid && !s.valid[at / H]) {
      s.dh[at] = dh;
      if (s.dq) s.dq[at] = 0;
      for (size_t g = 0; g < G; ++g) s.dG[first + g * H] = 0;
      return;
    }
#pragma unroll
    for (size_t g = 0; g < 4; ++g) {
      if (g < G) gates[g] = s.gates[first + g * H];
    }
    if (s.valid && s.l.cell != Cell::gru) s.dh[at] = 0;
    switch (s.l.cell) {
      case Cell::simpleRnn:
        d[0] = dh * slope(s.l.activation, s.l.alpha, gates[0]);
        break;
      case Cell::lstm:
        lstmGradient(s.l, gates, s.extra[at], s.cPrev ? s.cPrev[at] : 0.0f, dh, &s.dc[at], d);
        break;
      case Cell::gru:
        s.dh[at] = gruGradient(s.l, gates, s.hPrev ? s.hPrev[at] : 0.0f, dh, d);
        if (s.l.resetAfter) s.dq[at] = gruResetAfterGradient(s.l, gates, s.extra[at], d);
        break;
    }
#pragma unroll
    for (size_t g = 0; g < 4; ++g) {
      if (g < G) s.dG[first + g * H] = d[g];
    }
  });
}

__global__ void resetBackward(CellGradStep s, float* product, StateMask state) {
  const bool masked = state.source.rate > 0;
  const Mask mask = maskOf(state.source);
  forEach(s.N * s.l.H, [&](size_t i) {
    const size_t row = i / s.l.H * 3 * s.l.H + i % s.l.H;
    if (!s.hPrev) {
      s.dG[row] = 0.0f;
      return;
    }
    const float h = s.hPrev[i] * (masked ? mask.factor(state.first + i) : 1.0f), dq = product[i];
    s.dG[row] = dq * h * recurrentSlope(s.l, s.gates[row]);
    product[i] = dq * recurrentValue(s.l, s.gates[row]);
  });
}

__global__ void applyMask(const float* from, float* to, size_t count, size_t n, StateMask state,
                          bool accumulate) {
  const bool masked = state.source.rate > 0;
  const Mask mask = maskOf(state.source);
  forEach(count * n, [=](size_t i) {
    const size_t element = state.first + (state.perStep ? i : i % n);
    const float value = masked ? from[i] * mask.factor(element) : from[i];
    to[i] = accumulate ? to[i] + value : value;
  });
}

__global__ void reorder(InputOrder o, const float* from, float* to, size_t firstStep, size_t steps,
                        bool restore) {
  const bool masked = o.mask.rate > 0;
  const Mask mask = maskOf(o.mask);
  const size_t row = o.N * o.D;
  forEach(steps * row, [&](size_t i) {
    const size_t s = firstStep + i / row, within = i % row, t = o.reversed ? o.T - 1 - s : s;
    const size_t lies = t * row + within, processed = s * row + within;
    const float factor = masked ? mask.factor(o.maskPerElement ? lies : within) : 1.0f;
    if (restore) {
      to[lies] = from[processed] * factor;
    } else {
      to[processed] = from[lies] * factor;
    }
  });
}

__global__ void norms(const float* total, double* out, size_t size) {
  double* tmp = sharedMemory<double>();
  double sum = 0;
  const float* own = total + blockIdx.x * size;
  for (size_t i = threadIdx.x; i < size; i += blockDim.x) sum += static_cast<double>(own[i]) * own[i];
  sum = blockSum(sum, tmp);
  if (threadIdx.x == 0) out[blockIdx.x] = sqrt(sum);
}

}  // namespace

Status cellForward(const CellStep& s, cudaStream_t stream) {
  if (s.l.variant()) return lstmVariantForward(s, stream);
  return launch(elementwise("cell", s.N * s.l.H, stream), forward, s);
}

Status gruResetPart(const CellStep& s, cudaStream_t stream) {
  return launch(elementwise("reset gate", s.N * s.l.H, stream), resetPart, s);
}

Status cellBackward(const CellGradStep& s, cudaStream_t stream) {
  if (s.l.variant()) return lstmVariantBackward(s, stream);
  return launch(elementwise("cell gradient", s.N * s.l.H, stream), backward, s);
}

Status gruResetBackward(const CellGradStep& s, float* product, const StateMask& mask, cudaStream_t stream) {
  return launch(elementwise("reset gate gradient", s.N * s.l.H, stream), resetBackward, s, product, mask);
}

Status maskState(const float* from, float* to, size_t n, const StateMask& mask, bool accumulate,
                 cudaStream_t stream) {
  return launch(elementwise("state mask", n, stream), applyMask, from, to, size_t{1}, n, mask, accumulate);
}

Status maskStates(const float* from, float* to, size_t count, size_t n, const StateMask& mask,
                  cudaStream_t stream) {
  return launch(elementwise("state mask", count * n, stream), applyMask, from, to, count, n, mask, false);
}

Status orderInputs(const InputOrder& order, const float* x, float* processed, size_t firstStep, size_t steps,
                   cudaStream_t stream) {
  return launch(elementwise("input order", steps * order.N * order.D, stream), reorder, order, x, processed,
                firstStep, steps, false);
}

Status restoreInputs(const InputOrder& order, const float* processed, float* x, size_t firstStep,
                     size_t steps, cudaStream_t stream) {
  return launch(elementwise("input order", steps * order.N * order.D, stream), reorder, order, processed, x,
                firstStep, steps, true);
}

Status stepNorms(const float* total, double* out, size_t T, size_t size, cudaStream_t stream) {
  const Launch l = {"step norms", dim3(static_cast<unsigned>(T)), dim3(kThreads), stream,
                    33 * sizeof(double)};
  return launch(l, norms, total, out, size);
}

}  // namespace deeprnn::cuda
