// Instructions of programs that go column by column (core/program.h). Included by kernels.inl.h, for one
// instruction set.

namespace deeprnn::cpu::DEEPRNN_ISA {
namespace {

using core::Instruction;

/** y[r, j] = f(a[r, j mod a.width], b[r, j mod b.width]). */
template <class F>
DEEPRNN_INLINE void combineWith(const F& f, const RowView& a, const RowView& b, float* y, size_t rows,
                                size_t width) {
  const bool wholeA = a.width == width, wholeB = b.width == width;
  size_t n = width;
  if (wholeA && wholeB && a.row == width && b.row == width) {
    n *= rows;
    rows = 1;
  }
  for (size_t r = 0; r < rows; ++r) {
    const float *x = a.data + r * a.row, *z = b.data + r * b.row;
    float* DEEPRNN_RESTRICT out = y + r * width;
    if (wholeA && wholeB) {
      for (size_t j = 0; j < n; ++j) out[j] = f(x[j], z[j]);
    } else if (wholeA && b.width == 1) {
      const float one = *z;
      for (size_t j = 0; j < n; ++j) out[j] = f(x[j], one);
    } else if (a.width == 1 && wholeB) {
      const float one = *x;
      for (size_t j = 0; j < n; ++j) out[j] = f(one, z[j]);
    } else {
      for (size_t j = 0; j < n; ++j) out[j] = f(x[j % a.width], z[j % b.width]);
    }
  }
}

template <class F>
DEEPRNN_INLINE void mapWith(const F& f, const RowView& a, float* y, size_t rows, size_t width) {
  combineWith([&](float x, float) { return f(x); }, a, a, y, rows, width);
}

void select(const RowView& when, const RowView& a, const RowView& b, float* y, size_t rows, size_t width) {
  for (size_t r = 0; r < rows; ++r) {
    const float *w = when.data + r * when.row, *x = a.data + r * a.row, *z = b.data + r * b.row;
    float* DEEPRNN_RESTRICT out = y + r * width;
    const bool whole = (a.width == width || a.width == 1) && (b.width == width || b.width == 1);
    const size_t xStep = a.width == width, zStep = b.width == width;
    if (when.width == 1 && whole) {
      // One answer for the row.
      const bool first = *w != 0;
      const float* from = first ? x : z;
      const size_t step = first ? xStep : zStep;
      for (size_t j = 0; j < width; ++j) out[j] = from[j * step];
    } else if (when.width == width && xStep && zStep) {
      for (size_t j = 0; j < width; ++j) out[j] = w[j] != 0 ? x[j] : z[j];
    } else {
      for (size_t j = 0; j < width; ++j) out[j] = w[j % when.width] != 0 ? x[j % a.width] : z[j % b.width];
    }
  }
}

void columnwise(Instruction kind, float number, const RowView& a, const RowView& b, const RowView& c,
                float* y, size_t rows, size_t width) {
  const auto each = [&](const auto& f) { mapWith(f, a, y, rows, width); };
  const auto both = [&](const auto& f) { combineWith(f, a, b, y, rows, width); };
  switch (kind) {
    case Instruction::log:
      return each([](float x) { return logarithm(x); });
    case Instruction::sqrt:
      return each([](float x) { return root(x); });
    case Instruction::abs:
      return each([](float x) { return x < 0 ? -x : x == 0 ? 0.0f : x; });
    case Instruction::sign:
      return each([](float x) { return x > 0 ? 1.0f : (x < 0 ? -1.0f : 0.0f); });
    case Instruction::reciprocal:
      return each([](float x) { return 1.0f / x; });
    case Instruction::scale:
      return each([=](float x) { return x * number; });
    case Instruction::shift:
      return each([=](float x) { return x + number; });
    case Instruction::add:
      return both([](float x, float z) { return x + z; });
    case Instruction::subtract:
      return both([](float x, float z) { return x - z; });
    case Instruction::multiply:
      return both([](float x, float z) { return x * z; });
    case Instruction::divide:
      return both([](float x, float z) { return x / z; });
    // What is not a number, on either side, stays: of a comparison with it neither is true.
    case Instruction::maximum:
      return both([](float x, float z) { return x >= z || x != x ? x : z; });
    case Instruction::minimum:
      return both([](float x, float z) { return x <= z || x != x ? x : z; });
    case Instruction::greater:
      return both([](float x, float z) { return x > z ? 1.0f : 0.0f; });
    case Instruction::greaterEqual:
      return both([](float x, float z) { return x >= z ? 1.0f : 0.0f; });
    case Instruction::select:
      return select(a, b, c, y, rows, width);
    default:
      return;
  }
}

/** Σ x in double, as means and variances are made of such sums: partial sums, which the compiler may keep in
 * vectors. */
float sumOfRow(const float* x, size_t n) {
  double s[8] = {};
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (size_t k = 0; k < 8; ++k) s[k] += x[i + k];
  }
  for (; i < n; ++i) s[0] += x[i];
  return static_cast<float>(((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7])));
}

void sumGroups(const RowView& x, float* y, size_t rows, size_t width, size_t group) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t j = 0; j < width; ++j) y[r * width + j] = sumOfRow(x.data + r * x.row + j * group, group);
  }
}

void expandGroups(const RowView& x, float* y, size_t rows, size_t width, size_t group) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t j = 0; j < width / group; ++j) {
      const float one = x.data[r * x.row + j];
      float* DEEPRNN_RESTRICT out = y + r * width + j * group;
      for (size_t k = 0; k < group; ++k) out[k] = one;
    }
  }
}

}  // namespace
}  // namespace deeprnn::cpu::DEEPRNN_ISA
