// The tensor cores of the emulated device, from the fragments that the lanes of a warp hold (PTX ISA, "Matrix
// Fragments for mma.m16n8k8" and "… m16n8k16").
#include "cuda_runtime.h"

namespace deeprnn::emulator {
namespace {

/** Registers of one lane. */
struct Fragment {
  uint32_t a[4], b[2];
};

Fragment fragmentOf(const Words& w) {
  const auto low = [](uint64_t x) { return static_cast<uint32_t>(x); };
  const auto high = [](uint64_t x) { return static_cast<uint32_t>(x >> 32); };
  return {{low(w.word[0]), high(w.word[0]), low(w.word[1]), high(w.word[1])},
          {low(w.word[2]), high(w.word[2])}};
}

/** The device reads 19 bits of a tf32 operand, and 16 of a bfloat16. */
float tf32(uint32_t bits) {
  return __uint_as_float(bits & 0xffffe000u);
}
float bf16(uint32_t bits) {
  return __uint_as_float(bits << 16);
}

/** `element(k)` says where number k of a row of A, or of a column of B, is. */
template <class Row>
void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* file, int line,
              int depth, Row element) {
  const auto word = [](uint32_t low, uint32_t high) { return low | static_cast<uint64_t>(high) << 32; };
  const Words* words =
      gatherWords(0xffffffffu, {{word(a[0], a[1]), word(a[2], a[3]), word(b[0], b[1])}}, file, line);
  const int lane = laneOf(), g = lane / 4, q = lane % 4;
  for (int half = 0; half < 2; ++half) {
    for (int column = 0; column < 2; ++column) {
      float sum = 0;
      for (int k = 0; k < depth; ++k) {
        // Of A the lanes 4g … hold rows g (registers 0, 2) and g + 8 (1, 3); of B the lanes 4n … hold column
        // n.
        const auto [from, reg, part] = element(k);
        const Fragment row = fragmentOf(words[4 * g + from]),
                       col = fragmentOf(words[4 * (2 * q + column) + from]);
        sum += part(row.a[2 * reg + half]) * part(col.b[reg]);
      }
      c[2 * half + column] += sum;
    }
  }
}

/** Which of the four lanes holds element k, in which of its two registers, and the number in it. */
struct Place {
  int lane, reg;
  float (*part)(uint32_t);
};

}  // namespace

void multiplyTf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* file, int line) {
  multiply(c, a, b, file, line, 8, [](int k) { return Place{k % 4, k / 4, tf32}; });
}

void multiplyBf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* file, int line) {
  multiply(c, a, b, file, line, 16, [](int k) {
    return Place{k % 8 / 2, k / 8, k % 2 ? [](uint32_t bits) { return bf16(bits >> 16); } : bf16};
  });
}

}  // namespace deeprnn::emulator
