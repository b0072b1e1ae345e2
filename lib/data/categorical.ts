import { refuse } from '../errors';
import { Tensor, type TensorLike, tensor } from '../tensors/tensor';

/**
 * One-hot vectors of class indices: any shape `[…]` → `[…, numClasses]`, float32.
 * @param numClasses default: the largest index plus one
 * @throws ERR_VALUE for an index that is not a whole number from 0 to numClasses − 1
 */
export function toCategorical(labels: TensorLike, numClasses?: number): Tensor {
  const { data, shape } = tensor(labels, undefined, 'int32');
  let largest = -1;
  for (const label of data) largest = Math.max(largest, label);
  const classes = numClasses ?? largest + 1;
  if (!Number.isSafeInteger(classes) || classes < 1)
    refuse('ERR_VALUE', 'toCategorical: numClasses', 'a positive integer', numClasses ?? classes);
  const out = new Float32Array(data.length * classes);
  data.forEach((label, i) => {
    if (label < 0 || label >= classes)
      refuse(
        'ERR_VALUE',
        'toCategorical',
        `class indices from 0 to ${classes - 1}`,
        `${label} at position ${i}`,
      );
    out[i * classes + label] = 1;
  });
  return new Tensor(out, [...shape, classes]);
}
