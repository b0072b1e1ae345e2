#pragma once

#include <memory>
#include <utility>

#include "cuda/context.h"

namespace deeprnn::cuda {

/** Device memory, 256-byte aligned; given back with the object. */
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(context_, other.context_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceBuffer() {
    if (data_) context_->free(data_);
  }

  /** On the calling thread's device, on which a session is open.
   * @returns outOfMemory with what was asked, named by `what`, and what is free */
  static Status allocate(size_t bytes, const char* what, DeviceBuffer* result);

  unsigned char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Context> context_;
  unsigned char* data_ = nullptr;
  size_t bytes_ = 0;
};

/** Host memory that the device copies from and to without a stop in between. */
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  PinnedBuffer(PinnedBuffer&& other) noexcept { *this = std::move(other); }
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~PinnedBuffer() {
    if (data_) cudaFreeHost(data_);
  }

  static Status allocate(size_t bytes, PinnedBuffer* result);

  unsigned char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  unsigned char* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace deeprnn::cuda
