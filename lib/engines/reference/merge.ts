import { type Kernel, type Real, rowsOf, widthOf } from './operands';

/** y[r] = the rows r of all inputs, one after another. */
export const concat: Kernel<'concat', Real[], [y: Real]> = (_, inputs, [y]) => {
  let at = 0;
  for (let r = 0; r < rowsOf(y); r++) {
    for (const x of inputs) {
      const D = widthOf(x);
      y.data.set(x.data.subarray(r * D, (r + 1) * D), at);
      at += D;
    }
  }
};

export const slice: Kernel<'slice', [x: Real], [y: Real]> = ({ first, width }, [x], [y]) => {
  const D = widthOf(x);
  for (let r = 0; r < rowsOf(y); r++)
    y.data.set(x.data.subarray(r * D + first, r * D + first + width), r * width);
};

export const multiply: Kernel<'multiply', [a: Real, b: Real], [y: Real]> = (_, [a, b], [y]) => {
  for (let i = 0; i < y.data.length; i++) y.data[i] = a.data[i]! * b.data[i]!;
};

export const scale: Kernel<'scale', [x: Real], [y: Real]> = ({ factor }, [x], [y]) => {
  for (let i = 0; i < y.data.length; i++) y.data[i] = factor * x.data[i]!;
};
