import { made, type Traced } from '../../ops/traced';
import { type WindowOptions, windowsOver } from '../windows';

/** Where the filters of a convolution lie on a grid: for every place of the output, and every place of a filter, the place that it reads. */
export interface Grid {
  /** Lengths of the output along each axis. */
  readonly places: readonly number[];
  /** Row-major: output places, and within them places of the filter. −1 outside. */
  readonly sources: readonly number[];
}

/** @param space lengths of the input along each axis @param windows how filters go along each */
export function gridOf(space: readonly number[], windows: readonly WindowOptions[]): Grid {
  const axes = windows.map((window, axis) => ({ ...window, ...windowsOver(space[axis] as number, window) }));
  const places = axes.map(({ windows: count }) => count);
  const sources: number[] = [];
  forAll(places, (place) => {
    forAll(
      axes.map(({ size }) => size),
      (tap) => {
        let source = 0;
        for (const [axis, { stride, dilation, before }] of axes.entries()) {
          const at = (place[axis] as number) * stride - before + (tap[axis] as number) * dilation;
          const length = space[axis] as number;
          source = source < 0 || at < 0 || at >= length ? -1 : source * length + at;
        }
        sources.push(source);
      },
    );
  });
  return { places, sources };
}

function forAll(
  lengths: readonly number[],
  visit: (place: readonly number[]) => void,
  before: readonly number[] = [],
): void {
  const [length, ...rest] = lengths;
  if (length === undefined) {
    visit(before);
    return;
  }
  for (let i = 0; i < length; i++) forAll(rest, visit, [...before, i]);
}

/**
 * A convolution of rows that are grids, channels last: every place of the output is the product of what its filter reads with
 * `w` `[filter·channels, filters]`.
 */
export function convolve(x: Traced, w: Traced, grid: Grid, channels: number): Traced {
  const count = grid.places.reduce((product, n) => product * n, 1);
  const read = made('convolution', 'gather', [x], grid.sources.length * channels, [
    channels,
    ...grid.sources,
  ]);
  return made('convolution', 'matmul', [read, w], count * w.width, [0, count]);
}

/** Of places with `count` equal parts of their channels each, part by part, those of all places. */
export function partsOfPlaces(x: Traced, places: number, count: number): Traced[] {
  const width = x.width / places / count;
  return Array.from({ length: count }, (_, part) => {
    const sources = Array.from({ length: places }, (__, place) => place * count + part);
    return made('convolution', 'gather', [x], places * width, [width, ...sources]);
  });
}
