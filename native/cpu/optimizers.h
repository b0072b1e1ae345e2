// Optimizers whose rules are more than one elementwise loop.
#pragma once

#include "cpu/executable.h"

namespace deeprnn::cpu {

/** Follow the regularized leader, over part of a parameter. In double: of large sums it keeps small
 * differences. */
void ftrl(const UpdateArgs& u, size_t n);

/** Adafactor over one whole parameter: a matrix [rows, columns], or a vector with rows = 1 and slot2. */
struct AdafactorArgs {
  UpdateArgs update;
  size_t rows, columns;
};
void adafactor(const AdafactorArgs& a, ThreadPool& pool, float* scratch);
/** Floats of scratch for a parameter of this size. */
size_t adafactorScratch(size_t rows, size_t columns);

}  // namespace deeprnn::cpu
