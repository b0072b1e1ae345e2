// Ops that move data.
#include <cmath>

#include "cpu/executable.h"
#include "cpu/scores.h"

namespace deeprnn::cpu {

using core::Code;
using core::DType;
using core::OpKind;
using core::Status;

namespace {

Step swapAxes(const Operands& o) {
  const core::Value& x = o.inValue(0);
  const auto a = static_cast<size_t>(x.shape[0]), b = static_cast<size_t>(x.shape[1]);
  const size_t width = a * b == 0 ? 0 : x.bytes() / (a * b);
  return {[=](const RunContext& c) {
    if (width == 0) return Status();
    const auto* from = o.in<unsigned char>(0);
    auto* to = o.out<unsigned char>(0);
    const auto row = [&](size_t i) {
      for (size_t j = 0; j < a; ++j) std::memcpy(to + (i * a + j) * width, from + (j * b + i) * width, width);
    };
    if (a * b * width < 65536) {
      for (size_t i = 0; i < b; ++i) row(i);
    } else {
      c.pool.parallelFor(b, row);
    }
    return Status();
  }};
}

Status failed(size_t element, double value) {
  Status s = Status::error(Code::checkFailed, "check failed");
  s.element = static_cast<double>(element);
  s.value = value;
  return s;
}

template <class T>
Status firstNotFinite(const T* x, size_t n) {
  // 0·x is 0 for finite x and NaN otherwise: one sum a block tells whether a look at each element is
  // needed.
  for (size_t begin = 0; begin < n; begin += 4096) {
    const size_t end = std::min(n, begin + 4096);
    T sum = 0;
    for (size_t i = begin; i < end; ++i) sum += 0 * x[i];
    if (sum == 0) continue;
    for (size_t i = begin; i < end; ++i) {
      if (!std::isfinite(x[i])) return failed(i, static_cast<double>(x[i]));
    }
  }
  return {};
}

Step check(const Operands& o) {
  const size_t n = o.inValue(0).elements;
  if (o.op().ints[0] == 1) {
    const int32_t size = o.op().ints[1];
    return {[=](const RunContext&) {
      const auto* x = o.in<int32_t>(0);
      for (size_t i = 0; i < n; ++i) {
        if (x[i] < 0 || x[i] >= size) return failed(i, x[i]);
      }
      return Status();
    }};
  }
  if (o.inValue(0).dtype == DType::float64)
    return {[=](const RunContext&) { return firstNotFinite(o.in<double>(0), n); }};
  return {[=](const RunContext&) { return firstNotFinite(o.in(0), n); }};
}

Step embedding(const Operands& o) {
  const size_t ids = o.inValue(0).elements;
  const auto vocabulary = static_cast<int32_t>(o.inValue(1).shape[0]);
  const auto width = static_cast<size_t>(o.inValue(1).shape[1]);
  return {[=](const RunContext&) {
    const auto* id = o.in<int32_t>(0);
    for (size_t i = 0; i < ids; ++i) {
      const int32_t row = readOnce(id + i);
      if (row < 0 || row >= vocabulary) return failed(i, row);
      std::memcpy(o.out(0) + i * width, o.in(1) + static_cast<size_t>(row) * width, width * sizeof(float));
    }
    return Status();
  }};
}

Step embeddingGrad(const Operands& o) {
  const size_t ids = o.inValue(0).elements;
  const auto width = static_cast<size_t>(o.inValue(1).last());
  const auto vocabulary = o.op().ints[0];
  return {[=](const RunContext& c) {
    const auto* id = o.in<int32_t>(0);
    float* table = o.out(0);
    std::memset(table, 0, static_cast<size_t>(vocabulary) * width * sizeof(float));
    for (size_t i = 0; i < ids; ++i) {
      const int32_t place = readOnce(id + i);
      if (place < 0 || place >= vocabulary) return failed(i, place);
      float* row = table + static_cast<size_t>(place) * width;
      c.k.add(row, o.in(1) + i * width, row, width);
    }
    return Status();
  }};
}

}  // namespace

Step dataStep(const Operands& o) {
  switch (o.op().kind) {
    case OpKind::batchToTime:
    case OpKind::timeToBatch:
      return swapAxes(o);
    case OpKind::check:
      return check(o);
    case OpKind::embedding:
      return embedding(o);
    case OpKind::embeddingGrad:
      return embeddingGrad(o);
    case OpKind::assign: {
      const size_t bytes = o.inValue(0).bytes();
      return {[=](const RunContext&) {
        std::memmove(o.out<void>(0), o.in<void>(0), bytes);
        return Status();
      }};
    }
    case OpKind::broadcastRows: {
      const auto rows = static_cast<size_t>(o.outValue(0).shape[0]), width = o.inValue(0).elements;
      return {[=](const RunContext&) {
        for (size_t r = 0; r < rows && width > 0; ++r) {
          std::memcpy(o.out(0) + r * width, o.in(0), width * sizeof(float));
        }
        return Status();
      }};
    }
    case OpKind::sumRows: {
      const size_t rows = o.inValue(0).rows(), width = static_cast<size_t>(o.inValue(0).last());
      return {[=](const RunContext& c) {
        std::memset(o.out(0), 0, width * sizeof(float));
        c.k.addColumnSums(o.in(0), o.out(0), rows, width, 0, width);
        return Status();
      }};
    }
    case OpKind::sumScalars: {
      const size_t count = o.op().inputs.size();
      return {[=, factors = o.op().floats](const RunContext&) {
        double sum = 0;
        for (size_t i = 0; i < count; ++i) sum += (factors.empty() ? 1.0 : factors[i]) * *o.in<double>(i);
        *o.out<double>(0) = sum;
        return Status();
      }};
    }
    default: {
      const size_t n = o.inValue(0).elements;
      return {[=](const RunContext& c) {
        c.k.add(o.in(0), o.in(1), o.out(0), n);
        return Status();
      }};
    }
  }
}

}  // namespace deeprnn::cpu
