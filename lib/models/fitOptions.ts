import type { Callback } from '../callbacks/callback';
import { flagOption, readConfig, requirePath } from '../config';
import { quoted, refuse } from '../errors';
import { seedOption } from '../layers/options';
import type { TensorLike } from '../tensors/tensor';
import type { BatchGenerator, ExampleOptions, Inputs } from './batches';
import { checkSignal, positiveInteger, readCallbacks, readVerbosity, type Verbosity } from './callOptions';
import { readTruncation, type TruncatedBPTT } from './truncation';

export interface FitOptions extends ExampleOptions {
  /** Examples per step. Default 32; ignored for generators, which make their own batches. */
  readonly batchSize?: number;
  /** Passes over the data; training ends after this one. Default 1. */
  readonly epochs?: number;
  /** Number of the first epoch. Default 0. */
  readonly initialEpoch?: number;
  /** The last part of the data, before shuffling, is kept for validation. Default 0: none. */
  readonly validationSplit?: number;
  readonly validationData?:
    | readonly [x: Inputs, y: Inputs, sampleWeight?: Inputs]
    | {
        readonly x: Inputs;
        readonly y: Inputs;
        readonly sampleWeight?: Inputs;
        readonly lengths?: TensorLike;
      }
    | BatchGenerator;
  /** Batch size of the validation. Default: that of training. */
  readonly validationBatchSize?: number;
  /** Batches of a validation generator. Default: all. */
  readonly validationSteps?: number;
  /** Validate after every n-th epoch. Default 1. */
  readonly validationFreq?: number;
  /** A new order every epoch, drawn from the seed and the epoch's number. Default true; never for stateful models. */
  readonly shuffle?: boolean;
  /** Seed of the shuffles. Default: the model's. */
  readonly seed?: number;
  /** Batches per epoch. Needed for endless generators. */
  readonly stepsPerEpoch?: number;
  readonly callbacks?: readonly Callback[];
  /** 0 or false silent, 1 or true progress bar, 2 one line per epoch; 'auto' (default): 1 on a terminal (standard error), else 0. */
  readonly verbose?: Verbosity;
  readonly signal?: AbortSignal;
  /**
   * Truncated backpropagation through time: long sequences are trained on in chunks of `steps` steps. The states go on from chunk to chunk,
   * the gradient stops at their borders, and every chunk is an optimizer step. For models with an output for every step.
   */
  readonly truncatedBPTT?: TruncatedBPTT;
  /** A checkpoint file: goes on from there, bit for bit as if never stopped. */
  readonly resumeFrom?: string;
}

const optionNames = [
  'batchSize',
  'epochs',
  'initialEpoch',
  'validationSplit',
  'validationData',
  'validationBatchSize',
  'validationSteps',
  'validationFreq',
  'shuffle',
  'seed',
  'stepsPerEpoch',
  'callbacks',
  'verbose',
  'signal',
  'truncatedBPTT',
  'resumeFrom',
  'sampleWeight',
  'classWeight',
  'initialStates',
  'lengths',
] as const;

/**
 * The options under their own names, each proven as far as it can be without the data.
 * @throws ERR_VALUE, also for names that mean nothing
 */
export function readFitOptions(given: FitOptions): FitOptions {
  const o = readConfig(given, optionNames, 'fit') as FitOptions;
  const { initialEpoch = 0, validationSplit = 0, resumeFrom } = o;
  if (!Number.isSafeInteger(initialEpoch) || initialEpoch < 0)
    refuse('ERR_VALUE', 'fit: initialEpoch', 'an integer, 0 or more', quoted(initialEpoch));
  if (!(typeof validationSplit === 'number' && validationSplit >= 0 && validationSplit < 1))
    refuse('ERR_VALUE', 'fit: validationSplit', 'a number from 0 to below 1', quoted(validationSplit));
  if (resumeFrom !== undefined) requirePath(resumeFrom, 'fit: resumeFrom');
  for (const name of ['batchSize', 'epochs', 'validationFreq', 'stepsPerEpoch', 'validationSteps'] as const)
    positiveInteger(`fit: ${name}`, o[name], 1);
  positiveInteger('fit: validationBatchSize', o.validationBatchSize, 1);
  flagOption(o.shuffle, true, 'fit: shuffle');
  seedOption(o.seed, 'fit: seed');
  checkSignal('fit', o.signal);
  readCallbacks('fit', o.callbacks);
  const { validationSplit: _, truncatedBPTT, ...rest } = o;
  const truncation = readTruncation(truncatedBPTT);
  return {
    ...rest,
    ...(truncation ? { truncatedBPTT: truncation } : {}),
    verbose: readVerbosity('fit', o.verbose),
    ...(validationSplit > 0 ? { validationSplit } : {}),
  };
}
