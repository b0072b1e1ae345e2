#include "cuda/rnn_persistent_device.h"

namespace deeprnn::cuda {
namespace {

/** Slot of gate g in a row of gradients: a GRU's rows are q r z n, so that the layer itself reads the first
 * three and the layer below the last three. */
__device__ __forceinline__ int slotOf(const StackLayer& l, int g) {
  return l.cell == Cell::gru ? g + 1 : g;
}

/**
 * Gate gradients of unit u at step t, row `row` of the pass and `r` of the group, as others read them; for
 * the weights they wait where the gates were fetched to, and dq where the extra was. Column 0 of the product
 * is dh from this layer's next step, column 1 (or 0 too) from the layer above. Step −1 is the initial
 * state's.
 */
template <Precision kPrecision, int kRowTiles>
__device__ __forceinline__ void backwardUnit(const PersistentLayer& p, const BlockPart& b, int t, int row,
                                             int r, int u) {
  const int H = static_cast<int>(p.l.H), G = static_cast<int>(p.l.G), j = b.firstUnit + u, n = b.firstRow + r;
  const size_t within = static_cast<size_t>(n) * H + j;
  const bool last = t + 1 == p.T;
  // What reaches h beside the products, and an LSTM's ∂/∂c.
  float *state = carriedOf(p, stateOf(p), r, u), *carried = carriedOf(p, 0, r, u);
  float sums[4];
  gather<kRowTiles>(p, row, u, sums);
  float dh = sums[0];
  if (p.recurrentMask.rate > 0) dh *= maskOf(p.recurrentMask).factor(within);
  if (p.l.cell == Cell::gru || p.valid) dh += *state;
  if (t < 0) {
    p.dh0[within] = dh;
    return;
  }
  const size_t at = static_cast<size_t>(t) * p.N * H + within;
  if (p.perUnit == 2)
    dh += p.aboveMask.rate > 0 ? sums[1] * maskOf(p.aboveMask).factor(p.abovePerElement ? at : within)
                               : sums[1];
  if (last && p.dhT) dh += p.dhT[within];
  dh += staged<kRowTiles>(p, stagedDy, row, u) + staged<kRowTiles>(p, stagedAbove, row, u);
  if (p.total) p.total[at] = dh;
  float gates[4] = {0, 0, 0, 0}, d[4] = {0, 0, 0, 0};
#pragma unroll
  for (int g = 0; g < 4; ++g) {
    if (g < G) gates[g] = staged<kRowTiles>(p, stagedGates + g, row, u);
  }
  const float extra = staged<kRowTiles>(p, stagedExtra, row, u),
              previous = staged<kRowTiles>(p, stagedPrevious, row, u);
  unsigned char* out = rowOf(p, p.own, b, t, r);
  const bool passes = !counts(p, t, n);
  if (p.valid && p.l.cell != Cell::gru) *state = passes ? dh : 0.0f;
  if (p.l.cell == Cell::lstm) {
    float dc = *carried;
    if (!passes) lstmGradient(p.l, gates, extra, previous, dh, &dc, d);
    *carried = dc;
    if (t == 0 && p.dc0) p.dc0[within] = dc;
  } else if (p.l.cell == Cell::gru) {
    *state = passes ? dh : gruGradient(p.l, gates, previous, dh, d);
    const float dq = passes ? 0.0f : gruResetAfterGradient(p.l, gates, extra, d);
    *stagedAt<kRowTiles>(p, stagedExtra, row, u) = dq;
    store<kPrecision>(out, j, dq);
  } else if (!passes) {
    d[0] = dh * slope(p.l.activation, p.l.alpha, gates[0]);
  }
#pragma unroll
  for (int g = 0; g < 4; ++g) {
    if (g >= G) continue;
    *stagedAt<kRowTiles>(p, stagedGates + g, row, u) = d[g];
    store<kPrecision>(out, slotOf(p.l, g) * p.slotLength + j, d[g]);
  }
}

/** Writes what `backwardUnit` left for the gradients of the weights: nobody in this kernel waits for it. */
template <int kRowTiles>
__device__ __forceinline__ void keepUnit(const PersistentLayer& p, const BlockPart& b, int t, int row, int r,
                                         int u) {
  const int H = static_cast<int>(p.l.H), G = static_cast<int>(p.l.G), j = b.firstUnit + u, n = b.firstRow + r;
  const size_t stored = static_cast<size_t>(t) * p.N + n;
  float* kept = p.dG + stored * G * H + j;
#pragma unroll
  for (int g = 0; g < 4; ++g) {
    if (g < G) kept[g * H] = staged<kRowTiles>(p, stagedGates + g, row, u);
  }
  if (p.l.cell == Cell::gru) p.dq[stored * H + j] = staged<kRowTiles>(p, stagedExtra, row, u);
}

template <Precision kPrecision, int kRowTiles>
__global__ void __launch_bounds__(kBlockThreads, 1) backwardKernel(const PersistentLayer* layers, int count) {
  const PersistentLayer& p = ownLayer(layers, count);
  const BlockPart b = partOf(p);
  packWeights<kPrecision>(p, b.firstUnit);
  if (p.l.cell == Cell::lstm) packCarried(p, b, 0, p.dcT);
  if (p.l.cell == Cell::gru || p.valid) packCarried(p, b, stateOf(p), nullptr);
  __syncthreads();
  constexpr int kPass = kRowTiles * kTileRows;
  for (int t = p.T - 1; t >= (p.dh0 ? -1 : 0); --t) {
    for (int first = 0; first < b.rows; first += kPass) {
      const int rows = min(kPass, b.rows - first);
      if (t >= 0) fetchStaged<kRowTiles>(p, b, t, b.firstRow + first, rows);
      multiply<kPrecision, kRowTiles>(p, b.group, t, first, first == 0);
      copiesDone();
      __syncthreads();
      for (int e = static_cast<int>(threadIdx.x); e < rows * b.units; e += kBlockThreads)
        backwardUnit<kPrecision, kRowTiles>(p, b, t, e / b.units, first + e / b.units, e % b.units);
      if (t >= 0) {
        // Others go on before what they do not read is written.
        if (first + kPass >= b.rows) announce(p, b.group, t);
        for (int e = static_cast<int>(threadIdx.x); e < rows * b.units; e += kBlockThreads)
          keepUnit<kRowTiles>(p, b, t, e / b.units, first + e / b.units, e % b.units);
      }
      __syncthreads();
    }
  }
}

template <Precision kPrecision>
Status queue(const KernelLaunch& l, cudaStream_t stream) {
  return launchPersistent(l, "persistent stack gradient", stream, backwardKernel<kPrecision, 1>,
                          backwardKernel<kPrecision, 2>, backwardKernel<kPrecision, 4>);
}

}  // namespace

Status persistentBackward(const KernelLaunch& l, cudaStream_t stream) {
  return l.precision == Precision::bf16   ? queue<Precision::bf16>(l, stream)
         : l.precision == Precision::tf32 ? queue<Precision::tf32>(l, stream)
                                          : queue<Precision::float32>(l, stream);
}

}  // namespace deeprnn::cuda
