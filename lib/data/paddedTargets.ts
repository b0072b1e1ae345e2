import { refuse } from '../errors';
import { namedTensor, placeOf, type Tensor, type TensorLike } from '../tensors/tensor';
import { gatherRows } from './rows';
import { type ProvenSequences, padRows, proveSequences } from './sequences';

/** The targets of a batch: those of the sequences `rows`, padded to `maxLen` steps where they are sequences themselves. */
type TargetsOf = (rows: Uint32Array, maxLen: number) => Tensor;

/** @throws ERR_VALUE, ERR_SHAPE for targets that do not belong to the sequences one by one, or step by step */
export function targetReader(
  inputs: ProvenSequences,
  targets: unknown,
  perStep: boolean,
): TargetsOf | undefined {
  const subject = 'paddedBatches: targets';
  const count = inputs.lengths.length;
  if (targets === undefined || targets === null) {
    if (perStep) refuse('ERR_VALUE', subject, 'sequences (targetSequences)', targets);
    return undefined;
  }
  if (perStep) {
    const proven = proveSequences(subject, targets);
    refuseOtherCount(subject, count, proven.lengths.length);
    const at = proven.lengths.findIndex((length, n) => length !== inputs.lengths[n]);
    if (at >= 0) {
      const wanted = `${inputs.lengths[at]} steps at [${at}], as in sequences`;
      refuse('ERR_SHAPE', subject, wanted, proven.lengths[at]);
    }
    return (rows, maxLen) => padRows(proven, rows, maxLen, proven.dtype);
  }
  if (Array.isArray(targets)) refuseRagged(subject, targets);
  const all = namedTensor(subject, targets as TensorLike);
  refuseOtherCount(subject, count, all.shape[0]);
  refuseNotFinite(subject, all);
  return (rows) => gatherRows(all, rows);
}

function refuseOtherCount(subject: string, count: number, got: number | undefined): void {
  if (got !== count)
    refuse('ERR_SHAPE', subject, `${count} targets, one for each sequence`, got ?? 'a number');
}

/** Targets of different sizes are most likely meant to be sequences. */
function refuseRagged(subject: string, targets: readonly unknown[]): void {
  const size = (target: unknown) => (target as { length?: number } | null | undefined)?.length;
  const at = targets.findIndex((target) => size(target) !== size(targets[0]));
  if (at < 0 || size(targets[at]) === undefined || size(targets[0]) === undefined) return;
  const wayOut = 'For targets on every step set targetSequences: true.';
  refuse('ERR_SHAPE', subject, `${size(targets[0])} values at [${at}], as before`, size(targets[at]), wayOut);
}

function refuseNotFinite(subject: string, { data, shape }: Tensor): void {
  const at = data.findIndex((v) => !Number.isFinite(v));
  if (at >= 0) refuse('ERR_VALUE', subject, 'finite numbers', `${data[at]} at ${placeOf(at, shape)}`);
}

/** @throws ERR_VALUE, ERR_SHAPE unless there is a weight for each sequence */
export function readSampleWeight(given: TensorLike | undefined, count: number): Tensor | undefined {
  if (given === undefined) return undefined;
  const subject = 'paddedBatches: sampleWeight';
  const weights = namedTensor(subject, given);
  if (weights.shape.join() !== String(count))
    refuse(
      'ERR_SHAPE',
      subject,
      `shape [${count}], a weight for each sequence`,
      `[${weights.shape.join(', ')}]`,
    );
  const at = weights.data.findIndex((w) => !(Number.isFinite(w) && w >= 0));
  if (at >= 0) refuse('ERR_VALUE', subject, 'finite weights, 0 or more', `${weights.data[at]} at [${at}]`);
  return weights;
}
