#include "cpu/thread_pool.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace deeprnn::cpu {
namespace {

inline void relax() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
  asm volatile("yield");
#endif
}

/** Rounds of waiting before a thread gives its processor up: some 20 µs, longer than the gap between two
 * loops of a run. */
constexpr int kSpins = 1500;

#if defined(__linux__)
/** Processors that a container may use at once (cgroup v2's cpu.max, v1's quota), 0 where nothing limits
 * them. */
int quotaOfContainer() {
  double quota = 0, period = 0;
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    // "max 100000" without a limit.
    if (std::fscanf(file, "%lf %lf", &quota, &period) != 2) quota = 0;
    std::fclose(file);
  } else {
    const auto number = [](const char* path) {
      double value = 0;
      if (std::FILE* own = std::fopen(path, "r")) {
        if (std::fscanf(own, "%lf", &value) != 1) value = 0;
        std::fclose(own);
      }
      return value;
    };
    quota = number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    period = number("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  }
  return quota > 0 && period > 0 ? static_cast<int>(std::ceil(quota / period)) : 0;
}
#endif

}  // namespace

int defaultThreads() {
  if (const char* set = std::getenv("DEEPRNN_NUM_THREADS")) {
    const int n = std::atoi(set);
    if (n >= 1 && n <= 1024) return n;
  }
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
    const int n = CPU_COUNT(&allowed), quota = quotaOfContainer();
    if (n >= 1) return quota >= 1 && quota < n ? quota : n;
  }
#endif
  const unsigned n = std::thread::hardware_concurrency();
  return n ? static_cast<int>(n) : 1;
}

ThreadPool::ThreadPool(int threads) {
  workers_.reserve(static_cast<size_t>(threads > 1 ? threads - 1 : 0));
  for (int i = 1; i < threads; ++i) {
    // Where the system gives no more threads, those there are do the work.
    try {
      workers_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      break;
    }
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_.store(true);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::takeTasks(uint32_t loop) {
  uint64_t state = state_.load(std::memory_order_acquire);
  for (;;) {
    const auto task = static_cast<uint32_t>(state);
    // Were these of a later loop already, the exchange below would fail: the state changes before they do.
    const uint32_t count = count_.load(std::memory_order_acquire);
    const Call call = call_.load(std::memory_order_acquire);
    const void* body = body_.load(std::memory_order_acquire);
    if (static_cast<uint32_t>(state >> 32) != loop || task >= count) return;
    if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel, std::memory_order_acquire))
      continue;
    call(body, task);
    done_.fetch_add(1, std::memory_order_release);
    state = state_.load(std::memory_order_acquire);
  }
}

void ThreadPool::run(size_t count, Call call, const void* body) {
  const auto previous = static_cast<uint32_t>(state_.load(std::memory_order_relaxed) >> 32);
  const uint32_t loop = previous + 2;
  // An odd number in between belongs to no loop: nobody can take a task while the fields change.
  state_.store(static_cast<uint64_t>(previous + 1) << 32, std::memory_order_seq_cst);
  call_.store(call, std::memory_order_release);
  body_.store(body, std::memory_order_release);
  count_.store(static_cast<uint32_t>(count), std::memory_order_release);
  done_.store(0, std::memory_order_release);
  state_.store(static_cast<uint64_t>(loop) << 32, std::memory_order_seq_cst);
  if (sleeping_.load(std::memory_order_seq_cst) > 0) {
    // Taking the lock orders this after a worker's decision to sleep.
    {
      const std::lock_guard<std::mutex> lock(mutex_);
    }
    wake_.notify_all();
  }
  takeTasks(loop);
  for (int spins = 0; done_.load(std::memory_order_acquire) < count; ++spins) {
    if (spins < kSpins) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::work() {
  uint32_t seen = 0;
  const auto current = [this] { return static_cast<uint32_t>(state_.load(std::memory_order_seq_cst) >> 32); };
  // Odd numbers mark a loop in the making.
  const auto news = [&] {
    const uint32_t now = current();
    return now != seen && now % 2 == 0;
  };
  for (;;) {
    for (int spins = 0; spins < kSpins && !news() && !stop_.load(std::memory_order_relaxed); ++spins) relax();
    if (!news()) {
      std::unique_lock<std::mutex> lock(mutex_);
      sleeping_.fetch_add(1, std::memory_order_seq_cst);
      wake_.wait(lock, [&] { return stop_.load() || news(); });
      sleeping_.fetch_sub(1, std::memory_order_seq_cst);
      if (stop_.load()) return;
    }
    const uint32_t loop = current();
    if (loop % 2 != 0) continue;
    seen = loop;
    takeTasks(loop);
  }
}

}  // namespace deeprnn::cpu
