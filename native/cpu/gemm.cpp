#include "cpu/gemm.h"

#include <algorithm>
#include <cstring>

namespace deeprnn::cpu {
namespace {

/** Rows of A per task: enough work for a task, few enough that A's block stays in the second-level cache. */
constexpr size_t kRowBlock = 96;
/** Fewer multiplications than this are done by the caller alone. */
constexpr size_t kSerialWork = size_t{1} << 16;

}  // namespace

void gemmAll(ThreadPool& pool, const KernelTable& k, const Gemm& g) {
  const size_t count = panels(k, g.n);
  if (g.m * g.n * (g.k1 + g.k2) < kSerialWork) return k.gemm(g, 0, count);
  const size_t blocks = (g.m + kRowBlock - 1) / kRowBlock;
  // Few blocks of rows: share the panels out too.
  const size_t split = blocks >= static_cast<size_t>(pool.threads())
                           ? 1
                           : std::min(count, static_cast<size_t>(pool.threads()));
  pool.parallelFor(blocks * split, [&](size_t task) {
    const size_t block = task / split, part = task % split;
    Gemm own = g;
    const size_t first = block * kRowBlock;
    own.m = std::min(kRowBlock, g.m - first);
    own.a1 = g.a1 + first * g.a1Row;
    if (g.a2) own.a2 = g.a2 + first * g.a2Row;
    own.c = g.c + first * g.cRow;
    k.gemm(own, count * part / split, count * (part + 1) / split);
  });
}

size_t transposedScratch(const KernelTable& k, size_t rows, size_t n) {
  return packedSize(k, std::min(rows, kDepthBlock), n);
}

size_t keptScratch(size_t rows, size_t widths) {
  return std::min(rows, kDepthBlock) * widths;
}

namespace {

/** Rows of an array that are in a list, side by side. */
void gather(ThreadPool& pool, const uint32_t* list, size_t count, const float* from, size_t fromRow,
            size_t width, float* to) {
  constexpr size_t kEach = 32;
  pool.parallelFor((count + kEach - 1) / kEach, [&](size_t task) {
    for (size_t i = task * kEach; i < std::min(count, (task + 1) * kEach); ++i)
      std::memcpy(to + i * width, from + list[i] * fromRow, width * sizeof(float));
  });
}

}  // namespace

void gemmTransposed(ThreadPool& pool, const KernelTable& k, const TransposedFactor* factors, size_t count,
                    const float* b, size_t bRow, size_t n, size_t allRows, float* scratch,
                    const KeptRows& kept) {
  const size_t rows = kept.list ? kept.count : allRows;
  for (size_t f = 0; f < count && rows == 0; ++f) {
    for (size_t i = 0; i < factors[f].m && !factors[f].accumulate; ++i)
      std::memset(factors[f].c + i * factors[f].cRow, 0, factors[f].n * sizeof(float));
  }
  const auto threads = static_cast<size_t>(pool.threads());
  for (size_t first = 0; first < rows; first += kDepthBlock) {
    const size_t depth = std::min(kDepthBlock, rows - first);
    float* copies = kept.scratch;
    if (kept.list) {
      gather(pool, kept.list + first, depth, b, bRow, n, copies);
      packAll(pool, k, scratch, copies, n, 1, depth, n);
    } else {
      packAll(pool, k, scratch, b + first * bRow, bRow, 1, depth, n);
    }
    for (size_t f = 0; f < count; ++f) {
      const TransposedFactor& own = factors[f];
      if (kept.list) gather(pool, kept.list + first, depth, own.a, own.aRow, own.m, copies);
      Gemm g;
      g.m = own.m;
      g.n = own.n;
      g.a1 = kept.list ? copies : own.a + first * own.aRow;
      g.a1Row = 1;
      g.a1Step = kept.list ? own.m : own.aRow;
      g.k1 = depth;
      g.b1 = scratch;
      g.c = own.c;
      g.cRow = own.cRow;
      g.accumulate = own.accumulate || first > 0;
      const size_t all = panels(k, own.n);
      if (own.m * own.n * depth < kSerialWork) {
        k.gemm(g, 0, all);
        continue;
      }
      // A panel of B in the cache for all rows of A; where each product rounds its rows of A, some rows for
      // all panels, so that they are rounded once.
      const bool rounds = k.precision != Precision::float32;
      const size_t split = rounds ? std::max((own.m + kRowBlock - 1) / kRowBlock, std::min(own.m, threads))
                           : all >= threads ? 1
                                            : std::min(own.m, threads);
      const size_t each = rounds ? all : 1;
      pool.parallelFor(all / each * split, [&](size_t task) {
        const size_t panel = task / split * each, part = task % split;
        const size_t begin = own.m * part / split, end = own.m * (part + 1) / split;
        Gemm piece = g;
        piece.m = end - begin;
        piece.a1 = g.a1 + begin;
        piece.c = own.c + begin * own.cRow;
        k.gemm(piece, panel, panel + each);
      });
    }
  }
}

}  // namespace deeprnn::cpu
