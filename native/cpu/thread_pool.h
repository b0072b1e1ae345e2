#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace deeprnn::cpu {

/**
 * Threads that share the tasks of one loop after another; the calling thread works too. Between loops the
 * workers spin for some microseconds, because the next loop usually follows at once, then sleep. One caller
 * at a time; nothing is allocated in a loop.
 */
class ThreadPool {
 public:
  /** `threads` counts the caller, so 1 starts none. */
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /** Calls body(task) for task = 0 … count−1, each once, on any thread; returns when all are done. */
  template <class Body>
  void parallelFor(size_t count, const Body& body) {
    if (count == 0) return;
    if (count == 1 || workers_.empty()) {
      for (size_t i = 0; i < count; ++i) body(i);
      return;
    }
    run(count, [](const void* b, size_t i) { (*static_cast<const Body*>(b))(i); }, &body);
  }

 private:
  using Call = void (*)(const void* body, size_t task);

  void run(size_t count, Call call, const void* body);
  void work();
  void takeTasks(uint32_t loop);

  std::vector<std::thread> workers_;
  /**
   * The number of the loop (high half) and its next task (low half), in one word, so that a task is only ever
   * taken of the loop that the taker knows. The caller waits for tasks, not for threads: a worker that wakes
   * late finds nothing to do and holds nobody up, which is what keeps a busy machine from slowing every loop
   * to the pace of its scheduler.
   */
  std::atomic<uint64_t> state_{0};
  std::atomic<Call> call_{nullptr};
  std::atomic<const void*> body_{nullptr};
  std::atomic<uint32_t> count_{0};
  std::atomic<uint32_t> done_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

/** Processors that this process may use, or what the environment variable DEEPRNN_NUM_THREADS says. */
int defaultThreads();

}  // namespace deeprnn::cpu
