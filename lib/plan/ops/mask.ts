import { sameShape } from '../../tensors/tensor';
import { ABSENT } from '../types';
import { need, noAttrs, type OpRow, present } from './row';

/** The first steps of each sequence count: int32 [T, N]. */
export const lengthMask: OpRow<'lengthMask'> = {
  infer([lengths], { steps }) {
    const v = present(lengths, 'lengthMask', 'lengths');
    need(v.dtype === 'int32' && v.shape.length === 1, 'lengthMask', 'int32 [N]', v);
    return [{ dtype: 'int32', shape: [steps, v.shape[0] as number] }];
  },
  encode: noAttrs,
};

/** Which steps of a batch of sequences count: int32 [T, N], 0 where a step is padding. */
export const stepMask: OpRow<'stepMask'> = {
  infer([x]) {
    const v = present(x, 'stepMask', 'x');
    const fits = v.dtype === 'int32' ? v.shape.length === 2 : v.dtype === 'real' && v.shape.length === 3;
    need(fits, 'stepMask', 'real [T, N, D] or int32 [T, N]', v);
    return [{ dtype: 'int32', shape: v.shape.slice(0, 2) }];
  },
  encode: ({ value }) => ({ ints: [], floats: [value] }),
  grad: () => [ABSENT],
};

/** Rows of a sequence that do not count become zero. */
export const maskRows: OpRow<'maskRows'> = {
  infer([x, valid]) {
    const v = present(x, 'maskRows', 'x');
    const m = present(valid, 'maskRows', 'valid');
    const fits = v.dtype === 'real' && m.dtype === 'int32' && v.shape.length === 3;
    need(
      fits && sameShape(v.shape.slice(0, 2), m.shape),
      'maskRows',
      'x [T, N, D] and valid int32 [T, N]',
      v,
      m,
    );
    return [{ dtype: 'real', shape: v.shape }];
  },
  encode: noAttrs,
  grad: (op, c) => [c.emit('maskRows', [c.outGrad(0), op.inputs[1] as number], {})[0] as number, ABSENT],
};

/** Weights of the rows of a loss or a metric, zero for steps that do not count. */
export const maskWeights: OpRow<'maskWeights'> = {
  infer([valid, weight]) {
    const v = present(valid, 'maskWeights', 'valid');
    need(v.dtype === 'int32' && v.shape.length === 2, 'maskWeights', 'valid int32 [T, N]', v);
    need(
      !weight || (weight.dtype === 'real' && sameShape(weight.shape, v.shape)),
      'maskWeights',
      `weight real [${v.shape.join(', ')}]`,
      weight,
    );
    return [{ dtype: 'real', shape: v.shape }];
  },
  encode: ({ normalize }) => ({ ints: [Number(normalize)], floats: [] }),
};

/** The sequence with its last step first. */
export const reverseTime: OpRow<'reverseTime'> = {
  infer([x]) {
    const v = present(x, 'reverseTime', 'x');
    need(v.shape.length >= 2, 'reverseTime', 'a sequence [T, N, …]', v);
    return [{ dtype: v.dtype, shape: v.shape }];
  },
  encode: noAttrs,
  grad: (_op, c) => [c.emit('reverseTime', [c.outGrad(0)], {})[0] as number],
};

/** Steps that either of two masks counts. */
export const eitherMask: OpRow<'eitherMask'> = {
  infer([a, b]) {
    const [v, w] = [present(a, 'eitherMask', 'a'), present(b, 'eitherMask', 'b')];
    const fits = v.dtype === 'int32' && w.dtype === 'int32' && sameShape(v.shape, w.shape);
    need(fits && v.shape.length === 2, 'eitherMask', 'two masks int32 [T, N]', v, w);
    return [{ dtype: 'int32', shape: v.shape }];
  },
  encode: noAttrs,
};
