import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import type { Callback, CallbackModel, Logs, WeightValues } from './callback';

export interface LRFinderOptions {
  /** The first rate. Default 1e-7. */
  minLearningRate?: number;
  /** The last rate. Default 1. */
  maxLearningRate?: number;
  /** Batches over which the rate rises, each time by the same factor. Default 100. */
  steps?: number;
  /** Share of the loss so far in the smoothed loss. Default 0.9. */
  smoothing?: number;
  /** The search ends when the smoothed loss is above the least one by this many times what it had fallen, or is not finite. Default 4. */
  divergence?: number;
}

/** What a search has found, one number for each batch. */
export interface LRFinderResult {
  readonly learningRates: readonly number[];
  /** The loss of each batch. */
  readonly losses: readonly number[];
  /** Exponentially smoothed, without bias towards the first. */
  readonly smoothedLosses: readonly number[];
  /** The rate at which the smoothed loss falls most steeply over the logarithm of the rate; undefined where it never falls. */
  readonly suggestion: number | undefined;
}

export interface LRFinder extends Callback {
  result(): LRFinderResult;
}

const SUBJECT = 'callbacks.lrFinder';

function numberOption(
  name: string,
  given: number | undefined,
  fallback: number,
  wanted: string,
  fits: (v: number) => boolean,
): number {
  const value = given ?? fallback;
  if (!Number.isFinite(value) || !fits(value))
    refuse('ERR_VALUE', `${SUBJECT}: ${name}`, wanted, quoted(value));
  return value;
}

/**
 * Raises the learning rate batch by batch and records the loss (Smith, 2017), then ends the fit, with the weights and the rate of its
 * beginning. Step count and optimizer state stay those of the search: compile again before training. Batches count alike, whatever
 * their size.
 */
class Finder implements LRFinder {
  private readonly min: number;
  private readonly max: number;
  private readonly steps: number;
  private readonly smoothing: number;
  private readonly divergence: number;
  private model: CallbackModel | undefined;
  private before: { rate: number; weights: ReadonlyMap<string, WeightValues> } | undefined;
  private meanBefore = 0;
  private average = 0;
  private learningRates: number[] = [];
  private losses: number[] = [];
  private smoothed: number[] = [];

  constructor(options: LRFinderOptions) {
    const known = ['minLearningRate', 'maxLearningRate', 'steps', 'smoothing', 'divergence'] as const;
    const o = readConfig(options, known, SUBJECT) as LRFinderOptions;
    const positive = (v: number) => v > 0;
    this.min = numberOption('minLearningRate', o.minLearningRate, 1e-7, 'a finite number above 0', positive);
    const above = `a finite number above minLearningRate, ${this.min}`;
    this.max = numberOption('maxLearningRate', o.maxLearningRate, 1, above, (v) => v > this.min);
    const count = (v: number) => Number.isSafeInteger(v) && v >= 2;
    this.steps = numberOption('steps', o.steps, 100, 'a whole number of batches, 2 or more', count);
    const share = (v: number) => v >= 0 && v < 1;
    this.smoothing = numberOption('smoothing', o.smoothing, 0.9, 'a number from 0 to below 1', share);
    this.divergence = numberOption('divergence', o.divergence, 4, 'a finite number above 0', positive);
  }

  async onTrainBegin(model: CallbackModel): Promise<void> {
    this.model = model;
    this.before = { rate: model.learningRate, weights: await model.getWeights() };
    this.average = 0;
    this.learningRates = [];
    this.losses = [];
    this.smoothed = [];
  }

  onBatchBegin(batch: number): void {
    if (batch === 0) this.meanBefore = 0;
    const share = this.losses.length / (this.steps - 1);
    (this.model as CallbackModel).learningRate = this.min * (this.max / this.min) ** share;
  }

  onBatchEnd(batch: number, logs: Logs): void {
    const model = this.model as CallbackModel;
    const mean = logs['loss'] as number;
    // Logs are means over the epoch so far.
    const loss = (batch + 1) * mean - batch * this.meanBefore;
    this.meanBefore = mean;
    this.learningRates.push(model.learningRate);
    this.losses.push(loss);
    this.average = this.smoothing * this.average + (1 - this.smoothing) * loss;
    const now = this.average / (1 - this.smoothing ** this.losses.length);
    this.smoothed.push(now);
    if (this.losses.length === this.steps || this.diverged(now)) model.stopTraining = true;
  }

  async onTrainEnd(): Promise<void> {
    const { model, before } = this;
    this.before = undefined;
    if (!model || !before) return;
    model.learningRate = before.rate;
    await model.setWeights(before.weights);
  }

  result(): LRFinderResult {
    const { learningRates, losses, smoothed } = this;
    // The rates rise by one factor, so differences are slopes over their logarithm.
    const falls = smoothed.slice(1).map((v, i) => (smoothed[i] as number) - v);
    const steepest = falls.reduce((best, fall, i) => (fall > (falls[best] ?? 0) ? i : best), -1);
    return {
      learningRates: [...learningRates],
      losses: [...losses],
      smoothedLosses: [...smoothed],
      suggestion: steepest < 0 ? undefined : learningRates[steepest],
    };
  }

  /** By how far the loss had fallen, because losses may be negative. */
  private diverged(now: number): boolean {
    if (!Number.isFinite(now)) return true;
    const least = Math.min(...this.smoothed);
    const fallen = (this.smoothed[0] as number) - least;
    return fallen > 0 && now - least > this.divergence * fallen;
  }
}

/** A search for a learning rate: give it to `fit`, then read its `result()`. */
export function lrFinder(options: LRFinderOptions = {}): LRFinder {
  return new Finder(options);
}
