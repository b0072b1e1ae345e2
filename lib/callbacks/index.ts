import { csvLogger } from './csvLogger';
import { earlyStopping } from './earlyStopping';
import { gradientHealth } from './gradientHealth';
import { learningRateScheduler, reduceLROnPlateau } from './learningRate';
import { modelCheckpoint } from './modelCheckpoint';
import { progress } from './progress';
import { terminateOnNaN } from './terminateOnNaN';

/** Makers of all callbacks. Any object with the hooks of `Callback` is one too. */
export const callbacks = {
  progress,
  earlyStopping,
  modelCheckpoint,
  csvLogger,
  reduceLROnPlateau,
  learningRateScheduler,
  terminateOnNaN,
  gradientHealth,
};

export type { CsvLoggerOptions } from './csvLogger';
export type { EarlyStoppingOptions } from './earlyStopping';
export type { Finding, GradientSummary } from './gradientDiagnosis';
export type { GradientHealth, GradientHealthOptions } from './gradientHealth';
export type { ReduceLROnPlateauOptions } from './learningRate';
export type { ModelCheckpointOptions } from './modelCheckpoint';
export type { ProgressOptions } from './progress';
