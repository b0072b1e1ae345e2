// Packing and the register tiles of the products, one source for all element types (elements.inl.h). Included
// by kernels.inl.h.
#pragma once

#include "cpu/kernels/elements.inl.h"
#include "cpu/kernels/kernels.h"

namespace deeprnn::cpu::DEEPRNN_ISA {
namespace {

/** A panel of a transposed matrix: reads along its columns, a cache line at a time, where steps of
 * columnStride would touch a page each. */
void packColumns(float* out, const float* b, size_t columnStride, size_t k, size_t width) {
  constexpr size_t kLine = 16;
  for (size_t i = 0; i < k; i += kLine) {
    const size_t depth = k - i < kLine ? k - i : kLine;
    float* to = out + i * kPanel;
    for (size_t j = 0; j < width; ++j) {
      const float* column = b + j * columnStride + i;
      for (size_t d = 0; d < depth; ++d) to[d * kPanel + j] = column[d];
    }
    for (size_t d = 0; d < depth; ++d) {
      for (size_t j = width; j < kPanel; ++j) to[d * kPanel + j] = 0.0f;
    }
  }
}

void packFloats(float* dst, const float* b, size_t rowStride, size_t columnStride, size_t k, size_t n,
                size_t first, size_t last) {
  for (size_t p = first; p < last; ++p) {
    float* out = dst + p * k * kPanel;
    const size_t begin = p * kPanel;
    const size_t width = n - begin < kPanel ? n - begin : kPanel;
    if (rowStride == 1 && columnStride != 1) {
      packColumns(out, b + begin * columnStride, columnStride, k, width);
      continue;
    }
    if (columnStride == 1 && width == kPanel) {
      // A size that the compiler knows needs no call.
      for (size_t i = 0; i < k; ++i)
        std::memcpy(out + i * kPanel, b + i * rowStride + begin, kPanel * sizeof(float));
      continue;
    }
    for (size_t i = 0; i < k; ++i) {
      const float* row = b + i * rowStride + begin * columnStride;
      float* to = out + i * kPanel;
      if (columnStride == 1) {
        std::memcpy(to, row, width * sizeof(float));
      } else {
        for (size_t j = 0; j < width; ++j) to[j] = row[j * columnStride];
      }
      for (size_t j = width; j < kPanel; ++j) to[j] = 0.0f;
    }
  }
}

template <class T>
size_t packedRows(size_t k) {
  return T::packedRows(k);
}
template <>
size_t packedRows<Float32>(size_t k) {
  return k;
}

template <class T>
void pack(float* dst, const float* b, size_t rowStride, size_t columnStride, size_t k, size_t n, size_t first,
          size_t last) {
  for (size_t p = first; p < last; ++p) {
    const float* columns = b + p * kPanel * columnStride;
    const size_t width = n - p * kPanel < kPanel ? n - p * kPanel : kPanel;
    T::packPanel(dst + p * T::packedRows(k) * kPanel, k, [&](size_t i, size_t count, float* to) {
      packFloats(to, columns + i * rowStride, rowStride, columnStride, count, width, 0, 1);
    });
  }
}
template <>
void pack<Float32>(float* dst, const float* b, size_t rowStride, size_t columnStride, size_t k, size_t n,
                   size_t first, size_t last) {
  packFloats(dst, b, rowStride, columnStride, k, n, first, last);
}

/** Rows of a tile whose columns fill `vectors` registers: as many sums as a whole tile has, but no more rows
 * than pay. */
constexpr int rowsOf(int vectors) {
  return kRows * kVectors / vectors < 12 ? kRows * kVectors / vectors : 12;
}

/** One A·B of a product: words of A (word (m, i) at a[m·row + i·step]) and of B, whose panels lie `panel`
 * floats apart. */
template <class T>
struct Factor {
  const typename T::Word* a = nullptr;
  size_t row = 0, step = 0, words = 0;
  const float* b = nullptr;
  size_t panel = 0;
};

/** C[m, …] = (accumulate ? C : bias or 0) + the products of up to two factors. */
template <class T>
struct Block {
  size_t m = 0;
  Factor<T> first, second;
  float* c = nullptr;
  size_t cRow = 0;
  const float* bias = nullptr;
  bool accumulate = false;
  /** Of the rows of A and of the columns of B, where words are scaled; `scales` and the columns' first sums
   * lie a panel's distance from panel to panel, as B does. */
  const float *rowScales = nullptr, *scales = nullptr, *sums = nullptr;
};

/** Adds A[R rows, …]·panel to the tile in registers, of the panel's first V registers of columns. */
template <class T, int R, int V>
DEEPRNN_INLINE void addProduct(typename T::Sum (&acc)[R][V], const Factor<T>& f, size_t m, size_t p) {
  const typename T::Word* a = f.a + m * f.row;
  const float* b = f.b + p * f.panel;
  const size_t row = f.row, step = f.step;
  for (size_t i = 0; i < f.words; ++i) {
    typename T::Columns columns[V];
    for (int v = 0; v < V; ++v) columns[v] = T::columns(b + i * kPanel + static_cast<size_t>(v) * kWidth);
    for (int r = 0; r < R; ++r) {
      const typename T::Word x = a[static_cast<size_t>(r) * row + i * step];
      for (int v = 0; v < V; ++v) acc[r][v] = T::multiplyAdd(x, columns[v], acc[r][v]);
    }
  }
}

/** One tile of R rows and V registers of a panel's columns, `width` of which exist. */
template <class T, int R, int V>
void tile(const Block<T>& g, size_t m, size_t p, size_t width) {
  constexpr size_t kColumns = V * kWidth;
  float* c = g.c + m * g.cRow + p * kPanel;
  alignas(64) float edge[R][kColumns];
  typename T::Sum acc[R][V];
  const float* base[R];
  const bool whole = width == kColumns;
  for (int r = 0; r < R; ++r) {
    base[r] = g.accumulate ? c + static_cast<size_t>(r) * g.cRow : g.bias ? g.bias + p * kPanel : nullptr;
    if (base[r] && !whole) {
      for (size_t j = 0; j < kColumns; ++j) edge[r][j] = 0.0f;
      std::memcpy(edge[r], base[r], width * sizeof(float));
      base[r] = edge[r];
    }
    for (int v = 0; v < V; ++v) {
      const size_t at = static_cast<size_t>(v) * kWidth;
      if constexpr (T::kScaled) {
        acc[r][v] = loadWords(g.sums + p * g.first.panel + at);
      } else {
        acc[r][v] = base[r] ? load(base[r] + at) : splat(0.0f);
      }
    }
  }
  if (g.first.words) addProduct<T, R, V>(acc, g.first, m, p);
  if (g.second.words) addProduct<T, R, V>(acc, g.second, m, p);
  for (int r = 0; r < R; ++r) {
    float* to = whole ? c + static_cast<size_t>(r) * g.cRow : edge[r];
    for (int v = 0; v < V; ++v) {
      const size_t at = static_cast<size_t>(v) * kWidth;
      if constexpr (T::kScaled) {
        const Vec scale =
            multiply(splat(g.rowScales[m + static_cast<size_t>(r)]), load(g.scales + p * g.first.panel + at));
        store(to + at, multiplyAdd(toFloats(acc[r][v]), scale, base[r] ? load(base[r] + at) : splat(0.0f)));
      } else {
        store(to + at, acc[r][v]);
      }
    }
    if (!whole) std::memcpy(c + static_cast<size_t>(r) * g.cRow, edge[r], width * sizeof(float));
  }
}

template <class T, int R, int V>
struct Tiles {
  /** The last rows, fewer than a tile's, in one tile of their number. */
  static void rest(const Block<T>& g, size_t m, size_t p, size_t width, size_t rows) {
    if (rows == R) {
      tile<T, R, V>(g, m, p, width);
    } else {
      Tiles<T, R - 1, V>::rest(g, m, p, width, rows);
    }
  }
};
template <class T, int V>
struct Tiles<T, 0, V> {
  static void rest(const Block<T>&, size_t, size_t, size_t, size_t) {}
};

/** All rows of one panel, in tiles of the V registers that its columns fill. */
template <class T, int V>
void panelRows(const Block<T>& g, size_t p, size_t width) {
  constexpr int R = rowsOf(V);
  size_t m = 0;
  for (; m + R <= g.m; m += R) tile<T, R, V>(g, m, p, width);
  Tiles<T, R - 1, V>::rest(g, m, p, width, g.m - m);
}

/** Narrow panels, such as those of few units or classes, cost what their columns do. */
template <class T, int V>
struct Panels {
  static void run(const Block<T>& g, size_t p, size_t width) {
    if (width > (V - 1) * kWidth) {
      panelRows<T, V>(g, p, width);
    } else {
      Panels<T, V - 1>::run(g, p, width);
    }
  }
};
template <class T>
struct Panels<T, 0> {
  static void run(const Block<T>&, size_t, size_t) {}
};

template <class T>
void multiplyPanels(const Block<T>& g, size_t n, size_t first, size_t last) {
  for (size_t p = first; p < last; ++p)
    Panels<T, kVectors>::run(g, p, n - p * kPanel < kPanel ? n - p * kPanel : kPanel);
}

/** The whole product from A and B as they lie in memory. */
void gemmFloats(const Gemm& g, size_t first, size_t last) {
  Block<Float32> block;
  block.m = g.m;
  block.first = {g.a1, g.a1Row, g.a1Step, g.k1, g.b1, g.k1 * kPanel};
  block.second = {g.a2, g.a2Row, g.a2Step, g.k2, g.b2, g.k2 * kPanel};
  block.c = g.c;
  block.cRow = g.cRow;
  block.bias = g.bias;
  block.accumulate = g.accumulate;
  multiplyPanels(block, g.n, first, last);
}

/** A is rounded in blocks of rows and of k that stay in the cache while all panels are multiplied with them.
 * C holds the sums from block to block: as float32, so that they lose nothing. */
template <class T>
void gemm(const Gemm& g, size_t first, size_t last) {
  if (g.k1 + g.k2 == 0) return gemmFloats(g, first, last);
  typename T::Word words[kMaxRows * T::kBlockWords];
  float rowScales[kMaxRows];
  for (size_t m = 0; m < g.m; m += kMaxRows) {
    Block<T> block;
    block.m = g.m - m < kMaxRows ? g.m - m : kMaxRows;
    block.c = g.c + m * g.cRow;
    block.cRow = g.cRow;
    block.bias = g.bias;
    block.accumulate = g.accumulate;
    block.rowScales = rowScales;
    const auto add = [&](const Strided& a, size_t k, const float* b) {
      for (size_t i = 0; i < k; i += T::kBlock) {
        const size_t depth = k - i < T::kBlock ? k - i : T::kBlock;
        const WordLayout at =
            T::round({a.a + m * a.row + i * a.step, a.row, a.step}, block.m, depth, words, rowScales);
        const float* rows = b + T::blockRow(i) * kPanel;
        block.first = {words,
                       at.row,
                       at.step,
                       (depth + T::kDepth - 1) / T::kDepth,
                       T::kScaled ? rows + kPanel : rows,
                       T::packedRows(k) * kPanel};
        block.scales = b;
        block.sums = rows;
        multiplyPanels(block, g.n, first, last);
        block.accumulate = true;
      }
    };
    add({g.a1, g.a1Row, g.a1Step}, g.k1, g.b1);
    add({g.a2, g.a2Row, g.a2Step}, g.k2, g.b2);
  }
}
template <>
void gemm<Float32>(const Gemm& g, size_t first, size_t last) {
  gemmFloats(g, first, last);
}

}  // namespace
}  // namespace deeprnn::cpu::DEEPRNN_ISA
