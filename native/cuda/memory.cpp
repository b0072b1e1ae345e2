#include "cuda/memory.h"

#include <cstdio>
#include <cstring>
#include <string>

namespace deeprnn::cuda {
namespace {

std::string megabytes(size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1024.0 * 1024.0));
  return text;
}

/** The part of a path after the last separator: builds leave no folder names in messages. */
const char* nameOf(const char* file) {
  const char* slash = std::strrchr(file, '/');
  return slash ? slash + 1 : file;
}

}  // namespace

Status statusOf(cudaError_t error, const char* call, const char* file, int line) {
  int device = 0;
  cudaGetDevice(&device);
  // Taken, so that it is not reported again by a later call.
  cudaGetLastError();
  return Status::error(core::Code::device, "CUDA device " + std::to_string(device) + ": " +
                                               cudaGetErrorName(error) + " (" + cudaGetErrorString(error) +
                                               ") from " + call + " in " + nameOf(file) + ":" +
                                               std::to_string(line) + ".");
}

Status DeviceBuffer::allocate(size_t bytes, const char* what, DeviceBuffer* result) {
  DeviceBuffer buffer;
  void* at = nullptr;
  const size_t asked = bytes ? bytes : 1;
  if (const cudaError_t error = cudaMalloc(&at, asked); error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    return Status::error(core::Code::outOfMemory,
                         "out of device memory: " + std::string(what) + " needs " + megabytes(bytes) + ", " +
                             megabytes(free) + " of " + megabytes(total) +
                             " are free. A smaller batch, fewer steps or fewer units would fit.");
  } else if (error != cudaSuccess) {
    return statusOf(error, "cudaMalloc", __FILE__, __LINE__);
  }
  buffer.data_ = static_cast<unsigned char*>(at);
  buffer.bytes_ = bytes;
  DEEPRNN_TRY(cudaMemset(at, 0, asked));
  // The memory is used on streams that do not wait for the one that clears it.
  DEEPRNN_TRY(cudaDeviceSynchronize());
  *result = std::move(buffer);
  return {};
}

Status PinnedBuffer::allocate(size_t bytes, PinnedBuffer* result) {
  PinnedBuffer buffer;
  void* at = nullptr;
  DEEPRNN_TRY(cudaHostAlloc(&at, bytes ? bytes : 1, cudaHostAllocDefault));
  buffer.data_ = static_cast<unsigned char*>(at);
  buffer.bytes_ = bytes;
  *result = std::move(buffer);
  return {};
}

}  // namespace deeprnn::cuda
