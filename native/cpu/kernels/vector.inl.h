// A register of kWidth numbers and what the products do with it; included by products.inl.h, once per
// instruction set. Compilers without vector extensions get plain arrays: correct everywhere, as fast as the
// compiler makes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__) && !defined(_MSC_VER)
#include <immintrin.h>
#endif

namespace deeprnn::cpu::DEEPRNN_ISA {
namespace {

/** Two neighbours of a row in bfloat16: a word for the instruction that there is, else as floats, which cost
 * nothing to unpack. */
#if defined(__AVX512BF16__)
using PairWord = uint32_t;
#else
struct PairWord {
  float first, second;
};
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define DEEPRNN_INLINE __forceinline
#define DEEPRNN_NOINLINE __declspec(noinline)
#define DEEPRNN_RESTRICT __restrict
struct Vec {
  float v[kWidth];
};
struct Words {
  uint32_t v[kWidth];
};
DEEPRNN_INLINE void store(float* p, const Vec& x) {
  std::memcpy(p, &x, sizeof x);
}
DEEPRNN_INLINE Vec splat(float x) {
  Vec r;
  for (size_t i = 0; i < kWidth; ++i) r.v[i] = x;
  return r;
}
DEEPRNN_INLINE Vec multiplyAdd(const Vec& a, const Vec& b, const Vec& c) {
  Vec r;
  for (size_t i = 0; i < kWidth; ++i) r.v[i] = a.v[i] * b.v[i] + c.v[i];
  return r;
}
DEEPRNN_INLINE Vec multiply(const Vec& a, const Vec& b) {
  Vec r;
  for (size_t i = 0; i < kWidth; ++i) r.v[i] = a.v[i] * b.v[i];
  return r;
}
DEEPRNN_INLINE Vec addPair(const Vec& sum, const PairWord& pair, const Words& columns) {
  Vec r = sum;
  for (size_t i = 0; i < kWidth; ++i) {
    const uint32_t first = columns.v[i] << 16, second = columns.v[i] & 0xFFFF0000u;
    float x, y;
    std::memcpy(&x, &first, sizeof x);
    std::memcpy(&y, &second, sizeof y);
    r.v[i] += pair.first * x;
    r.v[i] += pair.second * y;
  }
  return r;
}
DEEPRNN_INLINE Words addQuad(const Words& sum, uint32_t quad, const Words& columns) {
  Words r = sum;
  for (int byte = 0; byte < 4; ++byte) {
    const int32_t x = static_cast<int32_t>(quad >> 8 * byte & 0xFF);
    for (size_t i = 0; i < kWidth; ++i)
      r.v[i] += static_cast<uint32_t>(x * static_cast<int8_t>(columns.v[i] >> 8 * byte));
  }
  return r;
}
DEEPRNN_INLINE Vec toFloats(const Words& x) {
  Vec r;
  for (size_t i = 0; i < kWidth; ++i) r.v[i] = static_cast<float>(static_cast<int32_t>(x.v[i]));
  return r;
}
#else
#define DEEPRNN_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define DEEPRNN_NOINLINE __attribute__((noinline))
#else
// Nor copies for one block alone.
#define DEEPRNN_NOINLINE __attribute__((noinline, noclone))
#endif
#define DEEPRNN_RESTRICT __restrict__
typedef float Vec __attribute__((vector_size(kWidth * sizeof(float))));
typedef uint32_t Words __attribute__((vector_size(kWidth * sizeof(uint32_t))));
typedef int32_t Ints __attribute__((vector_size(kWidth * sizeof(int32_t))));
typedef int16_t Shorts __attribute__((vector_size(kWidth * sizeof(int32_t))));
DEEPRNN_INLINE void store(float* p, Vec x) {
  std::memcpy(p, &x, sizeof x);
}
DEEPRNN_INLINE Vec splat(float x) {
  return x - Vec{};
}
DEEPRNN_INLINE Words splatWord(uint32_t x) {
  return x - Words{};
}
// Contracted to one fused instruction where the instruction set has it.
DEEPRNN_INLINE Vec multiplyAdd(Vec a, Vec b, Vec c) {
  return a * b + c;
}
DEEPRNN_INLINE Vec multiply(Vec a, Vec b) {
  return a * b;
}
DEEPRNN_INLINE Vec toFloats(Words x) {
  return __builtin_convertvector((Ints)x, Vec);
}

/** sum + the products of two bfloat16 numbers with the pair of them in each column. */
DEEPRNN_INLINE Vec addPair(Vec sum, PairWord pair, Words columns) {
#if defined(__AVX512BF16__)
  return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)splatWord(pair), (__m512bh)columns);
#else
  // A bfloat16 is the upper half of a float.
  sum = multiplyAdd(splat(pair.first), (Vec)(columns << 16), sum);
  return multiplyAdd(splat(pair.second), (Vec)(columns & splatWord(0xFFFF0000u)), sum);
#endif
}

#if defined(__AVX512BW__)
DEEPRNN_INLINE Words multiplyShorts(Shorts a, Shorts b) {
  return (Words)_mm512_madd_epi16((__m512i)a, (__m512i)b);
}
#elif defined(__AVX2__)
DEEPRNN_INLINE Words multiplyShorts(Shorts a, Shorts b) {
  return (Words)_mm256_madd_epi16((__m256i)a, (__m256i)b);
}
#elif defined(__SSE2__)
DEEPRNN_INLINE Words multiplyShorts(Shorts a, Shorts b) {
  return (Words)_mm_madd_epi16((__m128i)a, (__m128i)b);
}
#else
DEEPRNN_INLINE Words multiplyShorts(Shorts a, Shorts b) {
  const Ints x = (Ints)a, y = (Ints)b;
  return (Words)((x << 16 >> 16) * (y << 16 >> 16) + (x >> 16) * (y >> 16));
}
#endif

/** sum + the products of four unsigned bytes with the four signed ones in each column. */
DEEPRNN_INLINE Words addQuad(Words sum, uint32_t quad, Words columns) {
#if defined(__AVX512VNNI__)
  return (Words)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)splatWord(quad), (__m512i)columns);
#else
  // Bytes 0 and 2 of each word, then 1 and 3: in 16 bits no sum overflows.
  const Words x = splatWord(quad), low = splatWord(0x00FF00FFu);
  sum += multiplyShorts((Shorts)(x & low), (Shorts)columns << 8 >> 8);
  return sum + multiplyShorts((Shorts)(x >> 8 & low), (Shorts)columns >> 8);
#endif
}
#endif

DEEPRNN_INLINE Vec load(const float* p) {
  Vec r;
  std::memcpy(&r, p, sizeof r);
  return r;
}
/** Words that lie among floats. */
DEEPRNN_INLINE Words loadWords(const float* p) {
  Words r;
  std::memcpy(&r, p, sizeof r);
  return r;
}

}  // namespace
}  // namespace deeprnn::cpu::DEEPRNN_ISA
