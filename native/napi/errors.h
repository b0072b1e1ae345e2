#pragma once

#include <napi.h>

#include "core/status.h"

namespace deeprnn::napi {

/** A JavaScript error with `code`, and for a failed check `op`, `element` and `value`. */
inline Napi::Error errorOf(Napi::Env env, const core::Status& s) {
  Napi::Error error = Napi::Error::New(env, s.message);
  const char* code = "ERR_STATE";
  switch (s.code) {
    case core::Code::badPlan:
      code = "ERR_SHAPE";
      break;
    case core::Code::outOfMemory:
      code = "ERR_DEVICE";
      break;
    case core::Code::checkFailed:
      code = "CHECK_FAILED";
      break;
    default:
      break;
  }
  error.Set("code", Napi::String::New(env, code));
  if (s.code == core::Code::checkFailed) {
    error.Set("op", Napi::Number::New(env, s.op));
    error.Set("element", Napi::Number::New(env, s.element));
    error.Set("value", Napi::Number::New(env, s.value));
  }
  return error;
}

inline Napi::Error stateError(Napi::Env env, const char* message) {
  return errorOf(env, core::Status::error(core::Code::state, message));
}

}  // namespace deeprnn::napi
