import type { GpuPrecision } from '../../engines/engine';
import { figures, type GpuFigures } from './figures';

/** What the time of a run can go to. */
export const bounds = [
  'launches',
  'tensor cores',
  'fp32 units',
  'L2 traffic',
  'HBM traffic',
  'shared memory',
  'cells',
  'exchange',
  'host copies',
] as const;
export type Bound = (typeof bounds)[number];

/** Microseconds, by what they go to. */
export type Cost = Readonly<Record<Bound, number>>;

export const nothing = Object.fromEntries(bounds.map((bound) => [bound, 0])) as Cost;

export function cost(parts: Partial<Cost>): Cost {
  return { ...nothing, ...parts };
}

export function plus(...costs: readonly Cost[]): Cost {
  const sum = (bound: Bound) => costs.reduce((total, each) => total + each[bound], 0);
  return Object.fromEntries(bounds.map((bound) => [bound, sum(bound)])) as Cost;
}

export function times(count: number, each: Cost): Cost {
  return Object.fromEntries(bounds.map((bound) => [bound, count * each[bound]])) as Cost;
}

/** Microseconds in all. */
export function total(each: Cost): number {
  return bounds.reduce((sum, bound) => sum + each[bound], 0);
}

/** The bound that most of the time goes to. */
export function largest(each: Cost): Bound {
  return bounds.reduce((most, bound) => (each[bound] > each[most] ? bound : most));
}

/** Side of the square of the result that a block of a cuBLAS kernel makes where there is not much to do. */
const SMALL_TILE = 64;
/** Rows and columns from which on its tiles are so large that reading the factors again for each does not count. */
const LARGE = 128;
/** Least depth worth a block of its own. */
const DEPTH = 256;

/** A GPU and a precision: what the parts of a run cost there. */
export class Prices {
  constructor(
    readonly gpu: GpuFigures,
    readonly precision: GpuPrecision,
  ) {}

  /** Kernels of a graph that do next to nothing. */
  launches(count: number): Cost {
    return cost({ launches: count * figures.nodeLaunch.value });
  }

  clocks(count: number): number {
    return count / (this.gpu.clockGHz * 1000);
  }

  /**
   * A cuBLAS product `[rows, depth] · [depth, columns]` of float32 arrays: as long as its arithmetic or its reading takes, on as
   * many multiprocessors as it has work for. Small tiles read the factors once each; large ones are taken to read them but once.
   */
  product(rows: number, columns: number, depth: number): Cost {
    const { multiprocessors, tflops } = this.gpu;
    const down = Math.ceil(rows / SMALL_TILE);
    const across = Math.ceil(columns / SMALL_TILE);
    const large = rows >= LARGE && columns >= LARGE;
    const share = Math.min(1, (down * across * Math.max(1, Math.floor(depth / DEPTH))) / multiprocessors);
    const computed = (2 * rows * columns * depth) / (tflops[this.precision] * share * 1e6);
    const bytes = 4 * (rows * depth + depth * columns + rows * columns);
    const fetched = large ? bytes : 4 * (across * rows * depth + down * depth * columns + rows * columns);
    const read = this.traffic(bytes, fetched, share);
    const own = figures.nodeLaunch.value + figures.productLatency.value;
    const unit = this.precision === 'fp32' ? 'fp32 units' : 'tensor cores';
    return plus(cost({ launches: own }), computed > total(read) ? cost({ [unit]: computed }) : read);
  }

  /** A kernel that reads and writes `bytes` in all. */
  pass(bytes: number): Cost {
    return plus(this.launches(1), this.traffic(bytes, bytes, 1));
  }

  /**
   * Reading and writing by a share of the multiprocessors: `fetched` bytes through the second-level cache, and arrays of `bytes`
   * that do not fit in it once from memory.
   */
  private traffic(bytes: number, fetched: number, share: number): Cost {
    const { l2Size, l2BytesPerClock, l2BytesPerClockEach, multiprocessors, hbmBandwidth } = this.gpu;
    const perClock = Math.min(l2BytesPerClock, share * multiprocessors * l2BytesPerClockEach);
    const l2 = this.clocks(fetched / perClock);
    const hbm = bytes > l2Size ? bytes / (hbmBandwidth * 1000) : 0;
    return hbm > l2 ? cost({ 'HBM traffic': hbm }) : cost({ 'L2 traffic': l2 });
  }

  /** From the host or to it. */
  hostCopy(bytes: number): Cost {
    return cost({ 'host copies': bytes / (figures.hostBandwidth.value * 1000) });
  }
}
