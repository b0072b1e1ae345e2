#include "cuda/cell_math.h"
#include "cuda/lstm_variants.h"

namespace deeprnn::cuda {
namespace {

/** c cut to the layer's bound; NaN stays. */
__device__ __forceinline__ float clipped(const StackLayer& l, float c) {
  if (!(l.cellClip > 0)) return c;
  return c > l.cellClip ? l.cellClip : (c < -l.cellClip ? -l.cellClip : c);
}

/** Whether c stands at its bound, where it has no gradient. */
__device__ __forceinline__ bool atBound(const StackLayer& l, float c) {
  return l.cellClip > 0 && fabsf(c) >= l.cellClip;
}

/** What row `row` of the peephole weights adds to the sum of its gate for unit j. */
__device__ __forceinline__ float peep(const float* peephole, size_t row, const StackLayer& l, size_t j,
                                      float c) {
  return l.peepholes ? peephole[row * l.H + j] * c : 0.0f;
}

/** Value of gate g of (n, j), whose sum, with what it sees of c, becomes what is kept of it. */
__device__ __forceinline__ float gateValue(const CellStep& s, size_t n, size_t g, size_t j, Activation kind,
                                           float alpha, float seen) {
  float* gate = s.gates + (n * s.l.G + g) * s.l.H + j;
  const float sum = *gate + (s.bias ? s.bias[g * s.l.H + j] : 0.0f) + seen;
  const float value = activate(kind, alpha, sum);
  *gate = kept(kind, sum, value);
  return value;
}

__global__ void forward(CellStep s) {
  forEach(s.N * s.l.H, [&](size_t at) {
    const size_t n = at / s.l.H, j = at % s.l.H, f0 = s.l.coupledGates ? 0 : 1;
    float h = s.hPrev ? s.hPrev[at] : 0.0f, c = s.cPrev ? s.cPrev[at] : 0.0f;
    if (!s.valid || s.valid[n]) {
      const Activation kind = s.l.recurrentActivation;
      const float alpha = s.l.recurrentAlpha;
      const float f = gateValue(s, n, f0, j, kind, alpha, peep(s.peephole, f0, s.l, j, c));
      const float i =
          s.l.coupledGates ? 1.0f - f : gateValue(s, n, 0, j, kind, alpha, peep(s.peephole, 0, s.l, j, c));
      const float g = gateValue(s, n, f0 + 1, j, s.l.activation, s.l.alpha, 0.0f);
      c = clipped(s.l, i * g + f * c);
      const float o = gateValue(s, n, f0 + 2, j, kind, alpha, peep(s.peephole, f0 + 1, s.l, j, c));
      h = o * activate(s.l.activation, s.l.alpha, c);
    }
    s.extra[at] = c;
    s.h[at] = h;
    if (s.y) s.y[at] = h;
  });
}

__global__ void backward(CellGradStep s) {
  const size_t G = s.l.G, H = s.l.H;
  forEach(s.N * H, [&](size_t at) {
    float dh = s.dh[at];
    if (s.dy) dh += s.dy[at];
    if (s.dAbove) dh += s.dAbove[at];
    if (s.total) s.total[at] = dh;
    const size_t j = at % H, first = at / H * G * H + j;
    float* d = s.dG + first;
    if (s.valid && !s.valid[at / H]) {
      s.dh[at] = dh;
      for (size_t g = 0; g < G; ++g) d[g * H] = 0;
      return;
    }
    if (s.valid) s.dh[at] = 0;
    const bool coupled = s.l.coupledGates;
    const size_t f0 = coupled ? 0 : 1;
    const Activation kind = s.l.activation;
    const float* gates = s.gates + first;
    const float keptI = gates[0], keptF = gates[f0 * H], keptG = gates[(f0 + 1) * H],
                keptO = gates[(f0 + 2) * H];
    const float f = recurrentValue(s.l, keptF), i = coupled ? 1.0f - f : recurrentValue(s.l, keptI),
                g = valueOfKept(kind, s.l.alpha, keptG), o = recurrentValue(s.l, keptO);
    const float cPrev = s.cPrev ? s.cPrev[at] : 0.0f, c = s.extra[at], a = activate(kind, s.l.alpha, c);
    const float dO = dh * a * recurrentSlope(s.l, keptO);
    float dc = s.dc[at] + dh * o * slope(kind, s.l.alpha, core::derivativeFromInput(kind) ? c : a) +
               peep(s.peephole, f0 + 1, s.l, j, dO);
    if (atBound(s.l, c)) dc = 0;
    const float dI = coupled ? 0.0f : dc * g * recurrentSlope(s.l, keptI);
    const float dF = dc * (coupled ? cPrev - g : cPrev) * recurrentSlope(s.l, keptF);
    if (!coupled) d[0] = dI;
    d[f0 * H] = dF;
    d[(f0 + 1) * H] = dc * i * slope(kind, s.l.alpha, keptG);
    d[(f0 + 2) * H] = dO;
    s.dc[at] = dc * f + peep(s.peephole, 0, s.l, j, dI) + peep(s.peephole, f0, s.l, j, dF);
  });
}

__global__ void terms(PeepholeTerms p) {
  const size_t H = p.l.H, P = p.l.G - 1;
  forEach(p.T * p.N * P * H, [&](size_t at) {
    const size_t j = at % H, row = at / H % P, n = at / (H * P);
    // The last row is the output gate's, which sees c after the step; the others see it before.
    const bool output = row + 1 == P;
    float seen = 0;
    if (output || n >= p.N) {
      seen = (output && p.made ? p.made : p.c)[(output ? n : n - p.N) * H + j];
    } else if (p.c0) {
      seen = p.c0[n * H + j];
    }
    p.terms[at] = p.dG[(n * p.l.G + (output ? P : row)) * H + j] * seen;
  });
}

}  // namespace

Status peepholeTerms(const PeepholeTerms& p, cudaStream_t stream) {
  return launch(elementwise("peephole gradient", p.T * p.N * (p.l.G - 1) * p.l.H, stream), terms, p);
}

Status lstmVariantForward(const CellStep& s, cudaStream_t stream) {
  return launch(elementwise("cell", s.N * s.l.H, stream), forward, s);
}

Status lstmVariantBackward(const CellGradStep& s, cudaStream_t stream) {
  return launch(elementwise("cell gradient", s.N * s.l.H, stream), backward, s);
}

}  // namespace deeprnn::cuda
