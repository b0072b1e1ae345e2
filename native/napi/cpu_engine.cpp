// What the border needs to know of the CPU engine alone.
#ifndef DEEPRNN_CUDA
#include <cmath>
#include <cstdlib>
#include <string>

#include "cpu/dispatch.h"
#include "cpu/thread_pool.h"
#include "napi/engine.h"
#include "napi/errors.h"

namespace deeprnn::napi {
namespace {

cpu::Precision precisionOf(Napi::Env env, const Napi::Value& given) {
  const std::string name = given.IsString() ? given.As<Napi::String>().Utf8Value() : "";
  if (given.IsUndefined() || name == "fp32") return cpu::Precision::float32;
  if (name == "bf16") return cpu::Precision::bfloat16;
  if (name == "int8") return cpu::Precision::int8;
  throw Napi::TypeError::New(env, "precision: expected 'fp32', 'bf16' or 'int8'.");
}

}  // namespace

/** `{ threads?, precision? }` */
std::unique_ptr<engine::Session> createSession(Napi::Env env, const Napi::Value& options) {
  cpu::SessionOptions chosen;
  chosen.instructionSet = std::getenv("DEEPRNN_ISA");
  if (const Napi::Value threads = option(options, "threads"); !threads.IsUndefined()) {
    const double n = threads.IsNumber() ? threads.As<Napi::Number>().DoubleValue() : 0;
    if (!(n >= 1 && n <= 1024) || n != std::floor(n))
      throw Napi::TypeError::New(env, "threads: expected a whole number from 1 to 1024.");
    chosen.threads = static_cast<int>(n);
  }
  chosen.precision = precisionOf(env, option(options, "precision"));
  std::unique_ptr<engine::Session> session;
  if (core::Status s = cpu::Session::create(chosen, &session); !s.ok()) throw errorOf(env, s);
  return session;
}

/** `{ isa, availableIsas, threads }`. */
Napi::Value info(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  const cpu::KernelTable* kernels = nullptr;
  if (core::Status s = cpu::chooseKernels(std::getenv("DEEPRNN_ISA"), cpu::Precision::float32, &kernels);
      !s.ok())
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

}  // namespace deeprnn::napi
#endif
