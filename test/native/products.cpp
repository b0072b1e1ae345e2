// Packed products against double, in every precision, for odd shapes and every operand's layout; the sums
// that gradients of biases are made of.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check.h"
#include "cpu/gemm.h"
#include "cpu/session.h"

namespace deeprnn::test {
namespace {

using cpu::Buffer;
using cpu::Gemm;
using cpu::KernelTable;
using cpu::Precision;

/** A vector along k as a product in a precision reads it: exact but for `block` elements with one scale each.
 */
std::vector<double> asRead(Precision precision, const std::vector<double>& x, size_t block) {
  std::vector<double> y = x;
  if (precision == Precision::bfloat16) {
    for (double& v : y) {
      int exponent = 0;
      const double fraction = std::frexp(v, &exponent);
      v = std::ldexp(std::nearbyint(std::ldexp(fraction, 8)), exponent - 8);
    }
  }
  for (size_t begin = 0; precision == Precision::int8 && begin < x.size(); begin += block) {
    const size_t end = std::min(x.size(), begin + block);
    float most = 0;
    for (size_t i = begin; i < end; ++i) most = std::max(most, std::fabs(static_cast<float>(x[i])));
    for (size_t i = begin; i < end; ++i)
      y[i] = std::nearbyint(static_cast<float>(x[i]) * (127.0f / most)) * static_cast<double>(most / 127.0f);
  }
  return y;
}

/** An operand A of M rows and K columns, stored in rows wider than needed, or transposed. */
struct Left {
  std::vector<float> data;
  size_t row, step;

  Left(Random& random, size_t m, size_t k, bool transposed) {
    const size_t pad = random.below(3);
    row = transposed ? 1 : k + pad;
    step = transposed ? m + pad : 1;
    // Ends with the last element that belongs to it.
    data = random.floats(m * k == 0 ? 0 : (m - 1) * row + (k - 1) * step + 1);
  }
  std::vector<double> read(const KernelTable& k, size_t m, size_t depth) const {
    std::vector<double> x(depth);
    for (size_t p = 0; p < depth; ++p) x[p] = data[m * row + p * step];
    return asRead(k.precision, x, 512);
  }
};

/** B[K, N], row-major or transposed, and its packed copy. */
struct Right {
  std::vector<float> data;
  size_t row, column;
  Buffer packed;

  Right(Random& random, const KernelTable& k, size_t rows, size_t n, bool transposed)
      : data(random.floats(rows * n)),
        row(transposed ? 1 : n),
        column(transposed ? rows : 1),
        packed(cpu::packedSize(k, rows, n) * sizeof(float)) {
    k.pack(pointer(), data.data(), row, column, rows, n, 0, cpu::panels(k, n));
  }
  float* pointer() const { return reinterpret_cast<float*>(packed.data()); }
  std::vector<double> read(const KernelTable& k, size_t depth, size_t n) const {
    std::vector<double> x(depth);
    for (size_t p = 0; p < depth; ++p) x[p] = data[p * row + n * column];
    return asRead(k.precision, x, std::max<size_t>(depth, 1));
  }
};

std::string nameOf(const KernelTable& k) {
  const char* const names[] = {"", " bf16", " int8"};
  return k.name + std::string(names[static_cast<size_t>(k.precision)]);
}

void testShape(const KernelTable& k, Random& random, size_t m, size_t n, size_t k1, size_t k2) {
  const bool accumulate = random.below(3) == 0, biased = !accumulate && random.below(2) == 0;
  const Left a1(random, m, k1, random.below(2) == 0), a2(random, m, k2, random.below(2) == 0);
  const Right b1(random, k, k1, n, random.below(2) == 0), b2(random, k, k2, n, random.below(2) == 0);
  const std::vector<float> bias = random.floats(n);
  const size_t cRow = n + random.below(4);
  std::vector<float> c = random.floats((m - 1) * cRow + n);
  const std::vector<float> before = c;

  Gemm g;
  g.m = m;
  g.n = n;
  g.a1 = k1 ? a1.data.data() : nullptr;
  g.a1Row = a1.row;
  g.a1Step = a1.step;
  g.k1 = k1;
  g.b1 = b1.pointer();
  g.a2 = k2 ? a2.data.data() : nullptr;
  g.a2Row = a2.row;
  g.a2Step = a2.step;
  g.k2 = k2;
  g.b2 = b2.pointer();
  g.c = c.data();
  g.cRow = cRow;
  g.bias = biased ? bias.data() : nullptr;
  g.accumulate = accumulate;
  k.gemm(g, 0, cpu::panels(k, n));

  const std::string what = nameOf(k) + " " + std::to_string(m) + "×" + std::to_string(n) + ", depth " +
                           std::to_string(k1) + " + " + std::to_string(k2);
  std::vector<std::vector<double>> columns1, columns2;
  for (size_t j = 0; j < n; ++j) {
    columns1.push_back(b1.read(k, k1, j));
    columns2.push_back(b2.read(k, k2, j));
  }
  for (size_t i = 0; i < m; ++i) {
    const std::vector<double> row1 = a1.read(k, i, k1), row2 = a2.read(k, i, k2);
    for (size_t j = 0; j < n; ++j) {
      double sum = accumulate ? before[i * cRow + j] : (biased ? bias[j] : 0.0), size = std::fabs(sum);
      const auto add = [&](const std::vector<double>& x, const std::vector<double>& y) {
        for (size_t p = 0; p < x.size(); ++p) {
          sum += x[p] * y[p];
          size += std::fabs(x[p] * y[p]);
        }
      };
      add(row1, columns1[j]);
      add(row2, columns2[j]);
      // The bound of a running sum (Higham, Accuracy and Stability, §3.1).
      const double bound = static_cast<double>(k1 + k2 + 4) * 0x1p-24 * size;
      CHECK(std::fabs(c[i * cRow + j] - sum) <= bound,
            what + " at " + std::to_string(i) + ", " + std::to_string(j));
    }
    // What lies between the rows of C stays.
    for (size_t j = n; j < cRow && i * cRow + j < c.size(); ++j) {
      CHECK(c[i * cRow + j] == before[i * cRow + j], what + ": wrote beyond a row");
    }
  }

  // A row alone, and a panel alone, come out with the same bits.
  std::vector<float> again = before;
  const size_t row = random.below(m);
  Gemm one = g;
  one.m = 1;
  one.a1 = k1 ? g.a1 + row * g.a1Row : nullptr;
  one.a2 = k2 ? g.a2 + row * g.a2Row : nullptr;
  one.c = again.data() + row * cRow;
  for (size_t p = cpu::panels(k, n); p-- > 0;) k.gemm(one, p, p + 1);
  CHECK(std::memcmp(&again[row * cRow], &c[row * cRow], n * sizeof(float)) == 0, what + ": a row alone");
}

void testThreaded(const KernelTable& k, Random& random) {
  const size_t m = 211, n = 77, depth = 301;
  const std::vector<float> a = random.floats(depth * m), b = random.floats(depth * n);
  std::vector<float> first;
  for (int threads : {1, 2, 3, 4, 5}) {
    cpu::ThreadPool pool(threads);
    const Buffer packed(cpu::packedSize(k, depth, n) * sizeof(float));
    auto* to = reinterpret_cast<float*>(packed.data());
    cpu::packAll(pool, k, to, b.data(), n, 1, depth, n);
    std::vector<float> c(2 * m * n);
    Gemm g;
    g.m = m;
    g.n = n;
    g.a1 = a.data();
    g.a1Row = 1;
    g.a1Step = m;
    g.k1 = depth;
    g.b1 = to;
    g.c = c.data();
    g.cRow = n;
    cpu::gemmAll(pool, k, g);
    // Gradients are not made of 8-bit integers.
    if (k.precision != Precision::int8) {
      const Buffer scratch(cpu::transposedScratch(k, depth, n) * sizeof(float));
      const cpu::TransposedFactor factor = {a.data(), m, m, n, c.data() + m * n, n, false};
      cpu::gemmTransposed(pool, k, &factor, 1, b.data(), n, n, depth,
                          reinterpret_cast<float*>(scratch.data()));
      double worst = 0;
      for (size_t i = 0; i < m * n; ++i)
        worst = std::max(worst, std::fabs(static_cast<double>(c[i]) - c[m * n + i]));
      CHECK(worst < 1e-4, nameOf(k) + ": Aᵀ·B in blocks differs by " + std::to_string(worst));
    }
    if (first.empty()) first = c;
    CHECK(std::memcmp(first.data(), c.data(), c.size() * sizeof(float)) == 0,
          nameOf(k) + ": other bits with " + std::to_string(threads) + " threads");
  }
}

/** What is not finite is never rounded to a number. */
void testNotFinite(const KernelTable& k, Random& random) {
  const size_t m = 3, n = 5, depth = 7;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const bool inA : {true, false}) {
      std::vector<float> a = random.floats(m * depth), b = random.floats(depth * n), c(m * n);
      (inA ? a[1 * depth + 4] : b[4 * n + 1]) = bad;
      const Buffer packed(cpu::packedSize(k, depth, n) * sizeof(float));
      auto* to = reinterpret_cast<float*>(packed.data());
      k.pack(to, b.data(), n, 1, depth, n, 0, cpu::panels(k, n));
      Gemm g;
      g.m = m;
      g.n = n;
      g.a1 = a.data();
      g.a1Row = depth;
      g.k1 = depth;
      g.b1 = to;
      g.c = c.data();
      g.cRow = n;
      k.gemm(g, 0, cpu::panels(k, n));
      for (size_t i = 0; i < m * n; ++i) {
        const bool touched = inA ? i / n == 1 : i % n == 1;
        CHECK(std::isfinite(c[i]) != touched,
              nameOf(k) + ": " + std::to_string(bad) + " in " + (inA ? "A" : "B"));
      }
    }
  }
}

void testSums(const KernelTable& k, Random& random) {
  for (size_t columns : {1, 5, 64, 131}) {
    const size_t rows = 37;
    const std::vector<float> x = random.floats(rows * columns);
    std::vector<float> y(columns, 0.25f);
    const size_t middle = columns / 2;
    k.addColumnSums(x.data(), y.data(), rows, columns, middle, columns);
    k.addColumnSums(x.data(), y.data(), rows, columns, 0, middle);
    double squares = 0, sizes = 0;
    for (size_t c = 0; c < columns; ++c) {
      double sum = 0.25;
      for (size_t r = 0; r < rows; ++r) sum += x[r * columns + c];
      CHECK(std::fabs(y[c] - sum) < 1e-5, std::string(k.name) + ": column " + std::to_string(c));
    }
    for (float v : x) {
      squares += static_cast<double>(v) * v;
      sizes += std::fabs(static_cast<double>(v));
    }
    CHECK(std::fabs(k.sumSquares(x.data(), x.size()) - squares) <= 1e-13 * squares,
          std::string(k.name) + ": sumSquares");
    CHECK(std::fabs(k.sumAbs(x.data(), x.size()) - sizes) <= 1e-13 * sizes, std::string(k.name) + ": sumAbs");
  }
}

/** g + l1·sign(p) + 2·l2·p, with nothing of l1 where p is 0. */
void testPenalty(const KernelTable& k, Random& random) {
  for (size_t n : {1, 16, 77}) {
    const std::vector<float> g = random.floats(n);
    std::vector<float> p = random.floats(n), y(n);
    p[n / 2] = 0;
    k.addPenaltyGrad(g.data(), p.data(), 0.25, 0.75, y.data(), n);
    for (size_t i = 0; i < n; ++i) {
      const double sign = p[i] > 0 ? 1 : (p[i] < 0 ? -1 : 0), wanted = g[i] + 0.25 * sign + 1.5 * p[i];
      CHECK(std::fabs(y[i] - wanted) <= 1e-6, std::string(k.name) + ": addPenaltyGrad");
    }
  }
}

}  // namespace

void testProducts() {
  Random random(3);
  for (Precision precision : {Precision::float32, Precision::bfloat16, Precision::int8}) {
    for (const KernelTable* k : usableKernels(precision)) {
      for (size_t m : {1, 2, 3, 4, 5, 6, 7, 11, 13}) {
        for (size_t n : {size_t{1}, k->panel - 1, k->panel, k->panel + 1, 2 * k->panel + 5}) {
          for (size_t k1 : {0, 1, 5, 19}) testShape(*k, random, m, n, k1, k1 == 5 ? 0 : 3 + random.below(9));
        }
      }
      // Longer than the blocks in which operands are rounded.
      testShape(*k, random, 7, k->panel + 1, 515, 1030);
      testShape(*k, random, 101, 9, 257, 3);
      testThreaded(*k, random);
      testNotFinite(*k, random);
    }
  }
  for (const KernelTable* k : usableKernels()) {
    testSums(*k, random);
    testPenalty(*k, random);
  }
}

}  // namespace deeprnn::test
