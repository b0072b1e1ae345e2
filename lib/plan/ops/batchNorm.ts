import { sameShape } from '../../tensors/tensor';
import { ABSENT, type OpAttrs, type ValueSpec } from '../types';
import { lastOf, need, type OpRow, present } from './row';

/** @throws ERR_SHAPE unless x is […, D], valid has its rows, and all vectors there are [D] */
function proven(
  op: string,
  x: ValueSpec | undefined,
  valid: ValueSpec | undefined,
  vectors: readonly (ValueSpec | undefined)[],
): ValueSpec {
  const v = present(x, op, 'x');
  need(v.dtype === 'real' && v.shape.length >= 2, op, 'real x […, D]', v);
  const rows = v.shape.slice(0, -1);
  need(
    !valid || (valid.dtype === 'int32' && sameShape(valid.shape, rows)),
    op,
    `valid int32 [${rows.join(', ')}]`,
    valid,
  );
  for (const vector of vectors)
    need(!vector || sameShape(vector.shape, [lastOf(v.shape)]), op, `vectors [${lastOf(v.shape)}]`, vector);
  return v;
}

const encode = ({ training, epsilon, momentum }: OpAttrs['batchNorm']) => ({
  ints: [Number(training)],
  floats: [epsilon, momentum],
});

/** Each column with mean 0 and variance 1 over the rows of the batch, or by the moving statistics; times gamma, plus beta. */
export const batchNorm: OpRow<'batchNorm'> = {
  infer([x, valid, gamma, beta, mean, variance]) {
    const moving = [present(mean, 'batchNorm', 'mean'), present(variance, 'batchNorm', 'variance')];
    const { shape } = proven('batchNorm', x, valid, [gamma, beta, ...moving]);
    const vector = { dtype: 'real', shape: [lastOf(shape)] } as const;
    return [{ dtype: 'real', shape }, vector, vector];
  },
  encode,
  grad(op, c) {
    const [x, valid, gamma, beta, mean, variance] = op.inputs as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const want = [c.needs(0), gamma !== ABSENT && c.needs(2), beta !== ABSENT && c.needs(3)];
    const inputs = [x, valid, gamma, mean, variance, c.outGrad(0)];
    const [dx, dGamma, dBeta] = c.emit('batchNormGrad', inputs, op.attrs, want) as [number, number, number];
    return [dx, ABSENT, dGamma, dBeta, ABSENT, ABSENT];
  },
};

export const batchNormGrad: OpRow<'batchNormGrad'> = {
  infer([x, valid, gamma, mean, variance, dy]) {
    const moving = [present(mean, 'batchNormGrad', 'mean'), present(variance, 'batchNormGrad', 'variance')];
    const v = proven('batchNormGrad', x, valid, [gamma, ...moving]);
    const d = present(dy, 'batchNormGrad', 'dy');
    need(sameShape(d.shape, v.shape), 'batchNormGrad', 'dy like x', v, d);
    const vector = { dtype: 'real', shape: [lastOf(v.shape)] } as const;
    return [{ dtype: 'real', shape: v.shape }, vector, vector];
  },
  encode,
};
