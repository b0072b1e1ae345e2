// Two plans that between them have every op.
#include <array>

#include "plan_writer.h"

namespace deeprnn::test {
namespace {

using core::OpKind;
using core::Role;
using DType = core::DType;

constexpr int kNone = core::kAbsent;

int32_t code(core::Activation a) {
  return static_cast<int32_t>(a);
}
int32_t code(core::Loss l) {
  return static_cast<int32_t>(l);
}
int32_t code(core::Metric m) {
  return static_cast<int32_t>(m);
}

/** A recurrence of rows: x [T, N, E], weights [E, H] and [H, H], rows [N, H] to begin with, and which steps
 * count. */
void recurrentProgram(PlanWriter& w, const std::vector<int>& inputs, const std::array<int32_t, 4>& sizes) {
  const auto [T, N, E, H] = sizes;
  using I = core::Instruction;
  const auto of = [](I kind) { return static_cast<int32_t>(kind); };
  // Values 0 … 4 are the operands, 5 the carry, 6 … 16 the registers.
  const std::vector<int32_t> widths = {H, H, H, 1, H, H, H, H, 2 * H, H, H};
  std::vector<int32_t> ints = {T, N, 0, 11, 12, 5, 1, 11, 11, 0, 1, E, 2,
                               E, H, 2, H,  H,  1, 1, H,  3,  1, 1, 7, 3};
  ints.insert(ints.end(), widths.begin(), widths.end());
  const auto instruction = [&](I kind, int32_t to, const std::vector<int32_t>& from,
                               const std::vector<int32_t>& more, int32_t floats) {
    ints.insert(ints.end(), {of(kind), to, static_cast<int32_t>(from.size())});
    ints.insert(ints.end(), from.begin(), from.end());
    ints.push_back(static_cast<int32_t>(more.size()));
    ints.insert(ints.end(), more.begin(), more.end());
    ints.push_back(floats);
  };
  instruction(I::matmul, 0, {0, 1}, {0, 1}, 0);
  instruction(I::matmul, 1, {5, 2}, {1, 1}, 0);
  instruction(I::add, 2, {6, 7}, {}, 0);
  instruction(I::valid, 3, {4}, {}, 0);
  instruction(I::activation, 4, {8}, {code(core::Activation::tanh), H}, 1);
  instruction(I::dropMask, 5, {}, {9, 0}, 2);
  instruction(I::multiply, 6, {10, 11}, {}, 0);
  instruction(I::select, 7, {9, 12, 5}, {}, 0);
  instruction(I::concat, 8, {12, 13}, {}, 0);
  std::vector<int32_t> columns = {2};
  for (int32_t j = 0; j < H / 2; ++j) columns.push_back(j == 0 ? -1 : 2 * j);
  instruction(I::gather, 9, {14}, columns, 0);
  instruction(I::scatterAdd, 10, {15}, {2, 1, -1, 0}, 0);
  std::vector<int> outputs(13, kNone);
  outputs[0] = w.real(Role::output, {N, H});
  outputs[12] = w.real(Role::output, {T, N, H});
  w.op(OpKind::program, inputs, outputs, ints, {0, 0.25, 1});
}

}  // namespace

PlanWriter trainingPlan() {
  PlanWriter w;
  const int32_t N = 3, T = 5, D = 4, H1 = 6, H2 = 5, C = 4;
  const int x = w.real(Role::input, {N, T, D});
  const int labels = w.value(DType::int32, Role::input, {N});
  const int step = w.value(DType::float64, Role::input, {1});
  const int hyper = w.value(DType::float64, Role::input, {8});
  const int k1 = w.variable({D, 4 * H1}), r1 = w.variable({H1, 4 * H1}), b1 = w.variable({4 * H1}),
            p1 = w.variable({3, H1});
  const int k2 = w.variable({H1, 3 * H2}), r2 = w.variable({H2, 3 * H2}), b2 = w.variable({2, 3 * H2});
  const int kernel = w.variable({H2, C}), bias = w.variable({C});

  const int xt = w.arena({T, N, D}), xd = w.arena({T, N, D});
  w.op(OpKind::batchToTime, {x}, {xt});
  w.op(OpKind::check, {x}, {}, {0, 0});
  w.op(OpKind::check, {labels}, {}, {1, C});
  w.op(OpKind::dropout, {xt, step}, {xd}, {1, 11, 12, 1}, {0.25});
  const int valid = w.value(DType::int32, Role::arena, {T, N});
  w.op(OpKind::lengthMask, {labels}, {valid});

  const std::vector<int32_t> stackInts = {2, T, N, D, 0, 0, 11, 12, 0, T, 1, H1, 1, 2, 0, 1, 0, 2, 3,
                                          1, 0, 0, 6, 7, 2, H2, 13, 2, 1, 1, 1,  4, 5, 0, 1, 1, 8, 0};
  const std::vector<double> stackFloats = {0, 0, 0.2, 0.3, 0.5, 0.1, 0.2, 0, 0, 0.1, 0, 0, 0.3, 0};
  const int reserve = w.arena({T * N * (H1 * 7 + H2 * 5)});
  const int y = w.arena({N, H2}), hT = w.real(Role::output, {N, H1}), cT = w.arena({N, H1});
  w.op(OpKind::rnnStack, {step, xd, valid, k1, r1, b1, kNone, kNone, p1, k2, r2, b2, kNone, kNone, kNone},
       {reserve, kNone, hT, cT, y, kNone, kNone}, stackInts, stackFloats);

  const int logits = w.arena({N, C}), p = w.real(Role::output, {N, C});
  w.op(OpKind::dense, {y, kernel, bias}, {logits}, {0});
  w.op(OpKind::activation, {logits}, {p}, {code(core::Activation::softmax)}, {0});
  const int loss = w.value(DType::float64, Role::arena, {1}),
            penalty = w.value(DType::float64, Role::arena, {1});
  const int dLogits = w.arena({N, C}), dPenalty = w.arena({H2, C});
  w.op(OpKind::loss, {logits, labels, kNone}, {loss}, {code(core::Loss::sparseCategoricalCrossentropy), 1},
       {0, 0, -1, 1});
  w.op(OpKind::penalty, {kernel}, {penalty}, {}, {0.01, 0.02, 1});
  w.op(OpKind::sumScalars, {loss, penalty}, {w.sums({1})});
  w.op(OpKind::metric, {p, labels, kNone}, {w.sums({2})}, {code(core::Metric::categoricalAccuracy), 1});
  w.op(OpKind::metric, {p, labels, kNone}, {w.sums({2})}, {code(core::Metric::topK), 1, 2});
  w.op(OpKind::metric, {p, labels, kNone}, {w.sums({2})}, {code(core::Metric::crossentropy), 1, 0});
  w.op(OpKind::metric, {p, labels, kNone}, {w.sums({1, C, 4})}, {code(core::Metric::confusion), 1, 1, 0});

  w.op(OpKind::lossGrad, {logits, labels, kNone}, {dLogits},
       {code(core::Loss::sparseCategoricalCrossentropy), 1}, {0, 0, -1, 0.5});
  const int dy = w.arena({N, H2}), dKernel = w.arena({H2, C}), dBias = w.arena({C}),
            dTotal = w.arena({H2, C});
  w.op(OpKind::denseGrad, {y, kernel, dLogits}, {dy, dKernel, dBias}, {0});
  w.op(OpKind::penaltyGrad, {kernel}, {dPenalty}, {}, {0.01, 0.02, 1});
  w.op(OpKind::add, {dKernel, dPenalty}, {dTotal});

  const int dk1 = w.arena({D, 4 * H1}), dr1 = w.arena({H1, 4 * H1}), db1 = w.arena({4 * H1}),
            dp1 = w.arena({3, H1});
  const int dk2 = w.arena({H1, 3 * H2}), dr2 = w.arena({H2, 3 * H2}), db2 = w.arena({2, 3 * H2});
  w.op(OpKind::rnnStackGrad, {step,  xd,    valid, reserve, k1, r1,    b1,    kNone, kNone, p1,    kNone,
                              kNone, kNone, k2,    r2,      b2, kNone, kNone, kNone, dy,    kNone, kNone},
       {w.real(Role::output, {T, N, D}), w.sums({2, T}), dk1, dr1, db1, kNone, kNone, dp1, dk2, dr2, db2,
        kNone, kNone, kNone},
       stackInts, stackFloats);

  std::vector<int> updated = {hyper};
  const int pairs[][2] = {{k1, dk1}, {r1, dr1}, {b1, db1},        {p1, dp1},    {k2, dk2},
                          {r2, dr2}, {b2, db2}, {kernel, dTotal}, {bias, dBias}};
  const std::vector<int32_t> shapes[] = {{D, 4 * H1},  {H1, 4 * H1}, {4 * H1}, {3, H1}, {H1, 3 * H2},
                                         {H2, 3 * H2}, {2, 3 * H2},  {H2, C},  {C}};
  for (size_t i = 0; i < 9; ++i) {
    updated.insert(updated.end(), {pairs[i][0], pairs[i][1], w.variable(shapes[i]), w.variable(shapes[i]),
                                   kNone, w.variable(shapes[i]), w.variable(shapes[i])});
  }
  // With penalties on some.
  w.op(OpKind::update, updated, {w.sums({10})}, {2, 9, 3, 0},
       {1,   0.9, 0.999, 1e-7, 0, 0, 0, 0.1,  0, 0.01, 1, 0, 0.2, 0.01, 1,   0,    0, 0, 1, 0, 0, 0.01,
        0.5, 0,   0,     0.01, 1, 0, 0, 0.01, 1, 0,    0, 0, 1,   0.1,  0.2, 0.02, 1, 0, 0, 0, 0});
  w.op(OpKind::constraint, {kernel}, {kernel}, {1, 0}, {2});
  return w;
}

PlanWriter otherOpsPlan() {
  PlanWriter w;
  const int32_t T = 4, N = 3, V = 7, E = 5, H = 6;
  const int ids = w.value(DType::int32, Role::input, {T, N});
  const int step = w.value(DType::float64, Role::input, {1});
  const int hyper = w.value(DType::float64, Role::input, {8});
  const int target = w.real(Role::input, {N, H}), weight = w.real(Role::input, {N});
  const int table = w.variable({V, E}), k = w.variable({E, H}), r = w.variable({H, H}), h0 = w.variable({H});
  const int carried = w.variable({N, H});

  const int x = w.arena({T, N, E}), first = w.arena({N, H});
  w.op(OpKind::check, {ids}, {}, {1, V});
  w.op(OpKind::embedding, {ids, table}, {x});
  w.op(OpKind::broadcastRows, {h0}, {first});
  // All steps but one.
  const std::vector<int32_t> ints = {1,  T - 1, N, E, 1, 1, 1, 2, 1, T, 0, H,
                                     14, 2,     0, 0, 0, 1, 2, 0, 1, 0, 0, 0};
  const std::vector<double> floats = {0, 0, 0, 0.2, 0, 0, 0};
  const int reserve = w.arena({(T - 1) * N * H * 2}), y = w.arena({T, N, H}), hT = w.arena({N, H});
  w.op(OpKind::rnnStack, {step, x, kNone, k, r, kNone, first, kNone, kNone}, {reserve, y, hT, kNone}, ints,
       floats);
  w.op(OpKind::assign, {hT}, {carried});
  const int valid = w.value(DType::int32, Role::arena, {T, N}), reversed = w.arena({T, N, E}),
            weights = w.arena({T, N});
  w.op(OpKind::stepMask, {ids}, {valid}, {}, {0});
  w.op(OpKind::reverseTime, {x}, {reversed});
  w.op(OpKind::maskRows, {reversed, valid}, {w.real(Role::output, {T, N, E})});
  const int joined = w.arena({T, N, 2 * E}), part = w.arena({T, N, E}), product = w.arena({T, N, E});
  w.op(OpKind::concat, {x, reversed}, {joined});
  w.op(OpKind::slice, {joined}, {part}, {E});
  w.op(OpKind::multiply, {part, x}, {product});
  w.op(OpKind::scale, {product}, {w.real(Role::output, {T, N, E})}, {}, {0.5});
  const int flat = w.arena({T * N, E}), turned = w.arena({E, T * N}), gamma = w.variable({E});
  w.op(OpKind::reshape, {x}, {flat});
  w.op(OpKind::transpose, {flat}, {turned}, {1, 0});
  w.op(OpKind::layerNorm, {flat, gamma, kNone}, {w.real(Role::output, {T * N, E})}, {}, {1e-3});
  w.op(OpKind::layerNormGrad, {flat, gamma, flat},
       {w.real(Role::output, {T * N, E}), w.real(Role::output, {E}), w.real(Role::output, {E})}, {}, {1e-3});
  w.op(OpKind::noise, {turned, step}, {w.real(Role::output, {E, T * N})}, {1, 2, 9}, {0.5, 0.25});
  const int unfolded = w.arena({T, N, 3 * E}), pooled = w.arena({2, N, E});
  w.op(OpKind::unfold, {x}, {unfolded}, {3, 1, 1, 2});
  w.op(OpKind::fold, {unfolded}, {w.real(Role::output, {T, N, E})}, {3, 1, 1, 2});
  w.op(OpKind::pool, {x, valid}, {pooled}, {0, 3, 2, 1});
  w.op(OpKind::poolGrad, {x, valid, pooled}, {w.real(Role::output, {T, N, E})}, {1, 3, 2, 1});
  recurrentProgram(w, {step, x, k, r, first, valid}, {T, N, E, H});
  const int normed = w.arena({T, N, E}), variance = w.variable({E});
  w.op(OpKind::batchNorm, {x, valid, gamma, kNone, gamma, variance},
       {normed, w.real(Role::output, {E}), w.real(Role::output, {E})}, {1}, {1e-3, 0.9});
  w.op(OpKind::batchNormGrad, {x, valid, gamma, gamma, variance, normed},
       {w.real(Role::output, {T, N, E}), w.real(Role::output, {E}), w.real(Role::output, {E})}, {1},
       {1e-3, 0.9});
  const int larger = w.arena({T, N, E}), smaller = w.arena({T, N, E});
  w.op(OpKind::extremum, {x, reversed}, {larger}, {0});
  w.op(OpKind::extremumGrad, {x, larger, reversed}, {smaller, w.real(Role::output, {T, N, E})}, {1});
  w.op(OpKind::eitherMask, {valid, valid}, {w.value(DType::int32, Role::output, {T, N})});
  const int products = w.arena({T, N, N}), unit = w.arena({T, N, N});
  w.op(OpKind::matmul, {x, smaller}, {products}, {0, 1});
  w.op(OpKind::normalizeRows, {products}, {unit}, {}, {1e-7});
  w.op(OpKind::normalizeRowsGrad, {products, unit}, {w.real(Role::output, {T, N, N})}, {}, {1e-7});
  w.op(OpKind::maskWeights, {valid, kNone}, {weights}, {1});
  w.op(OpKind::maskWeights, {valid, weights}, {w.real(Role::output, {T, N})}, {0});
  w.op(OpKind::timeToBatch, {y}, {w.real(Role::output, {N, T, H})});

  const int masked = w.arena({N, H}), act = w.arena({N, H}), p = w.arena({N, H});
  w.op(OpKind::dropout, {hT, step}, {masked}, {0, 1, 2, 9}, {0.5});
  w.op(OpKind::activation, {masked}, {act}, {code(core::Activation::gelu)}, {0});
  w.op(OpKind::activation, {act}, {p}, {code(core::Activation::logSoftmax)}, {0});
  const int32_t losses[] = {0, 2, 3, 4, 5, 6, 7};
  for (int32_t kind : losses)
    w.op(OpKind::loss, {p, target, weight}, {w.sums({1})}, {kind, 0}, {0.5, 0, -1, 1});
  const auto metric = [&](core::Metric kind, const std::vector<int32_t>& shape, std::vector<int32_t> more,
                          const std::vector<double>& numbers) {
    more.insert(more.begin(), {code(kind), 0});
    w.op(OpKind::metric, {act, target, weight}, {w.sums(shape)}, more, numbers);
  };
  metric(core::Metric::binaryAccuracy, {2}, {}, {0.5});
  metric(core::Metric::squaredError, {2}, {}, {});
  metric(core::Metric::absoluteError, {2}, {}, {});
  metric(core::Metric::r2, {H, 4}, {}, {});
  metric(core::Metric::confusion, {2, H, 4}, {0, 2}, {0.25, 0.5});
  metric(core::Metric::histogram, {2, 9}, {9}, {});

  const int dp = w.arena({N, H}), dAct = w.arena({N, H}), dMasked = w.arena({N, H}), dhT = w.arena({N, H});
  w.op(OpKind::lossGrad, {p, target, weight}, {dp}, {code(core::Loss::huber), 0}, {0.5, 0, -1, 1});
  w.op(OpKind::activationGrad, {kNone, p, dp}, {dAct}, {code(core::Activation::logSoftmax)}, {0});
  w.op(OpKind::activationGrad, {masked, kNone, dAct}, {dMasked}, {code(core::Activation::gelu)}, {0});
  w.op(OpKind::dropout, {dMasked, step}, {dhT}, {0, 1, 2, 9}, {0.5});
  const int dx = w.arena({T, N, E}), dk = w.arena({E, H}), dr = w.arena({H, H}), dFirst = w.arena({N, H});
  w.op(OpKind::rnnStackGrad, {step, x, kNone, reserve, k, r, kNone, first, kNone, kNone, kNone, dhT, kNone},
       {dx, kNone, dk, dr, kNone, dFirst, kNone, kNone}, ints, floats);
  const int dTable = w.arena({V, E}), dh0 = w.arena({H});
  w.op(OpKind::embeddingGrad, {ids, dx}, {dTable}, {V});
  w.op(OpKind::sumRows, {dFirst}, {dh0});
  w.op(OpKind::update, {hyper, table, dTable, kNone, kNone, kNone, kNone, kNone, k,     dk,
                        kNone, kNone, kNone,  kNone, kNone, r,     dr,    kNone, kNone, kNone,
                        kNone, kNone, h0,     dh0,   kNone, kNone, kNone, kNone, kNone},
       {kNone}, {0, 4, 1, 0}, {0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0.1, 0.2, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1});
  w.op(OpKind::constraint, {h0}, {h0}, {0, 0}, {0});
  w.op(OpKind::constraint, {table}, {table}, {2, 1}, {0});
  return w;
}

}  // namespace deeprnn::test
