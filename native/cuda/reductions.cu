#include "cuda/reductions.h"

namespace deeprnn::cuda {
namespace {

/** A block has 32 columns and 8 rows of threads; thread row y takes rows y, y + 8, … */
constexpr unsigned kColumns = 32, kRows = 8;

__global__ void sumColumns(const float* x, size_t xRow, float* y, size_t rows, size_t columns,
                           bool accumulate) {
  float* partial = sharedMemory<float>();
  const size_t c = static_cast<size_t>(blockIdx.x) * kColumns + threadIdx.x;
  float sum = 0;
  if (c < columns) {
    for (size_t r = threadIdx.y; r < rows; r += kRows) sum += x[r * xRow + c];
  }
  partial[threadIdx.y * kColumns + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || c >= columns) return;
  for (unsigned r = 1; r < kRows; ++r) sum += partial[r * kColumns + threadIdx.x];
  y[c] = accumulate ? y[c] + sum : sum;
}

__global__ void addPartials(const double* partial, size_t count, double scale, double* sum) {
  double total = 0;
  for (size_t i = 0; i < count; ++i) total += partial[i];
  *sum = scale * total;
}

}  // namespace

Status columnSums(const float* x, size_t xRow, float* y, size_t rows, size_t columns, bool accumulate,
                  cudaStream_t stream) {
  const Launch l = {"columnSums", dim3(static_cast<unsigned>((columns + kColumns - 1) / kColumns)),
                    dim3(kColumns, kRows), stream, kColumns * kRows * sizeof(float)};
  return columns == 0 ? Status() : launch(l, sumColumns, x, xRow, y, rows, columns, accumulate);
}

Status finishSum(const double* partial, size_t count, double scale, double* sum, cudaStream_t stream) {
  return launch(Launch{"finishSum", dim3(1), dim3(1), stream}, addPartials, partial, count, scale, sum);
}

}  // namespace deeprnn::cuda
