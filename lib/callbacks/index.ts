import { csvLogger } from './csvLogger';
import { earlyStopping } from './earlyStopping';
import { gradientHealth } from './gradientHealth';
import { learningRateScheduler, reduceLROnPlateau } from './learningRate';
import { lrFinder } from './lrFinder';
import { modelCheckpoint } from './modelCheckpoint';
import { progress } from './progress';
import { tensorBoard } from './tensorBoard';
import { terminateOnNaN } from './terminateOnNaN';

/** Makers of all callbacks. Any object with the hooks of `Callback` is one too. */
export const callbacks = {
  progress,
  earlyStopping,
  modelCheckpoint,
  csvLogger,
  reduceLROnPlateau,
  learningRateScheduler,
  lrFinder,
  terminateOnNaN,
  gradientHealth,
  tensorBoard,
};

export type { CsvLoggerOptions } from './csvLogger';
export type { EarlyStoppingOptions } from './earlyStopping';
export type { Finding, GradientSummary } from './gradientDiagnosis';
export type { GradientHealth, GradientHealthOptions } from './gradientHealth';
export type { ReduceLROnPlateauOptions } from './learningRate';
export type { LRFinder, LRFinderOptions, LRFinderResult } from './lrFinder';
export type { ModelCheckpointOptions } from './modelCheckpoint';
export type { ProgressOptions } from './progress';
export type { TensorBoardOptions } from './tensorBoard';
