// Philox4x32-10 against the known answers of Salmon et al. (2011), and dropout masks.
#include <cmath>

#include "check.h"

namespace deeprnn::test {

void testPhilox() {
  const struct {
    uint32_t counter[4], key[2], words[4];
  } known[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const auto& k : known) {
    uint32_t words[4];
    core::philox4x32(k.counter, k.key[0], k.key[1], words);
    for (int i = 0; i < 4; ++i) CHECK(words[i] == k.words[i], std::to_string(i));
  }

  // A mask does not depend on where the drawing starts, and each element follows its own word.
  const double step = 3.0 * 4294967296.0 + 7, rate = 0.3;
  const core::Mask mask = core::Mask::of(11, 22, 5, step, rate);
  CHECK(mask.stepLo == 7 && mask.stepHi == 3, "the step's halves");
  CHECK(mask.scale == static_cast<float>(1 / 0.7), "the scale of what is kept");
  constexpr size_t kCount = 4099;
  std::vector<float> whole(kCount);
  mask.factors(0, kCount, whole.data());
  size_t dropped = 0;
  for (size_t i = 0; i < kCount; ++i) {
    const uint32_t counter[4] = {static_cast<uint32_t>(i / 4), 5, 7, 3};
    uint32_t words[4];
    core::philox4x32(counter, 11, 22, words);
    const bool drop = words[i % 4] < static_cast<uint32_t>(std::floor(rate * 4294967296.0));
    dropped += drop;
    CHECK(whole[i] == (drop ? 0.0f : mask.scale), std::to_string(i));
  }
  // Four standard deviations of the binomial distribution.
  CHECK(std::fabs(static_cast<double>(dropped) - kCount * rate) < 4 * std::sqrt(kCount * rate * (1 - rate)),
        std::to_string(dropped) + " dropped");
  for (size_t first : {1, 2, 3, 5, 1021}) {
    std::vector<float> part(37);
    mask.factors(first, part.size(), part.data());
    for (size_t i = 0; i < part.size(); ++i) CHECK(part[i] == whole[first + i], std::to_string(first + i));
  }
  // A rate of 0 keeps all, and a step that is no step stays defined.
  float one = -1;
  core::Mask::of(1, 2, 3, std::nan(""), 0).factors(0, 1, &one);
  CHECK(one == 1.0f, "rate 0");
}

}  // namespace deeprnn::test
