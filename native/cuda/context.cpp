#include "cuda/context.h"

#include <cstdio>
#include <cstring>
#include <map>

#include "cuda/reductions.h"

namespace deeprnn::cuda {
namespace {

/** What the pool keeps for the next plan when one goes: about the plans that a model keeps loaded. */
constexpr uint64_t kKeptBytes = uint64_t{512} << 20;

/** The contexts in use, and why the last one of a device failed. Recursive: a context may end, or fail, while
 * one is being opened. */
struct Registry {
  std::recursive_mutex mutex;
  std::map<int, std::weak_ptr<Context>> contexts;
  std::map<int, std::string> failures;
};

/** Never destroyed: sessions may outlive the statics of the library at the end of the process. */
Registry& registry() {
  static auto* r = new Registry();
  return *r;
}

/** Whether an error leaves the context of no use: a fault of a kernel or of the hardware. */
bool isFatal(cudaError_t error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
      return true;
    default:
      // By number, because not every toolkit names them: an uncorrectable fault of NVLink, a contained one,
      // an unknown one.
      return error == static_cast<cudaError_t>(220) || error == static_cast<cudaError_t>(721) ||
             error == static_cast<cudaError_t>(999);
  }
}

/** The part of a path after the last separator: builds leave no folder names in messages. */
const char* nameOf(const char* file) {
  const char* slash = std::strrchr(file, '/');
  return slash ? slash + 1 : file;
}

}  // namespace

std::string sizeText(double bytes) {
  char text[32];
  const bool large = bytes >= 1024.0 * 1024.0;
  std::snprintf(text, sizeof text, "%.1f %s", bytes / (large ? 1024.0 * 1024.0 : 1024.0),
                large ? "MiB" : "KiB");
  return text;
}

Status statusOf(cudaError_t error, const char* call, const char* file, int line) {
  int device = 0;
  cudaGetDevice(&device);
  // Taken, so that it is not reported again by a later call.
  cudaGetLastError();
  const std::string what = std::string(cudaGetErrorName(error)) + " (" + cudaGetErrorString(error) +
                           ") from " + call + " in " + nameOf(file) + ":" + std::to_string(line) + ".";
  if (isFatal(error)) {
    if (const std::shared_ptr<Context> context = Context::current()) context->fail(what);
  }
  return Status::error(core::Code::device, "CUDA device " + std::to_string(device) + ": " + what);
}

Status Context::open(int device, std::shared_ptr<Context>* result) {
  const std::lock_guard<std::recursive_mutex> lock(registry().mutex);
  std::shared_ptr<Context> context = registry().contexts[device].lock();
  if (context) {
    if (Status s = context->enter(); !s.ok()) {
      s.message += " Dispose of all models on this device, then make a new one.";
      return s;
    }
  } else {
    context.reset(new Context(device));
    if (Status s = context->prepare(); !s.ok()) {
      const std::string& failure = registry().failures[device];
      if (!failure.empty())
        s.message +=
            " The driver does not give the device back after an earlier fault; start the process anew. "
            "The fault was: " +
            failure;
      return s;
    }
    registry().contexts[device] = context;
    registry().failures.erase(device);
  }
  *result = std::move(context);
  return {};
}

std::shared_ptr<Context> Context::current() {
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return nullptr;
  const std::lock_guard<std::recursive_mutex> lock(registry().mutex);
  const auto found = registry().contexts.find(device);
  return found == registry().contexts.end() ? nullptr : found->second.lock();
}

Status Context::prepare() {
  if (Status s = enter(); !s.ok()) return s;
  // Calls nothing but what shows whether the context can be used at all.
  DEEPRNN_TRY(cudaFree(nullptr));
  if (Status s = kernelsFit(); !s.ok()) return s;
  DEEPRNN_TRY(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  int supported = 0;
  DEEPRNN_TRY(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, device_));
  if (!supported) return {};
  cudaMemPoolProps properties = {};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device_;
  DEEPRNN_TRY(cudaMemPoolCreate(&pool_, &properties));
  uint64_t kept = kKeptBytes;
  DEEPRNN_TRY(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &kept));
  return {};
}

Context::~Context() {
  // Nothing to say when this fails: the memory goes with the process.
  cudaSetDevice(device_);
  if (pool_) cudaMemPoolDestroy(pool_);
  if (stream_) cudaStreamDestroy(stream_);
  if (cause_.empty()) return;
  cudaDeviceReset();
  cudaGetLastError();
  const std::lock_guard<std::recursive_mutex> lock(registry().mutex);
  registry().failures[device_] = cause_;
}

Status Context::enter() const {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!cause_.empty())
      return Status::error(core::Code::device,
                           "CUDA device " + std::to_string(device_) +
                               " failed earlier, and what models held on it is lost: " + cause_);
  }
  DEEPRNN_TRY(cudaSetDevice(device_));
  return {};
}

void Context::fail(const std::string& cause) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (cause_.empty()) cause_ = cause;
}

void Context::memory(size_t* free, size_t* total) const {
  *free = *total = 0;
  cudaMemGetInfo(free, total);
  uint64_t reserved = 0, used = 0;
  if (!pool_) return;
  cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrReservedMemCurrent, &reserved);
  cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrUsedMemCurrent, &used);
  *free += static_cast<size_t>(reserved - used);
}

Status Context::allocate(size_t bytes, const char* what, void** at) {
  const size_t asked = bytes ? bytes : 1;
  const cudaError_t error =
      pool_ ? cudaMallocFromPoolAsync(at, asked, pool_, stream_) : cudaMalloc(at, asked);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    memory(&free, &total);
    return Status::shortage(bytes, free,
                            "out of device memory: " + std::string(what) + " needs " +
                                sizeText(static_cast<double>(bytes)) + ", and " +
                                sizeText(static_cast<double>(free)) + " of " +
                                sizeText(static_cast<double>(total)) + " are free.");
  }
  if (error != cudaSuccess)
    return statusOf(error, pool_ ? "cudaMallocFromPoolAsync" : "cudaMalloc", __FILE__, __LINE__);
  // The memory is used on streams that do not wait for this one.
  DEEPRNN_TRY(cudaStreamSynchronize(stream_));
  return {};
}

void Context::free(void* at) {
  if (pool_)
    cudaFreeAsync(at, stream_);
  else
    cudaFree(at);
}

}  // namespace deeprnn::cuda
