// The addon's exports: Session, Executable, info(). Arguments are proven here; no arithmetic.
#include <napi.h>

#include "napi/engine.h"
#include "napi/executable_object.h"
#include "napi/session_object.h"

namespace deeprnn::napi {
namespace {

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  // Per environment, so that worker threads each have their own.
  auto* classes = new Classes();
  env.SetInstanceData(classes);
  classes->session = Napi::Persistent(SessionObject::define(env));
  classes->executable = Napi::Persistent(ExecutableObject::define(env));
  exports.Set("Session", classes->session.Value());
  exports.Set("info", Napi::Function::New(env, info, "info"));
  return exports;
}

}  // namespace

#ifdef DEEPRNN_CUDA
NODE_API_MODULE(deeprnn_cuda, initialize)
#else
NODE_API_MODULE(deeprnn_cpu, initialize)
#endif

}  // namespace deeprnn::napi
