import { sameShape } from '../../tensors/tensor';
import { ABSENT } from '../types';
import { lastOf, need, noAttrs, type OpRow, present } from './row';

function swapLeading(
  kind: 'batchToTime' | 'timeToBatch',
  back: 'batchToTime' | 'timeToBatch',
): OpRow<typeof kind> {
  return {
    infer([x]) {
      const v = present(x, kind, 'x');
      need(v.shape.length >= 2, kind, 'at least two axes', v);
      const [a, b, ...rest] = v.shape as [number, number, ...number[]];
      return [{ dtype: v.dtype, shape: [b, a, ...rest] }];
    },
    encode: noAttrs,
    grad: (_op, c) => [c.emit(back, [c.outGrad(0)], {})[0] as number],
  };
}

export const batchToTime = swapLeading('batchToTime', 'timeToBatch') as OpRow<'batchToTime'>;
export const timeToBatch = swapLeading('timeToBatch', 'batchToTime') as OpRow<'timeToBatch'>;

export const check: OpRow<'check'> = {
  infer([x], attrs) {
    const v = present(x, 'check', 'x');
    need(
      (v.dtype === 'int32') === (attrs.mode === 'index'),
      'check',
      'int32 values for mode index, else floats',
      v,
    );
    return [];
  },
  encode: (attrs) => ({ ints: attrs.mode === 'finite' ? [0, 0] : [1, attrs.size], floats: [] }),
};

export const assign: OpRow<'assign'> = {
  infer([x]) {
    const v = present(x, 'assign', 'x');
    return [{ dtype: v.dtype, shape: v.shape }];
  },
  encode: noAttrs,
};

export const add: OpRow<'add'> = {
  infer([a, b]) {
    const x = present(a, 'add', 'a');
    const y = present(b, 'add', 'b');
    need(
      x.dtype === 'real' && y.dtype === 'real' && sameShape(x.shape, y.shape),
      'add',
      'two equal shapes',
      x,
      y,
    );
    return [{ dtype: 'real', shape: x.shape }];
  },
  encode: noAttrs,
  grad: (_op, c) => [c.outGrad(0), c.outGrad(0)],
};

export const broadcastRows: OpRow<'broadcastRows'> = {
  infer([x], attrs) {
    const v = present(x, 'broadcastRows', 'x');
    need(v.dtype === 'real' && v.shape.length === 1, 'broadcastRows', 'a real vector', v);
    return [{ dtype: 'real', shape: [attrs.rows, v.shape[0] as number] }];
  },
  encode: noAttrs,
  grad: (_op, c) => [c.emit('sumRows', [c.outGrad(0)], {})[0] as number],
};

export const sumRows: OpRow<'sumRows'> = {
  infer([x]) {
    const v = present(x, 'sumRows', 'x');
    need(v.dtype === 'real' && v.shape.length >= 2, 'sumRows', 'real rows', v);
    return [{ dtype: 'real', shape: [lastOf(v.shape)] }];
  },
  encode: noAttrs,
};

export const sumScalars: OpRow<'sumScalars'> = {
  infer(inputs, { factors }) {
    need(inputs.length > 0, 'sumScalars', 'at least one scalar');
    need(!factors || factors.length === inputs.length, 'sumScalars', `${inputs.length} factors`);
    for (const v of inputs)
      need(v?.dtype === 'float64' && sameShape(v.shape, [1]), 'sumScalars', 'float64 [1]', v);
    return [{ dtype: 'float64', shape: [1] }];
  },
  encode: ({ factors = [] }) => ({ ints: [], floats: [...factors] }),
};

export const embedding: OpRow<'embedding'> = {
  infer([ids, table]) {
    const i = present(ids, 'embedding', 'ids');
    const t = present(table, 'embedding', 'table');
    need(
      i.dtype === 'int32' && t.dtype === 'real' && t.shape.length === 2,
      'embedding',
      'int32 ids and a real [V, E] table',
      i,
      t,
    );
    return [{ dtype: 'real', shape: [...i.shape, t.shape[1] as number] }];
  },
  encode: noAttrs,
  grad(op, c) {
    if (!c.needs(1)) return [ABSENT, ABSENT];
    const [ids, table] = op.inputs as [number, number];
    const size = c.spec(table).shape[0] as number;
    return [ABSENT, c.emit('embeddingGrad', [ids, c.outGrad(0)], { size })[0] as number];
  },
};

export const embeddingGrad: OpRow<'embeddingGrad'> = {
  infer([ids, dy], attrs) {
    const i = present(ids, 'embeddingGrad', 'ids');
    const d = present(dy, 'embeddingGrad', 'dy');
    need(
      i.dtype === 'int32' && sameShape(i.shape, d.shape.slice(0, -1)),
      'embeddingGrad',
      'ids [A] and dy [A, E]',
      i,
      d,
    );
    return [{ dtype: 'real', shape: [attrs.size, lastOf(d.shape)] }];
  },
  encode: (attrs) => ({ ints: [attrs.size], floats: [] }),
};
