import { sameShape } from '../../tensors/tensor';
import { extremumCodes } from '../codes';
import type { OpAttrs, ValueSpec } from '../types';
import { need, type OpRow, present } from './row';

function alike(op: string, a: ValueSpec | undefined, b: ValueSpec | undefined): ValueSpec {
  const [x, y] = [present(a, op, 'a'), present(b, op, 'b')];
  need(x.dtype === 'real' && y.dtype === 'real' && sameShape(x.shape, y.shape), op, 'two equal shapes', x, y);
  return x;
}

const encode = ({ kind }: OpAttrs['extremum']) => ({ ints: [extremumCodes[kind]], floats: [] });

/** The larger or the smaller of two, element by element. */
export const extremum: OpRow<'extremum'> = {
  infer: ([a, b]) => [{ dtype: 'real', shape: alike('extremum', a, b).shape }],
  encode,
  grad(op, c) {
    const [a, b] = op.inputs as [number, number];
    return c.emit('extremumGrad', [a, b, c.outGrad(0)], op.attrs, [c.needs(0), c.needs(1)]);
  },
};

/** What reaches either of the two. */
export const extremumGrad: OpRow<'extremumGrad'> = {
  infer([a, b, dy]) {
    const { shape } = alike('extremumGrad', a, b);
    need(sameShape(present(dy, 'extremumGrad', 'dy').shape, shape), 'extremumGrad', 'dy like a', dy);
    return [
      { dtype: 'real', shape },
      { dtype: 'real', shape },
    ];
  },
  encode,
};
