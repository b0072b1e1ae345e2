#include "cuda/zoneout.h"

namespace deeprnn::cuda {
namespace {

using core::Renewal;

__device__ __forceinline__ Renewal renewalOf(const ZoneoutStep& z, uint32_t stream, double rate) {
  return Renewal::of(z.seedLo, z.seedHi, stream, *z.step, rate, z.l.zoneoutExpected, z.l.stateBase);
}
__device__ __forceinline__ float mixed(float share, float fresh, float before) {
  return share * fresh + (1.0f - share) * before;
}

__global__ void forward(ZoneoutStep z, ZoneoutStates s) {
  const Renewal ofH = renewalOf(z, z.l.zoneoutStream, z.l.zoneout),
                ofC = renewalOf(z, z.l.cellZoneoutStream, z.l.cellZoneout);
  forEach(z.N * z.l.H, [&](size_t at) {
    const bool counts = !z.valid || z.valid[at / z.l.H];
    float h = s.h[at];
    if (counts && z.l.zoneout > 0) {
      h = mixed(ofH.share(z.first + at), h, s.hPrev ? s.hPrev[at] : 0.0f);
      s.h[at] = h;
    }
    if (s.y) s.y[at] = h;
    if (z.l.cellZoneout > 0) {
      const float c = s.c[at];
      s.made[at] = c;
      if (counts) s.c[at] = mixed(ofC.share(z.first + at), c, s.cPrev ? s.cPrev[at] : 0.0f);
    }
  });
}

/** Splits d into what is the cell's, which it returns, and what goes by it. */
__device__ __forceinline__ float split(float share, float d, float* kept) {
  *kept = (1.0f - share) * d;
  return share * d;
}

__global__ void backward(ZoneoutStep z, ZoneoutGradients g) {
  const Renewal ofH = renewalOf(z, z.l.zoneoutStream, z.l.zoneout),
                ofC = renewalOf(z, z.l.cellZoneoutStream, z.l.cellZoneout);
  forEach(z.N * z.l.H, [&](size_t at) {
    const bool counts = !z.valid || z.valid[at / z.l.H];
    float dh = g.dh[at];
    if (g.dy) dh += g.dy[at];
    if (g.dAbove) dh += g.dAbove[at];
    if (g.total) g.total[at] = dh;
    if (z.l.zoneout > 0) dh = split(counts ? ofH.share(z.first + at) : 1.0f, dh, &g.keptH[at]);
    g.dh[at] = dh;
    if (z.l.cellZoneout > 0)
      g.dc[at] = split(counts ? ofC.share(z.first + at) : 1.0f, g.dc[at], &g.keptC[at]);
  });
}

__global__ void addKept(ZoneoutStep z, ZoneoutGradients g) {
  forEach(z.N * z.l.H, [&](size_t at) {
    if (z.l.zoneout > 0) g.dh[at] += g.keptH[at];
    if (z.l.cellZoneout > 0) g.dc[at] += g.keptC[at];
  });
}

}  // namespace

Status zoneoutForward(const ZoneoutStep& z, const ZoneoutStates& states, cudaStream_t stream) {
  return launch(elementwise("zoneout", z.N * z.l.H, stream), forward, z, states);
}

Status zoneoutBackward(const ZoneoutStep& z, const ZoneoutGradients& g, cudaStream_t stream) {
  return launch(elementwise("zoneout gradient", z.N * z.l.H, stream), backward, z, g);
}

Status zoneoutAddKept(const ZoneoutStep& z, const ZoneoutGradients& g, cudaStream_t stream) {
  return launch(elementwise("zoneout gradient", z.N * z.l.H, stream), addKept, z, g);
}

}  // namespace deeprnn::cuda
