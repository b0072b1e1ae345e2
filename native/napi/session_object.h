#pragma once

#include <napi.h>

#include <memory>

#include "napi/engine.h"
#include "napi/errors.h"
#include "napi/run_thread.h"

namespace deeprnn::napi {

/** The constructors of one environment (main thread or worker). */
struct Classes {
  Napi::FunctionReference session, executable;
};

/** A session and whether a run is using it. Shared by the JavaScript object, its executables and runs in
 * flight. */
struct SharedSession {
  explicit SharedSession(std::unique_ptr<engine::Session> made) : session(std::move(made)) {}
  std::unique_ptr<engine::Session> session;
  /** Ends before the session does. */
  RunThread thread;
  bool running = false;
  bool disposed = false;
};

/** A typed array's memory. */
struct View {
  void* data = nullptr;
  size_t elements = 0;
};

/** The memory of a typed array of this dtype. @throws TypeError naming `what` */
View viewOf(const Napi::Value& value, core::DType dtype, const char* what);

/** Tells the garbage collector that this much native memory is gone. Never throws: destructors call it. */
inline void forgetBytes(napi_env env, int64_t bytes) {
  int64_t now = 0;
  if (bytes) napi_adjust_external_memory(env, -bytes, &now);
}

class SessionObject : public Napi::ObjectWrap<SessionObject> {
 public:
  static Napi::Function define(Napi::Env env);
  /** new Session(options) */
  explicit SessionObject(const Napi::CallbackInfo& call);
  ~SessionObject() override;

 private:
  class Copy;
  enum class Direction { out, in };

  Napi::Value createVariable(const Napi::CallbackInfo& call);
  void writeVariable(const Napi::CallbackInfo& call);
  void readVariable(const Napi::CallbackInfo& call);
  Napi::Value readVariableLater(const Napi::CallbackInfo& call);
  Napi::Value writeVariableLater(const Napi::CallbackInfo& call);
  Napi::Value load(const Napi::CallbackInfo& call);
  void dispose(const Napi::CallbackInfo& call);
  Napi::Value copyLater(const Napi::CallbackInfo& call, engine::Variable& v, const View& view,
                        Direction direction, const char* caller);

  engine::Session& idle(Napi::Env env, const char* caller);
  engine::Variable& variable(const Napi::CallbackInfo& call, const char* caller);
  void release(Napi::Env env);

  std::shared_ptr<SharedSession> shared_;
  /** Bytes of variables that the garbage collector has been told of. */
  int64_t reported_ = 0;
};

}  // namespace deeprnn::napi
