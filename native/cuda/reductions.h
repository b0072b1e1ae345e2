#pragma once

#include "cuda/gpu.h"

namespace deeprnn::cuda {

/** y[c] = Σ_r x[r, c], plus y[c] where `accumulate`; x [rows, columns] with `xRow` floats between rows. Each
 * column is summed in one order, whatever the device. */
Status columnSums(const float* x, size_t xRow, float* y, size_t rows, size_t columns, bool accumulate,
                  float* scratch, cudaStream_t stream);
/** Floats of scratch that it needs. */
size_t columnSumsScratch(size_t rows, size_t columns);

/** *sum = scale · Σ partial[i], always in the same order; one block. For the partial sums of a grid's blocks.
 */
Status finishSum(const double* partial, size_t count, double scale, double* sum, cudaStream_t stream);

/** @returns why not, where this build has no kernels for the current device */
Status kernelsFit();

}  // namespace deeprnn::cuda
