// dense and its gradient: cuBLAS products, the bias beside.
#include "cuda/executable.h"
#include "cuda/reductions.h"

namespace deeprnn::cuda {
namespace {

__global__ void addBias(const float* bias, float* y, size_t n, size_t width) {
  forEach(n, [=](size_t i) { y[i] += bias[i % width]; });
}

Step dense(const Operands& o) {
  Product p;
  p.m = o.inValue(0).rows();
  p.k = p.aRow = static_cast<size_t>(o.inValue(0).last());
  p.n = p.cRow = static_cast<size_t>(o.outValue(0).last());
  p.bTransposed = o.op().ints[0] == 1;
  p.bRow = p.bTransposed ? p.k : p.n;
  p.a = o.in(0);
  p.b = o.in(1);
  p.c = o.out(0);
  const float* bias = o.in(2);
  return {[=](const RunContext& c, const OpMemory&) {
    if (Status s = c.blas.multiply(p, c.precision, c.stream); !s.ok() || !bias) return s;
    return launch(elementwise("addBias", p.m * p.n, c.stream), addBias, bias, p.c, p.m * p.n, p.n);
  }};
}

Step denseGrad(const Operands& o) {
  const size_t rows = o.inValue(0).rows(), D = static_cast<size_t>(o.inValue(0).last()),
               U = static_cast<size_t>(o.inValue(2).last());
  const bool transposed = o.op().ints[0] == 1;
  return {[=](const RunContext& c, const OpMemory&) {
            const float* dy = o.in(2);
            if (float* dx = o.out(0)) {
              Product p;
              p.m = rows;
              p.n = D;
              p.k = U;
              p.a = dy;
              p.aRow = U;
              p.b = o.in(1);
              p.bRow = transposed ? D : U;
              p.bTransposed = !transposed;
              p.c = dx;
              p.cRow = D;
              if (Status s = c.blas.multiply(p, c.precision, c.stream); !s.ok()) return s;
            }
            if (float* dKernel = o.out(1)) {
              Product p;
              // xᵀ·dy [D, U], or dyᵀ·x [U, D].
              p.m = p.aRow = transposed ? U : D;
              p.n = p.bRow = p.cRow = transposed ? D : U;
              p.k = rows;
              p.a = transposed ? dy : o.in(0);
              p.aTransposed = true;
              p.b = transposed ? o.in(0) : dy;
              p.c = dKernel;
              if (Status s = c.blas.multiply(p, c.precision, c.stream); !s.ok()) return s;
            }
            float* dBias = o.out(2);
            auto* scratch = reinterpret_cast<float*>(c.scratch);
            return dBias ? columnSums(dy, U, dBias, rows, U, false, scratch, c.stream) : Status();
          },
          columnSumsScratch(rows, U) * sizeof(float)};
}

}  // namespace

Step denseStep(const Operands& o) {
  return o.op().kind == core::OpKind::dense ? dense(o) : denseGrad(o);
}

}  // namespace deeprnn::cuda
