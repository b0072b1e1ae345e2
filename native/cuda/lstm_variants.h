// LSTMs with more than the usual equations (core::StackLayer::variant), in kernels of their own: those of the
// usual cells do not pay for them.
#pragma once

#include "cuda/rnn_cells.h"

namespace deeprnn::cuda {

/** As `cellForward` and `cellBackward`, for such a layer. */
Status lstmVariantForward(const CellStep& s, cudaStream_t stream);
Status lstmVariantBackward(const CellGradStep& s, cudaStream_t stream);

/** Terms of the gradient of peepholes, to be summed over the rows: [T·N, G − 1, H], a gate's gradient times
 * the c that it saw. */
struct PeepholeTerms {
  StackLayer l;
  size_t T, N;
  /** [T, N, G·H], [T, N, H], [N, H] or null; under zoneout of c, c as the cell made it, else null. */
  const float *dG, *c, *c0, *made;
  float* terms;
};
Status peepholeTerms(const PeepholeTerms& p, cudaStream_t stream);

}  // namespace deeprnn::cuda
