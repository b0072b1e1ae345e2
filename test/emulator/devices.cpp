// The emulated devices: which there are, what they are called and whether they can be used.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "device_state.h"

namespace deeprnn::emulator {
namespace {

constexpr int kRuntime = 13000;

thread_local int chosen = 0;

void uuidOf(int device, char bytes[16]) {
  for (int i = 0; i < 16; ++i) bytes[i] = static_cast<char>(i);
  bytes[15] = static_cast<char>(15 + device);
}

std::string uuidText(int device) {
  char bytes[16];
  uuidOf(device, bytes);
  std::string text = "GPU-";
  for (int i = 0; i < 16; ++i) {
    char hex[3];
    std::snprintf(hex, sizeof hex, "%02x", static_cast<unsigned>(bytes[i]));
    text += std::string(i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "") + hex;
  }
  return text;
}

/** The devices that CUDA_VISIBLE_DEVICES leaves, in its order: up to the first name that is none. */
std::vector<int> visibleDevices() {
  const int count = static_cast<int>(setting("DEEPRNN_EMULATOR_DEVICES", 1));
  std::vector<int> visible;
  const char* set = std::getenv("CUDA_VISIBLE_DEVICES");
  if (!set) {
    for (int i = 0; i < count; ++i) visible.push_back(i);
    return visible;
  }
  const std::string names = set;
  for (size_t begin = 0; begin <= names.size();) {
    const size_t end = std::min(names.find(',', begin), names.size());
    const std::string name = names.substr(begin, end - begin);
    int found = -1;
    for (int i = 0; i < count; ++i) {
      if (name == std::to_string(i) || (name.size() > 4 && uuidText(i).rfind(name, 0) == 0)) found = i;
    }
    if (found < 0) break;
    visible.push_back(found);
    begin = end + 1;
  }
  return visible;
}

int driver() {
  const double version = setting("DEEPRNN_EMULATOR_DRIVER", 13.0);
  const int major = static_cast<int>(version);
  return 1000 * major + 10 * static_cast<int>((version - major) * 10 + 0.5);
}

}  // namespace

double setting(const char* name, double otherwise) {
  const char* set = std::getenv(name);
  return set ? std::strtod(set, nullptr) : otherwise;
}

cudaError_t& lastError() {
  static thread_local cudaError_t last = cudaSuccess;
  return last;
}

int currentDevice() {
  return chosen;
}

void note(const std::string& line) {
  const char* path = std::getenv("DEEPRNN_EMULATOR_LOG");
  if (!path) return;
  const Lock lock(device);
  if (FILE* file = std::fopen(path, "a")) {
    std::fprintf(file, "%s\n", line.c_str());
    std::fclose(file);
  }
}

bool isFaultyLaunch() {
  const Lock lock(device);
  static int launches = 0;
  return ++launches == static_cast<int>(setting("DEEPRNN_EMULATOR_FAULT", 0));
}

}  // namespace deeprnn::emulator

using namespace deeprnn::emulator;

const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    default:
      return "cudaErrorUnknown";
  }
}
const char* cudaGetErrorString(cudaError_t e) {
  static thread_local std::string text;
  text = e == cudaErrorLaunchFailure ? lastFault() : "";
  if (!text.empty()) return text.c_str();
  return e == cudaErrorMemoryAllocation ? "out of memory" : cudaGetErrorName(e);
}
cudaError_t cudaGetLastError() {
  const cudaError_t e = lastError();
  lastError() = cudaSuccess;
  return e;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kRuntime;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = driver();
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  if (driver() < kRuntime) return report(cudaErrorInsufficientDriver);
  *count = static_cast<int>(visibleDevices().size());
  return *count ? cudaSuccess : report(cudaErrorNoDevice);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int index) {
  const std::vector<int> visible = visibleDevices();
  if (index < 0 || index >= static_cast<int>(visible.size())) return report(cudaErrorInvalidDevice);
  *p = {};
  std::strcpy(p->name, "emulated device");
  uuidOf(visible[static_cast<size_t>(index)], p->uuid.bytes);
  p->totalGlobalMem = memoryOfDevice();
  const double capability = setting("DEEPRNN_EMULATOR_CAPABILITY", 9.0);
  p->major = static_cast<int>(capability);
  p->minor = static_cast<int>(capability * 10 + 0.5) % 10;
  p->multiProcessorCount = deeprnn::emulator::kMultiprocessors;
  p->sharedMemPerBlockOptin = deeprnn::emulator::kSharedPerBlock;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = deeprnn::emulator::kMultiprocessors;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(deeprnn::emulator::kSharedPerBlock);
      break;
    case cudaDevAttrCooperativeLaunch:
      *value = static_cast<int>(setting("DEEPRNN_EMULATOR_COOPERATIVE", 1));
      break;
    case cudaDevAttrMemoryPoolsSupported:
      *value = static_cast<int>(setting("DEEPRNN_EMULATOR_POOLS", 1));
      break;
  }
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int index) {
  if (index < 0 || index >= static_cast<int>(visibleDevices().size())) return report(cudaErrorInvalidDevice);
  chosen = index;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* index) {
  *index = chosen;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  inRun() = false;
  note("wait");
  return drainAll();
}
cudaError_t cudaDeviceReset() {
  drainAll();
  if (setting("DEEPRNN_EMULATOR_RESET", 1) == 0) return report(stickyError());
  forgetMemory();
  forgetFault();
  return cudaSuccess;
}
