// Zoneout (Krueger et al., 2017) around the cells of a step, in kernels of its own: layers without it do not
// pay for it.
#pragma once

#include "cuda/rnn_cells.h"

namespace deeprnn::cuda {

/** Which units of a step [N, H] keep their states. */
struct ZoneoutStep {
  StackLayer l;
  size_t N;
  uint32_t seedLo, seedHi;
  const double* step;
  /** Number of the step's first element. */
  size_t first;
  /** [N], or null: rows that do not count keep their states anyway. */
  const int32_t* valid;
};

/** What the cells made of a step becomes what the states are after it. All [N, H]. */
struct ZoneoutStates {
  /** Null: zeros. */
  const float *hPrev, *cPrev;
  /** `y` null where nobody wants it. */
  float *h, *y;
  /** Under zoneout of c: in place, and as the cell made it. */
  float *c, *made;
};
Status zoneoutForward(const ZoneoutStep& z, const ZoneoutStates& states, cudaStream_t stream);

/** Gradients reaching h_t and c_t. All [N, H]. */
struct ZoneoutGradients {
  /** In dh what later steps send, with `dy` and `dAbove` (or null) all of it, which `total` (or null) gets;
   * out what is the cell's. dc likewise, in place. */
  float* dh;
  const float *dy, *dAbove;
  float* total;
  float* dc;
  /** What goes by the cell to h_{t−1} and c_{t−1}. */
  float *keptH, *keptC;
};
Status zoneoutBackward(const ZoneoutStep& z, const ZoneoutGradients& g, cudaStream_t stream);
/** After the cell has sent back its part: dh_{t−1} and dc_{t−1} get what went by it. */
Status zoneoutAddKept(const ZoneoutStep& z, const ZoneoutGradients& g, cudaStream_t stream);

}  // namespace deeprnn::cuda
