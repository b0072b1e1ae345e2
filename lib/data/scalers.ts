import { readConfig } from '../config';
import { DeepRnnError, quoted, refuse } from '../errors';
import { namedTensor, Tensor, type TensorLike } from '../tensors/tensor';

export interface ScaleOptions {
  /** The features that the last axis holds, by their numbers when the scaler was fitted: `[0]` for forecasts of the first. Default: all. */
  columns?: readonly number[];
  /** Of the result. Default `'float32'` for transform, `'float64'` for inverseTransform. */
  dtype?: 'float32' | 'float64';
}

/** Brings features to a common scale. Fitted on training data, applied to all, saved with the model. Computes in float64. */
export interface Scaler {
  readonly type: ScalerType;
  /** Learns the statistics of `[N, D]` or `[N, T, D]`, or of one feature `[N]`, anew. @throws ERR_VALUE for NaN or infinities */
  fit(x: TensorLike): this;
  /** The same in pieces: adds more data to the statistics. */
  partialFit(x: TensorLike): this;
  /** Scaled values of the same shape. */
  transform(x: TensorLike, options?: ScaleOptions): Tensor;
  fitTransform(x: TensorLike): Tensor;
  /** Back from the scaled values. */
  inverseTransform(x: TensorLike, options?: ScaleOptions): Tensor;
  toJSON(): Record<string, unknown>;
}

export type ScalerType = 'standardScaler' | 'minMaxScaler';

type Line = readonly [shift: number, scale: number, offset: number];

/** Per-feature statistics, and the straight line y = (x − shift) / scale + offset that they give. */
abstract class LinearScaler implements Scaler {
  abstract readonly type: ScalerType;
  protected width: number | undefined;

  protected abstract reset(width: number): void;
  protected abstract add(feature: number, value: number): void;
  /** shift, scale and offset of a feature. */
  protected abstract line(feature: number): Line;
  abstract toJSON(): Record<string, unknown>;

  fit(x: TensorLike): this {
    this.width = undefined;
    return this.partialFit(x);
  }

  partialFit(x: TensorLike): this {
    const { data, shape } = this.read(x, 'fit', this.width);
    const width = shape.length === 1 ? 1 : (shape[shape.length - 1] as number);
    // Everything is proven before anything is learned.
    data.forEach((v, i) => {
      if (!Number.isFinite(v))
        refuse(
          'ERR_VALUE',
          `${this.type}.fit`,
          'finite numbers',
          `${v} in feature ${i % width}, row ${Math.floor(i / width)}`,
        );
    });
    if (this.width === undefined) {
      this.width = width;
      this.reset(width);
    }
    data.forEach((v, i) => {
      this.add(i % width, v);
    });
    return this;
  }

  transform(x: TensorLike, options?: ScaleOptions): Tensor {
    const forward = (v: number, [shift, scale, offset]: Line) => (v - shift) / scale + offset;
    return this.map(x, 'transform', options, 'float32', forward);
  }

  fitTransform(x: TensorLike): Tensor {
    return this.fit(x).transform(x);
  }

  inverseTransform(x: TensorLike, options?: ScaleOptions): Tensor {
    const back = (v: number, [shift, scale, offset]: Line) => (v - offset) * scale + shift;
    return this.map(x, 'inverseTransform', options, 'float64', back);
  }

  private map(
    x: TensorLike,
    call: string,
    options: ScaleOptions | undefined,
    usual: 'float32' | 'float64',
    f: (v: number, line: Line) => number,
  ): Tensor {
    const subject = `${this.type}.${call}`;
    const { width } = this;
    if (width === undefined)
      throw new DeepRnnError(
        'ERR_STATE',
        `${subject}: expected a fitted scaler. Call fit with training data first.`,
      );
    const o = readConfig(options, ['columns', 'dtype'], subject);
    const columns = readColumns(o.columns, width, `${subject}: columns`);
    const dtype = o.dtype ?? usual;
    if (dtype !== 'float32' && dtype !== 'float64')
      refuse('ERR_VALUE', `${subject}: dtype`, "'float32' or 'float64'", quoted(dtype));
    const { data, shape } = this.read(x, call, columns.length, o.columns === undefined);
    const lines = columns.map((d) => this.line(d));
    const Values = dtype === 'float32' ? Float32Array : Float64Array;
    const scaled = new Values(data.length);
    data.forEach((v, i) => {
      scaled[i] = f(v, lines[i % lines.length] as Line);
    });
    return new Tensor(scaled, shape);
  }

  /** Data with `width` features, in full precision: what float32 cannot tell apart can no longer be scaled. */
  private read(x: TensorLike, call: string, width: number | undefined, all = false): Tensor {
    const subject = `${this.type}.${call}`;
    const isTensor = x instanceof Tensor || x instanceof Float32Array;
    const given = namedTensor(subject, x, undefined, isTensor ? undefined : 'float64');
    const { shape } = given;
    const last = shape.length === 1 ? 1 : shape[shape.length - 1];
    const fits =
      shape.length >= 1 && shape.length <= 3 && given.size > 0 && (width === undefined || last === width);
    if (!fits) {
      const features = width ?? 'features';
      const fewer = all && width !== undefined && last !== undefined && last < width;
      const plain = width === 1 || width === undefined ? '[N], ' : '';
      refuse(
        'ERR_SHAPE',
        subject,
        `shape ${plain}[N, ${features}] or [N, T, ${features}]`,
        `[${shape.join(', ')}]`,
        fewer ? 'Say which of the features these are, e.g. { columns: [0] }.' : undefined,
      );
    }
    return given;
  }
}

function readColumns(given: unknown, width: number, subject: string): number[] {
  const columns = given ?? Array.from({ length: width }, (_, d) => d);
  const fits =
    Array.isArray(columns) &&
    columns.length > 0 &&
    columns.every((d) => Number.isInteger(d) && d >= 0 && d < width);
  if (!fits) refuse('ERR_VALUE', subject, `numbers of features from 0 to ${width - 1}`, quoted(given));
  return columns as number[];
}

/** Mean 0 and standard deviation 1 (of the population, as scikit-learn). A feature that never changes is only shifted. */
class StandardScaler extends LinearScaler {
  readonly type = 'standardScaler';
  private count = 0;
  private mean: number[] = [];
  private squares: number[] = [];
  private counts: number[] = [];

  protected reset(width: number): void {
    this.count = 0;
    this.mean = new Array(width).fill(0);
    this.squares = new Array(width).fill(0);
    this.counts = new Array(width).fill(0);
  }

  /** Welford's running mean and sum of squared deviations (1962). */
  protected add(d: number, v: number): void {
    const n = (this.counts[d] as number) + 1;
    const delta = v - (this.mean[d] as number);
    const mean = (this.mean[d] as number) + delta / n;
    this.counts[d] = n;
    this.count = n;
    this.mean[d] = mean;
    this.squares[d] = (this.squares[d] as number) + delta * (v - mean);
  }

  protected line(d: number) {
    const deviation = Math.sqrt((this.squares[d] as number) / this.count);
    return [this.mean[d] as number, deviation > 0 ? deviation : 1, 0] as const;
  }

  toJSON(): Record<string, unknown> {
    return {
      type: this.type,
      width: this.width,
      mean: this.mean,
      squares: this.squares,
      counts: this.counts,
    };
  }

  static fromJSON(json: Record<string, unknown>): StandardScaler {
    const scaler = new StandardScaler();
    const width = json['width'] as number | undefined;
    if (width === undefined) return scaler;
    scaler.width = width;
    scaler.mean = numbers(json['mean'], width);
    scaler.squares = numbers(json['squares'], width);
    scaler.counts = numbers(json['counts'], width);
    scaler.count = scaler.counts[0] as number;
    return scaler;
  }
}

/** The smallest value to the lower end of `featureRange`, the largest to the upper. A feature that never changes goes to the lower end. */
class MinMaxScaler extends LinearScaler {
  readonly type = 'minMaxScaler';
  private low: number[] = [];
  private high: number[] = [];

  constructor(private readonly range: readonly [number, number]) {
    super();
  }

  protected reset(width: number): void {
    this.low = new Array(width).fill(Number.POSITIVE_INFINITY);
    this.high = new Array(width).fill(Number.NEGATIVE_INFINITY);
  }

  protected add(d: number, v: number): void {
    this.low[d] = Math.min(this.low[d] as number, v);
    this.high[d] = Math.max(this.high[d] as number, v);
  }

  protected line(d: number) {
    const [from, to] = this.range;
    const low = this.low[d] as number;
    const span = (this.high[d] as number) - low;
    return [low, span > 0 ? span / (to - from) : 1, from] as const;
  }

  toJSON(): Record<string, unknown> {
    return {
      type: this.type,
      featureRange: [...this.range],
      width: this.width,
      low: this.low,
      high: this.high,
    };
  }

  static fromJSON(json: Record<string, unknown>): MinMaxScaler {
    const scaler = new MinMaxScaler(readRange(json['featureRange']));
    const width = json['width'] as number | undefined;
    if (width === undefined) return scaler;
    scaler.width = width;
    scaler.low = numbers(json['low'], width);
    scaler.high = numbers(json['high'], width);
    return scaler;
  }
}

function numbers(value: unknown, width: number): number[] {
  if (!Array.isArray(value) || value.length !== width || !value.every((v) => typeof v === 'number')) {
    refuse('ERR_VALUE', 'a saved scaler', `${width} numbers`, quoted(value));
  }
  return [...(value as number[])];
}

function readRange(value: unknown): [number, number] {
  const fits =
    Array.isArray(value) && value.length === 2 && value.every(Number.isFinite) && value[0] < value[1];
  if (!fits) refuse('ERR_VALUE', 'minMaxScaler: featureRange', 'two rising numbers', quoted(value));
  return value as [number, number];
}

/** A scaler to mean 0 and standard deviation 1. */
export function standardScaler(): Scaler {
  return new StandardScaler();
}

/** A scaler to a range, by default 0 … 1. */
export function minMaxScaler(options: { featureRange?: readonly [number, number] } = {}): Scaler {
  return new MinMaxScaler(
    readRange(readConfig(options, ['featureRange'], 'minMaxScaler').featureRange ?? [0, 1]),
  );
}

export const scalerReaders = {
  standardScaler: (json: Record<string, unknown>): Scaler => StandardScaler.fromJSON(json),
  minMaxScaler: (json: Record<string, unknown>): Scaler => MinMaxScaler.fromJSON(json),
};
