#include "cpu/dispatch.h"

#include <cstring>

#if defined(_MSC_VER) && (defined(_M_X64) || defined(__x86_64__))
#include <immintrin.h>
#include <intrin.h>
#endif

namespace deeprnn::cpu {
namespace {

#if defined(__x86_64__) || defined(_M_X64)
#if defined(_MSC_VER)
/** Feature bits of CPUID, and that the system keeps the registers (XCR0). */
bool hasAvx2() {
  int r[4];
  __cpuid(r, 1);
  const bool fma = r[2] >> 12 & 1, osxsave = r[2] >> 27 & 1;
  __cpuidex(r, 7, 0);
  return fma && osxsave && (r[1] >> 5 & 1) && (_xgetbv(0) & 0x6) == 0x6;
}
bool hasAvx512() {
  int r[4];
  __cpuidex(r, 7, 0);
  const int wanted = 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31;
  return hasAvx2() && (r[1] & wanted) == wanted && (_xgetbv(0) & 0xE6) == 0xE6;
}
/** This compiler gets plain loops, which gain nothing. */
bool hasAvx512Bf16() {
  return false;
}
#else
bool hasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool hasAvx512() {
  return hasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool hasAvx512Bf16() {
  return hasAvx512() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
}
#endif
#endif

}  // namespace

const IsaEntry* isaList() {
  static const IsaEntry list[] = {
#if defined(__x86_64__) || defined(_M_X64)
      {"avx512bf16", avx512bf16Kernels(), hasAvx512Bf16()},
      {"avx512", avx512Kernels(), hasAvx512()},
      {"avx2", avx2Kernels(), hasAvx2()},
      {"baseline", baselineKernels(), true},
#elif defined(__aarch64__) || defined(_M_ARM64)
      {"neon", neonKernels(), true},
#else
      {"baseline", baselineKernels(), true},
#endif
      {nullptr, nullptr, false},
  };
  return list;
}

core::Status chooseKernels(const char* wanted, Precision precision, const KernelTable** kernels) {
  std::string usable;
  for (const IsaEntry* e = isaList(); e->name; ++e) {
    if (!e->usable) continue;
    if (!wanted || !*wanted || std::strcmp(wanted, e->name) == 0) {
      *kernels = e->tables + static_cast<size_t>(precision);
      return {};
    }
    usable += usable.empty() ? e->name : std::string(", ") + e->name;
  }
  return core::Status::error(
      core::Code::device, std::string("DEEPRNN_ISA: expected one of ") + usable + ", got '" + wanted + "'.");
}

}  // namespace deeprnn::cpu
