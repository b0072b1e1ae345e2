// The thread pool: every task once, loops one after another without a pause, several pools at a time, the end
// of a pool at rest.
#include "cpu/thread_pool.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "check.h"

namespace deeprnn::test {
namespace {

using cpu::ThreadPool;

void everyTaskOnce(ThreadPool& pool, Random& random, int loops) {
  std::vector<int> hits;
  for (int loop = 0; loop < loops; ++loop) {
    const size_t count = random.below(9);
    // Plain ints: the end of a loop has to make them visible, and no task may run twice.
    hits.assign(count, 0);
    pool.parallelFor(count, [&](size_t i) { hits[i] += loop + 1; });
    for (size_t i = 0; i < count; ++i) CHECK(hits[i] == loop + 1, "task " + std::to_string(i));
  }
}

}  // namespace

void testThreadPool() {
  Random random(4);
  for (int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads, std::to_string(pool.threads()) + " threads");
    everyTaskOnce(pool, random, 1000);
  }

  // Long enough asleep that the workers have to be woken.
  {
    ThreadPool pool(3);
    for (int i = 0; i < 5; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      everyTaskOnce(pool, random, 3);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }

  // Created and destroyed at once, with and without work.
  for (int i = 0; i < 50; ++i) {
    ThreadPool pool(1 + static_cast<int>(random.below(4)));
    if (i % 2 == 0) everyTaskOnce(pool, random, 1);
  }

  // One pool per thread, all at work at a time.
  std::atomic<size_t> sum{0};
  std::vector<std::thread> callers;
  callers.reserve(3);
  for (int c = 0; c < 3; ++c) {
    callers.emplace_back([&sum] {
      ThreadPool pool(3);
      for (int loop = 0; loop < 100; ++loop) pool.parallelFor(7, [&](size_t i) { sum += i; });
    });
  }
  for (std::thread& t : callers) t.join();
  CHECK(sum == size_t{3} * 100 * 21, std::to_string(sum));

  // Loops of more tasks than threads share out uneven work.
  ThreadPool pool(2);
  std::atomic<int> done{0};
  pool.parallelFor(1000, [&](size_t i) {
    for (volatile size_t spin = 0; spin < i % 50; spin = spin + 1) {
    }
    ++done;
  });
  CHECK(done == 1000, std::to_string(done));
}

}  // namespace deeprnn::test
