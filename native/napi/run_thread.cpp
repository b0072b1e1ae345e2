#include "napi/run_thread.h"

#include <chrono>
#include <memory>
#include <system_error>

namespace deeprnn::napi {
namespace {

/** Where runs follow each other this closely, as the steps of a small network in training do, the thread
 * looks out for the next one instead of sleeping: to be woken would take longer. */
constexpr std::chrono::microseconds kWorthWaiting(200);

}  // namespace

RunThread::~RunThread() {
  if (!done_) return;
  napi_remove_env_cleanup_hook(env_, endOfEnvironment, this);
  stop();
}

void RunThread::begin(napi_env env, Job* job) {
  napi_ref_threadsafe_function(env, done_);
  job->done_ = done_;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    next_ = job;
    news_.store(true, std::memory_order_release);
  }
  wake_.notify_one();
}

bool RunThread::open(napi_env env) {
  napi_value name = nullptr;
  if (napi_create_string_utf8(env, "deeprnn.run", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, completed,
                                      &done_) != napi_ok)
    return false;
  napi_unref_threadsafe_function(env, done_);
  try {
    thread_ = std::thread([this] { loop(); });
  } catch (const std::system_error&) {
    napi_release_threadsafe_function(done_, napi_tsfn_release);
    done_ = nullptr;
    return false;
  }
  env_ = env;
  // Hooks run last in, first out: the thread ends before the environment frees what a job uses.
  napi_add_env_cleanup_hook(env, endOfEnvironment, this);
  return true;
}

void RunThread::loop() {
  using Clock = std::chrono::steady_clock;
  // No run has ended yet, so the first gap is as long as can be.
  Clock::duration gap = Clock::duration::max();
  for (;;) {
    const Clock::time_point start = Clock::now();
    if (gap < kWorthWaiting)
      while (!news_.load(std::memory_order_acquire) && Clock::now() - start < kWorthWaiting)
        std::this_thread::yield();
    Job* job = nullptr;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return next_ || stopping_; });
      if (!next_) return;
      job = next_;
      next_ = nullptr;
      news_.store(false, std::memory_order_relaxed);
    }
    gap = Clock::now() - start;
    job->execute();
    // Cannot fail: the function is closed only when this thread has ended.
    napi_call_threadsafe_function(done_, job, napi_tsfn_nonblocking);
  }
}

void RunThread::stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    news_.store(true, std::memory_order_release);
  }
  wake_.notify_one();
  thread_.join();
  napi_release_threadsafe_function(done_, napi_tsfn_release);
  done_ = nullptr;
}

void RunThread::endOfEnvironment(void* self) {
  static_cast<RunThread*>(self)->stop();
}

void RunThread::completed(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<Job> job(static_cast<Job*>(data));
  if (!env) return;
  napi_unref_threadsafe_function(env, job->done_);
  job->complete(env);
}

}  // namespace deeprnn::napi
