// The elementwise work of a recurrent step: gates, cells and their gradients. Products with the weights are
// done elsewhere.
#pragma once

#include "core/stack.h"
#include "cuda/gpu.h"

namespace deeprnn::cuda {

using core::StackLayer;

/** How a dropout mask is drawn on the device; off where the rate is 0. */
struct MaskSource {
  uint32_t seedLo, seedHi, stream;
  const double* step;
  double rate;
  /** The number of element 0. */
  uint64_t base;
};

/** The mask of the states before one step: its elements begin at `first`, and those of the next step follow,
 * or are the same where it is shared over time. */
struct StateMask {
  MaskSource source;
  size_t first;
  bool perStep;
};

/** Arrays of one step of one layer. Rows n of a gate array are G·H apart, of all others H. Null where absent.
 */
struct CellStep {
  StackLayer l;
  size_t N;
  const float* bias;
  /** x̃W + h̃R in, and what the reserve keeps out. */
  float* gates;
  /** LSTM: c_t. GRU: the recurrent factor of the candidate. */
  float* extra;
  const float *hPrev, *hMasked, *cPrev;
  /** LSTM with peepholes: [G − 1, H], of the gates i, f, o, or f, o where they are coupled. */
  const float* peephole;
  float *h, *y;
  /** [N], or null: rows that do not count keep their states. */
  const int32_t* valid;
};

/** h_t (and c_t) from the products. A GRU with the reset before the product has two parts, with a product in
 * between. */
Status cellForward(const CellStep& s, cudaStream_t stream);
Status gruResetPart(const CellStep& s, cudaStream_t stream);

/** Arrays of one backward step. */
struct CellGradStep {
  StackLayer l;
  size_t N;
  const float *gates, *extra, *cPrev, *hPrev, *peephole;
  /** Gradients reaching h_t: from this layer's later steps, from the loss, from the layer above. */
  float* dh;
  const float *dy, *dAbove;
  /** LSTM: ∂/∂c, carried in place. */
  float* dc;
  /** [N, G·H]; GRU with resetAfter also dq [N, H]. */
  float *dG, *dq;
  /** The total gradient of h_t for the step norms, or null. */
  float* total;
  /** [N], or null. */
  const int32_t* valid;
};

/** Gate gradients of one step. For a GRU, and where there is a mask of rows, dh becomes what reaches h_{t−1}
 * beside the products with R: what the carried state keeps, or all of it where a row does not count. */
Status cellBackward(const CellGradStep& s, cudaStream_t stream);

/** GRU, reset before: from dq = du_n R_nᵀ in `product` the reset gate's gradient; `product` becomes dq ⊙ r.
 */
Status gruResetBackward(const CellGradStep& s, float* product, const StateMask& mask, cudaStream_t stream);

/** to[i] (+)= from[i] · mask(i), i < n: of the states of one step. */
Status maskState(const float* from, float* to, size_t n, const StateMask& mask, bool accumulate,
                 cudaStream_t stream);
/** The same over [count, n]: `count` steps, of which `mask` is the first one's. */
Status maskStates(const float* from, float* to, size_t count, size_t n, const StateMask& mask,
                  cudaStream_t stream);

/**
 * Between inputs [T, N, D] as they lie and x̃ in the order of processing, in either direction: element (t, n,
 * d) of the one is element (s, n, d) of the other, times the mask. t = T−1−s where `reversed`.
 */
struct InputOrder {
  size_t T, N, D;
  bool reversed, maskPerElement;
  MaskSource mask;
};
Status orderInputs(const InputOrder& order, const float* x, float* processed, size_t firstStep, size_t steps,
                   cudaStream_t stream);
Status restoreInputs(const InputOrder& order, const float* processed, float* x, size_t firstStep,
                     size_t steps, cudaStream_t stream);

/** norms[t] = ‖total[t]‖₂ over [N, H], t < T; one block a step. */
Status stepNorms(const float* total, double* norms, size_t T, size_t size, cudaStream_t stream);

}  // namespace deeprnn::cuda
