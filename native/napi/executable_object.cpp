#include "napi/executable_object.h"

#include <new>

namespace deeprnn::napi {

/** One run off the event loop. Holds the JavaScript object, and with it all memory in use, until the promise
 * is settled. */
class ExecutableObject::Run : public Napi::AsyncWorker {
 public:
  Run(Napi::Env env, ExecutableObject* owner)
      : AsyncWorker(env, "deeprnn.run"),
        owner_(owner),
        shared_(owner->shared_),
        executable_(owner->executable_) {
    if (napi_create_promise(env, &deferred_, &promise_) != napi_ok) throw Napi::Error::New(env);
    owner_->Ref();
  }

  /** Valid in the scope that made this. */
  Napi::Value promise() const { return {Env(), promise_}; }

  void Execute() override {
    try {
      status_ = executable_->run();
    } catch (const std::bad_alloc&) {
      status_ = core::Status::error(core::Code::outOfMemory, "run: out of memory.");
    }
  }

  /** In place of OnOK and OnError, whose wrappers throw, and so end the process, when a worker thread is
   * ended during a run. */
  void OnWorkComplete(Napi::Env env, napi_status) override {
    shared_->running = false;
    owner_->running_ = false;
    if (owner_->disposed_) owner_->release(env);
    // Statuses are not looked at: where JavaScript cannot run any more, nobody waits.
    napi_value undefined = nullptr;
    if (!status_.ok()) {
      if (const napi_value error = errorValue(env, status_)) napi_reject_deferred(env, deferred_, error);
    } else if (napi_get_undefined(env, &undefined) == napi_ok) {
      napi_resolve_deferred(env, deferred_, undefined);
    }
    owner_->Unref();
    Destroy();
  }

 private:
  ExecutableObject* owner_;
  // The session outlives what was loaded over it.
  std::shared_ptr<SharedSession> shared_;
  std::shared_ptr<engine::Executable> executable_;
  napi_deferred deferred_ = nullptr;
  napi_value promise_ = nullptr;
  core::Status status_;
};

Napi::Function ExecutableObject::define(Napi::Env env) {
  return DefineClass(env, "Executable",
                     {
                         InstanceMethod<&ExecutableObject::run>("run"),
                         InstanceMethod<&ExecutableObject::runSync>("runSync"),
                         InstanceMethod<&ExecutableObject::dispose>("dispose"),
                         InstanceAccessor<&ExecutableObject::bytes>("bytes"),
                         InstanceAccessor<&ExecutableObject::notes>("notes"),
                     });
}

ExecutableObject::ExecutableObject(const Napi::CallbackInfo& call) : ObjectWrap(call) {}

ExecutableObject::~ExecutableObject() {
  release(Env());
}

Napi::Value ExecutableObject::create(Napi::Env env, std::shared_ptr<SharedSession> shared,
                                     engine::Session& session, core::Plan plan, const Napi::Array& inputs,
                                     const Napi::Array& outputs) {
  const Napi::Object object = env.GetInstanceData<Classes>()->executable.New({});
  ExecutableObject* self = Unwrap(object);
  if (inputs.Length() != plan.inputCount || outputs.Length() != plan.outputCount)
    throw Napi::RangeError::New(env, "load: another number of inputs or outputs than the plan's.");
  self->hold(inputs, plan, core::Role::input);
  self->inputCount_ = self->held_.size();
  self->hold(outputs, plan, core::Role::output);
  std::vector<void*> in, out;
  for (size_t i = 0; i < self->held_.size(); ++i)
    (i < self->inputCount_ ? in : out).push_back(self->held_[i].data);
  std::unique_ptr<engine::Executable> loaded;
  if (core::Status s = engine::Executable::load(session, std::move(plan), in, out, &loaded); !s.ok())
    throw errorOf(env, s);
  self->reported_ = static_cast<int64_t>(loaded->bytes());
  Napi::MemoryManagement::AdjustExternalMemory(env, self->reported_);
  self->executable_ = std::move(loaded);
  self->shared_ = std::move(shared);
  return object;
}

void ExecutableObject::hold(const Napi::Array& arrays, const core::Plan& plan, core::Role role) {
  const size_t first = held_.size();
  held_.resize(first + arrays.Length());
  std::vector<bool> seen(arrays.Length(), false);
  for (const core::Value& v : plan.values) {
    if (v.role != role) continue;
    const auto slot = static_cast<size_t>(v.slot);
    if (slot >= arrays.Length() || seen[slot])
      throw Napi::RangeError::New(Env(), "load: a slot that is not there, or used twice.");
    seen[slot] = true;
    const Napi::Value array = arrays.Get(static_cast<uint32_t>(slot));
    const View view = viewOf(array, v.dtype, role == core::Role::input ? "input" : "output");
    if (view.elements != v.elements)
      throw Napi::RangeError::New(Env(), "load: an array of another length than its value.");
    held_[first + slot] = Held{Napi::Persistent(array.As<Napi::Object>()), v.dtype, view.data, view.elements};
  }
}

void ExecutableObject::checkReady(Napi::Env env) {
  if (disposed_ || !executable_) throw stateError(env, "run: the executable has been disposed.");
  if (shared_->disposed) throw stateError(env, "run: the session has been disposed.");
  if (shared_->running) throw stateError(env, "run: a run is in flight. Await it first.");
  for (const Held& h : held_) {
    const View now = viewOf(h.array.Value(), h.dtype, "array");
    if (now.data != h.data || now.elements != h.elements)
      throw stateError(env, "run: an input or output array was detached or moved.");
  }
}

Napi::Value ExecutableObject::run(const Napi::CallbackInfo& call) {
  checkReady(call.Env());
  auto* worker = new Run(call.Env(), this);
  const Napi::Value promise = worker->promise();
  shared_->running = running_ = true;
  worker->Queue();
  return promise;
}

void ExecutableObject::runSync(const Napi::CallbackInfo& call) {
  checkReady(call.Env());
  shared_->running = running_ = true;
  const core::Status s = executable_->run();
  shared_->running = running_ = false;
  if (!s.ok()) throw errorOf(call.Env(), s);
}

void ExecutableObject::release(Napi::Env env) {
  executable_.reset();
  held_.clear();
  forgetBytes(env, reported_);
  reported_ = 0;
}

/** A run in flight keeps what it needs; the memory goes when it is done. */
void ExecutableObject::dispose(const Napi::CallbackInfo& call) {
  disposed_ = true;
  if (!running_) release(call.Env());
}

Napi::Value ExecutableObject::bytes(const Napi::CallbackInfo& call) {
  return Napi::Number::New(call.Env(), executable_ ? static_cast<double>(executable_->bytes()) : 0);
}

/** One string per op. */
Napi::Value ExecutableObject::notes(const Napi::CallbackInfo& call) {
  Napi::Array list = Napi::Array::New(call.Env());
  if (!executable_) return list;
  for (const std::string& note : executable_->notes()) list.Set(list.Length(), note);
  return list;
}

}  // namespace deeprnn::napi
