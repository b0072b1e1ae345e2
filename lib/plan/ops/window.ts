import { sameShape } from '../../tensors/tensor';
import { poolCodes } from '../codes';
import { ABSENT, type PoolAttrs, type ValueSpec, type WindowAttrs } from '../types';
import { need, type OpRow, present } from './row';

function sequence(op: string, value: ValueSpec | undefined): readonly [T: number, N: number, D: number] {
  const v = present(value, op, 'a sequence');
  need(v.dtype === 'real' && v.shape.length === 3, op, 'a real sequence [T, N, D]', v);
  return v.shape as unknown as readonly [number, number, number];
}

/** @throws ERR_SHAPE unless every window begins in the padded sequence */
function needWindows(
  op: string,
  a: { size: number; stride: number; before: number },
  windows: number,
  T: number,
) {
  const fits = a.size >= 1 && a.stride >= 1 && a.before >= 0 && (windows - 1) * a.stride < T + a.before;
  need(fits, op, `windows that begin inside ${T} steps`);
}

const encodeWindow = ({ size, stride, dilation, before }: WindowAttrs) => ({
  ints: [size, stride, dilation, before],
  floats: [],
});

/** The steps of each window side by side. */
export const unfold: OpRow<'unfold'> = {
  infer([x], attrs) {
    const [T, N, D] = sequence('unfold', x);
    needWindows('unfold', attrs, attrs.windows, T);
    return [{ dtype: 'real', shape: [attrs.windows, N, attrs.size * D] }];
  },
  encode: encodeWindow,
  grad(op, c) {
    const { windows: _, ...attrs } = op.attrs;
    const [steps] = c.spec(op.inputs[0] as number).shape as [number];
    return [c.emit('fold', [c.outGrad(0)], { ...attrs, steps })[0] as number];
  },
};

/** The gradient of unfold: what each step is in the windows, added up. */
export const fold: OpRow<'fold'> = {
  infer([dy], attrs) {
    const [windows, N, width] = sequence('fold', dy);
    needWindows('fold', attrs, windows, attrs.steps);
    need(width % attrs.size === 0, 'fold', `columns in ${attrs.size} parts`, dy);
    return [{ dtype: 'real', shape: [attrs.steps, N, width / attrs.size] }];
  },
  encode: encodeWindow,
  grad(op, c) {
    const { steps: _, ...attrs } = op.attrs;
    const [windows] = c.spec(op.inputs[0] as number).shape as [number];
    return [c.emit('unfold', [c.outGrad(0)], { ...attrs, windows })[0] as number];
  },
};

const encodePool = ({ kind, size, stride, before }: PoolAttrs) => ({
  ints: [poolCodes[kind], size, stride, before],
  floats: [],
});

function needMask(op: string, valid: ValueSpec | undefined, T: number, N: number): void {
  need(
    !valid || (valid.dtype === 'int32' && sameShape(valid.shape, [T, N])),
    op,
    `valid int32 [${T}, ${N}]`,
    valid,
  );
}

/** The largest or the mean of each window's steps. */
export const pool: OpRow<'pool'> = {
  infer([x, valid], attrs) {
    const [T, N, D] = sequence('pool', x);
    needMask('pool', valid, T, N);
    needWindows('pool', attrs, attrs.windows, T);
    return [{ dtype: 'real', shape: [attrs.windows, N, D] }];
  },
  encode: encodePool,
  grad(op, c) {
    const { windows: _, ...attrs } = op.attrs;
    const [x, valid = ABSENT] = op.inputs as [number, number?];
    return [c.emit('poolGrad', [x, valid, c.outGrad(0)], attrs)[0] as number, ABSENT];
  },
};

export const poolGrad: OpRow<'poolGrad'> = {
  infer([x, valid, dy], attrs) {
    const [T, N, D] = sequence('poolGrad', x);
    const [windows] = sequence('poolGrad', dy);
    needMask('poolGrad', valid, T, N);
    needWindows('poolGrad', attrs, windows, T);
    need(sameShape(dy?.shape ?? [], [windows, N, D]), 'poolGrad', `dy [windows, ${N}, ${D}]`, dy);
    return [{ dtype: 'real', shape: [T, N, D] }];
  },
  encode: encodePool,
};
