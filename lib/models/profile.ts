import { cudaInfo } from '../engines/cuda';
import type { EngineName, GpuPrecision, Precision } from '../engines/engine';
import type { Plan } from '../plan/types';
import { estimatePlan, type PlanEstimate } from './estimate/cudaEstimate';
import { BASIS, type GpuFigures, h100, readGpu } from './estimate/figures';
import { lower, type PlanMode } from './lower';
import { type Measurement, measure } from './measure';
import type { Model } from './model';
import { type EstimateOptions, type ProfileOptions, readProfileOptions } from './profileOptions';

/** Times on a GPU, predicted from figures. */
export interface CudaEstimate {
  /** How far the figures can be trusted. */
  readonly basis: string;
  readonly gpu: GpuFigures;
  readonly predict: PlanEstimate;
  /** Only of a compiled model. */
  readonly train?: PlanEstimate;
}

interface ProfileHead {
  readonly device: string;
  readonly engine: EngineName;
  /** `'fp64'` on the reference engine, whatever was asked for. */
  readonly precision: Precision | 'fp64';
  readonly batchSize: number;
  /** Null for a model that reads no sequences. */
  readonly steps: number | null;
}

export interface MeasuredProfile extends ProfileHead {
  readonly predict: Measurement;
  /** Only of a compiled model. */
  readonly train?: Measurement;
  /** On a CUDA device: what was to be expected. */
  readonly estimate?: CudaEstimate;
}

export interface EstimatedProfile extends ProfileHead {
  readonly estimate: CudaEstimate;
}

/** Times or estimates of predicting and training. The model is only read. */
export async function profile(
  model: Model,
  options: ProfileOptions | EstimateOptions | undefined,
): Promise<MeasuredProfile | EstimatedProfile> {
  const settings = readProfileOptions(model, options);
  const { device, batchSize, steps, precision } = settings;
  if (settings.estimate) {
    const plan = (mode: PlanMode) =>
      lower(model.recipe(), {
        mode,
        inputShapes: settings.inputShapes,
        weighted: [],
        initialStates: [],
        lengths: false,
        gradientNorms: false,
      }).plan;
    const plans = { predict: plan('predict'), ...(model.compiled ? { train: plan('train') } : {}) };
    const gpu = readGpu(settings.gpu, h100, 'profile: gpu');
    return {
      device,
      engine: 'cuda',
      precision,
      batchSize,
      steps,
      estimate: estimateOf(plans, precision as GpuPrecision, gpu),
    };
  }
  const gpu = readGpu(settings.gpu, figuresOf(device), 'profile: gpu');
  const { engine, real, predict, train } = await measure(model, settings);
  const plans = { predict: predict.plan, ...(train ? { train: train.plan } : {}) };
  return {
    device,
    engine,
    precision: real === 'float64' ? 'fp64' : precision,
    batchSize,
    steps,
    predict: predict.measurement,
    ...(train ? { train: train.measurement } : {}),
    ...(engine === 'cuda' ? { estimate: estimateOf(plans, precision as GpuPrecision, gpu) } : {}),
  };
}

function estimateOf(
  plans: { readonly predict: Plan; readonly train?: Plan },
  precision: GpuPrecision,
  gpu: GpuFigures,
): CudaEstimate {
  return {
    basis: BASIS,
    gpu,
    predict: estimatePlan(plans.predict, { precision, gpu }),
    ...(plans.train ? { train: estimatePlan(plans.train, { precision, gpu }) } : {}),
  };
}

/** KiB of shared memory that a block may have, by compute capability (CUDA programming guide); 99 on those not listed. */
const sharedKiB: Readonly<Record<string, number>> = {
  '8.0': 163,
  '8.7': 163,
  '9.0': 227,
  '10.0': 227,
  '10.3': 227,
};

/** What is known of a device: its name, multiprocessors and shared memory. All else stays an H100's. */
function figuresOf(device: string): GpuFigures {
  if (!device.startsWith('cuda')) return h100;
  const wanted = device.slice('cuda:'.length) || '0';
  const info = cudaInfo();
  const found =
    'reason' in info
      ? undefined
      : info.devices.find(({ index, uuid }) => String(index) === wanted || uuid.startsWith(wanted));
  if (!found) return h100;
  const { name, multiprocessors, computeCapability } = found;
  const sharedPerBlock = 1024 * (sharedKiB[computeCapability] ?? 99);
  return { ...h100, name, multiprocessors, sharedPerBlock };
}
