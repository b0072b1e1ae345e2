#include "cuda/persistent_shape.h"

#include <algorithm>

#include "cuda/mma.h"

namespace deeprnn::cuda {
namespace {

/**
 * What a multiprocessor does in a clock, and what an exchange of states costs in clocks (docs/cuda.md,
 * "Cost"): bytes from the second-level cache to one multiprocessor and to all, bytes from shared memory,
 * tiles multiplied, the rest of a step.
 */
constexpr double kL2BytesOne = 64, kL2BytesAll = 3200, kSharedBytes = 128, kTileProducts = 0.5,
                 kExchangeClocks = 2500, kPerWriter = 8, kPassClocks = 1200, kUnitClocks = 150;

size_t aligned(size_t bytes) {
  return (bytes + 15) / 16 * 16;
}

int blocksOf(const LayerWork& work, int tiles) {
  const int units = tiles * kTileColumns / work.perUnit;
  return (work.units + units - 1) / units;
}

LayerShape shapeOf(const LayerWork& work, int tiles) {
  return {tiles, tiles * kTileColumns / work.perUnit, blocksOf(work, tiles)};
}

/** A step of one layer in clocks. */
double stepClocks(const LayerWork& work, const LayerShape& shape, int storedRows, int rowTiles,
                  Precision precision) {
  const WarpSplit split(shape.tiles);
  const double rowBytes = static_cast<double>(work.chunks) * kChunkBytes, rows = storedRows;
  const double tiles = rows / kTileRows, passes = tiles / rowTiles;
  const int products = precision == Precision::float32 ? 3 : 1;
  const double fetched = rows * rowBytes * split.columnGroups / kL2BytesOne;
  const double weights =
      passes * work.chunks * static_cast<double>(shape.tiles) * kFragmentBytes / kSharedBytes;
  const double multiplied = tiles * shape.tiles * work.chunks * 2.0 * products / kTileProducts;
  const double partials = 2.0 * split.parts * rows * shape.tiles * kTileColumns * 4 / kSharedBytes;
  const double units = rows * shape.units / (kWarps * 32) * kUnitClocks;
  return fetched + weights + multiplied + partials + units + kExchangeClocks + kPerWriter * shape.blocks +
         kPassClocks * (passes - 1);
}

/** The layers' blocks for one group of rows on `budget` multiprocessors: empty where they do not fit. */
std::vector<LayerShape> spread(const std::vector<LayerWork>& layers, int rows, int rowTiles, int storedRows,
                               int budget, Precision precision, const DeviceLimits& device) {
  std::vector<LayerShape> shapes;
  int used = 0;
  for (const LayerWork& work : layers) {
    // As many columns a block as fit; more blocks come after.
    int tiles = kMostTiles;
    while (tiles > 1 &&
           (blocksOf(work, tiles - 1) == blocksOf(work, tiles) ||
            SharedPlan(work, shapeOf(work, tiles), rows, rowTiles).bytes > device.sharedPerBlock))
      --tiles;
    shapes.push_back(shapeOf(work, tiles));
    if (SharedPlan(work, shapes.back(), rows, rowTiles).bytes > device.sharedPerBlock) return {};
    used += shapes.back().blocks;
  }
  if (used > budget) return {};
  std::vector<bool> settled(layers.size(), false);
  for (;;) {
    size_t slowest = layers.size();
    double most = 0;
    for (size_t i = 0; i < layers.size(); ++i) {
      const double clocks = stepClocks(layers[i], shapes[i], storedRows, rowTiles, precision);
      if (clocks > most) {
        most = clocks;
        slowest = i;
      }
    }
    if (settled[slowest]) return shapes;
    int tiles = shapes[slowest].tiles - 1;
    while (tiles > 0 && blocksOf(layers[slowest], tiles) == shapes[slowest].blocks) --tiles;
    if (tiles < 1) return shapes;
    const LayerShape next = shapeOf(layers[slowest], tiles);
    if (used - shapes[slowest].blocks + next.blocks > budget ||
        stepClocks(layers[slowest], next, storedRows, rowTiles, precision) >= most) {
      settled[slowest] = true;
      continue;
    }
    used += next.blocks - shapes[slowest].blocks;
    shapes[slowest] = next;
  }
}

}  // namespace

SharedPlan::SharedPlan(const LayerWork& work, const LayerShape& shape, int rows, int rowTiles) {
  const int columns = shape.tiles * kTileColumns;
  // Rows lie 8 or 24 banks apart, so that the lanes of half a warp write to all banks.
  partialRow = columns % 16 == 8 ? columns : columns + 8;
  const auto tileRows = static_cast<size_t>(rowTiles) * kTileRows;
  const auto units = static_cast<size_t>(shape.units);
  weights = kHead + aligned(static_cast<size_t>(WarpSplit(shape.tiles).parts) * tileRows * partialRow *
                            sizeof(float));
  bias = weights + static_cast<size_t>(work.chunks) * shape.tiles * kFragmentBytes;
  carried = bias + aligned(static_cast<size_t>(columns) * sizeof(float));
  staged = carried + aligned(static_cast<size_t>(work.carried) * rows * units * sizeof(float));
  bytes = staged + aligned(static_cast<size_t>(work.staged) * tileRows * units * sizeof(float));
}

PersistentShape shareOut(const std::vector<LayerWork>& layers, size_t batch, Precision precision,
                         const DeviceLimits& device) {
  PersistentShape best;
  const int N = static_cast<int>(batch);
  int known = 0;
  for (int wanted = 1; wanted <= (N + kTileRows - 1) / kTileRows && wanted <= device.multiprocessors;
       ++wanted) {
    const int rows = (N + wanted - 1) / wanted, groups = (N + rows - 1) / rows;
    // Other cuts of the batch come down to the same.
    if (groups == known) continue;
    known = groups;
    for (const int rowTiles : {1, 2, 4}) {
      if (device.rowTiles != 0 && rowTiles != device.rowTiles) continue;
      const int pass = rowTiles * kTileRows, storedRows = (rows + pass - 1) / pass * pass;
      PersistentShape shape;
      shape.layers =
          spread(layers, rows, rowTiles, storedRows, device.multiprocessors / groups, precision, device);
      if (shape.layers.empty()) continue;
      shape.groups = groups;
      shape.rows = rows;
      shape.rowTiles = rowTiles;
      shape.storedRows = storedRows;
      double fetched = 0;
      for (size_t i = 0; i < layers.size(); ++i) {
        const LayerShape& own = shape.layers[i];
        shape.blocks += own.blocks;
        shape.sharedBytes = std::max(shape.sharedBytes, SharedPlan(layers[i], own, rows, rowTiles).bytes);
        shape.clocks = std::max(shape.clocks, stepClocks(layers[i], own, storedRows, rowTiles, precision));
        fetched += static_cast<double>(groups) * own.blocks * storedRows * layers[i].chunks * kChunkBytes;
      }
      shape.clocks += fetched / kL2BytesAll;
      if (!best || shape.clocks < best.clocks) best = shape;
    }
  }
  return best;
}

}  // namespace deeprnn::cuda
