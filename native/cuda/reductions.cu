#include <string>

#include "cuda/reductions.h"

namespace deeprnn::cuda {
namespace {

/** A block has 32 columns and 8 rows of threads; thread row y takes rows y, y + 8, … */
constexpr unsigned kColumns = 32, kRows = 8;
/** Rows that one block adds; more are cut in slices, whose sums are added after. */
constexpr size_t kSliceRows = 512;

size_t slicesOf(size_t rows) {
  return rows > kSliceRows ? (rows + kSliceRows - 1) / kSliceRows : 1;
}

/** One slice of rows of the sums, `slice` rows each; slice i goes to y + i·columns. */
__global__ void sumColumns(const float* x, size_t xRow, float* y, size_t rows, size_t slice, size_t columns,
                           bool accumulate) {
  float* partial = sharedMemory<float>();
  const size_t c = static_cast<size_t>(blockIdx.x) * kColumns + threadIdx.x;
  const size_t first = blockIdx.y * slice, last = first + slice < rows ? first + slice : rows;
  float sum = 0;
  if (c < columns) {
    for (size_t r = first + threadIdx.y; r < last; r += kRows) sum += x[r * xRow + c];
  }
  partial[threadIdx.y * kColumns + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || c >= columns) return;
  for (unsigned r = 1; r < kRows; ++r) sum += partial[r * kColumns + threadIdx.x];
  float* out = y + blockIdx.y * columns + c;
  *out = accumulate ? *out + sum : sum;
}

__global__ void addPartials(const double* partial, size_t count, double scale, double* sum) {
  double* tmp = sharedMemory<double>();
  double total = 0;
  for (size_t i = threadIdx.x; i < count; i += blockDim.x) total += partial[i];
  total = blockSum(total, tmp);
  if (threadIdx.x == 0) *sum = scale * total;
}

}  // namespace

size_t columnSumsScratch(size_t rows, size_t columns) {
  const size_t slices = slicesOf(rows);
  return slices > 1 ? slices * columns : 0;
}

Status columnSums(const float* x, size_t xRow, float* y, size_t rows, size_t columns, bool accumulate,
                  float* scratch, cudaStream_t stream) {
  if (columns == 0) return {};
  const auto blocks = static_cast<unsigned>((columns + kColumns - 1) / kColumns);
  const size_t shared = kColumns * kRows * sizeof(float), slices = slicesOf(rows);
  const Launch l = {"columnSums", dim3(blocks, static_cast<unsigned>(slices)), dim3(kColumns, kRows), stream,
                    shared};
  if (slices == 1) return launch(l, sumColumns, x, xRow, y, rows, rows, columns, accumulate);
  if (Status s = launch(l, sumColumns, x, xRow, scratch, rows, kSliceRows, columns, false); !s.ok()) return s;
  const Launch all = {"columnSums", dim3(blocks), dim3(kColumns, kRows), stream, shared};
  return launch(all, sumColumns, scratch, columns, y, slices, slices, columns, accumulate);
}

Status finishSum(const double* partial, size_t count, double scale, double* sum, cudaStream_t stream) {
  const Launch l = {"finishSum", dim3(1), dim3(kThreads), stream, 33 * sizeof(double)};
  return launch(l, addPartials, partial, count, scale, sum);
}

Status kernelsFit() {
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, addPartials);
  if (error == cudaSuccess) return {};
  cudaGetLastError();
  return Status::error(core::Code::device, "this addon has no kernels for the device's compute capability (" +
                                               std::string(cudaGetErrorName(error)) +
                                               "). Build it for the device: npm run build:cuda.");
}

}  // namespace deeprnn::cuda
