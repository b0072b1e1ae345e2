// Matrix products of the emulated device, written out.
#include "cuda/blas.h"

namespace deeprnn::cuda {
namespace {

float rounded(float x, Precision precision) {
  if (precision == Precision::float32) return x;
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const int dropped = precision == Precision::tf32 ? 13 : 16;
  bits += ((bits >> dropped) & 1u) + (1u << (dropped - 1)) - 1u;
  bits &= ~((1u << dropped) - 1u);
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

class EmulatedBlas : public Blas {
 public:
  Status multiply(const Product& p, Precision precision, cudaStream_t stream) override {
    DEEPRNN_TRY(emulator::enqueue(stream, [p, precision] {
      for (size_t r = 0; r < p.count * p.m; ++r) {
        const size_t product = r / p.m, i = r % p.m;
        const float *ofA = p.a + product * p.m * p.k, *ofB = p.b + product * p.k * p.n;
        for (size_t j = 0; j < p.n; ++j) {
          float sum = 0;
          for (size_t l = 0; l < p.k; ++l) {
            const float a = p.aTransposed ? ofA[l * p.aRow + i] : ofA[i * p.aRow + l];
            const float b = p.bTransposed ? ofB[j * p.bRow + l] : ofB[l * p.bRow + j];
            sum += rounded(a, precision) * rounded(b, precision);
          }
          float* c = p.c + product * p.m * p.n + i * p.cRow + j;
          *c = sum + (p.beta != 0 ? p.beta * *c : 0.0f);
        }
      }
      return cudaSuccess;
    }));
    return {};
  }
};

}  // namespace

Status Blas::create(const std::vector<cudaStream_t>&, std::unique_ptr<Blas>* result) {
  *result = std::make_unique<EmulatedBlas>();
  return {};
}

}  // namespace deeprnn::cuda
