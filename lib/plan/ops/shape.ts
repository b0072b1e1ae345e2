import { sameShape, sizeOf } from '../../tensors/tensor';
import { need, noAttrs, type OpRow, present } from './row';

/** The same numbers in the same order under another shape. */
export const reshape: OpRow<'reshape'> = {
  infer([x], { shape }) {
    const v = present(x, 'reshape', 'x');
    need(
      v.dtype === 'real' && sizeOf(v.shape) === sizeOf(shape),
      'reshape',
      `a real array of the size of [${shape.join(', ')}]`,
      v,
    );
    return [{ dtype: 'real', shape }];
  },
  encode: noAttrs,
  grad: (op, c) => {
    const { shape } = c.spec(op.inputs[0] as number);
    return [c.emit('reshape', [c.outGrad(0)], { shape })[0] as number];
  },
};

/** Axis i of y is axis axes[i] of x. */
export const transpose: OpRow<'transpose'> = {
  infer([x], { axes }) {
    const v = present(x, 'transpose', 'x');
    const all = v.shape.map((_, i) => i);
    const fits = v.dtype === 'real' && sameShape([...axes].sort(), all);
    need(fits, 'transpose', `a real array with the axes [${axes.join(', ')}]`, v);
    return [{ dtype: 'real', shape: axes.map((axis) => v.shape[axis] as number) }];
  },
  encode: ({ axes }) => ({ ints: [...axes], floats: [] }),
  grad: (op, c) => {
    const axes = op.attrs.axes.map((_, i) => op.attrs.axes.indexOf(i));
    return [c.emit('transpose', [c.outGrad(0)], { axes })[0] as number];
  },
};
