#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "cuda/gpu.h"

namespace deeprnn::cuda {

/**
 * A device in this process: the primary context, which all sessions on the device share, and the pool that
 * their memory comes from. A fault on the device leaves the context of no more use, to all of them; the first
 * cause is kept here and is what every later call says. Once nobody holds the failed context any more, the
 * device is reset, and the next session begins with a new one.
 */
class Context {
 public:
  /** For a new session: the context in use, or a new one. @returns why there can be none */
  static Status open(int device, std::shared_ptr<Context>* result);
  /** The one in use for the calling thread's device; null where there is none. */
  static std::shared_ptr<Context> current();

  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();

  /** Makes the device current for the calling thread. @returns the first cause when the context has failed */
  Status enter() const;
  /** The cause of the first failure is the one that counts. */
  void fail(const std::string& cause);

  /** 256-byte aligned; what it holds is undefined. Waits until the memory is there for all streams, so not in
   * a run.
   * @returns outOfMemory with what was asked, named by `what`, and what is free */
  Status allocate(size_t bytes, const char* what, void** at);
  /** What was allocated here; work that uses it must be done. */
  void free(void* at);

 private:
  explicit Context(int device) : device_(device) {}
  Status prepare();
  /** What an allocation could get, what the pool keeps for later included; and what the device has. */
  void memory(size_t* free, size_t* total) const;

  const int device_;
  /** Null on devices that cannot: memory is then asked of the driver each time, which makes the device wait.
   */
  cudaMemPool_t pool_ = nullptr;
  /** The order of what the pool does. */
  cudaStream_t stream_ = nullptr;
  mutable std::mutex mutex_;
  std::string cause_;
};

/** "512.0 MiB", or "3.5 KiB" */
std::string sizeText(double bytes);

}  // namespace deeprnn::cuda
