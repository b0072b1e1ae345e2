// dense and its gradient.
#include "cpu/executable.h"

namespace deeprnn::cpu {

using core::OpKind;
using core::Status;

namespace {

Step dense(const Operands& o, const Session& session) {
  const KernelTable& k = session.kernels();
  const size_t rows = o.inValue(0).rows(), D = static_cast<size_t>(o.inValue(0).last()),
               U = static_cast<size_t>(o.outValue(0).last());
  // Of element (d, u) of the kernel, which lies as [D, U], or as [U, D] where it is transposed.
  const bool transposed = o.op().ints[0] == 1;
  const size_t byRow = transposed ? 1 : U, byColumn = transposed ? D : 1;
  auto kept = std::make_shared<KeptWeights>(o, std::vector<size_t>{1}, session, packedSize(k, D, U));
  if (!kept->allocated()) return {};
  return {[=](const RunContext& c) {
            Gemm g;
            g.m = rows;
            g.n = U;
            g.a1 = o.in(0);
            g.a1Row = D;
            g.k1 = D;
            g.b1 = kept->get([&](float* to) { packAll(c.pool, c.k, to, o.in(1), byRow, byColumn, D, U); });
            g.c = o.out(0);
            g.cRow = U;
            g.bias = o.in(2);
            gemmAll(c.pool, c.k, g);
            return Status();
          },
          0, packedSize(k, D, U)};
}

Step denseGrad(const Operands& o, const KernelTable& k) {
  const size_t rows = o.inValue(0).rows(), D = static_cast<size_t>(o.inValue(0).last()),
               U = static_cast<size_t>(o.inValue(2).last());
  const bool transposed = o.op().ints[0] == 1;
  return {[=](const RunContext& c) {
            const float* dy = o.in(2);
            if (float* dx = o.out(0)) {
              packAll(c.pool, c.k, c.scratch, o.in(1), transposed ? D : 1, transposed ? 1 : U, U, D);
              Gemm g;
              g.m = rows;
              g.n = D;
              g.a1 = dy;
              g.a1Row = U;
              g.k1 = U;
              g.b1 = c.scratch;
              g.c = dx;
              g.cRow = D;
              gemmAll(c.pool, c.k, g);
            }
            if (float* dKernel = o.out(1)) {
              if (transposed) {
                const TransposedFactor factor = {dy, U, U, D, dKernel, D, false};
                gemmTransposed(c.pool, c.k, &factor, 1, o.in(0), D, D, rows, c.scratch);
              } else {
                const TransposedFactor factor = {o.in(0), D, D, U, dKernel, U, false};
                gemmTransposed(c.pool, c.k, &factor, 1, dy, U, U, rows, c.scratch);
              }
            }
            if (float* dBias = o.out(2)) {
              std::memset(dBias, 0, U * sizeof(float));
              c.k.addColumnSums(dy, dBias, rows, U, 0, U);
            }
            return Status();
          },
          std::max(packedSize(k, U, D), transposedScratch(k, rows, transposed ? D : U))};
}

}  // namespace

Step denseStep(const Operands& o, const Session& session) {
  return o.op().kind == OpKind::dense ? dense(o, session) : denseGrad(o, session.kernels());
}

}  // namespace deeprnn::cpu
