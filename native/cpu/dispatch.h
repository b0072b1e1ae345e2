#pragma once

#include <string>

#include "core/status.h"
#include "cpu/kernels/kernels.h"

namespace deeprnn::cpu {

/**
 * The kernels to use for a precision: the best that the machine can run, or those that `wanted` (the
 * environment variable DEEPRNN_ISA) names. Fails when that one is unknown or cannot run here, saying which
 * can.
 */
core::Status chooseKernels(const char* wanted, Precision precision, const KernelTable** kernels);

}  // namespace deeprnn::cpu
