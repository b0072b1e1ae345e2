#include "cuda_runtime.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

using deeprnn::emulator::nextRandom;

/** One piece of work and what must be done before it. */
struct EmulatedNode {
  std::function<cudaError_t()> work;
  std::vector<std::shared_ptr<EmulatedNode>> after;
  bool done = false;
};
using Node = std::shared_ptr<EmulatedNode>;

struct EmulatedGraph {
  std::vector<Node> nodes;
  /** The streams that take part while it is captured. */
  std::vector<EmulatedStream*> streams;
};

struct EmulatedStream {
  /** What the next piece of work comes after: the last one here, and events waited for. */
  std::vector<Node> after;
  std::shared_ptr<EmulatedGraph> capture;
  bool origin = false;
};

struct EmulatedEvent {
  Node node;
  std::shared_ptr<EmulatedGraph> capture;
};

namespace {

/** Enough for three layers in several blocks each, few enough to be quick. */
constexpr int kMultiprocessors = 12;

/** Streams of all threads of the process share one device. */
std::recursive_mutex device;
std::vector<Node> pending;
std::string faultText;
cudaError_t sticky = cudaSuccess;
thread_local cudaError_t last = cudaSuccess;
std::map<void*, size_t> allocated;
size_t used = 0;

size_t capacity() {
  const char* set = std::getenv("DEEPRNN_EMULATOR_MEMORY");
  return set ? std::strtoull(set, nullptr, 10) : size_t{8} << 30;
}

cudaError_t report(cudaError_t status) {
  if (status != cudaSuccess) last = status;
  return status;
}

bool ready(const Node& node) {
  return std::all_of(node->after.begin(), node->after.end(), [](const Node& n) { return n->done; });
}

/** Does all of `nodes`, each after those that it comes after, else in random order. */
cudaError_t drain(std::vector<Node> nodes) {
  while (!nodes.empty()) {
    std::vector<size_t> candidates;
    for (size_t i = 0; i < nodes.size() && candidates.size() < 8; ++i) {
      if (ready(nodes[i])) candidates.push_back(i);
    }
    if (candidates.empty()) return deeprnn::emulator::fault("streams that wait for each other");
    const size_t chosen = candidates[nextRandom() % candidates.size()];
    const Node node = nodes[chosen];
    nodes.erase(nodes.begin() + static_cast<std::ptrdiff_t>(chosen));
    if (node->work && sticky == cudaSuccess) {
      if (const cudaError_t status = node->work(); status != cudaSuccess) sticky = status;
    }
    node->done = true;
    node->after.clear();
  }
  return sticky;
}

cudaError_t drainAll() {
  const std::lock_guard<std::recursive_mutex> lock(device);
  std::vector<Node> now;
  now.swap(pending);
  return report(drain(std::move(now)));
}

cudaError_t add(cudaStream_t stream, std::function<cudaError_t()> work) {
  const std::lock_guard<std::recursive_mutex> lock(device);
  if (sticky != cudaSuccess) return report(sticky);
  auto node = std::make_shared<EmulatedNode>();
  node->work = std::move(work);
  node->after = stream->after;
  stream->after = {node};
  (stream->capture ? stream->capture->nodes : pending).push_back(node);
  return cudaSuccess;
}

cudaError_t allocate(void** at, size_t bytes) {
  const std::lock_guard<std::recursive_mutex> lock(device);
  if (sticky != cudaSuccess) return report(sticky);
  if (bytes > capacity() - std::min(capacity(), used)) return report(cudaErrorMemoryAllocation);
  // Not rounded up, so that the sanitizer sees the end.
  if (posix_memalign(at, 256, bytes ? bytes : 1) != 0) return report(cudaErrorMemoryAllocation);
  std::memset(*at, 0xff, bytes);
  allocated[*at] = bytes;
  used += bytes;
  return cudaSuccess;
}

}  // namespace

namespace deeprnn::emulator {

cudaError_t enqueue(cudaStream_t stream, std::function<cudaError_t()> work) {
  return add(stream, std::move(work));
}

cudaError_t fault(const std::string& what) {
  if (faultText.empty()) {
    faultText = what;
    std::fprintf(stderr, "emulated device: %s\n", what.c_str());
  }
  sticky = cudaErrorLaunchFailure;
  return cudaErrorLaunchFailure;
}

const std::string& lastFault() {
  return faultText;
}

}  // namespace deeprnn::emulator

const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    default:
      return "cudaErrorUnknown";
  }
}
const char* cudaGetErrorString(cudaError_t e) {
  if (e == cudaErrorLaunchFailure && !faultText.empty()) return faultText.c_str();
  return e == cudaErrorMemoryAllocation ? "out of memory" : cudaGetErrorName(e);
}
cudaError_t cudaGetLastError() {
  const cudaError_t e = last;
  last = cudaSuccess;
  return e;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int index) {
  if (index != 0) return report(cudaErrorInvalidDevice);
  *p = {};
  std::strcpy(p->name, "emulated device");
  for (int i = 0; i < 16; ++i) p->uuid.bytes[i] = static_cast<char>(i);
  p->totalGlobalMem = capacity();
  p->major = 9;
  p->minor = 0;
  p->multiProcessorCount = kMultiprocessors;
  p->sharedMemPerBlockOptin = 227 * 1024;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? kMultiprocessors : 227 * 1024;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int index) {
  return index == 0 ? cudaSuccess : report(cudaErrorInvalidDevice);
}
cudaError_t cudaGetDevice(int* index) {
  *index = 0;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const std::lock_guard<std::recursive_mutex> lock(device);
  *total = capacity();
  *free = capacity() - std::min(capacity(), used);
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  return drainAll();
}

cudaError_t cudaMalloc(void** at, size_t bytes) {
  return allocate(at, bytes);
}
cudaError_t cudaFree(void* at) {
  // Waits for the device, as the real one does.
  drainAll();
  const std::lock_guard<std::recursive_mutex> lock(device);
  if (at) {
    used -= allocated[at];
    allocated.erase(at);
  }
  std::free(at);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** at, size_t bytes, unsigned) {
  *at = std::malloc(bytes ? bytes : 1);
  return *at ? cudaSuccess : report(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* at) {
  drainAll();
  std::free(at);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return add(stream, [=] {
    std::memcpy(to, from, bytes);
    return cudaSuccess;
  });
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  if (const cudaError_t e = drainAll(); e != cudaSuccess) return e;
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, cudaStream_t stream) {
  return add(stream, [=] {
    std::memset(at, value, bytes);
    return cudaSuccess;
  });
}
cudaError_t cudaMemset(void* at, int value, size_t bytes) {
  if (const cudaError_t e = drainAll(); e != cudaSuccess) return e;
  std::memset(at, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream();
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  drainAll();
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream->capture) return report(cudaErrorStreamCaptureInvalidated);
  return drainAll();
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::lock_guard<std::recursive_mutex> lock(device);
  if (!event->node) return cudaSuccess;
  if (event->capture) {
    // A stream that waits for an event of a capture takes part in it.
    if (!stream->capture) {
      stream->after.clear();
      event->capture->streams.push_back(stream);
    }
    stream->capture = event->capture;
  }
  stream->after.push_back(event->node);
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent();
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t e = add(stream, nullptr); e != cudaSuccess) return e;
  event->node = stream->after.back();
  event->capture = stream->capture;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return drainAll();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream->capture) return report(cudaErrorStreamCaptureInvalidated);
  stream->capture = std::make_shared<EmulatedGraph>();
  stream->capture->streams = {stream};
  stream->origin = true;
  stream->after.clear();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!stream->capture || !stream->origin) return report(cudaErrorStreamCaptureInvalidated);
  // Every branch must have come back to the stream that began: all nodes lie before its last ones.
  std::vector<Node> reached = stream->after;
  std::map<EmulatedNode*, bool> seen;
  for (size_t i = 0; i < reached.size(); ++i) {
    if (seen[reached[i].get()]) continue;
    seen[reached[i].get()] = true;
    const Node node = reached[i];
    reached.insert(reached.end(), node->after.begin(), node->after.end());
  }
  const bool joined = std::all_of(stream->capture->nodes.begin(), stream->capture->nodes.end(),
                                  [&](const Node& n) { return seen[n.get()]; });
  *graph = new EmulatedGraph(*stream->capture);
  stream->origin = false;
  for (EmulatedStream* s : (*graph)->streams) {
    s->capture.reset();
    s->after.clear();
  }
  return joined ? cudaSuccess : report(cudaErrorStreamCaptureInvalidated);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  drainAll();
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  return add(stream, [graph] {
    // A copy of the nodes: they are done once a launch.
    std::map<EmulatedNode*, Node> copies;
    std::vector<Node> nodes;
    for (const Node& n : graph->nodes) {
      auto copy = std::make_shared<EmulatedNode>();
      copy->work = n->work;
      for (const Node& before : n->after) copy->after.push_back(copies.at(before.get()));
      copies[n.get()] = copy;
      nodes.push_back(copy);
    }
    return drain(std::move(nodes));
  });
}
