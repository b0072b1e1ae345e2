#pragma once

#include <napi.h>

#include "core/status.h"

namespace deeprnn::napi {

/**
 * A JavaScript error with `code`, for a failed check `op`, `element` and `value`, and where memory was short
 * `needed` and `available`; null where no JavaScript can run any more, because the worker thread is being
 * ended. Raw calls: a failing one must not throw in a completion callback.
 */
inline napi_value errorValue(napi_env env, const core::Status& s) {
  const char* code = "ERR_STATE";
  switch (s.code) {
    case core::Code::badPlan:
      code = "ERR_SHAPE";
      break;
    case core::Code::outOfMemory:
    case core::Code::device:
      code = "ERR_DEVICE";
      break;
    case core::Code::checkFailed:
      code = "CHECK_FAILED";
      break;
    default:
      break;
  }
  napi_value message = nullptr, name = nullptr, error = nullptr;
  if (napi_create_string_utf8(env, s.message.c_str(), s.message.size(), &message) != napi_ok ||
      napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_error(env, name, message, &error) != napi_ok)
    return nullptr;
  const auto set = [&](const char* key, double number) {
    napi_value value = nullptr;
    return napi_create_double(env, number, &value) == napi_ok &&
           napi_set_named_property(env, error, key, value) == napi_ok;
  };
  if (s.needed > 0 && (!set("needed", s.needed) || !set("available", s.available))) return nullptr;
  if (s.code == core::Code::checkFailed) {
    if (!set("op", s.op) || !set("element", s.element) || !set("value", s.value)) return nullptr;
  }
  return error;
}

inline Napi::Error errorOf(Napi::Env env, const core::Status& s) {
  const napi_value error = errorValue(env, s);
  return error ? Napi::Error(env, error) : Napi::Error::New(env);
}

inline Napi::Error stateError(Napi::Env env, const char* message) {
  return errorOf(env, core::Status::error(core::Code::state, message));
}

}  // namespace deeprnn::napi
