// What the cores can do at most: fused multiply-adds of float32 on registers alone, GFLOP/s. Usage: fma_peak
// THREADS
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

// The widest registers of any x86-64; where they are narrower, the compiler takes several.
#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
typedef float Vector __attribute__((vector_size(kBytes)));
constexpr int kLanes = kBytes / 4;
// Latency of 4 cycles times two units is 8; some more, to be sure, and still all in registers.
constexpr int kChains = 12;
constexpr long kRounds = 4'000'000;

static float burn(float seed) {
  Vector chains[kChains];
  for (int c = 0; c < kChains; c++) chains[c] = Vector{} + (seed + static_cast<float>(c));
  const Vector factor = Vector{} + 0.999F;
  const Vector added = Vector{} + 0.001F;
  for (long i = 0; i < kRounds; i++)
    for (int c = 0; c < kChains; c++) chains[c] = chains[c] * factor + added;
  float sum = 0;
  for (int c = 0; c < kChains; c++) sum += chains[c][0];
  return sum;
}

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
  double best = 0;
  std::vector<float> results(threads);
  for (int attempt = 0; attempt < 5; attempt++) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> crew;
    for (int t = 0; t < threads; t++)
      crew.emplace_back([&results, t] { results[t] = burn(static_cast<float>(t)); });
    for (auto& each : crew) each.join();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    best = std::max(best, 2e-9 * kLanes * kChains * kRounds * threads / taken.count());
  }
  float sum = 0;
  for (const float value : results) sum += value;
  // Printed too, so that the arithmetic cannot be left out.
  std::printf("%.1f %g\n", best, sum);
}
