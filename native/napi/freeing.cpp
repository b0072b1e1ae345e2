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

/** Queues the work that owns the parcel from then on. It is not queued while the environment is being torn
 * down. */
void queue(napi_env env, std::unique_ptr<Parcel> owned) {
  napi_value name = nullptr;
  if (napi_create_string_utf8(env, "deeprnn.free", NAPI_AUTO_LENGTH, &name) != napi_ok) return;
  const auto execute = [](napi_env, void* data) { static_cast<Parcel*>(data)->empty(); };
  const auto complete = [](napi_env e, napi_status, void* data) {
    const std::unique_ptr<Parcel> done(static_cast<Parcel*>(data));
    napi_delete_async_work(e, done->work);
    // Where the environment ended before its turn came.
    done->empty();
    if (done->shared) freeLater(e, nullptr, std::move(done->shared));
  };
  Parcel* const parcel = owned.release();
  if (napi_create_async_work(env, nullptr, name, execute, complete, parcel, &parcel->work) == napi_ok) {
    if (napi_queue_async_work(env, parcel->work) == napi_ok) return;
    napi_delete_async_work(env, parcel->work);
  }
  delete parcel;
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
      queue(env, std::move(parcel));
    }
  }
  executable.reset();
}

}  // namespace deeprnn::napi
