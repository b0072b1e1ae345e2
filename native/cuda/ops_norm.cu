// layerNorm and its gradient, rows of norm 1: kernels, then their launches.
#include "cuda/executable.h"
#include "cuda/reductions.h"

namespace deeprnn::cuda {
namespace {

using core::OpKind;

/** A row's mean and 1/√(variance + epsilon), to every thread of the block. Two passes: the squares of what
 * lies far from 0 would cancel. */
struct Statistics {
  double mean, scale;

  __device__ Statistics(const float* x, size_t columns, double epsilon, double* tmp) {
    const auto count = static_cast<double>(columns);
    double sum = 0;
    for (size_t i = threadIdx.x; i < columns; i += blockDim.x) sum += x[i];
    mean = blockSum(sum, tmp) / count;
    double squares = 0;
    for (size_t i = threadIdx.x; i < columns; i += blockDim.x) squares += (x[i] - mean) * (x[i] - mean);
    scale = 1 / sqrt(blockSum(squares, tmp) / count + epsilon);
  }
};

/** A block takes rows blockIdx.x, + gridDim.x, … */
__global__ void normalize(const float* x, const float* gamma, const float* beta, float* y, size_t rows,
                          size_t columns, double epsilon) {
  double* tmp = sharedMemory<double>();
  for (size_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const float* in = x + r * columns;
    const Statistics s(in, columns, epsilon, tmp);
    for (size_t i = threadIdx.x; i < columns; i += blockDim.x)
      y[r * columns + i] = static_cast<float>((gamma ? gamma[i] : 1.0) * ((in[i] - s.mean) * s.scale) +
                                              (beta ? beta[i] : 0.0));
  }
}

/** dx, and dy ⊙ x̂, whose column sums are dGamma; either may be null. */
__global__ void normalizeGrad(const float* x, const float* gamma, const float* dy, float* dx, float* products,
                              size_t rows, size_t columns, double epsilon) {
  double* tmp = sharedMemory<double>();
  for (size_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const float *in = x + r * columns, *d = dy + r * columns;
    const Statistics s(in, columns, epsilon, tmp);
    double sum = 0, along = 0;
    for (size_t i = threadIdx.x; i < columns; i += blockDim.x) {
      const double hat = (in[i] - s.mean) * s.scale, g = (gamma ? gamma[i] : 1.0) * d[i];
      sum += g;
      along += g * hat;
      if (products) products[r * columns + i] = static_cast<float>(d[i] * hat);
    }
    if (!dx) continue;
    const double mean = blockSum(sum, tmp) / static_cast<double>(columns);
    along = blockSum(along, tmp) / static_cast<double>(columns);
    for (size_t i = threadIdx.x; i < columns; i += blockDim.x) {
      const double hat = (in[i] - s.mean) * s.scale, g = (gamma ? gamma[i] : 1.0) * d[i];
      dx[r * columns + i] = static_cast<float>(s.scale * (g - mean - hat * along));
    }
  }
}

/** y = x/max(‖x‖, ε); with dy its gradient, (dy − x̂·(x̂·dy))/‖x‖, or dy/ε where ‖x‖ < ε. */
__global__ void toUnitRows(const float* x, const float* dy, float* out, size_t rows, size_t columns,
                           double epsilon) {
  double* tmp = sharedMemory<double>();
  for (size_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const float *in = x + r * columns, *d = dy ? dy + r * columns : nullptr;
    double squares = 0, along = 0;
    for (size_t i = threadIdx.x; i < columns; i += blockDim.x) squares += static_cast<double>(in[i]) * in[i];
    const double norm = sqrt(blockSum(squares, tmp)), scale = 1 / (norm < epsilon ? epsilon : norm);
    if (d && norm >= epsilon) {
      for (size_t i = threadIdx.x; i < columns; i += blockDim.x) along += in[i] * scale * d[i];
      along = blockSum(along, tmp);
    }
    for (size_t i = threadIdx.x; i < columns; i += blockDim.x)
      out[r * columns + i] = static_cast<float>(d ? (d[i] - in[i] * scale * along) * scale : in[i] * scale);
  }
}

Launch rowLaunch(const char* name, size_t rows, size_t columns, cudaStream_t stream) {
  const size_t blocks = rows < 65535 ? rows : 65535, threads = (columns + 31) / 32 * 32;
  return {name, dim3(static_cast<unsigned>(blocks)),
          dim3(static_cast<unsigned>(threads < 256 ? threads : 256)), stream, 33 * sizeof(double)};
}

Step layerNormGrad(const Operands& o) {
  const size_t rows = o.inValue(0).rows(), columns = static_cast<size_t>(o.inValue(0).last());
  const double epsilon = o.op().floats[0];
  const size_t products = o.out(1) ? rows * columns : 0;
  return {
      [=](const RunContext& c, const OpMemory&) {
        auto* scratch = reinterpret_cast<float*>(c.scratch);
        float *dx = o.out(0), *dGamma = o.out(1), *dBeta = o.out(2);
        if (dx || dGamma) {
          if (Status s = launch(rowLaunch("layerNormGrad", rows, columns, c.stream), normalizeGrad, o.in(0),
                                o.in(1), o.in(2), dx, dGamma ? scratch : nullptr, rows, columns, epsilon);
              !s.ok())
            return s;
        }
        float* more = scratch + products;
        if (dGamma) {
          if (Status s = columnSums(scratch, columns, dGamma, rows, columns, false, more, c.stream); !s.ok())
            return s;
        }
        return dBeta ? columnSums(o.in(2), columns, dBeta, rows, columns, false, more, c.stream) : Status();
      },
      (products + columnSumsScratch(rows, columns)) * sizeof(float)};
}

}  // namespace

Step normStep(const Operands& o) {
  if (o.op().kind == OpKind::layerNormGrad) return layerNormGrad(o);
  const size_t rows = o.inValue(0).rows(), columns = static_cast<size_t>(o.inValue(0).last());
  const double epsilon = o.op().floats[0];
  if (o.op().kind != OpKind::layerNorm) {
    const float* dy = o.op().kind == OpKind::normalizeRowsGrad ? o.in(1) : nullptr;
    return {[=](const RunContext& c, const OpMemory&) {
      return launch(rowLaunch("normalizeRows", rows, columns, c.stream), toUnitRows, o.in(0), dy, o.out(0),
                    rows, columns, epsilon);
    }};
  }
  return {[=](const RunContext& c, const OpMemory&) {
    return launch(rowLaunch("layerNorm", rows, columns, c.stream), normalize, o.in(0), o.in(1), o.in(2),
                  o.out(0), rows, columns, epsilon);
  }};
}

}  // namespace deeprnn::cuda
