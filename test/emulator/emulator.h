// Runs CUDA kernels on the host, one fiber a thread, in random order. Test code: it finds barriers that are
// missing, divergent or never reached, waits that nothing ends, and, under the address sanitizer, accesses
// out of range. It shows no faults of memory order: fibers see each other's writes at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace deeprnn::emulator {

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};
struct Extent3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr Extent3(unsigned width = 1, unsigned height = 1, unsigned depth = 1)
      : x(width), y(height), z(depth) {}
  constexpr size_t count() const { return size_t{x} * y * z; }
};

/** What a thread of the device knows of itself. */
struct ThreadView {
  Index3 thread, block;
  Extent3 blockSize, gridSize;
};

/** The thread that runs now. Outside a kernel there is none. */
const ThreadView& self();
/** This block's shared memory: exactly as many bytes as the launch asked for, at first filled with NaN. */
unsigned char* sharedMemory();

/** Block barrier; `file` and `line` name the call, since all threads must meet at the same one. */
void syncThreads(const char* file, int line);
/** All lanes of `mask` give a word and, when the last has come, take the one that `lane` of theirs gave. */
uint64_t exchange(uint32_t mask, uint64_t word, int lane, const char* file, int line);
struct Words {
  uint64_t word[3];
};
/** Every lane's words, by lane; zero for those that are not in `mask`. The array holds until the next
 * collective. */
const Words* gatherWords(uint32_t mask, const Words& words, const char* file, int line);
/** A copy to shared memory that is done when the thread asks for it. */
void copyLater(float* to, const float* from);
void finishCopies();
/** In a loop that waits for another thread: lets the others run. */
void spin();

/** What the emulated device has: enough for three layers in several blocks each, few enough to be quick. */
constexpr int kMultiprocessors = 12;
constexpr size_t kSharedPerBlock = 227 * 1024;

struct LaunchShape {
  Extent3 grid, block;
  size_t sharedBytes = 0;
  /** All blocks run at once, as a cooperative launch promises. */
  bool cooperative = false;
  const char* kernel = "kernel";
};

/** Runs a grid to its end. Returns what went wrong, empty when nothing did. */
std::string runGrid(const LaunchShape& shape, const std::function<void()>& body);

/** Random order of threads and blocks; DEEPRNN_EMULATOR_SEED sets it. */
uint64_t nextRandom();

}  // namespace deeprnn::emulator
