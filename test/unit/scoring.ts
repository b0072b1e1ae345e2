import {
  type CompileOptions,
  type EvaluateOptions,
  layers,
  Philox,
  type Scores,
  sequential,
  tensor,
} from '../../lib';

/** One scored row: predictions p, targets y (one-hot where they are classes) and its weight. */
export interface Row {
  readonly p: readonly number[];
  readonly y: readonly number[];
  readonly w: number;
}

/** Random predictions and targets, as float32 so that all devices see the same. */
export class Rows {
  private readonly random: Philox;

  constructor(seed: number) {
    this.random = new Philox(seed, 5);
  }

  private times<T>(count: number, make: () => T): T[] {
    return Array.from({ length: count }, make);
  }

  normal(rows: number, width: number, scale = 1): number[][] {
    return this.times(rows, () => this.times(width, () => Math.fround(scale * this.random.nextNormal())));
  }

  /** Between 0 and 1. */
  shares(rows: number, width: number): number[][] {
    return this.times(rows, () => this.times(width, () => Math.fround(this.random.nextFloat())));
  }

  /** 0 or 1. */
  bits(rows: number, width: number): number[][] {
    return this.times(rows, () => this.times(width, () => this.random.nextInt(2)));
  }

  /** Rows that sum to 1. */
  distributions(rows: number, width: number): number[][] {
    return this.normal(rows, width).map((row) => softmax(row).map(Math.fround));
  }

  labels(rows: number, classes: number): number[] {
    return this.times(rows, () => this.random.nextInt(classes));
  }

  /** Weights of which some are 0. */
  weights(rows: number): number[] {
    return this.times(rows, () =>
      this.random.nextInt(5) === 0 ? 0 : Math.fround(3 * this.random.nextFloat()),
    );
  }
}

export function softmax(x: readonly number[]): number[] {
  const e = x.map((v) => Math.exp(v));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
}

export const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
export const oneHot = (label: number, classes: number) =>
  Array.from({ length: classes }, (_, c) => Number(c === label));
export const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** What is to be scored: `[N, C]`, or with `steps` `[N, steps, C]`. */
export interface Scoring {
  readonly predictions: readonly (readonly number[])[];
  /** `[rows, C]`, or class indices. */
  readonly targets: readonly (readonly number[])[] | readonly number[];
  readonly steps?: number;
  /** An activation between `predictions` and the loss. */
  readonly activation?: string;
  readonly compile: CompileOptions;
  readonly options?: EvaluateOptions;
}

/** Evaluates a model that predicts exactly `predictions`: it passes its input on. */
export async function score({
  predictions,
  targets,
  steps,
  activation,
  compile,
  options,
}: Scoring): Promise<Scores> {
  const C = predictions[0]?.length as number;
  const lead = steps === undefined ? [predictions.length] : [predictions.length / steps, steps];
  const model = sequential([
    layers.input({ shape: steps === undefined ? [C] : [steps, C] }),
    ...(activation === undefined ? [] : [layers.activation({ activation })]),
  ]).compile(compile);
  const sparse = typeof targets[0] === 'number';
  const y = sparse
    ? tensor(Int32Array.from(targets as number[]), lead)
    : tensor(Float32Array.from((targets as number[][]).flat()), [...lead, C]);
  const x = tensor(Float32Array.from(predictions.flat()), [...lead, C]);
  try {
    return await model.evaluate(x, y, options);
  } finally {
    model.dispose();
  }
}

/** @throws unless the two agree to `tolerance`, relative to the larger of 1 and the wanted value; NaN fails. */
export function expectNear(actual: unknown, wanted: number | readonly number[], tolerance: number): void {
  const [a, w] = [[actual].flat() as number[], [wanted].flat()];
  expect(a).toHaveLength(w.length);
  w.forEach((value, i) => {
    const got = a[i] as number;
    if (!(Math.abs(got - value) <= tolerance * Math.max(1, Math.abs(value))))
      throw new Error(`expected ${value}, got ${got}`);
  });
}

/** Arithmetic of each device: float64, and float32 with sums in float64. */
export const devices = [
  ['reference', 1e-12],
  ['cpu', 2e-6],
] as const;
