#pragma once

#include <string>
#include <vector>

#include "core/status.h"

namespace deeprnn::cuda {

struct DeviceInfo {
  int index = 0;
  std::string name;
  /** As nvidia-smi writes it: GPU-xxxxxxxx-xxxx-…. */
  std::string uuid;
  size_t memory = 0;
  int major = 0, minor = 0, multiprocessors = 0;
  /** Shared memory that a block may ask for, bytes. */
  size_t sharedPerBlock = 0;
  /** Whether a launch can have all its blocks run at once. */
  bool cooperative = false;
};

/** The oldest architecture that kernels are built for (Ampere). */
constexpr int kOldestMajor = 8;

/** Why a device that is there cannot be used, empty when it can. */
std::string reasonAgainst(const DeviceInfo& device);

/** The devices that this process sees. @returns why there is none: no driver, too old a driver, no device */
core::Status listDevices(std::vector<DeviceInfo>* devices);

/** The device with this index ("0") or UUID (whole, or a beginning of 8 letters or more that no other has).
 * @returns why it cannot be used */
core::Status findDevice(const std::string& wanted, DeviceInfo* device);

/** Driver and runtime versions as in "13.0"; empty where there is none. */
std::string driverVersion();
std::string runtimeVersion();

}  // namespace deeprnn::cuda
