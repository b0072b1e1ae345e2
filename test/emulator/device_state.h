// What the parts of the emulated runtime share. Environment variables make it what a test needs:
//   DEEPRNN_EMULATOR_DEVICES      how many devices there are (1)
//   DEEPRNN_EMULATOR_CAPABILITY   their compute capability (9.0)
//   DEEPRNN_EMULATOR_DRIVER       the CUDA version of the driver, 0 for none (13.0)
//   DEEPRNN_EMULATOR_MEMORY       bytes of memory each (8 GiB)
//   DEEPRNN_EMULATOR_POOLS        0: without memory pools
//   DEEPRNN_EMULATOR_FAULT        the how manieth launch of a graph faults
//   DEEPRNN_EMULATOR_RESET        0: a reset does not end a fault
//   DEEPRNN_EMULATOR_LOG          a file that gets a line for every allocation, launch and wait
// CUDA_VISIBLE_DEVICES hides devices, as the real one does.
#pragma once

#include <mutex>
#include <string>

#include "cuda_runtime.h"

namespace deeprnn::emulator {

using Lock = std::unique_lock<std::recursive_mutex>;

/** Guards all that threads share. Not held while work is done. */
extern std::recursive_mutex device;

/** A number from the environment. */
double setting(const char* name, double otherwise);

/** What cudaGetLastError will give, by thread. */
cudaError_t& lastError();
/** Keeps a failure for cudaGetLastError, and passes it on. */
cudaError_t report(cudaError_t status);
/** The fault after which nothing works any more. */
cudaError_t stickyError();
void forgetFault();

/** Does all that streams have been given. */
cudaError_t drainAll();

int currentDevice();
size_t memoryOfDevice();
/** Frees all memory of the current device. */
void forgetMemory();

/** Whether the calling thread is between the beginning of a capture, or a launch, and its end. */
bool& inRun();
/** Says that something is allocated, which in a run is a fault. */
cudaError_t countAllocation(const char* what, size_t bytes);
void note(const std::string& line);
bool isFaultyLaunch();

}  // namespace deeprnn::emulator
