// What every CUDA source starts from: the runtime API with its errors as Status, launches, and the few device
// functions that the emulator of the tests (test/emulator) has to provide differently.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/status.h"

namespace deeprnn::cuda {

using core::Status;

/** A failed call in words: what was called, where, what the driver said. */
Status statusOf(cudaError_t error, const char* call, const char* file, int line);

/** Returns from the calling function with the Status of a runtime call that failed. */
#define DEEPRNN_TRY(call)                                                  \
  do {                                                                     \
    if (const cudaError_t error_ = (call); error_ != cudaSuccess)          \
      return ::deeprnn::cuda::statusOf(error_, #call, __FILE__, __LINE__); \
  } while (false)

struct Launch {
  const char* name;
  dim3 grid, block;
  cudaStream_t stream;
  size_t sharedBytes = 0;
  /** All blocks run at once; the grid must fit on the device. */
  bool cooperative = false;
};

template <class... P, class... A>
Status launch(const Launch& l, void (*kernel)(P...), A&&... arguments) {
#ifdef DEEPRNN_EMULATED
  emulator::LaunchShape shape{l.grid, l.block, l.sharedBytes, l.cooperative, l.name};
  const auto body = [=] { kernel(static_cast<P>(arguments)...); };
  DEEPRNN_TRY(emulator::enqueue(l.stream, [shape, body] {
    const std::string fault = emulator::runGrid(shape, body);
    return fault.empty() ? cudaSuccess : emulator::fault(fault);
  }));
#else
  cudaLaunchConfig_t config = {};
  config.gridDim = l.grid;
  config.blockDim = l.block;
  config.dynamicSmemBytes = l.sharedBytes;
  config.stream = l.stream;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeCooperative;
  attribute.val.cooperative = 1;
  config.attrs = &attribute;
  config.numAttrs = l.cooperative ? 1 : 0;
  if (const cudaError_t error = cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...);
      error != cudaSuccess)
    return statusOf(error, l.name, __FILE__, __LINE__);
#endif
  return {};
}

/** A device function that is called where it is used. */
#ifdef DEEPRNN_EMULATED
#define DEEPRNN_CALLED inline
#else
#define DEEPRNN_CALLED __noinline__ inline
#endif

/** Threads of an elementwise block. */
constexpr unsigned kThreads = 256;

/** A launch for `n` elements, one a thread and more where there are more than the grid has threads
 * (`forEach`). */
inline Launch elementwise(const char* name, size_t n, cudaStream_t stream) {
  const size_t blocks = (n + kThreads - 1) / kThreads;
  return {name, dim3(static_cast<unsigned>(blocks < 4096 ? (blocks ? blocks : 1) : 4096)), dim3(kThreads),
          stream};
}

#if defined(__CUDACC__) || defined(DEEPRNN_EMULATED)

/** The block's shared memory, as large as the launch asked for; the only way to it. */
template <class T>
__device__ __forceinline__ T* sharedMemory() {
#ifdef DEEPRNN_EMULATED
  return reinterpret_cast<T*>(emulator::sharedMemory());
#else
  extern __shared__ __align__(16) unsigned char memory[];
  return reinterpret_cast<T*>(memory);
#endif
}

/** Calls body(i) for the elements of this thread; together the grid's threads take 0 … n−1, each once. */
template <class Body>
__device__ __forceinline__ void forEach(size_t n, const Body& body) {
  const size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) body(i);
}

/** The sum over a block of up to 1024 threads, to every thread, in an order that never changes. `tmp`: 33
 * doubles. */
__device__ __forceinline__ double blockSum(double value, double* tmp) {
  for (int bits = 16; bits > 0; bits >>= 1) value += __shfl_xor_sync(0xffffffffu, value, bits);
  const unsigned warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
  __syncthreads();
  if (threadIdx.x % 32 == 0) tmp[warp] = value;
  __syncthreads();
  if (threadIdx.x == 0) {
    double sum = 0;
    for (unsigned w = 0; w < warps; ++w) sum += tmp[w];
    tmp[32] = sum;
  }
  __syncthreads();
  return tmp[32];
}

/** Waits until another block has raised `*counter` to `value`; what it wrote before is visible after. */
__device__ __forceinline__ void waitFor(const uint32_t* counter, uint32_t value) {
#ifdef DEEPRNN_EMULATED
  while (static_cast<int32_t>(*counter - value) < 0) emulator::spin();
#else
  // Relaxed while it waits, and one fence after: an acquire empties the first-level cache at every look.
  uint32_t seen;
  do {
    asm volatile("ld.relaxed.gpu.u32 %0, [%1];" : "=r"(seen) : "l"(counter) : "memory");
  } while (static_cast<int32_t>(seen - value) < 0);
  asm volatile("fence.acq_rel.gpu;" ::: "memory");
#endif
}

/** Begins to copy one number to shared memory; it is there for this thread after `copiesDone`. */
__device__ __forceinline__ void copyAsync(float* shared, const float* global) {
#ifdef DEEPRNN_EMULATED
  emulator::copyLater(shared, global);
#else
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(shared))),
               "l"(global)
               : "memory");
#endif
}

/** Waits for all copies that this thread has begun. */
__device__ __forceinline__ void copiesDone() {
#ifdef DEEPRNN_EMULATED
  emulator::finishCopies();
#else
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

/** Raises a counter by one after all that this thread wrote, and what others wrote before a barrier that it
 * shared with them. */
__device__ __forceinline__ void signal(uint32_t* counter) {
#ifdef DEEPRNN_EMULATED
  ++*counter;
#else
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
#endif
}

#endif

}  // namespace deeprnn::cuda
