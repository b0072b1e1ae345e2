// How the multiprocessors of a device are shared out to a persistent kernel: which block keeps which columns
// of which layer's weights, and works on which rows of the batch. Arithmetic only; it runs where there is no
// device.
#pragma once

#include <cstddef>
#include <vector>

#include "cuda/blas.h"

namespace deeprnn::cuda {

/** Warps of a block, and tiles of columns that one warp adds up at once. */
constexpr int kWarps = 8, kWarpTiles = 4;
/** Floats of one row and unit that may be fetched ahead of a step. */
constexpr int kStagedArrays = 8;

/** To turn the estimates into time: about what data centre devices run at. */
constexpr double kClocksPerMicrosecond = 1700;

/** What a device has. */
struct DeviceLimits {
  int multiprocessors = 0;
  /** Shared memory that a block may ask for, bytes. */
  size_t sharedPerBlock = 0;
  /** Tiles of rows that a warp works on at once, for tests: 1, 2 or 4; 0 leaves the choice. */
  int rowTiles = 0;
};

/** A layer's work in one step. */
struct LayerWork {
  /** Units, and columns of the product that each has: 1, 2 or 4. */
  int units = 0, perUnit = 1;
  /** Chunks (mma.h) of a row of all factors together: the depth of the product. */
  int chunks = 0;
  /** Floats of one row and unit in shared memory: carried from step to step, and fetched ahead. */
  int carried = 0, staged = 0;
};

/** How the eight warps of a block share a product: groups of `kWarpTiles` tiles of columns, each in parts of
 * the depth. */
struct WarpSplit {
  int columnGroups, parts;
  constexpr explicit WarpSplit(int tiles)
      : columnGroups((tiles + kWarpTiles - 1) / kWarpTiles), parts(kWarps / columnGroups) {}
};
/** Most tiles of columns in a block. */
constexpr int kMostTiles = kWarpTiles * 4;

/** A layer's blocks: each `units` units in `tiles` tiles of columns. */
struct LayerShape {
  int tiles = 1, units = 0, blocks = 0;
};

/** Where in a block's shared memory things begin, in bytes. */
struct SharedPlan {
  /** Partial sums [parts][rows][partialRow]. */
  int partialRow = 0;
  size_t weights = 0, bias = 0, carried = 0, staged = 0, bytes = 0;
  /** Room at the start for what the kernel keeps there itself. */
  static constexpr size_t kHead = 1536;

  SharedPlan(const LayerWork& work, const LayerShape& shape, int rows, int rowTiles);
};

struct PersistentShape {
  /** The batch is cut in `groups` of `rows` rows that know nothing of each other: a row's recurrence needs no
   * other row. */
  int groups = 0, rows = 0;
  /** Tiles of 16 rows that a warp works on at once, 1, 2 or 4; rows as stored, whole passes of them. */
  int rowTiles = 1, storedRows = 0;
  std::vector<LayerShape> layers;
  /** Of one group. */
  int blocks = 0;
  size_t sharedBytes = 0;
  /** A step of the slowest layer, estimated: for comparing shapes. */
  double clocks = 0;

  /** False where the weights do not fit on the device. */
  explicit operator bool() const { return groups > 0; }
  int grid() const { return groups * blocks; }
};

/** The shape with the shortest estimated step; empty where none fits. */
PersistentShape shareOut(const std::vector<LayerWork>& layers, size_t batch, Precision precision,
                         const DeviceLimits& device);

}  // namespace deeprnn::cuda
