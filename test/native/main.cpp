// The C++ tests: one process that runs every test, says which demands failed and exits with 1 if any did.
#include <chrono>
#include <cstdio>

#include "check.h"

namespace deeprnn::test {
namespace {

int failures = 0;
/** After so many the rest is silence: one wrong kernel fails thousands of demands. */
constexpr int kMostShown = 40;

}  // namespace

void fail(const char* file, int line, const std::string& what) {
  if (++failures <= kMostShown) std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
}

std::vector<const cpu::KernelTable*> usableKernels(cpu::Precision precision) {
  std::vector<const cpu::KernelTable*> tables;
  for (const cpu::IsaEntry* e = cpu::isaList(); e->name; ++e) {
    if (e->usable) tables.push_back(e->tables + static_cast<size_t>(precision));
  }
  return tables;
}

int runAll() {
  const struct {
    const char* name;
    void (*run)();
  } tests[] = {
      {"philox", testPhilox},     {"functions", testFunctions},    {"slopes", testSlopes},
      {"products", testProducts}, {"thread pool", testThreadPool}, {"recurrent stack", testStack},
      {"plans", testPlan},
  };
  for (const auto& test : tests) {
    const int before = failures;
    const auto start = std::chrono::steady_clock::now();
    test.run();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::printf("%-6s %s (%.2f s)\n", failures == before ? "ok" : "FAILED", test.name, seconds);
  }
  std::printf("C++ tests: %d failed demands\n", failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace deeprnn::test

int main() {
  return deeprnn::test::runAll();
}
