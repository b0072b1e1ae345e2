#pragma once

#include <napi.h>

#include <memory>

#include "napi/session_object.h"

namespace deeprnn::napi {

/**
 * Gives an executable and its share of a session up. Where the engine can do so from any thread, the memory
 * is freed off the event loop: handing half a gigabyte back to the system takes tens of milliseconds, and a
 * session waits for its threads to end. Used by the thread of the environment. Never throws.
 */
void freeLater(napi_env env, std::shared_ptr<engine::Executable> executable,
               std::shared_ptr<SharedSession> shared);

}  // namespace deeprnn::napi
