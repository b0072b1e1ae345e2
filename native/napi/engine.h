// The engine that this addon is built for: the same border is compiled for each.
#pragma once

#include <napi.h>

#include <memory>

#ifdef DEEPRNN_CUDA
#include "cuda/executable.h"
#include "cuda/session.h"
#else
#include "cpu/executable.h"
#include "cpu/session.h"
#endif

namespace deeprnn::napi {

/** Whether what is loaded may be freed on any thread at any time. Freeing device memory would break the
 * capture of a graph that goes on elsewhere. */
#ifdef DEEPRNN_CUDA
namespace engine = ::deeprnn::cuda;
constexpr bool kFreedOnAnyThread = false;
#else
namespace engine = ::deeprnn::cpu;
constexpr bool kFreedOnAnyThread = true;
#endif

/** From the options of `new Session(options)`. @throws what is wrong with them, or why the engine cannot run
 */
std::unique_ptr<engine::Session> createSession(Napi::Env env, const Napi::Value& options);

/** `info()`: what the engine is and where it can run. */
Napi::Value info(const Napi::CallbackInfo& call);

/** An option, undefined where it is not given. */
inline Napi::Value option(const Napi::Value& options, const char* name) {
  return options.IsObject() ? options.As<Napi::Object>().Get(name) : options.Env().Undefined();
}

}  // namespace deeprnn::napi
