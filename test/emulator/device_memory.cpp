// Memory of the emulated devices, and the host's memory that they copy from. Each array is a block of its
// own, so that the address sanitizer knows its end, and is filled with NaN.
#include <cstdlib>
#include <map>
#include <string>

#include "device_state.h"

using namespace deeprnn::emulator;

struct EmulatedPool {
  int device = 0;
  /** Bytes in use, what is kept beside them, and how much of that may be kept. */
  uint64_t used = 0, kept = 0, threshold = 0;
};

namespace {

struct Block {
  int device;
  size_t bytes;
  EmulatedPool* pool;
};

std::map<void*, Block> blocks;
/** Bytes that a device has given away, to pools or one by one. */
std::map<int, size_t> given;

size_t left() {
  return memoryOfDevice() - std::min(memoryOfDevice(), given[currentDevice()]);
}

cudaError_t allocate(void** at, size_t bytes, EmulatedPool* pool) {
  const Lock lock(device);
  if (const cudaError_t e = countAllocation("device", bytes); e != cudaSuccess) return e;
  if (stickyError() != cudaSuccess) return report(stickyError());
  const size_t fromPool = pool ? std::min<size_t>(pool->kept, bytes) : 0;
  if (bytes - fromPool > left()) return report(cudaErrorMemoryAllocation);
  // Not rounded up, so that the sanitizer sees the end.
  if (posix_memalign(at, 256, bytes ? bytes : 1) != 0) return report(cudaErrorMemoryAllocation);
  std::memset(*at, 0xff, bytes);
  given[currentDevice()] += bytes - fromPool;
  if (pool) {
    pool->kept -= fromPool;
    pool->used += bytes;
  }
  blocks[*at] = {currentDevice(), bytes, pool};
  return cudaSuccess;
}

void release(void* at) {
  const Lock lock(device);
  const auto found = blocks.find(at);
  if (found == blocks.end()) {
    fault("memory freed that is not allocated");
    return;
  }
  const Block block = found->second;
  blocks.erase(found);
  size_t back = block.bytes;
  if (block.pool) {
    EmulatedPool& pool = *block.pool;
    pool.used -= block.bytes;
    pool.kept += block.bytes;
    back = pool.kept > pool.threshold ? pool.kept - pool.threshold : 0;
    pool.kept -= back;
  }
  given[block.device] -= back;
  std::free(at);
}

}  // namespace

namespace deeprnn::emulator {

size_t memoryOfDevice() {
  return static_cast<size_t>(setting("DEEPRNN_EMULATOR_MEMORY", 8.0 * (1u << 30)));
}

bool& inRun() {
  static thread_local bool in = false;
  return in;
}

cudaError_t countAllocation(const char* what, size_t bytes) {
  note("allocate " + std::string(what) + " " + std::to_string(bytes));
  return inRun() ? fault("an allocation (" + std::string(what) + ") in a run") : cudaSuccess;
}

void forgetMemory() {
  const Lock lock(device);
  for (auto b = blocks.begin(); b != blocks.end();) {
    if (b->second.device != currentDevice()) {
      ++b;
      continue;
    }
    std::free(b->first);
    b = blocks.erase(b);
  }
  given[currentDevice()] = 0;
}

}  // namespace deeprnn::emulator

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const Lock lock(device);
  *total = memoryOfDevice();
  *free = left();
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** at, size_t bytes) {
  return allocate(at, bytes, nullptr);
}
cudaError_t cudaFree(void* at) {
  if (!at) return report(stickyError());
  // Waits for the device, as the real one does.
  drainAll();
  release(at);
  return cudaSuccess;
}
cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  if (const cudaError_t e = countAllocation("pool", 0); e != cudaSuccess) return e;
  *pool = new EmulatedPool();
  (*pool)->device = properties->location.id;
  return cudaSuccess;
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  drainAll();
  const Lock lock(device);
  if (pool->used && stickyError() == cudaSuccess) fault("a pool destroyed while its memory is in use");
  given[pool->device] -= pool->kept;
  delete pool;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  if (attribute != cudaMemPoolAttrReleaseThreshold) return report(cudaErrorInvalidValue);
  pool->threshold = *static_cast<uint64_t*>(value);
  return cudaSuccess;
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  const Lock lock(device);
  *static_cast<uint64_t*>(value) = attribute == cudaMemPoolAttrUsedMemCurrent       ? pool->used
                                   : attribute == cudaMemPoolAttrReservedMemCurrent ? pool->used + pool->kept
                                                                                    : pool->threshold;
  return cudaSuccess;
}
cudaError_t cudaMallocFromPoolAsync(void** at, size_t bytes, cudaMemPool_t pool, cudaStream_t) {
  if (const cudaError_t e = allocate(at, bytes, pool); e != cudaErrorMemoryAllocation) return e;
  // Memory whose turn to be freed has not come yet is waited for.
  drainAll();
  const cudaError_t e = allocate(at, bytes, pool);
  if (e == cudaSuccess) cudaGetLastError();
  return e;
}
cudaError_t cudaFreeAsync(void* at, cudaStream_t stream) {
  // After a fault nothing comes to its turn any more.
  if (stickyError() != cudaSuccess) {
    release(at);
    return report(stickyError());
  }
  return enqueue(stream, [at] {
    release(at);
    return cudaSuccess;
  });
}
cudaError_t cudaHostAlloc(void** at, size_t bytes, unsigned) {
  if (const cudaError_t e = countAllocation("host", bytes); e != cudaSuccess) return e;
  *at = std::malloc(bytes ? bytes : 1);
  return *at ? cudaSuccess : report(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* at) {
  drainAll();
  std::free(at);
  return cudaSuccess;
}
