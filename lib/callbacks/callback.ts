import type { Tensor } from '../tensors/tensor';

/** Numbers by name: `loss`, metric names, with `val_` in front for validation; `learningRate` behind a callback that sets it. */
export type Logs = Record<string, number>;

/** Gradient sizes of one training step, before clipping. */
export interface GradientReport {
  /** L2 norm over all parameters. */
  readonly globalNorm: number;
  /** L2 norm per trainable weight, by `layer/weight`. */
  readonly weights: Readonly<Record<string, number>>;
  /** ‖∂loss/∂h_t‖₂ for every recurrent layer (by name), one number per time step in processing order, without the padding that
   * no sequence of the batch goes beyond. */
  readonly steps: Readonly<Record<string, readonly number[]>>;
  /**
   * The same for the loss of the last step that counts, alone, up to that step: what the recurrence carries back. Where the loss
   * reads only the last step it is `steps`. Layers below one that reads backwards are left out.
   */
  readonly carried: Readonly<Record<string, readonly number[]>>;
  /** Whether the optimizer clips gradients. */
  readonly clipped: boolean;
  /** Recurrent layers of which there are no `steps`: those whose cells go from step to step by programs. */
  readonly unjudged: readonly string[];
}

/** A weight's values: a Tensor, or any object like it. */
export type WeightValues = Pick<Tensor, 'data' | 'shape'>;

/** What a callback may see and do of the model under training. */
export interface CallbackModel {
  readonly name: string;
  /**
   * Set to true to end `fit` after the current batch. The epoch counts as finished, so a checkpoint written after it resumes with
   * the next. To go on later with the batches that are left, save during the epoch and abort by the signal.
   */
  stopTraining: boolean;
  /** The optimizer's base rate; assigning replaces it (a schedule included). */
  learningRate: number;
  /** The number of training steps taken so far. */
  readonly step: number;
  /** All weights by `layer/weight`, copied. */
  getWeights(): Promise<Map<string, Tensor>>;
  setWeights(weights: ReadonlyMap<string, WeightValues>): Promise<void>;
  /** One file: weights, configuration and, on request, everything that training needs to go on bit for bit. */
  save(path: string, options?: { includeOptimizer?: boolean; checkpoint?: boolean }): Promise<void>;
}

/** What `fit` tells every callback once, before it starts. */
export interface TrainingParams {
  readonly epochs: number;
  readonly initialEpoch: number;
  /** Batches per epoch; null when the data come from a generator of unknown length. */
  readonly stepsPerEpoch: number | null;
  readonly batchSize: number | null;
  /** Names of the metrics in the logs, `loss` first. */
  readonly metrics: readonly string[];
  /** Those of them of which more is better. */
  readonly largerIsBetter: readonly string[];
  readonly validation: boolean;
}

/**
 * Hooks into `fit` (and, where marked, `evaluate`). Any of them may return a promise; training waits for it.
 * An error thrown by a hook ends `fit` with that error; the model stays usable.
 */
export interface Callback {
  /** Ask for a {@link GradientReport} at every n-th step of a fit, starting with its first (1: at every step). */
  readonly gradientsEvery?: number;
  /** Runs its hooks after those of all other callbacks, so that a checkpoint it writes holds their newest state. */
  readonly last?: boolean;
  onTrainBegin?(model: CallbackModel, params: TrainingParams): void | Promise<void>;
  /** `error`: what `fit` is about to be rejected with; undefined where it ends by itself, `stopTraining` included. */
  onTrainEnd?(logs: Logs, error?: unknown): void | Promise<void>;
  onEpochBegin?(epoch: number): void | Promise<void>;
  onEpochEnd?(epoch: number, logs: Logs): void | Promise<void>;
  onBatchBegin?(batch: number): void | Promise<void>;
  /** `logs`: running means over the epoch so far. */
  onBatchEnd?(batch: number, logs: Logs): void | Promise<void>;
  onGradients?(report: GradientReport, epoch: number, batch: number): void | Promise<void>;
  onEvaluateBegin?(steps: number | null): void | Promise<void>;
  onEvaluateBatchEnd?(batch: number, logs: Logs): void | Promise<void>;
  onEvaluateEnd?(logs: Logs): void | Promise<void>;
  /** A key under which a checkpoint keeps this callback's state; callbacks with state need one, unique in a fit. */
  readonly stateKey?: string;
  /** JSON values that a checkpoint holds, so that a resumed run goes on as if never stopped. */
  getState?(): unknown;
  /** Arrays that belong to the state, by name. A checkpoint holds them beside the weights. */
  getArrays?(): ReadonlyMap<string, WeightValues>;
  /** What a checkpoint held of `getState` (null without it) and `getArrays`; comes after `onTrainBegin`. May set `stopTraining`: no epoch is run. */
  setState?(state: unknown, arrays: ReadonlyMap<string, WeightValues>): void;
}
