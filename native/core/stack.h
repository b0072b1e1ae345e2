// A stack of recurrent layers as its ops describe it, for every engine.
#pragma once

#include <vector>

#include "core/operands.h"
#include "core/philox.h"

namespace deeprnn::core {

/** One layer of a stack: H units over G gates, reading D values a step. */
struct StackLayer {
  Cell cell = Cell::simpleRnn;
  size_t D = 0, H = 0, G = 0;
  Activation activation = Activation::tanh;
  Activation recurrentActivation = Activation::sigmoid;
  float alpha = 0, recurrentAlpha = 0;
  bool resetAfter = false;
  bool maskPerElement = false;
  /** One recurrent mask per step, rather than one for all. */
  bool stateMaskPerStep = false;
  /** LSTM: gates see the cell state. */
  bool peepholes = false;
  /** LSTM: i = 1 − f, of three gates f g o. */
  bool coupledGates = false;
  uint32_t inputStream = 0, recurrentStream = 0;
  /** LSTM: bound of |c|, or 0 for none. */
  float cellClip = 0;
  double inputRate = 0, recurrentRate = 0;
  /** The number of the first element of a per-element mask of the inputs. */
  uint64_t maskBase = 0;
  /** The number of the first draw of what is drawn for each step, row and unit: masks of the state, zoneout.
   */
  uint64_t stateBase = 0;
  /** Rates at which units keep their h, and of an LSTM their c, of the step before. */
  double zoneout = 0, cellZoneout = 0;
  uint32_t zoneoutStream = 0, cellZoneoutStream = 0;
  /** No draws, but what they give on average. */
  bool zoneoutExpected = false;

  bool zones() const { return zoneout > 0 || cellZoneout > 0; }

  /** An LSTM with more than the usual equations: engines run it by code of its own, so that others do not
   * pay. */
  bool variant() const { return cellClip > 0 || peepholes || coupledGates; }
};

struct StackSpec {
  /** T steps of the sequence. */
  size_t T = 0, N = 0;
  /** Steps of the whole sequence, of which these are a part; 0: these are all. */
  size_t whole = 0;
  bool returnSequences = true;
  bool goBackwards = false;
  uint32_t seedLo = 0, seedHi = 0;
  std::vector<StackLayer> layers;

  /** From one layer's step norms to the next one's. */
  size_t normRow() const { return whole > 0 ? whole : T; }
};

/** Attributes of a stack before those of its layers, and of each layer. */
constexpr size_t kStackInts = 10, kLayerInts = 14, kLayerFloats = 7;

/** A layer's arrays in a run; null where absent. Weights and states as in docs/plan.md. */
struct StackLayerIo {
  const float *kernel, *recurrentKernel, *bias, *h0, *c0, *peephole;
  // Forward.
  float *y, *hT, *cT;
  // Backward.
  const float *dy, *dhT, *dcT;
  float *dKernel, *dRecurrentKernel, *dBias, *dh0, *dc0, *dPeephole;
};

/** Which rows count in a step, in the order of processing; without `first` all do. */
struct ValidSteps {
  const int32_t* first = nullptr;
  ptrdiff_t step = 0;

  DEEPRNN_HOST_DEVICE explicit operator bool() const { return first != nullptr; }
  /** Of step s: [N], 0 where a row does not count, or null. */
  DEEPRNN_HOST_DEVICE const int32_t* at(size_t s) const {
    return first ? first + static_cast<ptrdiff_t>(s) * step : nullptr;
  }
};

struct StackIo {
  double step = 0;
  const float* x = nullptr;
  ValidSteps valid;
  /** Forward: written where a backward pass follows; null: `scratch` is used instead. Backward: read. */
  float* reserve = nullptr;
  float* dx = nullptr;
  double* stepNorms = nullptr;
  std::vector<StackLayerIo> layers;
};

/** One layer's part of the reserve. */
struct ReserveView {
  /** `made`: under zoneout of c, c as the cell made it; else null. */
  float *gates, *extra, *h, *made;

  ReserveView(float* base, const StackLayer& layer, size_t rows) {
    gates = base;
    extra = gates + rows * layer.G * layer.H;
    h = layer.cell == Cell::simpleRnn ? extra : extra + rows * layer.H;
    made = layer.cellZoneout > 0 ? h + rows * layer.H : nullptr;
  }
  static size_t size(const StackLayer& layer, size_t rows) {
    return rows * layer.H *
           static_cast<size_t>(reservePerUnit(layer.cell, layer.coupledGates, layer.cellZoneout > 0));
  }
};

/** A layer's masks. Row n of a shared mask starts at element n·width, of a per-element mask at (t·N +
 * n)·width; of states, t counts in the order of processing. */
struct LayerMasks {
  Mask input, recurrent;

  LayerMasks(const StackSpec& spec, const StackLayer& layer, double step)
      : input(Mask::of(spec.seedLo, spec.seedHi, layer.inputStream, step, layer.inputRate)),
        recurrent(Mask::of(spec.seedLo, spec.seedHi, layer.recurrentStream, step, layer.recurrentRate)) {
    input.base = layer.maskBase;
    if (layer.stateMaskPerStep) recurrent.base = layer.stateBase;
  }
};

/** How much of a state a step makes anew (Zoneout, Krueger et al., 2017): 1, or 0 where a unit keeps its
 * state, or what that is on average. Elements are numbered (t·N + n)·H + j, t in the order of processing. */
struct Renewal {
  Mask mask;
  bool expected = false;
  float average = 1;

  DEEPRNN_HOST_DEVICE static Renewal of(uint32_t seedLo, uint32_t seedHi, uint32_t stream, double step,
                                        double rate, bool expected, uint64_t base) {
    Renewal r;
    r.mask = Mask::of(seedLo, seedHi, stream, step, rate);
    r.mask.scale = 1.0f;
    r.mask.base = base;
    r.expected = expected;
    r.average = static_cast<float>(1.0 - rate);
    return r;
  }
  DEEPRNN_HOST_DEVICE float share(uint64_t element) const {
    return expected ? average : mask.factor(element);
  }
  /** Of elements first … first+count−1. */
  void shares(uint64_t first, size_t count, float* out) const {
    if (!expected) return mask.factors(first, count, out);
    for (size_t i = 0; i < count; ++i) out[i] = average;
  }
};

/** What the attributes of `rnnStack` or `rnnStackGrad` say. */
StackSpec stackSpecOf(const Op& op);

/** The operands of `rnnStack`, or of `rnnStackGrad` where `backward`. `step` is left to the run. */
StackIo stackIoOf(const Operands& o, const StackSpec& spec, bool backward);

}  // namespace deeprnn::core
