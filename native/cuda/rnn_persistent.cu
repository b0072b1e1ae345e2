#include <algorithm>
#include <cstring>

#include "cuda/cell_math.h"
#include "cuda/rnn_persistent.h"
#include "cuda/rnn_weights.h"

namespace deeprnn::cuda {
namespace {

using core::Mask;

constexpr int kBlockThreads = 256, kWarps = kBlockThreads / 32;
/** Rows of the batch that a block works on at once. */
constexpr int kRowTile = 32;
/** Floats of partial sums: every warp has a tile of kRowTile × 16 at most. */
constexpr int kPartials = kWarps * kRowTile * 16;

// ── Device ──

/** Rounds up to whole groups of four. */
__host__ __device__ constexpr int padded(int length) {
  return (length + 3) / 4 * 4;
}

/** How the eight warps share a product: each has a tile of columns and a part of the depth. */
struct WarpShare {
  int laneColumns, columnTiles, depthParts;
  __host__ __device__ explicit WarpShare(int columns)
      : laneColumns(columns >= 16 ? 4 : columns / 4),
        columnTiles(columns >= 16 ? columns / 16 : 1),
        depthParts(kWarps / (columns >= 16 ? columns / 16 : 1)) {}
};

__device__ __forceinline__ Mask maskOf(const MaskSource& m) {
  return Mask::of(m.seedLo, m.seedHi, m.stream, *m.step, m.rate);
}

/** Packs this block's columns of all sources' matrices: weights[k · columns + c]. */
__device__ void packWeights(const PersistentLayer& p, int firstUnit, float* weights) {
  int first = 0;
  for (int i = 0; i < p.sourceCount; ++i) {
    const StepSource& s = p.sources[i];
    const int rows = padded(s.length), H = static_cast<int>(p.l.H);
    for (int e = static_cast<int>(threadIdx.x); e < rows * p.columns; e += kBlockThreads) {
      const int k = e / p.columns, c = e % p.columns, unit = firstUnit + c / p.perUnit,
                gate = s.gate[c % p.perUnit];
      float value = 0;
      if (k < s.length && c < p.units * p.perUnit && unit < H && gate >= 0) {
        value = s.transposed
                    ? s.matrix[static_cast<size_t>(unit) * s.matrixRow + gate + k]
                    : s.matrix[static_cast<size_t>(k) * s.matrixRow + static_cast<size_t>(gate) * H + unit];
      }
      weights[first * p.columns + e] = value;
    }
    first += rows;
  }
}

/** Four neighbours of a row, zero beyond its end. Past the first level cache: other blocks have just written
 * them. */
__device__ __forceinline__ float4 readFour(const float* row, int k, int length, bool vector) {
  if (!row) return make_float4(0, 0, 0, 0);
#ifdef DEEPRNN_EMULATED
  (void)vector;
  float v[4] = {0, 0, 0, 0};
  for (int i = 0; i < 4 && k + i < length; ++i) v[i] = row[k + i];
  return make_float4(v[0], v[1], v[2], v[3]);
#else
  if (vector) return __ldcg(reinterpret_cast<const float4*>(row + k));
  return make_float4(__ldcg(row + k), k + 1 < length ? __ldcg(row + k + 1) : 0.0f,
                     k + 2 < length ? __ldcg(row + k + 2) : 0.0f,
                     k + 3 < length ? __ldcg(row + k + 3) : 0.0f);
#endif
}

/**
 * One warp's part of a product [kRowTile, depth] · [depth, columns]: a lane has `kLane` rows and 4 columns,
 * of which a row of lanes covers 4·kLane. Sums go to partials[part][row][column].
 */
template <int kLane>
__device__ void multiplyTile(const PersistentLayer& p, int t, int firstRow, const float* weights,
                             float* partials) {
  const WarpShare share(p.columns);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int part = warp / share.columnTiles, column = warp % share.columnTiles * 16 + lane % kLane * 4;
  const int row = lane / kLane * kLane;
  const int groups = p.depth / 4, each = (groups + share.depthParts - 1) / share.depthParts;
  const int from = part * each * 4, until = min(groups, (part + 1) * each) * 4;
  float sums[kLane][4] = {};
  int first = 0;
  for (int i = 0; i < p.sourceCount; ++i) {
    const StepSource& s = p.sources[i];
    const int rows = padded(s.length), begin = max(from, first) - first,
              end = min(until, first + rows) - first;
    const int at = t + s.shift;
    const bool inside = at >= 0 && at < p.T;
    const float* base = inside ? s.base + static_cast<size_t>(at) * s.step : s.outside;
    const float* own[kLane];
    for (int r = 0; r < kLane; ++r) {
      const int n = firstRow + row + r;
      own[r] = base && n < p.N ? base + static_cast<size_t>(n) * s.row : nullptr;
    }
    const float* w = weights + static_cast<size_t>(first) * p.columns + column;
    for (int k = begin; k < end; k += 4) {
      float4 a[kLane], b[4];
#pragma unroll
      for (int r = 0; r < kLane; ++r) a[r] = readFour(own[r], k, s.length, s.vector);
#pragma unroll
      for (int j = 0; j < 4; ++j)
        b[j] = *reinterpret_cast<const float4*>(w + static_cast<size_t>(k + j) * p.columns);
#pragma unroll
      for (int r = 0; r < kLane; ++r) {
        const float x[4] = {a[r].x, a[r].y, a[r].z, a[r].w};
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          sums[r][0] = fmaf(x[j], b[j].x, sums[r][0]);
          sums[r][1] = fmaf(x[j], b[j].y, sums[r][1]);
          sums[r][2] = fmaf(x[j], b[j].z, sums[r][2]);
          sums[r][3] = fmaf(x[j], b[j].w, sums[r][3]);
        }
      }
    }
    first += rows;
  }
  for (int r = 0; r < kLane; ++r) {
    float* out = partials + (part * kRowTile + row + r) * p.columns + column;
    *reinterpret_cast<float4*>(out) = make_float4(sums[r][0], sums[r][1], sums[r][2], sums[r][3]);
  }
}

__device__ __forceinline__ void multiply(const PersistentLayer& p, int t, int firstRow, const float* weights,
                                         float* partials) {
  if (p.columns >= 16) {
    multiplyTile<4>(p, t, firstRow, weights, partials);
  } else if (p.columns == 8) {
    multiplyTile<2>(p, t, firstRow, weights, partials);
  } else {
    multiplyTile<1>(p, t, firstRow, weights, partials);
  }
}

/** The parts of column c of a row, added in order. */
__device__ __forceinline__ float gather(const PersistentLayer& p, const float* partials, int row, int c) {
  const int parts = WarpShare(p.columns).depthParts;
  float sum = 0;
  for (int i = 0; i < parts; ++i) sum += partials[(i * kRowTile + row) * p.columns + c];
  return sum;
}

/** Waits for what step t reads. One thread looks, the block waits. */
__device__ __forceinline__ void waitForSources(const PersistentLayer& p, int t) {
  if (threadIdx.x == 0) {
    for (int i = 0; i < p.sourceCount; ++i) {
      const StepSource& s = p.sources[i];
      const int at = t + s.shift;
      if (s.ready && at >= 0 && at < p.T) waitFor(s.ready + at, s.writers);
    }
  }
  __syncthreads();
}

/** All that the block wrote in step t is there for others. */
__device__ __forceinline__ void announce(const PersistentLayer& p, int t) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    signal(p.done + t);
  }
}

/** h_t of unit j of row n, and everything that is kept of it. */
__device__ __forceinline__ void forwardUnit(const PersistentLayer& p, const float* partials, int t, int row,
                                            int n, int u, int firstUnit) {
  const int H = static_cast<int>(p.l.H), G = static_cast<int>(p.l.G), j = firstUnit + u;
  const size_t size = static_cast<size_t>(p.N) * H, within = static_cast<size_t>(n) * H + j,
               at = t * size + within;
  float* gates = p.gates + (static_cast<size_t>(t) * p.N + n) * G * H + j;
  float sums[4] = {0, 0, 0, 0};
  for (int g = 0; g < p.perUnit; ++g) sums[g] = gather(p, partials, row, u * p.perUnit + g);
  for (int g = 0; g < G; ++g) {
    if (p.projected) sums[g] += gates[g * H];
    if (p.bias) sums[g] += p.bias[g * H + j];
  }
  float h;
  switch (p.l.cell) {
    case Cell::simpleRnn:
      h = simpleCell(p.l, sums);
      break;
    case Cell::lstm: {
      const float cPrev = t > 0 ? p.extra[at - size] : p.c0 ? p.c0[within] : 0.0f;
      h = lstmCell(p.l, sums, cPrev, &p.extra[at]);
      if (p.cT && t + 1 == p.T) p.cT[within] = p.extra[at];
      break;
    }
    default: {
      // Reset after the product: the fourth column is the recurrent factor of the candidate.
      const float hPrev = t > 0 ? p.h[at - size] : p.h0 ? p.h0[within] : 0.0f;
      float q = sums[3];
      if (p.bias) {
        sums[0] += p.bias[3 * H + j];
        sums[1] += p.bias[4 * H + j];
        q += p.bias[5 * H + j];
      }
      const float r = gruGate(p.l, &sums[0]), z = gruGate(p.l, &sums[1]);
      p.extra[at] = q;
      sums[2] += r * q;
      h = gruOutput(p.l, z, &sums[2], hPrev);
      break;
    }
  }
  for (int g = 0; g < G; ++g) gates[g * H] = sums[g];
  p.h[at] = h;
  const bool last = t + 1 == p.T;
  if (p.y && !p.lastOnly) p.y[at] = h;
  if (p.y && p.lastOnly && last) p.y[within] = h;
  if (p.hT && last) p.hT[within] = h;
  if (p.hMasked) p.hMasked[at] = h * maskOf(p.recurrentMask).factor(within);
  if (p.xAbove) p.xAbove[at] = h * maskOf(p.aboveMask).factor(p.abovePerElement ? at : within);
}

__device__ __forceinline__ const PersistentLayer& ownLayer(const PersistentLayer* layers, int count) {
  int i = 0;
  while (i + 1 < count && static_cast<int>(blockIdx.x) >= layers[i + 1].firstBlock) ++i;
  return layers[i];
}

__global__ void __launch_bounds__(kBlockThreads, 1)
    persistentForward(const PersistentLayer* layers, int count) {
  const PersistentLayer& p = ownLayer(layers, count);
  float* partials = sharedMemory<float>();
  float* weights = partials + kPartials;
  const int firstUnit = (static_cast<int>(blockIdx.x) - p.firstBlock) * p.units;
  const int units = min(p.units, static_cast<int>(p.l.H) - firstUnit);
  packWeights(p, firstUnit, weights);
  __syncthreads();
  for (int t = 0; t < p.T; ++t) {
    waitForSources(p, t);
    for (int firstRow = 0; firstRow < p.N; firstRow += kRowTile) {
      multiply(p, t, firstRow, weights, partials);
      __syncthreads();
      const int rows = min(kRowTile, p.N - firstRow);
      for (int e = static_cast<int>(threadIdx.x); e < rows * units; e += kBlockThreads)
        forwardUnit(p, partials, t, e / units, firstRow + e / units, e % units, firstUnit);
      __syncthreads();
    }
    announce(p, t);
  }
}

/** Gate gradients of unit j of row n at step t. Column 0: dh from this layer's next step, column 1 (or 0
 * too): from the layer above. */
__device__ __forceinline__ void backwardUnit(const PersistentLayer& p, const float* partials, int t, int row,
                                             int n, int u, int firstUnit) {
  const int H = static_cast<int>(p.l.H), G = static_cast<int>(p.l.G), j = firstUnit + u;
  const size_t size = static_cast<size_t>(p.N) * H, within = static_cast<size_t>(n) * H + j;
  const bool last = t + 1 == p.T;
  float dh = gather(p, partials, row, u * p.perUnit);
  if (p.recurrentMask.rate > 0) dh *= maskOf(p.recurrentMask).factor(within);
  if (p.l.cell == Cell::gru && !last) dh += p.keep[within];
  if (t < 0) {
    p.dh0[within] = dh;
    return;
  }
  const size_t at = static_cast<size_t>(t) * size + within;
  if (p.perUnit == 2) {
    const float above = gather(p, partials, row, u * p.perUnit + 1);
    dh += p.aboveMask.rate > 0 ? above * maskOf(p.aboveMask).factor(p.abovePerElement ? at : within) : above;
  }
  if (last && p.dhT) dh += p.dhT[within];
  if (p.dy && !p.lastOnly) dh += p.dy[at];
  if (p.dy && p.lastOnly && last) dh += p.dy[within];
  if (p.total) p.total[at] = dh;
  const float* kept = p.gates + (static_cast<size_t>(t) * p.N + n) * G * H + j;
  float gates[4] = {0, 0, 0, 0}, d[4] = {0, 0, 0, 0};
  for (int g = 0; g < G; ++g) gates[g] = kept[g * H];
  switch (p.l.cell) {
    case Cell::simpleRnn:
      d[0] = dh * slope(p.l.activation, p.l.alpha, gates[0]);
      break;
    case Cell::lstm: {
      float dc = last ? (p.dcT ? p.dcT[within] : 0.0f) : p.dc[within];
      lstmGradient(p.l, gates, p.extra[at],
                   t > 0  ? p.extra[at - size]
                   : p.c0 ? p.c0[within]
                          : 0.0f,
                   dh, &dc, d);
      p.dc[within] = dc;
      if (t == 0 && p.dc0) p.dc0[within] = dc;
      break;
    }
    case Cell::gru:
      p.keep[within] = gruGradient(p.l, gates, t > 0 ? p.h[at - size] : p.h0 ? p.h0[within] : 0.0f, dh, d);
      p.dq[at] = gruResetAfterGradient(p.l, gates, p.extra[at], d);
      break;
  }
  float* out = p.dG + (static_cast<size_t>(t) * p.N + n) * G * H + j;
  for (int g = 0; g < G; ++g) out[g * H] = d[g];
}

__global__ void __launch_bounds__(kBlockThreads, 1)
    persistentBackward(const PersistentLayer* layers, int count) {
  const PersistentLayer& p = ownLayer(layers, count);
  float* partials = sharedMemory<float>();
  float* weights = partials + kPartials;
  const int firstUnit = (static_cast<int>(blockIdx.x) - p.firstBlock) * p.units;
  const int units = min(p.units, static_cast<int>(p.l.H) - firstUnit);
  packWeights(p, firstUnit, weights);
  __syncthreads();
  // Step −1 is the initial state's gradient.
  for (int t = p.T - 1; t >= (p.dh0 ? -1 : 0); --t) {
    waitForSources(p, t);
    for (int firstRow = 0; firstRow < p.N; firstRow += kRowTile) {
      multiply(p, t, firstRow, weights, partials);
      __syncthreads();
      const int rows = min(kRowTile, p.N - firstRow);
      for (int e = static_cast<int>(threadIdx.x); e < rows * units; e += kBlockThreads)
        backwardUnit(p, partials, t, e / units, firstRow + e / units, e % units, firstUnit);
      __syncthreads();
    }
    if (t >= 0) announce(p, t);
  }
}

// ── Host ──

/** Columns of the product that a unit needs. */
int perUnitOf(const StackSpec& spec, size_t layer, bool backward) {
  const StackLayer& l = spec.layers[layer];
  if (!backward) return l.cell == Cell::simpleRnn ? 1 : 4;
  // What comes from above is apart where one of the two is masked.
  const bool masked =
      l.recurrentRate > 0 || (layer + 1 < spec.layers.size() && spec.layers[layer + 1].inputRate > 0);
  return masked ? 2 : 1;
}

/** Rows of weights: what a step of the layer multiplies. */
int depthOf(const StackSpec& spec, size_t layer, bool backward) {
  const StackLayer& l = spec.layers[layer];
  const int H = static_cast<int>(l.H);
  if (!backward) return padded(H) + (layer > 0 ? padded(static_cast<int>(l.D)) : 0);
  int depth = l.cell == Cell::gru ? padded(2 * H) + padded(H) : padded(static_cast<int>(l.G) * H);
  if (layer + 1 < spec.layers.size()) {
    const StackLayer& above = spec.layers[layer + 1];
    depth += padded(static_cast<int>(above.G * above.H));
  }
  return depth;
}

/** Fewest columns a block, then twice as many for the layer with most blocks until all blocks fit on the
 * device at once. */
PersistentShape share(const StackSpec& spec, bool backward, int multiprocessors, size_t sharedPerBlock) {
  const size_t layers = spec.layers.size();
  PersistentShape shape;
  std::vector<int> perUnit(layers);
  for (size_t i = 0; i < layers; ++i) {
    perUnit[i] = perUnitOf(spec, i, backward);
    shape.columns.push_back(4);
  }
  const auto blocksOf = [&](size_t i) {
    const int units = shape.columns[i] / perUnit[i];
    return (static_cast<int>(spec.layers[i].H) + units - 1) / units;
  };
  for (;;) {
    shape.blocks.assign(layers, 0);
    shape.grid = 0;
    for (size_t i = 0; i < layers; ++i) shape.grid += shape.blocks[i] = blocksOf(i);
    if (shape.grid <= multiprocessors) break;
    size_t largest = layers;
    for (size_t i = 0; i < layers; ++i) {
      if (shape.columns[i] < 128 && shape.blocks[i] > 1 &&
          (largest == layers || shape.blocks[i] > shape.blocks[largest]))
        largest = i;
    }
    if (largest == layers) return {};
    shape.columns[largest] *= 2;
  }
  for (size_t i = 0; i < layers; ++i) {
    const size_t floats = kPartials + static_cast<size_t>(depthOf(spec, i, backward)) * shape.columns[i];
    shape.sharedBytes = std::max(shape.sharedBytes, floats * sizeof(float));
  }
  if (shape.sharedBytes > sharedPerBlock) return {};
  return shape;
}

bool readable(const float* base, size_t step, size_t row, size_t length, const float* outside) {
  const auto off = (reinterpret_cast<uintptr_t>(base) | reinterpret_cast<uintptr_t>(outside)) % 16;
  return off == 0 && step % 4 == 0 && row % 4 == 0 && length % 4 == 0;
}

/** Scratch of one layer, beside the weights' gradients. */
struct LayerScratch {
  /** Forward: `h0Masked` [N, H] is h̃ before the first step. */
  float *reserve = nullptr, *ordered = nullptr, *hMasked = nullptr, *h0Masked = nullptr;
  float *dG = nullptr, *dq = nullptr, *total = nullptr, *keep = nullptr, *dc = nullptr, *masked = nullptr;
  uint32_t* done = nullptr;
};

struct StackScratch {
  std::vector<LayerScratch> layers;
  /** The counters of all layers, side by side, so that one clearing does. */
  uint32_t* counters;
  size_t counterBytes, used;

  StackScratch(unsigned char* base, const StackSpec& spec, const StackIo& io, bool backward) {
    Carver carve(base);
    const size_t rows = spec.T * spec.N;
    counterBytes = spec.layers.size() * spec.T * sizeof(uint32_t);
    counters = reinterpret_cast<uint32_t*>(carve.take(spec.layers.size() * spec.T));
    for (size_t i = 0; i < spec.layers.size(); ++i) {
      const StackLayer& l = spec.layers[i];
      LayerScratch s;
      s.done = counters ? counters + i * spec.T : nullptr;
      if (reordersInput(spec, l, i == 0)) s.ordered = carve.take(rows * l.D);
      if (!backward) {
        if (!io.reserve) s.reserve = carve.take(ReserveView::size(l, rows));
        if (l.recurrentRate > 0) s.hMasked = carve.take(rows * l.H);
        if (l.recurrentRate > 0 && io.layers[i].h0) s.h0Masked = carve.take(spec.N * l.H);
      } else {
        s.dG = carve.take(rows * l.G * l.H);
        if (l.cell == Cell::gru) {
          s.dq = carve.take(rows * l.H);
          s.keep = carve.take(spec.N * l.H);
        }
        if (l.cell == Cell::lstm) s.dc = carve.take(spec.N * l.H);
        if (io.stepNorms) s.total = carve.take(rows * l.H);
        if (l.recurrentRate > 0) s.masked = carve.take(rows * l.H);
      }
      layers.push_back(s);
    }
    used = carve.used();
  }
};

void setGates(StepSource* s, int a, int b, int c, int d) {
  const int gates[4] = {a, b, c, d};
  std::copy(gates, gates + 4, s->gate);
}

}  // namespace

std::string PersistentStack::describe() const {
  std::string text = "rung d: one persistent kernel, " + std::to_string(shape_.grid) + " blocks (";
  for (size_t i = 0; i < shape_.blocks.size(); ++i)
    text += (i ? " + " : "") + std::to_string(shape_.blocks[i]);
  return text + "), " + std::to_string(shape_.sharedBytes) + " bytes of shared memory each";
}

std::unique_ptr<PersistentStack> PersistentStack::plan(const StackSpec& spec, const StackIo& io,
                                                       const double* step, bool backward, int multiprocessors,
                                                       size_t sharedPerBlock, const char** why) {
  for (const StackLayer& l : spec.layers) {
    if (l.cell == Cell::gru && !l.resetAfter) {
      *why = "a GRU with the reset before the product needs two exchanges a step";
      return nullptr;
    }
  }
  auto stack = std::make_unique<PersistentStack>();
  stack->spec_ = spec;
  stack->io_ = io;
  stack->step_ = step;
  stack->backward_ = backward;
  stack->shape_ = share(spec, backward, multiprocessors, sharedPerBlock);
  if (stack->shape_.grid == 0) {
    *why = "the weights do not fit in the shared memory of the device's multiprocessors";
    return nullptr;
  }
  return stack;
}

size_t PersistentStack::scratch() const {
  return StackScratch(nullptr, spec_, io_, backward_).used;
}

std::vector<unsigned char> PersistentStack::table(unsigned char* scratch) const {
  const StackScratch memory(scratch, spec_, io_, backward_);
  const size_t count = spec_.layers.size(), rows = spec_.T * spec_.N;
  std::vector<PersistentLayer> layers(count);
  std::vector<ReserveView> views;
  float* reserve = io_.reserve;
  for (size_t i = 0; i < count; ++i) {
    views.emplace_back(reserve ? reserve : memory.layers[i].reserve, spec_.layers[i], rows);
    if (reserve) reserve += ReserveView::size(spec_.layers[i], rows);
  }
  int firstBlock = 0;
  for (size_t i = 0; i < count; ++i) {
    const StackLayer& l = spec_.layers[i];
    const StackLayerIo& io = io_.layers[i];
    const LayerScratch& own = memory.layers[i];
    const bool top = i + 1 == count, gru = l.cell == Cell::gru;
    const int H = static_cast<int>(l.H), width = static_cast<int>(l.G) * H;
    PersistentLayer p{};
    p.l = l;
    p.T = static_cast<int>(spec_.T);
    p.N = static_cast<int>(spec_.N);
    p.firstBlock = firstBlock;
    p.blocks = shape_.blocks[i];
    p.columns = shape_.columns[i];
    p.perUnit = perUnitOf(spec_, i, backward_);
    p.units = p.columns / p.perUnit;
    p.depth = depthOf(spec_, i, backward_);
    p.done = own.done;
    p.projected = i == 0;
    p.lastOnly = top && !spec_.returnSequences;
    p.gates = views[i].gates;
    p.extra = views[i].extra;
    p.h = views[i].h;
    p.bias = io.bias;
    p.h0 = io.h0;
    p.c0 = io.c0;
    p.recurrentMask = stateMask(spec_, l, step_);
    if (!top) {
      p.aboveMask = inputMask(spec_, spec_.layers[i + 1], step_);
      p.abovePerElement = spec_.layers[i + 1].maskPerElement;
    }
    if (!backward_) {
      p.y = io.y;
      p.hT = io.hT;
      p.cT = io.cT;
      p.hMasked = own.hMasked;
      if (!top) p.xAbove = memory.layers[i + 1].ordered;
      StepSource& state = p.sources[p.sourceCount++];
      state = {own.hMasked ? own.hMasked : views[i].h,
               own.h0Masked ? own.h0Masked : io.h0,
               spec_.N * l.H,
               H,
               H,
               -1,
               false,
               own.done,
               static_cast<uint32_t>(p.blocks),
               io.recurrentKernel,
               width,
               false,
               {}};
      if (i > 0) {
        StepSource& input = p.sources[p.sourceCount++];
        const int D = static_cast<int>(l.D);
        input = {own.ordered ? own.ordered : views[i - 1].h,
                 nullptr,
                 spec_.N * l.D,
                 D,
                 D,
                 0,
                 false,
                 memory.layers[i - 1].done,
                 static_cast<uint32_t>(shape_.blocks[i - 1]),
                 io.kernel,
                 width,
                 false,
                 {}};
        if (gru) {
          setGates(&input, 0, 1, 2, -1);
        } else {
          setGates(&input, 0, 1, 2, 3);
        }
      }
      if (gru) {
        setGates(&state, 0, 1, -1, 2);
      } else {
        setGates(&state, 0, 1, 2, 3);
      }
    } else {
      p.dy = io.dy;
      p.dhT = io.dhT;
      p.dcT = io.dcT;
      p.dh0 = io.dh0;
      p.dc0 = io.dc0;
      p.dG = own.dG;
      p.dq = own.dq;
      p.total = own.total;
      p.keep = own.keep;
      p.dc = own.dc;
      const auto writers = static_cast<uint32_t>(p.blocks);
      StepSource& gates = p.sources[p.sourceCount++];
      gates = {own.dG,
               nullptr,
               spec_.N * static_cast<size_t>(width),
               width,
               gru ? 2 * H : width,
               1,
               false,
               own.done,
               writers,
               io.recurrentKernel,
               width,
               true,
               {}};
      setGates(&gates, 0, -1, -1, -1);
      if (gru) {
        StepSource& candidate = p.sources[p.sourceCount++];
        candidate = {own.dq,   nullptr, spec_.N * l.H,      H,     H,    1, false,
                     own.done, writers, io.recurrentKernel, width, true, {}};
        setGates(&candidate, 2 * H, -1, -1, -1);
      }
      if (!top) {
        const StackLayer& over = spec_.layers[i + 1];
        const int overWidth = static_cast<int>(over.G * over.H);
        StepSource& above = p.sources[p.sourceCount++];
        above = {memory.layers[i + 1].dG,
                 nullptr,
                 spec_.N * static_cast<size_t>(overWidth),
                 overWidth,
                 overWidth,
                 0,
                 false,
                 memory.layers[i + 1].done,
                 static_cast<uint32_t>(shape_.blocks[i + 1]),
                 io_.layers[i + 1].kernel,
                 overWidth,
                 true,
                 {}};
        if (p.perUnit == 2) {
          setGates(&above, -1, 0, -1, -1);
        } else {
          setGates(&above, 0, -1, -1, -1);
        }
      }
    }
    for (int s = 0; s < p.sourceCount; ++s) {
      StepSource& source = p.sources[s];
      source.vector = readable(source.base, source.step, static_cast<size_t>(source.row),
                               static_cast<size_t>(source.length), source.outside);
    }
    layers[i] = p;
    firstBlock += p.blocks;
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(layers.data());
  return std::vector<unsigned char>(bytes, bytes + layers.size() * sizeof(PersistentLayer));
}

Status PersistentStack::forward(const RunContext& c, const OpMemory& table) const {
  const StackScratch memory(c.scratch, spec_, io_, false);
  const StackLayer& l = spec_.layers[0];
  const size_t width = l.G * l.H, rows = spec_.T * spec_.N;
  const ReserveView view(io_.reserve ? io_.reserve : memory.layers[0].reserve, l, rows);
  const float* x = io_.x;
  if (float* ordered = memory.layers[0].ordered) {
    if (Status s = orderInputs(inputOrder(spec_, l, step_, true), x, ordered, 0, spec_.T, c.stream); !s.ok())
      return s;
    x = ordered;
  }
  Product p;
  p.m = rows;
  p.n = p.bRow = p.cRow = width;
  p.k = p.aRow = l.D;
  p.a = x;
  p.b = io_.layers[0].kernel;
  p.c = view.gates;
  if (Status s = c.blas.multiply(p, c.precision, c.stream); !s.ok()) return s;
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    float* masked = memory.layers[i].h0Masked;
    if (!masked) continue;
    const StackLayer& own = spec_.layers[i];
    const MaskSource mask = stateMask(spec_, own, step_);
    if (Status s = maskState(io_.layers[i].h0, masked, spec_.N * own.H, mask, false, c.stream); !s.ok())
      return s;
  }
  DEEPRNN_TRY(cudaMemsetAsync(memory.counters, 0, memory.counterBytes, c.stream));
  DEEPRNN_TRY(cudaFuncSetAttribute(persistentForward, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shape_.sharedBytes)));
  const Launch launched = {"persistent stack",  dim3(static_cast<unsigned>(shape_.grid)),
                           dim3(kBlockThreads), c.stream,
                           shape_.sharedBytes,  true};
  return launch(launched, persistentForward, reinterpret_cast<const PersistentLayer*>(table.table),
                static_cast<int>(spec_.layers.size()));
}

Status PersistentStack::backward(const RunContext& c, const OpMemory& table) const {
  const StackScratch memory(c.scratch, spec_, io_, true);
  DEEPRNN_TRY(cudaMemsetAsync(memory.counters, 0, memory.counterBytes, c.stream));
  DEEPRNN_TRY(cudaFuncSetAttribute(persistentBackward, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shape_.sharedBytes)));
  const Launch launched = {"persistent stack gradient", dim3(static_cast<unsigned>(shape_.grid)),
                           dim3(kBlockThreads),         c.stream,
                           shape_.sharedBytes,          true};
  if (Status s = launch(launched, persistentBackward, reinterpret_cast<const PersistentLayer*>(table.table),
                        static_cast<int>(spec_.layers.size()));
      !s.ok())
    return s;
  const size_t rows = spec_.T * spec_.N;
  const float* input = io_.x;
  float* reserve = io_.reserve;
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    const StackLayer& l = spec_.layers[i];
    const LayerScratch& mine = memory.layers[i];
    const ReserveView view(reserve, l, rows);
    if (i == 0 && io_.dx) {
      Product p;
      p.m = rows;
      p.n = p.cRow = l.D;
      p.k = p.aRow = p.bRow = l.G * l.H;
      p.a = mine.dG;
      p.b = io_.layers[0].kernel;
      p.bTransposed = true;
      p.c = mine.ordered ? mine.ordered : io_.dx;
      if (Status s = c.blas.multiply(p, c.precision, c.stream); !s.ok()) return s;
      if (mine.ordered) {
        const InputOrder order = inputOrder(spec_, l, step_, true);
        if (Status s = restoreInputs(order, mine.ordered, io_.dx, 0, spec_.T, c.stream); !s.ok()) return s;
      }
    }
    if (io_.stepNorms) {
      if (Status s = stepNorms(mine.total, io_.stepNorms + i * spec_.T, spec_.T, spec_.N * l.H, c.stream);
          !s.ok())
        return s;
    }
    const WeightGradients gradients{spec_, l,       io_.layers[i], step_,        i == 0,     input,
                                    view,  mine.dG, mine.dq,       mine.ordered, mine.masked};
    if (Status s = gradients.queue(c, c.stream); !s.ok()) return s;
    input = view.h;
    reserve += ReserveView::size(l, rows);
  }
  return {};
}

}  // namespace deeprnn::cuda
