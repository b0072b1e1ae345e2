#include "cuda/memory.h"

namespace deeprnn::cuda {

Status DeviceBuffer::allocate(size_t bytes, const char* what, DeviceBuffer* result) {
  DeviceBuffer buffer;
  buffer.context_ = Context::current();
  if (!buffer.context_)
    return Status::error(core::Code::state, "no session is open on the calling thread's device.");
  void* at = nullptr;
  if (Status s = buffer.context_->allocate(bytes, what, &at); !s.ok()) return s;
  buffer.data_ = static_cast<unsigned char*>(at);
  buffer.bytes_ = bytes;
  *result = std::move(buffer);
  return {};
}

Status PinnedBuffer::allocate(size_t bytes, PinnedBuffer* result) {
  PinnedBuffer buffer;
  void* at = nullptr;
  if (const cudaError_t error = cudaHostAlloc(&at, bytes ? bytes : 1, cudaHostAllocDefault);
      error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return Status::error(core::Code::outOfMemory,
                         "out of memory: the host has no " + sizeText(static_cast<double>(bytes)) +
                             " that the device could copy from. Use a smaller batch.");
  } else if (error != cudaSuccess) {
    return statusOf(error, "cudaHostAlloc", __FILE__, __LINE__);
  }
  buffer.data_ = static_cast<unsigned char*>(at);
  buffer.bytes_ = bytes;
  *result = std::move(buffer);
  return {};
}

}  // namespace deeprnn::cuda
