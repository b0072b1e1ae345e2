import { setImmediate } from 'node:timers/promises';
import { DeepRnnError } from '../errors';
import { type NestedArray, sizeOf, Tensor, tensor } from './tensor';

/** Numbers read at a time: a few milliseconds, in which the event loop waits. */
const READ_AT_ONCE = 250_000;

/**
 * `tensor(values, undefined, dtype)`, but nested arrays of many numbers are read in slices, between which the event loop runs.
 * Everything else, and what has to be refused, is given back as it came, for `tensor` to read or to refuse in its words.
 */
export async function readInSlices<V>(values: V, dtype: 'float32' | 'int32'): Promise<V | Tensor> {
  if (!Array.isArray(values) || values.length < 2) return values;
  const rows = values as readonly NestedArray[];
  try {
    const { shape } = tensor(rows[0] as NestedArray, undefined, dtype);
    const width = sizeOf(shape);
    if (width * rows.length <= READ_AT_ONCE) return values;
    const step = Math.max(1, Math.floor(READ_AT_ONCE / Math.max(1, width)));
    const size = width * rows.length;
    const data = dtype === 'int32' ? new Int32Array(size) : new Float32Array(size);
    for (let begin = 0; begin < rows.length; begin += step) {
      const slice = tensor(rows.slice(begin, begin + step), undefined, dtype);
      if (slice.shape.slice(1).join() !== shape.join()) return values;
      data.set(slice.data, begin * width);
      await setImmediate();
    }
    return new Tensor(data, [rows.length, ...shape]);
  } catch (error) {
    if (error instanceof DeepRnnError) return values;
    throw error;
  }
}
