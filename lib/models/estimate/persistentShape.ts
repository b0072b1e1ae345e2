// The search of native/cuda/persistent_shape.cpp, in the same order, so that an estimate is made for the very shape that the engine
// would run. The two must agree: whoever changes one changes the other, and the shapes in test/unit/models/persistentShape.test.ts.
import type { GpuPrecision } from '../../engines/engine';
import { figures, type GpuFigures } from './figures';

/** Bytes of a row, and of a tile's weights, that are multiplied at once (native/cuda/mma.h); rows and columns of a tile. */
const CHUNK_BYTES = 64;
const FRAGMENT_BYTES = 32 * 16;
const TILE_ROWS = 16;
const TILE_COLUMNS = 8;
/** Warps of a block; tiles of columns that a warp adds up at once; most of a block. */
const WARPS = 8;
const WARP_TILES = 4;
const MOST_TILES = 4 * WARP_TILES;
/** Bytes at the start of a block's shared memory that the kernel keeps for itself. */
const HEAD_BYTES = 1536;

/** A layer's work in one step. */
export interface LayerWork {
  readonly units: number;
  /** Columns of the product that a unit has: 1, 2 or 4. */
  readonly perUnit: number;
  /** Chunks of a row of all factors together: the depth of the product. */
  readonly chunks: number;
  /** Floats of one row and unit in shared memory: carried from step to step, and fetched ahead. */
  readonly carried: number;
  readonly staged: number;
}

/** A layer's blocks: each `units` units in `tiles` tiles of columns. */
export interface LayerShape {
  readonly tiles: number;
  readonly units: number;
  readonly blocks: number;
}

/** Clocks of a step, by what they go to. */
export interface StepClocks {
  readonly l2: number;
  readonly shared: number;
  readonly tensor: number;
  readonly cell: number;
  readonly exchange: number;
}

export interface PersistentShape {
  /** The batch is cut in `groups` of `rows` rows. */
  readonly groups: number;
  readonly rows: number;
  /** Tiles of rows that a warp works on at once. */
  readonly rowTiles: number;
  readonly storedRows: number;
  readonly layers: readonly LayerShape[];
  /** Blocks of one group. */
  readonly blocks: number;
  /** Of the block that needs most, bytes. */
  readonly sharedBytes: number;
  /** A step of the slowest layer. */
  readonly step: StepClocks;
  readonly clocks: number;
}

/** Why no shape was found: the least number of blocks, or a layer of which a block cannot hold one tile. */
export type Misfit = { readonly blocks: number } | { readonly blockBytes: number };

/** Elements of a row in a chunk. */
export function chunkLength(precision: GpuPrecision): number {
  return CHUNK_BYTES / (precision === 'bf16' ? 2 : 4);
}

const aligned = (bytes: number) => Math.ceil(bytes / 16) * 16;

/** How the warps of a block share a product: groups of tiles of columns, each in parts of the depth. */
function warpSplit(tiles: number): { columnGroups: number; parts: number } {
  const columnGroups = Math.ceil(tiles / WARP_TILES);
  return { columnGroups, parts: Math.floor(WARPS / columnGroups) };
}

function shapeOf(work: LayerWork, tiles: number): LayerShape {
  const units = (tiles * TILE_COLUMNS) / work.perUnit;
  return { tiles, units, blocks: Math.ceil(work.units / units) };
}

/** Bytes of shared memory of one block. */
export function sharedBytes(work: LayerWork, shape: LayerShape, rows: number, rowTiles: number): number {
  const columns = shape.tiles * TILE_COLUMNS;
  const partialRow = columns % 16 === 8 ? columns : columns + 8;
  const tileRows = rowTiles * TILE_ROWS;
  const partials = aligned(warpSplit(shape.tiles).parts * tileRows * partialRow * 4);
  const weights = work.chunks * shape.tiles * FRAGMENT_BYTES;
  const carried = aligned(work.carried * rows * shape.units * 4);
  const staged = aligned(work.staged * tileRows * shape.units * 4);
  return HEAD_BYTES + partials + weights + aligned(columns * 4) + carried + staged;
}

/** Rows of a group, tiles of them that a warp works on at once, and rows as stored: whole passes. */
type Cut = Pick<PersistentShape, 'rows' | 'rowTiles' | 'storedRows'>;

/** A step of one layer. */
function stepClocks(
  work: LayerWork,
  shape: LayerShape,
  { storedRows: rows, rowTiles }: Cut,
  precision: GpuPrecision,
  gpu: GpuFigures,
): StepClocks {
  const { columnGroups, parts } = warpSplit(shape.tiles);
  // float32 is made of three products of TF32.
  const products = precision === 'fp32' ? 3 : 1;
  const passes = rows / TILE_ROWS / rowTiles;
  const weights = passes * work.chunks * shape.tiles * FRAGMENT_BYTES;
  const partials = 2 * parts * rows * shape.tiles * TILE_COLUMNS * 4;
  const tileProducts = (rows / TILE_ROWS) * shape.tiles * work.chunks * 2 * products;
  return {
    l2: (rows * work.chunks * CHUNK_BYTES * columnGroups) / gpu.l2BytesPerClockEach,
    shared: (weights + partials) / figures.sharedBytesPerClock.value,
    tensor: tileProducts / figures.tileProductsPerClock.value,
    cell: ((rows * shape.units) / (WARPS * 32)) * figures.unitClocks.value,
    exchange:
      figures.exchangeClocks.value +
      figures.writerClocks.value * shape.blocks +
      figures.passClocks.value * (passes - 1),
  };
}

export function sumOfClocks({ l2, shared, tensor, cell, exchange }: StepClocks): number {
  return l2 + shared + tensor + cell + exchange;
}

/** As many columns a block as fit. */
function widest(work: LayerWork, rows: number, rowTiles: number, gpu: GpuFigures): LayerShape {
  let tiles = MOST_TILES;
  const blocks = (t: number) => shapeOf(work, t).blocks;
  const bytes = (t: number) => sharedBytes(work, shapeOf(work, t), rows, rowTiles);
  while (tiles > 1 && (blocks(tiles - 1) === blocks(tiles) || bytes(tiles) > gpu.sharedPerBlock)) tiles--;
  return shapeOf(work, tiles);
}

/** The next narrower cut of a layer that takes more blocks, if there is one. */
function narrower(work: LayerWork, shape: LayerShape): LayerShape | undefined {
  let tiles = shape.tiles - 1;
  while (tiles > 0 && shapeOf(work, tiles).blocks === shape.blocks) tiles--;
  return tiles < 1 ? undefined : shapeOf(work, tiles);
}

/** The layers' blocks for one group of rows on `budget` multiprocessors. */
function spread(
  layers: readonly LayerWork[],
  cut: Cut,
  budget: number,
  precision: GpuPrecision,
  gpu: GpuFigures,
): LayerShape[] | Misfit {
  const shapes = layers.map((work) => widest(work, cut.rows, cut.rowTiles, gpu));
  const most = Math.max(
    ...layers.map((work, i) => sharedBytes(work, shapes[i] as LayerShape, cut.rows, cut.rowTiles)),
  );
  if (most > gpu.sharedPerBlock) return { blockBytes: most };
  let used = shapes.reduce((sum, { blocks }) => sum + blocks, 0);
  if (used > budget) return { blocks: used };
  const clocksOf = (i: number, shape: LayerShape) =>
    sumOfClocks(stepClocks(layers[i] as LayerWork, shape, cut, precision, gpu));
  const settled = new Set<number>();
  // The slowest layer gets more blocks as long as there are some and they help.
  for (;;) {
    const clocks = shapes.map((shape, i) => clocksOf(i, shape));
    const slowest = clocks.indexOf(Math.max(...clocks));
    if (settled.has(slowest)) return shapes;
    const now = shapes[slowest] as LayerShape;
    const next = narrower(layers[slowest] as LayerWork, now);
    if (!next) return shapes;
    const total = used - now.blocks + next.blocks;
    if (total > budget || clocksOf(slowest, next) >= (clocks[slowest] as number)) {
      settled.add(slowest);
    } else {
      used = total;
      shapes[slowest] = next;
    }
  }
}

/** The shape with the shortest step, or why there is none. */
export function shareOut(
  layers: readonly LayerWork[],
  batch: number,
  precision: GpuPrecision,
  gpu: GpuFigures,
): PersistentShape | Misfit {
  let best: PersistentShape | undefined;
  let misfit: Misfit | undefined;
  let known = 0;
  const mostGroups = Math.min(Math.ceil(batch / TILE_ROWS), gpu.multiprocessors);
  for (let wanted = 1; wanted <= mostGroups; wanted++) {
    const rows = Math.ceil(batch / wanted);
    const groups = Math.ceil(batch / rows);
    // Other cuts of the batch come down to the same.
    if (groups === known) continue;
    known = groups;
    for (const rowTiles of [1, 2, 4]) {
      const pass = rowTiles * TILE_ROWS;
      const cut = { rows, rowTiles, storedRows: Math.ceil(rows / pass) * pass };
      const shapes = spread(layers, cut, Math.floor(gpu.multiprocessors / groups), precision, gpu);
      if (!Array.isArray(shapes)) {
        // The whole batch in one group needs the fewest blocks.
        misfit ??= shapes;
        continue;
      }
      const shape = measure(layers, shapes, { groups, ...cut }, precision, gpu);
      if (!best || shape.clocks < best.clocks) best = shape;
    }
  }
  return best ?? (misfit as Misfit);
}

function measure(
  layers: readonly LayerWork[],
  shapes: readonly LayerShape[],
  cut: Pick<PersistentShape, 'groups' | 'rows' | 'rowTiles' | 'storedRows'>,
  precision: GpuPrecision,
  gpu: GpuFigures,
): PersistentShape {
  const own = layers.map((work, i) => ({ work, shape: shapes[i] as LayerShape }));
  const steps = own.map(({ work, shape }) => stepClocks(work, shape, cut, precision, gpu));
  const slowest = steps.reduce((a, b) => (sumOfClocks(b) > sumOfClocks(a) ? b : a));
  const fetched = own.reduce(
    (sum, { work, shape }) => sum + cut.groups * shape.blocks * cut.storedRows * work.chunks * CHUNK_BYTES,
    0,
  );
  const step = { ...slowest, l2: slowest.l2 + fetched / gpu.l2BytesPerClock };
  return {
    ...cut,
    layers: shapes,
    blocks: shapes.reduce((sum, { blocks }) => sum + blocks, 0),
    sharedBytes: Math.max(...own.map(({ work, shape }) => sharedBytes(work, shape, cut.rows, cut.rowTiles))),
    step,
    clocks: sumOfClocks(step),
  };
}
