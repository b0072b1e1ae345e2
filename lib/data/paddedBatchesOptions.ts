import { randomInt } from 'node:crypto';
import { flagOption, readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { splitSeed } from '../tensors/random';
import type { TensorLike } from '../tensors/tensor';

export interface PaddedBatchesOptions {
  /** Default 32. */
  batchSize?: number;
  /** Ascending lengths: sequences up to the first are batched together, those up to the second, and so on, and all that are longer. */
  bucketBoundaries?: readonly number[];
  /** In the place of boundaries: so many buckets with about as many sequences each. */
  buckets?: number;
  /** Other sequences of a bucket together, and other batches first, in every epoch. Default true. */
  shuffle?: boolean;
  /** Of the shuffle. Default: a random one. */
  seed?: number;
  /**
   * Short sequences before long ones (Bengio et al., 2009). `'shortFirst'`: batches in order of their longest sequences, as SortaGrad does in the
   * first epoch (Amodei et al., 2016); needs buckets, without which all batches are about as long. `'growingLength'`: in epoch e of E
   * `curriculumEpochs` only the shortest (e + 1)/(E + 1) of the sequences, and then all.
   */
  curriculum?: 'shortFirst' | 'growingLength';
  /** How many epochs, from epoch 0, keep to the curriculum. Default: all; `'growingLength'` must be told. */
  curriculumEpochs?: number;
  /** Leaves out what does not fill a batch, bucket by bucket. Default false. */
  dropRemainder?: boolean;
  /** What padded steps are filled with. Default 0. */
  value?: number;
  /** Default `'int32'` for sequences of numbers that are all whole, `'float32'` otherwise. */
  dtype?: 'int32' | 'float32';
  /** Batches are padded to a multiple of so many steps, so that few plans are made. Default 8. */
  padToMultipleOf?: number;
  /** Targets are sequences as long as their inputs, one target a step. Default false: one target a sequence. */
  targetSequences?: boolean;
  /** `[N]`: a weight for each sequence. */
  sampleWeight?: TensorLike;
  /** The epoch of the first call, for a fit that is resumed. Default 0. */
  firstEpoch?: number;
}

const names = [
  'batchSize',
  'bucketBoundaries',
  'buckets',
  'shuffle',
  'seed',
  'curriculum',
  'curriculumEpochs',
  'dropRemainder',
  'value',
  'dtype',
  'padToMultipleOf',
  'targetSequences',
  'sampleWeight',
  'firstEpoch',
] as const;

const refuseOption = (name: string, wanted: string, got: unknown): never =>
  refuse('ERR_VALUE', `paddedBatches: ${name}`, wanted, got);

/** A whole number, `least` or more. */
export function wholeOption(name: string, value: unknown, fallback: number, least: 0 | 1 = 1): number {
  const v = value ?? fallback;
  if (!Number.isSafeInteger(v) || (v as number) < least)
    refuseOption(name, least === 1 ? 'a positive integer' : 'an integer, 0 or more', quoted(v));
  return v as number;
}

function ascending(boundaries: unknown): readonly number[] | undefined {
  if (boundaries === undefined) return undefined;
  const name = 'bucketBoundaries';
  if (!Array.isArray(boundaries)) refuseOption(name, 'an array of ascending lengths', quoted(boundaries));
  const given = boundaries as readonly unknown[];
  for (let i = 0; i < given.length; i++) {
    const least = i === 0 ? 1 : (given[i - 1] as number) + 1;
    if (!Number.isSafeInteger(given[i]) || (given[i] as number) < least)
      refuseOption(name, `a length of ${least} or more at [${i}]`, quoted(given[i]));
  }
  return [...given] as number[];
}

/** The options with their defaults, each proven by itself and beside the others. */
export function readPaddedBatchesOptions(options: unknown) {
  const o = readConfig(options, names, 'paddedBatches');
  const bucketBoundaries = ascending(o.bucketBoundaries);
  if (bucketBoundaries && o.buckets !== undefined)
    refuse('ERR_VALUE', 'paddedBatches', 'bucketBoundaries or buckets', 'both');
  const buckets = wholeOption('buckets', o.buckets, 1);
  const growing = o.curriculum === 'growingLength';
  if (o.curriculum !== undefined && o.curriculum !== 'shortFirst' && !growing)
    refuseOption('curriculum', "'shortFirst' or 'growingLength'", quoted(o.curriculum));
  if (growing && o.curriculumEpochs === undefined)
    refuseOption('curriculumEpochs', "a number of epochs beside curriculum: 'growingLength'", 'none');
  if (o.curriculum === 'shortFirst' && o.buckets === undefined && !bucketBoundaries)
    refuseOption('curriculum', 'buckets or bucketBoundaries beside it', 'neither');
  if (o.curriculumEpochs !== undefined && o.curriculum === undefined)
    refuseOption('curriculumEpochs', 'a curriculum beside it', 'none');
  const allEpochs = o.curriculum === undefined ? 0 : Number.MAX_SAFE_INTEGER;
  const value = o.value ?? 0;
  if (!Number.isFinite(value)) refuseOption('value', 'a finite number', quoted(value));
  if (o.dtype !== undefined && o.dtype !== 'int32' && o.dtype !== 'float32')
    refuseOption('dtype', "'int32' or 'float32'", quoted(o.dtype));
  const flag = (name: 'shuffle' | 'dropRemainder' | 'targetSequences', fallback: boolean) =>
    flagOption(o[name], fallback, `paddedBatches: ${name}`);
  const seed = (o.seed ?? randomInt(2 ** 47)) as number;
  splitSeed(seed, 'paddedBatches: seed');
  return {
    batchSize: wholeOption('batchSize', o.batchSize, 32),
    bucketBoundaries,
    buckets,
    shuffle: flag('shuffle', true),
    seed,
    curriculum: o.curriculum as PaddedBatchesOptions['curriculum'],
    curriculumEpochs: wholeOption('curriculumEpochs', o.curriculumEpochs, allEpochs, 0),
    dropRemainder: flag('dropRemainder', false),
    value: value as number,
    dtype: o.dtype as 'int32' | 'float32' | undefined,
    padToMultipleOf: wholeOption('padToMultipleOf', o.padToMultipleOf, 8),
    targetSequences: flag('targetSequences', false),
    sampleWeight: o.sampleWeight as TensorLike | undefined,
    firstEpoch: wholeOption('firstEpoch', o.firstEpoch, 0, 0),
  };
}
