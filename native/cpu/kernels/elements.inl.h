// What products are made of: how numbers lie in the operands, `kDepth` neighbours along k in a word of 32
// bits, and how words are multiplied and added up. Included by products.inl.h.
#pragma once

#include "cpu/kernels/vector.inl.h"

namespace deeprnn::cpu::DEEPRNN_ISA {
namespace {

constexpr size_t kPanel = kWidth * kVectors;
/** Rows of A, and bytes of the words of each, that are rounded at once: 48 KB on the stack. */
constexpr size_t kMaxRows = 96;
constexpr size_t kRowBytes = 512;

DEEPRNN_INLINE uint32_t bitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

DEEPRNN_INLINE float asFloat(int32_t bits) {
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

DEEPRNN_INLINE float absf(float x) {
  return x < 0 ? -x : x;
}

/** Where an operand A lies: element (m, k) at a[m·row + k·step]. */
struct Strided {
  const float* a;
  size_t row, step;
  float at(size_t m, size_t k) const { return a[m * row + k * step]; }
};

/** Where its words were put: word (m, i) at words[m·row + i·step]. */
struct WordLayout {
  size_t row, step;
};

struct Float32 {
  using Word = float;
  using Columns = Vec;
  using Sum = Vec;
  static constexpr size_t kDepth = 1;
  static constexpr bool kScaled = false;
  static DEEPRNN_INLINE Columns columns(const float* p) { return load(p); }
  static DEEPRNN_INLINE Sum multiplyAdd(Word x, const Columns& columns, const Sum& sum) {
    return DEEPRNN_ISA::multiplyAdd(splat(x), columns, sum);
  }
};

struct Bfloat16 {
  using Word = PairWord;
  using Columns = Words;
  using Sum = Vec;
  static constexpr size_t kDepth = 2;
  static constexpr bool kScaled = false;
  static constexpr size_t kBlockWords = kRowBytes / sizeof(Word);
  /** Elements along k that are rounded at once. */
  static constexpr size_t kBlock = kBlockWords * kDepth;

  static DEEPRNN_INLINE Columns columns(const float* p) { return loadWords(p); }
  static DEEPRNN_INLINE Sum multiplyAdd(Word x, const Columns& columns, const Sum& sum) {
    return addPair(sum, x, columns);
  }

  /** To the nearest, ties to even, in the upper half; NaN stays NaN. */
  static DEEPRNN_INLINE uint32_t rounded(float x) {
    const uint32_t bits = bitsOf(x), nearest = bits + 0x7FFFu + (bits >> 16 & 1u);
    return (x == x ? nearest : bits | 0x00400000u) & 0xFFFF0000u;
  }
  static DEEPRNN_INLINE uint32_t pairOf(float first, float second) {
    return rounded(first) >> 16 | rounded(second);
  }
#if defined(__AVX512BF16__)
  static DEEPRNN_INLINE Word wordOf(float first, float second) { return pairOf(first, second); }
#else
  static DEEPRNN_INLINE Word wordOf(float first, float second) {
    return {asFloat(static_cast<int32_t>(rounded(first))), asFloat(static_cast<int32_t>(rounded(second)))};
  }
#endif

  static constexpr size_t packedRows(size_t k) { return (k + 1) / 2; }
  /** Rows of a packed panel before the words of the block that begins at k. */
  static constexpr size_t blockRow(size_t k) { return k / 2; }

  /** A panel, which `rows(i, count, to)` copies row by row. */
  template <class Rows>
  static void packPanel(float* out, size_t k, const Rows& rows) {
    constexpr size_t kSlab = 16;
    float slab[kSlab * kPanel];
    uint32_t words[kPanel];
    for (size_t i = 0; i < k; i += kSlab) {
      const size_t count = k - i < kSlab ? k - i : kSlab;
      rows(i, count, slab);
      if (count % 2) std::memset(slab + count * kPanel, 0, kPanel * sizeof(float));
      for (size_t r = 0; r < count; r += 2) {
        const float *first = slab + r * kPanel, *second = first + kPanel;
        for (size_t j = 0; j < kPanel; ++j) words[j] = pairOf(first[j], second[j]);
        std::memcpy(out + (i + r) / 2 * kPanel, words, sizeof words);
      }
    }
  }

  static WordLayout round(const Strided& a, size_t m, size_t depth, Word* DEEPRNN_RESTRICT words, float*) {
    const size_t pairs = depth / 2;
    // Words lie in the order in which A is read: along its rows, or down the columns of a transposed one.
    const bool transposed = a.row == 1 && a.step != 1;
    const WordLayout to = transposed ? WordLayout{1, kMaxRows} : WordLayout{kBlockWords, 1};
    if (transposed) {
      for (size_t i = 0; i < pairs; ++i) {
        const float *first = a.a + 2 * i * a.step, *second = first + a.step;
        for (size_t r = 0; r < m; ++r) words[i * kMaxRows + r] = wordOf(first[r], second[r]);
      }
    } else if (a.step == 1) {
      for (size_t r = 0; r < m; ++r) {
        const float* from = a.a + r * a.row;
        for (size_t i = 0; i < pairs; ++i) words[r * kBlockWords + i] = wordOf(from[2 * i], from[2 * i + 1]);
      }
    } else {
      for (size_t r = 0; r < m; ++r) {
        for (size_t i = 0; i < pairs; ++i)
          words[r * kBlockWords + i] = wordOf(a.at(r, 2 * i), a.at(r, 2 * i + 1));
      }
    }
    if (depth % 2) {
      for (size_t r = 0; r < m; ++r) words[r * to.row + pairs * to.step] = wordOf(a.at(r, depth - 1), 0.0f);
    }
    return to;
  }
};

/**
 * Symmetric 8-bit numbers q = round(127·x/max|x|). Of B the maximum is that of a column, of A that of a row
 * among the elements rounded at once. A is stored as q + 128, unsigned, as the instructions want it; B with
 * −128·Σ q of each column, from which sums begin. A panel holds its columns' scales (a row of floats), then
 * for each block of k those sums (a row of integers) and the words.
 */
struct Int8 {
  using Word = uint32_t;
  using Columns = Words;
  using Sum = Words;
  static constexpr size_t kDepth = 4;
  static constexpr bool kScaled = true;
  static constexpr size_t kBlockWords = kRowBytes / sizeof(Word);
  static constexpr size_t kBlock = kBlockWords * kDepth;

  static DEEPRNN_INLINE Columns columns(const float* p) { return loadWords(p); }
  static DEEPRNN_INLINE Sum multiplyAdd(Word x, const Columns& columns, const Sum& sum) {
    return addQuad(sum, x, columns);
  }

  static constexpr size_t packedRows(size_t k) { return 1 + (k + kBlock - 1) / kBlock + (k + 3) / 4; }
  static constexpr size_t blockRow(size_t k) { return 1 + k / kBlock * (1 + kBlockWords); }

  /** Of sizes as integers the maximum is that of the numbers, found without order; NaN is the largest. */
  static DEEPRNN_INLINE int32_t larger(int32_t most, float x) {
    const int32_t size = static_cast<int32_t>(bitsOf(x) & 0x7FFFFFFFu);
    return size > most ? size : most;
  }
  /** Infinite or NaN where a number is, and so all that is multiplied with it. */
  static DEEPRNN_INLINE float scaleOf(int32_t most) { return asFloat(most) / 127.0f; }
  static DEEPRNN_INLINE float inverse(int32_t most) { return most > 0 ? 127.0f / asFloat(most) : 0.0f; }
  /** To the nearest, ties to even, the same on every machine: between the product and the sum, which could be
   * fused, stand the bounds. */
  static DEEPRNN_INLINE int32_t quantised(float x, float factor) {
    float q = x * factor;
    q = q < 127.0f ? q : 127.0f;
    q = q > -127.0f ? q : -127.0f;
    return static_cast<int32_t>(bitsOf(q + 12582912.0f)) - 0x4B400000;
  }

  template <class Rows>
  static void packPanel(float* out, size_t k, const Rows& rows) {
    int32_t most[kPanel] = {};
    float factor[kPanel], row[4 * kPanel];
    for (size_t i = 0; i < k; ++i) {
      rows(i, 1, row);
      for (size_t j = 0; j < kPanel; ++j) most[j] = larger(most[j], row[j]);
    }
    for (size_t j = 0; j < kPanel; ++j) {
      factor[j] = inverse(most[j]);
      out[j] = scaleOf(most[j]);
    }
    for (size_t begin = 0; begin < k; begin += kBlock) {
      const size_t end = k - begin < kBlock ? k : begin + kBlock;
      float* block = out + blockRow(begin) * kPanel;
      int32_t sums[kPanel] = {};
      for (size_t i = begin; i < end; i += 4) {
        const size_t count = end - i < 4 ? end - i : 4;
        uint32_t words[kPanel] = {};
        rows(i, count, row);
        for (size_t r = 0; r < count; ++r) {
          for (size_t j = 0; j < kPanel; ++j) {
            const int32_t q = quantised(row[r * kPanel + j], factor[j]);
            words[j] |= (static_cast<uint32_t>(q) & 0xFFu) << 8 * r;
            sums[j] -= 128 * q;
          }
        }
        std::memcpy(block + (1 + (i - begin) / 4) * kPanel, words, sizeof words);
      }
      std::memcpy(block, sums, sizeof sums);
    }
  }

  static WordLayout round(const Strided& a, size_t m, size_t depth, Word* DEEPRNN_RESTRICT words,
                          float* DEEPRNN_RESTRICT scales) {
    float row[kBlock];
    unsigned char bytes[kBlock];
    for (size_t r = 0; r < m; ++r) {
      const float* from = a.a + r * a.row;
      if (a.step != 1) {
        for (size_t i = 0; i < depth; ++i) row[i] = from[i * a.step];
        from = row;
      }
      int32_t most = 0;
      for (size_t i = 0; i < depth; ++i) most = larger(most, from[i]);
      scales[r] = scaleOf(most);
      const float factor = inverse(most);
      for (size_t i = 0; i < depth; ++i)
        bytes[i] = static_cast<unsigned char>(quantised(from[i], factor) + 128);
      for (size_t i = depth; i % kDepth != 0; ++i) bytes[i] = 0;
      std::memcpy(words + r * kBlockWords, bytes, (depth + 3) / 4 * 4);
    }
    return {kBlockWords, 1};
  }
};

}  // namespace
}  // namespace deeprnn::cpu::DEEPRNN_ISA
