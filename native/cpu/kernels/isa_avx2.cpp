// The kernels for avx2. Compiled with its flags; see kernels.inl.h.
#include <cstddef>

#define DEEPRNN_ISA avx2
namespace deeprnn::cpu::avx2 {
namespace {
constexpr char kName[] = "avx2";
/** Floats in a register, rows and registers of a tile: kRows·kVectors sums, kVectors columns and one
 * broadcast fit the registers. */
constexpr size_t kWidth = 8;
constexpr int kRows = 6;
constexpr int kVectors = 2;
}  // namespace
}  // namespace deeprnn::cpu::avx2

#include "cpu/kernels/kernels.inl.h"

namespace deeprnn::cpu {
const KernelTable* avx2Kernels() {
  return avx2::kTables;
}
}  // namespace deeprnn::cpu
