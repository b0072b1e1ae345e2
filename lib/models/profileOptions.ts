import { flagOption, readConfig } from '../config';
import { gpuPrecisions, type Precision, precisions } from '../engines/engine';
import { oneOf, quoted, refuse } from '../errors';
import type { InputContract } from './batches';
import { positiveInteger } from './callOptions';
import type { GpuOptions } from './estimate/figures';
import type { Model } from './model';

interface CommonProfileOptions {
  /** Examples in a batch. Default 32, or what stateful layers are made for. */
  readonly batchSize?: number;
  /** Steps of the sequences; required where the model takes any number, and not to be given where it reads no sequences. */
  readonly steps?: number;
  /** In what products are computed. Default: what the model is compiled with, else `'fp32'`. */
  readonly precision?: Precision;
  /** Figures of the GPU that differ from an H100's; for estimates. */
  readonly gpu?: GpuOptions;
}

/** What `profile` measures, and how often. */
export interface ProfileOptions extends CommonProfileOptions {
  /** As `compile` takes it. Default: the device that the model is compiled for, else what DEEPRNN_DEVICE says, else `'cpu'`. */
  readonly device?: string;
  /** Runs that count, after some that do not. Default 20. */
  readonly repeats?: number;
  readonly signal?: AbortSignal;
  readonly estimate?: false;
}

/** What `profile` estimates: no GPU is needed. */
export interface EstimateOptions extends CommonProfileOptions {
  readonly estimate: true;
  /** Only times on `'cuda'` can be estimated. */
  readonly device?: string;
}

/** Options with their defaults filled in. */
export interface ProfileSettings {
  readonly batchSize: number;
  /** Null for a model that reads no sequences. */
  readonly steps: number | null;
  readonly repeats: number;
  readonly precision: Precision;
  readonly device: string;
  readonly estimate: boolean;
  readonly gpu: unknown;
  readonly signal: AbortSignal | undefined;
  /** Whole shapes of the inputs, batch first. */
  readonly inputShapes: readonly (readonly number[])[];
}

const names = ['batchSize', 'steps', 'repeats', 'precision', 'device', 'estimate', 'gpu', 'signal'] as const;

/** @throws ERR_VALUE, naming the option, for one that cannot be taken */
export function readProfileOptions(
  model: Model,
  options: ProfileOptions | EstimateOptions | undefined,
): ProfileSettings {
  const given = readConfig(options, names, 'profile');
  const { inputs, fixedBatch } = model.contract('profile');
  const batchSize = positiveInteger('profile: batchSize', given.batchSize, fixedBatch ?? 32);
  if (fixedBatch !== undefined && batchSize !== fixedBatch)
    refuse(
      'ERR_VALUE',
      'profile: batchSize',
      `${fixedBatch}, which the stateful layers are made for`,
      batchSize,
    );
  const estimate = flagOption(given.estimate, false, 'profile: estimate');
  const device = readDevice(model, given.device, estimate);
  const onCuda = /^cuda(:|$)/.test(device);
  if (estimate && !onCuda)
    refuse('ERR_VALUE', 'profile: device', "'cuda', as no other can be estimated", quoted(device));
  if (given.gpu !== undefined && !onCuda)
    refuse('ERR_VALUE', 'profile: gpu', "device 'cuda' beside it", quoted(device));
  for (const name of ['repeats', 'signal'] as const) {
    if (estimate && given[name] !== undefined)
      refuse('ERR_VALUE', `profile: ${name}`, 'none for an estimate, which runs nothing', given[name]);
  }
  const precision = given.precision ?? model.compiled?.precision ?? 'fp32';
  const known = estimate ? gpuPrecisions : precisions;
  if (!(known as readonly unknown[]).includes(precision))
    refuse('ERR_VALUE', 'profile: precision', oneOf(known), quoted(precision));
  const signal = given.signal as AbortSignal | undefined;
  // No `instanceof`: a signal may come from another realm.
  if (signal !== undefined && typeof signal?.aborted !== 'boolean')
    refuse('ERR_VALUE', 'profile: signal', 'an AbortSignal', quoted(signal));
  const steps = readSteps(inputs, given.steps);
  const inputShapes = inputs.map(({ shape, sequence }) => {
    // Others than the first may have a length of their own.
    const known = sequence ? [shape[0] ?? steps, ...shape.slice(1)] : shape;
    if (known.includes(null)) {
      const shown = `[N, ${shape.map((n) => n ?? 'any').join(', ')}]`;
      refuse('ERR_SHAPE', 'profile', 'inputs of which only the number of steps is open', shown);
    }
    return [batchSize, ...known] as number[];
  });
  return {
    batchSize,
    steps,
    repeats: positiveInteger('profile: repeats', given.repeats, 20),
    precision: precision as Precision,
    device,
    estimate,
    gpu: given.gpu,
    signal,
    inputShapes,
  };
}

function readDevice(model: Model, given: unknown, estimate: boolean): string {
  if (given === undefined)
    return estimate ? 'cuda' : (model.compiled?.device ?? (process.env['DEEPRNN_DEVICE'] || 'cpu'));
  if (typeof given !== 'string')
    refuse('ERR_VALUE', 'profile: device', "a device name, e.g. 'cpu' or 'cuda'", given);
  return given;
}

/** The number of steps of the first sequence that the model reads. */
function readSteps(inputs: readonly InputContract[], given: unknown): number | null {
  const subject = 'profile: steps';
  const read = inputs.find(({ sequence }) => sequence);
  if (!read) {
    if (given !== undefined)
      refuse('ERR_VALUE', subject, 'none, as the model reads no sequences', quoted(given));
    return null;
  }
  const own = read.shape[0] as number | null;
  if (given === undefined)
    return (
      own ?? refuse('ERR_VALUE', subject, 'a positive integer, as the model takes any length', 'nothing')
    );
  const steps = positiveInteger(subject, given, 1);
  if (own !== null && steps !== own) refuse('ERR_VALUE', subject, `${own}, the model's own length`, steps);
  return steps;
}
