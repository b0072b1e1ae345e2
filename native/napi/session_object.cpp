#include "napi/session_object.h"

#include <cmath>
#include <string>

#include "core/plan.h"
#include "napi/executable_object.h"
#include "napi/freeing.h"

namespace deeprnn::napi {
namespace {

/** A whole number from 0 to `limit`. */
size_t count(const Napi::Value& value, double limit, const char* what) {
  const double n = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(n >= 0 && n <= limit) || n != std::floor(n))
    throw Napi::TypeError::New(value.Env(), std::string(what) + ": expected a whole number.");
  return static_cast<size_t>(n);
}

Napi::Value argument(const Napi::CallbackInfo& call, size_t i) {
  return i < call.Length() ? call[i] : call.Env().Undefined();
}

}  // namespace

View viewOf(const Napi::Value& value, core::DType dtype, const char* what) {
  const napi_typedarray_type wanted = dtype == core::DType::real    ? napi_float32_array
                                      : dtype == core::DType::int32 ? napi_int32_array
                                                                    : napi_float64_array;
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != wanted) {
    static const char* const names[] = {"Float32Array", "Int32Array", "Float64Array"};
    throw Napi::TypeError::New(value.Env(),
                               std::string(what) + ": expected a " + names[static_cast<int>(dtype)] + ".");
  }
  const auto array = value.As<Napi::TypedArray>();
  View view;
  napi_typedarray_type type;
  napi_value buffer;
  size_t offset;
  if (napi_get_typedarray_info(value.Env(), array, &type, &view.elements, &view.data, &buffer, &offset) !=
      napi_ok) {
    throw Napi::TypeError::New(value.Env(), std::string(what) + ": the array cannot be read.");
  }
  return view;
}

namespace {

/** The second argument: an array of the variable's dtype and length. @throws naming `what` */
View matching(const Napi::CallbackInfo& call, const engine::Variable& v, const char* what) {
  const View view = viewOf(argument(call, 1), v.dtype, what);
  if (view.elements != v.elements)
    throw Napi::RangeError::New(call.Env(), std::string(what) + ": another length than the variable.");
  return view;
}

}  // namespace

/** One copy of a variable, out or in, off the event loop. Holds the session and the array until the promise
 * is settled. */
class SessionObject::Copy : public RunThread::Job {
 public:
  Copy(Napi::Env env, std::shared_ptr<SharedSession> shared, engine::Variable& variable,
       const Napi::Object& array, void* data, Direction direction)
      : shared_(std::move(shared)),
        variable_(variable),
        array_(Napi::Persistent(array)),
        data_(data),
        direction_(direction) {
    if (napi_create_promise(env, &deferred_, &promise_) != napi_ok) throw Napi::Error::New(env);
  }

  /** Valid in the scope that made this. */
  Napi::Value promise(Napi::Env env) const { return {env, promise_}; }

  void execute() override {
    engine::Session& session = *shared_->session;
    status_ = direction_ == Direction::in ? session.write(variable_, data_) : session.read(variable_, data_);
  }

  /** Raw calls, as in a run. */
  void complete(napi_env env) override {
    shared_->running = false;
    freeLater(env, nullptr, std::move(shared_));
    napi_value undefined = nullptr;
    if (!status_.ok()) {
      if (const napi_value error = errorValue(env, status_)) napi_reject_deferred(env, deferred_, error);
    } else if (napi_get_undefined(env, &undefined) == napi_ok) {
      napi_resolve_deferred(env, deferred_, undefined);
    }
  }

 private:
  std::shared_ptr<SharedSession> shared_;
  // Nothing is added to a session that is running, so this stays where it is.
  engine::Variable& variable_;
  Napi::ObjectReference array_;
  void* data_;
  Direction direction_;
  napi_deferred deferred_ = nullptr;
  napi_value promise_ = nullptr;
  core::Status status_;
};

Napi::Function SessionObject::define(Napi::Env env) {
  return DefineClass(env, "Session",
                     {
                         InstanceMethod<&SessionObject::createVariable>("createVariable"),
                         InstanceMethod<&SessionObject::writeVariable>("writeVariable"),
                         InstanceMethod<&SessionObject::readVariable>("readVariable"),
                         InstanceMethod<&SessionObject::readVariableLater>("readVariableLater"),
                         InstanceMethod<&SessionObject::writeVariableLater>("writeVariableLater"),
                         InstanceMethod<&SessionObject::load>("load"),
                         InstanceMethod<&SessionObject::dispose>("dispose"),
                     });
}

SessionObject::SessionObject(const Napi::CallbackInfo& call)
    : ObjectWrap(call),
      shared_(std::make_shared<SharedSession>(createSession(call.Env(), argument(call, 0)))) {}

SessionObject::~SessionObject() {
  shared_.reset();
  release(Env());
}

engine::Session& SessionObject::idle(Napi::Env env, const char* caller) {
  if (!shared_ || shared_->disposed)
    throw stateError(env, (std::string(caller) + ": the session has been disposed.").c_str());
  if (shared_->running)
    throw stateError(env, (std::string(caller) + ": a run is in flight. Await it first.").c_str());
  return *shared_->session;
}

/** createVariable(dtype, elements) → index */
Napi::Value SessionObject::createVariable(const Napi::CallbackInfo& call) {
  engine::Session& session = idle(call.Env(), "createVariable");
  const size_t dtype = count(argument(call, 0), 2, "dtype"),
               elements = count(argument(call, 1), 1099511627776.0, "elements");
  size_t index = 0;
  if (core::Status s = session.createVariable(static_cast<core::DType>(dtype), elements, &index); !s.ok())
    throw errorOf(call.Env(), s);
  const auto bytes = static_cast<int64_t>(session.variables()[index].memory.bytes());
  Napi::MemoryManagement::AdjustExternalMemory(call.Env(), bytes);
  reported_ += bytes;
  return Napi::Number::New(call.Env(), static_cast<double>(index));
}

engine::Variable& SessionObject::variable(const Napi::CallbackInfo& call, const char* caller) {
  engine::Session& session = idle(call.Env(), caller);
  const size_t index = count(argument(call, 0), 4294967295.0, "variable");
  if (index >= session.variables().size())
    throw Napi::RangeError::New(call.Env(), "variable: no such variable.");
  return session.variables()[index];
}

/** writeVariable(index, values) */
void SessionObject::writeVariable(const Napi::CallbackInfo& call) {
  engine::Variable& v = variable(call, "writeVariable");
  const View view = matching(call, v, "values");
  if (core::Status s = shared_->session->write(v, view.data); !s.ok()) throw errorOf(call.Env(), s);
}

/** readVariable(index, into) */
void SessionObject::readVariable(const Napi::CallbackInfo& call) {
  engine::Variable& v = variable(call, "readVariable");
  const View view = matching(call, v, "into");
  if (core::Status s = shared_->session->read(v, view.data); !s.ok()) throw errorOf(call.Env(), s);
}

/** readVariableLater(index, into) → promise. The session is busy until then. */
Napi::Value SessionObject::readVariableLater(const Napi::CallbackInfo& call) {
  engine::Variable& v = variable(call, "readVariableLater");
  return copyLater(call, v, matching(call, v, "into"), Direction::out, "readVariableLater");
}

/** writeVariableLater(index, values) → promise. The session is busy until then. */
Napi::Value SessionObject::writeVariableLater(const Napi::CallbackInfo& call) {
  engine::Variable& v = variable(call, "writeVariableLater");
  return copyLater(call, v, matching(call, v, "values"), Direction::in, "writeVariableLater");
}

Napi::Value SessionObject::copyLater(const Napi::CallbackInfo& call, engine::Variable& v, const View& view,
                                     Direction direction, const char* caller) {
  auto job = std::make_unique<Copy>(call.Env(), shared_, v, call[1].As<Napi::Object>(), view.data, direction);
  const Napi::Value promise = job->promise(call.Env());
  if (!shared_->thread.start(call.Env(), &job))
    throw stateError(call.Env(), (std::string(caller) + ": no thread can be had for it.").c_str());
  shared_->running = true;
  return promise;
}

/** load(words, floats, inputs, outputs, secondInputs = inputs) → Executable */
Napi::Value SessionObject::load(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  engine::Session& session = idle(env, "load");
  const View words = viewOf(argument(call, 0), core::DType::int32, "words");
  const View floats = viewOf(argument(call, 1), core::DType::float64, "floats");
  const Napi::Value second = argument(call, 4).IsUndefined() ? argument(call, 2) : argument(call, 4);
  if (!argument(call, 2).IsArray() || !argument(call, 3).IsArray() || !second.IsArray())
    throw Napi::TypeError::New(env, "load: expected arrays of inputs and of outputs.");
  core::Plan plan;
  if (core::Status s = core::decodePlan(static_cast<const int32_t*>(words.data), words.elements,
                                        static_cast<const double*>(floats.data), floats.elements, &plan);
      !s.ok())
    throw errorOf(env, s);
  return ExecutableObject::create(env, shared_, session, std::move(plan),
                                  {call[2].As<Napi::Array>(), second.As<Napi::Array>()},
                                  call[3].As<Napi::Array>());
}

void SessionObject::release(Napi::Env env) {
  if (shared_) freeLater(env, nullptr, std::move(shared_));
  forgetBytes(env, reported_);
  reported_ = 0;
}

/** Frees the variables as soon as no executable and no run needs them. */
void SessionObject::dispose(const Napi::CallbackInfo& call) {
  if (shared_) shared_->disposed = true;
  release(call.Env());
}

}  // namespace deeprnn::napi
