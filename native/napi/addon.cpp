// The addon's exports: Session, Executable, info(). Arguments are proven here; no arithmetic.
#include <napi.h>

#include <cstdlib>

#include "cpu/dispatch.h"
#include "cpu/thread_pool.h"
#include "napi/executable_object.h"
#include "napi/session_object.h"

namespace deeprnn::napi {
namespace {

/** `{ isa, availableIsas, threads }`. */
Napi::Value info(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  const cpu::KernelTable* kernels = nullptr;
  if (core::Status s = cpu::chooseKernels(std::getenv("DEEPRNN_ISA"), &kernels); !s.ok())
    throw errorOf(env, s);
  Napi::Object result = Napi::Object::New(env);
  result.Set("isa", kernels->name);
  Napi::Array usable = Napi::Array::New(env);
  for (const cpu::IsaEntry* e = cpu::isaList(); e->name; ++e) {
    if (e->usable) usable.Set(usable.Length(), e->name);
  }
  result.Set("availableIsas", usable);
  result.Set("threads", cpu::defaultThreads());
  return result;
}

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

NODE_API_MODULE(deeprnn_cpu, initialize)

}  // namespace deeprnn::napi
