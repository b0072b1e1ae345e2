import { readConfig } from '../../config';
import { type GpuPrecision, gpuPrecisions } from '../../engines/engine';
import { quoted, refuse } from '../../errors';

interface Figure {
  readonly value: number;
  readonly unit: string;
  readonly source: string;
}

/** How far the figures can be trusted; estimates carry it. */
export const BASIS = 'design figures, not yet measured';

const design = 'design of the engine';
const shape = 'native/cuda/persistent_shape.cpp';

/** Every number that an estimate comes from. None is measured yet; `bench/gpu` measures what they predict. */
export const figures = {
  multiprocessors: { value: 132, unit: 'of an H100 SXM', source: 'data sheet' },
  sharedPerBlock: { value: 232448, unit: 'bytes', source: 'CUDA programming guide, compute capability 9.0' },
  l2Size: { value: 50 * 2 ** 20, unit: 'bytes', source: 'data sheet' },
  l2BytesPerClock: { value: 3200, unit: 'bytes a clock, to all multiprocessors', source: shape },
  l2BytesPerClockEach: { value: 64, unit: 'bytes a clock, to one multiprocessor', source: shape },
  clockGHz: { value: 1.72, unit: 'GHz', source: `${design}: what makes 3200 bytes a clock its 5.5 TB/s` },
  tflopsFp32: { value: 67, unit: 'TFLOP/s', source: 'data sheet' },
  tflopsTf32: { value: 400, unit: 'TFLOP/s', source: `${design}: half of bf16` },
  tflopsBf16: { value: 800, unit: 'TFLOP/s', source: `${design}: of a large product` },
  hbmBandwidth: { value: 3350, unit: 'GB/s', source: 'data sheet' },
  hostBandwidth: { value: 50, unit: 'GB/s', source: 'assumed: pinned memory over PCIe 5' },
  graphLaunch: { value: 10, unit: 'µs a run', source: 'assumed: launch of the graph, wait for its end' },
  nodeLaunch: { value: 2.5, unit: 'µs a kernel', source: `${design}: 2.5–5, less inside a graph` },
  productLatency: {
    value: 1.5,
    unit: 'µs a product',
    source: 'assumed: a cuBLAS kernel that does almost nothing',
  },
  sharedBytesPerClock: { value: 128, unit: 'bytes a clock and multiprocessor', source: shape },
  tileProductsPerClock: { value: 0.5, unit: 'mma.sync a clock and multiprocessor', source: shape },
  exchangeClocks: { value: 2500, unit: 'clocks a step: states out, flags, states in', source: shape },
  writerClocks: { value: 8, unit: 'clocks a step and block that is waited for', source: shape },
  passClocks: { value: 1200, unit: 'clocks a step for each further pass over rows', source: shape },
  unitClocks: { value: 150, unit: 'clocks for the cell of one row and unit', source: shape },
} as const satisfies Record<string, Figure>;

/** What an estimate needs to know of a GPU. */
export interface GpuFigures {
  readonly name: string;
  readonly multiprocessors: number;
  /** Shared memory that one block may have, bytes. */
  readonly sharedPerBlock: number;
  /** Second-level cache, bytes. */
  readonly l2Size: number;
  /** What the second-level cache gives in a clock to all multiprocessors together, and to one, bytes. */
  readonly l2BytesPerClock: number;
  readonly l2BytesPerClockEach: number;
  readonly clockGHz: number;
  /** What large products reach, TFLOP/s; `fp32` without tensor cores. */
  readonly tflops: Readonly<Record<GpuPrecision, number>>;
  /** GB/s. */
  readonly hbmBandwidth: number;
}

/** Figures that differ from an H100's. */
export type GpuOptions = Partial<Omit<GpuFigures, 'tflops'>> & {
  readonly tflops?: Partial<GpuFigures['tflops']>;
};

export const h100: GpuFigures = {
  name: 'H100',
  multiprocessors: figures.multiprocessors.value,
  sharedPerBlock: figures.sharedPerBlock.value,
  l2Size: figures.l2Size.value,
  l2BytesPerClock: figures.l2BytesPerClock.value,
  l2BytesPerClockEach: figures.l2BytesPerClockEach.value,
  clockGHz: figures.clockGHz.value,
  tflops: { fp32: figures.tflopsFp32.value, tf32: figures.tflopsTf32.value, bf16: figures.tflopsBf16.value },
  hbmBandwidth: figures.hbmBandwidth.value,
};

const whole = ['multiprocessors', 'sharedPerBlock', 'l2Size'];
const gpuOptions = Object.keys(h100) as (keyof GpuFigures)[];

/** @throws ERR_VALUE, naming the figure, when one cannot be right */
export function readGpu(given: unknown, fallback: GpuFigures, subject: string): GpuFigures {
  const { name, tflops, ...numbers } = readConfig(given, gpuOptions, subject);
  if (name !== undefined && typeof name !== 'string')
    refuse('ERR_VALUE', `${subject}.name`, 'a string', name);
  for (const [key, value] of Object.entries(numbers)) {
    if (whole.includes(key) && !Number.isSafeInteger(value))
      refuse('ERR_VALUE', `${subject}.${key}`, 'a positive integer', quoted(value));
    provePositive(value, `${subject}.${key}`);
  }
  const speeds = readConfig(tflops, gpuPrecisions, `${subject}.tflops`);
  for (const [key, value] of Object.entries(speeds)) provePositive(value, `${subject}.tflops.${key}`);
  const named = name === undefined ? {} : { name: name as string };
  return { ...fallback, ...named, ...numbers, tflops: { ...fallback.tflops, ...speeds } } as GpuFigures;
}

function provePositive(value: unknown, subject: string): void {
  if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0)
    refuse('ERR_VALUE', subject, 'a finite number above 0', quoted(value));
}
