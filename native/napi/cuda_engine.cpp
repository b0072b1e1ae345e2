// What the border needs to know of the CUDA engine alone.
#ifdef DEEPRNN_CUDA
#include <cstdlib>
#include <string>

#include "cuda/devices.h"
#include "napi/engine.h"
#include "napi/errors.h"

namespace deeprnn::napi {
namespace {

std::string textOf(const Napi::Value& value, const char* otherwise) {
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : otherwise;
}

cuda::Precision precisionOf(Napi::Env env, const std::string& name) {
  if (name == "fp32") return cuda::Precision::float32;
  if (name == "tf32") return cuda::Precision::tf32;
  if (name == "bf16") return cuda::Precision::bf16;
  throw Napi::TypeError::New(env, "precision: expected 'fp32', 'tf32' or 'bf16'.");
}

/** DEEPRNN_CUDA_RUNG forces a rung of the ladder (docs/cuda.md). */
cuda::Rung forcedRung(Napi::Env env) {
  const char* set = std::getenv("DEEPRNN_CUDA_RUNG");
  const std::string name = set ? set : "d";
  if (name == "a") return cuda::Rung::steps;
  if (name == "b") return cuda::Rung::diagonal;
  if (name == "c") return cuda::Rung::layer;
  if (name == "d") return cuda::Rung::stack;
  throw errorOf(env,
                core::Status::error(core::Code::device,
                                    "DEEPRNN_CUDA_RUNG: expected 'a', 'b', 'c' or 'd', got '" + name + "'."));
}

/** DEEPRNN_CUDA_ROW_TILES forces how many tiles of rows a warp of a persistent kernel works on. */
int forcedRowTiles(Napi::Env env) {
  const char* set = std::getenv("DEEPRNN_CUDA_ROW_TILES");
  const std::string name = set ? set : "";
  if (name.empty()) return 0;
  if (name == "1" || name == "2" || name == "4") return name[0] - '0';
  throw errorOf(env, core::Status::error(core::Code::device,
                                         "DEEPRNN_CUDA_ROW_TILES: expected 1, 2 or 4, got '" + name + "'."));
}

}  // namespace

/** `{ device?, precision? }` */
std::unique_ptr<engine::Session> createSession(Napi::Env env, const Napi::Value& options) {
  cuda::DeviceInfo device;
  if (core::Status s = cuda::findDevice(textOf(option(options, "device"), "0"), &device); !s.ok())
    throw errorOf(env, s);
  cuda::SessionOptions chosen;
  chosen.device = device.index;
  // Without cooperative launches nothing promises that the blocks of a persistent kernel run at once: none
  // fits then.
  if (device.cooperative)
    chosen.limits = {device.multiprocessors, device.sharedPerBlock, forcedRowTiles(env)};
  chosen.precision = precisionOf(env, textOf(option(options, "precision"), "fp32"));
  chosen.forced = std::getenv("DEEPRNN_CUDA_RUNG") != nullptr;
  chosen.rung = forcedRung(env);
  std::unique_ptr<engine::Session> session;
  if (core::Status s = cuda::Session::create(chosen, &session); !s.ok()) throw errorOf(env, s);
  return session;
}

/** `{ devices: [{ index, name, uuid, memory, computeCapability, multiprocessors, reason? }], driver, runtime
 * }`.
 * @throws why there is none */
Napi::Value info(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  std::vector<cuda::DeviceInfo> devices;
  if (core::Status s = cuda::listDevices(&devices); !s.ok()) throw errorOf(env, s);
  Napi::Object result = Napi::Object::New(env);
  Napi::Array list = Napi::Array::New(env);
  for (const cuda::DeviceInfo& d : devices) {
    Napi::Object device = Napi::Object::New(env);
    device.Set("index", d.index);
    device.Set("name", d.name);
    device.Set("uuid", d.uuid);
    device.Set("memory", static_cast<double>(d.memory));
    device.Set("computeCapability", std::to_string(d.major) + "." + std::to_string(d.minor));
    device.Set("multiprocessors", d.multiprocessors);
    if (const std::string why = cuda::reasonAgainst(d); !why.empty()) device.Set("reason", "it " + why);
    list.Set(list.Length(), device);
  }
  result.Set("devices", list);
  result.Set("driver", cuda::driverVersion());
  result.Set("runtime", cuda::runtimeVersion());
  return result;
}

}  // namespace deeprnn::napi
#endif
