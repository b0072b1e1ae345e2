// The kernels for baseline. Compiled with its flags; see kernels.inl.h.
#include <cstddef>

#define DEEPRNN_ISA baseline
namespace deeprnn::cpu::baseline {
namespace {
constexpr char kName[] = "baseline";
/** Floats in a register, rows and registers of a tile: kRows·kVectors sums, kVectors columns and one
 * broadcast fit the registers. */
constexpr size_t kWidth = 4;
constexpr int kRows = 4;
constexpr int kVectors = 2;
}  // namespace
}  // namespace deeprnn::cpu::baseline

#include "cpu/kernels/kernels.inl.h"

namespace deeprnn::cpu {
const KernelTable* baselineKernels() {
  return baseline::kTables;
}
}  // namespace deeprnn::cpu
