// Ops on the masks of steps.
#include "cpu/executable.h"

namespace deeprnn::cpu {

using core::DType;
using core::OpKind;
using core::Status;

namespace {

template <class T>
Step stepMask(const Operands& o, T value) {
  const size_t rows = o.outValue(0).elements, width = rows == 0 ? 0 : o.inValue(0).elements / rows;
  return {[=](const RunContext&) {
    const T* x = o.in<T>(0);
    for (size_t r = 0; r < rows; ++r) {
      size_t i = 0;
      while (i < width && x[r * width + i] == value) ++i;
      o.out<int32_t>(0)[r] = i < width;
    }
    return Status();
  }};
}

Step lengthMask(const Operands& o) {
  const auto steps = static_cast<int32_t>(o.outValue(0).shape[0]);
  const size_t rows = o.inValue(0).elements;
  return {[=](const RunContext&) {
    int32_t* valid = o.out<int32_t>(0);
    for (int32_t t = 0; t < steps; ++t) {
      for (size_t n = 0; n < rows; ++n) *valid++ = t < o.in<int32_t>(0)[n];
    }
    return Status();
  }};
}

Step maskRows(const Operands& o) {
  const size_t rows = o.inValue(1).elements, width = static_cast<size_t>(o.inValue(0).last());
  return {[=](const RunContext&) {
    for (size_t r = 0; r < rows; ++r) {
      float* to = o.out(0) + r * width;
      if (o.in<int32_t>(1)[r]) {
        std::memcpy(to, o.in(0) + r * width, width * sizeof(float));
      } else {
        std::memset(to, 0, width * sizeof(float));
      }
    }
    return Status();
  }};
}

Step maskWeights(const Operands& o) {
  const size_t rows = o.inValue(0).elements;
  const bool normalize = o.op().ints[0] == 1;
  return {[=](const RunContext&) {
    const auto* valid = o.in<int32_t>(0);
    size_t count = 0;
    for (size_t r = 0; r < rows; ++r) count += valid[r] != 0;
    const double scale =
        normalize && count > 0 ? static_cast<double>(rows) / static_cast<double>(count) : 1.0;
    for (size_t r = 0; r < rows; ++r)
      o.out(0)[r] = valid[r] ? static_cast<float>(scale * (o.in(1) ? o.in(1)[r] : 1.0f)) : 0.0f;
    return Status();
  }};
}

Step reverseTime(const Operands& o) {
  const auto steps = static_cast<size_t>(o.inValue(0).shape[0]);
  const size_t bytes = steps == 0 ? 0 : o.inValue(0).bytes() / steps;
  return {[=](const RunContext&) {
    for (size_t t = 0; t < steps && bytes > 0; ++t)
      std::memcpy(o.out<unsigned char>(0) + (steps - 1 - t) * bytes, o.in<unsigned char>(0) + t * bytes,
                  bytes);
    return Status();
  }};
}

}  // namespace

Step maskStep(const Operands& o) {
  switch (o.op().kind) {
    case OpKind::lengthMask:
      return lengthMask(o);
    case OpKind::stepMask:
      return o.inValue(0).dtype == DType::int32 ? stepMask(o, static_cast<int32_t>(o.op().floats[0]))
                                                : stepMask(o, static_cast<float>(o.op().floats[0]));
    case OpKind::maskRows:
      return maskRows(o);
    case OpKind::maskWeights:
      return maskWeights(o);
    case OpKind::eitherMask: {
      const size_t n = o.inValue(0).elements;
      return {[=](const RunContext&) {
        const int32_t *a = o.in<int32_t>(0), *b = o.in<int32_t>(1);
        for (size_t i = 0; i < n; ++i) o.out<int32_t>(0)[i] = a[i] != 0 || b[i] != 0;
        return Status();
      }};
    }
    default:
      return reverseTime(o);
  }
}

}  // namespace deeprnn::cpu
