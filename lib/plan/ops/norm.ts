import { sameShape } from '../../tensors/tensor';
import { ABSENT, type OpAttrs, type ValueSpec } from '../types';
import { lastOf, need, type OpRow, present } from './row';

/** @throws ERR_SHAPE unless x is […, D] and what is there of gamma and beta is [D] */
function proven(op: string, x: ValueSpec | undefined, ...vectors: (ValueSpec | undefined)[]): ValueSpec {
  const v = present(x, op, 'x');
  need(v.dtype === 'real' && v.shape.length >= 2, op, 'real x […, D]', v);
  for (const vector of vectors)
    need(
      !vector || sameShape(vector.shape, [lastOf(v.shape)]),
      op,
      `gamma and beta [${lastOf(v.shape)}]`,
      vector,
    );
  return v;
}

const encode = ({ epsilon }: OpAttrs['layerNorm']) => ({ ints: [], floats: [epsilon] });

/** Each row with mean 0 and variance 1, times gamma, plus beta. */
export const layerNorm: OpRow<'layerNorm'> = {
  infer: ([x, gamma, beta]) => [{ dtype: 'real', shape: proven('layerNorm', x, gamma, beta).shape }],
  encode,
  grad(op, c) {
    const [x, gamma = ABSENT, beta = ABSENT] = op.inputs as [number, number?, number?];
    const want = [c.needs(0), gamma !== ABSENT && c.needs(1), beta !== ABSENT && c.needs(2)];
    return c.emit('layerNormGrad', [x, gamma, c.outGrad(0)], op.attrs, want);
  },
};

export const layerNormGrad: OpRow<'layerNormGrad'> = {
  infer([x, gamma, dy]) {
    const v = proven('layerNormGrad', x, gamma);
    const d = present(dy, 'layerNormGrad', 'dy');
    need(sameShape(d.shape, v.shape), 'layerNormGrad', 'dy like x', v, d);
    const vector = { dtype: 'real', shape: [lastOf(v.shape)] } as const;
    return [{ dtype: 'real', shape: v.shape }, vector, vector];
  },
  encode,
};
