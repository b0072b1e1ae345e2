// What the persistent kernels of both directions share on the device: weights into shared memory, the product
// of a step, what a step waits for, and what is fetched before it waits.
#pragma once

#include "cuda/cell_math.h"
#include "cuda/mma.h"
#include "cuda/rnn_persistent_kernels.h"

namespace deeprnn::cuda {

constexpr int kBlockThreads = kWarps * 32;

__device__ __forceinline__ core::Mask maskOf(const MaskSource& m) {
  core::Mask mask = core::Mask::of(m.seedLo, m.seedHi, m.stream, *m.step, m.rate);
  mask.base = m.base;
  return mask;
}

/** One block's part of its layer. */
struct BlockPart {
  int group, firstUnit, units;
  /** Rows of the batch firstRow … firstRow + rows − 1. */
  int firstRow, rows;
};

/** This block's layer, copied to the head of shared memory: every step reads of it. */
__device__ __forceinline__ const PersistentLayer& ownLayer(const PersistentLayer* layers, int count) {
  static_assert(sizeof(PersistentLayer) <= SharedPlan::kHead, "the head of shared memory holds a layer");
  const int block = static_cast<int>(blockIdx.x) % layers->blocksOfGroup;
  int i = 0;
  while (i + 1 < count && block >= layers[i + 1].firstBlock) ++i;
  const auto* from = reinterpret_cast<const uint32_t*>(layers + i);
  auto* to = sharedMemory<uint32_t>();
  for (size_t w = threadIdx.x; w < sizeof(PersistentLayer) / 4; w += kBlockThreads) to[w] = from[w];
  __syncthreads();
  return *sharedMemory<const PersistentLayer>();
}

__device__ __forceinline__ BlockPart partOf(const PersistentLayer& p) {
  BlockPart b;
  b.group = static_cast<int>(blockIdx.x) / p.blocksOfGroup;
  b.firstUnit = (static_cast<int>(blockIdx.x) % p.blocksOfGroup - p.firstBlock) * p.units;
  b.units = min(p.units, static_cast<int>(p.l.H) - b.firstUnit);
  b.firstRow = b.group * p.rows;
  b.rows = min(p.rows, p.N - b.firstRow);
  return b;
}

template <class T>
__device__ __forceinline__ T* sharedAt(int offset) {
  return reinterpret_cast<T*>(sharedMemory<unsigned char>() + offset);
}

/** Number k of a row of a source, for column c of a block. */
__device__ __forceinline__ float weightOf(const PersistentLayer& p, const StepSource& s, int firstUnit, int k,
                                          int c) {
  const int slot = k / s.slotLength, within = k % s.slotLength;
  const int unit = firstUnit + c / p.perUnit, gate = s.columnGate[c % p.perUnit];
  const int H = static_cast<int>(p.l.H);
  if (within >= s.length || c >= p.units * p.perUnit || unit >= H || gate < 0) return 0;
  return s.transposed
             ? s.matrix[static_cast<size_t>(unit) * s.matrixRow + s.slotGate[slot] * s.length + within]
             : s.matrix[static_cast<size_t>(within) * s.matrixRow + static_cast<size_t>(gate) * H + unit];
}

/** This block's columns of all sources' matrices: [chunk][tile][lane] pieces of 16 bytes. */
template <Precision kPrecision>
__device__ void packWeights(const PersistentLayer& p, int firstUnit) {
  using Stored = typename Operand<kPrecision>::Stored;
  constexpr int kPiece = 16 / static_cast<int>(sizeof(Stored));
  auto* to = sharedAt<Stored>(p.weightsAt);
  for (int i = 0; i < p.sourceCount; ++i) {
    const StepSource& s = p.sources[i];
    const int pieces = s.chunks * p.tiles * 32;
    for (int e = static_cast<int>(threadIdx.x); e < pieces; e += kBlockThreads) {
      const int lane = e % 32, tile = e / 32 % p.tiles, chunk = e / 32 / p.tiles;
      const int c = tile * kTileColumns + lane / 4, k = chunk * chunkLength(kPrecision) + lane % 4 * kPiece;
      float values[kPiece];
#pragma unroll
      for (int j = 0; j < kPiece; ++j) values[j] = weightOf(p, s, firstUnit, k + j, c);
#pragma unroll
      for (int j = 0; j < kPiece; ++j) to[e * kPiece + j] = Operand<kPrecision>::of(values[j]);
    }
    to += pieces * kPiece;
  }
}

/** Whether row `n` of the batch counts in step t. */
__device__ __forceinline__ bool counts(const PersistentLayer& p, int t, int n) {
  return !p.valid || p.valid.at(static_cast<size_t>(t))[n];
}

/** Where number `place` lies that a unit carries from step to step for a row. */
__device__ __forceinline__ float* carriedOf(const PersistentLayer& p, int place, int r, int u) {
  return sharedAt<float>(p.carriedAt) + (place * p.rows + r) * p.units + u;
}

/** Where what stays beside the cell's own arithmetic is carried: forward h, backward its gradient. A GRU's
 * arithmetic carries that itself; others need it where rows may not count. */
__device__ __forceinline__ int stateOf(const PersistentLayer& p) {
  return p.l.cell == Cell::lstm ? 1 : 0;
}

/** What is carried at first, from `states` [N, H], or zero. */
__device__ __forceinline__ void packCarried(const PersistentLayer& p, const BlockPart& b, int place,
                                            const float* states) {
  for (int e = static_cast<int>(threadIdx.x); e < b.rows * b.units; e += kBlockThreads) {
    const int r = e / b.units, u = e % b.units;
    *carriedOf(p, place, r, u) =
        states ? states[static_cast<size_t>(b.firstRow + r) * p.l.H + b.firstUnit + u] : 0.0f;
  }
}

/** 16 bytes past the first-level cache: other blocks have just written them. */
__device__ __forceinline__ uint4 readPiece(const unsigned char* at) {
#ifdef DEEPRNN_EMULATED
  return *reinterpret_cast<const uint4*>(at);
#else
  return __ldcg(reinterpret_cast<const uint4*>(at));
#endif
}

/** This warp's part of the product with one source. `rows`: the first of the pass. */
template <Precision kPrecision, int kRowTiles>
__device__ __forceinline__ void accumulate(const StepSource& s, const unsigned char* rows,
                                           const unsigned char* weights, int tiles,
                                           float (&sums)[kRowTiles][kWarpTiles][4]) {
  const WarpSplit split(tiles);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int firstTile = warp % split.columnGroups * kWarpTiles, part = warp / split.columnGroups;
  const int each = (s.chunks + split.parts - 1) / split.parts;
  const int from = part * each, until = part < split.parts ? min(s.chunks, from + each) : 0;
  const unsigned char* a = rows + static_cast<size_t>(lane / 4) * s.rowBytes + lane % 4 * 16;
  const unsigned char* b = weights + (static_cast<size_t>(firstTile) * 32 + lane) * 16;
#pragma unroll 2
  for (int c = from; c < until; ++c) {
    uint4 upper[kRowTiles], lower[kRowTiles], w[kWarpTiles];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      const unsigned char* at = a + static_cast<size_t>(m) * kTileRows * s.rowBytes + c * kChunkBytes;
      upper[m] = readPiece(at);
      lower[m] = readPiece(at + static_cast<size_t>(8) * s.rowBytes);
    }
#pragma unroll
    for (int j = 0; j < kWarpTiles; ++j) {
      if (firstTile + j < tiles)
        w[j] = *reinterpret_cast<const uint4*>(b + (static_cast<size_t>(c) * tiles + j) * kFragmentBytes);
    }
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int j = 0; j < kWarpTiles; ++j) {
        if (firstTile + j < tiles) multiplyChunk<kPrecision>(sums[m][j], upper[m], lower[m], w[j]);
      }
    }
  }
}

/** The product of step t for rows firstRow … of the group, as partial sums in shared memory. Every warp waits
 * for what it reads; `wait` is false where an earlier pass of the step has waited. */
template <Precision kPrecision, int kRowTiles>
__device__ __forceinline__ void multiply(const PersistentLayer& p, int group, int t, int firstRow,
                                         bool wait) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const WarpSplit split(p.tiles);
  float sums[kRowTiles][kWarpTiles][4] = {};
  const unsigned char* weights = sharedAt<unsigned char>(p.weightsAt);
  for (int i = 0; i < p.sourceCount; ++i) {
    const StepSource& s = p.sources[i];
    const int at = t + s.shift;
    const bool inside = at >= 0 && at < p.T;
    const unsigned char* rows = inside ? s.rows + at * s.stepBytes : s.outside;
    if (inside && wait) {
      if (lane == 0) waitFor(s.ready + group * p.T + at, s.writers);
      __syncwarp();
    }
    if (rows) {
      rows += static_cast<size_t>(group * p.storedRows + firstRow) * s.rowBytes;
      accumulate<kPrecision, kRowTiles>(s, rows, weights, p.tiles, sums);
    }
    weights += static_cast<size_t>(s.chunks) * p.tiles * kFragmentBytes;
  }
  const int firstTile = warp % split.columnGroups * kWarpTiles, part = warp / split.columnGroups;
  if (part >= split.parts) return;
  float* out = sharedAt<float>(SharedPlan::kHead) +
               static_cast<size_t>(part * kRowTiles * kTileRows + lane / 4) * p.partialRow +
               firstTile * kTileColumns + lane % 4 * 2;
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int j = 0; j < kWarpTiles; ++j) {
      if (firstTile + j >= p.tiles) continue;
      float* upper = out + static_cast<size_t>(m) * kTileRows * p.partialRow + j * kTileColumns;
      *reinterpret_cast<float2*>(upper) = make_float2(sums[m][j][0], sums[m][j][1]);
      *reinterpret_cast<float2*>(upper + 8 * p.partialRow) = make_float2(sums[m][j][2], sums[m][j][3]);
    }
  }
}

/** Where part `part` of the sums of unit u lies. Once its thread has added the parts, the place is that
 * thread's to use. */
template <int kRowTiles>
__device__ __forceinline__ float* partOfSums(const PersistentLayer& p, int part, int row, int u) {
  return sharedAt<float>(SharedPlan::kHead) +
         static_cast<size_t>(part * kRowTiles * kTileRows + row) * p.partialRow + u * p.perUnit;
}

/** Columns of unit u in a row of the pass: the parts, added in order. */
template <int kRowTiles>
__device__ __forceinline__ void gather(const PersistentLayer& p, int row, int u, float (&sums)[4]) {
  const int parts = WarpSplit(p.tiles).parts;
  const float* from = partOfSums<kRowTiles>(p, 0, row, u);
  const size_t part = static_cast<size_t>(kRowTiles) * kTileRows * p.partialRow;
  sums[0] = sums[1] = sums[2] = sums[3] = 0;
  if (p.perUnit == 4) {
    for (int i = 0; i < parts; ++i, from += part) {
      const float4 piece = *reinterpret_cast<const float4*>(from);
      sums[0] += piece.x;
      sums[1] += piece.y;
      sums[2] += piece.z;
      sums[3] += piece.w;
    }
  } else {
    for (int i = 0; i < parts; ++i, from += part) {
      sums[0] += from[0];
      if (p.perUnit == 2) sums[1] += from[1];
    }
  }
}

/** Begins to fetch what the cells of step t read, for `rows` rows of the batch from `firstRow`. */
template <int kRowTiles>
__device__ __forceinline__ void fetchStaged(const PersistentLayer& p, const BlockPart& b, int t, int firstRow,
                                            int rows) {
  for (int i = 0; i < kStagedArrays; ++i) {
    if (p.stagedIndex[i] < 0) continue;
    const StagedArray& s = p.staged[i];
    float* to = sharedAt<float>(p.stagedAt) + p.stagedIndex[i] * kRowTiles * kTileRows * p.units;
    const int at = s.lastOnly ? 0 : t + s.shift;
    const bool there = s.lastOnly ? t + 1 == p.T : at >= 0 && at < p.T;
    const float* from = there ? s.base + at * s.step : s.lastOnly ? nullptr : s.outside;
    const int row = there ? s.row : static_cast<int>(p.l.H);
    for (int e = static_cast<int>(threadIdx.x); e < rows * b.units; e += kBlockThreads) {
      const int r = e / b.units, u = e % b.units;
      float* slot = to + r * p.units + u;
      if (from)
        copyAsync(slot, from + static_cast<size_t>(firstRow + r) * row + b.firstUnit + u);
      else
        *slot = 0;
    }
  }
}

/** Where a staged number of a kind that is there lies. Once its thread has read it, the place is that
 * thread's to use. */
template <int kRowTiles>
__device__ __forceinline__ float* stagedAt(const PersistentLayer& p, int place, int row, int u) {
  return sharedAt<float>(p.stagedAt) + (p.stagedIndex[place] * kRowTiles * kTileRows + row) * p.units + u;
}

/** A staged number, or zero where there is none of its kind. */
template <int kRowTiles>
__device__ __forceinline__ float staged(const PersistentLayer& p, int place, int row, int u) {
  return p.stagedIndex[place] < 0 ? 0.0f : *stagedAt<kRowTiles>(p, place, row, u);
}

/** All that the block wrote in step t is there for others. */
__device__ __forceinline__ void announce(const PersistentLayer& p, int group, int t) {
  __syncthreads();
  if (threadIdx.x == 0) signal(p.done + group * p.T + t);
}

/** Stores a number for products in a row that others read. */
template <Precision kPrecision>
__device__ __forceinline__ void store(unsigned char* row, int k, float value) {
  reinterpret_cast<typename Operand<kPrecision>::Stored*>(row)[k] = Operand<kPrecision>::of(value);
}

/** Row n of the group's part of rows [groups · storedRows] at step t. */
__device__ __forceinline__ unsigned char* rowOf(const PersistentLayer& p, unsigned char* base,
                                                const BlockPart& b, int t, int row) {
  return base + (static_cast<size_t>(t) * p.groups * p.storedRows +
                 static_cast<size_t>(b.group) * p.storedRows + row) *
                    p.ownRowBytes;
}

/** Launches the kernel for the planned number of row tiles. */
template <class Kernel>
Status launchPersistent(const KernelLaunch& l, const char* name, cudaStream_t stream, Kernel* one,
                        Kernel* two, Kernel* four) {
  Kernel* const kernel = l.rowTiles == 1 ? one : l.rowTiles == 2 ? two : four;
  DEEPRNN_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(l.sharedBytes)));
  const Launch launched = {
      name, dim3(static_cast<unsigned>(l.grid)), dim3(kBlockThreads), stream, l.sharedBytes, true};
  return launch(launched, kernel, l.layers, l.count);
}

}  // namespace deeprnn::cuda
