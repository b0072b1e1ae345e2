// Stands in for the CUDA toolkit's header of this name when the engine's sources are compiled for the
// emulator: the part of the language and of the runtime API that they use. Streams keep their work until
// somebody waits, and then run it in a random order that the events allow, so that a wait which is missing
// shows.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "emulator.h"

#define DEEPRNN_EMULATED 1

using std::isfinite;
using std::max;
using std::min;

#define __global__
#define __grid_constant__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

using dim3 = deeprnn::emulator::Extent3;
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline float2 make_float2(float x, float y) {
  return {x, y};
}

#define threadIdx (::deeprnn::emulator::self().thread)
#define blockIdx (::deeprnn::emulator::self().block)
#define blockDim (::deeprnn::emulator::self().blockSize)
#define gridDim (::deeprnn::emulator::self().gridSize)

#define __syncthreads() ::deeprnn::emulator::syncThreads(__FILE__, __LINE__)
#define __syncwarp(...) ((void)::deeprnn::emulator::gatherWords(0xffffffffu, {}, __FILE__, __LINE__))
#define __shfl_sync(mask, value, lane) \
  ::deeprnn::emulator::shuffle(mask, value, static_cast<int>(lane), __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, bits) \
  ::deeprnn::emulator::shuffle(mask, value, ::deeprnn::emulator::laneOf() ^ (bits), __FILE__, __LINE__)
#define __shfl_down_sync(mask, value, delta) \
  ::deeprnn::emulator::shuffle(mask, value, ::deeprnn::emulator::laneOf() + (delta), __FILE__, __LINE__)

namespace deeprnn::emulator {

/** Lane of the running thread; blocks are numbered x first, as on the device. */
inline int laneOf() {
  const ThreadView& t = self();
  const size_t index = (size_t{t.thread.z} * t.blockSize.y + t.thread.y) * t.blockSize.x + t.thread.x;
  return static_cast<int>(index % 32);
}

template <class T>
T shuffle(uint32_t mask, T value, int lane, const char* file, int line) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "one word a lane");
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof value);
  word = exchange(mask, word, lane, file, line);
  std::memcpy(&value, &word, sizeof value);
  return value;
}

}  // namespace deeprnn::emulator

inline void __threadfence_block() {}
inline void __nanosleep(unsigned) {
  deeprnn::emulator::spin();
}

// Only one fiber runs at a time, so plain reads and writes are atomic.
template <class T>
T atomicAdd(T* at, T value) {
  const T old = *at;
  *at = static_cast<T>(old + value);
  return old;
}
template <class T>
T atomicMin(T* at, T value) {
  const T old = *at;
  *at = std::min(old, value);
  return old;
}
template <class T>
T atomicExch(T* at, T value) {
  const T old = *at;
  *at = value;
  return old;
}

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(uint64_t{a} * b >> 32);
}

// ── Runtime API ──

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorECCUncorrectable = 214,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchTimeout = 702,
  cudaErrorAssert = 710,
  cudaErrorHardwareStackError = 714,
  cudaErrorIllegalInstruction = 715,
  cudaErrorMisalignedAddress = 716,
  cudaErrorInvalidAddressSpace = 717,
  cudaErrorInvalidPc = 718,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureInvalidated = 901,
};
enum cudaMemcpyKind {
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrMaxSharedMemoryPerBlockOptin,
  cudaDevAttrCooperativeLaunch,
  cudaDevAttrMemoryPoolsSupported
};
enum cudaMemAllocationType { cudaMemAllocationTypePinned = 1 };
enum cudaMemLocationType { cudaMemLocationTypeDevice = 1 };
enum cudaMemPoolAttr {
  cudaMemPoolAttrReleaseThreshold,
  cudaMemPoolAttrReservedMemCurrent,
  cudaMemPoolAttrUsedMemCurrent
};
struct cudaMemPoolProps {
  cudaMemAllocationType allocType;
  struct {
    cudaMemLocationType type;
    int id;
  } location;
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaHostAllocDefault = 0;

struct CUuuid_st {
  char bytes[16];
};
struct cudaDeviceProp {
  char name[256];
  CUuuid_st uuid;
  size_t totalGlobalMem;
  int major, minor, multiProcessorCount;
  size_t sharedMemPerBlockOptin;
};

struct EmulatedStream;
struct EmulatedEvent;
struct EmulatedGraph;
struct EmulatedPool;
using cudaStream_t = EmulatedStream*;
using cudaEvent_t = EmulatedEvent*;
using cudaGraph_t = EmulatedGraph*;
using cudaGraphExec_t = EmulatedGraph*;
using cudaMemPool_t = EmulatedPool*;

const char* cudaGetErrorName(cudaError_t);
const char* cudaGetErrorString(cudaError_t);
cudaError_t cudaGetLastError();
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaDeviceSynchronize();
/** Forgets a fault, unless DEEPRNN_EMULATOR_RESET is 0. */
cudaError_t cudaDeviceReset();

/** Filled with NaN; the address sanitizer knows its end. */
cudaError_t cudaMalloc(void** at, size_t bytes);
cudaError_t cudaFree(void* at);
/** Memory as from cudaMalloc; it is freed when the stream comes to it. */
cudaError_t cudaMemPoolCreate(cudaMemPool_t*, const cudaMemPoolProps*);
cudaError_t cudaMemPoolDestroy(cudaMemPool_t);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* value);
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* value);
cudaError_t cudaMallocFromPoolAsync(void** at, size_t bytes, cudaMemPool_t, cudaStream_t);
cudaError_t cudaFreeAsync(void* at, cudaStream_t);
cudaError_t cudaHostAlloc(void** at, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* at);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t);
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind);
cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, cudaStream_t);
cudaError_t cudaMemset(void* at, int value, size_t bytes);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t*, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t);
cudaError_t cudaStreamSynchronize(cudaStream_t);
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned flags = 0);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t*, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t);
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t);
cudaError_t cudaEventSynchronize(cudaEvent_t);

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode);
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t*, cudaGraph_t, unsigned long long flags = 0);
cudaError_t cudaGraphDestroy(cudaGraph_t);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t);
inline cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t);

struct cudaFuncAttributes {};
template <class Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, Kernel) {
  return cudaSuccess;
}
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, cudaFuncAttribute, int) {
  return cudaSuccess;
}

namespace deeprnn::emulator {

/** mma.sync.m16n8k8 with tf32 and .m16n8k16 with bfloat16 operands: c += a·b, by all lanes of a warp. */
void multiplyTf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* file, int line);
void multiplyBf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* file, int line);

/** Work on a stream, done when the stream comes to it. */
cudaError_t enqueue(cudaStream_t, std::function<cudaError_t()> work);
/** Fails the stream's device for good with this message, as a fault in a kernel does. */
cudaError_t fault(const std::string& what);
/** What the last fault was. */
std::string lastFault();

}  // namespace deeprnn::emulator
