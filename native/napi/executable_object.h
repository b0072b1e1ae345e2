#pragma once

#include <napi.h>

#include <array>
#include <memory>
#include <vector>

#include "napi/session_object.h"

namespace deeprnn::napi {

/** A loaded plan with the typed arrays that it reads and writes. */
class ExecutableObject : public Napi::ObjectWrap<ExecutableObject> {
 public:
  static Napi::Function define(Napi::Env env);
  /** `inputs` has one array of arrays for each set. */
  static Napi::Value create(Napi::Env env, std::shared_ptr<SharedSession> shared, engine::Session& session,
                            core::Plan plan, const std::array<Napi::Array, 2>& inputs,
                            const Napi::Array& outputs);

  explicit ExecutableObject(const Napi::CallbackInfo& call);
  ~ExecutableObject() override;

 private:
  class Run;

  /** An array handed in at load: kept alive, and looked at before every run, because its buffer may have been
   * detached. It is assigned only over one that holds nothing, which cannot throw. */
  struct Held {  // NOLINT(bugprone-exception-escape)
    Napi::ObjectReference array;
    void* data = nullptr;
    size_t elements = 0;
  };

  std::vector<Held> hold(const Napi::Array& arrays, const core::Plan& plan, core::Role role);
  Napi::Value run(const Napi::CallbackInfo& call);
  void runSync(const Napi::CallbackInfo& call);
  void stage(const Napi::CallbackInfo& call);
  void dispose(const Napi::CallbackInfo& call);
  Napi::Value bytes(const Napi::CallbackInfo& call);
  Napi::Value notes(const Napi::CallbackInfo& call);

  /** @throws when the executable cannot run on this set of inputs now. */
  void checkReady(Napi::Env env, size_t set);
  /** @throws when the arrays are not as they were at load */
  static void checkArrays(Napi::Env env, const std::vector<Held>& arrays);
  void release(Napi::Env env);

  std::shared_ptr<SharedSession> shared_;
  std::shared_ptr<engine::Executable> executable_;
  std::array<std::vector<Held>, 2> inputs_;
  std::vector<Held> outputs_;
  int64_t reported_ = 0;
  bool running_ = false;
  /** The set of inputs that a run in flight reads. */
  size_t runningSet_ = 0;
  bool disposed_ = false;
};

}  // namespace deeprnn::napi
