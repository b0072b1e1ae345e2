// The kernels for avx512. Compiled with its flags; see kernels.inl.h.
#include <cstddef>

#define DEEPRNN_ISA avx512
namespace deeprnn::cpu::avx512 {
namespace {
constexpr char kName[] = "avx512";
/** Floats in a register, rows and registers of a tile: kRows·kVectors sums, kVectors columns and one
 * broadcast fit the registers. */
constexpr size_t kWidth = 16;
constexpr int kRows = 6;
constexpr int kVectors = 4;
}  // namespace
}  // namespace deeprnn::cpu::avx512

#include "cpu/kernels/kernels.inl.h"

namespace deeprnn::cpu {
const KernelTable* avx512Kernels() {
  return avx512::kTables;
}
}  // namespace deeprnn::cpu
