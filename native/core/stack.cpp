#include "core/stack.h"

namespace deeprnn::core {
namespace {

/** Where the steps of a stack begin in the arrays of the whole sequence: in the order of processing, and in
 * that of the inputs. */
struct Window {
  size_t processed, lies;

  explicit Window(const std::vector<int32_t>& a)
      : processed(static_cast<size_t>(a[8])),
        lies(a[5] == 1 ? static_cast<size_t>(a[9] - a[8] - a[1]) : processed) {}
};

template <class T>
T* moved(T* array, size_t elements) {
  return array ? array + elements : nullptr;
}

}  // namespace

StackSpec stackSpecOf(const Op& op) {
  StackSpec spec;
  const std::vector<int32_t>& a = op.ints;
  spec.T = static_cast<size_t>(a[1]);
  spec.N = static_cast<size_t>(a[2]);
  spec.returnSequences = a[4] == 1;
  spec.goBackwards = a[5] == 1;
  spec.seedLo = static_cast<uint32_t>(a[6]);
  spec.seedHi = static_cast<uint32_t>(a[7]);
  const Window window(a);
  spec.whole = static_cast<size_t>(a[9]);
  size_t width = static_cast<size_t>(a[3]);
  for (size_t i = 0; i < static_cast<size_t>(a[0]); ++i) {
    const int32_t* l = a.data() + kStackInts + kLayerInts * i;
    const double* f = op.floats.data() + kLayerFloats * i;
    StackLayer layer;
    layer.cell = static_cast<Cell>(l[0]);
    layer.D = width;
    layer.H = static_cast<size_t>(l[1]);
    layer.G = static_cast<size_t>(gateCount(layer.cell, (l[9] & 2) != 0));
    layer.activation = static_cast<Activation>(l[2]);
    layer.recurrentActivation = static_cast<Activation>(l[3]);
    layer.resetAfter = l[4] == 1;
    layer.maskPerElement = l[6] == 0;
    layer.inputStream = static_cast<uint32_t>(l[7]);
    layer.recurrentStream = static_cast<uint32_t>(l[8]);
    layer.peepholes = (l[9] & 1) != 0;
    layer.coupledGates = (l[9] & 2) != 0;
    layer.stateMaskPerStep = l[10] == 0;
    layer.zoneoutExpected = l[11] == 1;
    layer.zoneoutStream = static_cast<uint32_t>(l[12]);
    layer.cellZoneoutStream = static_cast<uint32_t>(l[13]);
    layer.zoneout = f[5];
    layer.cellZoneout = f[6];
    layer.alpha = static_cast<float>(f[0]);
    layer.recurrentAlpha = static_cast<float>(f[1]);
    layer.inputRate = f[2];
    layer.recurrentRate = f[3];
    layer.cellClip = static_cast<float>(f[4]);
    if (layer.maskPerElement)
      layer.maskBase = uint64_t{i == 0 ? window.lies : window.processed} * spec.N * layer.D;
    layer.stateBase = uint64_t{window.processed} * spec.N * layer.H;
    width = layer.H;
    spec.layers.push_back(layer);
  }
  return spec;
}

StackIo stackIoOf(const Operands& o, const StackSpec& spec, bool backward) {
  const Window window(o.op().ints);
  const size_t N = spec.N, lies = window.lies * N * spec.layers[0].D;
  // Sequences are the whole ones.
  const auto sequence = [&](auto* array, size_t l) {
    const bool whole = l + 1 < spec.layers.size() || spec.returnSequences;
    return whole ? moved(array, window.processed * N * spec.layers[l].H) : array;
  };
  StackIo io;
  io.x = o.in(1) + lies;
  if (const auto* all = o.in<int32_t>(2)) {
    const int32_t* valid = all + window.lies * N;
    const auto last = static_cast<ptrdiff_t>(spec.T) - 1, row = static_cast<ptrdiff_t>(N);
    io.valid = spec.goBackwards ? ValidSteps{valid + last * row, -row} : ValidSteps{valid, row};
  }
  if (!backward) {
    io.reserve = o.out(0);
    for (size_t l = 0; l < spec.layers.size(); ++l) {
      const size_t i = 3 + 6 * l, out = 1 + 3 * l;
      StackLayerIo layer{};
      layer.kernel = o.in(i);
      layer.recurrentKernel = o.in(i + 1);
      layer.bias = o.in(i + 2);
      layer.h0 = o.in(i + 3);
      layer.c0 = o.in(i + 4);
      layer.peephole = o.in(i + 5);
      layer.y = sequence(o.out(out), l);
      layer.hT = o.out(out + 1);
      layer.cT = o.out(out + 2);
      io.layers.push_back(layer);
    }
    return io;
  }
  io.reserve = o.inOut(3);
  io.dx = moved(o.out(0), lies);
  io.stepNorms = moved(o.out<double>(1), window.processed);
  for (size_t l = 0; l < spec.layers.size(); ++l) {
    const size_t i = 4 + 9 * l, out = 2 + 6 * l;
    StackLayerIo layer{};
    layer.kernel = o.in(i);
    layer.recurrentKernel = o.in(i + 1);
    layer.bias = o.in(i + 2);
    layer.h0 = o.in(i + 3);
    layer.c0 = o.in(i + 4);
    layer.peephole = o.in(i + 5);
    layer.dy = sequence(o.in(i + 6), l);
    layer.dhT = o.in(i + 7);
    layer.dcT = o.in(i + 8);
    layer.dKernel = o.out(out);
    layer.dRecurrentKernel = o.out(out + 1);
    layer.dBias = o.out(out + 2);
    layer.dh0 = o.out(out + 3);
    layer.dc0 = o.out(out + 4);
    layer.dPeephole = o.out(out + 5);
    io.layers.push_back(layer);
  }
  return io;
}

}  // namespace deeprnn::core
