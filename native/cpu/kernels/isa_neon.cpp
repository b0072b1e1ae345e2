// The kernels for neon. Compiled with its flags; see kernels.inl.h.
#include <cstddef>

#define DEEPRNN_ISA neon
namespace deeprnn::cpu::neon {
namespace {
constexpr char kName[] = "neon";
/** Floats in a register, rows and registers of a tile: kRows·kVectors sums, kVectors columns and one
 * broadcast fit the registers. */
constexpr size_t kWidth = 4;
constexpr int kRows = 6;
constexpr int kVectors = 4;
}  // namespace
}  // namespace deeprnn::cpu::neon

#include "cpu/kernels/kernels.inl.h"

namespace deeprnn::cpu {
const KernelTable* neonKernels() {
  return neon::kTables;
}
}  // namespace deeprnn::cpu
