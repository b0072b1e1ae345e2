// LSTMs with more than the usual equations (core::StackLayer::variant), in kernels of their own: those of the
// usual cells do not pay for them.
#pragma once

#include "cuda/rnn_cells.h"

namespace deeprnn::cuda {

/** As `cellForward` and `cellBackward`, for such a layer. */
Status lstmVariantForward(const CellStep& s, cudaStream_t stream);
Status lstmVariantBackward(const CellGradStep& s, cudaStream_t stream);

}  // namespace deeprnn::cuda
