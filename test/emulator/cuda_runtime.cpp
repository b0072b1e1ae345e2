#include "cuda_runtime.h"

#include <condition_variable>
#include <cstdio>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "device_state.h"

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
  /** Work from before the capture, which what comes after the capture still comes after. */
  std::vector<Node> beforeCapture;
};

struct EmulatedEvent {
  Node node;
  std::shared_ptr<EmulatedGraph> capture;
};

namespace {

using deeprnn::emulator::device;
using deeprnn::emulator::Lock;
using deeprnn::emulator::report;

/** What streams have been given and nobody has begun, and what some thread is doing now. */
std::vector<Node> pending, running;
std::condition_variable_any nodeDone;
std::string faultText;
cudaError_t sticky = cudaSuccess;

bool isDone(const Node& node) {
  return node->done;
}

bool ready(const Node& node) {
  return std::all_of(node->after.begin(), node->after.end(), isDone);
}

void finish(const Node& node, cudaError_t status) {
  if (status != cudaSuccess && sticky == cudaSuccess) sticky = status;
  node->done = true;
  node->after.clear();
}

/** Takes one of the nodes whose turn it may be; null when there is none. */
Node takeAny(std::vector<Node>* nodes) {
  std::vector<size_t> candidates;
  for (size_t i = 0; i < nodes->size() && candidates.size() < 8; ++i) {
    if (ready((*nodes)[i])) candidates.push_back(i);
  }
  if (candidates.empty()) return nullptr;
  const size_t chosen = candidates[nextRandom() % candidates.size()];
  Node node = (*nodes)[chosen];
  nodes->erase(nodes->begin() + static_cast<std::ptrdiff_t>(chosen));
  return node;
}

/** Does the nodes of a graph, each after those that it comes after, else in random order. */
cudaError_t runGraph(std::vector<Node> nodes) {
  while (!nodes.empty()) {
    const Node node = takeAny(&nodes);
    if (!node) return deeprnn::emulator::fault("streams that wait for each other");
    const cudaError_t status = node->work ? node->work() : cudaSuccess;
    if (status != cudaSuccess) return status;
    node->done = true;
  }
  return cudaSuccess;
}

/** Does what streams have been given, in random order as far as they and the events allow, until all of
 * `wanted` is done. Other streams may then have got further, or not. The host is free meanwhile, for other
 * threads. */
cudaError_t runUntil(const std::vector<Node>& wanted) {
  Lock lock(device);
  while (!std::all_of(wanted.begin(), wanted.end(), isDone)) {
    const Node node = takeAny(&pending);
    if (!node) {
      if (running.empty()) {
        deeprnn::emulator::fault("streams that wait for each other");
        break;
      }
      nodeDone.wait(lock);
      continue;
    }
    running.push_back(node);
    cudaError_t status = sticky;
    if (node->work && status == cudaSuccess) {
      lock.unlock();
      status = node->work();
      lock.lock();
    }
    running.erase(std::find(running.begin(), running.end(), node));
    finish(node, status);
    nodeDone.notify_all();
  }
  return report(sticky);
}

cudaError_t add(cudaStream_t stream, std::function<cudaError_t()> work) {
  const Lock lock(device);
  if (sticky != cudaSuccess) return report(sticky);
  auto node = std::make_shared<EmulatedNode>();
  node->work = std::move(work);
  node->after = stream->after;
  stream->after = {node};
  (stream->capture ? stream->capture->nodes : pending).push_back(node);
  return cudaSuccess;
}

}  // namespace

namespace deeprnn::emulator {

std::recursive_mutex device;

cudaError_t report(cudaError_t status) {
  if (status != cudaSuccess) lastError() = status;
  return status;
}

cudaError_t stickyError() {
  const Lock lock(device);
  return sticky;
}

void forgetFault() {
  const Lock lock(device);
  sticky = cudaSuccess;
  faultText.clear();
}

cudaError_t drainAll() {
  std::vector<Node> all;
  {
    const Lock lock(device);
    all = pending;
    all.insert(all.end(), running.begin(), running.end());
  }
  return runUntil(all);
}

cudaError_t enqueue(cudaStream_t stream, std::function<cudaError_t()> work) {
  return add(stream, std::move(work));
}

cudaError_t fault(const std::string& what) {
  const Lock lock(device);
  if (faultText.empty()) {
    faultText = what;
    std::fprintf(stderr, "emulated device: %s\n", what.c_str());
  }
  sticky = cudaErrorLaunchFailure;
  return cudaErrorLaunchFailure;
}

std::string lastFault() {
  const Lock lock(device);
  return faultText;
}

}  // namespace deeprnn::emulator

using deeprnn::emulator::drainAll;
using deeprnn::emulator::note;

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
  if (const cudaError_t e = deeprnn::emulator::countAllocation("stream", 0); e != cudaSuccess) return e;
  *stream = new EmulatedStream();
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  drainAll();
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  std::vector<Node> wanted;
  {
    const Lock lock(device);
    if (stream->capture) return report(cudaErrorStreamCaptureInvalidated);
    wanted = stream->after;
  }
  deeprnn::emulator::inRun() = false;
  note("wait");
  return runUntil(wanted);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(device);
  if (!event->node) return cudaSuccess;
  if (event->capture) {
    // A stream that waits for an event of a capture takes part in it.
    if (!stream->capture) {
      stream->beforeCapture = std::exchange(stream->after, {});
      event->capture->streams.push_back(stream);
    }
    stream->capture = event->capture;
  }
  stream->after.push_back(event->node);
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  if (const cudaError_t e = deeprnn::emulator::countAllocation("event", 0); e != cudaSuccess) return e;
  *event = new EmulatedEvent();
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(device);
  if (const cudaError_t e = add(stream, nullptr); e != cudaSuccess) return e;
  event->node = stream->after.back();
  event->capture = stream->capture;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  std::vector<Node> wanted;
  {
    const Lock lock(device);
    if (event->node) wanted = {event->node};
  }
  note("wait");
  return runUntil(wanted);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream->capture) return report(cudaErrorStreamCaptureInvalidated);
  deeprnn::emulator::inRun() = true;
  stream->capture = std::make_shared<EmulatedGraph>();
  stream->capture->streams = {stream};
  stream->origin = true;
  stream->beforeCapture = std::exchange(stream->after, {});
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  deeprnn::emulator::inRun() = false;
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
    s->after = std::exchange(s->beforeCapture, {});
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
  deeprnn::emulator::inRun() = true;
  note("launch");
  const bool fails = deeprnn::emulator::isFaultyLaunch();
  return add(stream, [graph, fails] {
    if (fails) return deeprnn::emulator::fault("a fault that was asked for");
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
    return runGraph(std::move(nodes));
  });
}
