import { quoted, refuse } from '../errors';
import { namedTensor, placeOf, Tensor, type TensorLike } from '../tensors/tensor';

/** What a typed array can hold on every platform. */
const MOST_ELEMENTS = 2 ** 31 - 1;

/**
 * One-hot vectors of class indices: any shape `[…]` → `[…, numClasses]`, float32. A trailing axis of 1 is dropped, as in Keras.
 * @param numClasses default: the largest index plus one
 * @throws ERR_VALUE for an index that is not a whole number from 0 to numClasses − 1
 */
export function toCategorical(labels: TensorLike, numClasses?: number): Tensor {
  const { data, shape } = namedTensor('toCategorical', labels, undefined, 'int32');
  if (data.length === 0)
    refuse('ERR_SHAPE', 'toCategorical', 'at least one label', `shape [${shape.join(', ')}]`);
  if (numClasses !== undefined && !(Number.isSafeInteger(numClasses) && numClasses >= 1))
    refuse('ERR_VALUE', 'toCategorical: numClasses', 'a positive integer', quoted(numClasses));
  let largest = 0;
  for (const label of data) largest = Math.max(largest, label);
  const classes = numClasses ?? largest + 1;
  const at = data.findIndex((label) => label < 0 || label >= classes);
  if (at >= 0) {
    const wanted =
      numClasses === undefined ? 'class indices, 0 or more' : `class indices from 0 to ${classes - 1}`;
    refuse('ERR_VALUE', 'toCategorical', wanted, `${data[at]} at ${placeOf(at, shape)}`);
  }
  if (data.length * classes > MOST_ELEMENTS) {
    const wanted = `at most ${Math.floor(MOST_ELEMENTS / data.length)} classes for ${data.length} labels`;
    refuse('ERR_VALUE', 'toCategorical: numClasses', wanted, classes);
  }
  const out = new Float32Array(data.length * classes);
  data.forEach((label, i) => {
    out[i * classes + label] = 1;
  });
  const rows = shape.length > 1 && shape[shape.length - 1] === 1 ? shape.slice(0, -1) : shape;
  return new Tensor(out, [...rows, classes]);
}
