#include "napi/executable_object.h"

#include <new>

#include "napi/freeing.h"

namespace deeprnn::napi {
namespace {

/** The set of inputs that a call names; the first where it names none. */
size_t setOf(const Napi::CallbackInfo& call) {
  if (call.Length() == 0 || call[0].IsUndefined()) return 0;
  const double set = call[0].IsNumber() ? call[0].As<Napi::Number>().DoubleValue() : -1;
  if (set != 0 && set != 1) throw Napi::TypeError::New(call.Env(), "set: expected 0 or 1.");
  return set == 0 ? 0 : 1;
}

core::Status runOf(engine::Executable& executable, size_t set, double* times = nullptr) {
  try {
    return executable.run(set, times);
  } catch (const std::bad_alloc&) {
    return core::Status::error(core::Code::outOfMemory, "run: out of memory.");
  }
}

}  // namespace

/** One run off the event loop. Holds the JavaScript object, and with it all memory in use, until the promise
 * is settled. */
class ExecutableObject::Run : public RunThread::Job {
 public:
  /** `times`: an array for the milliseconds of each op, or undefined. */
  Run(Napi::Env env, ExecutableObject* owner, size_t set, const Napi::Value& times, double* milliseconds)
      : owner_(owner),
        set_(set),
        milliseconds_(milliseconds),
        shared_(owner->shared_),
        executable_(owner->executable_) {
    if (milliseconds_) times_ = Napi::Persistent(times.As<Napi::Object>());
    if (napi_create_promise(env, &deferred_, &promise_) != napi_ok) throw Napi::Error::New(env);
  }

  /** Valid in the scope that made this. */
  Napi::Value promise(Napi::Env env) const { return {env, promise_}; }

  void execute() override { status_ = runOf(*executable_, set_, milliseconds_); }

  /** Raw calls, whose statuses are not looked at: where JavaScript cannot run any more, because the worker
   * thread is being ended, nobody waits. */
  void complete(napi_env env) override {
    shared_->running = false;
    owner_->running_ = false;
    // The owner holds them, or they are not needed any more: the last share is not to go here.
    executable_.reset();
    shared_.reset();
    if (owner_->disposed_) owner_->release(env);
    napi_value undefined = nullptr;
    if (!status_.ok()) {
      if (const napi_value error = errorValue(env, status_)) napi_reject_deferred(env, deferred_, error);
    } else if (napi_get_undefined(env, &undefined) == napi_ok) {
      napi_resolve_deferred(env, deferred_, undefined);
    }
    owner_->Unref();
  }

 private:
  ExecutableObject* owner_;
  size_t set_;
  double* milliseconds_;
  Napi::ObjectReference times_;
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
                         InstanceMethod<&ExecutableObject::stage>("stage"),
                         InstanceMethod<&ExecutableObject::dispose>("dispose"),
                         InstanceAccessor<&ExecutableObject::bytes>("bytes"),
                         InstanceAccessor<&ExecutableObject::notes>("notes"),
                     });
}

ExecutableObject::ExecutableObject(const Napi::CallbackInfo& call) : ObjectWrap(call) {}

ExecutableObject::~ExecutableObject() {
  // Finalizers may run while the environment ends, when nothing can be queued.
  executable_.reset();
  shared_.reset();
  release(Env());
}

Napi::Value ExecutableObject::create(Napi::Env env, std::shared_ptr<SharedSession> shared,
                                     engine::Session& session, core::Plan plan,
                                     const std::array<Napi::Array, 2>& inputs, const Napi::Array& outputs) {
  const Napi::Object object = env.GetInstanceData<Classes>()->executable.New({});
  ExecutableObject* self = Unwrap(object);
  const auto memoryOf = [](const std::vector<Held>& arrays) {
    std::vector<void*> memory;
    memory.reserve(arrays.size());
    for (const Held& h : arrays) memory.push_back(h.data);
    return memory;
  };
  core::InputSets in;
  for (size_t set = 0; set < in.size(); ++set) {
    self->inputs_[set] = self->hold(inputs[set], plan, core::Role::input);
    in[set] = memoryOf(self->inputs_[set]);
  }
  self->outputs_ = self->hold(outputs, plan, core::Role::output);
  const std::vector<void*> out = memoryOf(self->outputs_);
  std::unique_ptr<engine::Executable> loaded;
  if (core::Status s = engine::Executable::load(session, std::move(plan), in, out, &loaded); !s.ok())
    throw errorOf(env, s);
  self->reported_ = static_cast<int64_t>(loaded->bytes());
  Napi::MemoryManagement::AdjustExternalMemory(env, self->reported_);
  self->executable_ = std::move(loaded);
  self->shared_ = std::move(shared);
  return object;
}

std::vector<ExecutableObject::Held> ExecutableObject::hold(const Napi::Array& arrays, const core::Plan& plan,
                                                           core::Role role) {
  if (arrays.Length() != (role == core::Role::input ? plan.inputCount : plan.outputCount))
    throw Napi::RangeError::New(Env(), "load: another number of inputs or outputs than the plan's.");
  std::vector<Held> held(arrays.Length());
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
    held[slot] = Held{Napi::Persistent(array.As<Napi::Object>()), view.data, view.elements};
  }
  return held;
}

void ExecutableObject::checkReady(Napi::Env env, size_t set) {
  if (disposed_ || !executable_) throw stateError(env, "run: the executable has been disposed.");
  if (shared_->disposed) throw stateError(env, "run: the session has been disposed.");
  if (shared_->running) throw stateError(env, "run: a run is in flight. Await it first.");
  checkArrays(env, inputs_[set]);
  checkArrays(env, outputs_);
}

void ExecutableObject::checkArrays(Napi::Env env, const std::vector<Held>& arrays) {
  for (const Held& h : arrays) {
    View now;
    // What was a typed array of its type at load still is: only its memory may have gone.
    const napi_status found =
        napi_get_typedarray_info(env, h.array.Value(), nullptr, &now.elements, &now.data, nullptr, nullptr);
    if (found != napi_ok || now.data != h.data || now.elements != h.elements)
      throw stateError(env, "run: an input or output array was detached or moved.");
  }
}

/** run(set?, times?) → Promise. `times`: a Float64Array with a place for each op. */
Napi::Value ExecutableObject::run(const Napi::CallbackInfo& call) {
  const size_t set = setOf(call);
  checkReady(call.Env(), set);
  const Napi::Value times = call.Length() > 1 ? call[1] : call.Env().Undefined();
  double* milliseconds = nullptr;
  if (!times.IsUndefined()) {
    const View view = viewOf(times, core::DType::float64, "times");
    if (view.elements != executable_->notes().size())
      throw Napi::RangeError::New(call.Env(), "times: another length than the plan has ops.");
    milliseconds = static_cast<double*>(view.data);
  }
  auto job = std::make_unique<Run>(call.Env(), this, set, times, milliseconds);
  const Napi::Value promise = job->promise(call.Env());
  if (!shared_->thread.start(call.Env(), &job))
    throw stateError(call.Env(), "run: no thread can be had for it.");
  Ref();
  shared_->running = running_ = true;
  runningSet_ = set;
  return promise;
}

/** runSync(set?) */
void ExecutableObject::runSync(const Napi::CallbackInfo& call) {
  const size_t set = setOf(call);
  checkReady(call.Env(), set);
  shared_->running = running_ = true;
  const core::Status s = runOf(*executable_, set);
  shared_->running = running_ = false;
  if (!s.ok()) throw errorOf(call.Env(), s);
}

/** stage(set): while a run reads the other set, or between runs. */
void ExecutableObject::stage(const Napi::CallbackInfo& call) {
  const size_t set = setOf(call);
  if (disposed_ || !executable_) throw stateError(call.Env(), "stage: the executable has been disposed.");
  if (shared_->disposed) throw stateError(call.Env(), "stage: the session has been disposed.");
  if (running_ && runningSet_ == set) throw stateError(call.Env(), "stage: a run is reading this set.");
  checkArrays(call.Env(), inputs_[set]);
  executable_->stage(set);
}

/** The session goes with the last object that holds it, whether or not JavaScript still has this one. */
void ExecutableObject::release(Napi::Env env) {
  if (executable_ || shared_) freeLater(env, std::move(executable_), std::move(shared_));
  for (std::vector<Held>& arrays : inputs_) arrays.clear();
  outputs_.clear();
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
