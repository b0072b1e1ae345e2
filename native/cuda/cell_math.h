// The cells' arithmetic for one unit of one row, in the letters of docs/plan.md. Both ways to run a stack use
// it.
#pragma once

#include "core/stack.h"
#include "cuda/activations.h"

namespace deeprnn::cuda {

using core::Cell;
using core::StackLayer;

/** What the reserve keeps of a gate: its value, or its sum where the derivative needs that. */
__device__ __forceinline__ float kept(Activation kind, float sum, float value) {
  return core::derivativeFromInput(kind) ? sum : value;
}

__device__ __forceinline__ float valueOfKept(Activation kind, float alpha, float stored) {
  return core::derivativeFromInput(kind) ? activate(kind, alpha, stored) : stored;
}

__device__ __forceinline__ float recurrentValue(const StackLayer& l, float stored) {
  return valueOfKept(l.recurrentActivation, l.recurrentAlpha, stored);
}
__device__ __forceinline__ float recurrentSlope(const StackLayer& l, float stored) {
  return slope(l.recurrentActivation, l.recurrentAlpha, stored);
}

/** h of a SimpleRNN; `gate`: the sum in, what is kept out. */
__device__ __forceinline__ float simpleCell(const StackLayer& l, float* gate) {
  const float h = activate(l.activation, l.alpha, *gate);
  *gate = kept(l.activation, *gate, h);
  return h;
}

/** h and c of an LSTM; gates i f g o: sums in, what is kept out. `cPrev` is 0 where there is none. */
__device__ __forceinline__ float lstmCell(const StackLayer& l, float gates[4], float cPrev, float* c) {
  float values[4];
  for (int g = 0; g < 4; ++g) {
    const Activation kind = g == 2 ? l.activation : l.recurrentActivation;
    values[g] = activate(kind, g == 2 ? l.alpha : l.recurrentAlpha, gates[g]);
    gates[g] = kept(kind, gates[g], values[g]);
  }
  *c = values[0] * values[2] + values[1] * cPrev;
  return values[3] * activate(l.activation, l.alpha, *c);
}

/** A gate r or z of a GRU: the sum in, what is kept out; its value. */
__device__ __forceinline__ float gruGate(const StackLayer& l, float* gate) {
  const float value = activate(l.recurrentActivation, l.recurrentAlpha, *gate);
  *gate = kept(l.recurrentActivation, *gate, value);
  return value;
}

/** h of a GRU from z and the candidate's sum, which becomes what is kept of it. */
__device__ __forceinline__ float gruOutput(const StackLayer& l, float z, float* candidate, float hPrev) {
  const float value = activate(l.activation, l.alpha, *candidate);
  *candidate = kept(l.activation, *candidate, value);
  return z * hPrev + (1.0f - z) * value;
}

/** From what was kept, c, and dh: the gates' gradients, and the gradient of c_{t−1} in place of that of c_t.
 */
__device__ __forceinline__ void lstmGradient(const StackLayer& l, const float gates[4], float c, float cPrev,
                                             float dh, float* dc, float d[4]) {
  const float i = recurrentValue(l, gates[0]), f = recurrentValue(l, gates[1]),
              o = recurrentValue(l, gates[3]);
  const float g = valueOfKept(l.activation, l.alpha, gates[2]);
  const float a = activate(l.activation, l.alpha, c);
  // h = o ⊙ a(c)
  const float total =
      *dc + dh * o * slope(l.activation, l.alpha, core::derivativeFromInput(l.activation) ? c : a);
  d[0] = total * g * recurrentSlope(l, gates[0]);
  d[1] = total * cPrev * recurrentSlope(l, gates[1]);
  d[2] = total * i * slope(l.activation, l.alpha, gates[2]);
  d[3] = dh * a * recurrentSlope(l, gates[3]);
  *dc = total * f;
}

/** Gradients of the sums of z and the candidate; what the carried state keeps of dh. */
__device__ __forceinline__ float gruGradient(const StackLayer& l, const float gates[3], float hPrev, float dh,
                                             float d[3]) {
  const float z = recurrentValue(l, gates[1]), candidate = valueOfKept(l.activation, l.alpha, gates[2]);
  d[1] = dh * (hPrev - candidate) * recurrentSlope(l, gates[1]);
  d[2] = dh * (1.0f - z) * slope(l.activation, l.alpha, gates[2]);
  return dh * z;
}

/** Reset after the product, u_n = x W_n + b_n + r ⊙ q: the gradient of r's sum, and of q. */
__device__ __forceinline__ float gruResetAfterGradient(const StackLayer& l, const float gates[3], float q,
                                                       float d[3]) {
  d[0] = d[2] * q * recurrentSlope(l, gates[0]);
  return d[2] * recurrentValue(l, gates[0]);
}

}  // namespace deeprnn::cuda
