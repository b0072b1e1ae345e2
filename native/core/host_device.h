#pragma once

/** A function that kernels of a GPU call too. */
#if defined(__CUDACC__)
#define DEEPRNN_HOST_DEVICE __host__ __device__
#else
#define DEEPRNN_HOST_DEVICE
#endif
