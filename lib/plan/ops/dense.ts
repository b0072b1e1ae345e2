import { splitSeed } from '../../tensors/random';
import { sameShape } from '../../tensors/tensor';
import { activationCodes, activationsFromInput } from '../codes';
import { ABSENT, type ActivationAttrs, type DenseAttrs, type OpAttrs, type ValueSpec } from '../types';
import { lastOf, need, type OpRow, present, rowsOf } from './row';

/** D and U of a kernel [D, U], whose D may be several axes, or [U, D] where it is transposed. */
export function kernelSizes(k: Pick<ValueSpec, 'shape'>, { transposed }: DenseAttrs): [D: number, U: number] {
  const [rows, last] = [rowsOf(k.shape), lastOf(k.shape)];
  return transposed ? [last, rows] : [rows, last];
}

const shownKernel = ({ transposed }: DenseAttrs) =>
  transposed ? 'a kernel [U, D]' : 'kernel […, U] with D rows';

const encodeDense = ({ transposed = false }: DenseAttrs) => ({ ints: [Number(transposed)], floats: [] });

export const dense: OpRow<'dense'> = {
  infer([x, kernel, bias], attrs) {
    const v = present(x, 'dense', 'x');
    const k = present(kernel, 'dense', 'kernel');
    const [D, units] = kernelSizes(k, attrs);
    const axes = attrs.transposed ? k.shape.length === 2 : k.shape.length >= 2;
    const fits = v.dtype === 'real' && v.shape.length >= 2 && axes && lastOf(v.shape) === D;
    need(fits, 'dense', `x […, D] and ${shownKernel(attrs)}`, v, k);
    need(!bias || sameShape(bias.shape, [units]), 'dense', `bias [${units}]`, bias);
    return [{ dtype: 'real', shape: [...v.shape.slice(0, -1), units] }];
  },
  encode: encodeDense,
  grad(op, c) {
    const [x, kernel, bias = ABSENT] = op.inputs as [number, number, number?];
    const want = [c.needs(0), c.needs(1), bias !== ABSENT && c.needs(2)];
    return c.emit('denseGrad', [x, kernel, c.outGrad(0)], op.attrs, want);
  },
};

export const denseGrad: OpRow<'denseGrad'> = {
  infer([x, kernel, dy], attrs) {
    const v = present(x, 'denseGrad', 'x');
    const k = present(kernel, 'denseGrad', 'kernel');
    const d = present(dy, 'denseGrad', 'dy');
    const [D, units] = kernelSizes(k, attrs);
    const fits = lastOf(d.shape) === units && lastOf(v.shape) === D;
    need(fits, 'denseGrad', `x […, D], ${shownKernel(attrs)}, dy […, U]`, v, k, d);
    return [
      { dtype: 'real', shape: v.shape },
      { dtype: 'real', shape: k.shape },
      { dtype: 'real', shape: [units] },
    ];
  },
  encode: encodeDense,
};

const encodeActivation = (attrs: ActivationAttrs) => ({
  ints: [activationCodes[attrs.kind]],
  floats: [attrs.alpha],
});

export const activation: OpRow<'activation'> = {
  infer([x]) {
    const v = present(x, 'activation', 'x');
    need(v.dtype === 'real' && v.shape.length >= 1, 'activation', 'real values', v);
    return [{ dtype: 'real', shape: v.shape }];
  },
  encode: encodeActivation,
  grad(op, c) {
    const fromInput = activationsFromInput.has(op.attrs.kind);
    const [x] = op.inputs as [number];
    const [y] = op.outputs as [number];
    return c.emit('activationGrad', [fromInput ? x : ABSENT, fromInput ? ABSENT : y, c.outGrad(0)], op.attrs);
  },
};

export const activationGrad: OpRow<'activationGrad'> = {
  infer([x, y, dy], attrs) {
    const d = present(dy, 'activationGrad', 'dy');
    const from = present(activationsFromInput.has(attrs.kind) ? x : y, 'activationGrad', 'x or y');
    need(sameShape(from.shape, d.shape), 'activationGrad', 'equal shapes', from, d);
    return [{ dtype: 'real', shape: d.shape }];
  },
  encode: encodeActivation,
};

export const dropout: OpRow<'dropout'> = {
  infer([x, step], attrs) {
    const v = present(x, 'dropout', 'x');
    const s = present(step, 'dropout', 'step');
    need(
      v.dtype === 'real' && s.dtype === 'float64' && sameShape(s.shape, [1]),
      'dropout',
      'real x and float64 step [1]',
      v,
      s,
    );
    need(
      attrs.mode === 'element' || v.shape.length === 3,
      'dropout',
      'x [T, N, D] to share a mask over time',
      v,
    );
    return [{ dtype: 'real', shape: v.shape }];
  },
  encode: (attrs) => ({
    ints: [attrs.mode === 'element' ? 0 : 1, ...splitSeed(attrs.seed), attrs.stream],
    floats: [attrs.rate],
  }),
  grad: (op, c) => [c.emit('dropout', [c.outGrad(0), op.inputs[1] as number], op.attrs)[0] as number, ABSENT],
};

/** Normal noise added. */
export const noise: OpRow<'noise'> = {
  infer([x, step]) {
    const v = present(x, 'noise', 'x');
    const s = present(step, 'noise', 'step');
    const fits = v.dtype === 'real' && s.dtype === 'float64' && sameShape(s.shape, [1]);
    need(fits, 'noise', 'real x and float64 step [1]', v, s);
    return [{ dtype: 'real', shape: v.shape }];
  },
  encode: ({ seed, stream, stddev, decay = 0 }) => ({
    ints: [...splitSeed(seed), stream],
    floats: [stddev, decay],
  }),
  grad: (_, c) => [c.outGrad(0), ABSENT],
};

const encodePenalty = (a: OpAttrs['penalty']) => ({ ints: [], floats: [a.l1, a.l2, a.scale] });

export const penalty: OpRow<'penalty'> = {
  infer([x]) {
    const v = present(x, 'penalty', 'x');
    need(v.dtype === 'real', 'penalty', 'real values', v);
    return [{ dtype: 'float64', shape: [1] }];
  },
  encode: encodePenalty,
  grad: (op, c) => c.emit('penaltyGrad', [op.inputs[0] as number], op.attrs),
};

export const penaltyGrad: OpRow<'penaltyGrad'> = {
  infer([x]) {
    return [{ dtype: 'real', shape: present(x, 'penaltyGrad', 'x').shape }];
  },
  encode: encodePenalty,
};
