export { callbacks } from './callbacks';
export type {
  Callback,
  CallbackModel,
  GradientReport,
  Logs,
  TrainingParams,
  WeightValues,
} from './callbacks/callback';
export * from './data';
export { type Device, devices } from './engines/devices';
export { DeepRnnError, type ErrorCode } from './errors';
export { exportOnnx, type LoadedModel, type LoadOptions, loadModel, type OnnxExportOptions } from './formats';
export type { OnnxInputs, OnnxModel, OnnxOutputs } from './formats/onnx/onnxModel';
export {
  type FromTorchOptions,
  fromTorch,
  type TorchDescription,
  type TorchModule,
  type ToTorchOptions,
  toTorch,
} from './formats/torch';
export { type NpyDType, type NpyOptions, readNpy, writeNpy } from './io/npy';
export { type ReadNpzOptions, readNpz, type WriteNpzOptions, writeNpz } from './io/npz';
export { constraints, initializers, layers, regularizers } from './layers';
export { cells } from './layers/cells';
export {
  type Cell,
  type CellContext,
  type CellDefinition,
  type CellStep,
  type CellWeight,
  defineCell,
} from './layers/cells/cell';
export type { IndRnnConfig } from './layers/cells/indRnn';
export type { SruConfig } from './layers/cells/sru';
export { Layer } from './layers/layer';
export { SymbolicTensor } from './layers/symbolic';
export { defineLoss, losses } from './losses';
export { defineMetric, metrics } from './metrics';
export type { BatchGenerator, ClassWeight, InitialStates } from './models/batches';
export type { CompileOptions, GradientCheckpointing } from './models/compiled';
export type { Bound } from './models/estimate/cost';
export type { PlanEstimate, Rung, RungEstimate, StackEstimate } from './models/estimate/cudaEstimate';
export type { GpuFigures, GpuOptions } from './models/estimate/figures';
export type { EvaluateOptions, Prediction, PredictOptions, StatesOption } from './models/evaluate';
export type { FitOptions } from './models/fitOptions';
export { modelFromConfig, sequentialFromConfig } from './models/fromConfig';
export {
  Functional,
  type FunctionalConfig,
  type FunctionalOptions,
  input,
  model,
  type Outputs,
} from './models/functional';
export { History } from './models/history';
export type { Measurement, OpNote, PartTime } from './models/measure';
export { Model, type ModelOptions } from './models/model';
export { loadWeights, type SaveOptions, saveWeights, type WeightsOptions } from './models/modelFile';
export type { CudaEstimate, EstimatedProfile, MeasuredProfile } from './models/profile';
export type { EstimateOptions, ProfileOptions } from './models/profileOptions';
export type { Scores } from './models/scores';
export {
  Sequential,
  type SequentialConfig,
  type SequentialOptions,
  sequential,
} from './models/sequential';
export type { ModelStream, StreamOptions, StreamStates } from './models/stream';
export type { SummaryOptions } from './models/summary';
export type { TrainOnBatchOptions } from './models/trainStep';
export type { TruncatedBPTT } from './models/truncation';
export { ops } from './ops';
export type { ScoreFunction } from './ops/rowFunction';
export { Traced } from './ops/traced';
export { optimizers, schedules } from './optimizers';
export { type HistoryPlotOptions, type ModelPlotOptions, plotHistory, plotModel } from './plots';
export { Philox } from './tensors/random';
export { type NestedArray, type Shape, Tensor, type TensorLike, tensor } from './tensors/tensor';
