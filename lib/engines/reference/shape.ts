import { sizeOf } from '../../tensors/tensor';
import type { Kernel, Real } from './operands';

export const reshape: Kernel<'reshape', [x: Real], [y: Real]> = (_, [x], [y]) => y.data.set(x.data);

/** y[i₀, i₁, …] = x[j], where j[axes[k]] = i_k. */
export const transpose: Kernel<'transpose', [x: Real], [y: Real]> = ({ axes }, [x], [y]) => {
  const strides = axes.map((axis) => sizeOf(x.shape.slice(axis + 1)));
  for (let e = 0; e < y.data.length; e++) {
    let left = e;
    let from = 0;
    for (let k = axes.length - 1; k >= 0; k--) {
      from += (left % y.shape[k]!) * strides[k]!;
      left = Math.floor(left / y.shape[k]!);
    }
    y.data[e] = x.data[from]!;
  }
};
