import { asTyped, Tensor } from '../tensors/tensor';

/** Rows of a tensor, in the order of `indices`, as a tensor of its own. */
export function gatherRows(t: Tensor, indices: ArrayLike<number>): Tensor {
  const width = t.size / (t.shape[0] as number);
  const data = asTyped(new Float64Array(indices.length * width), t.dtype);
  for (let i = 0; i < indices.length; i++) {
    const from = (indices[i] as number) * width;
    data.set(t.data.subarray(from, from + width), i * width);
  }
  return new Tensor(data, [indices.length, ...t.shape.slice(1)]);
}
