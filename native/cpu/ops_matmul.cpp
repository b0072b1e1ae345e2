// Products of matrices, one for every i of the first axis.
#include <algorithm>

#include "cpu/executable.h"

namespace deeprnn::cpu {

using core::Status;

Step matmulStep(const Operands& o, const Session& session) {
  const KernelTable& k = session.kernels();
  const bool turnA = o.op().ints[0] == 1, turnB = o.op().ints[1] == 1;
  const std::vector<int64_t>&a = o.inValue(0).shape, &y = o.outValue(0).shape;
  const auto count = static_cast<size_t>(y[0]), M = static_cast<size_t>(y[1]), N = static_cast<size_t>(y[2]),
             K = static_cast<size_t>(a[turnA ? 1 : 2]);
  const size_t each = packedSize(k, K, N), tasks = std::min(count, static_cast<size_t>(session.threads()));
  return {[=](const RunContext& c) {
            const auto product = [&](size_t i, const float* packed) {
              Gemm g;
              g.m = M;
              g.n = N;
              g.a1 = o.in(0) + i * M * K;
              g.a1Row = turnA ? 1 : K;
              g.a1Step = turnA ? M : 1;
              g.k1 = K;
              g.b1 = packed;
              g.c = o.out(0) + i * M * N;
              g.cRow = N;
              return g;
            };
            const size_t row = turnB ? 1 : N, column = turnB ? K : 1;
            if (count < static_cast<size_t>(c.pool.threads())) {
              for (size_t i = 0; i < count; ++i) {
                packAll(c.pool, c.k, c.scratch, o.in(1) + i * K * N, row, column, K, N);
                gemmAll(c.pool, c.k, product(i, c.scratch));
              }
              return Status();
            }
            // Whole products for each thread, in a part of the scratch that is its own.
            c.pool.parallelFor(tasks, [&](size_t task) {
              float* packed = c.scratch + task * each;
              for (size_t i = count * task / tasks; i < count * (task + 1) / tasks; ++i) {
                c.k.pack(packed, o.in(1) + i * K * N, row, column, K, N, 0, panels(c.k, N));
                c.k.gemm(product(i, packed), 0, panels(c.k, N));
              }
            });
            return Status();
          },
          each * std::max<size_t>(tasks, 1)};
}

}  // namespace deeprnn::cpu
