#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/thread_pool.h"

namespace deeprnn::cpu {

constexpr size_t roundUp(size_t n, size_t to) {
  return (n + to - 1) / to * to;
}
constexpr size_t panels(const KernelTable& k, size_t n) {
  return (n + k.panel - 1) / k.panel;
}
/** Floats of memory of B[K, N] when packed. */
inline size_t packedSize(const KernelTable& k, size_t rows, size_t n) {
  return roundUp(k.packedRows(rows) * panels(k, n) * k.panel, 16);
}

/** Packs B on all threads. */
inline void packAll(ThreadPool& pool, const KernelTable& k, float* dst, const float* b, size_t rowStride,
                    size_t columnStride, size_t rows, size_t n) {
  const size_t count = panels(k, n);
  // Small matrices cost less than waking a thread.
  if (rows * n < 16384) return k.pack(dst, b, rowStride, columnStride, rows, n, 0, count);
  pool.parallelFor(count, [&](size_t p) { k.pack(dst, b, rowStride, columnStride, rows, n, p, p + 1); });
}

/** A product on all threads: blocks of rows × panels. */
void gemmAll(ThreadPool& pool, const KernelTable& k, const Gemm& g);

/** Rows of B per block of a transposed product: 256 rows of a 64-column panel are 64 KB. */
constexpr size_t kDepthBlock = 256;

/** Floats of scratch that `gemmTransposed` needs for these sizes. */
size_t transposedScratch(const KernelTable& k, size_t rows, size_t n);

/** One of the products that `gemmTransposed` makes with the same B: C[m, n] += or = Aᵀ·B, A [R, m], of B's
 * first n columns. */
struct TransposedFactor {
  const float* a;
  size_t aRow, m, n;
  float* c;
  size_t cRow;
  bool accumulate;
};

/** Some of the rows of A and B, in rising order; without a list all. `scratch`: `keptScratch` floats. */
struct KeptRows {
  const uint32_t* list = nullptr;
  size_t count = 0;
  float* scratch = nullptr;
};

/** Floats of scratch for rows of these widths together. */
size_t keptScratch(size_t rows, size_t widths);

/**
 * Products Aᵀ·B with B [R, N] row-major, R large: the gradients of weights. Runs over R in fixed blocks, each
 * packed once for all factors, so that a panel of B stays in the cache, and sums in rising r whatever the
 * number of threads. `kept`: the rows of B that are not zeros, where it pays to leave the others out; in
 * float32 that changes no bit.
 */
void gemmTransposed(ThreadPool& pool, const KernelTable& k, const TransposedFactor* factors, size_t count,
                    const float* b, size_t bRow, size_t n, size_t rows, float* scratch,
                    const KeptRows& kept = {});

}  // namespace deeprnn::cpu
