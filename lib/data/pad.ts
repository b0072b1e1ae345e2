import { readConfig } from '../config';
import { quoted, refuse } from '../errors';
import { Tensor } from '../tensors/tensor';

export interface PadOptions {
  /** Length of all sequences afterwards. Default: that of the longest. */
  maxLen?: number;
  /** Where the filling goes. Default `'pre'`, as in Keras. */
  padding?: 'pre' | 'post';
  /** Where too long sequences are cut. Default `'pre'`. */
  truncating?: 'pre' | 'post';
  /** What the filling is. Default 0. */
  value?: number;
  /** Default `'int32'` for sequences of numbers that are all whole, `'float32'` otherwise. */
  dtype?: 'int32' | 'float32';
}

/** Numbers `[T]`, or feature vectors `[T, D]`. */
export type Sequence = ArrayLike<number> | readonly ArrayLike<number>[];

const sides = ['pre', 'post'];

/**
 * Sequences of different lengths as one tensor: numbers `[T_i]` → `[N, T]`, feature vectors `[T_i, D]` → `[N, T, D]`.
 * @throws ERR_SHAPE when feature vectors differ in size, ERR_VALUE for anything that is not a number
 */
export function padSequences(sequences: readonly Sequence[], options: PadOptions = {}): Tensor {
  const o = readConfig(options, ['maxLen', 'padding', 'truncating', 'value', 'dtype'], 'padSequences');
  const { padding = 'pre', truncating = 'pre', value = 0 } = o as PadOptions;
  if (!Array.isArray(sequences) || sequences.length === 0)
    refuse('ERR_VALUE', 'padSequences', 'at least one sequence', quoted(sequences));
  for (let n = 0; n < sequences.length; n++) {
    const sequence: unknown = sequences[n];
    if (!Array.isArray(sequence) && !ArrayBuffer.isView(sequence))
      refuse('ERR_VALUE', 'padSequences', `a sequence (an array) at [${n}]`, quoted(sequence));
  }
  if (!sides.includes(padding))
    refuse('ERR_VALUE', 'padSequences: padding', "'pre' or 'post'", quoted(padding));
  if (!sides.includes(truncating))
    refuse('ERR_VALUE', 'padSequences: truncating', "'pre' or 'post'", quoted(truncating));
  if (typeof value !== 'number') refuse('ERR_VALUE', 'padSequences: value', 'a number', quoted(value));
  const longest = sequences.reduce((most, s) => Math.max(most, s.length), 0);
  const maxLen = o.maxLen ?? longest;
  if (maxLen === 0 && o.maxLen === undefined)
    refuse(
      'ERR_VALUE',
      'padSequences',
      'a maxLen, or a sequence with at least one step',
      'empty sequences only',
    );
  if (!Number.isSafeInteger(maxLen) || (maxLen as number) < 1)
    refuse('ERR_VALUE', 'padSequences: maxLen', 'a positive integer', quoted(maxLen));

  const steps = maxLen as number;
  const width = featureWidth('padSequences', sequences);
  const size = width ?? 1;
  const data = new Float64Array(sequences.length * steps * size).fill(value);
  sequences.forEach((sequence, n) => {
    const kept = Math.min(sequence.length, steps);
    const from = truncating === 'pre' ? sequence.length - kept : 0;
    const to = padding === 'pre' ? steps - kept : 0;
    for (let t = 0; t < kept; t++) {
      for (let d = 0; d < size; d++) {
        const step = sequence[from + t];
        const v = width === undefined ? step : (step as ArrayLike<number>)[d];
        if (typeof v !== 'number')
          refuse('ERR_VALUE', 'padSequences', `a number at [${n}][${from + t}]`, quoted(v));
        data[(n * steps + to + t) * size + d] = v as number;
      }
    }
  });
  const dtype = o.dtype ?? (data.every(Number.isInteger) && width === undefined ? 'int32' : 'float32');
  if (dtype !== 'int32' && dtype !== 'float32')
    refuse('ERR_VALUE', 'padSequences: dtype', "'int32' or 'float32'", quoted(dtype));
  if (dtype === 'int32') {
    if (!data.every(Number.isInteger))
      refuse('ERR_VALUE', 'padSequences', 'whole numbers for dtype int32', 'fractions');
    const large = data.find((v) => v !== (v | 0));
    if (large !== undefined) {
      const wayOut = "With dtype: 'float32' they are kept to 7 digits.";
      refuse('ERR_VALUE', 'padSequences', 'numbers that fit dtype int32', large, wayOut);
    }
  }
  const shape = width === undefined ? [sequences.length, steps] : [sequences.length, steps, width];
  return new Tensor(dtype === 'int32' ? Int32Array.from(data) : Float32Array.from(data), shape);
}

/** The number of features of a step, or nothing for sequences of plain numbers. */
export function featureWidth(subject: string, sequences: readonly Sequence[]): number | undefined {
  let width: number | undefined;
  let seen = false;
  sequences.forEach((sequence, n) => {
    for (let t = 0; t < sequence.length; t++) {
      const step = sequence[t];
      const own = typeof step === 'object' && step !== null ? step.length : undefined;
      if (seen && own !== width) {
        const wanted = width === undefined ? 'a number' : `${width} features`;
        refuse(
          'ERR_SHAPE',
          subject,
          `${wanted} at [${n}][${t}], as before`,
          own === undefined ? quoted(step) : `${own} features`,
        );
      }
      width = own;
      seen = true;
    }
  });
  return width;
}
