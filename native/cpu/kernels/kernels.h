#pragma once

#include <cstddef>

#include "core/codes.h"

namespace deeprnn::cpu {

/** In what the operands of products are held. Sums, and all else, are float32. */
enum class Precision { float32, bfloat16, int8 };
constexpr size_t kPrecisions = 3;

/**
 * C[M, N] = (accumulate ? C : bias or 0) + A1[M, K1]·B1 + A2[M, K2]·B2, float32, row-major C.
 * A*: element (m, k) at a[m·rowStride + k·stepStride], so a transposed A needs no copy. B*: packed (see
 * `pack`), K* may be 0. C must not overlap A or B. Every element is summed over k in rising order, B1 before
 * B2, whatever M, N and the tiling: a row's result does not depend on which rows are computed beside it.
 * A is rounded on the way, to the precision in which B was packed: bfloat16 (to nearest, ties to even; summed
 * in pairs), or 8-bit integers, summed exactly in blocks of k, each block with a scale for each row of A.
 */
struct Gemm {
  size_t m = 0, n = 0;
  const float* a1 = nullptr;
  size_t a1Row = 0, a1Step = 1, k1 = 0;
  const float* b1 = nullptr;
  const float* a2 = nullptr;
  size_t a2Row = 0, a2Step = 1, k2 = 0;
  const float* b2 = nullptr;
  float* c = nullptr;
  size_t cRow = 0;
  const float* bias = nullptr;
  bool accumulate = false;
};

/** What an optimizer's rule needs of one parameter. Slots may be null where the rule does not use them. */
struct UpdateArgs {
  float *param, *slot0, *slot1, *slot2;
  const float* grad;
  /** Gradients are multiplied by `scale` (norm clips) and cut to ±limit (value clip; infinite where there is
   * none). */
  float scale, limit;
  /** 1 − rate·weightDecay, or 1. */
  float keep;
  bool flag;
  double k[6];
  double hyper[8];
};

/** Rows of floats, `row` floats apart (0: all rows are one); of `width` columns, which repeat where more are
 * read. */
struct RowView {
  const float* data;
  size_t row, width;
};

/** The inner loops, compiled once per instruction set, for products of one precision. All arrays are dense;
 * none of an entry's arrays may overlap but where said. */
struct KernelTable {
  const char* name;
  Precision precision;
  /** Columns of a packed panel. */
  size_t panel;
  /** Rows of 32-bit words of a packed panel of K rows. */
  size_t (*packedRows)(size_t k);

  /**
   * Packs columns [panel·first, panel·last) of B[K, N] into panels: panel p holds, for k = 0 … K−1, its
   * `panel` columns, zeros beyond N, rounded to the precision, at dst + p·packedRows(K)·panel. Element (k, n)
   * at b[k·rowStride + n·columnStride]. dst aligned to 64 bytes.
   */
  void (*pack)(float* dst, const float* b, size_t rowStride, size_t columnStride, size_t k, size_t n,
               size_t first, size_t last);
  /** Panels [first, last) of a product. */
  void (*gemm)(const Gemm& args, size_t first, size_t last);

  /** y = f(x) elementwise; may be in place. Not for those that read rows. */
  void (*activate)(core::Activation kind, float alpha, const float* x, float* y, size_t n);
  /** dx = dy·f′, from x or y as core::derivativeFromInput says; dx may be dy. */
  void (*activateGrad)(core::Activation kind, float alpha, const float* from, const float* dy, float* dx,
                       size_t n);
  /** Rows of softmax or, with `log`, of its logarithm. */
  void (*softmax)(bool log, const float* x, float* y, size_t rows, size_t columns);
  void (*softmaxGrad)(bool log, const float* y, const float* dy, float* dx, size_t rows, size_t columns);

  /** y = a + b; y may be a. */
  void (*add)(const float* a, const float* b, float* y, size_t n);
  void (*multiply)(const float* a, const float* b, float* y, size_t n);
  /** y += a·b */
  void (*multiplyAdd)(const float* a, const float* b, float* y, size_t n);
  /** y[c] += Σ_r x[r, c], rows in rising order, over columns [first, last) of `columns`. */
  void (*addColumnSums)(const float* x, float* y, size_t rows, size_t columns, size_t first, size_t last);
  /** y = g + the gradient at p of l1·|p| + l2·p², which is 0 where p is. */
  void (*addPenaltyGrad)(const float* g, const float* p, double l1, double l2, float* y, size_t n);
  /** y[c] += Σ_r a[r, c]·b[r, c], rows in rising order and `aRow` and `bRow` floats apart. */
  void (*addProductSums)(const float* a, size_t aRow, const float* b, size_t bRow, float* y, size_t rows,
                         size_t columns);
  /** Σ x² and Σ |x| in double, four interleaved partial sums. */
  double (*sumSquares)(const float* x, size_t n);
  double (*sumAbs)(const float* x, size_t n);

  /** One row of an LSTM: c = f·cPrev + i·g. */
  void (*lstmCell)(const float* i, const float* f, const float* g, const float* cPrev, float* c, size_t n);
  /** x cut to ±limit, in place; NaN stays. */
  void (*clip)(float limit, float* x, size_t n);
  /** Its gradient: dx becomes 0 where y = clip(x) is at the limit. */
  void (*clipGrad)(float limit, const float* y, float* dx, size_t n);
  /** One row of a GRU, or of an LSTM's c where its gates are coupled: h = z·hPrev + (1−z)·n. */
  void (*gruMix)(const float* z, const float* candidate, const float* hPrev, float* h, size_t n);
  /** Its gradient: dz = dh·(hPrev−n), dn = dh·(1−z), and dh becomes dh·z. `hPrev` null: zeros. */
  void (*gruMixGrad)(const float* z, const float* candidate, const float* hPrev, float* dh, float* dz,
                     float* dn, size_t n);

  /** Zoneout: fresh = share·fresh + (1−share)·before, in place. `before` null: zeros. */
  void (*renew)(const float* share, const float* before, float* fresh, size_t n);
  /** Its gradient: kept = (1−share)·d, and d becomes share·d. */
  void (*renewGrad)(const float* share, float* d, float* kept, size_t n);

  /**
   * An instruction of a program that goes column by column, from log to select (docs/plan.md, "Programs"):
   * y[r, j] of a, b and c at [r, j mod their width]. `number`: the factor of scale, the term of shift.
   */
  void (*columnwise)(core::Instruction kind, float number, const RowView& a, const RowView& b,
                     const RowView& c, float* y, size_t rows, size_t width);
  /** y[r, j] = Σ x[r, j·group … (j+1)·group − 1], summed in double. `width` is y's. */
  void (*sumGroups)(const RowView& x, float* y, size_t rows, size_t width, size_t group);
  /** y[r, j] = x[r, j / group]. */
  void (*expandGroups)(const RowView& x, float* y, size_t rows, size_t width, size_t group);

  void (*sgd)(const UpdateArgs&, size_t n);
  void (*rmsprop)(const UpdateArgs&, size_t n);
  void (*adam)(const UpdateArgs&, size_t n);
  void (*adagrad)(const UpdateArgs&, size_t n);
  void (*nadam)(const UpdateArgs&, size_t n);
  void (*adamax)(const UpdateArgs&, size_t n);
  void (*lion)(const UpdateArgs&, size_t n);
  void (*adadelta)(const UpdateArgs&, size_t n);
};

/** The tables that this build has, best first, one for each precision in its order, and whether the machine
 * can run them. Ends with a null name. */
struct IsaEntry {
  const char* name;
  const KernelTable* tables;
  bool usable;
};
const IsaEntry* isaList();

#if defined(__x86_64__) || defined(_M_X64)
const KernelTable* avx512bf16Kernels();
const KernelTable* avx512Kernels();
const KernelTable* avx2Kernels();
#endif
#if defined(__aarch64__) || defined(_M_ARM64)
const KernelTable* neonKernels();
#else
const KernelTable* baselineKernels();
#endif

}  // namespace deeprnn::cpu
