#include "cuda/devices.h"

#include <cstdio>
#include <cstdlib>

#include "cuda/gpu.h"

namespace deeprnn::cuda {

using core::Code;

namespace {

std::string dotted(int version) {
  return version > 0 ? std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10) : "";
}

std::string uuidText(const char bytes[16]) {
  std::string text = "GPU-";
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    char hex[3];
    std::snprintf(hex, sizeof hex, "%02x", static_cast<unsigned>(static_cast<unsigned char>(bytes[i])));
    text += hex;
  }
  return text;
}

Status unusable(const std::string& why) {
  return Status::error(Code::device, why);
}

}  // namespace

std::string reasonAgainst(const DeviceInfo& device) {
  if (device.major >= kOldestMajor) return "";
  return "has compute capability " + std::to_string(device.major) + "." + std::to_string(device.minor) +
         "; " + std::to_string(kOldestMajor) + ".0 or later is needed.";
}

std::string driverVersion() {
  int version = 0;
  cudaDriverGetVersion(&version);
  cudaGetLastError();
  return dotted(version);
}

std::string runtimeVersion() {
  int version = 0;
  cudaRuntimeGetVersion(&version);
  return dotted(version);
}

Status listDevices(std::vector<DeviceInfo>* devices) {
  devices->clear();
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (error == cudaErrorInsufficientDriver) {
    const std::string driver = driverVersion();
    if (driver.empty()) return unusable("no NVIDIA driver is installed on this machine.");
    return unusable("the NVIDIA driver is for CUDA " + driver + ", older than the CUDA " + runtimeVersion() +
                    " that this addon was built with. Update the driver.");
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    return unusable(visible
                        ? "no CUDA device is visible: CUDA_VISIBLE_DEVICES is '" + std::string(visible) + "'."
                        : "the NVIDIA driver finds no device.");
  }
  if (error != cudaSuccess) return statusOf(error, "cudaGetDeviceCount", __FILE__, __LINE__);
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp p;
    DEEPRNN_TRY(cudaGetDeviceProperties(&p, i));
    int cooperative = 0;
    DEEPRNN_TRY(cudaDeviceGetAttribute(&cooperative, cudaDevAttrCooperativeLaunch, i));
    devices->push_back({i, p.name, uuidText(p.uuid.bytes), p.totalGlobalMem, p.major, p.minor,
                        p.multiProcessorCount, p.sharedMemPerBlockOptin, cooperative != 0});
  }
  return {};
}

Status findDevice(const std::string& wanted, DeviceInfo* device) {
  std::vector<DeviceInfo> devices;
  if (Status s = listDevices(&devices); !s.ok()) return s;
  std::string known;
  const DeviceInfo* found = nullptr;
  for (const DeviceInfo& d : devices) {
    known += (known.empty() ? "" : ", ") + std::to_string(d.index) + " (" + d.name + ", " + d.uuid + ")";
    if (wanted != std::to_string(d.index) && (wanted.size() < 8 || d.uuid.rfind(wanted, 0) != 0)) continue;
    if (found)
      return unusable("more than one CUDA device has a UUID that begins with '" + wanted +
                      "'. Write it whole.");
    found = &d;
  }
  if (!found) {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    return unusable(
        "there is no CUDA device '" + wanted + "'. There are: " + known +
        (visible ? "; CUDA_VISIBLE_DEVICES is '" + std::string(visible) + "', others are hidden." : "."));
  }
  if (const std::string why = reasonAgainst(*found); !why.empty())
    return unusable("device " + std::to_string(found->index) + " (" + found->name + ") " + why);
  *device = *found;
  return {};
}

}  // namespace deeprnn::cuda
