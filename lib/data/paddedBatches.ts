import { refuse } from '../errors';
import { Tensor, type TensorLike } from '../tensors/tensor';
import { type Bucketing, bucketedBatches, longestOf, quantileBoundaries } from './buckets';
import type { Sequence } from './pad';
import { type PaddedBatchesOptions, readPaddedBatchesOptions, wholeOption } from './paddedBatchesOptions';
import { readSampleWeight, targetReader } from './paddedTargets';
import { gatherRows } from './rows';
import { type ProvenSequences, padRows, proveSequences } from './sequences';

/** A batch as `fit`, `evaluate` and `predict` take it. */
export interface PaddedBatch {
  /** `[n, T]` or `[n, T, D]`, padded behind. */
  readonly x: Tensor;
  /** `[n, …target]`, or `[n, T]` or `[n, T, D]` for targets on every step. */
  readonly y?: Tensor;
  /** int32 `[n]`: the steps that count. */
  readonly lengths: Tensor;
  /** `[n]`. */
  readonly sampleWeight?: Tensor;
}

/** Begins the next epoch each time it is called. */
export interface PaddedBatches {
  (): IterableIterator<PaddedBatch>;
  /** Of an epoch with all sequences. */
  readonly batchesPerEpoch: number;
  /** The share of steps that are padding, over the first epoch with all sequences: what bucketing saves. */
  readonly paddingShare: number;
  /** That of the shuffle, to be given again when a fit is resumed. */
  readonly seed: number;
  /** The sequences' places in the order in which an epoch gives them: row i of its predictions belongs to sequence `order(epoch)[i]`. */
  order(epoch: number): Uint32Array;
}

/**
 * Batches of sequences of different lengths, each padded behind to its own longest sequence, with the `lengths` that let a model pass
 * over the padding. Buckets bring sequences of like length together. The sequences are not copied and must stay as they are.
 * @throws ERR_VALUE, ERR_SHAPE for empty sequences, values that are no finite numbers, and targets that do not belong to the sequences
 */
export function paddedBatches(
  sequences: readonly Sequence[],
  targets?: TensorLike | readonly Sequence[],
  options: PaddedBatchesOptions = {},
): PaddedBatches {
  const o = readPaddedBatchesOptions(options);
  const inputs = proveSequences('paddedBatches: sequences', sequences);
  const { lengths } = inputs;
  const dtype = inputDType(inputs, o.dtype, o.value);
  const bucketing: Bucketing = {
    lengths,
    boundaries: o.bucketBoundaries ?? quantileBoundaries(lengths, o.buckets),
    batchSize: o.batchSize,
    dropRemainder: o.dropRemainder,
    seed: o.shuffle ? o.seed : undefined,
    curriculum: o.curriculum,
    curriculumEpochs: o.curriculumEpochs,
  };
  const stepsOf = (rows: Uint32Array) =>
    Math.ceil(longestOf(lengths, rows) / o.padToMultipleOf) * o.padToMultipleOf;
  const targetsOf = targetReader(inputs, targets, o.targetSequences);
  const weights = readSampleWeight(o.sampleWeight, lengths.length);

  // A curriculum that grows has its fewest batches in the first epoch, and all of them after its last.
  const growing = o.curriculum === 'growingLength';
  const whole = bucketedBatches(
    bucketing,
    growing ? Math.max(o.firstEpoch, o.curriculumEpochs) : o.firstEpoch,
  );
  if ((growing ? bucketedBatches(bucketing, o.firstEpoch) : whole).length === 0)
    refuse('ERR_VALUE', 'paddedBatches', `${o.batchSize} sequences in a bucket (dropRemainder)`, 'fewer');
  let [counted, all] = [0, 0];
  for (const rows of whole) {
    for (const n of rows) counted += lengths[n] as number;
    all += rows.length * stepsOf(rows);
  }

  function* batches(epoch: number): Generator<PaddedBatch> {
    for (const rows of bucketedBatches(bucketing, epoch)) {
      const maxLen = stepsOf(rows);
      yield {
        x: padRows(inputs, rows, maxLen, dtype, o.value),
        ...(targetsOf && { y: targetsOf(rows, maxLen) }),
        lengths: new Tensor(
          Int32Array.from(rows, (n) => lengths[n] as number),
          [rows.length],
        ),
        ...(weights && { sampleWeight: gatherRows(weights, rows) }),
      };
    }
  }
  let next = o.firstEpoch;
  return Object.assign(() => batches(next++), {
    batchesPerEpoch: whole.length,
    paddingShare: 1 - counted / all,
    seed: o.seed,
    order(epoch: number) {
      wholeOption('order', epoch, o.firstEpoch, 0);
      return Uint32Array.from(bucketedBatches(bucketing, epoch).flatMap((rows) => [...rows]));
    },
  });
}

/** One element type for all batches, whatever the numbers in each. */
function inputDType(
  { dtype, tooLarge }: ProvenSequences,
  wanted: 'int32' | 'float32' | undefined,
  value: number,
): 'int32' | 'float32' {
  const subject = 'paddedBatches: sequences';
  if (wanted === 'float32') return wanted;
  if (tooLarge !== undefined) {
    const wayOut = "With dtype: 'float32' they are kept to 7 digits.";
    refuse('ERR_VALUE', subject, 'numbers that fit dtype int32', tooLarge, wayOut);
  }
  if (wanted === 'int32' && dtype !== 'int32')
    refuse('ERR_VALUE', subject, 'plain whole numbers for dtype int32', 'fractions or feature vectors');
  if (dtype === 'int32' && value !== value >> 0)
    refuse('ERR_VALUE', 'paddedBatches: value', 'a whole number beside whole numbers', value);
  return dtype;
}
