// The kernels for AVX-512 with its instructions for bfloat16 and for bytes (VNNI). Compiled with its flags;
// see kernels.inl.h.
#include <cstddef>

#define DEEPRNN_ISA avx512bf16
namespace deeprnn::cpu::avx512bf16 {
namespace {
constexpr char kName[] = "avx512bf16";
/** Floats in a register, rows and registers of a tile: kRows·kVectors sums, kVectors columns and one
 * broadcast fit the registers. */
constexpr size_t kWidth = 16;
constexpr int kRows = 6;
constexpr int kVectors = 4;
}  // namespace
}  // namespace deeprnn::cpu::avx512bf16

#include "cpu/kernels/kernels.inl.h"

namespace deeprnn::cpu {
const KernelTable* avx512bf16Kernels() {
  return avx512bf16::kTables;
}
}  // namespace deeprnn::cpu
