// Products of matrices, one for every i of the first axis: a batch for cuBLAS.
#include "cuda/executable.h"

namespace deeprnn::cuda {

Step matmulStep(const Operands& o) {
  const std::vector<int64_t>&a = o.inValue(0).shape, &y = o.outValue(0).shape;
  Product p;
  p.aTransposed = o.op().ints[0] == 1;
  p.bTransposed = o.op().ints[1] == 1;
  p.count = static_cast<size_t>(y[0]);
  p.m = static_cast<size_t>(y[1]);
  p.n = p.cRow = static_cast<size_t>(y[2]);
  p.k = static_cast<size_t>(a[p.aTransposed ? 1 : 2]);
  p.a = o.in(0);
  p.aRow = p.aTransposed ? p.m : p.k;
  p.b = o.in(1);
  p.bRow = p.bTransposed ? p.k : p.n;
  p.c = o.out(0);
  return {[=](const RunContext& c, const OpMemory&) { return c.blas.multiply(p, c.precision, c.stream); }};
}

}  // namespace deeprnn::cuda
