import { sameShape } from '../../tensors/tensor';
import { ABSENT, type MatmulAttrs, type OpAttrs } from '../types';
import { need, type OpRow, present } from './row';

/** y[i] = op(a[i])·op(b[i]) for every i of the first axis; op transposes where it is asked to. */
export const matmul: OpRow<'matmul'> = {
  infer([a, b], { transposeA, transposeB }) {
    const [x, y] = [present(a, 'matmul', 'a'), present(b, 'matmul', 'b')];
    const fits = [x, y].every((v) => v.dtype === 'real' && v.shape.length === 3);
    need(fits, 'matmul', 'real a and b of three axes', x, y);
    const turned = ([count, rows, columns]: readonly number[], turn: boolean) =>
      (turn ? [count, columns, rows] : [count, rows, columns]) as [number, number, number];
    const [count, rows, depth] = turned(x.shape, transposeA);
    const [others, otherDepth, columns] = turned(y.shape, transposeB);
    need(count === others && depth === otherDepth, 'matmul', 'as many matrices that can be multiplied', x, y);
    return [{ dtype: 'real', shape: [count, rows, columns] }];
  },
  encode: ({ transposeA, transposeB }) => ({ ints: [Number(transposeA), Number(transposeB)], floats: [] }),
  grad(op, c) {
    const [a, b] = op.inputs as [number, number];
    const { transposeA, transposeB } = op.attrs;
    const dy = c.outGrad(0);
    const product = (left: number, turnLeft: boolean, right: number, turnRight: boolean) => {
      const attrs: MatmulAttrs = { transposeA: turnLeft, transposeB: turnRight };
      return c.emit('matmul', [left, right], attrs)[0] as number;
    };
    // Of y = A·B: dA = dy·Bᵀ and dB = Aᵀ·dy; where A or B was transposed, the transposes of these.
    const dA = () => (transposeA ? product(b, transposeB, dy, true) : product(dy, false, b, !transposeB));
    const dB = () => (transposeB ? product(dy, true, a, transposeA) : product(a, !transposeA, dy, false));
    return [c.needs(0) ? dA() : ABSENT, c.needs(1) ? dB() : ABSENT];
  },
};

const encodeEpsilon = ({ epsilon }: OpAttrs['normalizeRows']) => ({ ints: [], floats: [epsilon] });

/** Each row with Euclidean norm 1. */
export const normalizeRows: OpRow<'normalizeRows'> = {
  infer([x]) {
    const v = present(x, 'normalizeRows', 'x');
    need(v.dtype === 'real' && v.shape.length >= 2, 'normalizeRows', 'real x […, D]', v);
    return [{ dtype: 'real', shape: v.shape }];
  },
  encode: encodeEpsilon,
  grad: (op, c) => c.emit('normalizeRowsGrad', [op.inputs[0] as number, c.outGrad(0)], op.attrs),
};

export const normalizeRowsGrad: OpRow<'normalizeRowsGrad'> = {
  infer([x, dy]) {
    const [v, d] = [present(x, 'normalizeRowsGrad', 'x'), present(dy, 'normalizeRowsGrad', 'dy')];
    need(v.dtype === 'real' && sameShape(v.shape, d.shape), 'normalizeRowsGrad', 'dy like x', v, d);
    return [{ dtype: 'real', shape: v.shape }];
  },
  encode: encodeEpsilon,
};
