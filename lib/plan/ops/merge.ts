import { sameShape } from '../../tensors/tensor';
import { ABSENT, type ValueSpec } from '../types';
import { lastOf, need, noAttrs, type OpRow, present } from './row';

/** Side by side along the last axis. */
export const concat: OpRow<'concat'> = {
  infer(inputs) {
    const parts = inputs.map((v, i) => present(v, 'concat', `input ${i}`));
    const first = parts[0] as ValueSpec;
    const rows = first.shape.slice(0, -1);
    for (const v of parts)
      need(
        v.dtype === 'real' && v.shape.length >= 2 && sameShape(v.shape.slice(0, -1), rows),
        'concat',
        'arrays that differ in their last axis alone',
        ...parts,
      );
    return [{ dtype: 'real', shape: [...rows, parts.reduce((sum, v) => sum + lastOf(v.shape), 0)] }];
  },
  encode: noAttrs,
  grad(op, c) {
    let first = 0;
    return op.inputs.map((id, i) => {
      const width = lastOf(c.spec(id).shape);
      const at = first;
      first += width;
      return c.needs(i) ? (c.emit('slice', [c.outGrad(0)], { first: at, width })[0] as number) : ABSENT;
    });
  },
};

/** Columns first … first + width − 1 of the last axis. */
export const slice: OpRow<'slice'> = {
  infer([x], { first, width }) {
    const v = present(x, 'slice', 'x');
    const fits = v.shape.length >= 2 && first >= 0 && width >= 1 && first + width <= lastOf(v.shape);
    need(v.dtype === 'real' && fits, 'slice', `at least ${first + width} columns`, v);
    return [{ dtype: 'real', shape: [...v.shape.slice(0, -1), width] }];
  },
  encode: ({ first }) => ({ ints: [first], floats: [] }),
  grad(op, c) {
    const { first, width } = op.attrs;
    const dy = c.outGrad(0);
    const behind = lastOf(c.spec(op.inputs[0] as number).shape) - first - width;
    if (first === 0 && behind === 0) return [dy];
    const [zeros] = c.emit('scale', [dy], { factor: 0 }) as [number];
    const padding = (columns: number): number[] => {
      const rest = columns % width;
      const whole = new Array(Math.floor(columns / width)).fill(zeros) as number[];
      return rest === 0 ? whole : [...whole, ...c.emit('slice', [zeros], { first: 0, width: rest })];
    };
    return c.emit('concat', [...padding(first), dy, ...padding(behind)], {});
  },
};

export const multiply: OpRow<'multiply'> = {
  infer([a, b]) {
    const x = present(a, 'multiply', 'a');
    const y = present(b, 'multiply', 'b');
    const fits = x.dtype === 'real' && y.dtype === 'real' && sameShape(x.shape, y.shape);
    need(fits, 'multiply', 'two equal shapes', x, y);
    return [{ dtype: 'real', shape: x.shape }];
  },
  encode: noAttrs,
  grad(op, c) {
    const times = (other: number) =>
      c.emit('multiply', [c.outGrad(0), op.inputs[other] as number], {})[0] as number;
    return [c.needs(0) ? times(1) : ABSENT, c.needs(1) ? times(0) : ABSENT];
  },
};

export const scale: OpRow<'scale'> = {
  infer([x]) {
    const v = present(x, 'scale', 'x');
    need(v.dtype === 'real', 'scale', 'a real array', v);
    return [{ dtype: 'real', shape: v.shape }];
  },
  encode: ({ factor }) => ({ ints: [], floats: [factor] }),
  grad: (op, c) => [c.emit('scale', [c.outGrad(0)], op.attrs)[0] as number],
};
