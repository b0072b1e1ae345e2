#pragma once

#include <memory>
#include <vector>

#include "cuda/gpu.h"

namespace deeprnn::cuda {

/** In what the products are computed; sums are float32 always. */
enum class Precision { float32, tf32, bf16 };

/** C[m, n] = op(A)[m, k] · op(B)[k, n] + beta · C, row-major; `…Row` is the distance between rows as stored.
 * `count` such products lie behind each other, A m·k, B k·n and C m·n numbers apart. */
struct Product {
  size_t m = 0, n = 0, k = 0;
  const float* a = nullptr;
  size_t aRow = 0;
  bool aTransposed = false;
  const float* b = nullptr;
  size_t bRow = 0;
  bool bTransposed = false;
  float* c = nullptr;
  size_t cRow = 0;
  float beta = 0;
  size_t count = 1;
};

/** Matrix products on one device: cuBLAS, found when the library is loaded. The same bits for the same sizes,
 * run after run. */
class Blas {
 public:
  virtual ~Blas() = default;
  /**
   * For products on these streams of the current device; each gets its workspace now, so that none is
   * allocated later.
   * @returns a device error that says where cuBLAS was sought and how to get it
   */
  static Status create(const std::vector<cudaStream_t>& streams, std::unique_ptr<Blas>* result);
  virtual Status multiply(const Product& p, Precision precision, cudaStream_t stream) = 0;
};

}  // namespace deeprnn::cuda
