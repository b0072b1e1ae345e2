// Tensor cores: products of small tiles, each by one warp, from operands of 16 bytes a lane. All use of them
// goes through `multiplyChunk`, so that the emulator of the tests has two instructions to provide.
//
// mma.sync.m16n8k8 (tf32) and .m16n8k16 (bf16) spread a tile over the lanes of a warp (PTX ISA, "Matrix
// Fragments"). With g = lane / 4 and q = lane % 4, a lane holds of A rows g and g + 8, of B column g, of the
// sum C rows g and g + 8 in columns 2q and 2q + 1. Which k a register stands for does not matter as long as A
// and B agree: here a lane takes 16 bytes of a row of A and of a column of B that lie side by side, bytes 16q
// … 16q + 15 of a chunk of 64, enough for two instructions.
#pragma once

#include "cuda/blas.h"
#include "cuda/gpu.h"

namespace deeprnn::cuda {

/** Bytes of a row of A that a warp takes at once. */
constexpr int kChunkBytes = 64;
/** Rows and columns of a tile. */
constexpr int kTileRows = 16, kTileColumns = 8;
/** Bytes of B for one chunk of a tile, in the order of the lanes. */
constexpr int kFragmentBytes = 32 * 16;

constexpr int elementBytes(Precision precision) {
  return precision == Precision::bf16 ? 2 : 4;
}

/** Elements of a row in a chunk. */
constexpr int chunkLength(Precision precision) {
  return kChunkBytes / elementBytes(precision);
}

#if defined(__CUDACC__) || defined(DEEPRNN_EMULATED)

/** To the nearest number of 10 bits after the point, half away from zero; in the upper bits of a word. */
__device__ __forceinline__ uint32_t roundedToTf32(float x) {
#ifdef DEEPRNN_EMULATED
  const uint32_t bits = __float_as_uint(x);
  return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;
#else
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
#endif
}

/** To the nearest bfloat16, half to even. */
__device__ __forceinline__ uint16_t roundedToBf16(float x) {
#ifdef DEEPRNN_EMULATED
  const uint32_t bits = __float_as_uint(x);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
#else
  uint16_t half;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(half) : "f"(x));
  return half;
#endif
}

/** How a number lies in memory for products of a precision. */
template <Precision kPrecision>
struct Operand {
  using Stored = float;
  static __device__ __forceinline__ Stored of(float x) {
    return kPrecision == Precision::tf32 ? __uint_as_float(roundedToTf32(x)) : x;
  }
};
template <>
struct Operand<Precision::bf16> {
  using Stored = uint16_t;
  static __device__ __forceinline__ Stored of(float x) { return roundedToBf16(x); }
};

/** c += a·b over 8 products of tf32: one instruction. */
__device__ __forceinline__ void mmaTf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef DEEPRNN_EMULATED
  emulator::multiplyTf32(c, a, b, __FILE__, __LINE__);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/** The same over 16 products of bfloat16, two to a register. */
__device__ __forceinline__ void mmaBf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef DEEPRNN_EMULATED
  emulator::multiplyBf16(c, a, b, __FILE__, __LINE__);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/** A number as the sum of two of tf32: what the first leaves out. */
__device__ __forceinline__ uint32_t restOfTf32(uint32_t bits, uint32_t rounded) {
  return roundedToTf32(__uint_as_float(bits) - __uint_as_float(rounded));
}

/**
 * c += A·B for a chunk: `upper` and `lower` are the lane's 16 bytes of rows g and g + 8 of A, `b` those of
 * column g of B. In float32 every number is taken as the sum of two of tf32, of whose four products all but
 * the least count: 21 bits
 * ("3xTF32", Ootomo & Yokota, 2022).
 */
template <Precision kPrecision>
__device__ __forceinline__ void multiplyChunk(float (&c)[4], const uint4& upper, const uint4& lower,
                                              const uint4& b) {
  const uint32_t a[2][4] = {{upper.x, lower.x, upper.y, lower.y}, {upper.z, lower.z, upper.w, lower.w}};
  const uint32_t w[2][2] = {{b.x, b.y}, {b.z, b.w}};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if constexpr (kPrecision == Precision::bf16) {
      mmaBf16(c, a[half], w[half]);
    } else if constexpr (kPrecision == Precision::tf32) {
      mmaTf32(c, a[half], w[half]);
    } else {
      uint32_t aHigh[4], aLow[4], bHigh[2], bLow[2];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        aHigh[i] = roundedToTf32(__uint_as_float(a[half][i]));
        aLow[i] = restOfTf32(a[half][i], aHigh[i]);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        bHigh[i] = roundedToTf32(__uint_as_float(w[half][i]));
        bLow[i] = restOfTf32(w[half][i], bHigh[i]);
      }
      mmaTf32(c, aLow, bHigh);
      mmaTf32(c, aHigh, bLow);
      mmaTf32(c, aHigh, bHigh);
    }
  }
}

#endif

}  // namespace deeprnn::cuda
