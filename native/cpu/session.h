#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "core/plan.h"
#include "core/status.h"
#include "cpu/dispatch.h"
#include "cpu/thread_pool.h"

namespace deeprnn::cpu {

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
/**
 * A block of its own from the system, in large pages where it has them: products walk through weights of many
 * megabytes at every step, and each page of 4 KB would be looked up anew. Blocks that an allocator gives
 * again lie in the small pages of whoever had them before.
 */
class LargePages {
 public:
  /** Smaller blocks are the allocator's. */
  static constexpr size_t kLeast = size_t{4} << 20;

  static void* map(size_t bytes) {
    if (bytes < kLeast || bytes > SIZE_MAX - kPage) return nullptr;
    void* block = mmap(nullptr, bytes + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return block == MAP_FAILED ? nullptr : block;
  }
  static unsigned char* aligned(void* block, size_t bytes) {
    const auto at = reinterpret_cast<uintptr_t>(block);
    auto* data = static_cast<unsigned char*>(block) + (kPage - at % kPage) % kPage;
#if defined(MADV_HUGEPAGE)
    // Advice alone: what comes of it does not matter.
    static_cast<void>(madvise(data, bytes, MADV_HUGEPAGE));
#endif
    return data;
  }
  static void unmap(void* block, size_t bytes) { munmap(block, bytes + kPage); }

 private:
  static constexpr size_t kPage = size_t{2} << 20;
};
#else
class LargePages {
 public:
  static void* map(size_t) { return nullptr; }
  static unsigned char* aligned(void*, size_t) { return nullptr; }
  static void unmap(void*, size_t) {}
};
#endif

/**
 * Memory aligned to 64 bytes, zero-filled; empty when there is none to be had. The system clears large blocks
 * page by page as they are touched, on the threads that touch them: allocating one does not keep the caller
 * waiting.
 */
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes) : bytes_(bytes) {
    if (bytes > SIZE_MAX - core::kAlignment) return;
    block_ = LargePages::map(bytes);
    if (block_) {
      mapped_ = true;
      data_ = LargePages::aligned(block_, bytes);
      return;
    }
    block_ = std::calloc(bytes + core::kAlignment, 1);
    if (!block_) return;
    const auto at = reinterpret_cast<uintptr_t>(block_);
    data_ = static_cast<unsigned char*>(block_) + (core::kAlignment - at % core::kAlignment);
  }
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(mapped_, other.mapped_);
    return *this;
  }
  ~Buffer() {
    if (mapped_) {
      LargePages::unmap(block_, bytes_);
    } else {
      std::free(block_);
    }
  }

  explicit operator bool() const { return data_ != nullptr; }
  unsigned char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* block_ = nullptr;
  unsigned char* data_ = nullptr;
  size_t bytes_ = 0;
  bool mapped_ = false;
};

struct Variable {
  core::DType dtype = core::DType::real;
  size_t elements = 0;
  Buffer memory;
  /** Raised whenever the values may have changed. */
  uint64_t version = 0;
};

struct SessionOptions {
  int threads = defaultThreads();
  /** An instruction set by name, or null for the best that the machine has. */
  const char* instructionSet = nullptr;
  Precision precision = Precision::float32;
};

class KeptWeights;

/** The variables of one model and the threads that its plans run on. Used by one caller at a time. */
class Session {
 public:
  static core::Status create(const SessionOptions& options, std::unique_ptr<Session>* result) {
    const KernelTable* kernels = nullptr;
    if (core::Status s = chooseKernels(options.instructionSet, options.precision, &kernels); !s.ok())
      return s;
    *result = std::make_unique<Session>(*kernels, options.threads);
    return {};
  }
  Session(const KernelTable& kernels, int threads) : kernels_(kernels), pool_(threads) {}

  core::Status createVariable(core::DType dtype, size_t elements, size_t* index) {
    Variable v;
    v.dtype = dtype;
    v.elements = elements;
    v.memory = Buffer(elements * (dtype == core::DType::float64 ? 8 : 4));
    if (!v.memory)
      return core::Status::error(core::Code::outOfMemory, "out of memory: a variable of " +
                                                              std::to_string(v.memory.bytes()) + " bytes.");
    *index = variables_.size();
    variables_.push_back(std::move(v));
    return {};
  }

  /** Copies all numbers of a variable in or out. */
  core::Status write(Variable& v, const void* values) {
    std::memcpy(v.memory.data(), values, v.memory.bytes());
    ++v.version;
    return {};
  }
  core::Status read(const Variable& v, void* values) {
    std::memcpy(values, v.memory.data(), v.memory.bytes());
    return {};
  }

  std::vector<Variable>& variables() { return variables_; }
  const std::vector<Variable>& variables() const { return variables_; }
  const KernelTable& kernels() const { return kernels_; }
  ThreadPool& pool() { return pool_; }
  int threads() const { return pool_.threads(); }

  /** Weights made ready for an op, which others that read them in the same form share: `form` says which
   * weights, and how. */
  std::weak_ptr<KeptWeights>& kept(const std::vector<size_t>& form) const { return kept_[form]; }

 private:
  const KernelTable& kernels_;
  ThreadPool pool_;
  std::vector<Variable> variables_;
  mutable std::map<std::vector<size_t>, std::weak_ptr<KeptWeights>> kept_;
};

}  // namespace deeprnn::cpu
