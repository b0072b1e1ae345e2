// Ops that put arrays together or take them apart.
#include "cpu/executable.h"

namespace deeprnn::cpu {

using core::OpKind;
using core::Status;

namespace {

/** Copies `width` columns of each row, from one row length to another. */
void copyColumns(const float* from, size_t fromRow, float* to, size_t toRow, size_t width, size_t rows) {
  for (size_t r = 0; r < rows; ++r) std::memcpy(to + r * toRow, from + r * fromRow, width * sizeof(float));
}

Step concat(const Operands& o) {
  const auto row = static_cast<size_t>(o.outValue(0).last());
  const size_t rows = o.outValue(0).rows();
  std::vector<size_t> widths;
  widths.reserve(o.op().inputs.size());
  for (size_t i = 0; i < o.op().inputs.size(); ++i)
    widths.push_back(static_cast<size_t>(o.inValue(i).last()));
  return {[=](const RunContext&) {
    float* to = o.out(0);
    for (size_t i = 0; i < widths.size(); to += widths[i++])
      copyColumns(o.in(i), widths[i], to, row, widths[i], rows);
    return Status();
  }};
}

/** Elements a task. */
constexpr size_t kChunk = 8192;

/** Whether the larger (or smaller) of a and b is a: of equal ones it is. NaN is, so that it shows. */
template <bool kMax>
bool takesFirst(float a, float b) {
  return a != a || (kMax ? a >= b : a <= b);
}

template <bool kMax>
Step extremum(const Operands& o) {
  const size_t n = o.inValue(0).elements;
  const bool grad = o.op().kind == OpKind::extremumGrad;
  return {[=](const RunContext& c) {
    const float *a = o.in(0), *b = o.in(1);
    c.pool.parallelFor((n + kChunk - 1) / kChunk, [&](size_t task) {
      const size_t first = task * kChunk, last = std::min(n, first + kChunk);
      if (!grad) {
        for (size_t i = first; i < last; ++i) o.out(0)[i] = takesFirst<kMax>(a[i], b[i]) ? a[i] : b[i];
        return;
      }
      const float* dy = o.in(2);
      float *da = o.out(0), *db = o.out(1);
      for (size_t i = first; da && i < last; ++i) da[i] = takesFirst<kMax>(a[i], b[i]) ? dy[i] : 0.0f;
      for (size_t i = first; db && i < last; ++i) db[i] = takesFirst<kMax>(a[i], b[i]) ? 0.0f : dy[i];
    });
    return Status();
  }};
}

}  // namespace

Step mergeStep(const Operands& o) {
  // Of extremumGrad either output may be absent.
  if (o.op().kind == OpKind::extremum || o.op().kind == OpKind::extremumGrad)
    return static_cast<core::Extremum>(o.op().ints[0]) == core::Extremum::max ? extremum<true>(o)
                                                                              : extremum<false>(o);
  const size_t n = o.outValue(0).elements;
  switch (o.op().kind) {
    case OpKind::concat:
      return concat(o);

    case OpKind::slice: {
      const auto row = static_cast<size_t>(o.inValue(0).last()),
                 width = static_cast<size_t>(o.outValue(0).last()),
                 first = static_cast<size_t>(o.op().ints[0]);
      const size_t rows = o.outValue(0).rows();
      return {[=](const RunContext&) {
        copyColumns(o.in(0) + first, row, o.out(0), width, width, rows);
        return Status();
      }};
    }
    case OpKind::multiply:
      return {[=](const RunContext& c) {
        c.k.multiply(o.in(0), o.in(1), o.out(0), n);
        return Status();
      }};
    default: {
      const auto factor = static_cast<float>(o.op().floats[0]);
      return {[=](const RunContext&) {
        for (size_t i = 0; i < n; ++i) o.out(0)[i] = factor * o.in(0)[i];
        return Status();
      }};
    }
  }
}

}  // namespace deeprnn::cpu
