import { quoted, refuse } from '../errors';
import type { Tensor } from '../tensors/tensor';
import { featureWidth, padSequences, type Sequence } from './pad';

// Held here because in a vm context (Jest, plugins) every look at a global takes longer than the test itself.
const { isFinite: finite, isInteger } = Number;

/** Sequences of which every value is known to be a finite number, every step to have the same features, and none to be empty. */
export interface ProvenSequences {
  readonly sequences: readonly Sequence[];
  readonly lengths: Int32Array;
  /** What fits them: int32 for plain whole numbers, float32 otherwise. */
  readonly dtype: 'int32' | 'float32';
  /** The first whole number that int32 cannot hold, where all are plain and whole. */
  readonly tooLarge: number | undefined;
}

/** @throws ERR_VALUE, ERR_SHAPE with the place of what is no such sequence */
export function proveSequences(subject: string, given: unknown): ProvenSequences {
  if (!Array.isArray(given) || given.length === 0)
    refuse('ERR_VALUE', subject, 'an array of at least one sequence', quoted(given));
  const sequences = given as readonly Sequence[];
  const lengths = new Int32Array(sequences.length);
  for (let n = 0; n < sequences.length; n++) {
    const sequence: unknown = sequences[n];
    if (!Array.isArray(sequence) && !(ArrayBuffer.isView(sequence) && 'length' in sequence))
      refuse('ERR_VALUE', subject, `a sequence (an array) at [${n}]`, quoted(sequence));
    lengths[n] = (sequence as ArrayLike<unknown>).length;
    if (lengths[n] === 0) refuse('ERR_VALUE', subject, `at least one step at [${n}]`, 'an empty sequence');
  }
  const width = featureWidth(subject, sequences);
  if (width === 0) refuse('ERR_SHAPE', subject, 'at least one feature at [0][0]', 'none');
  let whole = width === undefined;
  let tooLarge: number | undefined;
  sequences.forEach((sequence, n) => {
    for (let t = 0; t < sequence.length; t++) {
      const step = sequence[t];
      for (let d = 0; d < (width ?? 1); d++) {
        const v = width === undefined ? step : (step as ArrayLike<number>)[d];
        if (typeof v !== 'number' || !finite(v)) {
          const place = width === undefined ? `[${n}][${t}]` : `[${n}][${t}][${d}]`;
          refuse('ERR_VALUE', subject, `a finite number at ${place}`, quoted(v));
        }
        whole &&= isInteger(v);
        if (whole && v !== (v as number) >> 0) tooLarge ??= v as number;
      }
    }
  });
  if (!whole) tooLarge = undefined;
  return { sequences, lengths, dtype: whole && tooLarge === undefined ? 'int32' : 'float32', tooLarge };
}

/** Some of the sequences as one tensor, padded behind. */
export function padRows(
  { sequences }: ProvenSequences,
  rows: Uint32Array,
  maxLen: number,
  dtype: 'int32' | 'float32',
  value = 0,
): Tensor {
  const own = Array.from(rows, (n) => sequences[n] as Sequence);
  return padSequences(own, { maxLen, padding: 'post', dtype, value });
}
