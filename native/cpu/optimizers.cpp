#include "cpu/optimizers.h"

#include <algorithm>
#include <cmath>

namespace deeprnn::cpu {
namespace {

/** Elements a task takes at least; fixed, so that sums do not depend on the number of threads. */
constexpr size_t kTask = 16384;

float clipped(const UpdateArgs& u, size_t i) {
  const float g = u.grad[i] * u.scale;
  return g > u.limit ? u.limit : (g < -u.limit ? -u.limit : g);
}

/** Σ of what tasks have left, in their order. */
double total(const double* sums, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += sums[i];
  return sum;
}

}  // namespace

void ftrl(const UpdateArgs& u, size_t n) {
  const double rate = u.hyper[0], power = -u.k[0], l1 = u.k[1], l2 = u.k[2], shrinkage = u.k[3],
               beta = u.k[4];
  if (rate == 0) return;
  const auto raised = [power](double x) { return power == 0.5 ? std::sqrt(x) : std::pow(x, power); };
  for (size_t i = 0; i < n; ++i) {
    const double g = clipped(u, i), p = u.param[i] * u.keep, before = u.slot0[i];
    const double now = before + g * g, after = raised(now);
    const double z = u.slot1[i] + g + 2 * shrinkage * p - (after - raised(before)) / rate * p;
    const double quadratic = (after + beta) / rate + 2 * l2;
    u.slot0[i] = static_cast<float>(now);
    u.slot1[i] = static_cast<float>(z);
    const double cut = z > l1 ? l1 : (z < -l1 ? -l1 : z);
    u.param[i] = static_cast<float>(quadratic == 0 ? p : (cut - z) / quadratic);
  }
}

size_t adafactorScratch(size_t rows, size_t columns) {
  // The sums of tasks, at most one a row, as doubles; then a factor for each column.
  return 2 * (std::max(rows, (columns + kTask - 1) / kTask) + 1) + columns;
}

/**
 * Shazeer & Stern (2018), algorithms 4 and 5. Tasks are strips of a matrix's rows, or of a vector's elements.
 * The step g / √v of a matrix, with v = r cᵀ / mean(r), is g times a factor of its row times one of its
 * column.
 */
void adafactor(const AdafactorArgs& a, ThreadPool& pool, float* scratch) {
  const UpdateArgs& u = a.update;
  const size_t rows = a.rows, columns = a.columns, n = rows * columns;
  const bool matrix = u.slot2 == nullptr;
  const double epsilon1 = u.k[0], epsilon2 = u.k[1], threshold = u.k[2], rho = u.hyper[1], beta2 = u.hyper[2];
  const size_t strip = matrix ? std::max<size_t>(1, kTask / columns) * columns : kTask;
  const size_t tasks = (n + strip - 1) / strip;
  auto* sums = reinterpret_cast<double*>(scratch);
  float* columnFactor = scratch + 2 * (std::max(rows, (columns + kTask - 1) / kTask) + 1);
  const auto square = [&](size_t i) {
    const double g = clipped(u, i);
    return g * g + epsilon1;
  };
  const auto blend = [beta2](float old, double now) {
    return static_cast<float>(beta2 * old + (1 - beta2) * now);
  };

  // Decay, the sum of squares of the weights, and the second moments of rows or of a vector.
  pool.parallelFor(tasks, [&](size_t task) {
    const size_t first = task * strip, last = std::min(n, first + strip);
    double sum = 0;
    for (size_t i = first; i < last; ++i) {
      u.param[i] *= u.keep;
      sum += static_cast<double>(u.param[i]) * u.param[i];
      if (!matrix) u.slot2[i] = blend(u.slot2[i], square(i));
    }
    sums[task] = sum;
    for (size_t r = first / columns; matrix && r < last / columns; ++r) {
      double row = 0;
      for (size_t c = 0; c < columns; ++c) row += square(r * columns + c);
      u.slot0[r] = blend(u.slot0[r], row / static_cast<double>(columns));
    }
  });
  const double alpha = rho * std::max(epsilon2, std::sqrt(total(sums, tasks) / static_cast<double>(n)));

  double meanRow = 1;
  if (matrix) {
    constexpr size_t kColumns = 64;
    pool.parallelFor((columns + kColumns - 1) / kColumns, [&](size_t task) {
      const size_t first = task * kColumns, last = std::min(columns, first + kColumns);
      double column[kColumns] = {};
      for (size_t r = 0; r < rows; ++r)
        for (size_t c = first; c < last; ++c) column[c - first] += square(r * columns + c);
      for (size_t c = first; c < last; ++c) {
        u.slot1[c] = blend(u.slot1[c], column[c - first] / static_cast<double>(rows));
        columnFactor[c] = static_cast<float>(1 / std::sqrt(static_cast<double>(u.slot1[c])));
      }
    });
    meanRow = 0;
    for (size_t r = 0; r < rows; ++r) meanRow += u.slot0[r];
    meanRow /= static_cast<double>(rows);
  }

  // The same walk twice: first to measure the step, then to take it.
  const auto walk = [&](size_t task, const auto& visit) {
    const size_t first = task * strip, last = std::min(n, first + strip);
    if (!matrix) {
      for (size_t i = first; i < last; ++i)
        visit(i, clipped(u, i) / std::sqrt(static_cast<double>(u.slot2[i])));
      return;
    }
    for (size_t r = first / columns; r < last / columns; ++r) {
      const double factor = std::sqrt(meanRow / u.slot0[r]);
      for (size_t c = 0; c < columns; ++c)
        visit(r * columns + c, clipped(u, r * columns + c) * factor * columnFactor[c]);
    }
  };
  pool.parallelFor(tasks, [&](size_t task) {
    double sum = 0;
    walk(task, [&](size_t, double step) { sum += step * step; });
    sums[task] = sum;
  });
  const double size = std::sqrt(total(sums, tasks) / static_cast<double>(n));
  const double rate = alpha / (size > threshold ? size / threshold : 1);
  pool.parallelFor(tasks, [&](size_t task) {
    walk(task, [&](size_t i, double step) { u.param[i] = static_cast<float>(u.param[i] - rate * step); });
  });
}

}  // namespace deeprnn::cpu
