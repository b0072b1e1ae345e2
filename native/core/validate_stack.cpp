// Proves the recurrent stack and its gradient.
#include <limits>

#include "core/proof.h"
#include "core/stack.h"

namespace deeprnn::core {
namespace {

/** None, or a bound that float32 has too. */
bool cellClip(double c) {
  return c == 0 || (c >= std::numeric_limits<float>::min() && c <= std::numeric_limits<float>::max());
}

/** Attributes of a stack, and the operands both of its ops share. */
bool stack(Proof& p, size_t inputsFirst, size_t inputsPerLayer, size_t outputsFirst, size_t outputsPerLayer) {
  const Op& op = p.op();
  if (!p.demand(op.ints.size() >= kStackInts, "stack attributes")) return false;
  const int64_t layers = op.ints[0], steps = op.ints[1], batch = op.ints[2];
  if (!p.demand(layers >= 1 && layers <= 4096 && steps >= 1 && batch >= 1 && op.ints[3] >= 1,
                "positive sizes"))
    return false;
  const auto count = static_cast<size_t>(layers);
  if (!p.arity(inputsFirst + inputsPerLayer * count, outputsFirst + outputsPerLayer * count,
               kStackInts + kLayerInts * count, kLayerFloats * count))
    return false;
  // These steps lie in a sequence of `whole` steps, whose arrays the operands are.
  const int64_t first = op.ints[8], whole = op.ints[9];
  if (!p.demand(first >= 0 && whole >= 1 && first + steps <= whole, "steps of the whole sequence"))
    return false;
  if (!p.demand(flag(op.ints[4]) && flag(op.ints[5]), "switches")) return false;
  if (!p.must(p.in(0), DType::float64, {1}, "float64 step [1]")) return false;
  if (!p.must(p.in(1), DType::real, {whole, batch, op.ints[3]}, "x [T, N, D]")) return false;
  if (!p.fits(p.in(2), DType::int32, {whole, batch}, "valid int32 [T, N]")) return false;
  int64_t width = op.ints[3];
  for (size_t l = 0; l < count; ++l) {
    const int32_t* a = op.ints.data() + kStackInts + kLayerInts * static_cast<size_t>(l);
    const double* f = op.floats.data() + kLayerFloats * l;
    if (!p.demand(a[0] >= 0 && a[0] <= 2 && a[1] >= 1 && flag(a[4]) && flag(a[5]) && flag(a[6]) &&
                      a[9] >= 0 && a[9] <= 3 && flag(a[10]) && flag(a[11]),
                  "a layer's attributes"))
      return false;
    for (int i : {2, 3}) {
      const bool elementwise =
          a[i] >= 0 && a[i] <= kLastActivation && !readsRows(static_cast<Activation>(a[i]));
      if (!p.demand(elementwise, "elementwise activations")) return false;
    }
    // Keeps the products of sizes below, and those of the kernels, far from overflow.
    if (!p.demand(a[1] <= kMaxElements / (whole * batch), "a layer of fewer units")) return false;
    if (!p.demand(rate(f[2]) && rate(f[3]) && rate(f[5]) && rate(f[6]), "dropout rates")) return false;
    const Cell cell = static_cast<Cell>(a[0]);
    if (!p.demand(cellClip(f[4]) && (cell == Cell::lstm || f[4] == 0), "a clip of an LSTM's cell"))
      return false;
    const bool peepholes = (a[9] & 1) != 0, coupled = (a[9] & 2) != 0;
    if (!p.demand(cell == Cell::lstm || (a[9] == 0 && f[6] == 0), "no variants but of an LSTM")) return false;
    const int64_t units = a[1], gates = gateCount(cell, coupled) * units;
    const size_t i = inputsFirst + inputsPerLayer * l;
    const Shape bias = cell == Cell::gru && a[4] ? Shape{2, gates} : Shape{gates};
    if (!p.must(p.in(i), DType::real, {width, gates}, "a layer's kernel")) return false;
    if (!p.must(p.in(i + 1), DType::real, {units, gates}, "a layer's recurrentKernel")) return false;
    if (!p.demand((p.in(i + 2) != nullptr) == (a[5] == 1), "a bias where it is used")) return false;
    if (!p.fits(p.in(i + 2), DType::real, bias, "a layer's bias")) return false;
    if (!p.fits(p.in(i + 3), DType::real, {batch, units}, "h0 [N, H]")) return false;
    if (!p.fits(p.in(i + 4), DType::real, {batch, units}, "c0 [N, H]")) return false;
    if (!p.demand(cell == Cell::lstm || !p.in(i + 4), "no c0 but for an LSTM")) return false;
    if (!p.demand((p.in(i + 5) != nullptr) == peepholes, "peephole weights where they are used"))
      return false;
    if (!p.fits(p.in(i + 5), DType::real, {gates / units - 1, units}, "a layer's peephole weights"))
      return false;
    width = units;
  }
  return true;
}

int64_t reserveSize(const Op& op) {
  int64_t total = 0;
  for (int32_t l = 0; l < op.ints[0]; ++l) {
    const int32_t* a = op.ints.data() + kStackInts + kLayerInts * static_cast<size_t>(l);
    total += int64_t{op.ints[1]} * op.ints[2] * a[1] *
             reservePerUnit(static_cast<Cell>(a[0]), (a[9] & 2) != 0,
                            op.floats[kLayerFloats * static_cast<size_t>(l) + 6] > 0);
  }
  return total;
}

Shape layerOutput(const Op& op, size_t l) {
  const int64_t whole = op.ints[9], batch = op.ints[2], units = op.ints[kStackInts + kLayerInts * l + 1];
  const bool last = l + 1 == static_cast<size_t>(op.ints[0]);
  return last && op.ints[4] == 0 ? Shape{batch, units} : Shape{whole, batch, units};
}

}  // namespace

void proveStack(Proof& p) {
  if (!stack(p, 3, 6, 1, 3)) return;
  const Op& op = p.op();
  if (!p.fits(p.out(0), DType::real, {reserveSize(op)}, "the reserve")) return;
  for (size_t l = 0; l < static_cast<size_t>(op.ints[0]); ++l) {
    const Shape state = {op.ints[2], op.ints[kStackInts + kLayerInts * l + 1]};
    p.fits(p.out(1 + 3 * l), DType::real, layerOutput(op, l), "y of a layer");
    p.fits(p.out(2 + 3 * l), DType::real, state, "hT [N, H]");
    p.fits(p.out(3 + 3 * l), DType::real, state, "cT [N, H]");
    p.demand(static_cast<Cell>(op.ints[kStackInts + kLayerInts * l]) == Cell::lstm || !p.out(3 + 3 * l),
             "no cT but for an LSTM");
  }
}

void proveStackGrad(Proof& p) {
  if (!stack(p, 4, 9, 2, 6)) return;
  const Op& op = p.op();
  if (!p.must(p.in(3), DType::real, {reserveSize(op)}, "the reserve")) return;
  p.fits(p.out(0), DType::real, p.in(1)->shape, "dx like x");
  p.fits(p.out(1), DType::float64, {op.ints[0], op.ints[9]}, "stepNorms [L, T]");
  for (size_t l = 0; l < static_cast<size_t>(op.ints[0]); ++l) {
    const size_t i = 4 + 9 * l, o = 2 + 6 * l;
    const Shape state = {op.ints[2], op.ints[kStackInts + kLayerInts * l + 1]};
    const bool lstm = static_cast<Cell>(op.ints[kStackInts + kLayerInts * l]) == Cell::lstm;
    p.fits(p.in(i + 6), DType::real, layerOutput(op, l), "dy of a layer");
    p.fits(p.in(i + 7), DType::real, state, "dhT [N, H]");
    p.fits(p.in(i + 8), DType::real, state, "dcT [N, H]");
    p.demand(lstm || (!p.in(i + 8) && !p.out(o + 4)), "no cell state but for an LSTM");
    p.fits(p.out(o), DType::real, p.in(i)->shape, "dKernel like the kernel");
    p.fits(p.out(o + 1), DType::real, p.in(i + 1)->shape, "dRecurrentKernel like the recurrentKernel");
    if (p.out(o + 2))
      p.demand(p.in(i + 2) && p.out(o + 2)->dtype == DType::real && p.out(o + 2)->shape == p.in(i + 2)->shape,
               "dBias like the bias");
    if (p.out(o + 5))
      p.demand(p.in(i + 5) && p.out(o + 5)->dtype == DType::real && p.out(o + 5)->shape == p.in(i + 5)->shape,
               "dPeephole like the peephole weights");
    p.fits(p.out(o + 3), DType::real, state, "dh0 [N, H]");
    p.fits(p.out(o + 4), DType::real, state, "dc0 [N, H]");
  }
}

}  // namespace deeprnn::core
