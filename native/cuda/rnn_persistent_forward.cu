#include "cuda/rnn_persistent_device.h"

namespace deeprnn::cuda {
namespace {

/** Sums of the biases of a unit's columns. A GRU's (reset after the product) fourth column is the recurrent
 * factor of its candidate. */
__device__ void packBias(const PersistentLayer& p, int firstUnit) {
  const int H = static_cast<int>(p.l.H);
  float* to = sharedAt<float>(p.biasAt);
  for (int c = static_cast<int>(threadIdx.x); c < p.tiles * kTileColumns; c += kBlockThreads) {
    const int unit = firstUnit + c / p.perUnit, column = c % p.perUnit;
    float value = 0;
    if (p.bias && c < p.units * p.perUnit && unit < H) {
      if (p.l.cell == Cell::gru) {
        value = column == 3 ? p.bias[5 * H + unit] : p.bias[column * H + unit];
        if (column < 2) value += p.bias[(3 + column) * H + unit];
      } else {
        value = p.bias[column * H + unit];
      }
    }
    to[c] = value;
  }
}

/** h_t of unit u of row `row` of the pass, row `r` of the group, as others read it. What is kept of it waits
 * in the place of its sums: gates in part 0, the extra and h in part 1 (SimpleRNN: h alone). */
template <Precision kPrecision, int kRowTiles>
__device__ __forceinline__ void forwardUnit(const PersistentLayer& p, const BlockPart& b, int t, int row,
                                            int r, int u) {
  const int H = static_cast<int>(p.l.H), G = static_cast<int>(p.l.G), j = b.firstUnit + u, n = b.firstRow + r;
  const size_t within = static_cast<size_t>(n) * H + j, at = static_cast<size_t>(t) * p.N * H + within;
  float sums[4];
  gather<kRowTiles>(p, row, u, sums);
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    if (c < p.perUnit) sums[c] += sharedAt<float>(p.biasAt)[u * p.perUnit + c];
    if (c < G) sums[c] += staged<kRowTiles>(p, stagedGates + c, row, u);
  }
  const bool passes = !counts(p, t, n);
  float* carried = carriedOf(p, 0, r, u);
  float h, extra = 0;
  if (p.l.cell == Cell::lstm) {
    h = lstmCell(p.l, sums, *carried, &extra);
    if (passes) extra = *carried;
    *carried = extra;
    if (p.cT && t + 1 == p.T) p.cT[within] = extra;
  } else if (p.l.cell == Cell::gru) {
    const float rGate = gruGate(p.l, &sums[0]), z = gruGate(p.l, &sums[1]);
    extra = sums[3];
    sums[2] += rGate * extra;
    h = gruOutput(p.l, z, &sums[2], *carried);
    if (passes) h = *carried;
    *carried = h;
  } else {
    h = simpleCell(p.l, sums);
  }
  if (p.valid && p.l.cell != Cell::gru) {
    float* state = carriedOf(p, stateOf(p), r, u);
    if (passes) h = *state;
    *state = h;
  }
  float *first = partOfSums<kRowTiles>(p, 0, row, u), *second = partOfSums<kRowTiles>(p, 1, row, u);
  if (p.l.cell == Cell::simpleRnn) {
    *first = sums[0];
    *second = h;
  } else {
    *reinterpret_cast<float4*>(first) = make_float4(sums[0], sums[1], sums[2], sums[3]);
    *reinterpret_cast<float2*>(second) = make_float2(extra, h);
  }
  const float mine = p.recurrentMask.rate > 0 ? h * maskOf(p.recurrentMask).factor(within) : h;
  store<kPrecision>(rowOf(p, p.own, b, t, r), j, mine);
  if (p.up) {
    const float above =
        p.aboveMask.rate > 0 ? h * maskOf(p.aboveMask).factor(p.abovePerElement ? at : within) : h;
    store<kPrecision>(rowOf(p, p.up, b, t, r), j, above);
  }
}

/** Writes what `forwardUnit` left to be kept: nobody in this kernel waits for it. */
template <int kRowTiles>
__device__ __forceinline__ void keepUnit(const PersistentLayer& p, const BlockPart& b, int t, int row, int r,
                                         int u) {
  const int H = static_cast<int>(p.l.H), G = static_cast<int>(p.l.G), j = b.firstUnit + u, n = b.firstRow + r;
  const size_t within = static_cast<size_t>(n) * H + j, at = static_cast<size_t>(t) * p.N * H + within;
  const float *first = partOfSums<kRowTiles>(p, 0, row, u), *second = partOfSums<kRowTiles>(p, 1, row, u);
  const bool simple = p.l.cell == Cell::simpleRnn, last = t + 1 == p.T;
  const float h = simple ? second[0] : second[1];
  if (p.h) {
    float* gates = p.gates + (static_cast<size_t>(t) * p.N + n) * G * H + j;
#pragma unroll
    for (int g = 0; g < 4; ++g) {
      if (g < G) gates[g * H] = first[g];
    }
    if (!simple) p.extra[at] = second[0];
    p.h[at] = h;
  }
  if (p.y && !p.lastOnly) p.y[at] = h;
  if (p.y && p.lastOnly && last) p.y[within] = h;
  if (p.hT && last) p.hT[within] = h;
}

template <Precision kPrecision, int kRowTiles>
__global__ void __launch_bounds__(kBlockThreads, 1) forwardKernel(const PersistentLayer* layers, int count) {
  const PersistentLayer& p = ownLayer(layers, count);
  const BlockPart b = partOf(p);
  packWeights<kPrecision>(p, b.firstUnit);
  packBias(p, b.firstUnit);
  if (p.l.cell == Cell::lstm) packCarried(p, b, 0, p.c0);
  if (p.l.cell == Cell::gru || p.valid) packCarried(p, b, stateOf(p), p.h0);
  __syncthreads();
  constexpr int kPass = kRowTiles * kTileRows;
  for (int t = 0; t < p.T; ++t) {
    for (int first = 0; first < b.rows; first += kPass) {
      const int rows = min(kPass, b.rows - first);
      fetchStaged<kRowTiles>(p, b, t, b.firstRow + first, rows);
      multiply<kPrecision, kRowTiles>(p, b.group, t, first, first == 0);
      copiesDone();
      __syncthreads();
      for (int e = static_cast<int>(threadIdx.x); e < rows * b.units; e += kBlockThreads)
        forwardUnit<kPrecision, kRowTiles>(p, b, t, e / b.units, first + e / b.units, e % b.units);
      // Others go on before what they do not read is written.
      if (first + kPass >= b.rows) announce(p, b.group, t);
      if (p.h || p.y || p.hT) {
        for (int e = static_cast<int>(threadIdx.x); e < rows * b.units; e += kBlockThreads)
          keepUnit<kRowTiles>(p, b, t, e / b.units, first + e / b.units, e % b.units);
      }
      __syncthreads();
    }
  }
}

template <Precision kPrecision>
__global__ void packRows(StateRows s, const float* states, unsigned char* rows) {
  using Stored = typename Operand<kPrecision>::Stored;
  const auto length = static_cast<size_t>(s.rowBytes) / sizeof(Stored);
  forEach(static_cast<size_t>(s.groups) * s.storedRows * length, [&](size_t i) {
    const size_t stored = i / length, k = i % length;
    const size_t r = stored % s.storedRows, n = stored / s.storedRows * s.rows + r, H = s.H;
    const bool there = r < static_cast<size_t>(s.rows) && n < static_cast<size_t>(s.N) && k < H;
    float value = there ? states[n * H + k] : 0.0f;
    if (there && s.mask.rate > 0) value *= maskOf(s.mask).factor(n * H + k);
    reinterpret_cast<Stored*>(rows)[i] = Operand<kPrecision>::of(value);
  });
}

template <Precision kPrecision>
Status queue(const KernelLaunch& l, cudaStream_t stream) {
  return launchPersistent(l, "persistent stack", stream, forwardKernel<kPrecision, 1>,
                          forwardKernel<kPrecision, 2>, forwardKernel<kPrecision, 4>);
}

}  // namespace

Status persistentForward(const KernelLaunch& l, cudaStream_t stream) {
  return l.precision == Precision::bf16   ? queue<Precision::bf16>(l, stream)
         : l.precision == Precision::tf32 ? queue<Precision::tf32>(l, stream)
                                          : queue<Precision::float32>(l, stream);
}

Status packStates(const StateRows& s, const float* states, unsigned char* rows, cudaStream_t stream) {
  const size_t n = static_cast<size_t>(s.groups) * s.storedRows * s.rowBytes / elementBytes(s.precision);
  const Launch l = elementwise("initial states", n, stream);
  return s.precision == Precision::bf16   ? launch(l, packRows<Precision::bf16>, s, states, rows)
         : s.precision == Precision::tf32 ? launch(l, packRows<Precision::tf32>, s, states, rows)
                                          : launch(l, packRows<Precision::float32>, s, states, rows);
}

}  // namespace deeprnn::cuda
