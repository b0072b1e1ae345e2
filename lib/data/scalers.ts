import { readConfig } from '../config';
import { DeepRnnError, quoted, refuse } from '../errors';
import { Tensor, type TensorLike, tensor } from '../tensors/tensor';

/** Brings features to a common scale. Fitted on training data, applied to all, saved with the model. */
export interface Scaler {
  readonly type: ScalerType;
  /** Learns the statistics of `[N, D]` or `[N, T, D]` anew. @throws ERR_VALUE for NaN or infinities */
  fit(x: TensorLike): this;
  /** The same in pieces: adds more data to the statistics. */
  partialFit(x: TensorLike): this;
  /** Scaled values, float32, of the same shape. */
  transform(x: TensorLike): Tensor;
  fitTransform(x: TensorLike): Tensor;
  /** Back from the scaled values. */
  inverseTransform(x: TensorLike): Tensor;
  toJSON(): Record<string, unknown>;
}

export type ScalerType = 'standardScaler' | 'minMaxScaler';

/** Per-feature statistics, and the straight line y = (x − shift) / scale + offset that they give. */
abstract class LinearScaler implements Scaler {
  abstract readonly type: ScalerType;
  protected width: number | undefined;

  protected abstract reset(width: number): void;
  protected abstract add(feature: number, value: number): void;
  /** shift, scale and offset of a feature. */
  protected abstract line(feature: number): readonly [shift: number, scale: number, offset: number];
  abstract toJSON(): Record<string, unknown>;

  fit(x: TensorLike): this {
    this.width = undefined;
    return this.partialFit(x);
  }

  partialFit(x: TensorLike): this {
    const { data, shape } = this.read(x, 'fit');
    const width = shape[shape.length - 1] as number;
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

  transform(x: TensorLike): Tensor {
    return this.map(x, 'transform', (v, [shift, scale, offset]) => (v - shift) / scale + offset);
  }

  fitTransform(x: TensorLike): Tensor {
    return this.fit(x).transform(x);
  }

  inverseTransform(x: TensorLike): Tensor {
    return this.map(x, 'inverseTransform', (v, [shift, scale, offset]) => (v - offset) * scale + shift);
  }

  private map(
    x: TensorLike,
    call: string,
    f: (v: number, line: readonly [number, number, number]) => number,
  ): Tensor {
    if (this.width === undefined)
      throw new DeepRnnError(
        'ERR_STATE',
        `${this.type}.${call}: expected a fitted scaler. Call fit with training data first.`,
      );
    const { data, shape } = this.read(x, call);
    const width = this.width;
    const lines = Array.from({ length: width }, (_, d) => this.line(d));
    return new Tensor(
      Float32Array.from(data, (v, i) => f(v, lines[i % width] as [number, number, number])),
      shape,
    );
  }

  private read(x: TensorLike, call: string): Tensor {
    const given = tensor(x);
    const { shape } = given;
    const width = shape[shape.length - 1];
    const fits =
      (shape.length === 2 || shape.length === 3) &&
      given.size > 0 &&
      (this.width === undefined || width === this.width);
    if (!fits) {
      const features = this.width ?? 'features';
      refuse(
        'ERR_SHAPE',
        `${this.type}.${call}`,
        `shape [N, ${features}] or [N, T, ${features}]`,
        `[${shape.join(', ')}]`,
      );
    }
    return given;
  }
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
