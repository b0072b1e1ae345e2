// Adafactor (Shazeer & Stern, 2018; docs/plan.md, "Updating"). Blocks take rows, of all parameters one after
// the other; what they find is summed in order, so that results do not depend on the device.
#include "cuda/optimizers.h"
#include "cuda/reductions.h"

namespace deeprnn::cuda {
namespace {

constexpr unsigned kAdafactorThreads = 256;

/** What the passes find, in the scratch. */
struct Found {
  /** Per row: Σ p², then Σ u². */
  double* rowSums;
  /** Per parameter: the step's size; the mean of `slots[0]` of a matrix. */
  double *rate, *meanRow;
};

/** Row `blockIdx.x` of all, as a row of its parameter. */
struct Row {
  size_t parameter = 0, index;

  __device__ explicit Row(const Parameter* parameters, size_t row = blockIdx.x) : index(row) {
    while (index >= parameters[parameter].n / parameters[parameter].columns) {
      index -= parameters[parameter].n / parameters[parameter].columns;
      ++parameter;
    }
  }
};

__device__ __forceinline__ double square(float g, double epsilon) {
  return static_cast<double>(g) * g + epsilon;
}

__device__ __forceinline__ float blend(double beta2, float old, double now) {
  return static_cast<float>(beta2 * old + (1 - beta2) * now);
}

/** Squares of the weights, decayed, and second moments of rows or of a vector. */
__global__ void moments(AdafactorStep s, Found found) {
  double* tmp = sharedMemory<double>();
  if (!updates(s.rule, s.hyper, s.failed)) return;
  const Row row(s.parameters);
  const Parameter p = s.parameters[row.parameter];
  const Clipping clip(s.rule, s.hyper, s.norms, row.parameter, s.count);
  const float keep = keptShare(p, s.hyper);
  const double epsilon = s.rule.k[0], beta2 = s.hyper[2];
  double weights = 0, gradients = 0;
  for (size_t c = threadIdx.x; c < p.columns; c += blockDim.x) {
    const size_t i = row.index * p.columns + c;
    const float w = p.param[i] * keep;
    weights += static_cast<double>(w) * w;
    const double now = square(clip(gradient(p, i)), epsilon);
    if (p.slots[2]) p.slots[2][i] = blend(beta2, p.slots[2][i], now);
    gradients += now;
  }
  weights = blockSum(weights, tmp);
  gradients = blockSum(gradients, tmp);
  if (threadIdx.x > 0) return;
  found.rowSums[blockIdx.x] = weights;
  if (p.slots[0])
    p.slots[0][row.index] = blend(beta2, p.slots[0][row.index], gradients / static_cast<double>(p.columns));
}

/** Second moments of a matrix's columns: a thread a column, parameters along y. */
__global__ void columnMoments(AdafactorStep s) {
  if (!updates(s.rule, s.hyper, s.failed)) return;
  const Parameter p = s.parameters[blockIdx.y];
  const Clipping clip(s.rule, s.hyper, s.norms, blockIdx.y, s.count);
  const size_t rows = p.n / p.columns;
  const size_t c = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x;
  if (!p.slots[1] || c >= p.columns) return;
  double sum = 0;
  for (size_t r = 0; r < rows; ++r) sum += square(clip(gradient(p, r * p.columns + c)), s.rule.k[0]);
  p.slots[1][c] = blend(s.hyper[2], p.slots[1][c], sum / static_cast<double>(rows));
}

/** Σ of a parameter's rows in `rowSums`; a block a parameter. */
__device__ double sumOfRows(const AdafactorStep& s, const double* rowSums, double* tmp) {
  size_t first = 0;
  for (size_t q = 0; q < blockIdx.x; ++q) first += s.parameters[q].n / s.parameters[q].columns;
  const Parameter p = s.parameters[blockIdx.x];
  double sum = 0;
  for (size_t r = threadIdx.x; r < p.n / p.columns; r += blockDim.x) sum += rowSums[first + r];
  return blockSum(sum, tmp);
}

/** From the squares of the weights the step before it is clipped, and the mean of the rows' moments. */
__global__ void scales(AdafactorStep s, Found found) {
  double* tmp = sharedMemory<double>();
  if (!updates(s.rule, s.hyper, s.failed)) return;
  const Parameter p = s.parameters[blockIdx.x];
  const size_t rows = p.n / p.columns;
  const double weights = sumOfRows(s, found.rowSums, tmp);
  double moment = 0;
  for (size_t r = threadIdx.x; p.slots[0] && r < rows; r += blockDim.x) moment += p.slots[0][r];
  moment = blockSum(moment, tmp);
  if (threadIdx.x > 0) return;
  const double size = sqrt(weights / static_cast<double>(p.n));
  found.rate[blockIdx.x] = s.hyper[1] * p.rateFactor * (size > s.rule.k[1] ? size : s.rule.k[1]);
  found.meanRow[blockIdx.x] = moment / static_cast<double>(rows);
}

/** u = g / √v of one element. */
__device__ __forceinline__ double direction(const Parameter& p, const Clipping& clip, double meanRow,
                                            size_t r, size_t c) {
  const size_t i = r * p.columns + c;
  const double g = clip(gradient(p, i));
  if (p.slots[2]) return g / sqrt(static_cast<double>(p.slots[2][i]));
  return g * sqrt(meanRow / p.slots[0][r]) / sqrt(static_cast<double>(p.slots[1][c]));
}

/** Σ u² per row. */
__global__ void measure(AdafactorStep s, Found found) {
  double* tmp = sharedMemory<double>();
  if (!updates(s.rule, s.hyper, s.failed)) return;
  const Row row(s.parameters);
  const Parameter p = s.parameters[row.parameter];
  const Clipping clip(s.rule, s.hyper, s.norms, row.parameter, s.count);
  double sum = 0;
  for (size_t c = threadIdx.x; c < p.columns; c += blockDim.x) {
    const double u = direction(p, clip, found.meanRow[row.parameter], row.index, c);
    sum += u * u;
  }
  sum = blockSum(sum, tmp);
  if (threadIdx.x == 0) found.rowSums[blockIdx.x] = sum;
}

__global__ void clipRates(AdafactorStep s, Found found) {
  double* tmp = sharedMemory<double>();
  if (!updates(s.rule, s.hyper, s.failed)) return;
  const double squares = sumOfRows(s, found.rowSums, tmp);
  if (threadIdx.x > 0) return;
  const double size = sqrt(squares / static_cast<double>(s.parameters[blockIdx.x].n));
  if (size > s.rule.k[2]) found.rate[blockIdx.x] /= size / s.rule.k[2];
}

__global__ void take(AdafactorStep s, Found found) {
  if (!updates(s.rule, s.hyper, s.failed)) return;
  const Row row(s.parameters);
  const Parameter p = s.parameters[row.parameter];
  const Clipping clip(s.rule, s.hyper, s.norms, row.parameter, s.count);
  // Decayed here only: every pass reads penalties' gradients at the weights as they were.
  const float keep = keptShare(p, s.hyper);
  for (size_t c = threadIdx.x; c < p.columns; c += blockDim.x) {
    float* w = p.param + row.index * p.columns + c;
    const double u = direction(p, clip, found.meanRow[row.parameter], row.index, c);
    *w = static_cast<float>(*w * keep - found.rate[row.parameter] * u);
  }
}

}  // namespace

size_t adafactorScratch(size_t count, size_t rows) {
  return rows + 2 * count;
}

Status adafactor(const AdafactorStep& step, double* scratch, cudaStream_t stream) {
  if (step.count == 0) return {};
  const Found found = {scratch, scratch + step.rows, scratch + step.rows + step.count};
  const auto shape = [&](size_t x, size_t y = 1) {
    return Launch{"adafactor", dim3(static_cast<unsigned>(x), static_cast<unsigned>(y)),
                  dim3(kAdafactorThreads), stream, 33 * sizeof(double)};
  };
  const size_t strips = (step.columns + kAdafactorThreads - 1) / kAdafactorThreads;
  if (Status s = launch(shape(step.rows), moments, step, found); !s.ok()) return s;
  if (Status s = launch(shape(strips, step.count), columnMoments, step); !s.ok()) return s;
  if (Status s = launch(shape(step.count), scales, step, found); !s.ok()) return s;
  if (Status s = launch(shape(step.rows), measure, step, found); !s.ok()) return s;
  if (Status s = launch(shape(step.count), clipRates, step, found); !s.ok()) return s;
  return launch(shape(step.rows), take, step, found);
}

}  // namespace deeprnn::cuda
