#include "napi/freeing.h"

#include <new>
#include <utility>

namespace deeprnn::napi {
namespace {

/** The session outlives what was loaded over it: it stands first. */
struct Parcel {
  /** Where others hold the session too. */
  std::shared_ptr<SharedSession> shared;
  /** Where nobody else did: it is freed as well. */
  std::unique_ptr<engine::Session> session;
  std::shared_ptr<engine::Executable> executable;
  napi_async_work work = nullptr;

  void empty() {
    executable.reset();
    session.reset();
  }
};

/** Whether the work was queued. It is not while the environment is being torn down. */
bool queue(napi_env env, Parcel* parcel) {
  napi_value name = nullptr;
  if (napi_create_string_utf8(env, "deeprnn.free", NAPI_AUTO_LENGTH, &name) != napi_ok) return false;
  const auto execute = [](napi_env, void* data) { static_cast<Parcel*>(data)->empty(); };
  const auto complete = [](napi_env e, napi_status, void* data) {
    const std::unique_ptr<Parcel> done(static_cast<Parcel*>(data));
    napi_delete_async_work(e, done->work);
    // Where the environment ended before its turn came.
    done->empty();
    if (done->shared) freeLater(e, nullptr, std::move(done->shared));
  };
  if (napi_create_async_work(env, nullptr, name, execute, complete, parcel, &parcel->work) != napi_ok)
    return false;
  if (napi_queue_async_work(env, parcel->work) == napi_ok) return true;
  napi_delete_async_work(env, parcel->work);
  return false;
}

}  // namespace

void freeLater(napi_env env, std::shared_ptr<engine::Executable> executable,
               std::shared_ptr<SharedSession> shared) {
  std::unique_ptr<engine::Session> session;
  if (shared.use_count() == 1) {
    session = std::move(shared->session);
    // Here, because the thread for runs, which has none in hand, is ended by the thread of its environment.
    shared.reset();
  }
  if (kFreedOnAnyThread && (executable || session)) {
    std::unique_ptr<Parcel> parcel(new (std::nothrow) Parcel);
    if (parcel) {
      parcel->shared = std::move(shared);
      parcel->session = std::move(session);
      parcel->executable = std::move(executable);
      // Owned by the queued work from here on.
      if (queue(env, parcel.get())) (void)parcel.release();
    }
  }
  executable.reset();
}

}  // namespace deeprnn::napi
