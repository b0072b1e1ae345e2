#pragma once

#include <node_api.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

namespace deeprnn::napi {

/**
 * The thread that does the runs of a session, one after another. Not one of libuv's: those are four for the
 * whole process, and runs that wait for a device or compute for long would keep files, names and other models
 * waiting. Used by the thread of its environment.
 */
class RunThread {
 public:
  class Job {
   public:
    virtual ~Job() = default;
    /** On the thread. */
    virtual void execute() = 0;
    /** Afterwards, on the environment's thread; not called where the environment is being torn down. */
    virtual void complete(napi_env env) = 0;

   private:
    friend class RunThread;
    /** Keeps the event loop alive until the job is complete. */
    napi_threadsafe_function done_ = nullptr;
  };

  RunThread() = default;
  RunThread(const RunThread&) = delete;
  RunThread& operator=(const RunThread&) = delete;
  /** Waits for a job in flight. */
  ~RunThread();

  /** Takes the job over; there is none in flight. The event loop stays alive until it is complete.
   * @returns false, and leaves the job, where no thread can be had */
  template <class J>
  bool start(napi_env env, std::unique_ptr<J>* job) {
    if (!ready(env)) return false;
    begin(env, job->release());
    return true;
  }

 private:
  bool ready(napi_env env) { return done_ || open(env); }
  bool open(napi_env env);
  void begin(napi_env env, Job* job);
  void loop();
  void stop();
  static void endOfEnvironment(void* self);
  static void completed(napi_env env, napi_value, void* context, void* job);

  napi_env env_ = nullptr;
  napi_threadsafe_function done_ = nullptr;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  Job* next_ = nullptr;
  bool stopping_ = false;
  /** There is a job, or the end: looked at without the lock. */
  std::atomic<bool> news_{false};
};

}  // namespace deeprnn::napi
