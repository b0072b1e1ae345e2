#pragma once

#include "cuda/gpu.h"

namespace deeprnn::cuda {

/** y[c] = Σ_r x[r, c], plus y[c] where `accumulate`; x [rows, columns] with `xRow` floats between rows. Each
 * column is summed in one order, whatever the device. */
Status columnSums(const float* x, size_t xRow, float* y, size_t rows, size_t columns, bool accumulate,
                  cudaStream_t stream);

/** *sum = scale · Σ partial[i], in order; one thread. For the partial sums of a grid's blocks. */
Status finishSum(const double* partial, size_t count, double scale, double* sum, cudaStream_t stream);

}  // namespace deeprnn::cuda
